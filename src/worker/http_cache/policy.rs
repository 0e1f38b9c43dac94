//! Whether a response may be stored, for how long it is fresh, and what may be done with it afterwards.
//!
//! ```text
//!  age   0 ──────── lifetime ──── + stale-while-revalidate ──────────────────►
//!        │  fresh:   │ served at once,   │ the origin is asked first
//!        │  served   │ asked beside it   │
//!                    ├──── + stale-if-error ────┤ stands in for an answer 500, 502, 503, 504, or none
//! ```

use std::time::{Duration, Instant, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, COOKIE, DATE, ETAG, EXPIRES, HeaderMap, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderValue, StatusCode};

use super::directives::{Directives, number};
use super::list::members;
use super::time::Now;
use crate::config::limits::HTTP_CACHE_HEURISTIC_S_MAX;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// Its status: partial, not modified without having been asked, or one that says nothing about itself
    /// and is not cacheable by default.
    Status,
    /// `no-store`.
    NoStore,
    /// `private`.
    Private,
    /// The request had `Authorization`, and the response is neither `public` nor has `s-maxage` or
    /// `must-revalidate` (RFC 9111 §3.5).
    Authorization,
    /// It has `Set-Cookie`.
    SetCookie,
    /// `Vary: *`, or more names than are compared.
    Vary,
    /// It has no lifetime that is said or can be guessed, or none and nothing to validate it by.
    NoLifetime,
    /// It is larger than an object may be.
    TooLarge,
    /// It has too many tags, or too long ones.
    Tags,
}

impl Unstorable {
    /// In a word, for `Cache-Status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::NoLifetime => "no-lifetime",
            Self::TooLarge => "too-large",
            Self::Tags => "tags",
        }
    }
}

/// What a stored response allows. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) lifetime: Duration,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
    /// `no-cache`: never without asking.
    pub(super) no_cache: bool,
    /// `must-revalidate` or `proxy-revalidate`: never stale.
    pub(super) must_revalidate: bool,
    /// With `s-maxage`, which for a client's `max-stale` means the same (RFC 9111 §5.2.2.10).
    pub(super) forbids_max_stale: bool,
    /// Age when it came (RFC 9111 §4.2.3).
    pub(super) initial_age: Duration,
    pub(super) received: Instant,
}

impl Policy {
    /// Judges a response to a GET request. `sent` is when the request was sent, `now` when the head came.
    ///
    /// # Errors
    /// Why it must not be stored.
    pub(super) fn judge(
        request: &HeaderMap,
        status: StatusCode,
        headers: &HeaderMap,
        sent: Instant,
        now: Now,
    ) -> Result<Self, Unstorable> {
        let (directives, targeted) = Directives::of_response(headers);
        // §5.2.2.3: who knows the status passes over a no-store beside must-understand.
        if directives.no_store && !(directives.must_understand && is_understood(status)) {
            return Err(Unstorable::NoStore);
        }
        if matches!(
            status,
            StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        ) || status.is_informational()
            || (directives.must_understand && !is_understood(status))
        {
            return Err(Unstorable::Status);
        }
        if directives.private {
            return Err(Unstorable::Private);
        }
        if headers.contains_key(SET_COOKIE) {
            return Err(Unstorable::SetCookie);
        }
        if request.contains_key(AUTHORIZATION)
            && !directives.public
            && !directives.must_revalidate
            && directives.s_maxage.is_none()
        {
            return Err(Unstorable::Authorization);
        }
        let has_validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        let explicit = explicit_lifetime(&directives, targeted, headers, now);
        let lifetime = match explicit {
            Some(lifetime) => lifetime,
            None if directives.no_cache => Duration::ZERO,
            None if directives.public || is_cacheable_by_default(status) => {
                // Nothing says that it is the same for all, and it may not be.
                match request.contains_key(COOKIE) && !directives.public {
                    true => Duration::ZERO,
                    false => guessed_lifetime(headers, now),
                }
            }
            None => return Err(Unstorable::Status),
        };
        let seconds = |value: Option<u32>| Duration::from_secs(u64::from(value.unwrap_or(0)));
        let policy = Self {
            lifetime,
            stale_while_revalidate: seconds(directives.stale_while_revalidate),
            stale_if_error: seconds(directives.stale_if_error),
            no_cache: directives.no_cache,
            must_revalidate: directives.must_revalidate || directives.proxy_revalidate,
            forbids_max_stale: directives.s_maxage.is_some(),
            initial_age: initial_age(headers, sent, now),
            received: now.instant,
        };
        let is_said = explicit.is_some() || directives.no_cache;
        let is_of_use = !policy.lifetime.is_zero() && !policy.no_cache
            || !policy.while_revalidating().is_zero()
            || !policy.if_error().is_zero()
            || (is_said && has_validator);
        is_of_use.then_some(policy).ok_or(Unstorable::NoLifetime)
    }

    /// RFC 9111 §4.2.3.
    pub(super) fn age(&self, now: Now) -> Duration {
        self.initial_age + now.since(self.received)
    }

