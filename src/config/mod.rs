//! The host's configuration: read as TOML ([`raw`]), checked and completed into [`Host`].
//!
//! ```text
//! skep.toml ──serde──► raw::File ──validate──► Host ──► supervisor ──► workers, broker
//!            (unknown keys refused)   (nothing optional left)
//! ```

#![forbid(unsafe_code)]

mod cells;
mod component;
mod cpus;
mod data;
pub mod docs;
mod egress;
mod errors;
mod facts;
mod geo;
mod hosts;
pub mod limits;
mod log_dir;
mod machine;
mod origin;
pub mod profile;
mod profile_file;
pub mod raw;
mod routes;
mod shape;
mod single;
mod stripes;
mod tenant;
mod validate;
mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::isolation::Layer;

pub use cells::{Cell, DEFAULT_CELL};
pub use cpus::CpuSet;
pub use data::{Access, Backend, Data, RedisServer, Secret, SecretSource, Store};
pub use egress::{Egress, EgressError, EgressRule, Scheme, is_special, roots};
pub(crate) use errors::Report;
pub use errors::{Errors, Problem};
pub use facts::Facts;
pub use geo::GeoPlaces;
pub use hosts::HostError;
pub use log_dir::LogDir;
pub use machine::Machine;
pub use origin::{Destination, HOOKS, Origin, OriginFilter, OriginHost};
pub use profile::Profile;
pub(crate) use profile_file::read_text;
pub use routes::Routes;
pub(crate) use shape::read as read_shape;
pub use single::Budget;
pub(crate) use tenant::{NAME_RIGHT, is_name};
pub use workers::{CoreProfile, Worker};

/// A whole host, validated: every path absolute, every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The file this came from; relative paths in it were resolved against its directory.
    pub source: PathBuf,
    /// Addresses that serve plaintext HTTP/1.1.
    pub listen_http: Vec<SocketAddr>,
    /// The cores that get one pinned worker each, in worker order. Never empty.
    pub cores: Vec<usize>,
    /// What every worker is tuned to whose core is not in `core_profiles`.
    pub profile: Profile,
    /// What the workers of these cores are tuned to instead; each is in `cores`.
    pub core_profiles: BTreeMap<usize, CoreProfile>,
    /// Where compiled artifacts are kept between runs.
    pub artifacts_dir: PathBuf,
    /// Timeouts and size limits of client connections.
    pub http: Http,
    /// Which requests get an access log line, and where lines go.
    pub log: Log,
    /// Layers of isolation without which no process starts.
    pub require: Vec<Layer>,
    /// How guests' requests to others are sent.
    pub network: Network,
    /// What programs for FastEdge are told of places.
    pub geo: GeoPlaces,
    /// How tenants' data is kept.
    pub data: Data,
    /// The socket that commands to the running host are sent to, if there is one.
    pub admin_socket: Option<PathBuf>,
    /// How long a drain waits for requests in flight, in milliseconds.
    pub drain_ms: u64,
    /// The cells: [`DEFAULT_CELL`] first, then the others in file order. Never empty.
    pub cells: Vec<Cell>,
    /// The tenants, in file order; names and hosts are unique.
    pub tenants: Vec<Tenant>,
}

/// Limits of client connections; they hold before a tenant is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// A request head must be complete this long after its first byte (or the accept), else 408.
    pub head_timeout_ms: u64,
    /// A kept-alive connection without a request is closed after this.
    pub idle_timeout_ms: u64,
    /// The longest wait for the next bytes of a request body, or for the client to take response bytes.
    pub body_timeout_ms: u64,
    /// Longest request line and header section together, in bytes; above it 431.
    pub head_bytes_max: usize,
    /// Longest request target, in bytes; above it 414.
    pub target_bytes_max: usize,
    /// Most header fields in a request; above it 431.
    pub headers_max: usize,
    /// Open client connections per worker; at the limit, accepting pauses.
    pub connections_max: usize,
}

/// How guests' requests to others are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Servers that look names up; those of `/etc/resolv.conf` where there are none.
    pub resolvers: Vec<SocketAddr>,
    /// Certificates that TLS trusts; the system's where it is `None`.
    pub ca_file: Option<PathBuf>,
}

/// Where log lines go and which requests get one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// Which requests are logged.
    pub access: AccessLog,
    /// The file that JSON lines are appended to; `None` is standard output.
    pub file: Option<PathBuf>,
    /// Where each tenant's lines are kept besides.
    pub tenants: Option<LogDir>,
}

/// Which requests get an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// None.
    Off,
    /// Those answered with an `x-skep-reason`.
    Faults,
    /// Every one.
    All,
}

/// One customer's application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Unique name: lower-case letters, digits and inner hyphens, at most 63 bytes.
    pub name: String,
    /// The component's file; `None` where requests are only passed on.
    pub component: Option<PathBuf>,
    /// The servers that its requests are passed on to.
    pub origin: Option<Origin>,
    /// The hosts it answers for.
    pub hosts: Vec<HostPattern>,
    /// The cell it belongs to: the name of one of [`Host::cells`].
    pub cell: String,
    /// The workers of its cell that it is pinned to.
    pub cores: Cores,
    /// Its environment variables.
    pub env: BTreeMap<String, String>,
    /// What its guests read as configuration.
    pub config: BTreeMap<String, String>,
    /// Whose programs its guests are made for, where that changes an answer.
    pub compat: Compat,
    /// Its part of each of its workers' core.
    pub share: Share,
    /// What its guests may connect to.
    pub egress: Egress,
    /// Its key-value stores.
    pub stores: Vec<Store>,
    /// Its secrets. Workers are not told where they are.
    #[serde(skip)]
    pub secrets: Vec<Secret>,
    /// Its budgets.
    pub limits: Limits,
}

