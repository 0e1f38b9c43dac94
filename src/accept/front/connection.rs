//! One connection in the front: from the accept until a worker has it.
//!
//! ```text
//! accept ─ peek ─┬─ host ──────────────────────────► mailbox ─► gone from here
//!                └─ not complete ─ a place ─ wait ─┬─ host ──► mailbox, again and again for 100 ms
//!                                                  ├─ time is up: 408
//!                                                  └─ the client has gone
//! ```
//!
//! Most heads are one segment, which has come with the connection or right behind it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Front;
use super::places::Place;
use crate::config::limits;
use crate::control::Handover;
use crate::fault::Reason;
use crate::http::{Peek, Version, encode_fault, peek_host};
use crate::sys::AsyncSocket;

/// What a look at a connection shows.
#[derive(Debug)]
enum Seen {
    /// Nothing yet.
    Nothing,
    /// A part of a head.
    Part,
    /// Enough to know where it goes: to the host's workers, or without one to the default cell,
    /// which says what is wrong with it.
    Whole(Option<Box<str>>),
    /// The client has gone.
    Gone,
}

/// Takes a connection as it was accepted.
pub(super) async fn take(front: &Rc<Front>, stream: TcpStream) {
    match front.look(stream.as_fd()) {
        Seen::Whole(host) if front.pass(stream.as_fd(), host.as_deref()) => return,
        Seen::Gone => return,
        _ => {}
    }
    let place = front.places.take().await;
    let id = place.id();
    let waiting = wait(Rc::clone(front), stream, place);
    let task = tokio::task::spawn_local(waiting);
    front.places.name(id, task.abort_handle());
}

/// Waits for a connection's head, and passes it on.
async fn wait(front: Rc<Front>, stream: TcpStream, place: Place) {
    // Out of memory, or of descriptors that can be watched: the client sees the end.
    let Ok(socket) = AsyncSocket::new(stream.into()) else {
        return;
    };
    let deadline = Instant::now() + Duration::from_millis(front.http.head_timeout_ms);
    let seen = match timeout_at(deadline, front.whole(&socket)).await {
        Ok(seen) => seen.unwrap_or(Seen::Gone),
        // What has come since the last look counts.
        Err(_) => front.look(socket.as_fd()),
    };
    place.settle();
    match seen {
        Seen::Whole(host) => front.pass_or_refuse(&socket, host.as_deref()).await,
        Seen::Part => front.refuse(&socket, Reason::HeadTimeout).await,
        // Most likely it has only just connected. The workers accept from now on, and wait for it.
        Seen::Nothing if front.is_draining() => front.pass_or_refuse(&socket, None).await,
        // Nobody asked anything.
        Seen::Nothing | Seen::Gone => {}
    }
}

impl Front {
    /// Looks until the head is whole or the client has gone.
    async fn whole(&self, socket: &AsyncSocket) -> io::Result<Seen> {
        let mut draining = self.draining.clone();
        let mut pause = limits::FRONT_PAUSE_MS;
        loop {
            let mut ready = tokio::select! {
                biased;
                ready = socket.readable() => Some(ready?),
                // One that says nothing is not waited for here.
                _ = draining.wait_for(|draining| *draining) => None,
            };
            match self.look(socket.as_fd()) {
                Seen::Nothing if self.is_draining() => return Ok(Seen::Nothing),
                Seen::Nothing => {
                    if let Some(ready) = &mut ready {
                        ready.clear_ready();
                    }
                    continue;
                }
                Seen::Part => {}
                seen => return Ok(seen),
            }
            if let Some(ready) = &mut ready {
                if ready.ready().is_read_closed() {
                    return Ok(Seen::Gone);
                }
                ready.clear_ready();
            }
            sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(limits::FRONT_PAUSE_MAX_MS);
        }
    }

