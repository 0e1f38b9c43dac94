//! The clocks that guests see: coarse, so that they are no stopwatch for what other tenants leave in
//! the caches (Spectre), and waited for on the worker's timers.
//!
//! ```text
//!   time       ──────────────────────────────────────────────►
//!   slices       ├──── guest ────┤   ring   ├──── guest ────┤
//!   monotonic    0   100   200   │          │ 700  800  900      steps of clock_us
//!   wall         0   0     0     │          │ 700  700  700      stands still in a slice
//! ```
//!
//! The monotonic clock tells multiples of the profile's `clock_us`. The wall clock tells when the
//! slice began, cut to the same multiples: within a slice, a guest that computes learns nothing from
//! it, and from one slice to the next no more than from the other clock. Timers are not coarser than
//! the worker's own, and never early, by either clock: they end at a step of the guest's clock.
//!
//! The stock host of these interfaces reads exact clocks and waits on tokio's timers, which a worker
//! does not have.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use send_wrapper::SendWrapper;
use wasmtime::component::{Accessor, HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock as p2, wall_clock as p2_wall};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::p3::bindings::clocks::types as p3_types;
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock as p3, system_clock as p3_wall};

use crate::scheduler;

const NS_PER_S: u64 = 1_000_000_000;

/// Longer waits (a year) never end: no request lives that long, and the timer wheel ends at 2.2.
const WAIT_NS_MAX: u64 = 365 * 24 * 3600 * NS_PER_S;

thread_local! {
    /// One step of the guests' clocks on this worker, in nanoseconds; 1 is exact.
    static STEP_NS: Cell<u64> = const { Cell::new(100_000) };
}

/// Sets how coarse this thread's guests see time, in microseconds; 0 is exact.
pub fn install(clock_us: u64) {
    STEP_NS.set((clock_us * 1000).max(1));
}

/// One step of this thread's guests' clocks, in nanoseconds.
pub(super) fn step_ns() -> u64 {
    STEP_NS.get()
}

/// The last step before or at a time.
fn step_before(ns: u64) -> u64 {
    ns - ns % STEP_NS.get()
}

/// The first step at or after a time.
fn step_after(ns: u64) -> u64 {
    let step_ns = STEP_NS.get();
    ns.div_ceil(step_ns).saturating_mul(step_ns)
}

/// The interfaces' data: the table that pollables live in, and the slice.
pub(super) struct Clocks;

impl HasData for Clocks {
    type Data<'a> = Clock<'a>;
}

/// What a call needs of the store.
pub(super) struct Clock<'a> {
    pub table: &'a mut ResourceTable,
    pub frozen: &'a mut Frozen,
    /// When the slice began, by the monotonic clock.
    pub slice_ns: u64,
}

/// The wall clock's time in the slice that last asked for it.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    slice_ns: Option<u64>,
    wall_ns: u64,
}

impl Clock<'_> {
    pub(super) fn monotonic_ns(&self) -> u64 {
        step_before(scheduler::now_ns())
    }

    pub(super) fn wall_ns(&mut self) -> u64 {
        if self.frozen.slice_ns != Some(self.slice_ns) {
            let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let now_ns = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
            let into_slice_ns = scheduler::now_ns().saturating_sub(self.slice_ns);
            *self.frozen = Frozen {
                slice_ns: Some(self.slice_ns),
                wall_ns: step_before(now_ns.saturating_sub(into_slice_ns)),
            };
        }
        self.frozen.wall_ns
    }
}

/// When a wait that begins now ends, by the monotonic clock. `None`: never.
fn wait_end_ns(duration_ns: u64) -> Option<u64> {
    (duration_ns <= WAIT_NS_MAX).then(|| step_after(scheduler::now_ns() + duration_ns))
}

/// How long to wait for the guest's clock to reach `when`; 0 when it has.
fn wait_until_ns(when: u64) -> u64 {
    let now_ns = scheduler::now_ns();
    if step_before(now_ns) >= when {
        0
    } else {
        // Between two steps, the clock is still on the one before.
        step_after(when).saturating_sub(now_ns).max(1)
    }
}

fn instant(at_ns: u64) -> Instant {
    Instant::now() + Duration::from_nanos(at_ns.saturating_sub(scheduler::now_ns()))
}

impl p2::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p2::Instant> {
        Ok(self.monotonic_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<p2::Duration> {
        Ok(STEP_NS.get())
    }

    fn subscribe_instant(&mut self, when: p2::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(wait_until_ns(when))
    }

    fn subscribe_duration(
        &mut self,
        duration: p2::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = match (duration, wait_end_ns(duration)) {
            (0, _) => Deadline::Passed { yielded: false },
            (_, Some(end_ns)) => Deadline::At(instant(end_ns)),
            (_, None) => Deadline::Never,
        };
        let deadline = self.table.push(deadline)?;
        subscribe(self.table, deadline)
    }
}

impl p2_wall::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p2_wall::Datetime> {
        Ok(datetime(self.wall_ns()))
    }

