//! One turn of the ring to the next: what may run in between, and in which order.
//!
//! ```text
//!  ring turn ─► interactive tenants … ─► (ring turns) ─► batch tenants … ─► gate closes ─► ring turn
//!               └────────────────────── at most one slice ─────────────────────┘
//! ```
//!
//! Within each lane the order is that of the [`FairQueue`]. Interactive tenants go first: theirs
//! is what a slice of somebody else would make slow. Where they closed the gate before any batch
//! tenant ran, a batch tenant goes first after the next turn of the ring; so none starves another.
//!
//! While one tenant alone waits, several of its guests are called at a time, because the runtime
//! submits to the ring whenever it has few other tasks: called one by one, each guest would cost a
//! system call. Those who come when the gate is closed wait on, in the place that they had. Guests of
//! several tenants are called one by one: what each uses decides who is next.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::account::{Account, Lane};
use super::queue::{FairQueue, Next};

/// Guests of one tenant that are called at once. With fewer left than half of it, more are called.
const CALLED_MAX: usize = 32;

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
    /// Whose turn it is, in order, and who have not begun yet. Nobody else begins meanwhile.
    called: VecDeque<Next>,
    /// Batch tenants may run, too, until the next ring turn.
    batch_open: bool,
    /// One has, since the last ring turn.
    batch_ran: bool,
    /// One goes first.
    batch_first: bool,
    /// Tickets are counted from 1.
    tickets: u64,
}

impl Turn {
    pub(super) const fn new() -> Self {
        Self {
            used_ns: 0,
            gate_ns: u64::MAX,
            queue: FairQueue::new(),
            called: VecDeque::new(),
            batch_open: false,
            batch_ran: false,
            batch_first: false,
            tickets: 0,
        }
    }

    /// Closes the gate after this much guest time, in nanoseconds.
    pub(super) fn set_gate_ns(&mut self, gate_ns: u64) {
        self.gate_ns = gate_ns;
    }

    pub(super) fn gate_ns(&self) -> u64 {
        self.gate_ns
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
            && self.called.is_empty()
            && self.queue.is_empty()
            && !(account.is_capped() && account.opens_at() > now_ns())
    }

    /// A guest begins to wait; gives its ticket.
    pub(super) fn push(&mut self, account: &Rc<Account>, waker: Waker, now_ns: u64) -> u64 {
        self.tickets += 1;
        self.queue.push(account, self.tickets, waker, now_ns);
        self.tickets
    }

    /// Ends a wait early.
    pub(super) fn remove(&mut self, account: &Account, ticket: u64) -> Option<Waker> {
        match self.take_called(ticket) {
            Some(next) => Some(next.waker),
            None => self.queue.remove(account, ticket),
        }
    }

    fn take_called(&mut self, ticket: u64) -> Option<Next> {
        let place = self.called.iter().position(|next| next.ticket == ticket)?;
        self.called.remove(place)
    }

    /// Whether it is this guest's turn: it runs now, and waits no more.
    pub(super) fn begin(&mut self, ticket: u64) -> bool {
        // Those called before it may have closed the gate: then it goes after the next turn.
        if self.closed() {
            return false;
        }
        if !self.called.iter().any(|next| next.ticket == ticket) {
            return false;
        }
        let clocks = self.called.iter().map(|next| next.account.clock_ns.get());
        self.queue.began(clocks);
        let Some(next) = self.take_called(ticket) else {
            return false;
        };
        self.batch_ran |= next.lane == Lane::Batch;
        true
    }

    /// A guest has run for `running_ns`, of which `cpu_ns` were its own. Gives who is next.
    pub(super) fn charge(
        &mut self,
        account: &Rc<Account>,
        running_ns: u64,
        cpu_ns: u64,
        now_ns: u64,
    ) -> Vec<Waker> {
        self.used_ns += running_ns;
        let alone = self.called.is_empty();
        self.queue.charge(account, cpu_ns, now_ns, alone);
        self.call()
    }

    /// Whether the ring has to be turned for somebody.
    pub(super) fn someone_waits(&self) -> bool {
        !self.called.is_empty() || !self.queue.is_empty()
    }

    /// Gives who are next, where too few are yet.
    pub(super) fn next(&mut self) -> Vec<Waker> {
        self.call()
    }

    /// Whether a batch tenant waits for the ring to be turned again.
    pub(super) fn batch_waits(&self) -> bool {
        !self.batch_open && !self.closed() && !self.queue.is_empty_in(Lane::Batch)
    }

    /// The ring was turned: opens the gate. Gives who are next.
    pub(super) fn open(&mut self, now_ns: u64) -> Vec<Waker> {
        let passed_over = self.closed() && !self.batch_ran;
        self.batch_first = passed_over && !self.queue.is_empty_in(Lane::Batch);
        self.batch_open = self.batch_first;
        self.batch_ran = false;
        self.used_ns = 0;
        self.queue.release(now_ns);
        for next in self.called.drain(..) {
            // It was woken and did not come. The smallest ticket is the first of its tenant again.
            self.queue
                .push(&next.account, next.ticket, next.waker, now_ns);
        }
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

    /// Keeps the waker of a guest that waits; gives back the old one.
    pub(super) fn set_waker(
        &mut self,
        account: &Account,
        ticket: u64,
        waker: &Waker,
    ) -> Option<Waker> {
        let mut waiting = account.waiting.borrow_mut();
        let called = self.called.iter_mut().find(|next| next.ticket == ticket);
        let known = match called {
            Some(next) => &mut next.waker,
            None => waiting.get_mut(&ticket)?,
        };
        (!known.will_wake(waker)).then(|| std::mem::replace(known, waker.clone()))
    }

    /// The ticket whose turn it is.
    #[cfg(test)]
    pub(super) fn granted(&self) -> Option<u64> {
        self.called.front().map(|next| next.ticket)
    }

    fn call(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.called.len() > CALLED_MAX / 2 || self.closed() {
            return wakers;
        }
        while self.called.len() < self.callable()
            && let Some(next) = self.pick()
        {
            wakers.push(next.waker.clone());
            self.called.push_back(next);
        }
        wakers
    }

    /// How many may be called now.
    fn callable(&self) -> usize {
        let Some(only) = self.queue.only() else {
            return 1;
        };
        let alone = self
            .called
            .iter()
            .all(|next| Rc::ptr_eq(&next.account, only));
        if alone { CALLED_MAX } else { 1 }
    }

    fn pick(&mut self) -> Option<Next> {
        let batch_first = std::mem::take(&mut self.batch_first);
        if !batch_first && let Some(next) = self.queue.pop(Lane::Interactive) {
            return Some(next);
        }
        if !self.batch_open {
            return None;
        }
        let next = self.queue.pop(Lane::Batch);
        next.or_else(|| self.queue.pop(Lane::Interactive))
    }
}
