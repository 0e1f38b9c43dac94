//! Who runs next on a worker's core, and for how long.
//!
//! Guests of one worker share one thread with the ring. Every guest slice is accounted; once the
//! slices since the last ring turn add up to half a slice, the gate closes: computing guests give
//! way at the next epoch tick, arriving requests wait, and the ring is turned (completions reaped,
//! timers expired, mailbox drained) before anything else runs.
//!
//! ```text
//!  ring turn ─► ready I/O ─► arrivals … ─► one preempted guest ─► gate closes ─► ring turn
//!               └────────────────── at most one slice ──────────────────┘
//! ```
//!
//! With the tick at half a slice, a guest that starts just before the gate closes is stopped by
//! the next tick, so the ring waits for one slice at most. Preempted guests take turns in order,
//! one after each ring turn, and after the arrivals, which are mostly short: a guest that computes
//! for ever would close the gate before any of them. Where arrivals closed it, the preempted guest
//! goes first after the next ring turn; and where guests that were resumed by I/O closed it before
//! any arrival, the oldest arrival passes. So none starves another.

mod ticker;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub use ticker::Ticker;

use crate::config::limits;
use crate::sys::clock;

/// Accepting a connection, reading its request and sending the answer each take a turn of the ring:
/// with fewer turns than that between two slices of computing guests, every step of an exchange would
/// wait for a slice of its own. A turn costs about 1 µs.
const RING_TURNS_PER_GRANT: u32 = 4;

thread_local! {
    static TURN: Turn = const { Turn::new() };
}

/// What has run since the ring was last turned, and who waits for the next turn.
struct Turn {
    /// Guest time since the last ring turn, in nanoseconds.
    used_ns: Cell<u64>,
    /// Above this the gate is closed, in nanoseconds.
    gate_ns: Cell<u64>,
    /// Guests that computed past the gate, by ticket: first come first served.
    preempted: RefCell<BTreeMap<u64, Waker>>,
    /// Requests that found the gate closed, by ticket.
    arriving: RefCell<BTreeMap<u64, Waker>>,
    /// Guests that were resumed by I/O closed the gate before any arrival could pass.
    blocked: Cell<bool>,
    /// The arrival that passes a closed gate, because all were blocked the last time.
    admitted: Cell<u64>,
    /// The ticket of the preempted guest whose turn it is.
    granted: Cell<u64>,
    /// That guest found the gate closed by arrivals: it goes before them the next time.
    passed_over: Cell<bool>,
    /// Tickets are counted from 1.
    tickets: Cell<u64>,
    /// The turner task, while it waits for work.
    turner: RefCell<Option<Waker>>,
}

impl Turn {
    const fn new() -> Self {
        Self {
            used_ns: Cell::new(0),
            gate_ns: Cell::new(u64::MAX),
            preempted: RefCell::new(BTreeMap::new()),
            arriving: RefCell::new(BTreeMap::new()),
            blocked: Cell::new(false),
            admitted: Cell::new(0),
            granted: Cell::new(0),
            passed_over: Cell::new(false),
            tickets: Cell::new(0),
            turner: RefCell::new(None),
        }
    }

    fn closed(&self) -> bool {
        self.used_ns.get() >= self.gate_ns.get()
    }

    fn ticket(&self) -> u64 {
        let ticket = self.tickets.get() + 1;
        self.tickets.set(ticket);
        ticket
    }

    fn wake_turner(&self) {
        if let Some(waker) = self.turner.borrow_mut().take() {
            waker.wake();
        }
    }

    fn someone_waits(&self) -> bool {
        !self.preempted.borrow().is_empty() || !self.arriving.borrow().is_empty()
    }

    /// How often the ring is turned before a preempted guest runs on.
    fn ring_turns(&self) -> u32 {
        if self.preempted.borrow().is_empty() || self.passed_over.get() {
            1
        } else {
            RING_TURNS_PER_GRANT
        }
    }

    /// Opens the gate and wakes who may run now.
    fn next(&self) {
        // Who is woken first is polled first.
        if self.passed_over.get() {
            self.grant();
            self.open();
        } else {
            self.open();
            self.grant();
        }
    }

    /// Opens the gate for arrivals.
    fn open(&self) {
        self.used_ns.set(0);
        let arriving = self.arriving.borrow();
        let oldest = arriving.first_key_value().map_or(0, |(ticket, _)| *ticket);
        let blocked = self.blocked.replace(false);
        self.admitted.set(if blocked { oldest } else { 0 });
        for waker in arriving.values().take(limits::ARRIVALS_PER_TURN) {
            waker.wake_by_ref();
        }
    }

