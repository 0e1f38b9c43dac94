//! Accepting connections, and seeing to it that each reaches the worker of its tenant.
//!
//! The accepting worker looks at the first bytes without taking them (`MSG_PEEK`). When they name
//! a tenant of another worker, the socket is passed on as it came; everything else, a head that
//! is not complete yet included, is served here and handed on later if need be.
//!
//! With two or more cells a process of its own does this: see [`front`].

pub mod front;

use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use monoio::net::{TcpListener, TcpStream};
use nix::sys::socket::{MsgFlags, recv};

use crate::config::limits;
use crate::control::Handover;
use crate::sys::fd;
use crate::worker::connection::{Incoming, serve};
use crate::worker::core::Core;
use crate::worker::runtime::within;
use crate::worker::semaphore::Permit;

/// Accepts from a listening socket until the worker drains, and then what is still queued there; or
/// until it is told that the front does.
pub async fn accept(core: Rc<Core>, listener: std::net::TcpListener) -> io::Result<()> {
    // A non-blocking listener would complete accepts with EAGAIN instead of waiting.
    listener.set_nonblocking(false)?;
    let rest = listener.try_clone()?;
    let listener = TcpListener::from_std(listener)?;
    let canceller = monoio::io::Canceller::new();
    let cancel = canceller.handle();
    let stopped = core.cancel_accept_on_stop(canceller);
    while !stopped.get() {
        let place = core.places.acquire().await;
        match listener.cancelable_accept(cancel.clone()).await {
            Ok((stream, _)) => spawn(&core, stream, place),
            Err(_) if stopped.get() => break,
            Err(error) => {
                tracing::warn!("accept: {error}");
                monoio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
            }
        }
    }
    if !core.draining.get() {
        // What is queued is the front's.
        return Ok(());
    }
    rest.set_nonblocking(true)?;
    while let Some(place) = core.places.try_acquire()
        && let Ok((stream, _)) = rest.accept()
    {
        stream.set_nonblocking(false)?;
        spawn(&core, TcpStream::from_std(stream)?, place);
    }
    Ok(())
}

fn spawn(core: &Rc<Core>, stream: TcpStream, place: Permit) {
    let serving = Rc::clone(core);
    core.track(place, async move {
        // A response is one write: there is nothing to wait for and gather. A connection that is
        // gone already fails at its first read.
        let _ = stream.set_nodelay(true);
        if let Some(stream) = pass_on(&serving, stream).await {
            let incoming = Incoming {
                stream,
                buffered: BytesMut::new(),
                hops: 0,
                fronted: false,
            };
            serve(serving, incoming).await;
        }
    });
}

/// Passes a new connection to another worker when its first request belongs there; returns it
/// otherwise.
async fn pass_on(core: &Core, stream: TcpStream) -> Option<TcpStream> {
    if !core.tenants.any_elsewhere() {
        return Some(stream);
    }
    // Silence is answered by the connection's own timeout, and looked at now and then, for a drain.
    let deadline = Instant::now() + Duration::from_millis(core.http.head_timeout_ms);
    let look = Duration::from_millis(limits::PEEK_WAIT_MS);
    while !core.draining.get() && Instant::now() < deadline {
        if within(look, stream.readable(false)).await.is_some() {
            break;
        }
    }
    let mut head = [0; limits::PEEK_BYTES_MAX];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    let Ok(peeked) = recv(stream.as_raw_fd(), &mut head, flags) else {
        return Some(stream);
    };
    let Some(worker) = core.elsewhere(&head[..peeked]) else {
        return Some(stream);
    };
    let mut frame = Vec::new();
    let handover = Handover {
        fronted: false,
        hops: 1,
        buffered: &[],
    };
    handover.encode(&mut frame);
    let sent = core
        .mailbox(worker)
        .map(|mailbox| mailbox.try_send_bytes(&frame, &[fd::of(&stream)]));
    // A full mailbox is tried again, with patience, once the head was read.
    (!matches!(sent, Some(Ok(())))).then_some(stream)
}
