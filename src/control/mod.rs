//! What the processes of one host say to each other.
//!
//! Each message is one JSON datagram on a `SOCK_SEQPACKET` pair ([`Channel`](crate::sys::channel)),
//! with file descriptors beside it where the table says so.
//!
//! ```text
//! supervisor ──ToWorker──► worker ──FromWorker──► supervisor
//! supervisor ──ToBroker──► broker ──FromBroker──► supervisor
//! broker ──ArtifactMessage──► worker ──log lines──► broker
//! worker ──Handover──► the mailbox of another worker of its cell
//! supervisor ──ToEgress──► egress ──FromEgress──► supervisor
//! worker ──Dial──► egress ──Dialled──► worker     data ──Dial──► egress ──Dialled──► data
//! supervisor ──ToData──► data ──FromData──► supervisor
//! worker ──Call──► data ──Reply──► worker         a stream, see data/frame.rs
//!
//! with two or more cells:
//! supervisor ──ToFront──► front ──FromWorker──► supervisor
//! front ──Handover──► any worker's mailbox      front ──log lines──► broker
//! ```

pub mod cache_key;

use serde::{Deserialize, Serialize};

pub use crate::config::Backend;
use crate::config::{
    Access, AccessLog, Egress, Facts, HostPattern, Http, LogDir, OriginFilter, Profile, Scheme,
    Tenant,
};
use crate::isolation::{Layer, Report as Isolation};

/// Supervisor to worker. Order: `Start`, then tenants, `Commit`, listeners.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Who the worker is. File descriptors: the directory of artifacts, its mailbox's receiving
    /// end, its broker channel, its end of the log channel, its channel to the egress process, its stream
    /// to the data process, then the sending end of the mailbox of every worker of its cell, in worker order.
    Start(Box<Start>),
    /// Adds the tenant, or replaces the one of that name, at the next `Commit`.
    Tenant(Box<Placed>),
    /// Removes the tenant of that name at the next `Commit`.
    Remove {
        /// The tenant's name.
        name: String,
    },
    /// Makes the tenants said so far the routing table, at once.
    Commit,
    /// The tenant of that name moves to another cell: until it is removed, its answers are the last
    /// ones of their connections.
    Leave {
        /// The tenant's name.
        name: String,
    },
    /// What to tell programs of places, from now on. File descriptors: databases, sealed memory.
    Geo {
        /// Where this host is.
        pop: Facts,
    },
    /// Forget answers of the tenant's origin that are kept, and say how many: [`FromWorker::Purged`].
    Purge {
        /// The number that the answer has.
        id: u64,
        /// The tenant's name.
        tenant: String,
        /// Which ones.
        what: Purge,
        /// They are only stale from now on.
        soft: bool,
    },
    /// A listening socket to accept from; its descriptor comes with it.
    Listener,
    /// Accept no more: the front does from now on.
    Deafen,
    /// The broker was restarted. File descriptors: the worker's new broker channel and its end of
    /// the new log channel; the old ones have ended. Until this comes, their end is no reason to
    /// exit.
    Broker,
    /// The egress process was restarted. File descriptor: the new channel to it.
    Egress,
    /// The data process was restarted. File descriptor: the new stream to it.
    Data,
    /// Stop accepting, finish what is in flight within this many milliseconds, and say `Drained`.
    /// Connections that other workers still hand over are served.
    Drain {
        /// How long requests in flight may take, in milliseconds.
        drain_ms: u64,
    },
    /// Every worker has drained: nothing more will be handed over. Exit 0.
    Stop,
}

/// Who a worker is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Its place among the workers of all cells, from 0.
    pub index: usize,
    /// The place of the first worker of its cell; the others of the cell follow.
    pub first: usize,
    /// The core it pins itself to; `None` leaves it where the kernel puts it.
    pub core: Option<usize>,
    /// What it is tuned to.
    pub profile: Profile,
    /// Limits of client connections.
    pub http: Http,
    /// Which requests get an access log line.
    pub access_log: AccessLog,
    /// Layers of isolation without which it does not start.
    pub require: Vec<Layer>,
    /// Certificates that TLS trusts; the system's where it is `None`.
    pub ca_file: Option<std::path::PathBuf>,
}

