//! What is noted of a guest's request while it runs: for its answer, and for the line of the access log.

use std::cell::{Cell, RefCell};

/// Notes of one request.
#[derive(Debug, Default)]
pub struct Notes {
    diag: RefCell<Option<Box<str>>>,
    has_exited_well: Cell<bool>,
    spent: Cell<Spent>,
}

/// What a request has used of what is not in its meter, where it has several instances.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Requests to others.
    pub(super) subrequests: usize,
    /// Bytes of log.
    pub(super) log_bytes: usize,
}

impl Notes {
    /// What the instances before have used.
    pub(super) fn spent(&self) -> Spent {
        self.spent.get()
    }

    /// Says what they have used now.
    pub(super) fn spend(&self, spent: Spent) {
        self.spent.set(spent);
    }

    /// One word that says what the request was; the last one counts.
    pub(super) fn set_diag(&self, text: &str) {
        self.diag.replace(Some(text.into()));
    }

    /// The guest ended itself with exit code 0.
    pub(super) fn set_exited_well(&self) {
        self.has_exited_well.set(true);
    }

    /// Whether it did.
    pub fn has_exited_well(&self) -> bool {
        self.has_exited_well.get()
    }

    /// The word, if there is one.
    pub fn take_diag(&self) -> Option<Box<str>> {
        self.diag.take()
    }
}