    /// Looks at what a connection has received, without taking it.
    fn look(&self, socket: BorrowedFd<'_>) -> Seen {
        let mut first = [0; limits::PEEK_BYTES_MAX];
        match peek(socket, &mut first) {
            Ok(0) => Seen::Gone,
            Ok(length) => match self.read(&first[..length]) {
                Seen::Part if length == first.len() => self.look_far(socket),
                seen => seen,
            },
            Err(Errno::EAGAIN | Errno::EINTR) => Seen::Nothing,
            Err(_) => Seen::Gone,
        }
    }

    /// Looks at as much as a head can be long.
    fn look_far(&self, socket: BorrowedFd<'_>) -> Seen {
        let mut scratch = self.scratch.borrow_mut();
        scratch.resize(self.http.head_bytes_max, 0);
        match peek(socket, &mut scratch) {
            Ok(length) => self.read(&scratch[..length]),
            Err(_) => Seen::Gone,
        }
    }

    fn read(&self, head: &[u8]) -> Seen {
        match peek_host(head, &self.head_limits()) {
            Ok(Peek::Partial) => Seen::Part,
            Ok(Peek::Host(host)) => Seen::Whole(Some(host)),
            Err(_) => Seen::Whole(None),
        }
    }

    /// Passes a connection to one of the host's workers; `false` when all their mailboxes are full.
    fn pass(&self, socket: BorrowedFd<'_>, host: Option<&str>) -> bool {
        let table = Rc::clone(&self.table.borrow());
        let workers = table.workers(host);
        let mut frame = Vec::with_capacity(1);
        let handover = Handover {
            fronted: true,
            hops: 0,
            buffered: &[],
        };
        handover.encode(&mut frame);
        workers.in_turn().any(|worker| {
            let mailbox = table.mailbox(worker);
            mailbox.is_some_and(|mailbox| mailbox.try_send_bytes(&frame, &[socket]).is_ok())
        })
    }

    /// The same with patience, as workers have it among themselves; then 503.
    async fn pass_or_refuse(&self, socket: &AsyncSocket, host: Option<&str>) {
        for _ in 0..limits::HANDOVER_TRIES {
            if self.pass(socket.as_fd(), host) {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.refuse(socket, Reason::HandoverFailed).await;
    }

    /// Answers a request that no worker sees, and closes so that the client can read the answer
    /// (RFC 9112 §9.6).
    async fn refuse(&self, socket: &AsyncSocket, reason: Reason) {
        let mut answer = Vec::new();
        let date = *self.date.borrow_mut().at(SystemTime::now());
        let head_only = starts_with(socket.as_fd(), b"HEAD ");
        encode_fault(
            &mut answer,
            reason,
            Version::Http11,
            false,
            head_only,
            &date,
        );
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        // A new connection has room for it; one that has not is gone.
        let sent = send(socket.as_fd().as_raw_fd(), &answer, flags).unwrap_or(0);
        self.log.refusal(reason, sent as u64);
        if shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write).is_ok() {
            // Whatever the outcome, the connection is closed now.
            let _ = timeout(Duration::from_millis(limits::LINGER_MS), discard(socket)).await;
        }
    }
}

/// Copies what was received, up to the length of `head`, and leaves it where it is.
fn peek(socket: BorrowedFd<'_>, head: &mut [u8]) -> nix::Result<usize> {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(socket.as_raw_fd(), head, flags)
}

fn starts_with(socket: BorrowedFd<'_>, prefix: &[u8; 5]) -> bool {
    let mut first = [0; 5];
    peek(socket, &mut first).is_ok() && first == *prefix
}

/// Drops what the client still sends, until it closes or has sent more than is worth reading.
async fn discard(socket: &AsyncSocket) -> io::Result<()> {
    let mut dropped = [0; limits::PEEK_BYTES_MAX];
    let mut left = limits::LINGER_BYTES_MAX;
    loop {
        let mut ready = socket.readable().await?;
        match recv(
            socket.as_fd().as_raw_fd(),
            &mut dropped,
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(0) => return Ok(()),
            Ok(read) if read > left => return Ok(()),
            Ok(read) => left -= read,
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}
