//! Descriptors of monoio's sockets, which say their number but do not implement `AsFd`.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

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

/// Whether a connection is open and has nothing to be read: recv(2), `MSG_PEEK`.
pub fn would_block(half: &OwnedReadHalf<TcpStream>) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(of_half(half).as_raw_fd(), &mut [0], flags) == Err(Errno::EAGAIN)
}
