//! The configuration file as it is written: syntax only, every value with its place.
//!
//! Unknown keys are refused. Every key is optional here: `validate` says which are missing.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::AccessLog;

/// A key that may be absent, with the place of its value.
pub type Field<T> = Option<Spanned<T>>;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `[listen]`
    pub listen: Listen,
    /// `[workers]`
    pub workers: Workers,
    /// `[artifacts]`
    pub artifacts: Artifacts,
    /// `[http]`
    pub http: Http,
    /// `[log]`
    pub log: Log,
    /// `[isolation]`
    pub isolation: Isolation,
    /// `[egress]`
    pub egress: Network,
    /// `[geo]`
    pub geo: Geo,
    /// `[data]`
    pub data: Data,
    /// `[admin]`
    pub admin: Admin,
    /// `[[cell]]`
    pub cell: Vec<Spanned<Cell>>,
    /// `[[tenant]]`
    pub tenant: Vec<Spanned<Tenant>>,
}

/// `[listen]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Addresses that serve plaintext HTTP/1.1.
    pub http: Field<Vec<Spanned<String>>>,
}

/// `[workers]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// One pinned worker for each.
    pub cores: Field<WorkerCores>,
    /// A profile's name, or the path of its file.
    pub profile: Field<String>,
    /// `[[workers.core]]`
    pub core: Vec<Spanned<Core>>,
    /// How long a drain waits, in milliseconds.
    pub drain_ms: Field<i64>,
}

/// `[[workers.core]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Core {
    /// The core whose worker it is about.
    pub id: Field<i64>,
    /// That worker's profile: a name, or the path of its file.
    pub profile: Field<String>,
}

/// `cores` of `[workers]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"auto\" or a list of core numbers: [0, 1]"
)]
pub enum WorkerCores {
    /// The word `auto`.
    Auto(Auto),
    /// Core numbers.
    List(Vec<i64>),
}

/// The word `auto`: every core that this process may run on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// `"auto"`
    Auto,
}

/// `[artifacts]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Artifacts {
    /// Where compiled artifacts are kept.
    pub dir: Field<String>,
}

/// `[http]`: see [`limits::HTTP`](super::limits::HTTP).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Http {
    pub head_timeout_ms: Field<i64>,
    pub idle_timeout_ms: Field<i64>,
    pub body_timeout_ms: Field<i64>,
    pub head_bytes_max: Field<i64>,
    pub target_bytes_max: Field<i64>,
    pub headers_max: Field<i64>,
    pub connections_max: Field<i64>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Which requests get a line.
    pub access: Option<AccessLog>,
    /// Where lines are appended to; standard output when absent.
    pub file: Field<String>,
    /// Where each tenant's lines are kept.
    pub dir: Field<String>,
    /// Most bytes of one of those files, in KiB.
    pub rotate_kib: Field<i64>,
    /// Files kept of each tenant beside the current one.
    pub keep: Field<i64>,
}

/// `[isolation]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Isolation {
    /// Names of layers that must be in force.
    pub require: Field<Vec<Spanned<String>>>,
}

/// `[egress]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Servers that look names up.
    pub resolvers: Field<Vec<Spanned<String>>>,
    /// Certificates that TLS trusts.
    pub ca_file: Field<String>,
}

/// `[geo]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// A database of places.
    pub database: Field<String>,
    /// A database of autonomous systems.
    pub asn_database: Field<String>,
    /// Where this host is.
    pub pop: Field<super::Facts>,
}

/// `[[cell]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cell {
    /// Its unique name.
    pub name: Field<String>,
    /// The most memory of all its workers together.
    pub memory_max_mib: Field<i64>,
    /// The most CPU time of all its workers together, in cores.
    pub cpu_max: Field<f64>,
}

