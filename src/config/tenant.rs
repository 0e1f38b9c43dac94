//! Checks of `[[tenant]]` sections.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::limits::{self, Limit};
use super::validate::{Checker, Seen, ranges};
use super::workers::{Worker, room_for};
use super::{
    Cell, Cores, DEFAULT_CELL, Egress, EgressError, EgressRule, HostPattern, Limits, Share, Tenant,
    component, raw,
};

/// Checks every tenant, and that names and hosts are used once.
pub(super) fn check_all(
    checker: &mut Checker<'_, '_>,
    raw: &[Spanned<raw::Tenant>],
    workers: &[Worker],
    cells: &[Cell],
) -> Vec<Tenant> {
    let cores: Vec<usize> = workers.iter().map(|worker| worker.core).collect();
    if let Some(first_over) = raw.get(limits::TENANTS_MAX) {
        let wrong = format!("{} tenants are too many", raw.len());
        let right = format!("at most {}", limits::TENANTS_MAX);
        let report = &mut checker.report;
        report.place(Some(first_over.span()), "tenant", wrong, right);
    }
    let mut names = Seen::new();
    let mut hosts = Seen::new();
    let mut tenants = Vec::with_capacity(raw.len());
    for (index, entry) in raw.iter().enumerate() {
        let raw = entry.get_ref();
        let mut one = One {
            section: section(index, raw),
            place: entry.span(),
            checker,
        };
        let tenant = Tenant {
            name: one.name(raw, &mut names),
            component: one.component(raw),
            origin: one.origin(raw.origin.as_ref()),
            hosts: one.hosts(raw, &mut hosts),
            cell: one.cell(raw, cells),
            cores: one.cores(raw, &cores),
            env: one.env(raw),
            config: one.config(raw),
            compat: raw.compat.unwrap_or_default(),
            share: one.share(raw),
            egress: one.egress(raw),
            stores: one.stores(&raw.kv),
            secrets: one.secrets(&raw.secret),
            limits: one.limits(&raw.limits),
        };
        one.room(&raw.limits, &tenant, workers);
        tenants.push(tenant);
    }
    tenants
}

/// How a tenant is called in messages.
fn section(index: usize, raw: &raw::Tenant) -> String {
    match &raw.name {
        Some(name) if !name.get_ref().is_empty() => format!("tenant.{}", name.get_ref()),
        _ => format!("tenant[{index}]"),
    }
}

/// The checks of one tenant.
pub(super) struct One<'c, 'r, 't> {
    section: String,
    place: Range<usize>,
    pub(super) checker: &'c mut Checker<'r, 't>,
}