/// A tenant and the workers it is pinned to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// The tenant.
    pub tenant: Tenant,
    /// Places of its workers, all of one cell; never empty.
    pub workers: Vec<usize>,
    /// Counts the versions of this tenant's component; an artifact names the one it is for.
    pub generation: u64,
}

impl Placed {
    /// What the broker is told: the tenant, whose lines it keeps, and one more for each of its filters.
    pub fn programs(&self) -> Vec<Self> {
        let Some(origin) = &self.tenant.origin else {
            return vec![self.clone()];
        };
        let filters = origin.filters.iter().enumerate();
        let program = |(place, filter): (usize, &OriginFilter)| Self {
            tenant: Tenant {
                name: program_name(&self.tenant.name, place),
                component: Some(filter.component.clone()),
                limits: self.tenant.limits.clone(),
                ..Tenant::default()
            },
            workers: self.workers.clone(),
            generation: self.generation,
        };
        std::iter::once(self.clone())
            .chain(filters.map(program))
            .collect()
    }
}

/// Supervisor to front. Order: `Start`, then a table, listeners. Each table is whole: mailboxes,
/// routes, `Commit`.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToFront {
    /// What connections are held to. File descriptor: its end of the log channel.
    Start {
        /// Limits of client connections.
        http: Http,
        /// Which requests get an access log line.
        access_log: AccessLog,
        /// Layers of isolation without which it does not start.
        require: Vec<Layer>,
    },
    /// A worker that connections can be passed to; its mailbox's sending end comes with it.
    Mailbox {
        /// Its place among the workers of all cells.
        worker: usize,
    },
    /// Who answers for these hosts. Of a tenant the front knows nothing else.
    Route {
        /// The hosts.
        hosts: Vec<HostPattern>,
        /// Their workers; never empty.
        workers: Vec<usize>,
    },
    /// Makes the mailboxes and routes said since the last one the table, at once.
    Commit {
        /// Workers of the default cell: they get what belongs to nobody.
        default: Vec<usize>,
    },
    /// A listening socket to accept from; its descriptor comes with it.
    Listener,
    /// The broker was restarted. File descriptor: its end of the new log channel.
    Log,
    /// Stop accepting, pass on what waits within this many milliseconds, and say `Drained`.
    Drain {
        /// How long connections whose head is not complete may take, in milliseconds.
        drain_ms: u64,
    },
    /// Exit 0.
    Stop,
}

/// Worker or front to supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The worker is locked down: what it has of each layer.
    Isolated(Isolation),
    /// A worker has its engine and its ring, the front its runtime: it can take tenants.
    Ready,
    /// The routing table of the last `Commit` is in force.
    Committed,
    /// Everything in flight is finished.
    Drained,
    /// So many answers were forgotten.
    Purged {
        /// The number of the message that asked for it.
        id: u64,
        /// How many.
        count: u64,
    },
}

/// Answers of an origin that are to be forgotten.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// That of one URL.
    Url(String),
    /// Those of all URLs that begin so.
    Prefix(String),
    /// Those with this tag: `surrogate-key` or `cache-tag`.
    Tag(String),
    /// All of them.
    All,
}

