//! One io_uring with the sockets and buffers that it works on.
//!
//! The kernel reads and writes buffers while an operation is under way, so the ring owns them and
//! lends them out only when it is not:
//!
//! ```text
//!   open ─► connect … ─► send … ─► receive … ─► close        each "…" is one completion of a turn
//!
//!   slot │ socket │ send buffer: lent while no send is under way
//!        │        │ receive buffer: lent while no receive is under way
//!        │ pending operations; a slot is used again when there are none
//! ```
//!
//! A slot has at most one operation of a kind at a time, and a completion names slot and kind.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use socket2::{Domain, SockAddr, Socket, Type};

/// A socket of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// Its number: small, and used again after the slot was closed.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connecting.
    Connect,
    /// Sending.
    Send,
    /// Receiving.
    Receive,
}

/// How often a submission is tried again that the kernel puts off.
const SUBMIT_TRIES: u32 = 1000;

const CONNECT: u64 = 0;
const SEND: u64 = 1;
const RECEIVE: u64 = 2;
const CANCEL: u64 = 3;

/// The end of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Whose.
    pub slot: Slot,
    /// Of what.
    pub kind: Kind,
    /// Bytes, or an error number below 0.
    pub result: i32,
}

/// One socket with its buffers.
#[derive(Debug)]
struct Entry {
    socket: Option<Socket>,
    /// Boxed: the kernel reads it when the connect is submitted, and `entries` may have moved by then.
    address: Box<SockAddr>,
    send: Vec<u8>,
    receive: Vec<u8>,
    /// Bit set of kinds under way.
    pending: u8,
    closing: bool,
}

/// The ring.
pub struct Ring {
    // Dropped first: the kernel has let go of every buffer when the ring is gone.
    uring: IoUring,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Slots that became free in this turn; used again only in the next, so that no completion of the
    /// old socket is taken for one of the new.
    released: Vec<u32>,
    /// What bodies are sent from.
    filler: Arc<[u8]>,
    read_bytes: usize,
}

impl Ring {
    /// A ring of `entries` submissions, whose sockets begin with receive buffers of `read_bytes`.
    ///
    /// # Errors
    /// When the kernel gives no ring: io_uring is forbidden, or locked memory is short.
    pub fn new(entries: u32, read_bytes: usize, filler: Arc<[u8]>) -> io::Result<Self> {
        let fast = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(entries * 4)
            .build(entries);
        let uring = match fast {
            // Linux before 6.1 has neither flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::builder()
                .setup_cqsize(entries * 4)
                .build(entries)?,
            other => other?,
        };
        Ok(Self {
            uring,
            entries: Vec::new(),
            free: Vec::new(),
            released: Vec::new(),
            filler,
            read_bytes,
        })
    }

