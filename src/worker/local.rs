//! A worker as one thread of this process, for the person who writes an app.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Error, anyhow};

use crate::accept::accept;
use crate::broker::prepare::Workshop;
use crate::broker::store::Store;
use crate::compiler::{JobLimits, compile_in_child};
use crate::config::{Egress, Host, Tenant, roots};
use crate::control::{ArtifactMessage, Caller, DATA_CALLER, Flavour, Placed};
use crate::data;
use crate::egress;
use crate::engine::settings;
use crate::geo::Geo;
use crate::sys::channel::Channel;
use crate::sys::report;
use crate::worker::added::Added;
use crate::worker::core::{Core, Mailboxes};
use crate::worker::egress::Network;
use crate::worker::log::{Destination, Log};
use crate::worker::process::{engines, ready, spawn_helpers, spawn_logged, take_connections};
use crate::worker::runtime::{self, Ring, Watched};

/// Serves the only tenant of `host` on the first of its addresses, until the process is killed, with fields
/// that are `added`. `started` is told the address once it is listening; `watch` runs on a thread of its own.
///
/// # Errors
/// When the component does not compile or the address is taken.
pub fn run_app(
    host: Host,
    added: Added,
    watch: Option<impl FnOnce(Reloader) + Send + 'static>,
    started: impl FnOnce(std::net::SocketAddr),
) -> anyhow::Result<()> {
    let (Some(tenant), Some(address)) = (host.tenants.first(), host.listen_http.first()) else {
        return Err(anyhow!("one tenant and one address are needed"));
    };
    let listener =
        std::net::TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    let placed = placed(tenant, 0);
    let artifacts = artifacts(&host, &placed)?;

    let (engines, ticked) = engines(&host.profile);
    let _ticker = ticked.start(&host.profile)?;
    let null = std::fs::File::open("/dev/null")?;
    let geo = Geo::open(&host.geo).map_err(Error::msg)?;
    let network = Network::new(roots(host.network.ca_file.as_deref()).map_err(Error::msg)?);
    let connections = connections(&host, tenant)?;
    let kept = kept(&host, tenant)?;
    let reloads = watch.map(|watch| reloads(&host, watch)).transpose()?;
    let mut runtime = runtime::build(host.profile.ring_entries, Ring::Open)?;
    runtime.block_on(async move {
        let log = Log::new(Destination::Terminal, host.log.access);
        let core = Core::new(
            0,
            host.profile,
            host.http,
            engines,
            log,
            Mailboxes::default(),
            network,
        );
        core.geo.replace(geo);
        core.added.replace(added);
        spawn_helpers(&core, null).await?;
        if let Some(connections) = connections {
            spawn_logged("egress", take_connections(Rc::clone(&core), connections));
        }
        spawn_logged("data", Rc::clone(&core.network.data).listen(kept));
        for (name, flavour, artifact) in artifacts {
            let ready = ArtifactMessage::Ready {
                tenant: name,
                generation: 0,
                flavour,
                digest: String::new(),
            };
            core.tenants.artifact(ready, Some(artifact));
        }
        core.tenants.put(placed.clone());
        core.tenants.commit();
        if let Some(reloads) = reloads {
            spawn_logged("watch", take_reloads(Rc::clone(&core), reloads, placed));
        }
        started(listener.local_addr()?);
        accept(Rc::clone(&core), listener).await?;
        Ok(())
    })
}

/// Serves the component's file as it is when this is told to.
#[derive(Debug)]
pub struct Reloader {
    host: Host,
    channel: Channel,
    /// Versions of the program that were sent.
    sent: Cell<u64>,
}

impl Reloader {
    /// Compiles the component, unless it was already, and has it served from the next request on.
    ///
    /// # Errors
    /// When it is no component, or does not compile: what was served goes on.
    pub fn reload(&self) -> anyhow::Result<()> {
        let tenant = self.host.tenants.first().context("no tenant")?;
        let generation = self.sent.get() + 1;
        let artifacts = artifacts(&self.host, &placed(tenant, generation))?;
        self.sent.set(generation);
        for (tenant, flavour, artifact) in artifacts {
            let ready = ArtifactMessage::Ready {
                tenant,
                generation,
                flavour,
                digest: String::new(),
            };
            self.channel.send(&ready, &[artifact.as_fd()])?;
            // It is in force once this comes back, and with the last one all are.
            self.channel.recv::<u64>()?.context("the worker has gone")?;
        }
        Ok(())
    }
}

