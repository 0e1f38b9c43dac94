//! Whose component is compiled next.
//!
//! ```text
//! small ──► quick lane ──┬──────────────────────────────► artifact, or the tenant's fault
//!                        └─ out of its short time ─┐
//! large ──────────────────────────────► slow lane ◄┘ from the start again, with the time that
//!                                                    its size allows
//! ```
//!
//! `COMPILE_JOBS_MAX` jobs run at once in each lane. A small component that takes long, by design
//! or not, holds up other small ones for no more than the quick lane's time.
//!
//! Of the tenants that wait for a lane, the one that used least of it lately is next; among equals
//! the first that came. So whoever changes a slow component again and again waits for everybody
//! else, and an idle tenant earns no credit, because there is nothing below zero.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::limits;

/// What was used counts half as much after this time.
const HALF_LIFE: Duration = Duration::from_secs(limits::COMPILE_DEBT_HALF_LIFE_S);

/// A debt below this is forgotten, in seconds of compiling.
const FORGOTTEN_S: f64 = 0.01;

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// For components that are small, and as long as they prove to be quick.
    Quick,
    /// For all others.
    Slow,
}

/// Both lanes. Clones are the same lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    quick: Queue,
    slow: Queue,
    debts: Debts,
}

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    waiting: Vec<Waiting>,
    /// How many have waited so far: the place of the next.
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    tenant: String,
    arrival: u64,
    admit: oneshot::Sender<Permit>,
}

/// A place in a lane. Dropping it charges the tenant for the time and lets the next one in.
#[derive(Debug)]
pub(super) struct Permit {
    lanes: Lanes,
    lane: Lane,
    tenant: String,
    since: Instant,
}

impl Lanes {
    /// Waits for a place. Dropping the future gives the wait up.
    pub(super) async fn enter(&self, lane: Lane, tenant: &str) -> Permit {
        let (admit, admitted) = oneshot::channel();
        {
            let mut state = self.state();
            let queue = state.queue(lane);
            let (tenant, arrival) = (tenant.to_owned(), queue.arrivals);
            queue.arrivals += 1;
            queue.waiting.push(Waiting {
                tenant,
                arrival,
                admit,
            });
        }
        self.admit(lane);
        match admitted.await {
            Ok(permit) => permit,
            // Its sender is in the queue until it is used.
            Err(_) => std::future::pending().await,
        }
    }

    /// Lets in whoever there is room for.
    fn admit(&self, lane: Lane) {
        loop {
            // In a statement of its own: the lock is let go before anything is dropped.
            let next = self.state().next(lane);
            let Some(next) = next else { return };
            let permit = Permit {
                lanes: self.clone(),
                lane,
                tenant: next.tenant,
                since: Instant::now(),
            };
            // To somebody who has given up it comes back, and ends here.
            let _ = next.admit.send(permit);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Quick => &mut self.quick,
            Lane::Slow => &mut self.slow,
        }
    }

    /// Takes the next one out of the queue, if there is one and room for it.
    fn next(&mut self, lane: Lane) -> Option<Waiting> {
        let State { quick, slow, debts } = self;
        let queue = match lane {
            Lane::Quick => quick,
            Lane::Slow => slow,
        };
        queue.waiting.retain(|waiting| !waiting.admit.is_closed());
        if queue.running >= limits::COMPILE_JOBS_MAX {
            return None;
        }
        let now = Instant::now();
        let rank = |waiting: &Waiting| (debts.of(&waiting.tenant, now), waiting.arrival);
        let places = queue.waiting.iter().enumerate();
        let (place, _) = places.min_by(|(_, left), (_, right)| {
            let ((left, first), (right, second)) = (rank(left), rank(right));
            left.total_cmp(&right).then(first.cmp(&second))
        })?;
        queue.running += 1;
        Some(queue.waiting.swap_remove(place))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.lanes.state();
            state.queue(self.lane).running -= 1;
            let now = Instant::now();
            let used = now.saturating_duration_since(self.since);
            state.debts.charge(&self.tenant, used, now);
        }
        self.lanes.admit(self.lane);
    }
}

