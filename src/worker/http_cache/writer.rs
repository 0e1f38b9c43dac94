//! The body of an origin's answer on its way into the cache.
//!
//! ```text
//!  push ─┬─ fits: copied, kept, counted ──────────► finish ─► stored
//!        └─ too large, or no room: from here on a window over what readers have not read yet
//! ```

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::flight::{Flight, Phase};
use super::stored::{Head, Stored};
use super::tenant::Shared;
use crate::config::limits::HTTP_CACHE_CHUNK_OVERHEAD_BYTES;
use crate::data::http_cache::Which;

/// What a piece of a body was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It is kept, to be stored.
    Storing,
    /// It is too large to be stored; those who read it still want it. Wait for [`Writer::poll_ready`].
    Passing,
    /// Nobody wants it: drop the writer and the origin's answer.
    Nobody,
}

/// Where the body of an answer goes. Dropping it unfinished tells all readers that it broke off.
#[derive(Debug)]
#[must_use = "others wait for it"]
pub struct Writer {
    tenant: Rc<Shared>,
    flight: Rc<Flight>,
    head: Rc<Head>,
    /// Of pieces that are kept.
    charged: u64,
    is_finished: bool,
}

impl Writer {
    pub(super) fn new(tenant: &Rc<Shared>, flight: &Rc<Flight>, head: &Rc<Head>) -> Self {
        Self {
            tenant: Rc::clone(tenant),
            flight: Rc::clone(flight),
            head: Rc::clone(head),
            charged: 0,
            is_finished: false,
        }
    }

    /// Adds a piece. What is kept is copied, so that it holds no buffer of a connection.
    pub fn push(&mut self, chunk: &Bytes) -> Demand {
        if chunk.is_empty() {
            return self.demand();
        }
        if self.flight.is_storing() {
            let length = self.flight.length() + chunk.len() as u64;
            let cost = chunk.len() as u64 + HTTP_CACHE_CHUNK_OVERHEAD_BYTES;
            let object_bytes_max = self.tenant.with(|state| state.settings.object_bytes_max);
            if length <= object_bytes_max && self.tenant.reserve(cost) {
                self.charged += cost;
                self.flight.append(Bytes::copy_from_slice(chunk));
                return Demand::Storing;
            }
            self.stop_storing();
        }
        self.flight.append(chunk.clone());
        self.demand()
    }

    /// Ready when there is room for another piece. While it is to be stored there always is.
    pub fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.flight.poll_room(cx)
    }

    /// The body is complete: it is stored, unless it was purged meanwhile, or has another length than was
    /// said, which is as if it broke off. Whether it is stored.
    pub fn finish(mut self) -> bool {
        let length = self.flight.length();
        if self.head.declared_length.is_some_and(|said| said != length) {
            return false;
        }
        self.is_finished = true;
        let is_storing = self.flight.is_storing();
        self.tenant.release(std::mem::take(&mut self.charged));
        self.tenant.land(&self.flight);
        let mut is_stored = false;
        if is_storing && !self.flight.is_doomed() {
            let stored = Rc::new(Stored {
                head: Rc::clone(&self.head),
                chunks: self.flight.body(),
                length,
            });
            let key = &self.flight.request.url;
            is_stored = self.tenant.store(key, &stored, None);
            self.tenant.keep_below(key, &stored, self.flight.begun);
            self.tenant
                .with(|state| state.counters.stored += u64::from(is_stored));
        }
        self.flight.go(Phase::Complete(Rc::clone(&self.head)), None);
        is_stored
    }

    fn demand(&self) -> Demand {
        match self.flight.is_storing() {
            true => Demand::Storing,
            false if self.flight.is_wanted() => Demand::Passing,
            false => Demand::Nobody,
        }
    }

    /// It is too large, or the cache too small.
    fn stop_storing(&mut self) {
        self.tenant.release(std::mem::take(&mut self.charged));
        self.flight.stop_storing();
        let (key, now) = (&self.flight.request.url, self.flight.now());
        self.tenant.with(|state| state.marks.set(key, now));
        self.tenant.forget_below(|| Which::Url(key.to_string()));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_finished {
            self.tenant.release(self.charged);
            self.tenant.land(&self.flight);
            self.flight.go(Phase::Aborted, None);
        }
    }
}
