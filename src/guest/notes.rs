//! What a guest says about its request, for the line of the access log.

use std::cell::RefCell;

/// Notes of one request.
#[derive(Debug, Default)]
pub struct Notes {
    diag: RefCell<Option<Box<str>>>,
}

impl Notes {
    /// One word that says what the request was; the last one counts.
    pub(super) fn set_diag(&self, text: &str) {
        self.diag.replace(Some(text.into()));
    }

    /// The word, if there is one.
    pub fn take_diag(&self) -> Option<Box<str>> {
        self.diag.take()
    }
}
