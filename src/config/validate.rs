//! Turns a configuration file into a [`Host`], or into everything that is wrong with it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::errors::{Errors, Report};
use super::limits::{self, Limit};
use super::machine::{Machine, default_artifacts_dir, default_data_dir};
use super::profile_file::read_text;
use super::tenant;
use super::workers::Known;
use crate::isolation::Layer;

use super::{AccessLog, Data, Host, Http, Log, Network, Profile, raw, shape};

impl Host {
    /// Reads and checks a configuration file for this machine.
    ///
    /// # Errors
    /// Every problem found, not only the first, each with its line.
    pub fn load(path: &Path) -> Result<Host, Errors> {
        Host::load_for(path, &Machine::here())
    }

    /// Reads and checks a configuration file for the given machine.
    ///
    /// # Errors
    /// As [`Host::load`].
    pub fn load_for(path: &Path, machine: &Machine) -> Result<Host, Errors> {
        let text = read_text(path)?;
        let mut report = Report::new(path, &text);
        let Some(file) = shape::read::<raw::File>(&mut report, &text) else {
            report.finish(())?;
            return Err(Errors::flag("", "cannot be read", path.display(), "TOML"));
        };
        let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let dir = source.parent().unwrap_or(Path::new("/")).to_owned();
        let host = Checker {
            report: &mut report,
            dir: &dir,
        }
        .host(&file, source.clone(), machine);
        report.finish(host)
    }
}

/// What the checks of all sections share.
pub(super) struct Checker<'r, 't> {
    pub(super) report: &'r mut Report<'t>,
    /// Relative paths are resolved against it.
    pub(super) dir: &'r Path,
}

impl Checker<'_, '_> {
    fn host(&mut self, file: &raw::File, source: PathBuf, machine: &Machine) -> Host {
        let cores = self.cores(&file.workers, machine);
        let mut known = Known::default();
        let profile = self.profile(&file.workers, &mut known);
        let core_profiles = self.core_profiles(&file.workers, &cores, &mut known);
        let artifacts_dir = match &file.artifacts.dir {
            Some(dir) => self.dir.join(dir.get_ref()),
            None => default_artifacts_dir(),
        };
        let mut host = Host {
            source,
            listen_http: self.listen(&file.listen),
            cores,
            profile,
            core_profiles,
            artifacts_dir,
            http: self.http(&file.http),
            log: self.log(&file.log),
            require: self.isolation(&file.isolation),
            network: self.network(&file.egress),
            geo: self.geo(&file.geo),
            data: self.data(&file.data),
            admin_socket: self.admin(&file.admin),
            drain_ms: self.limit("workers", &file.workers.drain_ms, &limits::DRAIN_MS),
            cells: self.cells(file),
            tenants: Vec::new(),
        };
        self.cells_fit(file, &host);
        host.tenants = tenant::check_all(self, &file.tenant, &host.workers(), &host.cells);
        if host.data.http_cache_bytes_max == 0 {
            // Nobody has to ask for what is not there.
            for tenant in &mut host.tenants {
                tenant.limits.http_cache_disk_bytes = 0;
            }
        }
        host
    }

