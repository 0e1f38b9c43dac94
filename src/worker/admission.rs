//! Whether a request of a tenant runs now, later or not at all.
//!
//! ```text
//!   quarantine ──► rate ──► (program) ──► place of the tenant ──► slot of the worker ──► runs
//!   503            429                    503 tenant_busy         503 no_slot
//!   quarantined    rate_limited           503 queue_timeout
//! ```
//!
//! Nothing of the request's body is read before it is through, and no refusal takes longer than the
//! tenant's `queue_ms`; but a request that waits for the program is another matter (`tenant.rs`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Limits;
use crate::fault::{Reason, Refusal};
use crate::scheduler;
use crate::token_bucket::TokenBucket;
use crate::worker::quarantine::{Change, Entry, Quarantine, Rules, Verdict};
use crate::worker::runtime::within;
use crate::worker::semaphore::{Permit, Semaphore};
use crate::worker::slots::{Holder, Slot, SlotsOf};
use crate::worker::split::Split;

const NS_PER_S: u64 = 1_000_000_000;

/// One tenant's admission on one worker.
#[derive(Debug)]
pub struct Admission {
    quarantine: RefCell<Quarantine>,
    rate: Option<TokenBucket>,
    running: Rc<Semaphore>,
    queue_max: usize,
    queue_wait: Duration,
}

/// A request's places: among its tenant's requests and in the worker's pool. Dropped after its
/// instance, so that there are never more instances than slots.
#[derive(Debug)]
pub struct Admitted {
    _slot: Option<Slot>,
    _place: Permit,
}

/// A request that came in, to be told off when its guest has ended.
#[derive(Debug)]
pub struct Pass {
    admission: Rc<Admission>,
    entry: Entry,
}

impl Admission {
    /// What `limits` allow; `split` is this worker's part of what holds over all workers.
    pub fn new(limits: &Limits, split: Split) -> Rc<Self> {
        let burst = split.share(limits.request_burst as usize) as u64;
        Rc::new(Self {
            quarantine: RefCell::new(Quarantine::new(Rules::of(limits))),
            rate: (limits.requests_per_s > 0)
                .then(|| TokenBucket::new(limits.requests_per_s, split.parts(), burst)),
            running: Semaphore::new(split.share(limits.concurrency)),
            queue_max: split.share(limits.queue),
            queue_wait: Duration::from_millis(limits.queue_ms),
        })
    }

    /// Lets a request in, as far as its tenant's past allows.
    ///
    /// # Errors
    /// [`Reason::Quarantined`], [`Reason::RateLimited`].
    pub fn enter(self: &Rc<Self>) -> Result<Pass, Refusal> {
        let mut quarantine = self.quarantine.borrow_mut();
        let entry = if quarantine.serves() {
            Entry::Usual
        } else {
            quarantine
                .enter(scheduler::now_ns())
                .map_err(|wait_ns| later(Reason::Quarantined, wait_ns))?
        };
        drop(quarantine);
        let pass = Pass {
            admission: Rc::clone(self),
            entry,
        };
        if let Some(rate) = &self.rate {
            let token = rate.take(1, scheduler::now_ns());
            token.map_err(|wait_ns| later(Reason::RateLimited, wait_ns))?;
        }
        Ok(pass)
    }

    /// Waits for a place among the tenant's running requests, then for a slot of the worker, of which
    /// `holder` says what the tenant has; where there are no `slots`, there is no program to run.
    ///
    /// # Errors
    /// [`Reason::TenantBusy`] when its queue is full, [`Reason::QueueTimeout`] and
    /// [`Reason::NoSlot`] when its turn did not come in time.
    pub async fn admit(
        &self,
        slots: Option<SlotsOf<'_>>,
        holder: &Holder,
    ) -> Result<Admitted, Reason> {
        if let Some(place) = self.running.try_acquire() {
            let Some(slots) = slots else {
                return Ok(Admitted {
                    _slot: None,
                    _place: place,
                });
            };
            let slot = match slots.try_acquire(holder) {
                Some(slot) => Some(slot),
                // It keeps its place: with a slot, it runs.
                None => within(self.queue_wait, slots.acquire(holder)).await,
            };
            let slot = slot.ok_or(Reason::NoSlot)?;
            return Ok(Admitted {
                _slot: Some(slot),
                _place: place,
            });
        }
        if self.running.waiting() >= self.queue_max {
            return Err(Reason::TenantBusy);
        }
        let has_place = Cell::new(false);
        let both = async {
            let place = self.running.acquire().await;
            has_place.set(true);
            let slot = match slots {
                Some(slots) => Some(slots.acquire(holder).await),
                None => None,
            };
            Admitted {
                _slot: slot,
                _place: place,
            }
        };
        match within(self.queue_wait, both).await {
            Some(admitted) => Ok(admitted),
            None if has_place.get() => Err(Reason::NoSlot),
            None => Err(Reason::QueueTimeout),
        }
    }
}

impl Pass {
    /// Whether the request may still run after it has waited: its tenant may have been quarantined
    /// meanwhile.
    ///
    /// # Errors
    /// [`Reason::Quarantined`].
    pub fn check(&self) -> Result<(), Refusal> {
        let serves = self.entry == Entry::Probe || self.admission.quarantine.borrow().serves();
        serves.then_some(()).ok_or(Reason::Quarantined.into())
    }

    /// The request's guest has ended: what that changes.
    pub fn settle(self, reason: Option<Reason>) -> Option<Change> {
        self.leave(Verdict::of(reason))
    }

    fn leave(&self, verdict: Verdict) -> Option<Change> {
        let mut quarantine = self.admission.quarantine.borrow_mut();
        let usual = quarantine.serves() && verdict != Verdict::Failed;
        let now_ns = if usual { 0 } else { scheduler::now_ns() };
        quarantine.leave(self.entry, verdict, now_ns)
    }
}

/// Once settled this changes nothing more; a request that was refused or dropped says nothing.
impl Drop for Pass {
    fn drop(&mut self) {
        self.leave(Verdict::Unknown);
    }
}

/// To be tried again in this many nanoseconds, rounded up to whole seconds.
fn later(reason: Reason, wait_ns: u64) -> Refusal {
    let seconds = wait_ns.div_ceil(NS_PER_S).max(1);
    Refusal {
        reason,
        retry_after_s: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        ..reason.into()
    }
}
