//! A client connection: one request after the other, in order, until either side has had enough.
//!
//! ```text
//! read head ─► parse ─► tenant? ─► here? ─► exchange ─► body left? ─► next head
//!                │         │         └─ no: hand the connection on, bytes and all
//!                └─────────┴─ no: answer, close
//! ```

use std::cell::Cell;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use monoio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};

use crate::config::{Compat, limits};
use crate::control::Handover;
use crate::fault::Reason;
use crate::guest::RequestId;
use crate::http::{self as codec, BodyDecoder, Chunk, Parsed, RequestHead, Version};
use crate::worker::core::Core;
use crate::worker::exchange::{exchange, refuse};
use crate::worker::log::Access;
use crate::worker::outbound::Asked;
use crate::worker::runtime::within;
use crate::worker::stream::{Gone, Reader, Writer, release, split};
use crate::worker::tenant::Tenant;

/// What the drain needs to know of a connection.
#[derive(Debug)]
pub struct Idle {
    /// The connection.
    pub fd: RawFd,
    /// Whether it waits for a request's first byte.
    pub idle: Cell<bool>,
}

/// A connection as it comes: accepted, or handed over by another worker.
#[derive(Debug)]
pub struct Incoming {
    /// The connected socket.
    pub stream: TcpStream,
    /// What was read from it already.
    pub buffered: BytesMut,
    /// How often it was handed on since its last request was served.
    pub hops: u8,
    /// Whether the front accepted it: see [`Handover::fronted`].
    pub fronted: bool,
}

/// Serves a connection until it ends or belongs to another worker.
pub async fn serve(core: Rc<Core>, incoming: Incoming) {
    let fd = incoming.stream.as_raw_fd();
    let idle = Rc::new(Idle {
        fd,
        idle: Cell::new(false),
    });
    let id = fd as u64;
    core.connections.borrow_mut().insert(id, Rc::clone(&idle));
    let (reader, writer) = split(incoming.stream, incoming.buffered);
    let connection = Connection {
        core: Rc::clone(&core),
        idle,
        reader,
        writer,
        hops: incoming.hops,
        fronted: incoming.fronted,
        is_first: incoming.hops == 0,
    };
    connection.run().await;
    core.connections.borrow_mut().remove(&id);
}

struct Connection {
    core: Rc<Core>,
    idle: Rc<Idle>,
    reader: Reader,
    writer: Writer,
    hops: u8,
    fronted: bool,
    /// No request of it was read yet.
    is_first: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "made and taken apart at once, once per request"
)]
/// What came of waiting for a request.
enum Head {
    Here(RequestHead),
    /// It belongs to another worker; nothing of it was taken from the buffer.
    Elsewhere(usize),
    /// The client has gone, or was idle for too long.
    None,
}

/// What follows a request.
enum Next {
    Request,
    Close,
    /// Close, but let the client read the answer first.
    Linger,
    /// Close in a way that the client cannot take for the end of a response.
    Reset,
    /// Another worker serves the connection from now on.
    HandedOver,
}

impl Connection {
    async fn run(mut self) {
        loop {
            match self.one_request().await {
                Next::Request => {}
                Next::Close => return,
                Next::Linger => return self.linger().await,
                Next::Reset => {
                    // Zero seconds: close(2) then sends a reset. Where it cannot be set, the
                    // client is not told, and nothing more can be done about it.
                    let reset = libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    let _ = setsockopt(&self.reader.fd(), sockopt::Linger, &reset);
                    return release(self.reader, self.writer);
                }
                Next::HandedOver => return release(self.reader, self.writer),
            }
        }
    }

    async fn one_request(&mut self) -> Next {
        let mut head = match self.head().await {
            Ok(Head::Here(head)) => head,
            Ok(Head::Elsewhere(worker)) => return self.hand_over(worker).await,
            Ok(Head::None) => return Next::Close,
            Err(reason) => return self.reject(reason).await,
        };
        let started = Instant::now();
        let request = self.core.log.next_request();
        let Some(tenant) = self.core.tenants.lookup(&head.host) else {
            let reason = self.why_unknown();
            return self.unserved(request, head, None, reason, started).await;
        };
        self.is_first = false;
        if let codec::BodyLength::Length(length) = head.body
            && length > tenant.placed.tenant.limits.request_body_bytes
        {
            let reason = Reason::BodyTooLarge;
            return self
                .unserved(request, head, Some(&tenant), reason, started)
                .await;
        }
        self.hops = 0;
        let mut decoder =
            BodyDecoder::new(head.body, tenant.placed.tenant.limits.request_body_bytes);
        let access = self.core.log.wants_access().then(|| Access::of(&mut head));
        let outcome = exchange(
            &self.core,
            &tenant,
            request,
            head,
            &mut decoder,
            &mut self.reader,
            &mut self.writer,
        )
        .await;
        self.core
            .log
            .access(request, access, Some(tenant.name()), &outcome, started);
        match outcome.sent {
            Some(sent) if sent.keep_alive && self.skip_body(&mut decoder).await => Next::Request,
            // Its end would look like the end of the response.
            Some(sent) if sent.broken.is_some() && sent.until_close => Next::Reset,
            Some(_) => Next::Linger,
            None => Next::Close,
        }
    }

    /// Why there is no tenant for a host. Behind the front, a first request is of nobody here: the
    /// front would have found its cell. A later one may be of another cell, whose tenants are not
    /// known here: the client tries another connection (RFC 9110 §15.5.20).
    fn why_unknown(&self) -> Reason {
        if self.fronted && !self.is_first {
            Reason::Misdirected
        } else {
            Reason::UnknownHost
        }
    }

