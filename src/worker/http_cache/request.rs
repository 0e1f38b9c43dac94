//! What the proxy asks the cache about.

use std::rc::Rc;

use http::Method;
use http::header::{CONTENT_LENGTH, HeaderMap, IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};

use super::directives::Directives;
use super::policy::Unstorable;
use super::status::Forward;
use super::tenant::Settings;
use crate::config::limits::HTTP_CACHE_KEY_BYTES_MAX;

/// A request. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The key: scheme, authority, path and query, as in `https://a.test/p?q`. The scheme and the authority
    /// are in lower case, and a default port is left out.
    pub url: Rc<str>,
    /// Its fields, without those of the connection.
    pub headers: Rc<HeaderMap>,
}

/// Why a request goes to the origin as it is, and its answer back as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// The tenant has no cache.
    NoCache,
    /// It is neither GET nor HEAD, or has a body. When the answer is there, [`Tenant::invalidate`](super::Tenant::invalidate).
    Method,
    /// It says `no-store`.
    NoStore,
    /// It has `If-Match` or `If-Unmodified-Since`: the origin decides.
    Precondition,
    /// Its URL is longer than a key may be.
    UrlTooLong,
    /// It is HEAD, and nothing stored answers it.
    Head,
    /// It wants a part, and nothing stored has it.
    Range,
    /// It wants several parts.
    Ranges,
    /// An answer for this URL was not to be stored lately.
    HitForMiss,
    /// The answer that it waited for is not for it.
    NotShared,
    /// The answers that it waited for were for others again and again.
    Variants,
    /// The origin's answer is not to be stored.
    Unstorable(Unstorable),
    /// Too many answers are being fetched.
    TooManyFills,
    /// Too many wait for this answer.
    TooManyWaiters,
}

impl PassReason {
    /// As RFC 9211 has it.
    pub fn forward(self) -> Forward {
        match self {
            Self::Method => Forward::Method,
            Self::NoStore | Self::Precondition => Forward::Request,
            Self::NoCache | Self::UrlTooLong => Forward::Bypass,
            _ => Forward::UriMiss,
        }
    }

    /// In a word, for `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCache => "no-cache",
            Self::Method => "method",
            Self::NoStore => "no-store",
            Self::Precondition => "precondition",
            Self::UrlTooLong => "url-too-long",
            Self::Head => "head",
            Self::Range => "range",
            Self::Ranges => "ranges",
            Self::HitForMiss => "hit-for-miss",
            Self::NotShared => "not-shared",
            Self::Variants => "variants",
            Self::Unstorable(reason) => reason.as_str(),
            Self::TooManyFills => "too-many-fills",
            Self::TooManyWaiters => "too-many-waiters",
        }
    }
}

/// What a request wants of the cache.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) directives: Directives,
}

impl Asked {
    /// # Errors
    /// Why the cache has nothing to say to it.
    pub(super) fn read(request: &Request, settings: &Settings) -> Result<Self, PassReason> {
        if settings.bytes_max == 0 {
            return Err(PassReason::NoCache);
        }
        let has_body = request
            .headers
            .get(CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
        if !matches!(request.method, Method::GET | Method::HEAD) || has_body {
            return Err(PassReason::Method);
        }
        if request.url.len() > HTTP_CACHE_KEY_BYTES_MAX {
            return Err(PassReason::UrlTooLong);
        }
        let directives = match settings.client_directives {
            true => Directives::of_request(&request.headers),
            false => Directives::default(),
        };
        if directives.no_store {
            return Err(PassReason::NoStore);
        }
        if request.headers.contains_key(IF_MATCH)
            || request.headers.contains_key(IF_UNMODIFIED_SINCE)
        {
            return Err(PassReason::Precondition);
        }
        Ok(Self { directives })
    }
}

/// Why a request that nothing stored answers cannot wait for an answer, nor fetch one for all.
pub(super) fn is_only_for_itself(request: &Request) -> Option<PassReason> {
    if request.method == Method::HEAD {
        return Some(PassReason::Head);
    }
    request
        .headers
        .contains_key(RANGE)
        .then_some(PassReason::Range)
}