impl One<'_, '_, '_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }

    pub(super) fn wrong(
        &mut self,
        span: Range<usize>,
        key: &str,
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) {
        let key = self.key(key);
        self.checker.report.value(span, key, wrong, right);
    }

    fn missing(&mut self, key: &str, right: &str) {
        let key = self.key(key);
        self.checker.missing(Some(self.place.clone()), &key, right);
    }

    /// Notes the first use of something; complains about the second.
    fn once<K: Hash + Eq>(&mut self, seen: &mut Seen<K>, key: &str, what: K, span: Range<usize>) {
        match seen.entry(what) {
            Entry::Vacant(entry) => {
                entry.insert(span.start);
            }
            Entry::Occupied(entry) => {
                let line = self.checker.report.line(*entry.get());
                let right = "one that no other tenant has";
                self.wrong(span, key, format!("already used in line {line}"), right);
            }
        }
    }

    fn name(&mut self, raw: &raw::Tenant, names: &mut Seen<String>) -> String {
        let Some(name) = &raw.name else {
            self.missing("name", NAME_RIGHT);
            return String::new();
        };
        if is_name(name.get_ref()) {
            self.once(names, "name", name.get_ref().clone(), name.span());
        } else {
            self.wrong(name.span(), "name", "not a tenant's name", NAME_RIGHT);
        }
        name.get_ref().clone()
    }

    fn component(&mut self, raw: &raw::Tenant) -> Option<PathBuf> {
        let Some(name) = &raw.component else {
            if raw.origin.is_none() {
                self.missing(
                    "component",
                    "the path of a component, relative to this file, or an origin",
                );
            }
            return None;
        };
        if raw.origin.is_some() {
            let wrong = "a component beside an origin";
            let right =
                "one of them; what looks at requests on their way is an [[tenant.origin.filter]]";
            self.wrong(name.span(), "component", wrong, right);
        }
        Some(self.module("component", name))
    }

    /// Checks the file of a program.
    pub(super) fn module(&mut self, key: &str, name: &Spanned<String>) -> PathBuf {
        let path = self.checker.dir.join(name.get_ref());
        if let Err((wrong, right)) = component::check(&path) {
            self.wrong(name.span(), key, wrong, right);
        }
        path
    }

    fn hosts(&mut self, raw: &raw::Tenant, seen: &mut Seen<HostPattern>) -> Vec<HostPattern> {
        const RIGHT: &str = "at least one host: [\"shop.example\", \"*.shop.example\"]";
        let Some(list) = &raw.hosts else {
            self.missing("hosts", RIGHT);
            return Vec::new();
        };
        if list.get_ref().is_empty() && !self.checker.report.mentions(&self.key("hosts")) {
            self.wrong(list.span(), "hosts", "empty", RIGHT);
        }
        if list.get_ref().len() > limits::HOSTS_PER_TENANT_MAX {
            let right = format!("at most {}", limits::HOSTS_PER_TENANT_MAX);
            self.wrong(list.span(), "hosts", "too many hosts", right);
        }
        let mut hosts = Vec::with_capacity(list.get_ref().len());
        for text in list.get_ref() {
            match HostPattern::parse(text.get_ref()) {
                Ok(host) => {
                    self.once(seen, "hosts", host.clone(), text.span());
                    hosts.push(host);
                }
                Err(error) => self.wrong(text.span(), "hosts", error.wrong, error.right),
            }
        }
        hosts
    }

    fn cell(&mut self, raw: &raw::Tenant, cells: &[Cell]) -> String {
        let Some(name) = &raw.cell else {
            return DEFAULT_CELL.to_owned();
        };
        if !is_name(name.get_ref()) {
            self.wrong(name.span(), "cell", "not a cell's name", NAME_RIGHT);
        } else if !cells.iter().any(|cell| cell.name == *name.get_ref()) {
            let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            let right = format!("the name of a [[cell]]: {}", names.join(", "));
            self.wrong(name.span(), "cell", "no such cell", right);
        }
        name.get_ref().clone()
    }

    fn cores(&mut self, raw: &raw::Tenant, workers: &[usize]) -> Cores {
        let Some(cores) = &raw.cores else {
            return Cores::Count(1);
        };
        let span = cores.span();
        // Without valid workers there is nothing to compare with.
        let known = !workers.is_empty();
        match cores.get_ref() {
            raw::TenantCores::Count(count) => match usize::try_from(*count) {
                Ok(count) if count >= 1 && (count <= workers.len() || !known) => {
                    Cores::Count(count)
                }
                _ => {
                    let wrong = "not a number of workers of this host";
                    let right = format!("1 to {}, the number of workers.cores", workers.len());
                    self.wrong(span, "cores", wrong, right);
                    Cores::Count(1)
                }
            },
            raw::TenantCores::List(numbers) => self.core_list(span, numbers, workers),
        }
    }

    fn core_list(&mut self, span: Range<usize>, numbers: &[i64], workers: &[usize]) -> Cores {
        let mut cores = Vec::with_capacity(numbers.len());
        for number in numbers {
            let core = usize::try_from(*number).ok();
            match core.filter(|core| workers.contains(core) || workers.is_empty()) {
                Some(core) if cores.contains(&core) => {
                    let wrong = format!("core {core} is listed twice");
                    self.wrong(span.clone(), "cores", wrong, "each core once");
                }
                Some(core) => cores.push(core),
                None => {
                    let wrong = format!("core {number} has no worker");
                    let right = format!("some of workers.cores: {}", ranges(workers));
                    self.wrong(span.clone(), "cores", wrong, right);
                }
            }
        }
        if numbers.is_empty() {
            self.wrong(span, "cores", "empty", "a number, or at least one core");
        }
        Cores::List(cores)
    }

    fn env(&mut self, raw: &raw::Tenant) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for (key, value) in &raw.env {
            let name = format!("env.{}", key.get_ref());
            if !is_variable(key.get_ref()) {
                self.wrong(key.span(), &name, "not a variable's name", VARIABLE_RIGHT);
            }
            if !is_variable_value(value.get_ref()) {
                self.wrong(value.span(), &name, VALUE_WRONG, VALUE_RIGHT);
            }
            env.insert(key.get_ref().clone(), value.get_ref().clone());
        }
        if let Some((first, _)) = raw.env.first_key_value()
            && let Err((wrong, right)) = check_env_size(&env)
        {
            let key = self.key("env");
            let report = &mut self.checker.report;
            report.place(Some(first.span()), key, wrong, right);
        }
        env
    }

    fn config(&mut self, raw: &raw::Tenant) -> BTreeMap<String, String> {
        let mut config = BTreeMap::new();
        for (key, value) in &raw.config {
            if !is_config_name(key.get_ref()) {
                self.wrong(key.span(), "config", "not a name", CONFIG_NAME_RIGHT);
                continue;
            }
            if !is_variable_value(value.get_ref()) {
                let name = format!("config.{}", key.get_ref());
                self.wrong(value.span(), &name, VALUE_WRONG, VALUE_RIGHT);
            }
            config.insert(key.get_ref().clone(), value.get_ref().clone());
        }
        let environment = raw
            .env
            .iter()
            .map(|(key, value)| (key.get_ref(), value.get_ref()));
        let bytes: usize = environment
            .chain(&config)
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if let Some((first, _)) = raw.config.first_key_value() {
            let wrong = match (config.len() > limits::ENV_VARIABLES_MAX, bytes) {
                (true, _) => format!("{} values are too many", config.len()),
                (false, over) if over > limits::ENV_BYTES_MAX => {
                    format!("names and values, with those of env, have {bytes} bytes")
                }
                _ => return config,
            };
            let right = format!(
                "at most {} values and {} bytes",
                limits::ENV_VARIABLES_MAX,
                limits::ENV_BYTES_MAX
            );
            let key = self.key("config");
            let report = &mut self.checker.report;
            report.place(Some(first.span()), key, wrong, right);
        }
        config
    }

    fn egress(&mut self, raw: &raw::Tenant) -> Egress {
        let Some(list) = &raw.egress.allow else {
            return Egress::default();
        };
        if list.get_ref().len() > limits::EGRESS_RULES_MAX {
            let right = format!("at most {}", limits::EGRESS_RULES_MAX);
            self.wrong(list.span(), "egress.allow", "too many rules", right);
        }
        let mut allow: Vec<EgressRule> = Vec::with_capacity(list.get_ref().len());
        for text in list.get_ref() {
            match text.get_ref().parse() {
                Ok(rule) if allow.contains(&rule) => {
                    self.wrong(
                        text.span(),
                        "egress.allow",
                        "listed twice",
                        "each rule once",
                    );
                }
                Ok(rule) => allow.push(rule),
                Err(EgressError { wrong, right }) => {
                    self.wrong(text.span(), "egress.allow", wrong, right);
                }
            }
        }
        Egress { allow }
    }

    fn share(&mut self, raw: &raw::Tenant) -> Share {
        let section = self.section.clone();
        let weight = self.checker.limit(&section, &raw.weight, &limits::WEIGHT);
        let cpu_share_max_permille = raw.cpu_share_max.as_ref().and_then(|share| {
            let permille = (share.get_ref() * 1000.0).round();
            if (limits::CPU_SHARE_MIN_PERMILLE as f64..=1000.0).contains(&permille) {
                return Some(permille as u64);
            }
            let right = "0.01 to 1.0, a fraction of a core";
            self.wrong(share.span(), "cpu_share_max", "out of range", right);
            None
        });
        Share {
            weight,
            cpu_share_max_permille,
        }
    }

    fn limits(&mut self, raw: &raw::Limits) -> Limits {
        let section = self.key("limits");
        let mut number =
            |value, limit: &Limit| -> u64 { self.checker.limit(&section, value, limit) };
        let limits = Limits {
            cpu_ms: number(&raw.cpu_ms, &limits::CPU_MS),
            fuel: number(&raw.fuel, &limits::FUEL),
            wall_ms: number(&raw.wall_ms, &limits::WALL_MS),
            memory_mib: number(&raw.memory_mib, &limits::MEMORY_MIB),
            concurrency: number(&raw.concurrency, &limits::CONCURRENCY) as usize,
            queue: number(&raw.queue, &limits::QUEUE) as usize,
            queue_ms: number(&raw.queue_ms, &limits::QUEUE_MS),
            requests_per_s: number(&raw.requests_per_s, &limits::REQUESTS_PER_S),
            request_burst: number(&raw.request_burst, &limits::REQUEST_BURST),
            quarantine_failures: number(&raw.quarantine_failures, &limits::QUARANTINE_FAILURES)
                as usize,
            quarantine_window_s: number(&raw.quarantine_window_s, &limits::QUARANTINE_WINDOW_S),
            quarantine_max_s: number(&raw.quarantine_max_s, &limits::QUARANTINE_MAX_S),
            request_body_bytes: number(&raw.request_body_bytes, &limits::REQUEST_BODY_BYTES),
            whole_body_bytes: number(&raw.whole_body_bytes, &limits::WHOLE_BODY_BYTES) as usize,
            log_line_bytes: number(&raw.log_line_bytes, &limits::LOG_LINE_BYTES) as usize,
            log_bytes_per_request: number(
                &raw.log_bytes_per_request,
                &limits::LOG_BYTES_PER_REQUEST,
            ) as usize,
            log_bytes_per_s: number(&raw.log_bytes_per_s, &limits::LOG_BYTES_PER_S),
            log_burst_bytes: number(&raw.log_burst_bytes, &limits::LOG_BURST_BYTES) as usize,
            subrequests: number(&raw.subrequests, &limits::SUBREQUESTS) as usize,
            subrequest_concurrency: number(
                &raw.subrequest_concurrency,
                &limits::SUBREQUEST_CONCURRENCY,
            ) as usize,
            subrequest_bytes: number(&raw.subrequest_bytes, &limits::SUBREQUEST_BYTES),
            subrequest_connect_ms: number(
                &raw.subrequest_connect_ms,
                &limits::SUBREQUEST_CONNECT_MS,
            ),
            subrequest_first_byte_ms: number(
                &raw.subrequest_first_byte_ms,
                &limits::SUBREQUEST_FIRST_BYTE_MS,
            ),
            subrequest_between_bytes_ms: number(
                &raw.subrequest_between_bytes_ms,
                &limits::SUBREQUEST_BETWEEN_BYTES_MS,
            ),
            kv_keys: number(&raw.kv_keys, &limits::KV_KEYS),
            kv_bytes: number(&raw.kv_bytes, &limits::KV_BYTES),
            cache_bytes: number(&raw.cache_bytes, &limits::CACHE_BYTES),
            http_cache_bytes: number(&raw.http_cache_bytes, &limits::HTTP_CACHE_BYTES),
            http_cache_object_bytes: number(
                &raw.http_cache_object_bytes,
                &limits::HTTP_CACHE_OBJECT_BYTES,
            ),
            http_cache_disk_bytes: number(
                &raw.http_cache_disk_bytes,
                &limits::HTTP_CACHE_DISK_BYTES,
            ),
            data_operations_per_s: number(
                &raw.data_operations_per_s,
                &limits::DATA_OPERATIONS_PER_S,
            ),
            handles: number(&raw.handles, &limits::HANDLES) as usize,
            hostcall_bytes: number(&raw.hostcall_bytes, &limits::HOSTCALL_BYTES) as usize,
            table_elements: number(&raw.table_elements, &limits::TABLE_ELEMENTS) as usize,
        };
        if limits.cpu_ms > limits.wall_ms {
            let (name, field) = match (&raw.cpu_ms, &raw.wall_ms) {
                (Some(cpu), _) => ("limits.cpu_ms", Some(cpu.span())),
                (None, wall) => ("limits.wall_ms", wall.as_ref().map(Spanned::span)),
            };
            if let Some(span) = field {
                let wrong = format!(
                    "cpu_ms {} exceeds wall_ms {}",
                    limits.cpu_ms, limits.wall_ms
                );
                self.wrong(span, name, wrong, "cpu_ms at most wall_ms");
            }
        }
        limits
    }

    /// Complains when no worker, or too few, can hold the tenant's memory.
    fn room(&mut self, raw: &raw::Limits, tenant: &Tenant, workers: &[Worker]) {
        let room = room_for(workers, &tenant.cores, tenant.limits.memory_mib);
        let Err((wrong, right)) = room else {
            return;
        };
        let key = self.key("limits.memory_mib");
        let report = &mut self.checker.report;
        match &raw.memory_mib {
            Some(value) => report.value(value.span(), key, wrong, right),
            // The default can be above a small profile's maximum, too: the tenant is then named.
            None => report.place(Some(self.place.clone()), key, wrong, right),
        }
    }
}