/// A command to the supervisor, by its socket: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminCall {
    /// Forget answers of a tenant's origin.
    Purge {
        /// The tenant's name.
        tenant: String,
        /// Which ones.
        what: Purge,
        /// They are only stale from now on, and asked about when they are next wanted.
        soft: bool,
    },
    /// Ask who keeps data for what a tenant's stores hold, over this connection from now on
    /// (`data::frame`).
    Data {
        /// The tenant's name.
        tenant: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminReply {
    /// It is done.
    Purged {
        /// Answers that were forgotten.
        purged: u64,
        /// Workers that have said so.
        workers: usize,
        /// Workers that have said nothing in time.
        silent: usize,
    },
    /// Whoever keeps data reads what follows.
    Connected,
    /// Nothing was done.
    Refused {
        /// Why, in one line.
        error: String,
    },
}

/// Supervisor to broker.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToBroker {
    /// What to serve. First of all; then each worker, then tenants.
    Start {
        /// Where artifacts are kept.
        artifacts_dir: std::path::PathBuf,
        /// The file that log lines are appended to; `None` is standard output.
        log_file: Option<std::path::PathBuf>,
        /// Where each tenant's lines are kept besides.
        log_dir: Option<LogDir>,
        /// What the workers of a cell are tuned to, in worker order, the same in every cell; part
        /// of their artifacts' identity.
        profiles: Vec<Profile>,
        /// Layers of isolation without which it does not start.
        require: Vec<Layer>,
    },
    /// Prepare this tenant's artifact and give it to its workers.
    Tenant(Box<Placed>),
    /// The tenant is gone.
    Remove {
        /// Its name.
        name: String,
    },
    /// A worker was started, for the first time or again: give it its artifacts. File descriptors:
    /// the channel to it and the receiving end of its log channel, instead of those it had.
    Worker {
        /// Its place among the workers of all cells.
        index: usize,
    },
    /// A worker of a cell that is gone will not be started again.
    Retired {
        /// Its place among the workers of all cells.
        index: usize,
    },
    /// The front was started, for the first time or again. File descriptor: the receiving end of
    /// its log channel.
    Front,
    /// Open the log file again: it may have been rotated.
    ReopenLog,
    /// Write out what is buffered and exit 0.
    Stop,
}

/// Broker to supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum FromBroker {
    /// The broker is locked down: what it has of each layer.
    Isolated(Isolation),
    /// The broker can take tenants.
    Ready,
    /// The tenant's artifact was given to its workers, or could not be made. Said for each kind of
    /// engine that they have; an error that was said already is not said again.
    Prepared {
        /// The tenant's name.
        tenant: String,
        /// Why there is none, in one line.
        error: Option<String>,
    },
}

/// Broker to worker.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum ArtifactMessage {
    /// The tenant's artifact, verified; its read-only descriptor comes with it.
    Ready {
        /// The tenant's name.
        tenant: String,
        /// The generation it was made for.
        generation: u64,
        /// Which engine flavour loads it.
        flavour: Flavour,
        /// Names its content: equal digests are equal artifacts.
        digest: String,
    },
    /// The component could not be compiled.
    Rejected {
        /// The tenant's name.
        tenant: String,
        /// The generation that was refused.
        generation: u64,
        /// Why, in one line.
        reason: String,
    },
}

/// Supervisor to the egress process.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToEgress {
    /// How names are looked up. First of all; then each worker, then tenants.
    Start {
        /// Servers; those of `/etc/resolv.conf` where there are none.
        resolvers: Vec<std::net::SocketAddr>,
        /// Layers of isolation without which it does not start.
        require: Vec<Layer>,
    },
    /// A worker was started, for the first time or again. File descriptor: the channel to it.
    Worker {
        /// The place of its cell: it may ask for that cell's tenants.
        cell: usize,
    },
    /// Adds the tenant, or replaces the one of that name.
    Tenant(Box<Caller>),
    /// The tenant is gone.
    Remove {
        /// Its name.
        name: String,
    },
    /// Exit 0.
    Stop,
}

/// The name by which a tenant's requests are passed on: it connects to other servers than the tenant's
/// guests do. No tenant has such a name.
pub fn origin_caller(tenant: &str) -> String {
    format!("-origin.{tenant}")
}

/// The name by which a program is known that is one of several of its tenant's: the place follows a
/// slash, which no tenant's name has.
pub fn program_name(tenant: &str, place: usize) -> String {
    format!("{tenant}/{place}")
}

/// The tenant whose program has this name.
pub fn owner_of(program: &str) -> &str {
    program.split('/').next().unwrap_or(program)
}

/// A tenant, as far as connecting for it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Caller {
    /// Its name.
    pub name: String,
    /// The place of its cell.
    pub cell: usize,
    /// What it may connect to.
    pub rules: Egress,
}

