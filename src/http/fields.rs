//! What the header fields of a request say to the host: framing, `Host`, `Connection`, `Expect`.
//!
//! One pass over the parsed fields collects what was said; whether it may stand together is decided
//! after, when all of it is known. Every list is read to its end: what is ignored here could be what
//! another parser goes by.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use httparse::Header;

use super::head::{BodyLength, Version};
use super::names::is_end_to_end;
use super::scan::is_token_byte;
use crate::fault::Reason;

/// Options of all `Connection` fields together, so that looking each of them up for every field stays
/// cheap; browsers send one or two.
const CONNECTION_OPTIONS_MAX: usize = 16;

/// What the fields say, collected.
#[derive(Default)]
pub(super) struct Fields<'h> {
    /// The value of `Host`.
    pub(super) host: Option<&'h [u8]>,
    /// Whether the client waits for `100 Continue`.
    pub(super) expect_continue: bool,
    content_length: Option<u64>,
    coding: Coding,
    options: ConnectionOptions<'h>,
}

/// What `Transfer-Encoding` says.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
enum Coding {
    #[default]
    Absent,
    Chunked,
    Unknown,
}

/// What `Connection` says.
#[derive(Default)]
struct ConnectionOptions<'h> {
    close: bool,
    keep_alive: bool,
    names: Vec<&'h str>,
}

impl<'h> Fields<'h> {
    /// Reads all fields of a head.
    ///
    /// # Errors
    /// For each field that is invalid or repeated where it may not be.
    pub(super) fn read(headers: &[Header<'h>]) -> Result<Self, Reason> {
        let mut fields = Self::default();
        for header in headers {
            fields.read_one(header.name, header.value)?;
        }
        Ok(fields)
    }

    fn read_one(&mut self, name: &'h str, value: &'h [u8]) -> Result<(), Reason> {
        // The length settles most names with one compare.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => once(&mut self.host, value, Reason::BadHost),
            6 if name.eq_ignore_ascii_case("expect") => self.read_expect(value),
            10 if name.eq_ignore_ascii_case("connection") => self.options.read(value),
            14 if name.eq_ignore_ascii_case("content-length") => once(
                &mut self.content_length,
                parse_content_length(value)?,
                Reason::ConflictingFraming,
            ),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.coding.read(value),
            _ => Ok(()),
        }
    }

    fn read_expect(&mut self, value: &[u8]) -> Result<(), Reason> {
        // RFC 9110 §10.1.1: 100-continue is the only expectation there is.
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reason::ExpectationFailed);
        }
        self.expect_continue = true;
        Ok(())
    }

    /// How the end of the body is found (RFC 9112 §6.3).
    pub(super) fn body_length(&self, version: Version) -> Result<BodyLength, Reason> {
        match (self.coding, self.content_length) {
            (Coding::Absent, None) => Ok(BodyLength::None),
            (Coding::Absent, Some(length)) => Ok(BodyLength::Length(length)),
            // RFC 9112 §6.1 lets Transfer-Encoding win over Content-Length, and §11.2 says what comes of it.
            (_, Some(_)) => Err(Reason::ConflictingFraming),
            // RFC 9112 §6.1: HTTP/1.0 has no transfer codings, so "the framing is faulty".
            _ if version == Version::Http10 => Err(Reason::ConflictingFraming),
            (Coding::Chunked, None) => Ok(BodyLength::Chunked),
            (Coding::Unknown, None) => Err(Reason::UnknownTransferCoding),
        }
    }

    /// Whether the client would send another request on the connection (RFC 9112 §9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.options.close && (version == Version::Http11 || self.options.keep_alive)
    }

    /// Whether `Connection` names this field, so that it ends here (RFC 9110 §7.6.1).
    pub(super) fn connection_names(&self, name: &HeaderName) -> bool {
        self.options
            .names
            .iter()
            .any(|option| option.eq_ignore_ascii_case(name.as_str()))
    }
}

impl Coding {
    /// Reads one `Transfer-Encoding` field after those before it; together they are one list.
    fn read(&mut self, value: &[u8]) -> Result<(), Reason> {
        for token in list(value) {
            *self = match self {
                // Nothing may follow chunked, not even an empty element or chunked again (RFC 9112 §6.1).
                Self::Chunked => return Err(Reason::ConflictingFraming),
                _ if !is_token(token) => return Err(Reason::ConflictingFraming),
                Self::Absent if token.eq_ignore_ascii_case(b"chunked") => Self::Chunked,
                _ => Self::Unknown,
            };
        }
        Ok(())
    }
}

impl<'h> ConnectionOptions<'h> {
    fn read(&mut self, value: &'h [u8]) -> Result<(), Reason> {
        for token in list(value).filter(|token| !token.is_empty()) {
            if !is_token(token) {
                return Err(Reason::MalformedRequest);
            }
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                self.add_name(token)?;
            }
        }
        Ok(())
    }

    fn add_name(&mut self, token: &'h [u8]) -> Result<(), Reason> {
        let name = std::str::from_utf8(token).map_err(|_| Reason::MalformedRequest)?;
        if self.names.len() == CONNECTION_OPTIONS_MAX || is_end_to_end(&name.to_ascii_lowercase()) {
            return Err(Reason::MalformedRequest);
        }
        self.names.push(name);
        Ok(())
    }
}

/// Appends a field to `map`; its value is a slice of `head` and goes on sharing its memory.
pub(super) fn append(
    map: &mut HeaderMap,
    name: HeaderName,
    value: &[u8],
    head: &Bytes,
) -> Result<(), Reason> {
    let value = HeaderValue::from_maybe_shared(head.slice_ref(value))
        .map_err(|_| Reason::MalformedRequest)?;
    map.try_append(name, value)
        .map_err(|_| Reason::HeadTooLarge)?;
    Ok(())
}

/// Sets `slot`, which a second field of the same name finds taken.
fn once<T>(slot: &mut Option<T>, value: T, repeated: Reason) -> Result<(), Reason> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(repeated),
    }
}

/// `1*DIGIT` (RFC 9110 §8.6) and nothing else: no sign, no list, no space within.
fn parse_content_length(value: &[u8]) -> Result<u64, Reason> {
    if value.is_empty() {
        return Err(Reason::ConflictingFraming);
    }
    value
        .iter()
        .try_fold(0u64, |sum, byte| match byte {
            b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        })
        .ok_or(Reason::ConflictingFraming)
}

/// The elements of a comma-separated list, without the white space around them (RFC 9110 §5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}
