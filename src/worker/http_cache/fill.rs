//! Asking the origin, for one request and all that wait for the same.
//!
//! ```text
//!  Fill ─ answered ─┬─► Store: push, push, …, finish ─► stored        its client reads like all others
//!   │               ├─► Stored: a 304 made it fresh, or it stands in for an error
//!   │               ├─► Again: the 304 was about something else; ask without conditions
//!   │               └─► Pass: not to be stored; the answer is this client's alone
//!   ├─── failed ────► a stale answer, or none
//!   └─── dropped ───► one of the waiters has the fill
//! ```

use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::header::{COOKIE, DATE, HeaderMap};
use http::{HeaderValue, Method, StatusCode};

use super::body::Body;
use super::conditional;
use super::flight::{Flight, Phase};
use super::policy::{Policy, Unstorable, is_stood_in_for};
use super::request::Request;
use super::status::CacheStatus;
use super::stored::{Answer, Head, Stored};
use super::tags;
use super::tenant::Shared;
use super::time::Now;
use super::vary::{self, Selection};
use super::writer::Writer;
use crate::data::http_cache::Which;

/// The duty to ask the origin. Dropping it hands it to one who waits.
#[derive(Debug)]
#[must_use = "others wait for it"]
pub struct Fill {
    pub(super) tenant: Rc<Shared>,
    pub(super) flight: Rc<Flight>,
    pub(super) request: Request,
    is_settled: bool,
}

/// The head of an origin's answer.
#[derive(Clone, Debug)]
pub struct OriginHead {
    /// Its status; not informational.
    pub status: StatusCode,
    /// Its fields, without those of the connection.
    pub headers: HeaderMap,
    /// The length of its body, if it is known before it is read.
    pub length: Option<u64>,
}

/// What is to be done with an origin's answer.
#[derive(Debug)]
pub enum Outcome {
    /// Give the body to the writer; the client's answer reads it from there. The two must not wait for each
    /// other: drive both at once.
    Store(Answer, Writer),
    /// The client's answer comes from what was stored; the origin's body is of no use.
    Stored(Answer),
    /// Ask once more, with [`Fill::origin_headers`] as they are now.
    Again(Fill),
    /// The origin's answer is the client's, and is not stored.
    Pass {
        /// As it was given.
        head: OriginHead,
        /// The client's own condition, which the origin did not see, says that it has this already: the
        /// answer may be a 304 without its body.
        not_modified: bool,
        /// For `Cache-Status`.
        cache_status: CacheStatus,
    },
}

impl Fill {
    pub(super) fn new(tenant: Rc<Shared>, flight: Rc<Flight>, request: Request) -> Self {
        Self {
            tenant,
            flight,
            request,
            is_settled: false,
        }
    }

    pub(super) fn is_validating(&self) -> bool {
        self.flight.validating().is_some()
    }

    /// The fields to ask the origin with, by a GET without a body: the client's without its conditions, and
    /// with this cache's own.
    pub fn origin_headers(&self) -> HeaderMap {
        let mut headers = (*self.request.headers).clone();
        match self.flight.validating() {
            Some(stored) => {
                conditional::validate(&mut headers, &stored.head.headers);
            }
            None => conditional::make_unconditional(&mut headers),
        }
        headers
    }

    /// The origin's head is here. `sent` is when the request to it was sent, the last one if there were
    /// several.
    pub fn answered(mut self, head: OriginHead, sent: Instant, now: Now) -> Outcome {
        if let Some(stored) = self.flight.validating() {
            if head.status == StatusCode::NOT_MODIFIED && has_validator(&stored) {
                return self.not_modified(&stored, &head.headers, sent, now);
            }
            if is_stood_in_for(head.status) && stored.head.policy.may_stand_in(now) {
                return Outcome::Stored(self.stand_in(stored, Some(head.status), now));
            }
        }
        match self.judge(&head, sent, now) {
            Ok(judged) => self.grow(judged, now),
            Err(reason) => self.pass(head, reason, now),
        }
    }

    /// The origin could not be asked, or gave no answer. The stale answer that stands in for it, if one may;
    /// otherwise all who wait are told.
    pub fn failed(mut self, now: Now) -> Option<Answer> {
        let stored = self.flight.validating();
        let Some(stored) = stored.filter(|stored| stored.head.policy.may_stand_in(now)) else {
            self.settle(Phase::Failed, now);
            return None;
        };
        Some(self.stand_in(stored, None, now))
    }

