//! One turn of the ring to the next: what may run in between, and in which order.
//!
//! ```text
//!  ring turn ─► interactive tenants … ─► (ring turns) ─► batch tenants … ─► gate closes ─► ring turn
//!               └────────────────────── at most one slice ─────────────────────┘
//! ```
//!
//! Within each lane the order is that of the [`FairQueue`]. Interactive tenants go first: theirs
//! is what a slice of somebody else would make slow. Where they closed the gate before any batch
//! tenant ran, a batch tenant goes first after the next turn of the ring; so none starves another. Each
//! lane has half of the time where both want it: where the end of a batch tenant's guest could not be
//! interrupted, interactive ones have as much before the next goes first.
//!
//! Who is next is decided when a guest begins, by what all before it have used. Several are called
//! before, in the order that is then likely, because the runtime submits to the ring whenever it has
//! few other tasks: called one by one, each guest would cost a system call. One whose tenant is not
//! quite the first yet begins all the same, or its early coming would be for nothing, and that of all
//! who were called after it. Others who come too early wait on, in the place that they had, and so do
//! those who come when the gate is closed.

use std::rc::Rc;
use std::task::Waker;

use super::account::{Account, Lane};
use super::queue::FairQueue;
use crate::config::limits;

/// Guests that are called at once. With fewer left than half of it, more are called.
const CALLED_MAX: usize = 32;

/// A tenant may begin before another one that is behind it by this part of half a slice.
const SLACK: u64 = 4;

/// A request that is cut short computes when it has used this, or half a slice, if that is longer.
const LONG_NS: u64 = limits::INTERACTIVE_LONG_US * 1_000;

/// What a guest has used in one slice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// How long the ring has waited for it, in nanoseconds.
    pub running_ns: u64,
    /// CPU time, in nanoseconds.
    pub cpu_ns: u64,
    /// The guest's request computes: see [`is_long`](super::is_long).
    pub long: bool,
    /// It does so for the first time.
    pub first_long: bool,
}

/// What has run since the ring was last turned, and who waits for the next turn. Knows no clock and
/// no thread. Wakers that it gives back are to be woken, or dropped, when it is not borrowed: either
/// may end a guest, and that is charged here.
#[derive(Debug)]
pub(super) struct Turn {
    /// Guest time since the last ring turn, in nanoseconds.
    used_ns: u64,
    /// Above this the gate is closed, in nanoseconds.
    gate_ns: u64,
    queue: FairQueue,
    /// Turns, counted from 1.
    turns: u64,
    /// How many wait.
    waiting: usize,
    /// How many of them were called in this turn.
    called: usize,
    /// Batch tenants may run, too, until the next ring turn.
    batch_open: bool,
    /// One has, since the last ring turn.
    batch_ran: bool,
    /// One goes first.
    batch_first: bool,
    /// How much more time batch tenants had than interactive ones, while those waited, in nanoseconds.
    batch_ahead_ns: u64,
    /// Tickets are counted from 1.
    tickets: u64,
}

/// Whether it is a guest's turn.
#[derive(Debug, Default)]
pub(super) struct Begin {
    /// It runs now, and waits no more.
    pub(super) now: bool,
    /// Whose turn it is instead, where that one was not called yet.
    pub(super) call: Option<Waker>,
    /// Who would have been called for it.
    pub(super) old: Option<Waker>,
}

impl Turn {
    pub(super) const fn new() -> Self {
        Self {
            used_ns: 0,
            gate_ns: u64::MAX,
            queue: FairQueue::new(),
            turns: 1,
            waiting: 0,
            called: 0,
            batch_open: false,
            batch_ran: false,
            batch_first: false,
            batch_ahead_ns: 0,
            tickets: 0,
        }
    }

    /// Closes the gate after this much guest time, in nanoseconds.
    pub(super) fn set_gate_ns(&mut self, gate_ns: u64) {
        self.gate_ns = gate_ns;
    }

    /// Whether a guest that has been running for `running_ns` should give way now.
    pub(super) fn should_yield(&self, running_ns: u64) -> bool {
        self.used_ns + running_ns >= self.gate_ns
    }

