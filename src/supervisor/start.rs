//! Starting processes: what each is given, in which order.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use nix::sys::signal::Signal;

use crate::config::Host;
use crate::control::{Start, ToBroker, ToWorker};
use crate::isolation;
use crate::supervisor::backoff::Backoff;
use crate::supervisor::child::{Child, Message};
use crate::supervisor::pids::PidFiles;
use crate::supervisor::roster::Roster;
use crate::supervisor::{Addresses, ServeError, messages};
use crate::sys::channel::Channel;
use crate::sys::signal::Signals;
use crate::sys::{listen, process, report};

/// A process that is to be there, and what is left when it dies.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The process, while there is one.
    pub(super) child: Option<Child>,
    /// Its deaths.
    pub(super) backoff: Backoff,
    /// When it is started again.
    pub(super) restart_ns: Option<u64>,
}

/// A worker's place: what outlives its process.
#[derive(Debug)]
pub(super) struct WorkerSlot {
    /// The process.
    pub(super) slot: Slot,
    /// Its core.
    pub(super) core: usize,
    /// Both ends of its mailbox: what is in it waits for the next process.
    mailbox_send: Rc<OwnedFd>,
    mailbox_receive: Rc<OwnedFd>,
    /// Its listeners, one for each address: what they queue waits, too.
    pub(super) listeners: Vec<Rc<OwnedFd>>,
}

/// Everything the supervisor holds.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) host: Host,
    pub(super) roster: Roster,
    pub(super) signals: Signals,
    pub(super) workers: Vec<WorkerSlot>,
    pub(super) broker: Slot,
    pub(super) http: Vec<std::net::SocketAddr>,
    /// What each kind of process has of each layer of isolation, as it was last said.
    pub(super) isolation: BTreeMap<&'static str, String>,
    pids: PidFiles,
}

/// Opens the sockets and starts the first generation of processes.
pub(super) fn supervisor(host: Host, pid_dir: Option<&Path>) -> Result<Supervisor, ServeError> {
    let system = |what| move |source| ServeError::System { what, source };
    // Children inherit the limit, and each connection takes a descriptor.
    process::raise_open_files().map_err(system("raising RLIMIT_NOFILE"))?;
    let watched = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ];
    let signals = Signals::watch(&watched).map_err(system("watching signals"))?;
    let pids = PidFiles::new(pid_dir).map_err(system("writing pid files"))?;
    let mut roster = Roster::new(host.workers());
    roster.apply(&host.tenants);
    let mut workers = Vec::with_capacity(host.cores.len());
    for &core in &host.cores {
        let (send, receive) = Channel::pair().map_err(system("making mailboxes"))?;
        workers.push(WorkerSlot {
            slot: Slot::default(),
            core,
            mailbox_send: Rc::new(send.into()),
            mailbox_receive: Rc::new(receive.into()),
            listeners: Vec::new(),
        });
    }
    let http = open_listeners(&host, &mut workers)?;
    // The sockets are open; what is left takes no more than this.
    let layers = isolation::supervisor::lockdown();
    layers
        .require(&host.require)
        .map_err(|line| ServeError::System {
            what: "locking down",
            source: io::Error::other(line),
        })?;
    let mut supervisor = Supervisor {
        host,
        roster,
        signals,
        workers,
        broker: Slot::default(),
        http,
        isolation: BTreeMap::new(),
        pids,
    };
    supervisor
        .start_broker()
        .map_err(|source| spawn_error("broker".into(), source))?;
    for index in 0..supervisor.workers.len() {
        supervisor
            .start_worker(index)
            .map_err(|source| spawn_error(supervisor.worker_name(index), source))?;
    }
    Ok(supervisor)
}

fn spawn_error(who: String, source: io::Error) -> ServeError {
    ServeError::Spawn { who, source }
}

/// One listener for each worker and address; says the addresses.
fn open_listeners(
    host: &Host,
    workers: &mut [WorkerSlot],
) -> Result<Vec<std::net::SocketAddr>, ServeError> {
    let cores: Vec<Option<usize>> = workers.iter().map(|worker| Some(worker.core)).collect();
    let mut bound = Vec::with_capacity(host.listen_http.len());
    for &address in &host.listen_http {
        let (chosen, listeners): (_, Vec<TcpListener>) = listen::listeners(address, &cores)
            .map_err(|source| ServeError::Listen { address, source })?;
        for (worker, listener) in workers.iter_mut().zip(listeners) {
            worker.listeners.push(Rc::new(listener.into()));
        }
        bound.push(chosen);
    }
    Ok(bound)
}

