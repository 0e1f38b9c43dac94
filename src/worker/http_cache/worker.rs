//! The caches of all tenants of a worker, and what they may have together.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::tenant::{Settings, Shared, Tenant};
use crate::config::limits::HTTP_CACHE_GIVEN_BYTES_MIN;

/// The largest cache gives this part of its bytes when all together are too large.
const GIVEN_DIVISOR: u64 = 8;

/// What all caches of one worker have in common. Cloning it copies nothing.
#[derive(Clone)]
pub struct Worker(Rc<Common>);

pub(super) struct Common {
    bytes: Cell<u64>,
    bytes_max: Cell<u64>,
    tenants: RefCell<Vec<Weak<Shared>>>,
}

impl Worker {
    /// With this many bytes for all tenants together.
    pub fn new(bytes_max: u64) -> Self {
        Self(Rc::new(Common {
            bytes: Cell::new(0),
            bytes_max: Cell::new(bytes_max),
            tenants: RefCell::default(),
        }))
    }

    /// A cache of its own for one tenant. It is gone with its last [`Tenant`].
    pub fn tenant(&self, settings: Settings) -> Tenant {
        let tenant = Tenant::new(&self.0, settings);
        let mut tenants = self.0.tenants.borrow_mut();
        tenants.retain(|tenant| tenant.strong_count() > 0);
        tenants.push(Rc::downgrade(&tenant.0));
        tenant
    }

    /// Of all caches.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// Changes what they may have together. What is too much is evicted at once.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.0.bytes_max.set(bytes_max);
        self.0.make_room();
    }
}

impl Common {
    /// A tenant's bytes are others than before.
    pub(super) fn change(&self, before: u64, after: u64) {
        self.bytes.set(self.bytes.get() - before + after);
    }

    /// Has the largest caches evict until all together fit; whether they do. No tenant's state may be
    /// borrowed.
    pub(super) fn make_room(&self) -> bool {
        loop {
            let over = self.bytes.get().saturating_sub(self.bytes_max.get());
            if over == 0 {
                return true;
            }
            let tenants = self.tenants.borrow();
            let tenants = tenants.iter().filter_map(Weak::upgrade);
            let Some(largest) = tenants.max_by_key(|tenant| tenant.stored_bytes()) else {
                return false;
            };
            // Each round ends one entry at least.
            let part = largest.stored_bytes() / GIVEN_DIVISOR;
            if !largest.give(over.min(part.max(HTTP_CACHE_GIVEN_BYTES_MIN))) {
                return false;
            }
        }
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("bytes", &self.0.bytes)
            .field("bytes_max", &self.0.bytes_max)
            .finish_non_exhaustive()
    }
}
