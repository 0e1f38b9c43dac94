//! How much CPU time one request's guest has used.
//!
//! Reading the thread's CPU clock is a system call (about 0.5 µs), reading monotonic time is not
//! (about 25 ns). A short slice is charged its monotonic time. A long one (a tick or more, in
//! which the kernel may have run something else on this core) is charged the thread's CPU time,
//! measured from a mark that is at most [`MARK_AGE_NS`] old: never more than the guest used plus
//! that age.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::scheduler;
use crate::sys::clock;

/// How old the CPU mark may be when a slice starts, in nanoseconds.
const MARK_AGE_NS: u64 = 500_000;
/// Slices shorter than this are charged their monotonic time, in nanoseconds.
const SHORT_SLICE_NS: u64 = 400_000;

thread_local! {
    /// Monotonic and CPU time of this thread when both were last read, in nanoseconds.
    static MARK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The CPU account of one request. Shared by the store and the future that drives it.
#[derive(Debug)]
pub struct Meter {
    budget_ns: u64,
    used_ns: Cell<u64>,
    slice_start_ns: Cell<u64>,
    exhausted: Cell<bool>,
    fuel_used: Cell<Option<u64>>,
}

impl Meter {
    /// An account with this budget, in nanoseconds of CPU time.
    pub fn new(budget_ns: u64) -> Self {
        Self {
            budget_ns,
            used_ns: Cell::new(0),
            slice_start_ns: Cell::new(0),
            exhausted: Cell::new(false),
            fuel_used: Cell::new(None),
        }
    }

    /// CPU time used in finished slices, in nanoseconds.
    pub fn used_ns(&self) -> u64 {
        self.used_ns.get()
    }

    /// Fuel that the guest has used; `None` while it runs, when it was interrupted, and where it
    /// does not count any.
    pub fn fuel_used(&self) -> Option<u64> {
        self.fuel_used.get()
    }

    /// Notes the fuel that the guest has used.
    pub fn set_fuel_used(&self, fuel: u64) {
        self.fuel_used.set(Some(fuel));
    }

    /// When the slice began that runs now, by the monotonic clock, in nanoseconds.
    pub fn slice_start_ns(&self) -> u64 {
        self.slice_start_ns.get()
    }

    /// Whether the guest was stopped because it had used its budget.
    pub fn exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Called at an epoch tick, inside a slice.
    pub fn on_tick(&self) -> Verdict {
        let running = scheduler::now_ns() - self.slice_start_ns.get();
        let used = self.used_ns.get();
        if used + running > self.budget_ns && used + cpu_of(running) > self.budget_ns {
            self.exhausted.set(true);
            Verdict::Exhausted
        } else if scheduler::should_yield(running) {
            Verdict::Yield
        } else {
            Verdict::Continue
        }
    }

    fn begin(&self) {
        let now = scheduler::now_ns();
        self.slice_start_ns.set(now);
        MARK.with(|mark| {
            if now - mark.get().0 > MARK_AGE_NS {
                mark.set((now, clock::thread_cpu_ns()));
            }
        });
    }

    fn end(&self) {
        let running = scheduler::now_ns() - self.slice_start_ns.get();
        scheduler::charge(running);
        let cpu = if running < SHORT_SLICE_NS {
            running
        } else {
            cpu_of(running)
        };
        self.used_ns.set(self.used_ns.get() + cpu);
    }
}

/// CPU time of a slice that has run for `running_ns`: at most that, at most the thread's CPU time
/// since the mark.
fn cpu_of(running_ns: u64) -> u64 {
    running_ns.min(clock::thread_cpu_ns() - MARK.get().1)
}

/// What a tick decides about the running guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs on.
    Continue,
    /// It gives way to a ring turn and to the others.
    Yield,
    /// It has used its CPU budget.
    Exhausted,
}

/// Charges every poll of a guest, and its end, to a meter and to the scheduler's turn.
pub struct Metered<F> {
    /// `None` once it has ended.
    inner: Option<Pin<Box<F>>>,
    meter: Rc<Meter>,
}

impl<F: Future> Metered<F> {
    /// Meters `inner`.
    pub fn new(meter: Rc<Meter>, inner: F) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            meter,
        }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Pending; // polled after its end: there is nothing more to come
        };
        this.meter.begin();
        let result = inner.as_mut().poll(cx);
        if result.is_ready() {
            this.inner = None;
        }
        this.meter.end();
        result
    }
}

/// Ending a guest midway unwinds its stack and resets its memory: that is the guest's time, too.
impl<F> Drop for Metered<F> {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.meter.begin();
            drop(inner);
            self.meter.end();
        }
    }
}
