//! Descriptors owned by types that only say their number.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Borrows the descriptor that `owner` keeps open: monoio's types say its number, but do not
/// implement `AsFd`.
pub fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: `owner` owns an open descriptor of this number for as long as it is borrowed; skep
    // calls this with monoio's sockets and with the reading half of one, which both do.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
