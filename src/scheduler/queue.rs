//! Weighted fair queueing of guest slices on one worker.
//!
//! Each tenant has a virtual clock that advances by its CPU time, divided by its weight. Of the
//! tenants that wait, the one of the smallest clock is next, for one slice:
//!
//! ```text
//!   clock   t1 ──┤        t2 ────┤     t3 ┤            t3 runs, then t1, then t2
//! ```
//!
//! A tenant that was idle begins at the clock of whoever ran last in order, the virtual time, so
//! idling earns no credit (start-time fair queueing: Goyal, Vin and Cheng 1996). How many of its
//! guests wait makes no difference. Those above their ceiling wait apart until they are below it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

use super::account::{Account, Lane};
use super::batch::Batch;
use super::standing::Bar;
use super::turn::Slice;

/// Virtual clock or time, in nanoseconds, and a number that keeps equals in order.
pub(super) type Key = (u64, u64);

/// Where a tenant is while some of its guests wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Ready(Lane, Key),
    /// In the batch lane by its first key, until the time of the second: then it is interactive again.
    Rising(Key, Key),
    /// Above its ceiling.
    Throttled(Key),
}

impl Place {
    fn lane(self) -> Option<Lane> {
        match self {
            Self::Ready(lane, _) => Some(lane),
            Self::Rising(..) => Some(Lane::Batch),
            Self::Throttled(_) => None,
        }
    }
}

/// A guest that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) waker: Waker,
    /// The turn of the ring in which it was called, counted from 1; 0 for none.
    pub(super) called_in: u64,
}

/// Who waits for the core. Knows no clock and no thread: what it is told is all there is.
#[derive(Debug)]
pub(super) struct FairQueue {
    interactive: BTreeMap<Key, Rc<Account>>,
    batch: Batch,
    /// Those of the batch lane who will be interactive again, by when they are.
    rising: BTreeMap<Key, Rc<Account>>,
    /// Tenants above their ceiling, by when they are below it.
    throttled: BTreeMap<Key, Rc<Account>>,
    bar: Bar,
    virtual_ns: u64,
    /// The latest time that it was told.
    now_ns: u64,
    order: u64,
}

impl FairQueue {
    pub(super) const fn new() -> Self {
        Self {
            interactive: BTreeMap::new(),
            batch: Batch::new(),
            rising: BTreeMap::new(),
            throttled: BTreeMap::new(),
            bar: Bar::new(),
            virtual_ns: 0,
            now_ns: 0,
            order: 0,
        }
    }

