//! A worker process: what it is told, what it tells, how it ends.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, bail};
use bytes::BytesMut;
use monoio::net::TcpStream;
use wasmtime::EngineWeak;

use crate::accept::accept;
use crate::config::{Profile, limits, roots};
use crate::control::{ArtifactMessage, Flavour, FromWorker, Handover, Start, ToWorker};
use crate::engine::{Engines, Neighbours};
use crate::geo::Geo;
use crate::guest::clocks;
use crate::isolation;
use crate::scheduler::{self, Ticker};
use crate::sys::channel::Channel;
#[cfg(feature = "red-team")]
use crate::sys::red_team;
use crate::sys::{affinity, priority, process, swap};
use crate::worker::connection::{Incoming, serve};
use crate::worker::core::{Core, Mailboxes};
use crate::worker::egress::Network;
use crate::worker::log::{Destination, Log};
use crate::worker::runtime::{self, Ring, RingTurn, Watched, within};

/// Runs a worker until it has drained or its supervisor is gone.
///
/// # Errors
/// When the worker cannot start: the supervisor restarts it, and says why it died.
pub fn main(control: Channel) -> anyhow::Result<()> {
    let (message, fds) = control
        .recv::<ToWorker>()?
        .context("the supervisor has gone before it said who this worker is")?;
    let ToWorker::Start(start) = message else {
        bail!("the first message must be Start");
    };
    let mut fds = fds.into_iter();
    let mut next = || fds.next().context("Start came with too few descriptors");
    let (artifacts, mailbox) = (next()?, next()?);
    let (broker, log, egress, data) = (next()?, next()?, next()?, next()?);
    // It is read here: afterwards there are no files.
    let roots = roots(start.ca_file.as_deref()).map_err(Error::msg)?;
    let network = Network::new(roots);
    let mailboxes = Mailboxes {
        first: start.first,
        channels: fds.map(Channel::from_fd).collect(),
    };

    process::set_name(&format!("skep-worker-{}", start.index))?;
    let neighbours = neighbours(&start.profile)?;
    let is_striped = neighbours.is_some();
    let (engines, ticked) = engines(&start.profile);
    let engines = engines.proved_with(neighbours);
    // On the thread that serves: it may touch striped memories once it has made their pool, and so may
    // what it starts afterwards: its ring, the kernel's threads behind that, the ticker.
    engines.warm(Flavour::P2)?; // reads /proc
    if is_striped {
        engines.warm(Flavour::P3)?;
    }
    let null = std::fs::File::open("/dev/null")?;
    #[cfg(feature = "red-team")]
    let plan = red_team::plan(start.profile.ring_entries)?;
    priority::wake_next_at_once();
    let ((mut runtime, _ticker), isolation) =
        isolation::worker::lockdown(Some(artifacts), &start.require, is_striped, || {
            // Before the worker pins itself, so that the ticker may run on any core.
            let ticker = ticked.start(&start.profile)?;
            priority::fair()?;
            pin(&start)?;
            let runtime = runtime::build(start.profile.ring_entries, Ring::Disabled)?;
            Ok((runtime, ticker))
        })?;
    #[cfg(feature = "red-team")]
    red_team::attack(&plan)?;
    control.send(&FromWorker::Isolated(isolation), &[])?;
    runtime.block_on(async move {
        let log = Log::new(Destination::Broker(Channel::from_fd(log)), start.access_log);
        let core = core(&start, engines, log, mailboxes, network);
        spawn_helpers(&core, null).await?;
        spawn_logged("broker", take_artifacts(Rc::clone(&core), broker));
        spawn_logged("egress", take_connections(Rc::clone(&core), egress));
        spawn_logged("data", Rc::clone(&core.network.data).listen(data));
        obey(&core, control, mailbox).await
    })
}

/// For a worker with stripes, what it proves them with.
fn neighbours(profile: &Profile) -> anyhow::Result<Option<Neighbours>> {
    if profile.memory_protection_keys == 0 {
        return Ok(None);
    }
    profile.check_protection_keys().map_err(Error::msg)?;
    Ok(Some(Neighbours::compile(profile)?))
}

fn pin(start: &Start) -> std::io::Result<()> {
    let Some(core) = start.core else {
        return Ok(());
    };
    affinity::pin_to(core).map_err(|error| {
        std::io::Error::new(error.kind(), format!("pinning to core {core}: {error}"))
    })
}

/// The engines whose epoch is ticked: each is added when it is made.
#[derive(Clone, Default)]
pub(super) struct Ticked(Arc<Mutex<Vec<EngineWeak>>>);

