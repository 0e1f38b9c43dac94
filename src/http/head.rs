//! Request heads: from received bytes to a [`RequestHead`], or to the reason why not.
//!
//! ```text
//!   buf ─ scan ─► bytes up to the empty line ─ httparse ─► names and values ─ Outline ─┬─► RequestHead
//!         (line ends, sizes,                   (grammar)    (what they mean together)  └─► Peek::Host
//!          request line)
//! ```
//!
//! Both entry points go through the same [`Outline`], so they cannot disagree; only the map of header
//! fields is left out when peeking.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap, HeaderName};
use http::uri::Authority;
use http::{Method, Uri};
use httparse::{Header, Status};

use super::fields::{Fields, append};
use super::host::routing_key;
use super::names::is_consumed_in_request;
use super::scan::{Stop, head_end};
use super::target::Target;
use crate::config::limits::HEADERS_CAPACITY;
use crate::fault::Reason;

/// How large a request may be.
#[derive(Copy, Clone, Debug)]
pub struct HeadLimits {
    /// Bytes of the head, from the first to its empty line included; above it 431.
    pub head_bytes_max: usize,
    /// Bytes of the request target; above it 414.
    pub target_bytes_max: usize,
    /// Header fields, up to [`HEADERS_CAPACITY`]; above it 431.
    pub headers_max: usize,
    /// Bytes of the body; a `Content-Length` above it is 413.
    pub body_bytes_max: u64,
}

/// The protocol version of a request. Responses are always HTTP/1.1 (RFC 9110 §6.2).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a request body is found (RFC 9112 §6.3).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// By counting this many bytes; may be 0.
    Length(u64),
    /// By the last chunk.
    Chunked,
}

/// A request head that passed every check.
#[derive(Debug)]
pub struct RequestHead {
    /// The method; never CONNECT.
    pub method: Method,
    /// Path and query only, or `*` for a server-wide OPTIONS.
    pub uri: Uri,
    /// The version of the request.
    pub version: Version,
    /// The authority as it was sent, with its port: of the target in absolute-form (RFC 9112 §3.2.2),
    /// else of `Host`. `None` in HTTP/1.0 without either.
    pub authority: Option<Authority>,
    /// What routing looks up (see [`routing_key`]); empty where there is no authority.
    pub host: Box<str>,
    /// The fields for the guest: without those of the connection, and `host` equal to `authority`.
    /// The values share the memory of `raw`.
    pub headers: HeaderMap,
    /// How the end of the body is found.
    pub body: BodyLength,
    /// Whether the client would send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends a body.
    pub expect_continue: bool,
    /// The head as received, for handing the request to another worker.
    pub raw: Bytes,
}

/// The outcome of [`parse_request`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "built and taken apart at once, once per request"
)]
pub enum Parsed {
    /// The head is not complete; read more.
    Partial,
    /// A head, whose bytes were taken from the buffer.
    Complete(RequestHead),
}

/// The outcome of [`peek_host`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peek {
    /// The head is not complete.
    Partial,
    /// The same as [`RequestHead::host`].
    Host(Box<str>),
}

/// Takes one request head off the front of `buf`.
///
/// On [`Parsed::Partial`] the buffer is as it was. After an error its contents are unspecified and the
/// connection must close once the error is answered: where the next request starts is not known.
///
/// Refused beyond what RFC 9112 demands: bare LF as a line end; any white space in a request line
/// other than its two single spaces; a `Content-Length` that is repeated, even with the same value,
/// or stands beside `Transfer-Encoding`; any `Transfer-Encoding` but `chunked`; a `Host` that DNS
/// could not hold; a `Connection` that names a field which every recipient needs.
///
/// Not handed on to the guest: the hop-by-hop fields (`connection`, `keep-alive`, `proxy-connection`,
/// `te`, `transfer-encoding`, `upgrade`, `http2-settings`), other fields that `Connection` names, and
/// `expect`.
///
/// # Errors
/// The reason to answer with. It depends on the bytes only, not on how they were cut into reads.
pub fn parse_request(buf: &mut BytesMut, limits: &HeadLimits) -> Result<Parsed, Reason> {
    let end = match head_end(buf, limits) {
        Ok(end) => end,
        Err(Stop::Partial) => return Ok(Parsed::Partial),
        Err(Stop::Refused(reason)) => return Err(reason),
    };
    let raw = buf.split_to(end).freeze();
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAPACITY];
    let outline = Outline::read(&raw, &mut slots, limits)?;
    Ok(Parsed::Complete(RequestHead {
        authority: outline.shared_authority(&raw)?,
        headers: outline.header_map(&raw)?,
        keep_alive: outline.fields.keep_alive(outline.version),
        expect_continue: outline.expect_continue(),
        method: outline.method,
        uri: Uri::from(outline.target.path),
        version: outline.version,
        host: outline.host,
        body: outline.body,
        raw: raw.clone(),
    }))
}

