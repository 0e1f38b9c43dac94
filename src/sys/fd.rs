//! Descriptors of monoio's sockets, which say their number but do not implement `AsFd`.

use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::io::OwnedReadHalf;
use monoio::net::TcpStream;

/// Borrows a connection's descriptor.
pub fn of(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: a `TcpStream` owns its descriptor and keeps it open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Borrows a split connection's descriptor.
pub fn of_half(half: &OwnedReadHalf<TcpStream>) -> BorrowedFd<'_> {
    // SAFETY: the half shares ownership of the stream, which lives as long as it is borrowed. The
    // cell is of this thread alone, and no reference into it outlives a poll of an operation.
    of(unsafe { &*half.0.get() })
}