impl Tenant {
    /// The files of its programs: of its component, or of its filters.
    pub fn programs(&self) -> impl Iterator<Item = &Path> {
        let filters = self.origin.iter().flat_map(|origin| &origin.filters);
        let filters = filters.map(|filter| filter.component.as_path());
        self.component.as_deref().into_iter().chain(filters)
    }
}

/// Whose host a program is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compat {
    /// Nobody's: statuses and errors say what happened.
    #[default]
    None,
    /// Gcore FastEdge's: failures have its statuses, requests its header fields.
    Fastedge,
}

/// A tenant's part of each of its workers' core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Beside others who want the core: twice the weight gets twice the CPU time.
    pub weight: u64,
    /// The most that it gets although nobody else wants it, in thousandths of a core.
    pub cpu_share_max_permille: Option<u64>,
}

/// A host name, or every name one or more labels below one (`*.example.com`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HostPattern {
    /// Exactly this lower-case name.
    Exact(String),
    /// Any name that ends in `.` and this lower-case suffix.
    Below(String),
    /// Every host. No configuration file says this: only [`Host::single`] does.
    Any,
}

/// Which workers a tenant is pinned to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cores {
    /// This many, chosen by the supervisor.
    Count(usize),
    /// The workers of exactly these cores.
    List(Vec<usize>),
}

/// Budgets of one tenant. Defaults and reasons stand in [`limits`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time of one request, in milliseconds.
    pub cpu_ms: u64,
    /// Fuel of one request; 0 counts none.
    pub fuel: u64,
    /// Wall time of one request, from admission to the last response byte, in milliseconds.
    pub wall_ms: u64,
    /// Memory of one instance, summed over its linear memories, in MiB.
    pub memory_mib: u64,
    /// Requests that run at once, over all the tenant's workers.
    pub concurrency: usize,
    /// Requests that wait for a place, over all the tenant's workers; above it 503.
    pub queue: usize,
    /// The longest wait for a place, in milliseconds; then 503.
    pub queue_ms: u64,
    /// Requests let in each second, over all the tenant's workers; above it 429. 0 is no limit.
    pub requests_per_s: u64,
    /// Requests let in at once, over all the tenant's workers, before `requests_per_s` holds.
    pub request_burst: u64,
    /// Failures within the window after which the tenant is left alone; 0 is never.
    pub quarantine_failures: usize,
    /// The window that failures are counted in, in seconds.
    pub quarantine_window_s: u64,
    /// The longest pause of a tenant that is left alone, in seconds.
    pub quarantine_max_s: u64,
    /// Longest request body, in bytes; above it 413.
    pub request_body_bytes: u64,
    /// Longest line of the tenant's log, in bytes; longer ones are cut.
    pub log_line_bytes: usize,
    /// Bytes of log one request may write; what is over is dropped and counted.
    pub log_bytes_per_request: usize,
    /// Bytes of log each second, over all the tenant's workers; what is over is dropped and counted.
    pub log_bytes_per_s: u64,
    /// Bytes of log at once, over all the tenant's workers, before `log_bytes_per_s` holds.
    pub log_burst_bytes: usize,
    /// Requests that one request may send to others.
    pub subrequests: usize,
    /// Requests to others at once, over all the tenant's workers.
    pub subrequest_concurrency: usize,
    /// Longest body that a guest has whole, in bytes: where its interface streams none.
    pub whole_body_bytes: usize,
    /// Bytes of all bodies that one request sends to others and gets from them.
    pub subrequest_bytes: u64,
    /// Longest look-up, connecting and handshake, in milliseconds.
    pub subrequest_connect_ms: u64,
    /// Longest wait for the head of an answer, in milliseconds.
    pub subrequest_first_byte_ms: u64,
    /// Longest wait for more of a body, in milliseconds.
    pub subrequest_between_bytes_ms: u64,
    /// Keys of each of its stores.
    pub kv_keys: u64,
    /// Bytes of each of its stores.
    pub kv_bytes: u64,
    /// Bytes of its cache; 0: it has none.
    pub cache_bytes: u64,
    /// Bytes of its origin's answers that each of its workers keeps; 0: none.
    pub http_cache_bytes: u64,
    /// Longest body of such an answer, in bytes.
    pub http_cache_object_bytes: u64,
    /// Bytes of its origin's answers on disk, where the host keeps any there.
    pub http_cache_disk_bytes: u64,
    /// Calls for stores, cache and secrets together, each second.
    pub data_operations_per_s: u64,
    /// Host resources (bodies, fields, streams, pollables) alive at once in one instance.
    pub handles: usize,
    /// Bytes that one host call may copy out of the guest.
    pub hostcall_bytes: usize,
    /// Elements of all tables of one instance.
    pub table_elements: usize,
}
