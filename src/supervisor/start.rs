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

use crate::config::{DEFAULT_CELL, Host};
use crate::control::{Start, ToBroker, ToWorker};
use crate::isolation;
use crate::supervisor::admin::Admin;
use crate::supervisor::backoff::Backoff;
use crate::supervisor::cells::Cells;
use crate::supervisor::child::{Child, Message};
use crate::supervisor::front::{Accepting, Front, Leaving};
use crate::supervisor::geo::Databases;
use crate::supervisor::groups::Groups;
use crate::supervisor::pids::PidFiles;
use crate::supervisor::roster::Roster;
use crate::supervisor::{Addresses, ServeError, data, geo, messages};
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
    /// Its cell's name.
    pub(super) cell: String,
    /// Whether its cell is gone: it finishes and is not started again.
    pub(super) is_retired: bool,
    /// Both ends of its mailbox: what is in it waits for the next process.
    pub(super) mailbox_send: Rc<OwnedFd>,
    mailbox_receive: Rc<OwnedFd>,
}

/// Everything the supervisor holds.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) host: Host,
    pub(super) roster: Roster,
    pub(super) signals: Signals,
    pub(super) cells: Cells,
    /// By their places, which [`Cells`] gives out.
    pub(super) workers: BTreeMap<usize, WorkerSlot>,
    /// For each core one listener for each address: what they queue waits for who accepts.
    pub(super) listeners: Vec<Vec<Rc<OwnedFd>>>,
    pub(super) broker: Slot,
    pub(super) egress: Slot,
    pub(super) data: Slot,
    pub(super) front: Front,
    pub(super) leaving: Leaving,
    /// Databases of places, as workers get them.
    pub(super) databases: Databases,
    /// How commands come in.
    pub(super) admin: Admin,
    pub(super) http: Vec<std::net::SocketAddr>,
    /// What each kind of process has of each layer of isolation, as it was last said.
    pub(super) isolation: BTreeMap<&'static str, String>,
    pub(super) pids: PidFiles,
    /// Last: its groups are removed when everybody is gone.
    pub(super) groups: Groups,
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
    let mut cells = Cells::new(host.cores.len());
    let arranged = cells.arrange(&host.cells);
    let mut roster = Roster::new(host.workers());
    roster.apply(&host.tenants, &cells);
    let databases = geo::read(&host.geo).map_err(system("reading databases"))?;
    let (http, listeners) = open_listeners(&host)?;
    let admin = Admin::open(host.admin_socket.as_deref());
    let admin = admin.map_err(system("listening at admin.socket"))?;
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
        cells,
        workers: BTreeMap::new(),
        listeners,
        broker: Slot::default(),
        egress: Slot::default(),
        data: Slot::default(),
        front: Front::default(),
        leaving: Leaving::default(),
        databases,
        admin,
        http,
        isolation: BTreeMap::new(),
        pids,
        groups: Groups::default(),
    };
    let groups = supervisor.arrange_groups();
    groups.map_err(system("limiting cells"))?;
    supervisor
        .start_broker()
        .map_err(|source| spawn_error("broker".into(), source))?;
    supervisor
        .start_egress()
        .map_err(|source| spawn_error("egress".into(), source))?;
    supervisor
        .start_data()
        .map_err(|source| spawn_error("data".into(), source))?;
    for cell in arranged.added {
        let added = supervisor.add_workers(cell);
        added.map_err(system("making mailboxes"))?;
    }
    let all: Vec<usize> = supervisor.workers.keys().copied().collect();
    for index in all {
        supervisor
            .start_worker(index)
            .map_err(|source| spawn_error(supervisor.worker_name(index), source))?;
    }
    Ok(supervisor)
}

fn spawn_error(who: String, source: io::Error) -> ServeError {
    ServeError::Spawn { who, source }
}

/// The addresses, and one listener for each of them and each core, by core.
type Listeners = (Vec<std::net::SocketAddr>, Vec<Vec<Rc<OwnedFd>>>);

fn open_listeners(host: &Host) -> Result<Listeners, ServeError> {
    let cores: Vec<Option<usize>> = host.cores.iter().copied().map(Some).collect();
    let mut by_core = vec![Vec::new(); cores.len()];
    let mut bound = Vec::with_capacity(host.listen_http.len());
    for &address in &host.listen_http {
        let (chosen, listeners): (_, Vec<TcpListener>) = listen::listeners(address, &cores)
            .map_err(|source| ServeError::Listen { address, source })?;
        for (core, listener) in by_core.iter_mut().zip(listeners) {
            core.push(Rc::new(listener.into()));
        }
        bound.push(chosen);
    }
    Ok((bound, by_core))
}