impl Supervisor {
    /// `worker 0 (core 2)`; with its profile's name when the core has one of its own.
    pub(super) fn worker_name(&self, index: usize) -> String {
        let core = self.workers[index].core;
        match self.host.core_profiles.get(&core) {
            None => format!("worker {index} (core {core})"),
            Some(own) => format!("worker {index} (core {core}, {})", own.name),
        }
    }

    /// What `started` is told.
    pub(super) fn addresses(&self) -> Addresses {
        let pid = |worker: &WorkerSlot| worker.slot.child.as_ref().map(Child::pid);
        Addresses {
            http: self.http.clone(),
            worker_pids: self.workers.iter().filter_map(pid).collect(),
        }
    }

    /// Starts worker `index` and tells it everything; tells the broker of it.
    pub(super) fn start_worker(&mut self, index: usize) -> io::Result<()> {
        let (wiring, broker_side) = wire(index)?;
        let mut child = Child::start("worker", false)?;
        report::line(format_args!(
            "{} pid {}",
            self.worker_name(index),
            child.pid()
        ));
        self.pids.write(&format!("worker-{index}"), child.pid())?;
        let core = self.workers[index].core;
        let start = Start {
            index,
            core: Some(core),
            profile: self.host.profile_of(core).clone(),
            http: self.host.http.clone(),
            access_log: self.host.log.access,
            require: self.host.require.clone(),
        };
        let mut fds = vec![
            Rc::new(self.artifacts_dir()?),
            self.workers[index].mailbox_receive.clone(),
        ];
        fds.extend(wiring);
        fds.extend(
            self.workers
                .iter()
                .map(|worker| worker.mailbox_send.clone()),
        );
        child.say(Message::new(&ToWorker::Start(Box::new(start)), fds)?);
        messages::tell_worker_all(&mut child, &self.roster);
        for listener in &self.workers[index].listeners {
            child.say(Message::new(&ToWorker::Listener, vec![listener.clone()])?);
        }
        if let Some(broker) = &mut self.broker.child {
            broker.say(broker_side);
        }
        self.workers[index].slot.child = Some(child);
        Ok(())
    }

    /// The directory of artifacts, for a worker to be limited to: it cannot be opened for reading by
    /// way of this. Made here when it is not there yet.
    fn artifacts_dir(&self) -> io::Result<OwnedFd> {
        let dir = &self.host.artifacts_dir;
        let mut builder = DirBuilder::new();
        // The broker says what is wrong with it, and does not start.
        let _ = builder.recursive(true).mode(0o700).create(dir);
        let opened = open_path(dir).or_else(|_| open_path(Path::new("/dev/null")));
        opened.map(OwnedFd::from)
    }

    /// Starts the broker, and gives it and every worker new channels to each other.
    pub(super) fn start_broker(&mut self) -> io::Result<()> {
        let mut broker = Child::start("broker", true)?;
        report::line(format_args!("broker pid {}", broker.pid()));
        self.pids.write("broker", broker.pid())?;
        let start = ToBroker::Start {
            artifacts_dir: self.host.artifacts_dir.clone(),
            log_file: self.host.log.file.clone(),
            profiles: self
                .workers
                .iter()
                .map(|worker| self.host.profile_of(worker.core).clone())
                .collect(),
            require: self.host.require.clone(),
        };
        broker.say(Message::new(&start, Vec::new())?);
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if let Some(child) = &mut worker.slot.child {
                let (wiring, broker_side) = wire(index)?;
                child.say(Message::new(&ToWorker::Broker, wiring.into())?);
                broker.say(broker_side);
            }
        }
        messages::tell_broker_all(&mut broker, &self.roster);
        self.broker.child = Some(broker);
        Ok(())
    }
}

/// Opens a place in the file system, not what is there: open(2), `O_PATH`.
fn open_path(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
}

/// New channels between worker `index` and the broker: the worker's ends (artifacts, log), and the
/// message that gives the broker its own.
fn wire(index: usize) -> io::Result<([Rc<OwnedFd>; 2], Message)> {
    let (artifacts_send, artifacts_receive) = Channel::pair()?;
    let (log_send, log_receive) = Channel::pair()?;
    let own = |end: Channel| Rc::new(OwnedFd::from(end));
    let message = Message::new(
        &ToBroker::Worker { index },
        vec![own(artifacts_send), own(log_receive)],
    )?;
    Ok(([own(artifacts_receive), own(log_send)], message))
}
