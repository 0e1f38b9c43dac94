//! A request that waits for what another one fetches.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::flight::{Flight, Phase};
use super::lookup::Lookup;
use super::request::{PassReason, Request};
use super::tenant::Shared;
use crate::config::limits::HTTP_CACHE_RELOOKUPS_MAX;

/// Becomes a [`Lookup`] that is not [`Lookup::Wait`]. It may be dropped at any time.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Waiter {
    tenant: Rc<Shared>,
    flight: Rc<Flight>,
    /// Among those who wait for the flight, until it is left.
    place: Option<usize>,
    request: Request,
    attempt: u8,
}

impl Waiter {
    pub(super) fn new(
        tenant: Rc<Shared>,
        flight: Rc<Flight>,
        place: usize,
        request: Request,
        attempt: u8,
    ) -> Self {
        Self {
            tenant,
            flight,
            place: Some(place),
            request,
            attempt,
        }
    }

    /// What the flight has become for this request; `None`: nothing yet.
    fn outcome(&self) -> Option<Lookup> {
        let now = self.flight.now();
        match self.flight.phase() {
            Phase::Asking => None,
            Phase::Orphaned => Some(self.tenant.adopt(&self.flight, &self.request)),
            Phase::Growing(head) | Phase::Complete(head) => Some(
                match (
                    head.is_shareable(now),
                    head.selection.matches(&self.request.headers),
                ) {
                    (false, _) => self.tenant.pass(PassReason::NotShared),
                    (true, false) => self.again(),
                    (true, true) => self.tenant.share(&self.flight, &self.request, now),
                },
            ),
            Phase::Settled {
                stored, stands_in, ..
            } => {
                let is_for_it = stored.head.selection.matches(&self.request.headers);
                Some(
                    match (stands_in || stored.head.is_shareable(now), is_for_it) {
                        (false, _) => self.tenant.pass(PassReason::NotShared),
                        (true, false) => self.again(),
                        (true, true) => self.tenant.share(&self.flight, &self.request, now),
                    },
                )
            }
            Phase::Passed => Some(self.tenant.pass(PassReason::NotShared)),
            Phase::Failed => Some(Lookup::Failed),
            Phase::Aborted => Some(self.again()),
        }
    }

    /// Looks once more: now it is known by what the answers vary, say.
    fn again(&self) -> Lookup {
        match self.attempt + 1 {
            attempt if attempt <= HTTP_CACHE_RELOOKUPS_MAX => {
                self.tenant.look(&self.request, self.flight.now(), attempt)
            }
            _ => self.tenant.pass(PassReason::Variants),
        }
    }

    fn leave(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        if self.flight.leave(place) {
            self.tenant.land(&self.flight);
        }
    }
}

impl Future for Waiter {
    type Output = Lookup;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Lookup> {
        loop {
            let Some(lookup) = self.outcome() else {
                if let Some(place) = self.place {
                    self.flight.set_waker(place, cx.waker());
                }
                return Poll::Pending;
            };
            self.leave();
            match lookup {
                Lookup::Wait(mut next) => std::mem::swap(&mut *self, &mut next),
                lookup => return Poll::Ready(lookup),
            }
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}