/// How long each tenant's jobs took lately, in seconds, and when that was reckoned.
#[derive(Debug, Default)]
struct Debts(HashMap<String, (f64, Instant)>);

impl Debts {
    fn of(&self, tenant: &str, now: Instant) -> f64 {
        self.0.get(tenant).map_or(0.0, |debt| left(*debt, now))
    }

    fn charge(&mut self, tenant: &str, used: Duration, now: Instant) {
        let debt = self.of(tenant, now) + used.as_secs_f64();
        self.0.insert(tenant.to_owned(), (debt, now));
        self.0.retain(|_, debt| left(*debt, now) >= FORGOTTEN_S);
    }
}

/// What is left of a debt.
fn left((seconds, since): (f64, Instant), now: Instant) -> f64 {
    let age = now.saturating_duration_since(since);
    seconds * (-age.div_duration_f64(HALF_LIFE)).exp2()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    /// Whether a wait is over.
    fn poll<F: Future<Output = Permit>>(wait: std::pin::Pin<&mut F>) -> Option<Permit> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match wait.poll(&mut context) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    impl Lanes {
        fn owe(&self, tenant: &str, seconds: u64) {
            let used = Duration::from_secs(seconds);
            self.state().debts.charge(tenant, used, Instant::now());
        }
    }

    #[test]
    fn the_tenant_that_used_least_is_next_and_the_first_among_equals() {
        let lanes = Lanes::default();
        lanes.owe("heavy", 100);
        lanes.owe("light", 10);
        let mut running = poll(pin!(lanes.enter(Lane::Quick, "any")));
        assert!(running.is_some(), "there is room for one");
        let mut waits: Vec<_> = ["heavy", "light", "new", "newer"]
            .map(|tenant| Box::pin(lanes.enter(Lane::Quick, tenant)))
            .into();
        let mut order = Vec::new();
        while !waits.is_empty() {
            assert!(waits.iter_mut().all(|wait| poll(wait.as_mut()).is_none()));
            drop(running.take());
            waits.retain_mut(|wait| match poll(wait.as_mut()) {
                None => true,
                Some(permit) => {
                    order.push(permit.tenant.clone());
                    assert!(running.replace(permit).is_none(), "one at a time");
                    false
                }
            });
        }
        assert_eq!(order, ["new", "newer", "light", "heavy"]);
    }

    #[test]
    fn the_lanes_do_not_wait_for_each_other() {
        let lanes = Lanes::default();
        let slow = poll(pin!(lanes.enter(Lane::Slow, "a")));
        let quick = poll(pin!(lanes.enter(Lane::Quick, "b")));
        assert!(slow.is_some() && quick.is_some());
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let lanes = Lanes::default();
        let first = poll(pin!(lanes.enter(Lane::Slow, "a"))).expect("room");
        {
            // One gives up while it waits, one when it was let in and does not know yet.
            let mut waits = pin!(lanes.enter(Lane::Slow, "b"));
            assert!(poll(waits.as_mut()).is_none());
        }
        {
            let mut admitted = pin!(lanes.enter(Lane::Slow, "c"));
            assert!(poll(admitted.as_mut()).is_none());
            drop(first);
            assert_eq!(lanes.state().slow.running, 1);
        }
        assert_eq!(lanes.state().slow.running, 0);
        assert!(poll(pin!(lanes.enter(Lane::Slow, "d"))).is_some());
    }

    #[test]
    fn what_was_used_is_forgotten_by_halves() {
        let (mut debts, start) = (Debts::default(), Instant::now());
        debts.charge("a", Duration::from_secs(8), start);
        debts.charge("a", Duration::from_secs(8), start + HALF_LIFE);
        let after = |halves: u32| debts.of("a", start + (halves + 1) * HALF_LIFE);
        assert!((after(0) - 12.0).abs() < 1e-9);
        assert!((after(2) - 3.0).abs() < 1e-9);
        debts.charge("b", Duration::from_secs(1), start + 30 * HALF_LIFE);
        assert!(!debts.0.contains_key("a"));
    }
}
