//! The connections that the front holds, which are never more than there are places.
//!
//! ```text
//! accept ─► waiting for its head ─► settled: being passed on, or refused ─► gone
//!                │
//!                └─ the oldest makes room when all places are taken
//! ```
//!
//! An honest client's head is there within a round trip, so whoever waits longest is most likely
//! one that says nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    taken: Cell<usize>,
    next: Cell<u64>,
    /// Those that wait for their head, the oldest first.
    waiting: RefCell<BTreeMap<u64, Option<AbortHandle>>>,
    freed: Notify,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    id: u64,
}

impl Places {
    /// This many.
    pub(super) fn new(max: usize) -> Rc<Places> {
        Rc::new(Places {
            max,
            taken: Cell::new(0),
            next: Cell::new(0),
            waiting: RefCell::default(),
            freed: Notify::new(),
        })
    }

    /// A place for a new connection, whose task is to be named at once ([`Places::name`]). Where all
    /// are taken, the oldest that waits for its head ends; where none does, this waits.
    pub(super) async fn take(self: &Rc<Places>) -> Place {
        while self.taken.get() >= self.max {
            self.evict();
            self.freed.notified().await;
        }
        let id = self.next.get();
        self.next.set(id + 1);
        self.taken.set(self.taken.get() + 1);
        self.waiting.borrow_mut().insert(id, None);
        Place {
            places: Rc::clone(self),
            id,
        }
    }

    /// The task that ends when the connection at `id` has to make room.
    pub(super) fn name(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.waiting.borrow_mut().get_mut(&id) {
            *entry = Some(task);
        }
    }

    /// Ends the oldest connection that waits for its head, if there is one.
    pub(super) fn evict(&self) {
        let oldest = self.waiting.borrow_mut().pop_first();
        if let Some((_, Some(task))) = oldest {
            task.abort();
        }
    }

    /// Whether no connection is left.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.get() == 0
    }
}

impl Place {
    /// Its number, for [`Places::name`].
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The connection does not wait for its head any more: it makes no room for others.
    pub(super) fn settle(&self) {
        self.places.waiting.borrow_mut().remove(&self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        self.places.taken.set(self.places.taken.get() - 1);
        self.places.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    /// A task that holds a place for ever.
    async fn hold(places: &Rc<Places>) -> (tokio::task::JoinHandle<()>, u64) {
        let place = places.take().await;
        let id = place.id();
        let task = tokio::task::spawn_local(async move {
            let _place = place;
            std::future::pending::<()>().await;
        });
        places.name(id, task.abort_handle());
        (task, id)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    #[test]
    fn the_oldest_that_waits_makes_room() {
        run(async {
            let places = Places::new(2);
            let (first, _) = hold(&places).await;
            let (second, _) = hold(&places).await;
            let (third, _) = hold(&places).await;
            assert!(first.await.unwrap_err().is_cancelled());
            assert!(!second.is_finished() && !third.is_finished());
            assert_eq!(places.taken.get(), 2);
            second.abort();
            third.abort();
            let _ = (second.await, third.await);
            assert!(places.is_empty());
        });
    }

    #[test]
    fn who_is_settled_stays_and_is_waited_for() {
        run(async {
            let places = Places::new(1);
            let settled = places.take().await;
            settled.settle();
            let waiting = Rc::clone(&places);
            let next = tokio::task::spawn_local(async move { waiting.take().await.id() });
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(!next.is_finished());
            drop(settled);
            assert_eq!(next.await.unwrap(), 1);
        });
    }
}