    fn resolution(&mut self) -> wasmtime::Result<p2_wall::Datetime> {
        Ok(datetime(STEP_NS.get()))
    }
}

fn datetime(ns: u64) -> p2_wall::Datetime {
    p2_wall::Datetime {
        seconds: ns / NS_PER_S,
        nanoseconds: (ns % NS_PER_S) as u32,
    }
}

impl p3_types::Host for Clock<'_> {}

impl p3::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p3::Mark> {
        Ok(self.monotonic_ns())
    }

    fn get_resolution(&mut self) -> wasmtime::Result<p3::Duration> {
        Ok(STEP_NS.get())
    }
}

impl p3_wall::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p3_wall::Instant> {
        let ns = self.wall_ns();
        Ok(p3_wall::Instant {
            seconds: (ns / NS_PER_S) as i64,
            nanoseconds: (ns % NS_PER_S) as u32,
        })
    }

    fn get_resolution(&mut self) -> wasmtime::Result<p3::Duration> {
        Ok(STEP_NS.get())
    }
}

impl<T> p3::HostWithStore<T> for Clocks {
    async fn wait_until(_: &Accessor<T, Self>, when: p3::Mark) -> wasmtime::Result<()> {
        wait(wait_until_ns(when)).await;
        Ok(())
    }

    async fn wait_for(_: &Accessor<T, Self>, duration: p3::Duration) -> wasmtime::Result<()> {
        wait(duration).await;
        Ok(())
    }
}

async fn wait(duration_ns: u64) {
    match (duration_ns, wait_end_ns(duration_ns)) {
        (0, _) => {}
        (_, Some(end_ns)) => Sleep::until(instant(end_ns)).await,
        (_, None) => std::future::pending().await,
    }
}

/// What a clock pollable waits for.
enum Deadline {
    /// Already over when it was asked for. The first wait turns the ring all the same, so that a
    /// guest which polls in a loop does not keep its own I/O from becoming ready.
    Passed {
        yielded: bool,
    },
    At(Instant),
    /// Too far away to be represented.
    Never,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        match self {
            Self::Passed { yielded: true } => {}
            Self::Passed { yielded } => {
                scheduler::give_way().await;
                *yielded = true;
            }
            Self::At(at) => Sleep::until(*at).await,
            Self::Never => std::future::pending().await,
        }
    }
}

/// A timer of this thread's runtime, as a `Send` future.
///
/// monoio's own `Sleep` keeps the first waker it is polled with, and Wasmtime polls first with a
/// waker that does nothing; so the timer is made anew whenever the waker changes.
pub struct Sleep {
    at: Instant,
    timer: Option<SendWrapper<(Pin<Box<monoio::time::Sleep>>, Waker)>>,
}

impl Sleep {
    /// A timer that fires at `at`.
    pub fn until(at: Instant) -> Self {
        Self { at, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let fresh = self
            .timer
            .as_ref()
            .is_some_and(|timer| timer.1.will_wake(cx.waker()));
        if !fresh {
            let sleep = Box::pin(monoio::time::sleep_until(at.into()));
            self.timer = Some(SendWrapper::new((sleep, cx.waker().clone())));
        }
        match &mut self.timer {
            Some(timer) => timer.0.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_and_waits_end_on_one() {
        install(100);
        let cases = [
            (0, 0, 0),
            (1, 0, 100_000),
            (99_999, 0, 100_000),
            (100_000, 100_000, 100_000),
        ];
        for (ns, before, after) in cases {
            assert_eq!((step_before(ns), step_after(ns)), (before, after), "{ns}");
        }
        for wait_ns in [1, 99_999, 100_000, 100_001, 5_000_000] {
            let (asked, shown) = (scheduler::now_ns(), step_before(scheduler::now_ns()));
            let end = wait_end_ns(wait_ns).expect("it ends");
            // By the true clock and by the one that the guest sees.
            assert!(
                end >= asked + wait_ns && step_before(end) >= shown + wait_ns,
                "{wait_ns}"
            );
            assert!(
                end < scheduler::now_ns() + wait_ns + 100_000,
                "{wait_ns}: late"
            );
        }
        assert_eq!(wait_end_ns(WAIT_NS_MAX + 1), None);
        assert_eq!(
            wait_until_ns(step_before(scheduler::now_ns())),
            0,
            "the guest sees that it is past"
        );

        install(0);
        assert_eq!((step_before(7), step_after(7)), (7, 7));
        install(100);
    }

    #[test]
    fn the_wall_clock_stands_still_in_a_slice() {
        install(0);
        let (mut table, mut frozen) = (ResourceTable::new(), Frozen::default());
        let mut at = |slice_ns| {
            let mut clock = Clock {
                table: &mut table,
                frozen: &mut frozen,
                slice_ns,
            };
            clock.wall_ns()
        };
        let slice_ns = scheduler::now_ns();
        let first = at(slice_ns);
        while scheduler::now_ns() < slice_ns + 1_000_000 {}
        assert_eq!(at(slice_ns), first);
        assert!(at(scheduler::now_ns()) >= first + 900_000);
        install(100);
    }
}
