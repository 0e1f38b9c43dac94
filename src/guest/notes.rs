//! What is noted of a guest's request while it runs: for its answer, and for the line of the access log.

use std::cell::{Cell, RefCell};

/// Notes of one request.
#[derive(Debug, Default)]
pub struct Notes {
    diag: RefCell<Option<Box<str>>>,
    has_exited_well: Cell<bool>,
}

impl Notes {
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
