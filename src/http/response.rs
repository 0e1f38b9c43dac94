//! Responses: heads, chunks and complete error answers, appended to a buffer.
//!
//! Nothing is formatted: a response is a handful of copies. A [`http::HeaderValue`] cannot hold CR or LF, so
//! a guest cannot end the head early (response splitting); and the fields that say where the body ends
//! come from [`ResponseFraming`] alone, whatever the guest set.

use std::num::NonZeroUsize;

use http::StatusCode;
use http::header::{DATE, HeaderMap};

use super::framing::ResponseFraming;
use super::head::Version;
use super::names::{TrailerRule, is_reserved_in_response, trailer_rule};
use crate::fault::fastedge::INTERNAL_STATUS_HEADER;
use crate::fault::{FAULT_HEADER, REASON_HEADER, Refusal};

/// Tells a client that waits to send its body (RFC 9110 §15.2.1).
pub const CONTINUE_100: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What follows the data of a chunk that [`encode_chunk_start`] began.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends a response head.
///
/// `keep_alive` is what [`choose_framing`](super::choose_framing) returned, `version` that of the
/// request: the status line says HTTP/1.1 to all (RFC 9110 §6.2). Of the guest's fields those are left
/// out that belong to the host: hop-by-hop, framing, `x-skep-*`. Its `date` stands, or `date` is added.
pub fn encode_head(
    dst: &mut Vec<u8>,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: ResponseFraming,
    keep_alive: bool,
    date: &[u8; 29],
) {
    put_status_line(dst, status);
    let mut dated = false;
    for (name, value) in headers {
        if is_reserved_in_response(name.as_str()) || (name == DATE && dated) {
            continue;
        }
        dated |= name == DATE;
        put_field(dst, name.as_str(), value.as_bytes());
    }
    if !dated {
        put_field(dst, "date", date);
    }
    put_connection(dst, version, keep_alive);
    put_framing(dst, framing);
    dst.extend_from_slice(b"\r\n");
}

/// Appends one chunk (RFC 9112 §7.1), or nothing for empty `data`, which would end the body.
pub fn encode_chunk(dst: &mut Vec<u8>, data: &[u8]) {
    if let Some(len) = NonZeroUsize::new(data.len()) {
        encode_chunk_start(dst, len);
        dst.extend_from_slice(data);
        dst.extend_from_slice(CHUNK_END);
    }
}

/// Appends the first line of a chunk of `len` bytes. The data and then [`CHUNK_END`] must follow.
pub fn encode_chunk_start(dst: &mut Vec<u8>, len: NonZeroUsize) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = len.get() >> (4 * place) & 0xf;
        dst.push(b"0123456789abcdef"[digit]);
    }
    dst.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body. Trailer fields that are not allowed in a trailer section (RFC 9110
/// §6.5.1) are left out.
pub fn encode_last_chunk(dst: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    dst.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if trailer_rule(name.as_str()) == TrailerRule::Keep
            && !is_reserved_in_response(name.as_str())
        {
            put_field(dst, name.as_str(), value.as_bytes());
        }
    }
    dst.extend_from_slice(b"\r\n");
}

/// Appends a complete error response: the reason in the header fields, and as a line of text.
///
/// `head_only` is for the answer to HEAD. Nothing may cache it: the next request may well succeed.
pub fn encode_fault(
    dst: &mut Vec<u8>,
    refusal: impl Into<Refusal>,
    version: Version,
    keep_alive: bool,
    head_only: bool,
    date: &[u8; 29],
) {
    let refusal = refusal.into();
    let (reason, look) = (refusal.reason, refusal.look());
    let body = match look {
        Some(look) => [look.body, "", "", ""],
        None => [reason.code(), ": ", reason.explain(), "\n"],
    };
    let body_len = body.iter().map(|part| part.len() as u64).sum();

    put_status_line(dst, refusal.status());
    put_field(dst, "content-type", b"text/plain");
    put_field(dst, "cache-control", b"no-store");
    put_field(dst, FAULT_HEADER, reason.fault().as_str().as_bytes());
    put_field(dst, REASON_HEADER, reason.code().as_bytes());
    if let Some(number) = look.and_then(|look| look.internal_status) {
        put_number_field(dst, INTERNAL_STATUS_HEADER, number.into());
    }
    if let Some(seconds) = refusal.retry_after_s {
        put_number_field(dst, "retry-after", u64::from(seconds));
    }
    put_field(dst, "date", date);
    put_connection(dst, version, keep_alive);
    put_framing(dst, ResponseFraming::Length(body_len));
    dst.extend_from_slice(b"\r\n");
    if !head_only {
        body.iter()
            .for_each(|part| dst.extend_from_slice(part.as_bytes()));
    }
}

fn put_status_line(dst: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        dst.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    dst.extend_from_slice(b"HTTP/1.1 ");
    dst.extend_from_slice(status.as_str().as_bytes());
    // The space stays where there is no phrase (RFC 9112 §4).
    dst.push(b' ');
    dst.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    dst.extend_from_slice(b"\r\n");
}

pub(super) fn put_field(dst: &mut Vec<u8>, name: &str, value: &[u8]) {
    dst.reserve(name.len() + value.len() + 4);
    dst.extend_from_slice(name.as_bytes());
    dst.extend_from_slice(b": ");
    dst.extend_from_slice(value);
    dst.extend_from_slice(b"\r\n");
}

pub(super) fn put_number_field(dst: &mut Vec<u8>, name: &str, mut number: u64) {
    // As many digits as u64::MAX has.
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        first -= 1;
        if number == 0 {
            break;
        }
    }
    put_field(dst, name, &digits[first..]);
}

/// RFC 9112 §9.3: what the version does not imply is said.
fn put_connection(dst: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (_, false) => dst.extend_from_slice(b"connection: close\r\n"),
        (Version::Http10, true) => dst.extend_from_slice(b"connection: keep-alive\r\n"),
        (Version::Http11, true) => {}
    }
}

fn put_framing(dst: &mut Vec<u8>, framing: ResponseFraming) {
    match framing {
        ResponseFraming::None | ResponseFraming::UntilClose => {}
        ResponseFraming::LengthOnly(length) | ResponseFraming::Length(length) => {
            put_number_field(dst, "content-length", length);
        }
        ResponseFraming::Chunked => dst.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}