    /// # Errors
    /// Why it is not to be stored.
    fn judge(&self, head: &OriginHead, sent: Instant, now: Now) -> Result<Head, Unstorable> {
        let settings = self.tenant.with(|state| state.settings);
        let limit = settings.object_bytes_max.min(settings.bytes_max);
        if head.length.is_some_and(|length| length > limit) {
            return Err(Unstorable::TooLarge);
        }
        let headers = head.headers.clone();
        self.head(head.status, headers, head.length, sent, now)
    }

    fn head(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        declared_length: Option<u64>,
        sent: Instant,
        now: Now,
    ) -> Result<Head, Unstorable> {
        let asked_with = &self.request.headers;
        let policy = Policy::judge(asked_with, status, &headers, sent, now)?;
        let names = vary::names(&headers).ok_or(Unstorable::Vary)?;
        let tags = tags::tags(&headers).ok_or(Unstorable::Tags)?;
        Head::strip(&mut headers);
        if let Some(date) = imf_fixdate(now.wall).filter(|_| !headers.contains_key(DATE)) {
            headers.insert(DATE, date); // RFC 9110 §6.6.1
        }
        Ok(Head {
            status,
            headers: Head::compact(&headers),
            policy,
            selection: Selection::of(names, asked_with),
            tags,
            received: now.wall,
            declared_length,
        })
    }

    fn grow(mut self, head: Head, now: Now) -> Outcome {
        let head = Rc::new(head);
        let is_doomed = self.flight.is_purged(&head.tags);
        if is_doomed {
            self.flight.doom();
        }
        let key = Rc::clone(&self.request.url);
        let is_shareable = head.is_shareable(now);
        self.tenant.with(|state| match is_shareable {
            true => state.marks.take(&key),
            false => state.marks.set(&key, now),
        });
        let status = CacheStatus {
            forward_status: Some(head.status),
            stored: !is_doomed,
            ttl_s: Some(head.policy.ttl_s(now)),
            ..CacheStatus::forwarded(self.flight.forward)
        };
        let flight = &self.flight;
        let body = |_| flight.read().map_or_else(Body::empty, Body::growing);
        let answer = head
            .answer(&self.request, now, None, status, body)
            .map(|mut answer| {
                answer.set_length(head.declared_length);
                answer
            });
        let writer = Writer::new(&self.tenant, &self.flight, &head);
        self.is_settled = true;
        self.flight.go(Phase::Growing(head), Some(now));
        match answer {
            Ok(answer) => Outcome::Store(answer, writer),
            // No part was asked for, so there is always one.
            Err(_) => Outcome::Store(Answer::unusable(status), writer),
        }
    }

    /// RFC 9111 §4.3.4.
    fn not_modified(
        mut self,
        stored: &Rc<Stored>,
        headers: &HeaderMap,
        sent: Instant,
        now: Now,
    ) -> Outcome {
        let key = Rc::clone(&self.request.url);
        let old = &stored.head;
        if !conditional::is_about(headers, &old.headers) {
            self.remove(stored);
            self.flight.validate_nothing();
            return Outcome::Again(self);
        }
        let merged = conditional::merged(&old.headers, headers);
        let head = self.head(old.status, merged.clone(), old.declared_length, sent, now);
        let is_storable = head.is_ok();
        let is_requests = head.as_ref().is_err_and(|reason| self.is_requests(*reason));
        let head = head.unwrap_or_else(|_| {
            // It may be used this once.
            let mut policy = old.policy.clone();
            (policy.lifetime, policy.no_cache) = (std::time::Duration::ZERO, true);
            (policy.initial_age, policy.received) = (std::time::Duration::ZERO, now.instant);
            Head {
                status: old.status,
                headers: merged,
                policy,
                selection: old.selection.clone(),
                tags: old.tags.clone(),
                received: now.wall,
                declared_length: old.declared_length,
            }
        });
        let is_doomed = self.flight.is_purged(&head.tags);
        let refreshed = Rc::new(stored.with_head(head));
        let mut is_stored = false;
        if is_storable && !is_doomed {
            is_stored = self.tenant.store(&key, &refreshed, Some(stored));
            // One that is asked about each time would be written each time, and says the same below.
            let is_same = refreshed.head.tags == old.tags
                && refreshed.head.selection == old.selection
                && refreshed.head.policy.always_asks();
            if !is_same {
                self.tenant.keep_below(&key, &refreshed, self.flight.begun);
            }
        } else if is_doomed || !is_requests {
            self.remove(stored);
        }
        let is_shareable = is_storable && refreshed.head.is_shareable(now);
        self.tenant.with(|state| {
            state.counters.revalidated += 1;
            match is_shareable || is_stored {
                true => state.marks.take(&key),
                false if is_requests => {}
                false => state.marks.set(&key, now),
            }
        });
        let status = CacheStatus {
            forward_status: Some(StatusCode::NOT_MODIFIED),
            stored: is_stored,
            ttl_s: Some(refreshed.head.policy.ttl_s(now)),
            ..CacheStatus::forwarded(self.flight.forward)
        };
        let answer = self.answer(&refreshed, now, status);
        let phase = match is_shareable {
            true => Phase::Settled {
                stored: refreshed,
                status: Some(StatusCode::NOT_MODIFIED),
                stands_in: false,
            },
            false => Phase::Passed,
        };
        self.settle(phase, now);
        Outcome::Stored(answer)
    }

