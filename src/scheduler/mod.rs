//! Who runs next on a worker's core, and for how long.
//!
//! Guests of one worker share one thread with the ring. Every guest slice is accounted; once the
//! slices since the last ring turn add up to half a slice, the gate closes: computing guests give
//! way at the next epoch tick, whoever else wants to run waits, and the ring is turned (completions
//! reaped, timers expired, mailbox drained) before anything else runs.
//!
//! ```text
//!  ring turn ─► ready I/O ─► who is next … ─► gate closes ─► ring turn
//!               └────────── at most one slice ──────────┘
//! ```
//!
//! With the tick at half a slice, a guest that starts just before the gate closes is stopped by
//! the next tick, so the ring waits for one slice at most.
//!
//! While the gate is open and nobody waits, a guest runs at once: a request that has just come, or
//! one whose I/O has completed. Otherwise it waits in one queue with all others, ordered by what
//! their tenants have used ([`queue`]), and each that ends its slice passes the core on to the next
//! ([`turn`]). So it makes no difference whether a tenant computes in long requests, in many short
//! ones, or in pieces between host calls.

mod account;
mod batch;
mod bucket;
mod queue;
#[cfg(test)]
mod simulation;
mod standing;
mod ticker;
mod turn;
mod wait;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub use account::Account;
pub use ticker::Ticker;
pub use turn::Slice;
use turn::Turn;
pub use wait::{GiveWay, Wait, arrive, give_way, take_giving_way};

use crate::sys::clock;

/// Accepting a connection, reading its request and sending the answer each take a turn of the ring:
/// with fewer turns than that between two slices of computing guests, every step of an exchange would
/// wait for a slice of its own. A turn costs about 1 µs.
const RING_TURNS_PER_SLICE: u32 = 4;

thread_local! {
    static TURN: RefCell<Turn> = const { RefCell::new(Turn::new()) };
    /// The turner task, while it waits for work.
    static TURNER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// The releaser task, always.
    static RELEASER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    /// When the guest slice began that runs now or ran last.
    static SLICE_START_NS: Cell<u64> = const { Cell::new(0) };
}

/// Does something with this thread's turn. Nothing that could end a guest may happen meanwhile.
fn with<R>(act: impl FnOnce(&mut Turn) -> R) -> R {
    TURN.with_borrow_mut(act)
}

/// The same of something that may put a tenant above its ceiling or move one there.
fn with_ceilings<R>(act: impl FnOnce(&mut Turn) -> R) -> R {
    let (result, changed) = with(|turn| {
        let before = turn.next_release();
        (act(turn), turn.next_release() != before)
    });
    if changed {
        wake(RELEASER.take());
    }
    result
}

/// Who is woken first is polled first.
fn wake(next: impl IntoIterator<Item = Waker>) {
    for waker in next {
        waker.wake();
    }
}

/// Sets this thread's slice, in microseconds.
pub fn install(slice_us: u64) {
    with(|turn| turn.set_gate_ns(slice_us * 1000 / 2));
}

/// Turns the ring whenever someone waits for it; never returns. `ring_turn` must complete only
/// after the runtime has reaped completions and expired timers.
pub async fn turner(ring_turn: impl AsyncFn()) {
    loop {
        poll_fn(|cx| {
            if with(|turn| turn.someone_waits()) {
                return Poll::Ready(());
            }
            TURNER.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        ring_turn().await;
        wake(with_ceilings(|turn| turn.open(now_ns())));
        for _ in 1..RING_TURNS_PER_SLICE {
            if !with(|turn| turn.batch_waits()) {
                break;
            }
            ring_turn().await;
            wake(with(Turn::call));
        }
        wake(with(Turn::open_batch));
    }
}

/// Lets tenants go on as soon as they are below their ceiling again; never returns. `sleep` takes
/// the time to wait.
pub async fn releaser<S: Future<Output = ()>>(sleep: impl Fn(Duration) -> S) {
    loop {
        let next = poll_fn(|cx| {
            RELEASER.replace(Some(cx.waker().clone()));
            match with(|turn| turn.next_release()) {
                Some(at_ns) => Poll::Ready(at_ns),
                None => Poll::Pending,
            }
        })
        .await;
        let wait = Duration::from_nanos(next.saturating_sub(now_ns()));
        let mut sleep = pin!(sleep(wait));
        poll_fn(|cx| {
            RELEASER.replace(Some(cx.waker().clone()));
            match with(|turn| turn.next_release()) {
                Some(at_ns) if at_ns == next => sleep.as_mut().poll(cx),
                // Somebody else is first by now.
                _ => Poll::Ready(()),
            }
        })
        .await;
        with(|turn| turn.release(now_ns()));
        wake_turner();
    }
}

fn wake_turner() {
    wake(TURNER.take());
}

/// A guest slice begins.
pub fn begin_slice(now_ns: u64) {
    SLICE_START_NS.set(now_ns);
}

/// When the guest slice began that runs now or ran last, in nanoseconds of [`now_ns`].
pub fn slice_start_ns() -> u64 {
    SLICE_START_NS.get()
}

/// Charges a slice to its tenant and to the turn, and passes the core on.
pub fn charge(account: &Rc<Account>, slice: Slice, now_ns: u64) {
    wake(with_ceilings(|turn| turn.charge(account, slice, now_ns)));
}

/// Whether a request computes, after a slice of `cpu_ns` that ended because it had to give way (`cut`)
/// or by itself, when it has used `request_ns` in all.
pub fn is_long(cpu_ns: u64, request_ns: u64, cut: bool) -> bool {
    with(|turn| turn.is_long(cpu_ns, request_ns, cut))
}

/// Whether a guest that has been running for `running_ns` should give way now.
pub fn should_yield(running_ns: u64) -> bool {
    with(|turn| turn.should_yield(running_ns))
}

/// Whether a guest of this tenant may run at once: the gate is open, nobody waits, and the tenant is
/// below its ceiling.
pub fn may_run(account: &Account) -> bool {
    with(|turn| turn.may_run(account, now_ns))
}

fn push(account: &Rc<Account>, waker: Waker) -> u64 {
    let ticket = with_ceilings(|turn| turn.push(account, waker, now_ns()));
    wake_turner();
    ticket
}

fn begin(account: &Account, ticket: u64, waker: &Waker) -> bool {
    let begin = with(|turn| turn.begin(account, ticket, waker));
    wake(begin.call);
    begin.now
}

fn leave(account: &Account, ticket: u64) {
    let _waker = with(|turn| turn.remove(account, ticket));
}

/// Monotonic time, in nanoseconds; what slices are measured with.
pub fn now_ns() -> u64 {
    clock::monotonic_ns()
}
