//! A worker's slots: how many requests may run at once, and how tenants share them.
//!
//! A guest that sleeps costs no CPU time and keeps its slot. So that a few tenants of sleepers do not
//! leave the others without any, a tenant may take another slot only while it holds fewer than twice as
//! many as are free (dynamic thresholds: Choudhury and Hahne 1998). Nothing is set aside for anybody,
//! and yet whoever comes later finds some:
//!
//! ```text
//!   greedy tenants    1     2     10    100
//!   of 1,500 slots  1000  600    142     14   each, at most
//!     left free      500  300     71      7
//! ```
//!
//! Of those who wait for a slot, the tenant that holds the fewest is next.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::config::{Profile, limits};
use crate::engine::{Program, Stacks};

/// The worker's slots: requests that may run at once, and how many of those may be of programs that
/// need several stacks each.
#[derive(Debug)]
pub struct Slots {
    all: Rc<Pool>,
    concurrent: Rc<Pool>,
    filters: Rc<Pool>,
}

/// What one tenant holds of a worker's slots, and what of it waits for one.
#[derive(Debug, Default)]
pub struct Holder {
    all: Rc<Held>,
    concurrent: Rc<Held>,
    filters: Rc<Held>,
}

/// The slots as one request needs them.
#[derive(Clone, Copy, Debug)]
pub struct SlotsOf<'s> {
    slots: &'s Slots,
    stacks: Stacks,
    /// Instances that it has at once; at least one.
    count: usize,
}

/// One of the worker's slots, with the stacks that belong to it; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _all: Permit,
    _stacks: Option<Permit>,
    /// Those of the same request's other instances: one of all runs at a time, so the stacks are theirs, too.
    others: Vec<Permit>,
}

impl Slots {
    /// As many as the profile's pool is good for.
    pub fn new(profile: &Profile) -> Self {
        Self {
            all: Pool::new(profile.running_max),
            concurrent: Pool::new(profile.concurrent_max()),
            filters: Pool::new(profile.filters_max()),
        }
    }

    /// What a request needs that has `count` instances at once, of this program and of others like it.
    pub fn of(&self, program: &Program, count: usize) -> SlotsOf<'_> {
        SlotsOf {
            slots: self,
            stacks: program.stacks,
            count,
        }
    }
}

impl<'s> SlotsOf<'s> {
    /// Where a second stack comes from, and what the tenant has of those.
    fn second<'h>(self, holder: &'h Holder) -> Option<(&'s Rc<Pool>, &'h Rc<Held>)> {
        match self.stacks {
            Stacks::One => None,
            Stacks::Two => Some((&self.slots.concurrent, &holder.concurrent)),
            Stacks::Filter => Some((&self.slots.filters, &holder.filters)),
        }
    }

    /// Its slots, if the tenant may have them at once.
    pub fn try_acquire(self, holder: &Holder) -> Option<Slot> {
        let mut slot = self.try_acquire_one(holder)?;
        for _ in 1..self.count {
            slot.others.push(self.slots.all.try_acquire(&holder.all)?);
        }
        Some(slot)
    }

    fn try_acquire_one(self, holder: &Holder) -> Option<Slot> {
        let stacks = match self.second(holder) {
            Some((pool, held)) => Some(pool.try_acquire(held)?),
            None => None,
        };
        let all = self.slots.all.try_acquire(&holder.all)?;
        Some(Slot {
            _all: all,
            _stacks: stacks,
            others: Vec::new(),
        })
    }

    /// Waits for its slots. Dropping the future gives up the place in the queue. Whoever waits for
    /// another one holds those that it has got: as some are always left free, this ends, or the time does.
    pub async fn acquire(self, holder: &Holder) -> Slot {
        let mut slot = self.acquire_one(holder).await;
        for _ in 1..self.count {
            slot.others.push(self.slots.all.acquire(&holder.all).await);
        }
        slot
    }

    async fn acquire_one(self, holder: &Holder) -> Slot {
        // The scarcer one first: who waits for it holds nothing that another program could use.
        let stacks = match self.second(holder) {
            Some((pool, held)) => Some(pool.acquire(held).await),
            None => None,
        };
        Slot {
            _all: self.slots.all.acquire(&holder.all).await,
            _stacks: stacks,
            others: Vec::new(),
        }
    }
}