impl Supervisor {
    /// `worker 0 (core 2)`; with its profile's name when the core has one of its own, and its cell's
    /// unless that is the default one: `worker 3 (core 2, density, cell gold)`.
    pub(super) fn worker_name(&self, index: usize) -> String {
        let Some(worker) = self.workers.get(&index) else {
            return format!("worker {index}");
        };
        let own = self.host.core_profiles.get(&worker.core);
        let profile = own.map_or_else(String::new, |own| format!(", {}", own.name));
        let cell = match worker.cell.as_str() {
            DEFAULT_CELL => String::new(),
            cell => format!(", cell {cell}"),
        };
        format!("worker {index} (core {}{profile}{cell})", worker.core)
    }

    /// Makes places for the workers of the cell at `cell`.
    pub(super) fn add_workers(&mut self, cell: usize) -> io::Result<()> {
        let name = self.cells.name(cell).unwrap_or(DEFAULT_CELL).to_owned();
        for (index, &core) in self.cells.workers(cell).zip(&self.host.cores) {
            let (send, receive) = Channel::pair()?;
            let worker = WorkerSlot {
                slot: Slot::default(),
                core,
                cell: name.clone(),
                is_retired: false,
                mailbox_send: Rc::new(send.into()),
                mailbox_receive: Rc::new(receive.into()),
            };
            self.workers.insert(index, worker);
        }
        Ok(())
    }

    /// What `started` is told.
    pub(super) fn addresses(&self) -> Addresses {
        let pid = |worker: &WorkerSlot| worker.slot.child.as_ref().map(Child::pid);
        Addresses {
            http: self.http.clone(),
            worker_pids: self.workers.values().filter_map(pid).collect(),
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
        self.fence(index, child.pid())?;
        let core = self.workers[&index].core;
        let cell = self.cells.of_worker(index);
        let start = Start {
            index,
            first: self.cells.workers(cell).start,
            core: Some(core),
            profile: self.host.profile_of(core).clone(),
            http: self.host.http.clone(),
            access_log: self.host.log.access,
            require: self.host.require.clone(),
            ca_file: self.host.network.ca_file.clone(),
        };
        let (egress, egress_side) = self.wire_egress(cell)?;
        let mut fds = vec![
            Rc::new(self.artifacts_dir()?),
            self.workers[&index].mailbox_receive.clone(),
        ];
        fds.extend(wiring);
        fds.push(egress);
        let (data, data_side) = data::wire(cell)?;
        fds.push(data);
        let of_cell = self.workers.range(self.cells.workers(cell));
        fds.extend(of_cell.map(|(_, worker)| worker.mailbox_send.clone()));
        child.say(Message::new(&ToWorker::Start(Box::new(start)), fds)?);
        if !self.host.geo.is_empty() {
            child.say(self.geo_message()?);
        }
        messages::tell_worker_all(&mut child, cell, &self.roster, &self.cells);
        if let Some(broker) = &mut self.broker.child {
            broker.say(broker_side);
        }
        if let Some(egress) = &mut self.egress.child {
            egress.say(egress_side);
        }
        if let Some(data) = &mut self.data.child {
            data.say(data_side);
        }
        if let Some(worker) = self.workers.get_mut(&index) {
            worker.slot.child = Some(child);
        }
        if cell == 0 && self.front.accepting == Accepting::Workers && !self.cells.are_several() {
            self.give_listeners(index);
        }
        Ok(())
    }

    /// Has a worker of the default cell accept from its core's listeners.
    pub(super) fn give_listeners(&mut self, index: usize) {
        let listeners = self.listeners.get(self.cells.core_of(index));
        let worker = self.workers.get_mut(&index);
        if let Some(child) = worker.and_then(|it| it.slot.child.as_mut()) {
            for listener in listeners.into_iter().flatten() {
                // A message as short as this is never too long.
                if let Ok(message) = Message::new(&ToWorker::Listener, vec![listener.clone()]) {
                    child.say(message);
                }
            }
        }
    }

    /// Says something to a worker, if it is there.
    pub(super) fn say_to_worker(&mut self, index: usize, message: &ToWorker) {
        let worker = self.workers.get_mut(&index);
        if let Some(child) = worker.and_then(|it| it.slot.child.as_mut()) {
            messages::say(child, message);
        }
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
            log_dir: self.host.log.tenants.clone(),
            profiles: self
                .host
                .cores
                .iter()
                .map(|core| self.host.profile_of(*core).clone())
                .collect(),
            require: self.host.require.clone(),
        };
        broker.say(Message::new(&start, Vec::new())?);
        for (index, worker) in &mut self.workers {
            if let Some(child) = &mut worker.slot.child {
                let (wiring, broker_side) = wire(*index)?;
                child.say(Message::new(&ToWorker::Broker, wiring.into())?);
                broker.say(broker_side);
            }
        }
        self.rewire_front(&mut broker)?;
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