    fn admin(&mut self, raw: &raw::Admin) -> Option<PathBuf> {
        const KEY: &str = "admin.socket";
        let name = raw.socket.as_ref()?;
        let path = self.dir.join(name.get_ref());
        let report = &mut self.report;
        if path.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
            let right = format!("a path of at most {} bytes", limits::SOCKET_PATH_BYTES_MAX);
            report.value(name.span(), KEY, "too long for a socket", right);
        } else if !path.parent().is_some_and(Path::is_dir) {
            let right = "a file in a directory that exists";
            report.value(name.span(), KEY, "its directory does not exist", right);
        }
        Some(path)
    }

    fn listen(&mut self, raw: &raw::Listen) -> Vec<SocketAddr> {
        const KEY: &str = "listen.http";
        const RIGHT: &str = "an address and port: [\"127.0.0.1:8080\"] or [\"[::]:80\"]";
        let Some(list) = &raw.http else {
            self.missing(None, KEY, RIGHT);
            return Vec::new();
        };
        if list.get_ref().is_empty() && !self.report.mentions(KEY) {
            self.report.value(list.span(), KEY, "empty", RIGHT);
        }
        if list.get_ref().len() > limits::LISTEN_ADDRESSES_MAX {
            let right = format!("at most {}", limits::LISTEN_ADDRESSES_MAX);
            let report = &mut self.report;
            report.value(list.span(), KEY, "too many addresses", right);
        }
        let mut addresses = Vec::new();
        for text in list.get_ref() {
            match text.get_ref().parse::<SocketAddr>() {
                Err(_) => self.report.value(text.span(), KEY, "not an address", RIGHT),
                // Port 0 asks the kernel for a free one: it can be asked for twice.
                Ok(address) if address.port() != 0 && addresses.contains(&address) => {
                    self.report
                        .value(text.span(), KEY, "listed twice", "each address once");
                }
                Ok(address) => addresses.push(address),
            }
        }
        addresses
    }

    fn cores(&mut self, raw: &raw::Workers, machine: &Machine) -> Vec<usize> {
        const KEY: &str = "workers.cores";
        let most = format!("a list of at most {} cores", limits::WORKERS_MAX);
        let Some(spanned) = &raw.cores else {
            return machine.allowed.clone();
        };
        let numbers = match spanned.get_ref() {
            raw::WorkerCores::List(numbers) => numbers,
            raw::WorkerCores::Auto(_) => {
                if machine.allowed.len() > limits::WORKERS_MAX {
                    let wrong = format!("{} cores are too many", machine.allowed.len());
                    self.report.value(spanned.span(), KEY, wrong, most);
                }
                return machine.allowed.clone();
            }
        };
        let mut cores = Vec::new();
        for number in numbers {
            let span = spanned.span();
            match usize::try_from(*number) {
                Ok(core) if cores.contains(&core) => {
                    let wrong = format!("core {core} is listed twice");
                    self.report.value(span, KEY, wrong, "each core once");
                }
                Ok(core) if machine.online.contains(&core) => cores.push(core),
                _ => {
                    let wrong = format!("core {number} is not online here");
                    let right = format!("some of {}", ranges(&machine.online));
                    self.report.value(span, KEY, wrong, right);
                }
            }
        }
        if numbers.is_empty() {
            let right = "\"auto\" or at least one core";
            self.report.value(spanned.span(), KEY, "empty", right);
        }
        if cores.len() > limits::WORKERS_MAX {
            self.report
                .value(spanned.span(), KEY, "too many cores", most);
        }
        cores
    }

    fn http(&mut self, raw: &raw::Http) -> Http {
        let mut number = |value, limit: &Limit| self.limit("http", value, limit);
        let http = Http {
            head_timeout_ms: number(&raw.head_timeout_ms, &limits::HEAD_TIMEOUT_MS),
            idle_timeout_ms: number(&raw.idle_timeout_ms, &limits::IDLE_TIMEOUT_MS),
            body_timeout_ms: number(&raw.body_timeout_ms, &limits::BODY_TIMEOUT_MS),
            head_bytes_max: number(&raw.head_bytes_max, &limits::HEAD_BYTES_MAX) as usize,
            target_bytes_max: number(&raw.target_bytes_max, &limits::TARGET_BYTES_MAX) as usize,
            headers_max: number(&raw.headers_max, &limits::HEADERS_MAX) as usize,
            connections_max: number(&raw.connections_max, &limits::CONNECTIONS_MAX) as usize,
        };
        if http.target_bytes_max > http.head_bytes_max {
            let (name, value) = match (&raw.target_bytes_max, &raw.head_bytes_max) {
                (Some(target), _) => ("http.target_bytes_max", Some(target.span())),
                (None, head) => ("http.head_bytes_max", head.as_ref().map(Spanned::span)),
            };
            let right = "target_bytes_max at most head_bytes_max";
            if let Some(span) = value {
                let wrong = "a target is part of the head and cannot be longer";
                self.report.value(span, name, wrong, right);
            }
        }
        http
    }

    fn log(&mut self, raw: &raw::Log) -> Log {
        const KEY: &str = "log.file";
        let file = raw.file.as_ref().map(|name| self.dir.join(name.get_ref()));
        if let (Some(path), Some(name)) = (&file, &raw.file) {
            let report = &mut self.report;
            if path.is_dir() {
                report.value(name.span(), KEY, "a directory", "the path of a file");
            } else if !path.parent().is_some_and(Path::is_dir) {
                let right = "a file in a directory that exists";
                report.value(name.span(), KEY, "its directory does not exist", right);
            }
        }
        Log {
            access: raw.access.unwrap_or(AccessLog::Faults),
            file,
            tenants: self.log_dir(raw),
        }
    }

    fn isolation(&mut self, raw: &raw::Isolation) -> Vec<Layer> {
        const KEY: &str = "isolation.require";
        let Some(list) = &raw.require else {
            return Vec::new();
        };
        let mut layers = Vec::new();
        for name in list.get_ref() {
            match Layer::named(name.get_ref()) {
                Some(layer) if layers.contains(&layer) => {
                    let right = "each layer once";
                    self.report.value(name.span(), KEY, "listed twice", right);
                }
                Some(layer) => layers.push(layer),
                None => {
                    let right = format!("some of {}", Layer::ALL.map(Layer::name).join(", "));
                    self.report.value(name.span(), KEY, "no such layer", right);
                }
            }
        }
        layers
    }

    fn data(&mut self, raw: &raw::Data) -> Data {
        let mib = self.limit("data", &raw.cache_mib_max, &limits::CACHE_MIB_MAX);
        let http_cache_mib =
            self.limit("data", &raw.http_cache_mib_max, &limits::HTTP_CACHE_MIB_MAX);
        let secret_key = raw.secret_key.as_ref().map(|name| {
            let path = self.dir.join(name.get_ref());
            if let Err(error) = std::fs::metadata(&path) {
                let wrong = format!("{}: {error}", path.display());
                let right = "a file that `skep secret new-key` has written";
                self.report
                    .value(name.span(), "data.secret_key", wrong, right);
            }
            path
        });
        Data {
            dir: match &raw.dir {
                Some(dir) => self.dir.join(dir.get_ref()),
                None => default_data_dir(),
            },
            cache_bytes_max: mib << 20,
            http_cache_bytes_max: http_cache_mib << 20,
            secret_key,
            is_lasting: true,
        }
    }

    fn network(&mut self, raw: &raw::Network) -> Network {
        const KEY: &str = "egress.resolvers";
        const RIGHT: &str = "an address and port: [\"127.0.0.53:53\"]";
        let mut resolvers = Vec::new();
        if let Some(list) = &raw.resolvers {
            for text in list.get_ref() {
                match text.get_ref().parse::<SocketAddr>() {
                    Ok(address) => resolvers.push(address),
                    Err(_) => self.report.value(text.span(), KEY, "not an address", RIGHT),
                }
            }
            if list.get_ref().is_empty() && !self.report.mentions(KEY) {
                self.report.value(list.span(), KEY, "empty", RIGHT);
            }
            if resolvers.len() > limits::EGRESS_RESOLVERS_MAX {
                let right = format!("at most {}", limits::EGRESS_RESOLVERS_MAX);
                self.report
                    .value(list.span(), KEY, "too many servers", right);
            }
        }
        let ca_file = raw.ca_file.as_ref().map(|name| {
            let path = self.dir.join(name.get_ref());
            if let Err(wrong) = super::roots(Some(&path)) {
                let right = "a file of certificates in PEM";
                self.report
                    .value(name.span(), "egress.ca_file", wrong, right);
            }
            path
        });
        Network { resolvers, ca_file }
    }

    /// A number within its limit's range, or its default.
    pub(super) fn limit(&mut self, section: &str, raw: &raw::Field<i64>, limit: &Limit) -> u64 {
        let Some(value) = raw else {
            return limit.default;
        };
        match u64::try_from(*value.get_ref()) {
            Ok(number) if limit.allows(number) => number,
            _ => {
                let key = format!("{section}.{}", limit.name);
                let right = format!("{} to {} {}", limit.min, limit.max, limit.unit);
                self.report.value(value.span(), key, "out of range", right);
                limit.default
            }
        }
    }

    /// Says that a key is missing, unless it is there and wrong in its shape.
    pub(super) fn missing(
        &mut self,
        near: Option<std::ops::Range<usize>>,
        key: &str,
        right: impl Into<String>,
    ) {
        if !self.report.mentions(key) {
            self.report.place(near, key, "missing", right);
        }
    }
}

impl Profile {
    /// Allows the largest memories and is otherwise nothing: tenants are checked against it after
    /// the profile was refused, so that no error follows from another.
    pub(super) fn lenient() -> Profile {
        Profile {
            slots: 2,
            running_max: 1,
            memory_mib_max: limits::MEMORY_MIB.max,
            memory_reservation_mib: limits::MEMORY_MIB.max,
            memory_guard_kib: 0,
            memory_protection_keys: 0,
            memory_keep_resident_kib: 0,
            table_keep_resident_kib: 0,
            pagemap_scan: false,
            warm_slots: 0,
            decommit_batch: 1,
            wasm_stack_kib: 0,
            async_stack_kib: 0,
            slice_us: 1,
            tick_us: 1,
            clock_us: 0,
            ring_entries: 1,
            read_buffer_bytes: 1,
            body_chunk_bytes: 1,
        }
    }
}

/// Writes ascending core numbers as the kernel does: `0-3, 8`.
pub(super) fn ranges(cores: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => runs.push((*core, *core)),
        }
    }
    let texts: Vec<_> = runs
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    texts.join(", ")
}

/// Where a name was first used.
pub(super) type Seen<K> = HashMap<K, usize>;
