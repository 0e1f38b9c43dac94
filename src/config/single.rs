//! Hosts without a configuration file: one application, or the demo's four.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::errors::Errors;
use super::limits::{self, Limit};
use super::machine::{Machine, default_artifacts_dir, default_data_dir};
use super::{
    AccessLog, Cell, Compat, Cores, DEFAULT_CELL, Data, Egress, GeoPlaces, Host, HostPattern, Http,
    Limits, Log, Network, Profile, Share, Tenant, component, tenant,
};

/// Workers of the demo at most: it shows isolation and not speed.
const DEMO_WORKERS_MAX: usize = 4;

/// Budgets that the command line sets; `None` leaves the default of a single application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// CPU time of one request, in milliseconds.
    pub cpu_ms: Option<u64>,
    /// Wall time of one request, in milliseconds.
    pub wall_ms: Option<u64>,
    /// Memory of one instance, in MiB.
    pub memory_mib: Option<u64>,
}

impl Host {
    /// One application that answers for every host, on one worker, with generous budgets: 30 s of
    /// CPU, 10 minutes, 512 MiB.
    ///
    /// # Errors
    /// Everything wrong, named by the command-line flag it came from.
    pub fn single(
        component: PathBuf,
        address: SocketAddr,
        env: BTreeMap<String, String>,
        budget: Budget,
        egress: Egress,
    ) -> Result<Host, Errors> {
        let component = absolute(component);
        check_component(&component)?;
        check_env(&env)?;
        let profile = Profile::find("local", Path::new(""))?;
        let limits = Limits {
            cpu_ms: flag("--cpu-ms", budget.cpu_ms, 30_000, &limits::CPU_MS)?,
            wall_ms: flag("--wall-ms", budget.wall_ms, 600_000, &limits::WALL_MS)?,
            memory_mib: flag(
                "--memory-mib",
                budget.memory_mib,
                profile.memory_mib_max,
                &Limit {
                    max: profile.memory_mib_max,
                    ..limits::MEMORY_MIB
                },
            )?,
            // Whoever writes a program wants to see each of its failures.
            quarantine_failures: 0,
            request_body_bytes: limits::REQUEST_BODY_BYTES.max,
            log_bytes_per_request: limits::LOG_BYTES_PER_REQUEST.max as usize,
            ..Limits::default()
        };
        let tenant = Tenant {
            name: "app".to_owned(),
            component: Some(component.clone()),
            hosts: vec![HostPattern::Any],
            env,
            egress,
            limits,
            ..Tenant::default()
        };
        Ok(local_host(component, address, 1, profile, vec![tenant]))
    }

    /// The demo: `hello`, `echo`, `spin` and `trap`, each a tenant of that name whose component is
    /// `dir/NAME.wasm` and whose host is `NAME.localhost`.
    ///
    /// # Errors
    /// Components that are missing or broken.
    pub fn for_demo(dir: &Path, address: SocketAddr) -> Result<Host, Errors> {
        let profile = Profile::find("local", Path::new(""))?;
        let mut tenants = Vec::new();
        for name in ["hello", "echo", "spin", "trap"] {
            let component = absolute(dir.join(name).with_extension("wasm"));
            check_component(&component)?;
            tenants.push(Tenant {
                name: name.to_owned(),
                component: Some(component),
                hosts: vec![HostPattern::Exact(format!("{name}.localhost"))],
                ..Tenant::default()
            });
        }
        let source = absolute(dir.to_owned());
        let workers = DEMO_WORKERS_MAX;
        Ok(local_host(source, address, workers, profile, tenants))
    }
}

