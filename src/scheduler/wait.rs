//! The futures of those who wait for the core.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::account::Account;
use super::{begin, leave, may_run, push, slice_start_ns};

thread_local! {
    /// Those in the guest that runs who give way: they are woken when it runs on.
    static GIVING_WAY: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    /// Whether any do, so that a guest which does not costs a look at a byte.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// A place among those who wait; given up when dropped.
#[derive(Debug)]
pub struct Wait {
    account: Rc<Account>,
    ticket: u64,
}

impl Wait {
    /// The last place among the guests of a tenant. `cx` is woken when it is this one's turn.
    pub fn new(account: &Rc<Account>, cx: &Context<'_>) -> Self {
        Self {
            account: Rc::clone(account),
            ticket: push(account, cx.waker().clone()),
        }
    }

    /// Whether the wait is over: the guest has to run now, at once. If not, `cx` is woken.
    pub fn is_over(&self, cx: &Context<'_>) -> bool {
        begin(&self.account, self.ticket, cx.waker())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        leave(&self.account, self.ticket);
    }
}

/// Waits until a new guest of this tenant may start, behind those who go before it.
pub async fn arrive(account: &Rc<Account>) {
    let mut wait = None;
    std::future::poll_fn(|cx| match &wait {
        None if may_run(account) => Poll::Ready(()),
        None => {
            wait = Some(Wait::new(account, cx));
            Poll::Pending
        }
        Some(place) if place.is_over(cx) => Poll::Ready(()),
        Some(_) => Poll::Pending,
    })
    .await;
}

/// Has the guest that polls this give way: it ends its slice, and it waits for its next.
pub fn give_way() -> GiveWay {
    GiveWay { slice: None }
}

/// A guest that gives way. It is over in a later slice, whatever wakes it before.
#[derive(Debug)]
pub struct GiveWay {
    /// When the slice began that this ends.
    slice: Option<u64>,
}

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = slice_start_ns();
        if *self.slice.get_or_insert(now) != now {
            return Poll::Ready(());
        }
        ANY.set(true);
        GIVING_WAY.with_borrow_mut(|wakers| {
            // A list of pollables is polled as a whole: one waker for all of them.
            if !wakers.last().is_some_and(|last| last.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
        });
        Poll::Pending
    }
}

/// Whether the guest whose slice has just ended gives way; if so, whom to wake in its next.
pub fn take_giving_way() -> Option<Vec<Waker>> {
    ANY.take().then(|| GIVING_WAY.take())
}