    /// Reads the next request's head.
    async fn head(&mut self) -> Result<Head, Reason> {
        let limits = self.core.head_limits();
        if self.reader.buf.is_empty() {
            // While draining, only what has been sent already is served.
            let draining = self.core.draining.get();
            let limit = if draining {
                Duration::from_millis(limits::DRAIN_POLL_MS)
            } else {
                Duration::from_millis(self.core.http.idle_timeout_ms)
            };
            self.idle.idle.set(!draining);
            let filled = self
                .reader
                .fill_within(limit, self.core.profile.read_buffer_bytes)
                .await;
            self.idle.idle.set(false);
            if filled.is_err() {
                return Ok(Head::None);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(self.core.http.head_timeout_ms);
        loop {
            if let Some(worker) = self.core.elsewhere(&self.reader.buf) {
                return Ok(Head::Elsewhere(worker));
            }
            match codec::parse_request(&mut self.reader.buf, &limits)? {
                Parsed::Complete(head) => return Ok(Head::Here(head)),
                Parsed::Partial => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    match self
                        .reader
                        .fill_within(left, self.core.profile.read_buffer_bytes)
                        .await
                    {
                        Ok(()) => {}
                        Err(Gone::TimedOut) => return Err(Reason::HeadTimeout),
                        Err(Gone::Closed) => return Ok(Head::None),
                    }
                }
            }
        }
    }

    /// Gives the connection, with everything read from it, to the worker of its next request.
    async fn hand_over(&mut self, mut worker: usize) -> Next {
        let too_long = self.reader.buf.len() >= limits::HANDOVER_BYTES_MAX;
        if self.hops >= limits::HANDOVER_HOPS_MAX || too_long {
            return self.reject(Reason::HandoverFailed).await;
        }
        if let Some(more) = self.hops.checked_sub(limits::HANDOVER_HOPS_AT_ONCE) {
            // To and fro: the new tables have not reached both workers yet.
            monoio::time::sleep(Duration::from_millis(1 << more)).await;
            match self.core.elsewhere(&self.reader.buf) {
                Some(now) => worker = now,
                None => return Next::Request, // it belongs here by now
            }
        }
        let mut frame = Vec::with_capacity(1 + self.reader.buf.len());
        let handover = Handover {
            fronted: self.fronted,
            hops: self.hops + 1,
            buffered: &self.reader.buf,
        };
        handover.encode(&mut frame);
        for _ in 0..limits::HANDOVER_TRIES {
            let Some(mailbox) = self.core.mailbox(worker) else {
                break;
            };
            let sent = mailbox.try_send_bytes(&frame, &[self.reader.fd()]);
            match sent {
                Ok(()) => return Next::HandedOver,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => {
                    tracing::error!("hand-over to worker {worker}: {error}");
                    break;
                }
            }
        }
        self.reject(Reason::HandoverFailed).await
    }

    /// Answers a request that no guest sees.
    async fn unserved(
        &mut self,
        request: RequestId,
        mut head: RequestHead,
        tenant: Option<&Tenant>,
        reason: Reason,
        started: Instant,
    ) -> Next {
        let compat = tenant.map(|it| it.placed.tenant.compat);
        let asked = self.core.asked(&head, compat.unwrap_or_default());
        let outcome = refuse(&mut self.writer, &asked, reason).await;
        let access = self.core.log.wants_access().then(|| Access::of(&mut head));
        self.core
            .log
            .access(request, access, tenant.map(Tenant::name), &outcome, started);
        Next::Linger
    }

    /// Answers bytes that are no request.
    async fn reject(&mut self, reason: Reason) -> Next {
        let asked = Asked {
            compat: Compat::None,
            method: http::Method::GET,
            version: Version::Http11,
            keep_alive: false,
            date: self.core.date(),
            gather_bytes: 0,
            timeout: Duration::from_millis(self.core.http.body_timeout_ms),
        };
        let outcome = refuse(&mut self.writer, &asked, reason).await;
        let log = &self.core.log;
        log.access(log.next_request(), None, None, &outcome, Instant::now());
        Next::Linger
    }

    /// Reads what the guest left of a request's body, so that the next request can be read.
    /// `false`: there is too much of it, or some of it is lost.
    async fn skip_body(&mut self, decoder: &mut BodyDecoder) -> bool {
        if self.reader.torn {
            return false;
        }
        let deadline = Instant::now() + Duration::from_millis(limits::DISCARD_WAIT_MS);
        let mut left = limits::DISCARD_BYTES_MAX as usize;
        loop {
            match decoder.decode(&mut self.reader.buf) {
                Ok(Chunk::End(_)) => return true,
                Ok(Chunk::Data(data)) => match left.checked_sub(data.len()) {
                    Some(rest) => left = rest,
                    None => return false,
                },
                Ok(Chunk::NeedMore) => {
                    let limit = deadline.saturating_duration_since(Instant::now());
                    if self
                        .reader
                        .fill_within(limit, self.core.profile.read_buffer_bytes)
                        .await
                        .is_err()
                    {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
    }

    /// Closes so that the client can read the last answer: a close with unread bytes would be a
    /// reset, which discards what the client has not read yet (RFC 9112 §9.6).
    async fn linger(&mut self) {
        self.writer.finish().await;
        let mut left = limits::LINGER_BYTES_MAX;
        let drain = async {
            loop {
                self.reader.buf.clear();
                match self.reader.fill(self.core.profile.read_buffer_bytes).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) if read > left => return,
                    Ok(read) => left -= read,
                }
            }
        };
        // Whatever the outcome, the connection is closed now.
        let _ = within(Duration::from_millis(limits::LINGER_MS), drain).await;
    }
}