/// Finds the host of the request at the front of `buf` and leaves everything as it is: for deciding
/// where a connection belongs while its bytes are still in the socket (`MSG_PEEK`).
///
/// # Errors
/// The same as [`parse_request`] has for the same bytes.
pub fn peek_host(buf: &[u8], limits: &HeadLimits) -> Result<Peek, Reason> {
    let end = match head_end(buf, limits) {
        Ok(end) => end,
        Err(Stop::Partial) => return Ok(Peek::Partial),
        Err(Stop::Refused(reason)) => return Err(reason),
    };
    let raw = Bytes::copy_from_slice(&buf[..end]);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAPACITY];
    Outline::read(&raw, &mut slots, limits).map(|outline| Peek::Host(outline.host))
}

/// A head that passed every check, with its fields still where they were received.
struct Outline<'h> {
    method: Method,
    target: Target<'h>,
    version: Version,
    headers: &'h [Header<'h>],
    fields: Fields<'h>,
    body: BodyLength,
    /// Host and port as sent: of the target or of `Host`.
    authority: Option<&'h str>,
    host: Box<str>,
}

impl<'h> Outline<'h> {
    fn read(
        raw: &'h Bytes,
        slots: &'h mut [MaybeUninit<Header<'h>>; HEADERS_CAPACITY],
        limits: &HeadLimits,
    ) -> Result<Self, Reason> {
        let mut request = httparse::Request::new(&mut []);
        let slots = &mut slots[..limits.headers_max.min(HEADERS_CAPACITY)];
        match request.parse_with_uninit_headers(raw, slots) {
            Ok(Status::Complete(len)) if len == raw.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Reason::HeadTooLarge),
            // The scan found the head complete: a parser that sees another end sees another message.
            _ => return Err(Reason::MalformedRequest),
        }
        let httparse::Request {
            method: Some(method),
            path: Some(path),
            version: Some(minor),
            headers,
        } = request
        else {
            return Err(Reason::MalformedRequest);
        };
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Reason::MalformedRequest)?;
        let version = if minor == 0 {
            Version::Http10
        } else {
            Version::Http11
        };
        let headers: &'h [Header<'h>] = headers;

        let target = Target::parse(&method, path, raw)?;
        let fields = Fields::read(headers)?;
        let body = fields.body_length(version)?;
        let (authority, host) = choose_host(&target, &fields, version)?;
        if matches!(body, BodyLength::Length(length) if length > limits.body_bytes_max) {
            return Err(Reason::BodyTooLarge);
        }
        Ok(Self {
            method,
            target,
            version,
            headers,
            fields,
            body,
            authority,
            host,
        })
    }

    /// RFC 9110 §10.1.1: not in HTTP/1.0, and nothing to wait for where there is no body.
    fn expect_continue(&self) -> bool {
        self.fields.expect_continue
            && self.version == Version::Http11
            && !matches!(self.body, BodyLength::None | BodyLength::Length(0))
    }

    fn shared_authority(&self, raw: &Bytes) -> Result<Option<Authority>, Reason> {
        let share =
            |authority: &str| Authority::from_maybe_shared(raw.slice_ref(authority.as_bytes()));
        self.authority
            .map(share)
            .transpose()
            .map_err(|_| Reason::BadHost)
    }

    fn header_map(&self, raw: &Bytes) -> Result<HeaderMap, Reason> {
        let mut map = HeaderMap::with_capacity(self.headers.len());
        if let Some(authority) = self.authority {
            append(&mut map, HOST, authority.as_bytes(), raw)?;
        }
        for header in self.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| Reason::MalformedRequest)?;
            if name == HOST
                || is_consumed_in_request(name.as_str())
                || self.fields.connection_names(&name)
            {
                continue;
            }
            append(&mut map, name, header.value, raw)?;
        }
        Ok(map)
    }
}

/// Chooses between the authority of the target and `Host`, and checks both (RFC 9112 §3.2): the target
/// wins, and an invalid `Host` is refused all the same.
fn choose_host<'h>(
    target: &Target<'h>,
    fields: &Fields<'h>,
    version: Version,
) -> Result<(Option<&'h str>, Box<str>), Reason> {
    let in_field = match fields.host {
        Some(value) => {
            let authority = std::str::from_utf8(value).map_err(|_| Reason::BadHost)?;
            Some((authority, routing_key(authority)?))
        }
        None if version == Version::Http11 => return Err(Reason::BadHost),
        None => None,
    };
    Ok(match (target.authority, in_field) {
        (Some(authority), _) => (Some(authority), routing_key(authority)?),
        (None, Some((authority, host))) => (Some(authority), host),
        (None, None) => (None, Box::default()),
    })
}
