//! A response that is stored, and the answers that are made of it.

use std::rc::Rc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, AGE, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, PROXY_AUTHENTICATE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::body::Body;
use super::conditional;
use super::policy::Policy;
use super::range::{self, Wanted};
use super::request::{PassReason, Request};
use super::status::CacheStatus;
use super::tags;
use super::time::Now;
use super::vary::Selection;
use crate::config::limits::{
    HTTP_CACHE_CHUNK_OVERHEAD_BYTES, HTTP_CACHE_ENTRY_OVERHEAD_BYTES,
    HTTP_CACHE_FIELD_OVERHEAD_BYTES, HTTP_CACHE_SEGMENT_BYTES, HTTP_CACHE_TAG_OVERHEAD_BYTES,
};

/// An answer for a client.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without `Content-Length`; with `Age`, unless the origin made it just now.
    pub headers: HeaderMap,
    /// What `Content-Length` says, where it is known: for HEAD, what GET would get. `None` for a 304 and a
    /// 204, too, which have none.
    pub length: Option<u64>,
    /// Its body; empty for HEAD.
    pub body: Body,
    /// For `Cache-Status`.
    pub cache_status: CacheStatus,
}

/// All of a response but its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Without those of the connection, and `Content-Length`.
    pub(super) headers: HeaderMap,
    pub(super) policy: Policy,
    pub(super) selection: Selection,
    pub(super) tags: Box<[Rc<str>]>,
    pub(super) received: SystemTime,
    /// What the origin says the body's length is.
    pub(super) declared_length: Option<u64>,
}

/// A complete response. Never changed: who reads it keeps it as it was.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) head: Rc<Head>,
    pub(super) chunks: Rc<[Bytes]>,
    pub(super) length: u64,
}

/// What of a response a client gets.
enum Extent {
    Whole,
    Part(u64, u64),
    /// 416.
    Nothing,
    /// 304.
    NotModified,
}

impl Head {
    /// Takes out what is not stored.
    pub(super) fn strip(headers: &mut HeaderMap) {
        const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
        for name in [
            CONNECTION,
            CONTENT_LENGTH,
            KEEP_ALIVE,
            PROXY_AUTHENTICATE,
            TE,
            TRAILER,
            TRANSFER_ENCODING,
            UPGRADE,
        ] {
            headers.remove(name);
        }
    }

    /// A copy of fields whose values hold one buffer of their own, and not the one they were read into.
    pub(super) fn compact(headers: &HeaderMap) -> HeaderMap {
        let length = headers.values().map(HeaderValue::len).sum();
        let mut text = BytesMut::with_capacity(length);
        for value in headers.values() {
            text.extend_from_slice(value.as_bytes());
        }
        let text = text.freeze();
        let mut compact = HeaderMap::with_capacity(headers.len());
        let mut at = 0;
        for (name, value) in headers {
            let slice = text.slice(at..at + value.len());
            at += value.len();
            // They are the bytes of a value, so they are one.
            let copy = HeaderValue::from_maybe_shared(slice).unwrap_or_else(|_| value.clone());
            compact.append(name.clone(), copy);
        }
        compact
    }

    /// Whether it may be shared with those who waited for it: it is fresh, or nearly.
    pub(super) fn is_shareable(&self, now: Now) -> bool {
        let no_wishes = super::directives::Directives::default();
        self.policy.usability(&no_wishes, now) != super::policy::Usability::Validate
    }

    fn extent(&self, request: &Request, length: Option<u64>) -> Result<Extent, PassReason> {
        // RFC 9110 §13.2.1: conditions are for what would succeed.
        if self.status.is_success()
            && conditional::not_modified(&request.headers, &self.headers, self.received)
        {
            return Ok(Extent::NotModified);
        }
        let length = length.filter(|_| {
            request.method == Method::GET
                && self.status == StatusCode::OK
                && conditional::range_applies(&request.headers, &self.headers)
        });
        let Some(length) = length else {
            return Ok(Extent::Whole);
        };
        match range::wanted(&request.headers, length) {
            Wanted::Whole => Ok(Extent::Whole),
            Wanted::Part(from, to) => Ok(Extent::Part(from, to)),
            Wanted::Nothing => Ok(Extent::Nothing),
            Wanted::Several => Err(PassReason::Ranges),
        }
    }