impl Ticked {
    fn add(&self, engine: EngineWeak) {
        let mut engines = self.0.lock().unwrap_or_else(|e| e.into_inner());
        engines.push(engine);
    }

    /// Starts the thread that ticks them.
    pub(super) fn start(self, profile: &Profile) -> std::io::Result<Ticker> {
        Ticker::start(Duration::from_micros(profile.tick_us), move || {
            let engines = self.0.lock().unwrap_or_else(|e| e.into_inner());
            for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
        })
    }
}

/// The engines of a worker, and what has to tick them.
pub(super) fn engines(profile: &Profile) -> (Engines, Ticked) {
    let ticked = Ticked::default();
    let can_swap = swap::swap().possible;
    let made = ticked.clone();
    let engines = Engines::new(profile.clone(), can_swap, move |engine| made.add(engine));
    (engines, ticked)
}

fn core(
    start: &Start,
    engines: Engines,
    log: Log,
    mailboxes: Mailboxes,
    network: Rc<Network>,
) -> Rc<Core> {
    Core::new(
        start.index,
        start.profile.clone(),
        start.http.clone(),
        engines,
        log,
        mailboxes,
        network,
    )
}

/// The tasks that every worker has, in a process of its own or not.
pub(super) async fn spawn_helpers(core: &Rc<Core>, null: std::fs::File) -> anyhow::Result<()> {
    scheduler::install(core.profile.slice_us);
    clocks::install(core.profile.clock_us);
    let ring = RingTurn::new(null).await?;
    monoio::spawn(scheduler::turner(async move || ring.turn().await));
    monoio::spawn(scheduler::releaser(monoio::time::sleep));
    monoio::spawn(core.log.clone().flusher());
    Ok(())
}

pub(super) fn spawn_logged(
    what: &'static str,
    task: impl Future<Output = anyhow::Result<()>> + 'static,
) {
    monoio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!("{what}: {error:#}");
        }
    });
}

/// A task that the worker is no use without: when it fails, the supervisor starts another worker.
fn spawn_vital(what: &'static str, task: impl Future<Output = anyhow::Result<()>> + 'static) {
    monoio::spawn(async move {
        if let Err(error) = task.await {
            tracing::error!("{what}: {error:#}");
            std::process::exit(1);
        }
    });
}

/// Does what the supervisor says, until it says to stop. What waits in the mailbox is looked at once
/// it is known who is served.
async fn obey(core: &Rc<Core>, control: Channel, mailbox: OwnedFd) -> anyhow::Result<()> {
    let control = Rc::new(control);
    let mut mailbox = Some(mailbox);
    let watched = Watched::new(control.as_fd().try_clone_to_owned()?)?;
    control.send(&FromWorker::Ready, &[])?;
    let mut drain_until = None;
    loop {
        watched.readable().await?;
        while let Some(received) = ready(control.try_recv::<ToWorker>())? {
            let Some((message, mut fds)) = received else {
                bail!("the supervisor has gone");
            };
            match message {
                ToWorker::Start(_) => bail!("Start came twice"),
                ToWorker::Tenant(placed) => core.tenants.put(*placed),
                ToWorker::Remove { name } => core.tenants.remove(&name),
                ToWorker::Commit => {
                    core.tenants.commit();
                    control.send(&FromWorker::Committed, &[])?;
                    if let Some(mailbox) = mailbox.take() {
                        spawn_vital("mailbox", take_handovers(Rc::clone(core), mailbox));
                    }
                }
                ToWorker::Leave { name } => core.tenants.leave(&name),
                ToWorker::Purge {
                    id,
                    tenant,
                    what,
                    soft,
                } => {
                    let (count, disk) = core.tenants.purge(&tenant, &what, soft);
                    let control = Rc::clone(&control);
                    spawn_logged("purge", async move {
                        // One that cannot say so has not done it: whoever asked is told.
                        if let Some(disk) = disk
                            && !disk.settle().await
                        {
                            return Ok(());
                        }
                        Ok(control.send(&FromWorker::Purged { id, count }, &[])?)
                    });
                }
                ToWorker::Geo { pop } => match Geo::new(std::mem::take(&mut fds), &pop) {
                    Ok(geo) => drop(core.geo.replace(geo)),
                    Err(error) => tracing::error!("geo: {error}"),
                },
                ToWorker::Deafen => core.stop_accepting(),
                ToWorker::Listener => {
                    let fd = fds.pop().context("Listener came without a socket")?;
                    spawn_vital("accept", listen(Rc::clone(core), fd));
                }
                ToWorker::Broker => {
                    let (log, broker) = (fds.pop(), fds.pop());
                    let (Some(log), Some(broker)) = (log, broker) else {
                        bail!("Broker came with too few descriptors");
                    };
                    core.log
                        .redirect(Destination::Broker(Channel::from_fd(log)));
                    spawn_logged("broker", take_artifacts(Rc::clone(core), broker));
                }
                ToWorker::Egress => {
                    let fd = fds.pop().context("Egress came without its channel")?;
                    spawn_logged("egress", take_connections(Rc::clone(core), fd));
                }
                ToWorker::Data => {
                    let fd = fds.pop().context("Data came without its stream")?;
                    spawn_logged("data", Rc::clone(&core.network.data).listen(fd));
                }
                ToWorker::Drain { drain_ms } => {
                    let deadline = Instant::now() + Duration::from_millis(drain_ms);
                    core.drain();
                    drained(core, deadline).await;
                    control.send(&FromWorker::Drained, &[])?;
                    drain_until = Some(deadline);
                }
                ToWorker::Stop => {
                    // What other workers have handed over meanwhile.
                    drained(core, drain_until.unwrap_or_else(Instant::now)).await;
                    core.log.flush();
                    return Ok(());
                }
            }
        }
    }
}