    /// RFC 5861 §4.
    fn stand_in(&mut self, stored: Rc<Stored>, status: Option<StatusCode>, now: Now) -> Answer {
        self.tenant.stand_in(&self.request.url, &stored, now);
        let cache_status = CacheStatus {
            forward_status: status,
            ttl_s: Some(stored.head.policy.ttl_s(now)),
            detail: Some("stale-if-error"),
            ..CacheStatus::forwarded(self.flight.forward)
        };
        let answer = self.answer(&stored, now, cache_status);
        self.settle(
            Phase::Settled {
                stored,
                status,
                stands_in: true,
            },
            now,
        );
        answer
    }

    fn pass(mut self, head: OriginHead, reason: Unstorable, now: Now) -> Outcome {
        // What it says instead is for others than all; what was stored is past in any case.
        let is_superseded = head.status.is_success()
            || head.status.is_redirection()
            || matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let is_requests = self.is_requests(reason);
        let stored = self.flight.validating();
        if is_superseded && !is_requests {
            match stored {
                Some(stored) => self.remove(&stored),
                // There may be something below that was not found in time.
                None => self.forget_below(),
            }
        }
        let key = Rc::clone(&self.request.url);
        self.tenant.with(|state| {
            if !is_requests {
                state.marks.set(&key, now);
            }
            state.counters.passed += 1;
        });
        let not_modified = head.status.is_success()
            && conditional::not_modified(&self.request.headers, &head.headers, now.wall);
        let cache_status = CacheStatus {
            detail: Some(reason.as_str()),
            ..CacheStatus::forwarded(self.flight.forward)
        };
        self.settle(Phase::Passed, now);
        Outcome::Pass {
            head,
            not_modified,
            cache_status,
        }
    }

    /// Whether it is this request, and not the answer, that keeps the answer from being stored: then that
    /// says nothing of other requests, and nobody can have what is kept forgotten by asking so.
    fn is_requests(&self, reason: Unstorable) -> bool {
        match reason {
            Unstorable::Authorization => true,
            Unstorable::NoLifetime => self.request.headers.contains_key(COOKIE),
            _ => false,
        }
    }

    pub(super) fn answer(&self, stored: &Stored, now: Now, status: CacheStatus) -> Answer {
        let answer = stored.answer(&self.request, now, status);
        answer.unwrap_or_else(|_| Answer::unusable(status))
    }

    fn remove(&self, stored: &Rc<Stored>) {
        self.tenant.with(|state| {
            if let Some(id) = state.store.find_stored(&self.request.url, stored) {
                state.store.remove(id);
            }
        });
        self.forget_below();
    }

    fn forget_below(&self) {
        let url = &self.request.url;
        self.tenant.forget_below(|| Which::Url(url.to_string()));
    }

    pub(super) fn settle(&mut self, phase: Phase, now: Now) {
        self.is_settled = true;
        self.tenant.land(&self.flight);
        self.flight.go(phase, Some(now));
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_settled && !self.flight.orphan() {
            self.tenant.land(&self.flight);
        }
    }
}

/// `None` outside the years that four digits can hold.
fn imf_fixdate(wall: SystemTime) -> Option<HeaderValue> {
    const END_S: u64 = 253_402_300_800;
    let since = wall.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() < END_S)
        .then(|| HeaderValue::try_from(httpdate::fmt_http_date(wall)).ok())
        .flatten()
}

fn has_validator(stored: &Stored) -> bool {
    conditional::validate(&mut HeaderMap::new(), &stored.head.headers)
}

impl Answer {
    /// For what cannot be.
    fn unusable(cache_status: CacheStatus) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            headers: HeaderMap::new(),
            length: Some(0),
            body: Body::empty(),
            cache_status,
        }
    }

    /// Tells the length of a body that was not needed to find a part of it.
    pub(super) fn set_length(&mut self, length: Option<u64>) {
        if !matches!(
            self.status,
            StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT
        ) {
            self.length = length;
        }
    }
}

/// How the origin is asked.
pub const ORIGIN_METHOD: Method = Method::GET;