/// A host on this machine with at most `workers_max` workers and defaults for everything else.
fn local_host(
    source: PathBuf,
    address: SocketAddr,
    workers_max: usize,
    profile: Profile,
    tenants: Vec<Tenant>,
) -> Host {
    let mut cores = Machine::here().allowed;
    cores.truncate(workers_max);
    Host {
        source,
        listen_http: vec![address],
        cores,
        profile,
        core_profiles: BTreeMap::new(),
        artifacts_dir: default_artifacts_dir(),
        http: Http::default(),
        log: Log {
            access: AccessLog::Faults,
            file: None,
            tenants: None,
        },
        require: Vec::new(),
        network: Network::default(),
        geo: GeoPlaces::default(),
        data: Data {
            dir: default_data_dir(),
            cache_bytes_max: limits::CACHE_MIB_MAX.default << 20,
            http_cache_bytes_max: 0,
            secret_key: None,
            is_lasting: false,
        },
        admin_socket: None,
        drain_ms: limits::DRAIN_MS.default,
        cells: vec![Cell::default()],
        tenants,
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn check_component(path: &Path) -> Result<(), Errors> {
    component::check(path)
        .map_err(|(wrong, right)| Errors::flag("component", wrong, path.display(), right))
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), Errors> {
    const FLAG: &str = "--env";
    for (key, value) in env {
        if !tenant::is_variable(key) {
            let wrong = "not a variable's name";
            return Err(Errors::flag(FLAG, wrong, key, tenant::VARIABLE_RIGHT));
        }
        if !tenant::is_variable_value(value) {
            let wrong = tenant::VALUE_WRONG;
            return Err(Errors::flag(FLAG, wrong, key, tenant::VALUE_RIGHT));
        }
    }
    tenant::check_env_size(env)
        .map_err(|(wrong, right)| Errors::flag(FLAG, wrong, env.len(), right))
}

/// The flag's value within its limit's range, or the default.
fn flag(name: &str, value: Option<u64>, default: u64, limit: &Limit) -> Result<u64, Errors> {
    match value {
        None => Ok(default),
        Some(value) if limit.allows(value) => Ok(value),
        Some(value) => {
            let right = format!("{} to {} {}", limit.min, limit.max, limit.unit);
            Err(Errors::flag(name, "out of range", value, right))
        }
    }
}

impl Default for Limits {
    /// The defaults of [`limits::TENANT`].
    fn default() -> Limits {
        Limits {
            cpu_ms: limits::CPU_MS.default,
            fuel: limits::FUEL.default,
            wall_ms: limits::WALL_MS.default,
            memory_mib: limits::MEMORY_MIB.default,
            concurrency: limits::CONCURRENCY.default as usize,
            queue: limits::QUEUE.default as usize,
            queue_ms: limits::QUEUE_MS.default,
            requests_per_s: limits::REQUESTS_PER_S.default,
            request_burst: limits::REQUEST_BURST.default,
            quarantine_failures: limits::QUARANTINE_FAILURES.default as usize,
            quarantine_window_s: limits::QUARANTINE_WINDOW_S.default,
            quarantine_max_s: limits::QUARANTINE_MAX_S.default,
            request_body_bytes: limits::REQUEST_BODY_BYTES.default,
            whole_body_bytes: limits::WHOLE_BODY_BYTES.default as usize,
            log_line_bytes: limits::LOG_LINE_BYTES.default as usize,
            log_bytes_per_request: limits::LOG_BYTES_PER_REQUEST.default as usize,
            log_bytes_per_s: limits::LOG_BYTES_PER_S.default,
            log_burst_bytes: limits::LOG_BURST_BYTES.default as usize,
            subrequests: limits::SUBREQUESTS.default as usize,
            subrequest_concurrency: limits::SUBREQUEST_CONCURRENCY.default as usize,
            subrequest_bytes: limits::SUBREQUEST_BYTES.default,
            subrequest_connect_ms: limits::SUBREQUEST_CONNECT_MS.default,
            subrequest_first_byte_ms: limits::SUBREQUEST_FIRST_BYTE_MS.default,
            subrequest_between_bytes_ms: limits::SUBREQUEST_BETWEEN_BYTES_MS.default,
            kv_keys: limits::KV_KEYS.default,
            kv_bytes: limits::KV_BYTES.default,
            cache_bytes: limits::CACHE_BYTES.default,
            http_cache_bytes: limits::HTTP_CACHE_BYTES.default,
            http_cache_object_bytes: limits::HTTP_CACHE_OBJECT_BYTES.default,
            http_cache_disk_bytes: 0,
            data_operations_per_s: limits::DATA_OPERATIONS_PER_S.default,
            handles: limits::HANDLES.default as usize,
            hostcall_bytes: limits::HOSTCALL_BYTES.default as usize,
            table_elements: limits::TABLE_ELEMENTS.default as usize,
        }
    }
}

impl Default for Tenant {
    /// One without a name, a component or a host, and with every default.
    fn default() -> Tenant {
        Tenant {
            name: String::new(),
            component: None,
            origin: None,
            hosts: Vec::new(),
            cell: DEFAULT_CELL.to_owned(),
            cores: Cores::Count(1),
            env: BTreeMap::new(),
            config: BTreeMap::new(),
            compat: Compat::default(),
            share: Share::default(),
            egress: Egress::default(),
            stores: Vec::new(),
            secrets: Vec::new(),
            limits: Limits::default(),
        }
    }
}

impl Default for Share {
    /// The default weight and no ceiling.
    fn default() -> Share {
        Share {
            weight: limits::WEIGHT.default,
            cpu_share_max_permille: None,
        }
    }
}

impl Default for Http {
    /// The defaults of [`limits::HTTP`].
    fn default() -> Http {
        Http {
            head_timeout_ms: limits::HEAD_TIMEOUT_MS.default,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS.default,
            body_timeout_ms: limits::BODY_TIMEOUT_MS.default,
            head_bytes_max: limits::HEAD_BYTES_MAX.default as usize,
            target_bytes_max: limits::TARGET_BYTES_MAX.default as usize,
            headers_max: limits::HEADERS_MAX.default as usize,
            connections_max: limits::CONNECTIONS_MAX.default as usize,
        }
    }
}