    /// A new socket that connects to `address`.
    ///
    /// # Errors
    /// When there is no socket to be had: too many open files, or no memory for it.
    pub fn open(&mut self, address: SocketAddr, receive_window: Option<usize>) -> io::Result<Slot> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = receive_window {
            socket.set_recv_buffer_size(bytes)?;
        }
        let slot = match self.free.pop() {
            Some(index) => Slot(index),
            None => {
                self.entries.push(Entry {
                    socket: None,
                    address: Box::new(SockAddr::from(address)),
                    send: Vec::new(),
                    receive: vec![0; self.read_bytes],
                    pending: 0,
                    closing: false,
                });
                Slot(self.entries.len() as u32 - 1)
            }
        };
        let entry = &mut self.entries[slot.index()];
        let fd = Fd(socket.as_raw_fd());
        entry.socket = Some(socket);
        *entry.address = SockAddr::from(address);
        entry.closing = false;
        self.submit_connect(slot, fd)?;
        Ok(slot)
    }

    fn submit_connect(&mut self, slot: Slot, fd: Fd) -> io::Result<()> {
        let address = &self.entries[slot.index()].address;
        let operation = opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build();
        self.push(slot, CONNECT, operation)
    }

    /// The send buffer; none while a send is under way.
    pub fn send_buffer(&mut self, slot: Slot) -> Option<&mut Vec<u8>> {
        let entry = &mut self.entries[slot.index()];
        (entry.pending & (1 << SEND) == 0).then_some(&mut entry.send)
    }

    /// Sends the buffer's bytes from `from`, at most `most`.
    ///
    /// # Errors
    /// When the kernel takes no submission.
    pub fn send(&mut self, slot: Slot, from: usize, most: usize) -> io::Result<()> {
        let entry = &self.entries[slot.index()];
        let Some(fd) = entry.idle(SEND) else {
            return Ok(());
        };
        let bytes = entry.send.get(from..).unwrap_or_default();
        let length = bytes.len().min(most);
        let operation = opcode::Send::new(fd, bytes.as_ptr(), length as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        self.push(slot, SEND, operation)
    }

    /// Sends filler, at most `most` bytes and at most what the filler has.
    ///
    /// # Errors
    /// When the kernel takes no submission.
    pub fn send_filler(&mut self, slot: Slot, most: usize) -> io::Result<()> {
        let Some(fd) = self.entries[slot.index()].idle(SEND) else {
            return Ok(());
        };
        let length = self.filler.len().min(most);
        let operation = opcode::Send::new(fd, self.filler.as_ptr(), length as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        self.push(slot, SEND, operation)
    }

    /// Receives at most `most` bytes into the receive buffer.
    ///
    /// # Errors
    /// When the kernel takes no submission.
    pub fn receive(&mut self, slot: Slot, most: usize) -> io::Result<()> {
        let entry = &mut self.entries[slot.index()];
        let Some(fd) = entry.idle(RECEIVE) else {
            return Ok(());
        };
        let length = entry.receive.len().min(most);
        let operation = opcode::Recv::new(fd, entry.receive.as_mut_ptr(), length as u32).build();
        self.push(slot, RECEIVE, operation)
    }

    /// The first `length` bytes received; nothing while a receive is under way.
    pub fn received(&self, slot: Slot, length: usize) -> &[u8] {
        let entry = &self.entries[slot.index()];
        if entry.pending & (1 << RECEIVE) != 0 {
            return &[];
        }
        &entry.receive[..length.min(entry.receive.len())]
    }

    /// Makes the receive buffer `bytes` large; nothing while a receive is under way.
    pub fn grow(&mut self, slot: Slot, bytes: usize) {
        let entry = &mut self.entries[slot.index()];
        if entry.pending & (1 << RECEIVE) == 0 && entry.receive.len() < bytes {
            entry.receive.resize(bytes, 0);
        }
    }

    /// Closes the socket. What is under way ends without a completion that is reported.
    pub fn close(&mut self, slot: Slot) -> io::Result<()> {
        let entry = &mut self.entries[slot.index()];
        if entry.closing || entry.socket.is_none() {
            return Ok(());
        }
        entry.closing = true;
        if entry.pending == 0 {
            self.release(slot);
            return Ok(());
        }
        if let Some(socket) = &entry.socket {
            // Ends sends and receives; an error means that the peer was first.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        if entry.pending & (1 << CONNECT) != 0 {
            let connect = data(slot, CONNECT);
            let operation = opcode::AsyncCancel::new(connect).build();
            self.push(slot, CANCEL, operation)?;
        }
        Ok(())
    }

    /// Whether this socket is open and not being closed.
    pub fn is_open(&self, slot: Slot) -> bool {
        let entry = &self.entries[slot.index()];
        entry.socket.is_some() && !entry.closing
    }

    /// Sockets that are open, those being closed included.
    pub fn open_count(&self) -> usize {
        self.entries.len() - self.free.len() - self.released.len()
    }

    /// Submits what was asked for and waits up to `wait` for a completion (not at all when zero),
    /// then adds every completion that is there to `into`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn turn(&mut self, wait: Duration, into: &mut Vec<Completion>) -> io::Result<()> {
        let entered = if wait.is_zero() {
            // With DEFER_TASKRUN completions are made only inside such a call.
            let pending = self.uring.submission().len() as u32;
            // SAFETY: no argument is passed (arg: none, size 0), so the call reads no memory of ours
            // but the ring's own queues.
            unsafe {
                self.uring
                    .submitter()
                    .enter::<libc::sigset_t>(pending, 0, libc_getevents(), None)
            }
        } else {
            let timeout = Timespec::new()
                .sec(wait.as_secs())
                .nsec(wait.subsec_nanos());
            let arguments = SubmitArgs::new().timespec(&timeout);
            self.uring.submitter().submit_with_args(1, &arguments)
        };
        match entered {
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
        let Self {
            uring,
            entries,
            free,
            released,
            ..
        } = self;
        free.append(released);
        for entry in uring.completion() {
            let (slot, kind) = (
                Slot((entry.user_data() >> 8) as u32),
                entry.user_data() & 0xff,
            );
            let state = &mut entries[slot.index()];
            state.pending &= !(1 << kind);
            if state.closing {
                if state.pending == 0 {
                    state.socket = None;
                    released.push(slot.0);
                }
                continue;
            }
            let kind = match kind {
                CONNECT => Kind::Connect,
                SEND => Kind::Send,
                RECEIVE => Kind::Receive,
                _ => continue,
            };
            into.push(Completion {
                slot,
                kind,
                result: entry.result(),
            });
        }
        Ok(())
    }

    fn release(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot.index()];
        entry.socket = None;
        self.released.push(slot.0);
    }

    fn push(&mut self, slot: Slot, kind: u64, operation: squeue::Entry) -> io::Result<()> {
        let operation = operation.user_data(data(slot, kind));
        let mut tries = 0;
        loop {
            // SAFETY: everything the operation points at outlives it: buffers and addresses belong to the
            // slot's entry (their heap memory does not move with `entries`), are neither lent, resized,
            // written nor freed while the kind's `pending` bit is set, and the slot is used again only
            // when no bit is; the filler is never dropped before the ring.
            let pushed = unsafe { self.uring.submission().push(&operation) };
            if pushed.is_ok() {
                self.entries[slot.index()].pending |= 1 << kind;
                return Ok(());
            }
            match self.uring.submit() {
                Ok(_) => {}
                // The kernel wants completions to be taken first; making them is what a turn does.
                Err(error) if is_passing(&error) && tries < SUBMIT_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Entry {
    /// The socket, when no operation of this kind is under way.
    fn idle(&self, kind: u64) -> Option<Fd> {
        let socket = self.socket.as_ref().filter(|_| !self.closing)?;
        (self.pending & (1 << kind) == 0).then(|| Fd(socket.as_raw_fd()))
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("open", &self.open_count())
            .finish_non_exhaustive()
    }
}

impl Drop for Ring {
    /// Ends every operation before the buffers go: an exiting ring cancels them, but not at once.
    fn drop(&mut self) {
        for index in 0..self.entries.len() {
            let _ = self.close(Slot(index as u32));
        }
        let mut ignored = Vec::new();
        for _ in 0..1000 {
            if self.entries.iter().all(|entry| entry.pending == 0) {
                return;
            }
            if self.turn(Duration::from_millis(10), &mut ignored).is_err() {
                break;
            }
        }
        // Never seen; leaking the buffers is the answer that cannot corrupt memory.
        std::mem::forget(std::mem::take(&mut self.entries));
        std::mem::forget(Arc::clone(&self.filler));
    }
}

/// Whether the kernel means "later".
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
    )
}

fn data(slot: Slot, kind: u64) -> u64 {
    (u64::from(slot.0) << 8) | kind
}

/// `IORING_ENTER_GETEVENTS` of linux/io_uring.h.
fn libc_getevents() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn ring() -> Ring {
        Ring::new(8, 16, vec![b'f'; 32].into()).unwrap()
    }

    fn wait(ring: &mut Ring, kind: Kind) -> Completion {
        let mut completions = Vec::new();
        for _ in 0..1000 {
            ring.turn(Duration::from_millis(10), &mut completions)
                .unwrap();
            if let Some(found) = completions
                .iter()
                .find(|completion| completion.kind == kind)
            {
                return *found;
            }
        }
        panic!("no completion of {kind:?}: {completions:?}");
    }

    #[test]
    fn bytes_go_out_and_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ring = ring();
        let slot = ring.open(listener.local_addr().unwrap(), None).unwrap();
        assert_eq!(wait(&mut ring, Kind::Connect).result, 0);
        let (mut peer, _) = listener.accept().unwrap();
        ring.send_buffer(slot).unwrap().extend_from_slice(b"hello");
        ring.receive(slot, 16).unwrap();
        ring.send(slot, 1, 3).unwrap();
        assert!(
            ring.send_buffer(slot).is_none(),
            "lent while the kernel reads it"
        );
        assert_eq!(wait(&mut ring, Kind::Send).result, 3);
        let mut got = [0; 3];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"ell");
        assert_eq!(
            ring.received(slot, 16),
            b"",
            "nothing while the kernel writes it"
        );
        peer.write_all(b"answer").unwrap();
        let received = wait(&mut ring, Kind::Receive);
        assert_eq!(ring.received(slot, received.result as usize), b"answer");
        ring.send_filler(slot, 4).unwrap();
        assert_eq!(wait(&mut ring, Kind::Send).result, 4);
    }

    #[test]
    fn a_closed_slot_is_used_again_only_when_nothing_is_under_way() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ring = ring();
        let first = ring.open(address, None).unwrap();
        wait(&mut ring, Kind::Connect);
        ring.receive(first, 16).unwrap();
        ring.close(first).unwrap();
        let second = ring.open(address, None).unwrap();
        assert_ne!(first, second, "its receive is still under way");
        wait(&mut ring, Kind::Connect);
        let mut completions = Vec::new();
        while ring.open_count() > 1 {
            ring.turn(Duration::from_millis(10), &mut completions)
                .unwrap();
        }
        assert!(
            completions
                .iter()
                .all(|completion| completion.slot != first),
            "{completions:?}"
        );
        let third = ring.open(address, None).unwrap();
        assert_ne!(
            third, first,
            "a completion of the old socket may be in this turn's hands"
        );
        ring.turn(Duration::ZERO, &mut completions).unwrap();
        assert_eq!(ring.open(address, None).unwrap(), first);
    }

    #[test]
    fn refusals_and_cancelled_connects_are_reported_or_forgotten() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut ring = ring();
        ring.open(free, None).unwrap();
        assert_eq!(wait(&mut ring, Kind::Connect).result, -libc::ECONNREFUSED);
        // Nobody answers at this address (RFC 5737), so the connect is under way until cancelled.
        let slot = ring.open("192.0.2.1:9".parse().unwrap(), None).unwrap();
        ring.close(slot).unwrap();
        let mut completions = Vec::new();
        for _ in 0..1000 {
            ring.turn(Duration::from_millis(10), &mut completions)
                .unwrap();
            if ring.open_count() == 1 {
                return;
            }
        }
        panic!("the connect was not cancelled");
    }

    #[test]
    fn more_operations_than_the_queue_holds_are_submitted_in_between() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut ring = ring();
        let slots: Vec<Slot> = (0..50).map(|_| ring.open(address, None).unwrap()).collect();
        for slot in &slots {
            ring.receive(*slot, 16).unwrap();
        }
        let mut completions = Vec::new();
        while completions.len() < 50 {
            ring.turn(Duration::from_millis(10), &mut completions)
                .unwrap();
        }
        assert!(completions.iter().all(|completion| completion.result == 0));
    }
}