pub(crate) const NAME_RIGHT: &str =
    "1 to 63 lower-case letters, digits and inner hyphens, starting with a letter";

/// Lower-case letters, digits and inner hyphens, a letter first, at most 63 bytes.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= limits::TENANT_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(allowed)
        && !name.ends_with('-')
}

pub(super) const VARIABLE_RIGHT: &str = "letters, digits and `_`, not starting with a digit";
pub(super) const VALUE_WRONG: &str = "a control character";
pub(super) const VALUE_RIGHT: &str = "text; of control characters only tab and newline";

/// Whether this can name an environment variable (POSIX.1 base definitions, section 8.1).
pub(super) fn is_variable(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    !name.is_empty() && !starts_with_digit && name.bytes().all(allowed)
}

const CONFIG_NAME_RIGHT: &str = "1 to 256 bytes of text without control characters";

fn is_config_name(name: &str) -> bool {
    let plain = |name: &str| !name.bytes().any(|byte| byte.is_ascii_control());
    (1..=limits::CONFIG_NAME_BYTES_MAX).contains(&name.len()) && plain(name)
}

/// Whether this can be an environment variable's value. Other control characters would take six
/// bytes each in a control message.
pub(super) fn is_variable_value(value: &str) -> bool {
    let allowed = |byte: u8| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r');
    value.bytes().all(allowed)
}

/// Checks how many variables there are and how long they are together.
pub(super) fn check_env_size(env: &BTreeMap<String, String>) -> Result<(), (String, String)> {
    if env.len() > limits::ENV_VARIABLES_MAX {
        let right = format!("at most {}", limits::ENV_VARIABLES_MAX);
        return Err((format!("{} variables are too many", env.len()), right));
    }
    let bytes: usize = env.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > limits::ENV_BYTES_MAX {
        let right = format!("at most {} bytes", limits::ENV_BYTES_MAX);
        return Err((format!("names and values have {bytes} bytes"), right));
    }
    Ok(())
}