/// Tenants that wait: those who hold fewer come first, then those who came first.
type Key = (usize, u64);

#[derive(Debug)]
struct Pool {
    free: Cell<usize>,
    waiting: RefCell<BTreeMap<Key, Rc<Held>>>,
    order: Cell<u64>,
}

#[derive(Debug, Default)]
struct Held {
    count: Cell<usize>,
    waiters: RefCell<VecDeque<Rc<Waiter>>>,
    /// Where the pool keeps it while some wait.
    key: Cell<Option<Key>>,
}

#[derive(Debug)]
struct Waiter {
    granted: Cell<bool>,
    waker: RefCell<Waker>,
}

/// One of a pool; given back when dropped.
#[derive(Debug)]
struct Permit {
    pool: Rc<Pool>,
    held: Rc<Held>,
}

impl Pool {
    fn new(permits: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(permits),
            waiting: RefCell::default(),
            order: Cell::new(0),
        })
    }

    /// Whether one may be taken by a tenant that holds this many.
    fn allows(&self, held: usize) -> bool {
        held < self.free.get().saturating_mul(limits::SLOTS_PER_FREE_SLOT)
    }

    fn try_acquire(self: &Rc<Self>, held: &Rc<Held>) -> Option<Permit> {
        // Its own requests do not overtake each other; another tenant's that wait may not have one.
        let may = held.key.get().is_none() && self.allows(held.count.get());
        may.then(|| {
            self.take(held);
            self.permit(held)
        })
    }

    fn acquire(self: &Rc<Self>, held: &Rc<Held>) -> Acquire {
        Acquire {
            pool: Rc::clone(self),
            held: Rc::clone(held),
            waiter: None,
        }
    }

    fn permit(self: &Rc<Self>, held: &Rc<Held>) -> Permit {
        Permit {
            pool: Rc::clone(self),
            held: Rc::clone(held),
        }
    }

    fn take(&self, held: &Held) {
        self.free.set(self.free.get() - 1);
        held.count.set(held.count.get() + 1);
    }

    fn give_back(&self, held: &Rc<Held>) {
        self.free.set(self.free.get() + 1);
        held.count.set(held.count.get() - 1);
        self.place(held);
        while let Some(next) = self.next() {
            let Some(waiter) = next.waiters.borrow_mut().pop_front() else {
                break; // those who wait have a waiter
            };
            self.take(&next);
            self.place(&next);
            waiter.granted.set(true);
            waiter.waker.borrow().wake_by_ref();
        }
    }

    /// The tenant that is next, if it may have one.
    fn next(&self) -> Option<Rc<Held>> {
        let waiting = self.waiting.borrow();
        let ((held, _), next) = waiting.first_key_value()?;
        self.allows(*held).then(|| Rc::clone(next))
    }

    /// Puts a tenant where it belongs, now that what it holds or what of it waits has changed.
    fn place(&self, held: &Rc<Held>) {
        let mut waiting = self.waiting.borrow_mut();
        let old = held.key.take();
        if let Some(key) = old {
            waiting.remove(&key);
        }
        if !held.waiters.borrow().is_empty() {
            let order = old.map_or_else(|| self.order.get() + 1, |(_, order)| order);
            self.order.set(self.order.get().max(order));
            let key = (held.count.get(), order);
            held.key.set(Some(key));
            waiting.insert(key, Rc::clone(held));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.give_back(&self.held);
    }
}

