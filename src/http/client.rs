//! The client's side of HTTP/1.1: request heads out, response heads in.
//!
//! As strict as the server's side: an origin whose answer two parsers could read in two ways is not
//! read at all.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use httparse::Status;

use super::fields::{Fields, append};
use super::head::{BodyLength, Version};
use super::names::{is_consumed_in_request, is_hop_by_hop};
use super::response::{put_field, put_number_field};
use super::scan::{Stop, field_section_end};
use crate::config::limits::HEADERS_CAPACITY;
use crate::fault::Reason;

/// How the end of a request body is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is no body and no word about one.
    None,
    /// By a `Content-Length`; may be 0.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

/// Decides the framing of a request. `known_length` is the length of its body where that is known.
pub fn request_framing(method: &Method, known_length: Option<u64>) -> RequestFraming {
    // RFC 9110 §8.6: where a method expects a body, its absence is said.
    let expects_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    match known_length {
        Some(0) if !expects_body => RequestFraming::None,
        Some(length) => RequestFraming::Length(length),
        None => RequestFraming::Chunked,
    }
}

/// Appends a request head. `host` is the authority that it is for; of `headers` those are left out that
/// belong to the host: `Host`, hop-by-hop, framing, `Expect`.
pub fn encode_request(
    dst: &mut Vec<u8>,
    method: &Method,
    target: &str,
    host: &[u8],
    headers: &HeaderMap,
    framing: RequestFraming,
) {
    dst.extend_from_slice(method.as_str().as_bytes());
    dst.push(b' ');
    dst.extend_from_slice(target.as_bytes());
    dst.extend_from_slice(b" HTTP/1.1\r\n");
    put_field(dst, "host", host);
    for (name, value) in headers {
        if name != HOST && name != CONTENT_LENGTH && !is_consumed_in_request(name.as_str()) {
            put_field(dst, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        RequestFraming::None => {}
        RequestFraming::Length(length) => put_number_field(dst, "content-length", length),
        RequestFraming::Chunked => dst.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    dst.extend_from_slice(b"\r\n");
}

/// How the end of a response body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLength {
    /// As it is for a request.
    Marked(BodyLength),
    /// By the end of the connection.
    UntilClose,
}

/// A response head that passed every check.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status; never informational.
    pub status: StatusCode,
    /// The fields, without those of the connection.
    pub headers: HeaderMap,
    /// How the end of the body is found.
    pub body: AnswerLength,
    /// Whether the connection can carry another request.
    pub keep_alive: bool,
}

/// Why a response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// It is not HTTP/1.1, or its framing is not clear.
    Malformed,
    /// Its head is too long, or has too many fields.
    HeadTooLarge,
    /// A transfer coding that is not spoken here.
    TransferCoding,
    /// It switches to a protocol that nobody asked for.
    Upgrade,
}

/// Takes the response head for a request of `method` off the front of `buf`, and interim responses
/// (RFC 9110 §15.2) before it. `None`: it is not complete.
///
/// # Errors
/// Why it cannot be read; the connection is of no use any more.
pub fn parse_answer(
    buf: &mut BytesMut,
    method: &Method,
    head_bytes_max: usize,
) -> Result<Option<AnswerHead>, BadAnswer> {
    loop {
        let window = &buf[..buf.len().min(head_bytes_max)];
        let end = match field_section_end(window, 0) {
            Ok(end) => end,
            Err(Stop::Partial) if buf.len() >= head_bytes_max => {
                return Err(BadAnswer::HeadTooLarge);
            }
            Err(Stop::Partial) => return Ok(None),
            Err(Stop::Refused(_)) => return Err(BadAnswer::Malformed),
        };
        let raw = buf.split_to(end).freeze();
        let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAPACITY];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &raw,
            &mut slots,
        );
        match parsed {
            Ok(Status::Complete(len)) if len == raw.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::HeadTooLarge),
            _ => return Err(BadAnswer::Malformed),
        }
        let (Some(minor), Some(code)) = (response.version, response.code) else {
            return Err(BadAnswer::Malformed);
        };
        let status = StatusCode::from_u16(code).map_err(|_| BadAnswer::Malformed)?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(BadAnswer::Upgrade);
        }
        if status.is_informational() {
            continue;
        }
        let version = match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        };
        let fields = Fields::read(response.headers).map_err(bad)?;
        let has_no_body = method == Method::HEAD
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = match fields.body_length(version).map_err(bad)? {
            _ if has_no_body => AnswerLength::Marked(BodyLength::None),
            BodyLength::None => AnswerLength::UntilClose,
            marked => AnswerLength::Marked(marked),
        };
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for header in response.headers.iter() {
            let name =
                HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| BadAnswer::Malformed)?;
            if !is_hop_by_hop(name.as_str()) && !fields.connection_names(&name) {
                append(&mut headers, name, header.value, &raw).map_err(bad)?;
            }
        }
        let keep_alive = fields.keep_alive(version) && body != AnswerLength::UntilClose;
        return Ok(Some(AnswerHead {
            status,
            headers,
            body,
            keep_alive,
        }));
    }
}

