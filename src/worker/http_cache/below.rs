//! What is kept below this cache, on disk: for all workers of a tenant, and for the next start.
//!
//! ```text
//!  stored ─────────────────────────► keep      evicted ─► it is there already
//!  superseded, invalidated, purged ► forget
//!  nothing in memory: Fill ─ find ─► Fill::found ─┬─ fresh ─► stored, and the answer for all who wait
//!                                                 └─ stale ─► the origin is asked about it
//! ```

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_bytes::ByteBuf;

use super::fill::Fill;
use super::flight::Phase;
use super::policy::{Policy, Usability};
use super::request::Asked;
use super::status::CacheStatus;
use super::stored::{Answer, Head, Stored, joined};
use super::tenant::Tenant;
use super::time::Now;
use super::vary::Selection;
use crate::data::http_cache::{self, Object, Times, Which};
use crate::sys::clock::monotonic_ns;

/// Who keeps it. Both return at once, and what is told first is done first.
pub trait Below {
    /// Keeps an answer in the place of the one for the same requests, or forgets that one.
    fn keep(&self, url: &str, object: Object);
    /// Forgets.
    fn forget(&self, which: Which);
}

/// What became of a fill.
#[derive(Debug)]
pub enum Restored {
    /// It is fresh.
    Answer(Answer),
    /// The origin has to be asked all the same.
    Fill(Fill),
}

/// An answer as it came back.
#[derive(Debug)]
pub struct Kept(Rc<Stored>);

impl Tenant {
    /// Keeps answers there, too, from now on.
    pub fn set_below(&self, below: Option<Rc<dyn Below>>) {
        *self.0.below.borrow_mut() = below;
    }
}

impl Stored {
    /// As it is kept.
    pub(super) fn to_object(&self, sent: Now) -> Object {
        let head = &self.head;
        let policy = &head.policy;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let fields = head.headers.iter();
        Object {
            status: head.status.as_u16(),
            fields: fields
                .map(|(name, value)| (name.to_string(), ByteBuf::from(value.as_bytes())))
                .collect(),
            times: Times {
                lifetime_ms: ms(policy.lifetime),
                stale_while_revalidate_ms: ms(policy.stale_while_revalidate),
                stale_if_error_ms: ms(policy.stale_if_error),
                initial_age_ms: ms(policy.initial_age),
                no_cache: policy.no_cache,
                must_revalidate: policy.must_revalidate,
                forbids_max_stale: policy.forbids_max_stale,
            },
            selection: head.selection.to_kept(),
            tags: head.tags.iter().map(|tag| tag.to_string()).collect(),
            received_ms: ms(head.received.duration_since(UNIX_EPOCH).unwrap_or_default()),
            sent_ns: monotonic_ns().saturating_sub(ns(sent.instant.elapsed())),
            body: self.chunks.iter().map(|it| ByteBuf::from(&**it)).collect(),
        }
    }
}

impl Kept {
    /// From what is on disk. `None`: it is no answer.
    pub fn new(object: Object, now: Now) -> Option<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in object.fields {
            let name = HeaderName::try_from(name).ok()?;
            let value = HeaderValue::try_from(value.into_vec()).ok()?;
            headers.try_append(name, value).ok()?;
        }
        let times = object.times;
        let received = UNIX_EPOCH.checked_add(Duration::from_millis(object.received_ms))?;
        // It is as old as it was, and has lain here since. How long, nobody knows when the clock was set back.
        let since = now.wall.duration_since(received).ok()?;
        let initial_age = Duration::from_millis(times.initial_age_ms).checked_add(since)?;
        let chunks: Vec<Bytes> = object
            .body
            .into_iter()
            .map(|piece| Bytes::from(piece.into_vec()))
            .collect();
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let tags = object.tags.into_iter().map(Rc::from);
        Some(Self(Rc::new(Stored {
            head: Rc::new(Head {
                status: StatusCode::from_u16(object.status).ok()?,
                headers: Head::compact(&headers),
                policy: Policy {
                    lifetime: Duration::from_millis(times.lifetime_ms),
                    stale_while_revalidate: Duration::from_millis(times.stale_while_revalidate_ms),
                    stale_if_error: Duration::from_millis(times.stale_if_error_ms),
                    no_cache: times.no_cache,
                    must_revalidate: times.must_revalidate,
                    forbids_max_stale: times.forbids_max_stale,
                    initial_age,
                    received: now.instant,
                },
                selection: Selection::from_kept(object.selection)?,
                tags: tags.collect(),
                received,
                declared_length: Some(length),
            }),
            chunks: joined(chunks.iter()),
            length,
        })))
    }
}

/// Whether a kept answer is for a request with these fields.
pub fn is_for(selection: &http_cache::Selection, headers: &HeaderMap) -> bool {
    let selection = Selection::from_kept(selection.clone());
    selection.is_some_and(|selection| selection.matches(headers))
}

impl Fill {
    /// The URL to be looked for below, where nothing is stored here.
    pub fn wanted_below(&self) -> Option<&Rc<str>> {
        let has_below = self.tenant.below.borrow().is_some();
        (has_below && !self.is_validating()).then_some(&self.request.url)
    }

    /// The fields of the request that it is for.
    pub fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// Something was found below. Unless it was purged meanwhile, it is stored here again.
    pub fn found(mut self, kept: Kept, now: Now) -> Restored {
        let Kept(stored) = kept;
        let is_for_it = stored.head.selection.matches(&self.request.headers);
        if !is_for_it || self.flight.is_purged(&stored.head.tags) {
            return Restored::Fill(self);
        }
        let settings = self.tenant.with(|state| state.settings);
        let is_small = stored.length <= settings.object_bytes_max;
        if is_small {
            self.tenant.restore(&self.request.url, &stored);
        }
        let wishes = Asked::read(&self.request, &settings).map(|asked| asked.directives);
        let usability = wishes.map(|wishes| stored.head.policy.usability(&wishes, now));
        if usability != Ok(Usability::Fresh) {
            self.flight.validate(&stored);
            return Restored::Fill(self);
        }
        self.tenant.with(|state| state.counters.hits += 1);
        let status = CacheStatus {
            detail: Some("disk"),
            ..CacheStatus::hit(stored.head.policy.ttl_s(now))
        };
        let answer = self.answer(&stored, now, status);
        let phase = Phase::Settled {
            stored,
            status: None,
            stands_in: false,
        };
        self.settle(phase, now);
        Restored::Answer(answer)
    }
}