/// `[[tenant]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Its unique name.
    pub name: Field<String>,
    /// Its component's file.
    pub component: Field<String>,
    /// The servers behind it.
    pub origin: Option<Spanned<Origin>>,
    /// The hosts it answers for.
    pub hosts: Field<Vec<Spanned<String>>>,
    /// The cell it belongs to.
    pub cell: Field<String>,
    /// How many workers it is pinned to, or the cores of those.
    pub cores: Field<TenantCores>,
    /// Its environment.
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
    /// What its guests read as configuration.
    pub config: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Whose programs its guests are made for.
    pub compat: Option<super::Compat>,
    /// Its part of a core beside others.
    pub weight: Field<i64>,
    /// The most that it gets of a core.
    pub cpu_share_max: Field<f64>,
    /// What its guests may connect to.
    pub egress: Egress,
    /// Its key-value stores.
    pub kv: Vec<Spanned<Store>>,
    /// Its secrets.
    pub secret: Vec<Spanned<Secret>>,
    /// Its budgets.
    pub limits: Limits,
}

/// `[tenant.origin]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// Their URLs.
    pub servers: Field<Vec<Spanned<String>>>,
    /// The host that they are asked for.
    pub host: Field<String>,
    /// What looks at requests on their way there.
    pub filter: Vec<Spanned<Filter>>,
}

/// `[[tenant.origin.filter]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Its module's file.
    pub component: Field<String>,
    /// When it is called.
    pub on: Field<Vec<Spanned<String>>>,
}

/// `[[tenant.kv]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// The name that guests open it by.
    pub name: Field<String>,
    /// What they may do.
    pub access: Option<super::Access>,
    /// The name that other tenants may have it by, too.
    pub shared: Field<String>,
    /// The server that keeps it.
    pub redis: Field<String>,
    /// Stands before its keys there.
    pub prefix: Field<String>,
    /// Whether keys there are what guests say.
    pub raw_keys: Option<bool>,
}

/// `[[tenant.secret]]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// Its name.
    pub name: Field<String>,
    /// The sealed file.
    pub file: Field<String>,
    /// The credential of systemd's.
    pub credential: Field<String>,
    /// When it begins to be in force.
    pub from: Field<toml::value::Datetime>,
}

/// `[data]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Where stores are kept.
    pub dir: Field<String>,
    /// The key that secrets are sealed with.
    pub secret_key: Field<String>,
    /// All caches together.
    pub cache_mib_max: Field<i64>,
    /// All origins' answers on disk together.
    pub http_cache_mib_max: Field<i64>,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The socket that commands are sent to.
    pub socket: Field<String>,
}

/// `[tenant.egress]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// Rules.
    pub allow: Field<Vec<Spanned<String>>>,
}

/// `cores` of a tenant.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of workers or a list of core numbers: [0, 1]"
)]
pub enum TenantCores {
    /// This many workers.
    Count(i64),
    /// The workers of these cores.
    List(Vec<i64>),
}

/// `[tenant.limits]`: see [`limits::TENANT`](super::limits::TENANT).
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)]
pub struct Limits {
    pub cpu_ms: Field<i64>,
    pub fuel: Field<i64>,
    pub wall_ms: Field<i64>,
    pub memory_mib: Field<i64>,
    pub concurrency: Field<i64>,
    pub queue: Field<i64>,
    pub queue_ms: Field<i64>,
    pub requests_per_s: Field<i64>,
    pub request_burst: Field<i64>,
    pub quarantine_failures: Field<i64>,
    pub quarantine_window_s: Field<i64>,
    pub quarantine_max_s: Field<i64>,
    pub request_body_bytes: Field<i64>,
    pub whole_body_bytes: Field<i64>,
    pub log_line_bytes: Field<i64>,
    pub log_bytes_per_request: Field<i64>,
    pub log_bytes_per_s: Field<i64>,
    pub log_burst_bytes: Field<i64>,
    pub subrequests: Field<i64>,
    pub subrequest_concurrency: Field<i64>,
    pub subrequest_bytes: Field<i64>,
    pub subrequest_connect_ms: Field<i64>,
    pub subrequest_first_byte_ms: Field<i64>,
    pub subrequest_between_bytes_ms: Field<i64>,
    pub kv_keys: Field<i64>,
    pub kv_bytes: Field<i64>,
    pub cache_bytes: Field<i64>,
    pub http_cache_bytes: Field<i64>,
    pub http_cache_object_bytes: Field<i64>,
    pub http_cache_disk_bytes: Field<i64>,
    pub data_operations_per_s: Field<i64>,
    pub handles: Field<i64>,
    pub hostcall_bytes: Field<i64>,
    pub table_elements: Field<i64>,
}
