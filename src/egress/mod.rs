//! The process that connects for the workers, which have no network of their own.
//!
//! ```text
//! worker ──Dial{tenant, https, api.example.com, 443}──► egress: rule? ─► look up ─► each address: rule?
//!        ◄──Dialled + the connected socket───────────────────────────── connect ◄─┘
//! ```
//!
//! The address that was checked is the one that is connected to. It holds no key, no artifact and no
//! byte of a tenant's traffic: of a connection it knows the destination, and passes it on. A worker can
//! ask for the tenants of its own cell, and gets what their rules allow.

#![forbid(unsafe_code)]

mod dial;
mod resolve;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustc_hash::FxHashMap;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use self::resolve::Resolver;
use crate::config::{Egress, limits};
use crate::control::{Caller, Dial, DialError, Dialled, FromEgress, ToEgress};
use crate::isolation;
use crate::sys::{AsyncChannel, Channel, process, report};

/// How long the workers of a cell may ask for a tenant that has left it.
const MOVE: Duration = Duration::from_secs(limits::EGRESS_MOVE_S);

/// Runs the process for the supervisor that started it.
pub fn run() -> ExitCode {
    match start_up().and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("egress: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A process that has all that it needs of the file system.
struct Ready {
    control: Channel,
    runtime: Runtime,
    egress: Rc<Dialler>,
}

fn start_up() -> anyhow::Result<Ready> {
    let control = Channel::from_fd(process::inherited(0)?);
    process::set_name("skep-egress")?;
    process::raise_open_files()?;
    let (message, _) = control
        .recv::<ToEgress>()?
        .context("the supervisor has gone before it said how names are looked up")?;
    let ToEgress::Start { resolvers, require } = message else {
        bail!("the first message must be Start");
    };
    let runtime = runtime()?;
    let egress = {
        let _inside = runtime.enter();
        Rc::new(Dialler::new(&resolvers))
    };
    let isolation = isolation::egress::lockdown(&require)?;
    control.send(&FromEgress::Isolated(isolation), &[])?;
    Ok(Ready {
        control,
        runtime,
        egress,
    })
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

fn serve(ready: Ready) -> anyhow::Result<()> {
    let Ready {
        control,
        runtime,
        egress,
    } = ready;
    LocalSet::new().block_on(&runtime, obey(egress, control))
}

/// Connects for one worker of the first cell on a thread of this process: for `skep run`.
///
/// # Errors
/// When the resolver's files cannot be read, or there is no thread.
pub fn start_thread(
    channel: Channel,
    callers: Vec<Caller>,
    resolvers: Vec<SocketAddr>,
) -> std::io::Result<()> {
    let run = move || {
        let runtime = runtime()?;
        let _inside = runtime.enter();
        let egress = Rc::new(Dialler::new(&resolvers));
        callers.into_iter().for_each(|caller| egress.put(caller));
        LocalSet::new().block_on(&runtime, take_calls(egress, channel, 0))
    };
    let thread = std::thread::Builder::new().name("skep-egress".to_owned());
    thread.spawn(move || {
        if let Err(error) = run() {
            report::line(format_args!("egress: {error}"));
        }
    })?;
    Ok(())
}

/// Does what the supervisor says, until it says to stop.
async fn obey(egress: Rc<Dialler>, control: Channel) -> anyhow::Result<()> {
    let control = AsyncChannel::new(control)?;
    control.send(&FromEgress::Ready, &[]).await?;
    loop {
        let received = control.recv::<ToEgress>().await?;
        let (message, mut fds) = received.context("the supervisor has gone")?;
        match message {
            ToEgress::Start { .. } => bail!("Start came twice"),
            ToEgress::Worker { cell } => {
                let fd = fds.pop().context("Worker came without its channel")?;
                let calls = take_calls(Rc::clone(&egress), Channel::from_fd(fd), cell);
                tokio::task::spawn_local(async move {
                    // A worker that is gone is started again, with another channel.
                    if let Err(error) = calls.await {
                        tracing::warn!("a worker's calls: {error}");
                    }
                });
            }
            ToEgress::Tenant(caller) => egress.put(*caller),
            ToEgress::Remove { name } => egress.remove(&name),
            ToEgress::Stop => return Ok(()),
        }
    }
}

/// Answers one worker until it is gone.
async fn take_calls(egress: Rc<Dialler>, channel: Channel, cell: usize) -> std::io::Result<()> {
    let channel = Rc::new(AsyncChannel::new(channel)?);
    let places = Arc::new(Semaphore::new(limits::DIALS_PER_WORKER_MAX));
    loop {
        // A worker that reads no answers is not listened to.
        let place = Arc::clone(&places).acquire_owned().await;
        let Some((call, _)) = channel.recv::<Dial>().await? else {
            return Ok(());
        };
        let (egress, channel) = (Rc::clone(&egress), Rc::clone(&channel));
        tokio::task::spawn_local(async move {
            let (id, result) = (call.id, egress.connect(&call, cell).await);
            let (outcome, connected) = match result {
                Ok(connected) => (Ok(()), Some(connected)),
                Err(error) => (Err(error), None),
            };
            let fds: Vec<_> = connected.iter().map(|it| it.stream.as_fd()).collect();
            // It fails when the worker is gone.
            let _ = channel.send(&Dialled { id, outcome }, &fds).await;
            drop(place);
        });
    }
}

/// What all calls share.
struct Dialler {
    resolver: Option<Resolver>,
    callers: RefCell<FxHashMap<String, Rc<Known>>>,
    /// Calls under way, of all tenants.
    calls: Rc<Cell<usize>>,
}

/// A tenant, as far as this process knows it.
struct Known {
    cell: usize,
    /// The cell that it has left, and until when that one may ask: it finishes what is in flight.
    former: Option<(usize, Instant)>,
    rules: Egress,
    /// Its calls under way.
    calls: Rc<Cell<usize>>,
}

impl Known {
    fn is_of(&self, cell: usize) -> bool {
        let former = |(former, until): (usize, Instant)| former == cell && Instant::now() < until;
        self.cell == cell || self.former.is_some_and(former)
    }
}

/// A connection that was made, counted until the worker has it.
struct Connected {
    stream: TcpStream,
    _counted: [Counted; 2],
}

/// A call under way, counted until it is dropped.
struct Counted(Rc<Cell<usize>>);

impl Counted {
    fn try_new(count: &Rc<Cell<usize>>, max: usize) -> Option<Self> {
        if count.get() >= max {
            return None;
        }
        count.set(count.get() + 1);
        Some(Self(Rc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Dialler {
    fn new(resolvers: &[SocketAddr]) -> Self {
        let resolver = Resolver::new(resolvers);
        // Addresses can be connected to without one.
        let said = |error| report::line(format_args!("egress: names cannot be looked up: {error}"));
        Self {
            resolver: resolver.map_err(said).ok(),
            callers: RefCell::default(),
            calls: Rc::default(),
        }
    }

    fn put(&self, caller: Caller) {
        let Caller { name, cell, rules } = caller;
        let mut callers = self.callers.borrow_mut();
        let before = callers.get(&name);
        let calls = before.map(|known| Rc::clone(&known.calls));
        let former = before.and_then(|known| match known.cell == cell {
            true => known.former,
            false => Some((known.cell, Instant::now() + MOVE)),
        });
        let known = Known {
            cell,
            former,
            rules,
            calls: calls.unwrap_or_default(),
        };
        callers.insert(name, Rc::new(known));
    }

    fn remove(&self, name: &str) {
        self.callers.borrow_mut().remove(name);
    }

    /// A connection to where a tenant of that cell wants to.
    async fn connect(&self, call: &Dial, cell: usize) -> Result<Connected, DialError> {
        let known = self.callers.borrow().get(&call.tenant).map(Rc::clone);
        let known = known.filter(|known| known.is_of(cell));
        let known = known.ok_or(DialError::Denied)?;
        let of_all = Counted::try_new(&self.calls, limits::DIALS_MAX).ok_or(DialError::Busy)?;
        let of_tenant =
            Counted::try_new(&known.calls, limits::DIALS_PER_TENANT_MAX).ok_or(DialError::Busy)?;
        let limit = Duration::from_millis(call.timeout_ms.min(limits::DIAL_MS_MAX));
        let connected = async {
            // What is left is for connecting.
            let addresses = self.addresses(call, &known.rules);
            let addresses = tokio::time::timeout(limit * 2 / 3, addresses).await;
            dial::dial(&addresses.unwrap_or(Err(DialError::DnsTimeout))?).await
        };
        let connected = tokio::time::timeout(limit, connected).await;
        Ok(Connected {
            stream: connected.unwrap_or(Err(DialError::TimedOut))?,
            _counted: [of_all, of_tenant],
        })
    }

    /// The addresses of a destination that may be connected to; never empty.
    async fn addresses(&self, call: &Dial, rules: &Egress) -> Result<Vec<SocketAddr>, DialError> {
        let (scheme, port) = (call.scheme, call.port);
        let addresses: Vec<IpAddr> = match call.host.parse::<IpAddr>() {
            Ok(address) if rules.allows_address(scheme, address, port) => vec![address],
            Ok(_) => return Err(DialError::Denied),
            Err(_) if !rules.allows_name(scheme, &call.host, port) => {
                return Err(DialError::Denied);
            }
            Err(_) => {
                let none = || DialError::Dns("no name server".to_owned());
                let resolver = self.resolver.as_ref().ok_or_else(none)?;
                let mut found = resolver.lookup(&call.host).await?;
                found.retain(|address| rules.allows_resolved(scheme, *address, port));
                found
            }
        };
        if addresses.is_empty() {
            return Err(DialError::Prohibited);
        }
        let with_port = |address| SocketAddr::new(address, port);
        Ok(addresses.into_iter().map(with_port).collect())
    }
}