    /// Whether nobody waits who might run now.
    pub(super) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.batch.is_empty()
    }

    /// Whether no interactive tenant waits.
    pub(super) fn is_interactive_empty(&self) -> bool {
        self.interactive.is_empty()
    }

    /// The lane that a tenant belongs to.
    pub(super) fn lane_of(&self, account: &Account, now_ns: u64) -> Lane {
        account.lane(self.bar, now_ns)
    }

    /// Whether no batch tenant waits.
    pub(super) fn is_batch_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// A guest begins to wait, behind those of its tenant with a smaller ticket.
    pub(super) fn push(&mut self, account: &Rc<Account>, ticket: u64, waker: Waker, now_ns: u64) {
        let waiter = Waiter {
            waker,
            called_in: 0,
        };
        account.waiting.borrow_mut().insert(ticket, waiter);
        if account.place.get().is_none() {
            self.now_ns = now_ns;
            self.place(account);
        }
    }

    /// A guest waits no more.
    pub(super) fn remove(&mut self, account: &Account, ticket: u64) -> Option<Waiter> {
        let waiter = account.waiting.borrow_mut().remove(&ticket);
        if account.waiting.borrow().is_empty() {
            self.unplace(account);
        }
        waiter
    }

    /// The tenant who is next in a lane.
    pub(super) fn first(&mut self, lane: Lane) -> Option<Rc<Account>> {
        if lane == Lane::Interactive {
            self.demote();
        }
        self.waiting(lane).next().map(Rc::clone)
    }

    /// Those who were interactive when they came and are not any more: the bar was raised.
    fn demote(&mut self) {
        while let Some(first) = self.interactive.first_entry() {
            if first.get().lane(self.bar, self.now_ns) == Lane::Interactive {
                break;
            }
            let account = first.remove();
            self.place(&account);
        }
    }

    /// Whether a tenant waits in a lane, and belongs there still.
    pub(super) fn is_in(&self, account: &Account, lane: Lane) -> bool {
        account.place.get().and_then(Place::lane) == Some(lane)
            && (lane == Lane::Batch || account.lane(self.bar, self.now_ns) == lane)
    }

    /// Those who wait in a lane, in order.
    pub(super) fn waiting(&self, lane: Lane) -> impl Iterator<Item = &Rc<Account>> {
        let of = |it: Lane| usize::from(it == lane).wrapping_neg();
        let interactive = self.interactive.values().take(of(Lane::Interactive));
        let batch = self.batch.iter().map(|(_, account)| account);
        interactive.chain(batch.take(of(Lane::Batch)))
    }

    /// Somebody who waits begins, and is about to be removed.
    pub(super) fn begins(&mut self) {
        let interactive = self.interactive.keys().next();
        let batch = self.batch.iter().next().map(|(key, _)| key);
        let clocks = [interactive, batch].map(|key| key.map(|key| key.0));
        // An interactive tenant may be ahead of a batch tenant: time is with the one behind.
        if let Some(clock_ns) = clocks.into_iter().flatten().min() {
            self.virtual_ns = self.virtual_ns.max(clock_ns);
        }
    }

    /// Charges a slice to its tenant.
    pub(super) fn charge(&mut self, account: &Rc<Account>, slice: Slice, now_ns: u64) {
        self.now_ns = now_ns;
        let alone = self.is_empty();
        if alone {
            // Whoever runs while nobody waits takes nothing from anybody.
            self.virtual_ns = self.virtual_ns.max(account.clock_ns.get());
        }
        let lane = account.lane(self.bar, now_ns);
        let beside = self.batch.heaviest();
        account.charge(slice.cpu_ns, self.virtual_ns, lane, beside, now_ns);
        // Before others, each slice counts: one long request would go first for ever.
        let out_of_turn = slice.long && lane == Lane::Interactive && !alone;
        if out_of_turn {
            self.bar.raise(now_ns);
        }
        if out_of_turn || slice.first_long {
            account.disappointed();
        }
        if account.place.get().is_some() {
            self.unplace(account);
            self.place(account);
        }
    }

    /// Lets those go on who are below their ceiling again, and those go first who may again.
    pub(super) fn release(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        while let Some(first) = self.rising.first_entry() {
            if first.key().0 > now_ns {
                break;
            }
            let account = first.remove();
            self.unplace(&account);
            self.place(&account);
        }
        while let Some(first) = self.throttled.first_entry() {
            if first.key().0 > now_ns {
                break;
            }
            let account = first.remove();
            self.place(&account);
        }
    }

    /// When [`release`](Self::release) has something to do next.
    pub(super) fn next_release(&self) -> Option<u64> {
        self.throttled.first_key_value().map(|(key, _)| key.0)
    }

    fn place(&mut self, account: &Rc<Account>) {
        self.order += 1;
        let opens_at = account.opens_at();
        if opens_at > self.now_ns {
            let key = (opens_at, self.order);
            account.place.set(Some(Place::Throttled(key)));
            self.throttled.insert(key, Rc::clone(account));
        } else {
            let clock_ns = account.clock_ns.get().max(self.virtual_ns);
            account.clock_ns.set(clock_ns);
            let (lane, key) = (account.lane(self.bar, self.now_ns), (clock_ns, self.order));
            let place = match (lane, account.interactive_at(self.bar)) {
                (Lane::Batch, Some(at_ns)) => {
                    let rises = (at_ns, self.order);
                    self.rising.insert(rises, Rc::clone(account));
                    Place::Rising(key, rises)
                }
                _ => Place::Ready(lane, key),
            };
            account.place.set(Some(place));
            let account = Rc::clone(account);
            match lane {
                Lane::Interactive => drop(self.interactive.insert(key, account)),
                Lane::Batch => self.batch.insert(key, account),
            }
        }
    }

    fn unplace(&mut self, account: &Account) {
        match account.place.take() {
            Some(Place::Ready(Lane::Interactive, key)) => drop(self.interactive.remove(&key)),
            Some(Place::Ready(Lane::Batch, key)) => self.batch.remove(&key),
            Some(Place::Rising(key, rises)) => {
                self.rising.remove(&rises);
                self.batch.remove(&key);
            }
            Some(Place::Throttled(key)) => drop(self.throttled.remove(&key)),
            None => {}
        }
    }
}
