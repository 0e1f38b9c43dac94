//! The worker's runtime: monoio on io_uring, the one place that configures it.
//!
//! `SINGLE_ISSUER | DEFER_TASKRUN` halves the CPU cost of a request against monoio's default
//! flags: completions are then processed where the thread asks for them, never by an interrupt.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::time::{Sleep, TimeDriver};
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use pin_project_lite::pin_project;

/// The runtime of a worker.
pub type WorkerRuntime = Runtime<TimeDriver<IoUringDriver>>;

/// Whether a ring runs from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// It does, and runs every operation.
    Open,
    /// It has to be restricted and enabled first ([`crate::isolation::worker`]).
    Disabled,
}

/// A runtime of this thread.
///
/// # Errors
/// When the kernel refuses a ring with these flags (before Linux 6.1, or io_uring forbidden).
pub fn build(ring_entries: u32, state: Ring) -> io::Result<WorkerRuntime> {
    let mut ring = io_uring::IoUring::builder();
    ring.setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all();
    if state == Ring::Disabled {
        ring.setup_r_disabled();
    }
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(ring_entries)
        .uring_builder(ring)
        .enable_timer()
        .build()
        .map_err(|e| io::Error::new(e.kind(), format!("no io_uring with DEFER_TASKRUN: {e}")))
}

/// Completes after the ring has been turned once.
///
/// monoio reaps completions and expires timers only when no task is runnable, so a task that wakes
/// itself starves them. This waits for an operation that the kernel completes at once: the task
/// comes back only through the ring.
///
/// There is a way back that is no full turn: while tasks keep waking each other, monoio submits and
/// reaps without expiring timers. A timer beside the operation tells the two apart: when it is
/// overdue, the turn waits for it, and nothing that computes is granted a slice meanwhile.
#[derive(Debug)]
pub struct RingTurn {
    file: monoio::fs::File,
    beat: RefCell<Pin<Box<Sleep>>>,
}

impl RingTurn {
    /// A turn reads `null`, which is open on `/dev/null`. To be called inside the runtime.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub async fn new(null: std::fs::File) -> io::Result<Self> {
        Ok(Self {
            file: monoio::fs::File::from_std(null)?,
            beat: RefCell::new(beat().await),
        })
    }

    /// See [`RingTurn`].
    pub async fn turn(&self) {
        // The end of file is the expected answer; any other is a turn just as well.
        let _ = self.file.read_at(Vec::with_capacity(1), 0).await;
        let deadline = self.beat.borrow().deadline();
        if deadline + BEAT_OVERDUE <= monoio::time::Instant::now() {
            let next = beat().await;
            let last = self.beat.replace(next);
            last.await;
        }
    }
}

/// Timers have a resolution of a millisecond: one that is this late was not looked at.
const BEAT_OVERDUE: Duration = Duration::from_millis(2);

/// A timer that is running.
async fn beat() -> Pin<Box<Sleep>> {
    let mut sleep = Box::pin(monoio::time::sleep(Duration::from_millis(1)));
    std::future::poll_fn(|cx| {
        // It has only just begun; the first poll registers it.
        let _ = sleep.as_mut().poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
    sleep
}

pin_project! {
    /// What [`within`] gives. Not an `async fn`: one of those keeps a future that it is given twice, as
    /// its argument and as what it waits for, and futures are moved about.
    pub struct Within<F> {
        limit: Duration,
        #[pin]
        future: F,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut within = self.project();
        if let Poll::Ready(output) = within.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if within.timer.is_none() {
            within.timer.set(Some(monoio::time::sleep(*within.limit)));
        }
        match within.timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}

/// Waits for `future`, but no longer than `limit`, from when it first had to wait.
pub fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within {
        limit,
        future,
        timer: None,
    }
}

/// A descriptor that other crates read and write, watched by this thread's ring.
#[derive(Debug)]
pub struct Watched {
    stream: monoio::net::UnixStream,
}

impl Watched {
    /// Watches a socket.
    ///
    /// # Errors
    /// When it is not a socket.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(fd);
        Ok(Self {
            stream: monoio::net::UnixStream::from_std(stream)?,
        })
    }

    /// Waits until there is something to read, or the other end is gone.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }

    /// Waits until there is room to write.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable(false).await
    }
}
