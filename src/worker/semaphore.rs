//! A first-come-first-served semaphore of one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Permits, and those who wait for one. A released permit goes to the longest waiter; nobody
/// overtakes.
#[derive(Debug)]
pub struct Semaphore {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    granted: Cell<bool>,
    waker: RefCell<Waker>,
}

/// One permit; given back when dropped.
#[derive(Debug)]
pub struct Permit(Rc<Semaphore>);

impl Semaphore {
    /// A semaphore with this many permits.
    pub fn new(permits: usize) -> Rc<Self> {
        Rc::new(Self {
            free: Cell::new(permits),
            waiting: RefCell::new(VecDeque::new()),
        })
    }

    /// A permit, if one is free.
    pub fn try_acquire(self: &Rc<Self>) -> Option<Permit> {
        let free = self.free.get();
        (free > 0).then(|| {
            self.free.set(free - 1);
            Permit(Rc::clone(self))
        })
    }

    /// Waits for a permit. Dropping the future gives up the place in the queue.
    pub fn acquire(self: &Rc<Self>) -> Acquire {
        Acquire {
            semaphore: Rc::clone(self),
            waiter: None,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    fn release(&self) {
        match self.waiting.borrow_mut().pop_front() {
            Some(waiter) => {
                waiter.granted.set(true);
                waiter.waker.borrow().wake_by_ref();
            }
            None => self.free.set(self.free.get() + 1),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// See [`Semaphore::acquire`].
#[derive(Debug)]
pub struct Acquire {
    semaphore: Rc<Semaphore>,
    waiter: Option<Rc<Waiter>>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        match &self.waiter {
            None => {
                if let Some(permit) = self.semaphore.try_acquire() {
                    return Poll::Ready(permit);
                }
                let waiter = Rc::new(Waiter {
                    granted: Cell::new(false),
                    waker: RefCell::new(cx.waker().clone()),
                });
                self.semaphore
                    .waiting
                    .borrow_mut()
                    .push_back(Rc::clone(&waiter));
                self.waiter = Some(waiter);
                Poll::Pending
            }
            Some(waiter) if waiter.granted.get() => {
                self.waiter = None;
                Poll::Ready(Permit(Rc::clone(&self.semaphore)))
            }
            Some(waiter) => {
                waiter.waker.borrow_mut().clone_from(cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else {
            return;
        };
        if waiter.granted.get() {
            self.semaphore.release();
        } else {
            self.semaphore
                .waiting
                .borrow_mut()
                .retain(|other| !Rc::ptr_eq(other, &waiter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(acquire: &mut Acquire) -> Option<Permit> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(acquire).poll(&mut cx) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn permits_go_to_the_longest_waiter_and_are_never_lost() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire().expect("one is free");
        let (mut first, mut second, mut third) = (
            semaphore.acquire(),
            semaphore.acquire(),
            semaphore.acquire(),
        );
        assert!(poll(&mut first).is_none());
        assert!(poll(&mut second).is_none());
        assert!(poll(&mut third).is_none());
        assert_eq!(semaphore.waiting(), 3);

        drop(second); // gives up its place
        drop(held);
        assert!(semaphore.try_acquire().is_none(), "nobody overtakes");
        assert!(poll(&mut third).is_none());
        drop(first); // was granted, but never took it
        let permit = poll(&mut third).expect("the permit was passed on");
        drop(permit);
        assert!(semaphore.try_acquire().is_some());
    }
}
