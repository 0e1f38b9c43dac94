//! Datagrams with file descriptors beside them, between two processes of one host.
//!
//! A channel is one end of a connected `AF_UNIX`/`SOCK_SEQPACKET` pair: message boundaries are
//! kept, order is kept, and the other end's death is seen as the end of the stream.
//!
//! ```text
//!  send(&M, fds) ──► [ JSON bytes │ SCM_RIGHTS: fd, fd, … ] ──► recv() = (M, fds)
//!                      ≤ MESSAGE_BYTES_MAX   ≤ MESSAGE_FDS_MAX
//! ```
//!
//! What arrives is all or nothing: a message or a list of descriptors that did not fit is an error,
//! and every descriptor that did arrive with it is closed.

use std::cell::Cell;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::limits;

/// Longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = limits::CONTROL_MESSAGE_BYTES_MAX;

/// Most descriptors beside one message.
pub const MESSAGE_FDS_MAX: usize = limits::CONTROL_FDS_MAX;

/// Asked for as the send buffer of both ends, in bytes; the kernel caps it at `net.core.wmem_max`
/// and doubles it. It bounds what can wait unread.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Room for one control message of [`MESSAGE_FDS_MAX`] descriptors, in 8-byte units: a 16-byte
/// header (`CMSG_LEN(0)`), then the descriptors.
const CONTROL_WORDS: usize = (16 + MESSAGE_FDS_MAX * size_of::<RawFd>()).div_ceil(8);

