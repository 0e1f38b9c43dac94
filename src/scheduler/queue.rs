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

/// Virtual clock or time, in nanoseconds, and a number that keeps equals in order.
type Key = (u64, u64);

/// Where a tenant is while some of its guests wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Ready(Lane, Key),
    Throttled(Key),
}

/// A guest that is next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) account: Rc<Account>,
    pub(super) ticket: u64,
    pub(super) lane: Lane,
    pub(super) waker: Waker,
}

/// Who waits for the core. Knows no clock and no thread: what it is told is all there is.
#[derive(Debug)]
pub(super) struct FairQueue {
    interactive: BTreeMap<Key, Rc<Account>>,
    batch: BTreeMap<Key, Rc<Account>>,
    /// Tenants above their ceiling, by when they are below it.
    throttled: BTreeMap<Key, Rc<Account>>,
    virtual_ns: u64,
    order: u64,
}

impl FairQueue {
    pub(super) const fn new() -> Self {
        Self {
            interactive: BTreeMap::new(),
            batch: BTreeMap::new(),
            throttled: BTreeMap::new(),
            virtual_ns: 0,
            order: 0,
        }
    }

    /// Whether nobody waits who might run now.
    pub(super) fn is_empty(&self) -> bool {
        self.interactive.is_empty() && self.batch.is_empty()
    }

    /// The same of one lane.
    pub(super) fn is_empty_in(&self, lane: Lane) -> bool {
        match lane {
            Lane::Interactive => self.interactive.is_empty(),
            Lane::Batch => self.batch.is_empty(),
        }
    }

    /// A guest begins to wait, behind those of its tenant with a smaller ticket.
    pub(super) fn push(&mut self, account: &Rc<Account>, ticket: u64, waker: Waker, now_ns: u64) {
        account.waiting.borrow_mut().insert(ticket, waker);
        if account.place.get().is_none() {
            self.place(account, now_ns);
        }
    }

    /// A guest waits no more.
    pub(super) fn remove(&mut self, account: &Account, ticket: u64) -> Option<Waker> {
        let waker = account.waiting.borrow_mut().remove(&ticket);
        if account.waiting.borrow().is_empty() {
            self.unplace(account);
        }
        waker
    }

    /// The one tenant that waits and might run now; `None` when there are none or several.
    pub(super) fn only(&self) -> Option<&Rc<Account>> {
        match self.interactive.len() + self.batch.len() {
            1 => self.interactive.values().chain(self.batch.values()).next(),
            _ => None,
        }
    }

    /// Takes the guest who is next in a lane.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<Next> {
        let account = Rc::clone(self.lane(lane).first_key_value()?.1);
        let (ticket, waker) = account.waiting.borrow_mut().pop_first()?;
        if account.waiting.borrow().is_empty() {
            self.unplace(&account);
        }
        Some(Next {
            account,
            ticket,
            lane,
            waker,
        })
    }

    /// Somebody begins; `clocks` are those of everybody who was taken from the queue and has not
    /// begun before, this one's among them.
    pub(super) fn began(&mut self, clocks: impl Iterator<Item = u64>) {
        let first = |lane: &BTreeMap<Key, _>| lane.first_key_value().map(|(key, _)| key.0);
        let waiting = [first(&self.interactive), first(&self.batch)];
        // An interactive tenant may be ahead of a batch tenant: time is with the one behind.
        if let Some(clock_ns) = waiting.into_iter().flatten().chain(clocks).min() {
            self.virtual_ns = self.virtual_ns.max(clock_ns);
        }
    }

    /// Charges CPU time to a tenant; `alone` says that nobody who was taken from the queue has yet to
    /// begin.
    pub(super) fn charge(&mut self, account: &Rc<Account>, cpu_ns: u64, now_ns: u64, alone: bool) {
        if alone && self.is_empty() {
            // Whoever runs while nobody waits takes nothing from anybody.
            self.virtual_ns = self.virtual_ns.max(account.clock_ns.get());
        }
        account.charge(cpu_ns, self.virtual_ns, now_ns);
        if account.place.get().is_some() {
            self.unplace(account);
            self.place(account, now_ns);
        }
    }

    /// Lets those go on who are below their ceiling again.
    pub(super) fn release(&mut self, now_ns: u64) {
        while let Some(first) = self.throttled.first_entry() {
            if first.key().0 > now_ns {
                break;
            }
            let account = first.remove();
            self.place(&account, now_ns);
        }
    }

    /// When [`release`](Self::release) has something to do next.
    pub(super) fn next_release(&self) -> Option<u64> {
        self.throttled.first_key_value().map(|(key, _)| key.0)
    }

    fn place(&mut self, account: &Rc<Account>, now_ns: u64) {
        self.order += 1;
        let opens_at = account.opens_at();
        if opens_at > now_ns {
            let key = (opens_at, self.order);
            account.place.set(Some(Place::Throttled(key)));
            self.throttled.insert(key, Rc::clone(account));
        } else {
            let clock_ns = account.clock_ns.get().max(self.virtual_ns);
            account.clock_ns.set(clock_ns);
            let (lane, key) = (account.lane(now_ns), (clock_ns, self.order));
            account.place.set(Some(Place::Ready(lane, key)));
            self.lane(lane).insert(key, Rc::clone(account));
        }
    }

    fn unplace(&mut self, account: &Account) {
        match account.place.take() {
            Some(Place::Ready(lane, key)) => self.lane(lane).remove(&key),
            Some(Place::Throttled(key)) => self.throttled.remove(&key),
            None => None,
        };
    }

    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<Key, Rc<Account>> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Batch => &mut self.batch,
        }
    }
}