    /// How long it is still fresh; negative: for how long it is stale. In seconds.
    pub(super) fn ttl_s(&self, now: Now) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime) - seconds(self.age(now))
    }

    /// How it may be used for a request that has these directives.
    pub(super) fn usability(&self, request: &Directives, now: Now) -> Usability {
        let age = self.age(now);
        let limit = |value: u32| Duration::from_secs(u64::from(value));
        if self.no_cache || request.no_cache || request.max_age.is_some_and(|max| age > limit(max))
        {
            return Usability::Validate;
        }
        if age < self.lifetime {
            let left = self.lifetime.saturating_sub(age);
            return match request.min_fresh.is_some_and(|min| left < limit(min)) {
                true => Usability::Validate,
                false => Usability::Fresh,
            };
        }
        if request.min_fresh.is_some() {
            return Usability::Validate;
        }
        let staleness = age.saturating_sub(self.lifetime);
        if staleness < self.while_revalidating() {
            return Usability::WhileRevalidating;
        }
        let forbidden = self.must_revalidate || self.forbids_max_stale;
        match request.max_stale {
            Some(max) if !forbidden && staleness <= limit(max) => Usability::Stale,
            _ => Usability::Validate,
        }
    }

    /// Whether it may stand in for an error now (RFC 5861 §4).
    pub(super) fn may_stand_in(&self, now: Now) -> bool {
        self.age(now) < self.lifetime + self.if_error()
    }

    /// Ends its freshness; what it allows of a stale response counts from now on.
    pub(super) fn expire(&mut self, now: Now) {
        self.lifetime = self.lifetime.min(self.age(now));
    }

    /// Whether it is never reused without asking: every request is for itself then.
    pub(super) fn always_asks(&self) -> bool {
        self.no_cache || (self.lifetime.is_zero() && self.while_revalidating().is_zero())
    }

    fn while_revalidating(&self) -> Duration {
        match self.must_revalidate || self.no_cache {
            true => Duration::ZERO,
            false => self.stale_while_revalidate,
        }
    }

    fn if_error(&self) -> Duration {
        match self.must_revalidate || self.no_cache {
            true => Duration::ZERO,
            false => self.stale_if_error,
        }
    }
}

/// How a stored response may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usability {
    /// It is fresh.
    Fresh,
    /// It is stale, and may be served while the origin is asked.
    WhileRevalidating,
    /// It is stale, and the client takes it so.
    Stale,
    /// After the origin said that it is still good.
    Validate,
}

/// Statuses whose meaning for a cache is known here (RFC 9110 §15), for `must-understand`.
fn is_understood(status: StatusCode) -> bool {
    is_cacheable_by_default(status) || matches!(status.as_u16(), 302 | 303 | 307 | 400..=599)
}

/// RFC 9110 §15.1, without 206.
fn is_cacheable_by_default(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// RFC 9111 §4.2.1, where something is said.
fn explicit_lifetime(
    directives: &Directives,
    targeted: bool,
    headers: &HeaderMap,
    now: Now,
) -> Option<Duration> {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let mut lines = headers.get_all(EXPIRES).iter();
    let first = lines.next().filter(|_| !targeted)?;
    // One that is no date, or not the only one, is in the past (§5.3).
    let expires = date(first).filter(|_| lines.all(|other| other == first));
    let written = headers.get(DATE).and_then(date).unwrap_or(now.wall);
    let lifetime = expires.and_then(|expires| expires.duration_since(written).ok());
    Some(lifetime.unwrap_or_default())
}

/// RFC 9111 §4.2.2: a tenth of the time since it was changed.
fn guessed_lifetime(headers: &HeaderMap, now: Now) -> Duration {
    let written = headers.get(DATE).and_then(date).unwrap_or(now.wall);
    let changed = headers.get(LAST_MODIFIED).and_then(date);
    let unchanged_for = changed.and_then(|changed| written.duration_since(changed).ok());
    let guessed = unchanged_for.unwrap_or_default().as_secs() / 10;
    Duration::from_secs(guessed.min(HTTP_CACHE_HEURISTIC_S_MAX))
}

/// RFC 9111 §4.2.3: `corrected_initial_age`.
fn initial_age(headers: &HeaderMap, sent: Instant, now: Now) -> Duration {
    let written = headers.get(DATE).and_then(date).unwrap_or(now.wall);
    let apparent = now.wall.duration_since(written).unwrap_or_default();
    // The first of several counts; one that is no number is passed over (§5.1).
    let said = headers.get(AGE).and_then(|value| {
        let first = members(value.as_bytes(), true).next()?;
        number(first).filter(|_| !first.starts_with(b"\""))
    });
    let said = Duration::from_secs(u64::from(said.unwrap_or(0)));
    apparent.max(said + now.since(sent))
}

/// A date in any of the three forms (RFC 9110 §5.6.7).
pub(super) fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Whether an error is one that a stale response may stand in for (RFC 5861 §4).
pub(super) fn is_stood_in_for(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