    /// The answer to a request, whose body `body` makes when there is to be one: of which bytes, it is told.
    /// `length` is that of the whole body.
    pub(super) fn answer(
        &self,
        request: &Request,
        now: Now,
        length: Option<u64>,
        cache_status: CacheStatus,
        body: impl FnOnce(Option<(u64, u64)>) -> Body,
    ) -> Result<Answer, PassReason> {
        let extent = self.extent(request, length)?;
        let mut headers = match extent {
            Extent::Whole | Extent::Part(..) => self.headers.clone(),
            Extent::Nothing | Extent::NotModified => {
                conditional::not_modified_fields(&self.headers)
            }
        };
        tags::strip(&mut headers);
        let age_s = self.policy.age(now).as_secs();
        // RFC 9111 §5.1: it says that the origin did not make or confirm it for this very request.
        match age_s == 0 && cache_status.is_first_hand() {
            true => headers.remove(AGE),
            false => headers.insert(AGE, HeaderValue::from(age_s)),
        };
        let whole = length.unwrap_or_default();
        let (status, length, part) = match extent {
            Extent::Whole => (self.status, length, None),
            Extent::Part(from, to) => {
                let text = format!("bytes {from}-{}/{whole}", to - 1);
                headers.extend(HeaderValue::try_from(text).map(|text| (CONTENT_RANGE, text)));
                (
                    StatusCode::PARTIAL_CONTENT,
                    Some(to - from),
                    Some((from, to)),
                )
            }
            Extent::Nothing => {
                let text = format!("bytes */{whole}");
                headers.extend(HeaderValue::try_from(text).map(|text| (CONTENT_RANGE, text)));
                (StatusCode::RANGE_NOT_SATISFIABLE, Some(0), None)
            }
            Extent::NotModified => (StatusCode::NOT_MODIFIED, None, None),
        };
        if status == StatusCode::OK && length.is_some() && !headers.contains_key(ACCEPT_RANGES) {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let has_body = request.method != Method::HEAD
            && !matches!(extent, Extent::Nothing | Extent::NotModified);
        Ok(Answer {
            status,
            headers,
            length: length.filter(|_| status != StatusCode::NO_CONTENT),
            body: match has_body {
                true => body(part),
                false => Body::empty(),
            },
            cache_status,
        })
    }
}

impl Stored {
    /// The answer to a request.
    ///
    /// # Errors
    /// Why it cannot be made of this.
    pub(super) fn answer(
        &self,
        request: &Request,
        now: Now,
        cache_status: CacheStatus,
    ) -> Result<Answer, PassReason> {
        let body = |part: Option<(u64, u64)>| {
            let (from, to) = part.unwrap_or((0, self.length));
            Body::stored(&self.chunks, from, to)
        };
        self.head
            .answer(request, now, Some(self.length), cache_status, body)
    }

    /// What it counts below a key.
    pub(super) fn bytes(&self, key: &str) -> u64 {
        let fields = self.head.headers.iter().map(|(name, value)| {
            name.as_str().len() as u64 + value.len() as u64 + HTTP_CACHE_FIELD_OVERHEAD_BYTES
        });
        let tags = self.head.tags.iter();
        let tags = tags.map(|tag| tag.len() as u64 + HTTP_CACHE_TAG_OVERHEAD_BYTES);
        HTTP_CACHE_ENTRY_OVERHEAD_BYTES
            + key.len() as u64
            + fields.sum::<u64>()
            + tags.sum::<u64>()
            + self.head.selection.bytes()
            + self.length
            + self.chunks.len() as u64 * HTTP_CACHE_CHUNK_OVERHEAD_BYTES
    }

    /// The same body with other fields.
    pub(super) fn with_head(&self, head: Head) -> Self {
        Self {
            head: Rc::new(head),
            chunks: Rc::clone(&self.chunks),
            length: self.length,
        }
    }
}

/// The pieces of a body as they are stored: small ones joined.
pub(super) fn joined<'a>(chunks: impl Iterator<Item = &'a Bytes>) -> Rc<[Bytes]> {
    let mut joined = Vec::new();
    let mut small: Vec<&Bytes> = Vec::new();
    let mut small_bytes = 0;
    let flush = |small: &mut Vec<&Bytes>, joined: &mut Vec<Bytes>| {
        match small[..] {
            [] => {}
            [one] => joined.push(one.clone()),
            _ => {
                let length = small.iter().map(|chunk| chunk.len()).sum();
                let mut whole = BytesMut::with_capacity(length);
                for chunk in small.iter() {
                    whole.extend_from_slice(chunk);
                }
                joined.push(whole.freeze());
            }
        }
        small.clear();
    };
    for chunk in chunks {
        if chunk.len() >= HTTP_CACHE_SEGMENT_BYTES {
            flush(&mut small, &mut joined);
            small_bytes = 0;
            joined.push(chunk.clone());
            continue;
        }
        small.push(chunk);
        small_bytes += chunk.len();
        if small_bytes >= HTTP_CACHE_SEGMENT_BYTES {
            flush(&mut small, &mut joined);
            small_bytes = 0;
        }
    }
    flush(&mut small, &mut joined);
    joined.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_joined_and_large_ones_left() {
        const SEGMENT: usize = HTTP_CACHE_SEGMENT_BYTES;
        for (sizes, expected) in [
            (&[][..], &[][..]),
            (&[5], &[5]),
            (&[5, 6, 7], &[18]),
            (&[5, SEGMENT, 6, 7], &[5, SEGMENT, 13]),
            (&[SEGMENT - 1, 1, 3], &[SEGMENT, 3]),
            (&[SEGMENT + 1, SEGMENT], &[SEGMENT + 1, SEGMENT]),
        ] {
            let chunks: Vec<Bytes> = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| Bytes::from(vec![u8::try_from(at).unwrap(); *size]))
                .collect();
            let stored = joined(chunks.iter());
            let found: Vec<usize> = stored.iter().map(Bytes::len).collect();
            assert_eq!(found, expected);
            assert_eq!(stored.concat(), chunks.concat());
        }
    }

    #[test]
    fn stored_fields_hold_no_buffer_of_a_connection() {
        let buffer = Bytes::from(vec![b'x'; 10_000]);
        let value = |range| HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap();
        let mut headers = HeaderMap::new();
        headers.append("a", value(0..10));
        headers.append("b", value(10..10));
        headers.append("a", value(20..25));
        headers.append("c", HeaderValue::from_bytes(b"\xff\"").unwrap());
        let compact = Head::compact(&headers);
        assert_eq!(compact, headers);
        drop((headers, value));
        assert!(buffer.is_unique());
    }
}