    fn closed(&self) -> bool {
        self.should_yield(0)
    }

    /// Whether a guest of this tenant may run without waiting: the gate is open, and nobody waits.
    pub(super) fn may_run(&self, account: &Account, now_ns: impl Fn() -> u64) -> bool {
        !self.closed()
            && self.queue.is_empty()
            && !(account.is_capped() && account.opens_at() > now_ns())
    }

    /// A guest begins to wait; gives its ticket.
    pub(super) fn push(&mut self, account: &Rc<Account>, waker: Waker, now_ns: u64) -> u64 {
        self.tickets += 1;
        self.waiting += 1;
        self.queue.push(account, self.tickets, waker, now_ns);
        self.tickets
    }

    /// Ends a wait early.
    pub(super) fn remove(&mut self, account: &Account, ticket: u64) -> Option<Waker> {
        let waiter = self.queue.remove(account, ticket)?;
        self.waiting -= 1;
        self.forget_call(waiter.called_in);
        Some(waiter.waker)
    }

    /// One that was called in this turn of the ring, if so, is none that is called any more.
    fn forget_call(&mut self, called_in: u64) {
        self.called -= usize::from(called_in == self.turns);
    }

    /// Whether it is this guest's turn. If it is not, `waker` is who is called then.
    pub(super) fn begin(&mut self, account: &Account, ticket: u64, waker: &Waker) -> Begin {
        // Those before it may have closed the gate: then it goes after the next turn.
        let next = match self.closed() {
            true => None,
            false => self.next(),
        };
        let mut begin = Begin::default();
        match next {
            Some((lane, first)) if self.is_next(account, ticket, lane, &first) => {
                self.batch_ran |= lane == Lane::Batch;
                self.batch_first &= lane != Lane::Batch;
                self.queue.begins();
                begin.now = true;
                begin.old = self.remove(account, ticket);
            }
            next => {
                if let Some(waiter) = account.waiting.borrow_mut().get_mut(&ticket) {
                    self.forget_call(std::mem::take(&mut waiter.called_in));
                    if !waiter.waker.will_wake(waker) {
                        begin.old = Some(std::mem::replace(&mut waiter.waker, waker.clone()));
                    }
                }
                begin.call = next.and_then(|(_, first)| self.call_first(&first));
            }
        }
        begin
    }

    /// Whether a guest is the first of its tenant, and that tenant as good as the `first` of its lane.
    fn is_next(&self, account: &Account, ticket: u64, lane: Lane, first: &Account) -> bool {
        let is_first = account.waiting.borrow().keys().next() == Some(&ticket);
        let is_close = || {
            let slack_ns = self.gate_ns / SLACK;
            let slack_ns = account.cost(slack_ns).min(first.cost(slack_ns));
            account.clock_ns.get() <= first.clock_ns.get().saturating_add(slack_ns)
        };
        is_first && self.queue.is_in(account, lane) && is_close()
    }

    /// The tenant whose turn it is.
    fn next(&mut self) -> Option<(Lane, Rc<Account>)> {
        let lanes = match self.batch_first {
            true => [Lane::Batch, Lane::Interactive],
            false => [Lane::Interactive, Lane::Batch],
        };
        let open = |lane: &Lane| self.batch_open || *lane == Lane::Interactive;
        lanes
            .into_iter()
            .filter(open)
            .find_map(|lane| Some((lane, self.queue.first(lane)?)))
    }

    /// A guest has run. Gives who are next, where too few are called yet.
    pub(super) fn charge(
        &mut self,
        account: &Rc<Account>,
        slice: Slice,
        now_ns: u64,
    ) -> Vec<Waker> {
        self.used_ns += slice.running_ns;
        self.balance(account, slice.running_ns, now_ns);
        self.queue.charge(account, slice, now_ns);
        self.call()
    }

    /// Keeps how far the batch lane is ahead: what can be interrupted takes a slice at most, what cannot
    /// takes what it takes.
    fn balance(&mut self, account: &Account, running_ns: u64, now_ns: u64) {
        self.batch_ahead_ns = match self.queue.lane_of(account, now_ns) {
            _ if self.queue.is_interactive_empty() => 0,
            Lane::Batch => self.batch_ahead_ns.saturating_add(running_ns),
            Lane::Interactive => self.batch_ahead_ns.saturating_sub(running_ns),
        };
    }

