//! The process itself: `skep data`.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use zeroize::Zeroizing;

use super::http_cache::{self, Disk};
use super::keeper::{Keeper, Own, Who};
use super::kv::embedded::Embedded;
use super::sealed::Key;
use super::serve::serve;
use super::writer::Writer;
use crate::config::limits;
use crate::control::{FromData, Owner, ToData};
use crate::isolation;
use crate::sys::{AsyncChannel, Channel, process, report};

/// Runs the process for the supervisor that started it.
pub fn run() -> ExitCode {
    match start_up().and_then(|ready| {
        LocalSet::new().block_on(&ready.runtime, obey(ready.keeper, ready.control))
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("data: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A process that is locked down.
struct Ready {
    control: Channel,
    runtime: Runtime,
    keeper: Rc<Keeper>,
}

fn start_up() -> anyhow::Result<Ready> {
    let control = Channel::from_fd(process::inherited(0)?);
    process::set_name("skep-data")?;
    let (message, mut fds) = control
        .recv::<ToData>()?
        .context("the supervisor has gone before it said what is kept")?;
    let ToData::Start {
        dir,
        cache_bytes_max,
        http_cache_bytes_max,
        require,
    } = message
    else {
        bail!("the first message must be Start");
    };
    let runtime = runtime()?;
    let made = make(&dir);
    let mut own = Err(String::new());
    let mut disk = None;
    let isolation = isolation::data::lockdown(made.is_ok().then_some(&*dir), &require, || {
        own = open(&dir, made);
        disk = open_disk(&dir, http_cache_bytes_max);
    })?;
    control.send(&FromData::Isolated(isolation), &[])?;
    let key = fds.pop().and_then(|fd| {
        let said = |error: &anyhow::Error| report::line(format_args!("data: {error:#}"));
        read_key(fd).inspect_err(said).ok()
    });
    let keeper = Keeper::new(own, key, Rc::default(), disk, cache_bytes_max);
    Ok(Ready {
        control,
        runtime,
        keeper: Rc::new(keeper),
    })
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The embedded store and its thread. Without them, everything else is served all the same.
fn open(dir: &Path, made: io::Result<()>) -> Result<Own, String> {
    let wrong = |error: String| format!("no stores can be kept in {}: {error}", dir.display());
    made.map_err(|error| wrong(error.to_string()))?;
    let embedded = Embedded::open(dir).map_err(|error| wrong(error.to_string()))?;
    let embedded = Arc::new(embedded);
    let writer = Writer::start(Arc::clone(&embedded));
    Ok(Own {
        embedded,
        writer: writer.map_err(|error| wrong(error.to_string()))?,
    })
}

/// The answers of origins that are kept, and their thread. Without them, origins are asked.
fn open_disk(dir: &Path, bytes_max: u64) -> Option<Disk> {
    let wrong = |error: &io::Error| {
        let dir = dir.display();
        report::line(format_args!("no answers can be kept in {dir}: {error}"));
    };
    let started = http_cache::start(dir, bytes_max).inspect_err(wrong);
    started.ok().flatten()
}

fn read_key(fd: OwnedFd) -> anyhow::Result<Key> {
    let mut text = Zeroizing::new(String::with_capacity(limits::SECRET_KEY_BYTES_MAX));
    File::from(fd)
        .take(limits::SECRET_KEY_BYTES_MAX as u64)
        .read_to_string(&mut text)
        .context("data.secret_key cannot be read")?;
    Key::parse(&text).context("data.secret_key")
}

/// Does what the supervisor says, until it says to stop.
async fn obey(keeper: Rc<Keeper>, control: Channel) -> anyhow::Result<()> {
    let control = AsyncChannel::new(control)?;
    control.send(&FromData::Ready, &[]).await?;
    loop {
        let received = control.recv::<ToData>().await?;
        let (message, mut fds) = received.context("the supervisor has gone")?;
        match message {
            ToData::Start { .. } => bail!("Start came twice"),
            ToData::Worker { cell } => {
                let fd = fds.pop().context("Worker came without its stream")?;
                let who = Who::Worker(cell);
                let keeper = Rc::clone(&keeper);
                let stream = stream(fd)?;
                tokio::task::spawn_local(logged(async move {
                    let served = serve(Rc::clone(&keeper), stream, who).await;
                    if served.is_err() {
                        keeper.mistrust(cell); // what it said last was not understood
                    }
                    served
                }));
            }
            ToData::Operator => {
                let fd = fds.pop().context("Operator came without its stream")?;
                let serve = serve(Rc::clone(&keeper), stream(fd)?, Who::Operator);
                tokio::task::spawn_local(logged(serve));
            }
            ToData::Egress => {
                let fd = fds.pop().context("Egress came without its channel")?;
                let servers = keeper.servers();
                let listen = async move { servers.listen(Channel::from_fd(fd)).await };
                tokio::task::spawn_local(logged(listen));
            }
            ToData::Tenant(owner) => {
                let files = fds.into_iter().map(File::from).collect();
                keeper.put(*owner, files);
            }
            ToData::Remove { name } => keeper.remove(&name),
            ToData::Forget { tenant, which } => keeper.forget(&tenant, which),
            ToData::WorkerDied { cell } => keeper.mistrust(cell),
            ToData::Stop => {
                keeper.stop().await;
                return Ok(());
            }
        }
    }
}

/// Who is gone is started again, with another channel.
async fn logged(task: impl Future<Output = io::Result<()>>) {
    if let Err(error) = task.await {
        tracing::warn!("a channel of the data process: {error}");
    }
}

fn stream(fd: OwnedFd) -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(fd);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// What a thread of `skep run` keeps, for the one tenant there is.
#[derive(Debug)]
pub struct Local {
    /// The worker's stream.
    pub worker: OwnedFd,
    /// The channel to who connects, where somebody does.
    pub egress: Option<Channel>,
    /// The tenant.
    pub owner: Owner,
    /// The files of its secrets.
    pub files: Vec<File>,
    /// Where stores are kept; in memory, for as long as this runs, where it is `None`.
    pub dir: Option<std::path::PathBuf>,
    /// The key that secrets were sealed with.
    pub key: Option<OwnedFd>,
}

/// Keeps data on a thread of this process: for `skep run`.
///
/// # Errors
/// When stores cannot be kept, the key cannot be read, or there is no thread.
pub fn start_thread(local: Local) -> anyhow::Result<()> {
    let own = match &local.dir {
        Some(dir) => open(dir, make(dir)),
        None => {
            // The file is gone with this, and there for as long as it is open.
            let dir = tempfile::tempdir()?;
            open(dir.path(), Ok(()))
        }
    };
    let own = own.map_err(anyhow::Error::msg)?;
    let key = local.key.map(read_key).transpose()?;
    let (worker, egress, owner, files) = (local.worker, local.egress, local.owner, local.files);
    let keep = move || -> io::Result<()> {
        let runtime = runtime()?;
        let _inside = runtime.enter();
        let cache_bytes_max = owner.cache_bytes;
        let cell = owner.cell;
        let keeper = Rc::new(Keeper::new(
            Ok(own),
            key,
            Rc::default(),
            None,
            cache_bytes_max,
        ));
        keeper.put(owner, files);
        LocalSet::new().block_on(&runtime, async {
            if let Some(egress) = egress {
                let servers = keeper.servers();
                tokio::task::spawn_local(logged(async move { servers.listen(egress).await }));
            }
            serve(Rc::clone(&keeper), stream(worker)?, Who::Worker(cell)).await
        })
    };
    let thread = std::thread::Builder::new().name("skep-data".to_owned());
    thread.spawn(move || {
        if let Err(error) = keep() {
            report::line(format_args!("data: {error}"));
        }
    })?;
    Ok(())
}
