//! `wasi:clocks/monotonic-clock` on the worker's timers.
//!
//! The stock host waits on tokio's timers, which a worker does not have.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use send_wrapper::SendWrapper;
use wasmtime::component::{Accessor, HasData, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock as p2;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::p3::bindings::clocks::monotonic_clock as p3;
use wasmtime_wasi::p3::bindings::clocks::types as p3_types;

use crate::scheduler;

/// The interfaces' data: the table that pollables live in.
pub(super) struct Clocks;

impl HasData for Clocks {
    type Data<'a> = Clock<'a>;
}

/// What a call needs of the store.
pub(super) struct Clock<'a>(pub &'a mut ResourceTable);

const RESOLUTION_NS: u64 = 1;
/// Longer waits (a year) never end: no request lives that long, and the timer wheel ends at 2.2.
const WAIT_NS_MAX: u64 = 365 * 24 * 3600 * 1_000_000_000;

impl p2::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p2::Instant> {
        Ok(scheduler::now_ns())
    }

    fn resolution(&mut self) -> wasmtime::Result<p2::Duration> {
        Ok(RESOLUTION_NS)
    }

    fn subscribe_instant(&mut self, when: p2::Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(when.saturating_sub(scheduler::now_ns()))
    }

    fn subscribe_duration(
        &mut self,
        duration: p2::Duration,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = match duration {
            0 => Deadline::Passed { yielded: false },
            1..=WAIT_NS_MAX => Deadline::At(Instant::now() + Duration::from_nanos(duration)),
            _ => Deadline::Never,
        };
        let deadline = self.0.push(deadline)?;
        subscribe(self.0, deadline)
    }
}

impl p3_types::Host for Clock<'_> {}

impl p3::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<p3::Mark> {
        Ok(scheduler::now_ns())
    }

    fn get_resolution(&mut self) -> wasmtime::Result<p3::Duration> {
        Ok(RESOLUTION_NS)
    }
}

impl<T> p3::HostWithStore<T> for Clocks {
    async fn wait_until(_: &Accessor<T, Self>, when: p3::Mark) -> wasmtime::Result<()> {
        wait(when.saturating_sub(scheduler::now_ns())).await;
        Ok(())
    }

    async fn wait_for(_: &Accessor<T, Self>, duration: p3::Duration) -> wasmtime::Result<()> {
        wait(duration).await;
        Ok(())
    }
}

async fn wait(duration_ns: u64) {
    match duration_ns {
        0 => {}
        1..=WAIT_NS_MAX => Sleep::until(Instant::now() + Duration::from_nanos(duration_ns)).await,
        _ => std::future::pending().await,
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