impl Caller {
    /// Those who connect for a tenant of the cell at `cell`: its guests, and what passes its requests on.
    pub fn all_of(tenant: &Tenant, cell: usize) -> impl Iterator<Item = Self> {
        let guests = Self {
            name: tenant.name.clone(),
            cell,
            rules: tenant.egress.clone(),
        };
        let origin = tenant.origin.as_ref().map(|origin| Self {
            name: origin_caller(&tenant.name),
            cell,
            rules: origin.egress(),
        });
        [guests].into_iter().chain(origin)
    }
}

/// The egress process to the supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum FromEgress {
    /// It is locked down: what it has of each layer.
    Isolated(Isolation),
    /// It connects.
    Ready,
}

/// Worker to the egress process: connect for a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dial {
    /// The worker's number for it, which the answer has.
    pub id: u64,
    /// Who asks.
    pub tenant: String,
    /// The protocol that will be spoken.
    pub scheme: Scheme,
    /// A name in lower case without a trailing dot, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// The egress process to a worker. File descriptor: the connected socket, where there is one.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialled {
    /// The number of the [`Dial`] that it answers.
    pub id: u64,
    /// Why there is none.
    pub outcome: Result<(), DialError>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DialError {
    /// No rule allows the destination.
    Denied,
    /// Rules allow the name, and none of its addresses.
    Prohibited,
    /// The name has no address.
    NotFound,
    /// No server answered.
    DnsTimeout,
    /// A server answered with this error.
    Dns(String),
    /// Nobody listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// Nobody answered in time.
    TimedOut,
    /// Too many connections are being made.
    Busy,
    /// Something else, in one line.
    Failed(String),
}

/// Supervisor to the data process.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToData {
    /// What is kept, and where. First of all; then the egress process, each worker, tenants. File
    /// descriptor: the file of the key that secrets are sealed with, where there is one.
    Start {
        /// The directory of stores.
        dir: std::path::PathBuf,
        /// Bytes of all caches together.
        cache_bytes_max: u64,
        /// Bytes of origins' answers on disk; 0: none are kept there.
        http_cache_bytes_max: u64,
        /// Layers of isolation without which it does not start.
        require: Vec<Layer>,
    },
    /// A worker was started, for the first time or again. File descriptor: the stream to it.
    Worker {
        /// The place of its cell: it may ask for that cell's tenants.
        cell: usize,
    },
    /// A command of the operator's wants to see or change stores. File descriptor: its stream.
    Operator,
    /// The egress process was started, for the first time or again. File descriptor: the channel to it.
    Egress,
    /// Adds the tenant, or replaces the one of that name. File descriptors: the files of its secrets that
    /// could be opened, in their order.
    Tenant(Box<Owner>),
    /// The tenant is gone; what stores hold stays.
    Remove {
        /// Its name.
        name: String,
    },
    /// Forget answers of a tenant's origin.
    Forget {
        /// The tenant's name.
        tenant: String,
        /// Which.
        which: Purge,
    },
    /// A worker ended that should not have.
    WorkerDied {
        /// The place of its cell.
        cell: usize,
    },
    /// Exit 0.
    Stop,
}

/// A tenant, as far as its data goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// The place of its cell.
    pub cell: usize,
    /// Its stores.
    pub stores: Vec<OwnedStore>,
    /// Bytes of its cache; 0: it has none.
    pub cache_bytes: u64,
    /// Its origin, where it has one ([`Origin::site`](crate::config::Origin::site)).
    pub site: Option<u64>,
    /// Bytes of that one's answers on disk.
    pub http_cache_disk_bytes: u64,
    /// Its secrets' slots.
    pub secrets: Vec<OwnedSecret>,
    /// Operations a second.
    pub operations_per_s: u64,
}

/// A store of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnedStore {
    /// The tenant's name for it.
    pub name: String,
    /// Whose keys they are: stores of one namespace are the same store.
    pub namespace: String,
    /// What the tenant may do.
    pub access: Access,
    /// Who keeps it.
    pub backend: Backend,
    /// Keys it may have.
    pub keys: u64,
    /// Bytes it may have.
    pub bytes: u64,
}