    /// Whether a request computes, after a slice of `cpu_ns` that ended because it had to give way
    /// (`cut`) or by itself, when it has used `request_ns` in all.
    pub(super) fn is_long(&self, cpu_ns: u64, request_ns: u64, cut: bool) -> bool {
        // One that ended by itself may have been held up by something else for as long as half a slice.
        let slice_ns = self.gate_ns.saturating_mul(2);
        cpu_ns >= slice_ns || (cut && request_ns >= self.gate_ns.max(LONG_NS))
    }

    /// Whether the ring has to be turned for somebody.
    pub(super) fn someone_waits(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether a batch tenant waits for the ring to be turned again.
    pub(super) fn batch_waits(&self) -> bool {
        !self.batch_open && !self.closed() && !self.queue.is_batch_empty()
    }

    /// The ring was turned: opens the gate. Gives who are next.
    pub(super) fn open(&mut self, now_ns: u64) -> Vec<Waker> {
        let passed_over = self.closed() && !self.batch_ran;
        let is_due = self.batch_ahead_ns <= self.gate_ns;
        self.batch_first = passed_over && is_due && !self.queue.is_batch_empty();
        self.batch_open = self.batch_first;
        self.batch_ran = false;
        self.used_ns = 0;
        self.queue.release(now_ns);
        // Whoever was called and did not come is called again.
        self.turns += 1;
        self.called = 0;
        self.call()
    }

    /// Opens the gate for batch tenants, too. Gives who are next.
    pub(super) fn open_batch(&mut self) -> Vec<Waker> {
        self.batch_open = true;
        self.call()
    }

    /// Lets those go on who are below their ceiling again.
    pub(super) fn release(&mut self, now_ns: u64) {
        self.queue.release(now_ns);
    }

    /// When [`release`](Self::release) has something to do next.
    pub(super) fn next_release(&self) -> Option<u64> {
        self.queue.next_release()
    }

    /// Calls those who are likely to be next: of each tenant that waits the first guest, in order,
    /// then of each the second.
    pub(super) fn call(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.called > CALLED_MAX / 2 || self.called == self.waiting || self.closed() {
            return wakers;
        }
        let batch_max = if self.batch_open { CALLED_MAX } else { 0 };
        let batch = || self.queue.waiting(Lane::Batch).take(batch_max);
        let ahead = usize::from(self.batch_first);
        let mut tenants: Vec<_> = batch()
            .take(ahead)
            .chain(self.queue.waiting(Lane::Interactive))
            .chain(batch().skip(ahead))
            .take(CALLED_MAX)
            .map(|account| (account, 0))
            .collect();
        while self.called < CALLED_MAX && !tenants.is_empty() {
            tenants.retain_mut(|(account, after)| {
                let mut waiting = account.waiting.borrow_mut();
                let Some((ticket, waiter)) = waiting.range_mut(*after + 1..).next() else {
                    return false;
                };
                *after = *ticket;
                if waiter.called_in != self.turns && self.called < CALLED_MAX {
                    waiter.called_in = self.turns;
                    self.called += 1;
                    wakers.push(waiter.waker.clone());
                }
                true
            });
        }
        wakers
    }

    /// Calls the first guest of a tenant, if it was not called yet.
    fn call_first(&mut self, account: &Account) -> Option<Waker> {
        let mut waiting = account.waiting.borrow_mut();
        let mut first = waiting.first_entry()?;
        let waiter = first.get_mut();
        if waiter.called_in == self.turns {
            return None;
        }
        waiter.called_in = self.turns;
        self.called += 1;
        Some(waiter.waker.clone())
    }

    /// The ticket whose turn it is.
    #[cfg(test)]
    pub(super) fn granted(&mut self) -> Option<u64> {
        let (_, account) = self.next()?;
        account.waiting.borrow().keys().next().copied()
    }
}
