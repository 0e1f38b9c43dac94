//! A socket for tokio tasks that is waited for and nothing else: it is never made non-blocking, so
//! that whoever it is passed to gets it as it was accepted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket, watched by the current runtime. The descriptor inside never changes.
#[derive(Debug)]
pub struct AsyncSocket(AsyncFd<OwnedFd>);

impl AsyncSocket {
    /// Registers `socket` with the current runtime.
    ///
    /// # Errors
    /// When it cannot be polled.
    pub fn new(socket: OwnedFd) -> io::Result<AsyncSocket> {
        // SAFETY: an `OwnedFd` is one descriptor, which is open and the same as long as it lives,
        // and nothing here replaces it or gives it out.
        Ok(AsyncSocket(unsafe { AsyncFd::register(socket) }?))
    }

    /// Waits until there may be something to receive or accept. The guard is to be told when there
    /// was nothing.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await
    }
}

impl AsFd for AsyncSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