/// Starts the thread that says when to reload; gives the other end of its channel.
fn reloads(host: &Host, watch: impl FnOnce(Reloader) + Send + 'static) -> anyhow::Result<OwnedFd> {
    let (ours, theirs) = Channel::pair()?;
    let reloader = Reloader {
        host: host.clone(),
        channel: theirs,
        sent: Cell::new(0),
    };
    std::thread::Builder::new()
        .name("skep-watch".into())
        .spawn(move || watch(reloader))?;
    Ok(ours.into())
}

/// Puts each new version of the program in force.
async fn take_reloads(core: Rc<Core>, channel: OwnedFd, placed: Placed) -> anyhow::Result<()> {
    let watched = Watched::new(channel.try_clone()?)?;
    let channel = Channel::from_fd(channel);
    loop {
        watched.readable().await?;
        while let Some(received) = ready(channel.try_recv::<ArtifactMessage>())? {
            let Some((message, mut fds)) = received else {
                return Ok(());
            };
            if let ArtifactMessage::Ready { generation, .. } = &message {
                let generation = *generation;
                core.tenants.artifact(message, fds.pop());
                core.tenants.put(Placed {
                    generation,
                    ..placed.clone()
                });
                core.tenants.commit();
                channel.try_send(&generation, &[])?;
            }
        }
    }
}

/// The channel to a thread that connects for the tenant, where it may connect to anything.
fn connections(host: &Host, tenant: &Tenant) -> anyhow::Result<Option<OwnedFd>> {
    if tenant.egress.is_empty() && tenant.origin.is_none() {
        return Ok(None);
    }
    let (ours, theirs) = Channel::pair()?;
    let callers = Caller::all_of(tenant, 0).collect();
    egress::start_thread(theirs, callers, host.network.resolvers.clone())?;
    Ok(Some(ours.into()))
}

/// The stream to a thread that keeps the tenant's data.
fn kept(host: &Host, tenant: &Tenant) -> anyhow::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let servers = Egress::to_servers(tenant.stores.iter().filter_map(|it| it.server()));
    let egress = match servers.is_empty() {
        true => None,
        false => {
            let (ours, theirs) = Channel::pair()?;
            let caller = Caller {
                name: DATA_CALLER.to_owned(),
                cell: 0,
                rules: servers,
            };
            egress::start_thread(theirs, vec![caller], host.network.resolvers.clone())?;
            Some(ours)
        }
    };
    let (owner, files) = data::owner(tenant, 0);
    let key = host
        .data
        .secret_key
        .as_ref()
        .map(|path| data::open_regular(path))
        .transpose()?;
    data::start_thread(data::Local {
        worker: theirs.into(),
        egress,
        owner,
        files,
        dir: host.data.is_lasting.then(|| host.data.dir.clone()),
        key: key.map(OwnedFd::from),
    })?;
    Ok(ours.into())
}

/// The tenant on the only worker.
fn placed(tenant: &Tenant, generation: u64) -> Placed {
    Placed {
        tenant: tenant.clone(),
        workers: vec![0],
        generation,
    }
}

/// The artifacts of all its programs, with their names.
fn artifacts(host: &Host, placed: &Placed) -> anyhow::Result<Vec<(String, Flavour, OwnedFd)>> {
    let programs = placed.programs().into_iter().filter_map(|program| {
        let component = program.tenant.component?;
        let made = artifact(host, &component).with_context(|| component.display().to_string());
        Some(made.map(|(flavour, artifact)| (program.tenant.name, flavour, artifact)))
    });
    programs.collect()
}

/// A program's artifact: from the store of earlier runs, or compiled now and kept there. Where
/// the store cannot be used, it is compiled and not kept.
fn artifact(host: &Host, component: &Path) -> anyhow::Result<(Flavour, OwnedFd)> {
    match Store::open(&host.artifacts_dir) {
        Ok(store) => {
            let workshop = Workshop {
                store: store.into(),
                profile: host.profile.clone(),
                compatibility: settings::compatibility(&host.profile).map_err(Error::msg)?,
            };
            let (artifact, file) = workshop.obtain(component).map_err(Error::msg)?;
            Ok((artifact.flavour, file.into()))
        }
        Err(error) => {
            report::line(format_args!("not keeping the compiled program: {error}"));
            let component = std::fs::File::open(component)?;
            let job = JobLimits::for_component(component.metadata()?.len());
            let compiled = compile_in_child(component.as_fd(), &host.profile, false, &job);
            Ok(compiled?)
        }
    }
}