/// `None`: nothing is waiting to be received.
pub(super) fn ready<T>(received: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match received {
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

async fn listen(core: Rc<Core>, fd: OwnedFd) -> anyhow::Result<()> {
    Ok(accept(core, std::net::TcpListener::from(fd)).await?)
}

/// Waits until nothing is in flight, closing connections that only wait.
async fn drained(core: &Rc<Core>, deadline: Instant) {
    let pause = Duration::from_millis(limits::DRAIN_POLL_MS);
    monoio::time::sleep(pause).await;
    while !core.quiet() && Instant::now() < deadline {
        // In a task of its own: it runs after those whose request has just arrived.
        let closing = Rc::clone(core);
        monoio::spawn(async move { closing.close_idle() });
        monoio::time::sleep(pause).await;
    }
}

/// Serves connections that other workers hand over. One that cannot be taken is lost, and nothing
/// else: its client sees the connection end.
async fn take_handovers(core: Rc<Core>, mailbox: OwnedFd) -> anyhow::Result<()> {
    let watched = Watched::new(mailbox.try_clone()?)?;
    let mailbox = Channel::from_fd(mailbox);
    let mut frame = Vec::new();
    loop {
        watched.readable().await?;
        for _ in 0..limits::MAILBOX_BATCH {
            let received = match ready(mailbox.try_recv_bytes(&mut frame)) {
                Ok(None) => break,
                Ok(Some(received)) => received.context("the supervisor has gone")?,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    tracing::warn!("a hand-over was lost: {error}");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let taken = take_handover(&core, &frame[..received.0], received.1).await;
            if let Err(error) = taken {
                tracing::warn!("a hand-over was lost: {error:#}");
            }
        }
    }
}

/// At `connections_max` the mailbox is left to fill up, so that those who hand over know.
async fn take_handover(core: &Rc<Core>, frame: &[u8], mut fds: Vec<OwnedFd>) -> anyhow::Result<()> {
    let handover = Handover::decode(frame).context("it is empty")?;
    let fd = fds.pop().context("it came without its socket")?;
    let patience = Duration::from_millis(limits::HANDOVER_TRIES.into());
    let place = within(patience, core.places.acquire()).await;
    let place = place.context("connections_max is reached")?;
    let incoming = Incoming {
        stream: TcpStream::from_std(std::net::TcpStream::from(fd))?,
        buffered: BytesMut::from(handover.buffered),
        hops: handover.hops,
        fronted: handover.fronted,
    };
    core.track(place, serve(Rc::clone(core), incoming));
    Ok(())
}

/// Takes connections until this egress process is gone; the supervisor then starts another.
pub(super) async fn take_connections(core: Rc<Core>, egress: OwnedFd) -> anyhow::Result<()> {
    core.network.dialler.listen(egress).await
}

/// Takes artifacts until this broker is gone; the supervisor then starts another.
async fn take_artifacts(core: Rc<Core>, broker: OwnedFd) -> anyhow::Result<()> {
    let watched = Watched::new(broker.try_clone()?)?;
    let broker = Channel::from_fd(broker);
    loop {
        watched.readable().await?;
        while let Some(received) = ready(broker.try_recv::<ArtifactMessage>())? {
            let Some((message, mut fds)) = received else {
                return Ok(());
            };
            core.tenants.artifact(message, fds.pop());
        }
    }
}