/// A slot of a secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnedSecret {
    /// The secret's name.
    pub name: String,
    /// When it begins to be in force, in Unix seconds.
    pub from_s: u64,
    /// Whether systemd gives the file, which may then be plain.
    pub is_credential: bool,
    /// Whether its file could be opened.
    pub is_open: bool,
}

/// The data process to the supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum FromData {
    /// It is locked down: what it has of each layer.
    Isolated(Isolation),
    /// It answers.
    Ready,
}

/// The data process's own name among those who ask the egress process for connections. No tenant has it: a
/// name begins with a letter.
pub const DATA_CALLER: &str = "-data";

/// Its place among cells there.
pub const DATA_CELL: usize = usize::MAX;

/// Which of a worker's engines runs a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// `wasi:http/incoming-handler@0.2`: an engine without the component-model-async machinery.
    P2,
    /// `wasi:http/handler@0.3`.
    P3,
    /// The handler of [`Flavour::P2`], compiled to count fuel; its engine can do either.
    FuelP2,
    /// The handler of [`Flavour::P3`], compiled to count fuel; its engine can do either.
    FuelP3,
    /// A proxy-wasm filter: a core module, in the engine of [`Flavour::P2`].
    Filter,
    /// The same, compiled to count fuel; in the engine of [`Flavour::FuelP2`].
    FuelFilter,
}

impl Flavour {
    /// Every flavour.
    pub const ALL: [Self; 6] = [
        Self::P2,
        Self::P3,
        Self::FuelP2,
        Self::FuelP3,
        Self::Filter,
        Self::FuelFilter,
    ];

    /// The flavour that runs the same handler and counts fuel.
    pub const fn with_fuel(self) -> Self {
        match self {
            Self::P2 | Self::FuelP2 => Self::FuelP2,
            Self::P3 | Self::FuelP3 => Self::FuelP3,
            Self::Filter | Self::FuelFilter => Self::FuelFilter,
        }
    }

    /// Whether it is a core module that filters requests and answers.
    pub const fn is_filter(self) -> bool {
        matches!(self, Self::Filter | Self::FuelFilter)
    }

    /// The flavour whose engine runs it.
    pub const fn engine(self) -> Self {
        match self {
            Self::Filter => Self::P2,
            Self::FuelFilter => Self::FuelP2,
            other => other,
        }
    }

    /// Whether compiled code counts fuel.
    pub const fn counts_fuel(self) -> bool {
        matches!(self, Self::FuelP2 | Self::FuelP3 | Self::FuelFilter)
    }
}

/// Worker to worker, or front to worker: a connection whose next request belongs to the receiver.
/// The connected socket comes with it.
///
/// ```text
/// fronted (1 bit) │ hops (7 bits) │ bytes read from the connection and not yet served
/// ```
#[derive(Debug, PartialEq)]
pub struct Handover<'a> {
    /// Whether the front accepted this connection: then there are tenants that no worker of this
    /// cell knows.
    pub fronted: bool,
    /// How often workers handed this connection on since its last request was served; up to
    /// [`HANDOVER_HOPS_MAX`](crate::config::limits::HANDOVER_HOPS_MAX).
    pub hops: u8,
    /// Bytes already read.
    pub buffered: &'a [u8],
}

impl<'a> Handover<'a> {
    /// Appends the frame to `dst`.
    pub fn encode(&self, dst: &mut Vec<u8>) {
        dst.push(self.hops | if self.fronted { FRONTED } else { 0 });
        dst.extend_from_slice(self.buffered);
    }

    /// Reads a frame; `None` when it is empty.
    pub fn decode(frame: &'a [u8]) -> Option<Handover<'a>> {
        let (&first, buffered) = frame.split_first()?;
        Some(Handover {
            fronted: first & FRONTED != 0,
            hops: first & !FRONTED,
            buffered,
        })
    }
}

/// The bit of a frame's first byte that says [`Handover::fronted`].
const FRONTED: u8 = 0x80;

// Worker to broker, on the log channel: raw datagrams of newline-terminated JSON objects, one
// batch each. Sending never blocks: a full channel drops the batch and counts its lines.