    fn grant(&self) {
        let first = self.preempted.borrow_mut().pop_first();
        if let Some((ticket, waker)) = first {
            self.granted.set(ticket);
            waker.wake();
        }
    }
}

/// Sets this thread's slice, in microseconds.
pub fn install(slice_us: u64) {
    TURN.with(|turn| turn.gate_ns.set(slice_us * 1000 / 2));
}

/// Turns the ring whenever someone waits for it; never returns. `ring_turn` must complete only
/// after the runtime has reaped completions and expired timers.
pub async fn turner(ring_turn: impl AsyncFn()) {
    loop {
        poll_fn(|cx| {
            TURN.with(|turn| {
                if turn.someone_waits() {
                    Poll::Ready(())
                } else {
                    *turn.turner.borrow_mut() = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await;
        for _ in 1..TURN.with(Turn::ring_turns) {
            ring_turn().await;
            TURN.with(Turn::open);
        }
        ring_turn().await;
        TURN.with(Turn::next);
    }
}

/// Charges a slice of guest time to the current turn.
pub fn charge(ns: u64) {
    TURN.with(|turn| turn.used_ns.set(turn.used_ns.get() + ns));
}

/// Whether a guest that has been running for `running_ns` should give way now.
pub fn should_yield(running_ns: u64) -> bool {
    TURN.with(|turn| turn.used_ns.get() + running_ns >= turn.gate_ns.get())
}

/// Whether a new guest may start at once: the gate is open and nobody came before.
pub fn is_open() -> bool {
    TURN.with(|turn| !turn.closed() && turn.arriving.borrow().is_empty())
}

/// Waits until a new guest may start, behind those who came before.
pub async fn arrive() {
    Arriving { ticket: None }.await;
}

/// A request that waits for the gate to open.
struct Arriving {
    ticket: Option<u64>,
}

impl Future for Arriving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TURN.with(|turn| match self.ticket {
            None => {
                let ticket = turn.ticket();
                let mut arriving = turn.arriving.borrow_mut();
                arriving.insert(ticket, cx.waker().clone());
                drop(arriving);
                self.ticket = Some(ticket);
                turn.wake_turner();
                Poll::Pending
            }
            Some(ticket) if turn.closed() && turn.admitted.get() != ticket => {
                turn.blocked.set(true);
                Poll::Pending
            }
            Some(ticket) => {
                turn.arriving.borrow_mut().remove(&ticket);
                self.ticket = None;
                Poll::Ready(())
            }
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            TURN.with(|turn| turn.arriving.borrow_mut().remove(&ticket));
        }
    }
}

/// Waits for the next ring turn and then for this guest's place in the queue.
pub fn preempt() -> Preempted {
    Preempted { ticket: None }
}

/// A guest that gave way. It runs on only when its ticket is granted, whatever else wakes it.
#[derive(Debug)]
pub struct Preempted {
    ticket: Option<u64>,
}

impl Future for Preempted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TURN.with(|turn| match self.ticket {
            None => {
                let ticket = turn.ticket();
                let mut preempted = turn.preempted.borrow_mut();
                preempted.insert(ticket, cx.waker().clone());
                drop(preempted);
                self.ticket = Some(ticket);
                turn.wake_turner();
                Poll::Pending
            }
            Some(ticket) if turn.granted.get() == ticket => {
                turn.granted.set(0);
                let pass = turn.closed() && !turn.passed_over.get();
                turn.passed_over.set(pass);
                if pass {
                    // The smallest ticket is the first again.
                    let mut preempted = turn.preempted.borrow_mut();
                    preempted.insert(ticket, cx.waker().clone());
                    drop(preempted);
                    turn.wake_turner();
                    return Poll::Pending;
                }
                self.ticket = None;
                Poll::Ready(())
            }
            Some(ticket) => {
                if let Some(waker) = turn.preempted.borrow_mut().get_mut(&ticket) {
                    waker.clone_from(cx.waker());
                }
                Poll::Pending
            }
        })
    }
}

impl Drop for Preempted {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            TURN.with(|turn| turn.preempted.borrow_mut().remove(&ticket));
        }
    }
}

/// Monotonic time, in nanoseconds; what slices are measured with.
pub fn now_ns() -> u64 {
    clock::monotonic_ns()
}
