//! The front: with two or more cells, the process that accepts connections and passes each to a
//! worker of the right cell, so that no cell sees another's bytes.
//!
//! ```text
//!              supervisor
//!                  │ listeners, mailboxes, host → workers
//!  clients ──► front: accept ─► peek ─► table ─► SCM_RIGHTS ──► mailbox of a worker
//!                               (MSG_PEEK: nothing is consumed)
//! ```
//!
//! It holds no key, no artifact, nothing of a tenant but its hosts, and runs no guest. What it knows
//! of a connection is what [`peek_host`](crate::http::peek_host) says, the workers' own parser. A
//! head that is malformed, or names nobody, goes to a worker of the default cell, which answers as
//! it does without a front.
//!
//! It is plain tokio on epoll, on one thread: it works once per connection and not per request, and
//! a process that reads strangers' bytes needs no io_uring, whose kernel side is the larger target.

#![forbid(unsafe_code)]

mod connection;
mod log;
mod places;
mod table;

use std::cell::RefCell;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use self::log::Log;
use self::places::Places;
use self::table::{Next, Table};
use crate::config::{Http, limits};
use crate::control::{FromWorker, ToFront};
use crate::http::{DateCache, HeadLimits};
use crate::isolation;
use crate::sys::{AsyncChannel, AsyncSocket, Channel, process, report};

/// Runs the front for the supervisor that started this process.
pub fn run() -> ExitCode {
    match start_up().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("front: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything that the front asks the kernel for before it serves: its channel, its first message,
/// its runtime.
fn start_up() -> anyhow::Result<Ready> {
    let control = Channel::from_fd(process::inherited(0)?);
    process::set_name("skep-front")?;
    let open_files_max = process::raise_open_files()?;
    let (message, mut fds) = control
        .recv::<ToFront>()?
        .context("the supervisor has gone before it said what this front is held to")?;
    let ToFront::Start {
        http,
        access_log,
        require,
    } = message
    else {
        bail!("the first message must be Start");
    };
    let log = fds.pop().context("Start came without a log channel")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let places = usize::try_from(open_files_max)
        .unwrap_or(usize::MAX)
        .saturating_sub(limits::FRONT_DESCRIPTORS)
        .clamp(1, limits::FRONT_WAITING_MAX);
    let isolation = isolation::front::lockdown(&require)?;
    control.send(&FromWorker::Isolated(isolation), &[])?;
    let (drain, draining) = watch::channel(false);
    let front = Front {
        http,
        log: Log::new(Channel::from_fd(log), access_log),
        table: RefCell::default(),
        places: Places::new(places),
        drain,
        draining,
        scratch: RefCell::default(),
        date: RefCell::new(DateCache::new(SystemTime::now())),
    };
    Ok(Ready {
        control,
        runtime,
        front,
    })
}

/// Serves until the supervisor says to stop. Nothing is opened here but what arrives as a
/// descriptor: a connection, or what the supervisor sends.
fn serve(ready: Ready) -> anyhow::Result<()> {
    let Ready {
        control,
        runtime,
        front,
    } = ready;
    LocalSet::new().block_on(&runtime, obey(Rc::new(front), control))
}

/// A front that has all that it needs.
struct Ready {
    control: Channel,
    runtime: Runtime,
    front: Front,
}

/// What the tasks of the front share.
struct Front {
    http: Http,
    log: Log,
    table: RefCell<Rc<Table>>,
    places: Rc<Places>,
    drain: watch::Sender<bool>,
    draining: watch::Receiver<bool>,
    /// Where heads longer than the first look are peeked into.
    scratch: RefCell<Vec<u8>>,
    date: RefCell<DateCache>,
}

impl Front {
    fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            head_bytes_max: self.http.head_bytes_max,
            target_bytes_max: self.http.target_bytes_max,
            headers_max: self.http.headers_max,
            body_bytes_max: u64::MAX,
        }
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// Does what the supervisor says, until it says to stop.
async fn obey(front: Rc<Front>, control: Channel) -> anyhow::Result<()> {
    let control = Rc::new(AsyncChannel::new(control)?);
    control.send(&FromWorker::Ready, &[]).await?;
    let mut next = Next::default();
    loop {
        let received = control.recv::<ToFront>().await?;
        let (message, mut fds) = received.context("the supervisor has gone")?;
        let mut fd = || fds.pop().context("a message came without its descriptor");
        match message {
            ToFront::Start { .. } => bail!("Start came twice"),
            ToFront::Mailbox { worker } => next.mailbox(worker, Channel::from_fd(fd()?)),
            ToFront::Route { hosts, workers } => next.route(hosts, workers),
            ToFront::Commit { default } => {
                let table = std::mem::take(&mut next).commit(default);
                front.table.replace(Rc::new(table));
                control.send(&FromWorker::Committed, &[]).await?;
            }
            ToFront::Listener => listen(&front, fd()?)?,
            ToFront::Log => front.log.redirect(Channel::from_fd(fd()?)),
            ToFront::Drain { drain_ms } => {
                tokio::task::spawn_local(drain(Rc::clone(&front), Rc::clone(&control), drain_ms));
            }
            ToFront::Stop => return Ok(()),
        }
    }
}

/// Accepts from a listening socket until the drain.
fn listen(front: &Rc<Front>, fd: OwnedFd) -> anyhow::Result<()> {
    let listener = TcpListener::from(fd);
    // It may come from a worker's ring, which wants it to wait.
    listener.set_nonblocking(true)?;
    let watched = AsyncSocket::new(listener.try_clone()?.into())?;
    let front = Rc::clone(front);
    tokio::task::spawn_local(async move {
        if let Err(error) = accept(&front, &listener, &watched).await {
            // Without its listener it is no use: the supervisor starts another front.
            report::line(format_args!("front: accept: {error}"));
            std::process::exit(1);
        }
    });
    Ok(())
}

async fn accept(
    front: &Rc<Front>,
    listener: &TcpListener,
    watched: &AsyncSocket,
) -> std::io::Result<()> {
    let mut draining = front.draining.clone();
    loop {
        let mut ready = tokio::select! {
            ready = watched.readable() => Some(ready?),
            // What is queued by now is taken yet.
            _ = draining.wait_for(|draining| *draining) => None,
        };
        match listener.accept() {
            Ok((stream, _)) => connection::take(front, stream).await,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => match &mut ready {
                Some(ready) => ready.clear_ready(),
                None => return Ok(()),
            },
            Err(error) => {
                // Most likely descriptors ran out. A client that went away in the queue is none of
                // ours, and costs the same short pause.
                tracing::warn!("accept: {error}");
                front.places.evict();
                tokio::time::sleep(Duration::from_millis(limits::ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Stops accepting, waits until every connection is passed on or over, and says so.
async fn drain(front: Rc<Front>, control: Rc<AsyncChannel>, drain_ms: u64) {
    front.drain.send_replace(true);
    let pause = Duration::from_millis(limits::DRAIN_POLL_MS);
    let until = tokio::time::Instant::now() + Duration::from_millis(drain_ms);
    tokio::time::sleep(pause).await;
    while !front.places.is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(pause).await;
    }
    // It fails when the supervisor is gone, and with it this process.
    let _ = control.send(&FromWorker::Drained, &[]).await;
}