/// See [`SlotsOf::acquire`].
#[derive(Debug)]
struct Acquire {
    pool: Rc<Pool>,
    held: Rc<Held>,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        match &self.waiter {
            None => {
                if let Some(permit) = self.pool.try_acquire(&self.held) {
                    return Poll::Ready(permit);
                }
                let waiter = Rc::new(Waiter {
                    granted: Cell::new(false),
                    waker: RefCell::new(cx.waker().clone()),
                });
                self.held.waiters.borrow_mut().push_back(Rc::clone(&waiter));
                self.pool.place(&self.held);
                self.waiter = Some(waiter);
                Poll::Pending
            }
            Some(waiter) if waiter.granted.get() => {
                self.waiter = None;
                Poll::Ready(self.pool.permit(&self.held))
            }
            Some(waiter) => {
                waiter.waker.borrow_mut().clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else {
            return;
        };
        if waiter.granted.get() {
            self.pool.give_back(&self.held);
        } else {
            let others = |other: &Rc<Waiter>| !Rc::ptr_eq(other, &waiter);
            self.held.waiters.borrow_mut().retain(others);
            self.pool.place(&self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(acquire: &mut Acquire) -> Option<Permit> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(acquire).poll(&mut cx) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn take_all(pool: &Rc<Pool>, held: &Rc<Held>) -> Vec<Permit> {
        std::iter::from_fn(|| pool.try_acquire(held)).collect()
    }

    #[test]
    fn greedy_tenants_leave_some_for_the_next_one() {
        for (tenants, each, left) in [(1, 1000, 500), (2, 600, 300), (10, 142, 71), (100, 14, 7)] {
            let pool = Pool::new(1500);
            let greedy: Vec<Rc<Held>> = (0..tenants).map(|_| Rc::default()).collect();
            // One after the other, each as often as it may.
            let mut permits = Vec::new();
            loop {
                let before = permits.len();
                permits.extend(greedy.iter().filter_map(|held| pool.try_acquire(held)));
                if permits.len() == before {
                    break;
                }
            }
            for held in &greedy {
                let count = held.count.get();
                assert!(count.abs_diff(each) <= 1, "{tenants}: {count}");
            }
            assert!(pool.free.get() >= left, "{tenants}: {}", pool.free.get());
            let late = take_all(&pool, &Rc::default());
            assert!(late.len() >= left / 2, "{tenants}: {}", late.len());
        }
    }

    #[test]
    fn who_holds_the_fewest_is_next_and_nobody_overtakes_within_a_tenant() {
        let pool = Pool::new(3);
        let (many, few): (Rc<Held>, Rc<Held>) = Default::default();
        let mut held = take_all(&pool, &many);
        assert_eq!(held.len(), 2, "of three: it may not have the last");
        let (mut first, mut second) = (pool.acquire(&many), pool.acquire(&many));
        assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
        let last = pool.try_acquire(&few).expect("it holds none");
        let mut waits = pool.acquire(&few);
        assert!(poll(&mut waits).is_none());
        held.pop();
        // Both hold one; `many` waits for longer.
        let granted = poll(&mut first).expect("granted");
        assert!(poll(&mut second).is_none() && poll(&mut waits).is_none());
        drop(granted);
        drop(last);
        let second = poll(&mut second).map(drop);
        let waits = poll(&mut waits).map(drop);
        assert!(second.is_some() || waits.is_some());
        held.clear();
        assert_eq!(
            (pool.free.get(), many.count.get(), few.count.get()),
            (3, 0, 0)
        );
    }

    #[test]
    fn what_was_granted_and_not_taken_is_passed_on() {
        let pool = Pool::new(1);
        let (a, b): (Rc<Held>, Rc<Held>) = Default::default();
        let permit = pool.try_acquire(&a).expect("it is free");
        let (mut first, mut gone, mut last) =
            (pool.acquire(&b), pool.acquire(&b), pool.acquire(&a));
        for waiting in [&mut first, &mut gone, &mut last] {
            assert!(poll(waiting).is_none());
        }
        drop(gone);
        drop(permit);
        drop(first);
        assert!(poll(&mut last).is_some());
        assert_eq!(pool.free.get(), 1);
        assert!(pool.waiting.borrow().is_empty());
    }
}
