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
use std::task::{Context, Poll, Waker};

use crate::scheduler::{self, Account, Slice, Wait};
use crate::sys::clock;

/// How old the CPU mark may be when a slice starts, in nanoseconds.
const MARK_AGE_NS: u64 = 500_000;
/// Slices shorter than this are charged their monotonic time, in nanoseconds.
const SHORT_SLICE_NS: u64 = 400_000;

thread_local! {
    /// Monotonic and CPU time of this thread when both were last read, in nanoseconds.
    static MARK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The CPU budget of one request. Shared by the store and the future that drives it.
#[derive(Debug)]
pub struct Meter {
    account: Rc<Account>,
    budget_ns: u64,
    used_ns: Cell<u64>,
    exhausted: Cell<bool>,
    /// The slice that runs now, or ran last, was ended by a tick.
    cut: Cell<bool>,
    /// The request has been found to compute before.
    long: Cell<bool>,
    fuel_used: Cell<Option<u64>>,
}

impl Meter {
    /// A budget in nanoseconds of CPU time; what is used is charged to the tenant's account, too.
    pub fn new(account: Rc<Account>, budget_ns: u64) -> Self {
        Self {
            account,
            budget_ns,
            used_ns: Cell::new(0),
            exhausted: Cell::new(false),
            cut: Cell::new(false),
            long: Cell::new(false),
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

    /// Whether the guest was stopped because it had used its budget.
    pub fn exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Does something for the guest that is no guest code, as a slice of its own: it has to be its turn.
    pub fn charge<R>(&self, work: impl FnOnce() -> R) -> R {
        self.begin();
        let result = work();
        self.end();
        result
    }

    /// Called at an epoch tick, inside a slice.
    pub fn on_tick(&self) -> Verdict {
        let running = scheduler::now_ns() - scheduler::slice_start_ns();
        let used = self.used_ns.get();
        if used + running > self.budget_ns && used + cpu_of(running) > self.budget_ns {
            self.exhausted.set(true);
            Verdict::Exhausted
        } else if scheduler::should_yield(running) {
            self.cut.set(true);
            Verdict::Yield
        } else {
            Verdict::Continue
        }
    }

    fn begin(&self) {
        let now = scheduler::now_ns();
        scheduler::begin_slice(now);
        MARK.with(|mark| {
            if now - mark.get().0 > MARK_AGE_NS {
                mark.set((now, clock::thread_cpu_ns()));
            }
        });
    }

    fn end(&self) {
        let now = scheduler::now_ns();
        let running = now - scheduler::slice_start_ns();
        let cpu = if running < SHORT_SLICE_NS {
            running
        } else {
            cpu_of(running)
        };
        let used = self.used_ns.get() + cpu;
        self.used_ns.set(used);
        let long = scheduler::is_long(cpu, used, self.cut.take());
        let slice = Slice {
            running_ns: running,
            cpu_ns: cpu,
            long,
            first_long: long && !self.long.replace(long),
        };
        scheduler::charge(&self.account, slice, now);
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

/// Polls a guest when it may run: charges every poll, and its end, to a meter and to the scheduler's
/// turn; between two polls it waits for its turn where others want the core, too.
pub struct Metered<F> {
    /// `None` once it has ended.
    inner: Option<Pin<Box<F>>>,
    meter: Rc<Meter>,
    /// It runs at its first poll: it has waited already, or there was no need.
    admitted: bool,
    /// Its place among those who wait.
    wait: Option<Wait>,
    /// Those in the guest who gave way.
    gave_way: Vec<Waker>,
}

impl<F: Future> Metered<F> {
    /// Meters `inner`, whose first poll is its turn.
    pub fn new(meter: Rc<Meter>, inner: F) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            meter,
            admitted: true,
            wait: None,
            gave_way: Vec::new(),
        }
    }

    /// Whether it is this guest's turn; if not, it waits for it, and `cx` is woken then.
    fn may_run(&mut self, cx: &Context<'_>) -> bool {
        let may_run = match &self.wait {
            Some(wait) => wait.is_over(cx),
            // Something that it waited for has happened.
            None => std::mem::take(&mut self.admitted) || scheduler::may_run(&self.meter.account),
        };
        match may_run {
            true => self.wait = None,
            false if self.wait.is_none() => self.wait = Some(Wait::new(&self.meter.account, cx)),
            false => {}
        }
        may_run
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.inner.is_none() || !this.may_run(cx) {
            return Poll::Pending; // after its end there is nothing more to come
        }
        let Some(inner) = &mut this.inner else {
            return Poll::Pending;
        };
        for waker in this.gave_way.drain(..) {
            if !waker.will_wake(cx.waker()) {
                waker.wake();
            }
        }
        this.meter.begin();
        let result = inner.as_mut().poll(cx);
        if result.is_ready() {
            this.inner = None;
        }
        this.meter.end();
        if let Some(gave_way) = scheduler::take_giving_way()
            && result.is_pending()
        {
            this.gave_way = gave_way;
            this.wait = Some(Wait::new(&this.meter.account, cx));
        }
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

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<F: Future + Unpin>(guest: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(woken));
        Pin::new(guest).poll(&mut Context::from_waker(&waker))
    }

    /// The turner, whose ring has turned once each time that it is polled.
    fn turner() -> Pin<Box<dyn Future<Output = ()>>> {
        scheduler::install(1000);
        Box::pin(scheduler::turner(async || {
            let mut turned = false;
            poll_fn(|_| match std::mem::replace(&mut turned, true) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }))
    }

    fn metered<F: Future>(account: &Rc<Account>, inner: F) -> Metered<F> {
        let meter = Rc::new(Meter::new(Rc::clone(account), 1_000_000_000));
        Metered::new(meter, inner)
    }

    #[test]
    fn a_guest_that_gives_way_runs_on_when_the_ring_was_turned_and_whatever_task_polls_it() {
        let (mut turner, mut woken) = (turner(), Arc::<Woken>::default());
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let mut guest = metered(&Rc::default(), async move {
            let mut gives_way = scheduler::give_way();
            poll_fn(|cx| {
                counted.set(counted.get() + 1);
                // Wasmtime polls some futures with a waker that does nothing before it waits.
                let mut noop = Context::from_waker(Waker::noop());
                let at_once = Pin::new(&mut gives_way).poll(&mut noop);
                match at_once.is_ready() {
                    true => at_once,
                    false => Pin::new(&mut gives_way).poll(cx),
                }
            })
            .await;
        });
        assert!(poll(&mut guest, &woken).is_pending());
        assert!(poll(&mut guest, &woken).is_pending());
        assert_eq!(polls.get(), 1, "it waits, whatever wakes its task");
        // Its client has its answer: another task takes it over.
        let second = Arc::<Woken>::default();
        assert!(poll(&mut guest, &second).is_pending());
        for _ in 0..10 {
            assert!(poll(&mut turner, &woken).is_pending());
            if second.0.load(Ordering::Relaxed) > 0 {
                break; // it is polled before the ring is turned again
            }
        }
        assert!(second.0.load(Ordering::Relaxed) > 0);
        assert!(poll(&mut guest, &second).is_ready());
        assert_eq!(polls.get(), 2);
        woken = Arc::default();
        assert!(poll(&mut guest, &woken).is_pending(), "after its end");
    }

    #[test]
    fn a_guest_whose_io_has_completed_waits_behind_those_who_wait() {
        let (mut turner, woken) = (turner(), Arc::<Woken>::default());
        let mut computing = metered(&Rc::default(), scheduler::give_way());
        assert!(poll(&mut computing, &woken).is_pending());
        let polls = Cell::new(0);
        let waiting = poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        });
        let (resumed, account) = (Arc::<Woken>::default(), Rc::default());
        let mut waiting = metered(&account, waiting);
        assert!(poll(&mut waiting, &resumed).is_pending());
        assert_eq!(polls.get(), 1, "its first poll is its turn");
        assert!(poll(&mut waiting, &resumed).is_pending());
        assert_eq!(polls.get(), 1, "the other one waits");
        for _ in 0..20 {
            assert!(poll(&mut turner, &woken).is_pending());
            if resumed.0.load(Ordering::Relaxed) > 0 {
                assert!(poll(&mut waiting, &resumed).is_pending());
                break;
            }
            let _ = poll(&mut computing, &woken);
        }
        assert_eq!(polls.get(), 2);
    }

    /// Nor does one that is ended while it waits.
    #[test]
    fn a_guest_that_is_ended_gives_up_its_place() {
        let _turner = turner();
        let account = Rc::default();
        let woken = Arc::<Woken>::default();
        let mut first = metered(&account, scheduler::give_way());
        assert!(poll(&mut first, &woken).is_pending());
        assert!(!scheduler::may_run(&account));
        drop(first);
        assert!(scheduler::may_run(&account));
        // One that ended while something in it gave way does not wait.
        let mut second = metered(&account, async {
            let mut gives_way = scheduler::give_way();
            let _ = poll_fn(|cx| Poll::Ready(Pin::new(&mut gives_way).poll(cx))).await;
        });
        assert!(poll(&mut second, &woken).is_ready());
        let mut third = metered(&account, pending::<()>());
        assert!(poll(&mut third, &woken).is_pending());
        assert!(scheduler::may_run(&account), "it waits for something else");
    }

    #[test]
    fn slices_are_charged_to_the_request_and_to_the_turn() {
        let (mut turner, woken) = (turner(), Arc::<Woken>::default());
        let account = Rc::default();
        let meter = Rc::new(Meter::new(Rc::clone(&account), 1_000_000_000));
        let computes = poll_fn(|_| {
            let end_ns = scheduler::now_ns() + 600_000;
            while scheduler::now_ns() < end_ns {}
            Poll::<()>::Pending
        });
        let mut guest = Metered::new(Rc::clone(&meter), computes);
        assert!(scheduler::may_run(&account));
        assert!(poll(&mut guest, &woken).is_pending());
        let used_ns = meter.used_ns();
        assert!(used_ns > 0);
        assert!(!scheduler::may_run(&account), "the gate is closed");
        drop(guest);
        assert!(meter.used_ns() > used_ns, "its end costs, too");
        // Somebody has to want the core for the ring to be turned.
        let mut next = metered(&account, scheduler::give_way());
        let called = Arc::<Woken>::default();
        assert!(poll(&mut next, &called).is_pending());
        for _ in 0..10 {
            assert!(poll(&mut turner, &woken).is_pending());
            if called.0.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        assert!(poll(&mut next, &woken).is_ready());
        assert!(scheduler::may_run(&account));
    }
}