/// One end of a `SOCK_SEQPACKET` pair. Close-on-exec; closed when dropped.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Makes a connected pair. Fails when the process is out of descriptors.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt,
        };
        let (left, right) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        for end in [&left, &right] {
            setsockopt(end, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
        }
        Ok((Channel(left), Channel(right)))
    }

    /// Takes an end that was inherited or received.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd)
    }

    /// Sends `message` with `fds` beside it; waits while the channel is full.
    ///
    /// Errors: `InvalidInput` when it is empty, too long or has too many descriptors; `BrokenPipe`
    /// when the other end is gone.
    pub fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_bytes(&encode(message)?, fds, 0)
    }

    /// Sends `message` if there is room; `WouldBlock` when there is none. Else like [`Self::send`].
    pub fn try_send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.try_send_bytes(&encode(message)?, fds)
    }

    /// Sends bytes as one datagram if there is room; `WouldBlock` when there is none. Else like
    /// [`Self::send`].
    pub fn try_send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_bytes(bytes, fds, libc::MSG_DONTWAIT)
    }

    /// Waits for the next message. `None`: the other end is gone and everything it sent was read.
    ///
    /// Errors: `InvalidData` when it is not an `M` or was too large for [`MESSAGE_BYTES_MAX`] or
    /// for this process's descriptor limit.
    pub fn recv<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        decode(self, 0)
    }

    /// The next message if there is one; `WouldBlock` when there is none. Else like [`Self::recv`].
    pub fn try_recv<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        decode(self, libc::MSG_DONTWAIT)
    }

    /// Replaces what is in `buf` by the next datagram, if there is one, and says its length;
    /// `WouldBlock` when there is none, `None` at the end of the stream.
    ///
    /// `buf` grows to [`MESSAGE_BYTES_MAX`] once and is then reused. On an error it is empty.
    pub fn try_recv_bytes(&self, buf: &mut Vec<u8>) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        self.recv_bytes(buf, libc::MSG_DONTWAIT)
    }

    fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>], flags: i32) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > MESSAGE_BYTES_MAX {
            let length = bytes.len();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message has 1 to {MESSAGE_BYTES_MAX} bytes, this one has {length}"),
            ));
        }
        if fds.len() > MESSAGE_FDS_MAX {
            let count = fds.len();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a message carries up to {MESSAGE_FDS_MAX} descriptors, this one {count}"),
            ));
        }
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        loop {
            match send_message(self.0.as_raw_fd(), bytes, &raw, flags | libc::MSG_NOSIGNAL) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn recv_bytes(
        &self,
        buf: &mut Vec<u8>,
        flags: i32,
    ) -> io::Result<Option<(usize, Vec<OwnedFd>)>> {
        loop {
            match recv_message(self.0.as_raw_fd(), buf, flags | libc::MSG_CMSG_CLOEXEC) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok((0, fds)) if fds.is_empty() => return Ok(None),
                Ok(received) => return Ok(Some(received)),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> OwnedFd {
        channel.0
    }
}

/// The bytes of `message`, as [`Channel::send`] puts them on the wire.
pub fn encode<M: Serialize>(message: &M) -> io::Result<Vec<u8>> {
    serde_json::to_vec(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn decode<M: DeserializeOwned>(
    channel: &Channel,
    flags: i32,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut buf = RECEIVED.take();
    let result = match channel.recv_bytes(&mut buf, flags) {
        Ok(None) => Ok(None),
        Ok(Some((_, fds))) => match serde_json::from_slice(&buf) {
            Ok(message) => Ok(Some((message, fds))),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        },
        Err(error) => Err(error),
    };
    RECEIVED.set(buf);
    result
}

thread_local! {
    /// The bytes of the message being decoded, kept for the next one: it is as long as the longest
    /// message.
    static RECEIVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `sendmsg(2)` of one datagram, with `fds` as one `SCM_RIGHTS` control message.
fn send_message(socket: RawFd, bytes: &[u8], fds: &[RawFd], flags: i32) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: every field of `msghdr` is an integer or a pointer; all zero is a valid empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let data_bytes = size_of_val(fds);
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic on the length only.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(data_bytes as u32) } as _;
        // SAFETY: `control` is 8-byte aligned and holds `CMSG_SPACE` of MESSAGE_FDS_MAX
        // descriptors, which the caller checked `fds` against; so the first header and its data lie
        // inside it.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(data_bytes as u32) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(message),
                data_bytes,
            );
        }
    }
    // SAFETY: `header` points at `part` and `control`, which outlive the call; the kernel only
    // reads them.
    let sent = unsafe { libc::sendmsg(socket, &raw const header, flags) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `recvmsg(2)` of one datagram into `buf`, with the descriptors beside it.
fn recv_message(socket: RawFd, buf: &mut Vec<u8>, flags: i32) -> io::Result<(usize, Vec<OwnedFd>)> {
    buf.clear();
    buf.reserve(MESSAGE_BYTES_MAX);
    let mut part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: MESSAGE_BYTES_MAX,
    };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: every field of `msghdr` is an integer or a pointer; all zero is a valid empty header.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `part` is the spare capacity of `buf` (at least MESSAGE_BYTES_MAX bytes, reserved
    // above) and `control` is its own array; both outlive the call, and the kernel writes at most
    // the lengths given.
    let received = unsafe { libc::recvmsg(socket, &raw mut header, flags) };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    let length = received as usize;
    // SAFETY: `header` and `control` are as the kernel left them, and nobody took its descriptors
    // yet.
    let fds = unsafe { take_descriptors(&header) };
    if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        let what = if header.msg_flags & libc::MSG_TRUNC != 0 {
            "a message was longer than its limit and was dropped"
        } else {
            "a message's descriptors did not fit the process's limit (RLIMIT_NOFILE): dropped"
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // SAFETY: the kernel initialised the first `length` bytes, and it was told of no more than
    // there are.
    unsafe { buf.set_len(length) };
    Ok((length, fds))
}

/// Owns every descriptor that `recvmsg` installed.
///
/// # Safety
/// `header` is what a successful `recvmsg` filled in, its control buffer is alive and 8-byte
/// aligned, and this is called once for it.
unsafe fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within `msg_controllen` as set by the
    // kernel; an SCM_RIGHTS message holds `(cmsg_len - CMSG_LEN(0)) / 4` descriptors, each new and
    // owned by nobody.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_RIGHTS
            {
                let data_bytes = (*message).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(message).cast::<RawFd>();
                for index in 0..data_bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    fds
}

#[cfg(test)]
mod tests;
