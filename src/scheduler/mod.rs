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
//! goes first after the next ring turn, so neither starves the other.

mod ticker;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

pub use ticker::Ticker;

use crate::config::limits;
use crate::sys::clock;

thread_local! {
    static TURN: Turn = const { Turn::new() };
}

/// What has run since the ring was last turned, and who waits for the next turn.
struct Turn {
    /// Guest time since the last ring turn, in nanoseconds.
    used_ns: Cell<u64>,
    /// Above this the gate is closed, in nanoseconds.
    gate_ns: Cell<u64>,
    /// Guests that computed past the gate, first come first served.
    preempted: RefCell<VecDeque<(u64, Waker)>>,
    /// Requests that found the gate closed, oldest first.
    arriving: RefCell<VecDeque<(u64, Waker)>>,
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
            preempted: RefCell::new(VecDeque::new()),
            arriving: RefCell::new(VecDeque::new()),
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

    /// Opens the gate and wakes who may run now.
    fn next(&self) {
        self.used_ns.set(0);
        // Who is woken first is polled first.
        if self.passed_over.get() {
            self.grant();
            self.wake_arriving();
        } else {
            self.wake_arriving();
            self.grant();
        }
    }

    fn grant(&self) {
        if let Some((ticket, waker)) = self.preempted.borrow_mut().pop_front() {
            self.granted.set(ticket);
            waker.wake();
        }
    }

    fn wake_arriving(&self) {
        for (_, waker) in self
            .arriving
            .borrow()
            .iter()
            .take(limits::ARRIVALS_PER_TURN)
        {
            waker.wake_by_ref();
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

/// Waits until a new guest may start: at once while the gate is open and nobody came before.
pub async fn arrive() {
    let open = TURN.with(|turn| !turn.closed() && turn.arriving.borrow().is_empty());
    if !open {
        Arriving { ticket: None }.await;
    }
}

/// A request that waits for the gate to open.
struct Arriving {
    ticket: Option<u64>,
}

impl Future for Arriving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        TURN.with(|turn| {
            let mut queue = turn.arriving.borrow_mut();
            match self.ticket {
                None => {
                    let ticket = turn.ticket();
                    queue.push_back((ticket, cx.waker().clone()));
                    self.ticket = Some(ticket);
                    drop(queue);
                    turn.wake_turner();
                    Poll::Pending
                }
                Some(_) if turn.closed() => Poll::Pending,
                Some(ticket) => {
                    // Woken in order, so it is nearly always the first.
                    match queue.front() {
                        Some((first, _)) if *first == ticket => drop(queue.pop_front()),
                        _ => queue.retain(|(waiting, _)| *waiting != ticket),
                    }
                    self.ticket = None;
                    Poll::Ready(())
                }
            }
        })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            TURN.with(|turn| {
                turn.arriving
                    .borrow_mut()
                    .retain(|(waiting, _)| *waiting != ticket);
            });
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
                turn.preempted
                    .borrow_mut()
                    .push_back((ticket, cx.waker().clone()));
                self.ticket = Some(ticket);
                turn.wake_turner();
                Poll::Pending
            }
            Some(ticket) if turn.granted.get() == ticket => {
                turn.granted.set(0);
                let pass = turn.closed() && !turn.passed_over.get();
                turn.passed_over.set(pass);
                if pass {
                    let mut queue = turn.preempted.borrow_mut();
                    queue.push_front((ticket, cx.waker().clone()));
                    drop(queue);
                    turn.wake_turner();
                    return Poll::Pending;
                }
                self.ticket = None;
                Poll::Ready(())
            }
            Some(ticket) => {
                let mut queue = turn.preempted.borrow_mut();
                if let Some((_, waker)) = queue.iter_mut().find(|(waiting, _)| *waiting == ticket) {
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
            TURN.with(|turn| {
                turn.preempted
                    .borrow_mut()
                    .retain(|(waiting, _)| *waiting != ticket);
            });
        }
    }
}

/// Monotonic time, in nanoseconds; what slices are measured with.
pub fn now_ns() -> u64 {
    clock::monotonic_ns()
}