fn bad(reason: Reason) -> BadAnswer {
    match reason {
        Reason::UnknownTransferCoding => BadAnswer::TransferCoding,
        Reason::HeadTooLarge => BadAnswer::HeadTooLarge,
        _ => BadAnswer::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 4_096;

    fn parse(text: &str, method: &Method) -> Result<Option<AnswerHead>, BadAnswer> {
        parse_answer(&mut BytesMut::from(text), method, MAX)
    }

    #[test]
    fn requests_are_written_with_their_framing() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "*/*"),
            ("host", "forged.test"),
            ("content-length", "7"),
            ("connection", "x"),
            ("transfer-encoding", "gzip"),
            ("expect", "100-continue"),
            ("x-a", "b"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        for (method, length, framing) in [
            (Method::GET, Some(0), ""),
            (Method::GET, None, "transfer-encoding: chunked\r\n"),
            (Method::POST, Some(0), "content-length: 0\r\n"),
            (Method::DELETE, Some(0), ""),
            (Method::PUT, Some(12), "content-length: 12\r\n"),
        ] {
            let mut out = Vec::new();
            let framed = request_framing(&method, length);
            encode_request(&mut out, &method, "/p?q", b"a.test:81", &headers, framed);
            let expected = format!(
                "{method} /p?q HTTP/1.1\r\nhost: a.test:81\r\naccept: */*\r\nx-a: b\r\n{framing}\r\n"
            );
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn how_a_body_ends() {
        use AnswerLength::{Marked, UntilClose};
        use BodyLength::{Chunked, Length};
        let none = Marked(BodyLength::None);
        for (head, method, body, keep_alive) in [
            (
                "1.1 200 OK\r\ncontent-length: 5",
                "GET",
                Marked(Length(5)),
                true,
            ),
            (
                "1.1 200 OK\r\ncontent-length: 0",
                "GET",
                Marked(Length(0)),
                true,
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: chunked",
                "GET",
                Marked(Chunked),
                true,
            ),
            (
                "1.1 200 OK\r\nTransfer-Encoding: CHUNKED",
                "GET",
                Marked(Chunked),
                true,
            ),
            ("1.1 200 OK\r\nx: y", "GET", UntilClose, false),
            (
                "1.0 200 OK\r\nconnection: keep-alive",
                "GET",
                UntilClose,
                false,
            ),
            (
                "1.0 200 OK\r\ncontent-length: 1",
                "GET",
                Marked(Length(1)),
                false,
            ),
            (
                "1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive",
                "GET",
                Marked(Length(1)),
                true,
            ),
            (
                "1.1 200 OK\r\ncontent-length: 5\r\nconnection: close",
                "GET",
                Marked(Length(5)),
                false,
            ),
            ("1.1 200 OK\r\ncontent-length: 5", "HEAD", none, true),
            ("1.1 200 OK\r\nx: y", "HEAD", none, true),
            ("1.1 204 No Content\r\nx: y", "GET", none, true),
            (
                "1.1 304 Not Modified\r\ncontent-length: 5",
                "GET",
                none,
                true,
            ),
            (
                "1.1 200 \r\ncontent-length: 2",
                "GET",
                Marked(Length(2)),
                true,
            ),
        ] {
            let method: Method = method.parse().unwrap();
            let parsed = parse(&format!("HTTP/{head}\r\n\r\n"), &method);
            let parsed = parsed.unwrap_or_else(|bad| panic!("{head}: {bad:?}"));
            let parsed = parsed.unwrap_or_else(|| panic!("{head}: incomplete"));
            assert_eq!(
                (parsed.body, parsed.keep_alive),
                (body, keep_alive),
                "{head}"
            );
        }
    }

    #[test]
    fn answers_that_cannot_be_read() {
        let long = format!("1.1 200 OK\r\nx: {}", "y".repeat(MAX));
        let many = format!("1.1 200 OK{}", "\r\na: b".repeat(HEADERS_CAPACITY + 1));
        for (head, bad) in [
            (
                "1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
                BadAnswer::Malformed,
            ),
            (
                "1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5",
                BadAnswer::Malformed,
            ),
            ("1.1 200 OK\r\ncontent-length: 5, 5", BadAnswer::Malformed),
            ("1.1 200 OK\r\ncontent-length: -1", BadAnswer::Malformed),
            (
                "1.0 200 OK\r\ntransfer-encoding: chunked",
                BadAnswer::Malformed,
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: gzip",
                BadAnswer::TransferCoding,
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
                BadAnswer::TransferCoding,
            ),
            ("1.1 200 OK\nx: y", BadAnswer::Malformed),
            (
                "1.1 101 Switching Protocols\r\nupgrade: x",
                BadAnswer::Upgrade,
            ),
            ("2.0 200 OK\r\nx: y", BadAnswer::Malformed),
            ("1.1 99 OK\r\nx: y", BadAnswer::Malformed),
            ("1.1 200 OK\r\nx y", BadAnswer::Malformed),
            ("1.1 200 OK\r\nx: a\r\n b", BadAnswer::Malformed),
            (&long, BadAnswer::HeadTooLarge),
            (&many, BadAnswer::HeadTooLarge),
        ] {
            let parsed = parse(&format!("HTTP/{head}\r\n\r\n"), &Method::GET).map(|_| ());
            assert_eq!(parsed, Err(bad), "{head}");
        }
    }

    #[test]
    fn interim_answers_are_passed_over_and_pieces_make_no_difference() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                    HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\n\
                    set-cookie: a\r\nset-cookie: b\r\ncontent-length: 3\r\n\r\nabc";
        for cut in 0..text.len() {
            let mut buf = BytesMut::from(&text[..cut]);
            let mut parsed = parse_answer(&mut buf, &Method::GET, MAX).unwrap();
            if parsed.is_none() {
                buf.extend_from_slice(&text.as_bytes()[cut..]);
                parsed = parse_answer(&mut buf, &Method::GET, MAX).unwrap();
            } else {
                buf.extend_from_slice(&text.as_bytes()[cut..]);
            }
            let head = parsed.expect("it is complete");
            let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(names, ["set-cookie", "content-length"]);
            assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
            assert_eq!(&buf[..], b"abc");
        }
    }
}
