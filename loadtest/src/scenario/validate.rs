//! From what a scenario file says to what it means; every mistake is reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::text::{self, Wrong};
use super::{
    Action, Arrival, Body, Deed, Expect, Objective, Pace, Phase, Population, Replay, Request,
    Scenario, Server, Weights, Whom, raw,
};
use crate::limits;
use crate::replay;
use crate::results::PhaseKind;
use crate::schedule::Shape;

/// Connections of a population that names none.
const CONNECTIONS_DEFAULT: usize = 64;

/// Timeout of a population that names none, in milliseconds.
const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// What the command line adds to a scenario file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Values of variables.
    pub variables: BTreeMap<String, String>,
    /// Where requests go, instead of the file's own target.
    pub target: Option<String>,
    /// Multiplies every open-loop rate.
    pub load: Option<f64>,
    /// Multiplies the length of every phase.
    pub stretch: Option<f64>,
    /// What the random numbers begin with.
    pub seed: Option<u64>,
}

/// Reads and validates a scenario file. `work` is a directory for what its server needs; in the file it
/// is `${dir}`, and the file's own directory is `${here}`.
///
/// # Errors
/// One line for every mistake: file, key, what is wrong, what would be right.
pub fn load(path: &Path, work: &Path, settings: &Settings) -> Result<Scenario, Wrong> {
    let file = path.display().to_string();
    let here = path
        .canonicalize()
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    of_text(&file, &text::read(path)?, here, work, settings)
}

/// Validates the text of a scenario; messages call it `file`, and its own directory is `here`.
///
/// # Errors
/// As [`load`].
pub fn of_text(
    file: &str,
    text: &str,
    here: PathBuf,
    work: &Path,
    settings: &Settings,
) -> Result<Scenario, Wrong> {
    let mut variables = settings.variables.clone();
    variables.insert("here".to_owned(), here.display().to_string());
    variables.insert("dir".to_owned(), work.display().to_string());
    let filled = text::substitute(file, text, &variables)?;
    // What results quote names no directory: `dir` is another one in each run, and runs are compared.
    for name in ["here", "dir"] {
        variables.insert(name.to_owned(), format!("${{{name}}}"));
    }
    let text = text::substitute(file, text, &variables)?;
    let file = file.to_owned();
    let raw: raw::Scenario = text::parse(&file, &filled)?;
    let mut check = Check {
        file,
        here,
        wrong: Vec::new(),
        stretch: settings.stretch.unwrap_or(1.0),
        load: settings.load.unwrap_or(1.0),
    };
    let scenario = check.scenario(raw, text, work, settings);
    match scenario {
        Some(scenario) if check.wrong.is_empty() => Ok(scenario),
        _ => Err(Wrong(check.wrong)),
    }
}

/// What validation carries along.
struct Check {
    file: String,
    here: PathBuf,
    wrong: Vec<String>,
    /// What every time within a phase is multiplied with.
    stretch: f64,
    /// What every rate is multiplied with.
    load: f64,
}

impl Check {
    fn complain(&mut self, at: &str, what: impl std::fmt::Display) {
        self.wrong.push(format!("{}: {at}: {what}", self.file));
    }

    /// The value, when it is within limits; a complaint and none otherwise.
    fn number(&mut self, at: &str, value: f64, min: f64, max: f64, unit: &str) -> Option<f64> {
        if value >= min && value <= max {
            return Some(value);
        }
        self.complain(at, format_args!("{value}; has to be {min} to {max} {unit}"));
        None
    }

    fn scenario(
        &mut self,
        raw: raw::Scenario,
        text: String,
        work: &Path,
        settings: &Settings,
    ) -> Option<Scenario> {
        if raw.name.trim().is_empty() {
            self.complain("name", "is empty; it names the run's results");
        }
        let target = self.target(settings.target.as_deref().or(raw.target.as_deref()));
        let populations = self.populations(raw.population);
        let phases = self.phases(raw.phase, &populations, settings);
        self.objectives(&populations, &phases);
        let server = raw.server.and_then(|server| self.server(server, work));
        Some(Scenario {
            name: raw.name,
            about: raw.about,
            text,
            seed: settings.seed.or(raw.seed).unwrap_or(1),
            target: target?,
            server,
            populations,
            phases,
        })
    }

    fn target(&mut self, target: Option<&str>) -> Option<SocketAddr> {
        let Some(target) = target else {
            self.complain(
                "target",
                "is missing; give ADDRESS:PORT here or with --target",
            );
            return None;
        };
        let plain = target
            .strip_prefix("http://")
            .unwrap_or(target)
            .trim_end_matches('/');
        if target.starts_with("https://") {
            self.complain("target", format_args!("\"{target}\": TLS is not supported; give the address of a plain HTTP/1.1 listener"));
            return None;
        }
        match plain.to_socket_addrs() {
            Ok(mut addresses) => {
                let address = addresses.next();
                if address.is_none() {
                    self.complain("target", format_args!("\"{target}\" has no address"));
                }
                address
            }
            Err(error) => {
                self.complain(
                    "target",
                    format_args!("\"{target}\" does not resolve ({error}); give ADDRESS:PORT"),
                );
                None
            }
        }
    }

    fn populations(&mut self, raw: Vec<raw::Population>) -> Vec<Population> {
        if raw.is_empty() || raw.len() > limits::POPULATIONS_MAX {
            let max = limits::POPULATIONS_MAX;
            self.complain(
                "population",
                format_args!(
                    "{} of them; a scenario has 1 to {max}, as [[population]]",
                    raw.len()
                ),
            );
        }
        let mut names = BTreeSet::new();
        raw.into_iter()
            .filter_map(|population| {
                let at = format!("population \"{}\"", population.name);
                if !names.insert(population.name.clone()) {
                    self.complain(
                        &at,
                        "is there twice; every population has a name of its own",
                    );
                }
                self.population(&at, population)
            })
            .collect()
    }

    fn population(&mut self, at: &str, raw: raw::Population) -> Option<Population> {
        let before = self.wrong.len();
        let requests: Vec<Request> = raw
            .request
            .into_iter()
            .enumerate()
            .map(|(index, request)| {
                self.request(&format!("{at}: request {}", index + 1), index, request)
            })
            .collect();
        let first_number = match &raw.hosts {
            Some(raw::Hosts::Pattern(pattern)) => u32::try_from(pattern.first).unwrap_or(u32::MAX),
            _ => 0,
        };
        let hosts = raw.hosts.map(|hosts| self.hosts(at, hosts));
        let (arrival, hosts, requests) = match raw.arrival {
            raw::Arrival::Replay { file, speed } => {
                if hosts.is_some() || !requests.is_empty() {
                    self.complain(
                        at,
                        "hosts and requests come from the replayed log; leave them out",
                    );
                }
                let speed = self.number(
                    &format!("{at}: arrival.speed"),
                    speed.unwrap_or(1.0),
                    0.001,
                    1000.0,
                    "times",
                )?;
                match replay::read(&self.here.join(file)) {
                    Ok(log) => (
                        Arrival::Replay(Replay {
                            entries: log.entries,
                            speed,
                        }),
                        log.hosts,
                        log.requests,
                    ),
                    Err(error) => {
                        self.complain(&format!("{at}: arrival.file"), error);
                        return None;
                    }
                }
            }
            other => {
                let arrival = self.arrival(at, other)?;
                let requests = if requests.is_empty() {
                    vec![self.request(at, 0, default_request())]
                } else {
                    requests
                };
                (
                    arrival,
                    hosts.unwrap_or_else(|| vec!["localhost".into()]),
                    requests,
                )
            }
        };
        if hosts.is_empty() {
            self.complain(&format!("{at}: hosts"), "are none; give at least one");
        }
        if requests.len() > limits::REQUESTS_MAX {
            self.complain(
                at,
                format_args!(
                    "{} requests; at most {}",
                    requests.len(),
                    limits::REQUESTS_MAX
                ),
            );
        }
        if requests.iter().all(|request| request.weight == 0.0) {
            self.complain(at, "every request has weight 0, so nothing would be sent");
        }
        if hosts.len() > limits::TENANTS_MAX {
            self.complain(
                &format!("{at}: hosts"),
                format_args!("{} of them; at most {}", hosts.len(), limits::TENANTS_MAX),
            );
        }
        let weights = self.weights(at, raw.weights, hosts.len());
        let connections = raw.connections.unwrap_or(CONNECTIONS_DEFAULT);
        self.number(
            &format!("{at}: connections"),
            connections as f64,
            1.0,
            limits::CONNECTIONS_MAX as f64,
            "connections",
        );
        let timeout_ms = raw.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
        self.number(
            &format!("{at}: timeout_ms"),
            timeout_ms as f64,
            1.0,
            3_600_000.0,
            "ms",
        );
        let requests_per_connection = match raw.requests_per_connection {
            None => (u32::MAX, u32::MAX),
            Some(raw::PerConnection::Exactly(count)) => (count, count),
            Some(raw::PerConnection::Between([min, max])) => (min, max),
        };
        if requests_per_connection.0 == 0 || requests_per_connection.0 > requests_per_connection.1 {
            self.complain(
                &format!("{at}: requests_per_connection"),
                "has to be 1 or more, the smaller number first",
            );
        }
        let objectives = raw
            .objectives
            .iter()
            .filter_map(|text| match Objective::parse(text) {
                Ok(objective) => Some(objective),
                Err(error) => {
                    self.complain(&format!("{at}: objectives"), error);
                    None
                }
            })
            .collect();
        (self.wrong.len() == before).then_some(Population {
            name: raw.name,
            hosts,
            first_number,
            weights,
            arrival,
            connections,
            requests_per_connection,
            timeout: Duration::from_millis(timeout_ms),
            objectives,
            requests,
        })
    }

    fn hosts(&mut self, at: &str, raw: raw::Hosts) -> Vec<Box<str>> {
        let at = format!("{at}: hosts");
        let names: Vec<Box<str>> = match raw {
            raw::Hosts::List(names) => names.into_iter().map(String::into_boxed_str).collect(),
            raw::Hosts::Pattern(pattern) => {
                if pattern.count == 0 || pattern.count > limits::TENANTS_MAX {
                    self.complain(
                        &at,
                        format_args!(
                            "count is {}; has to be 1 to {}",
                            pattern.count,
                            limits::TENANTS_MAX
                        ),
                    );
                    return Vec::new();
                }
                if pattern.first > limits::TENANTS_MAX {
                    self.complain(
                        &at,
                        format_args!(
                            "first is {}; has to be 0 to {}",
                            pattern.first,
                            limits::TENANTS_MAX
                        ),
                    );
                    return Vec::new();
                }
                if !pattern.pattern.contains("{n}") && pattern.count > 1 {
                    self.complain(
                        &at,
                        format_args!(
                            "\"{}\" has no {{n}}, so all {} hosts would be the same",
                            pattern.pattern, pattern.count
                        ),
                    );
                }
                (pattern.first..pattern.first + pattern.count)
                    .map(|n| {
                        pattern
                            .pattern
                            .replace("{n}", &n.to_string())
                            .into_boxed_str()
                    })
                    .collect()
            }
        };
        if let Some(name) = names.iter().find(|name| !is_token(name)) {
            self.complain(&at, format_args!("{name:?} is no host name"));
        }
        names
    }

    fn weights(&mut self, at: &str, raw: raw::Weights, hosts: usize) -> Weights {
        let at = format!("{at}: weights");
        match raw {
            raw::Weights::Uniform => Weights::Uniform,
            raw::Weights::RoundRobin => Weights::RoundRobin,
            raw::Weights::Zipf(exponent) => {
                self.number(&at, exponent, 0.0, 10.0, "as Zipf exponent");
                Weights::Zipf(exponent)
            }
            raw::Weights::Explicit(weights) => {
                if weights.len() != hosts {
                    self.complain(
                        &at,
                        format_args!("{} weights for {hosts} hosts; give one each", weights.len()),
                    );
                } else if let Err(error) = crate::mix::Picker::weighted(weights.clone()) {
                    self.complain(&at, error);
                }
                Weights::Explicit(weights)
            }
        }
    }

    fn arrival(&mut self, at: &str, raw: raw::Arrival) -> Option<Arrival> {
        match raw {
            raw::Arrival::Constant { rate } => Some(Arrival::Constant(self.shape(at, rate)?)),
            raw::Arrival::Poisson { rate } => Some(Arrival::Poisson(self.shape(at, rate)?)),
            raw::Arrival::Closed { think_ms } => {
                self.number(
                    &format!("{at}: arrival.think_ms"),
                    think_ms,
                    0.0,
                    3_600_000.0,
                    "ms",
                )?;
                Some(Arrival::Closed {
                    think: Duration::from_secs_f64(think_ms / 1e3),
                })
            }
            raw::Arrival::Replay { .. } => None,
        }
    }

    fn shape(&mut self, at: &str, raw: raw::Rate) -> Option<Shape> {
        let at = format!("{at}: arrival.rate");
        let shape = match raw {
            raw::Rate::Flat(rate) => Shape::Flat(rate),
            raw::Rate::Ramp(raw::Ramp { from, to }) => Shape::Ramp { from, to },
            raw::Rate::Steps(raw::Steps { steps }) => Shape::Steps(steps),
            raw::Rate::Spike(raw::Spike {
                base,
                peak,
                at_s,
                for_s,
            }) => {
                self.number(&at, at_s, 0.0, limits::RUN_SECONDS_MAX, "s for at_s")?;
                self.number(&at, for_s, 0.0, limits::RUN_SECONDS_MAX, "s for for_s")?;
                Shape::Spike {
                    base,
                    peak,
                    at_s: at_s * self.stretch,
                    for_s: for_s * self.stretch,
                }
            }
        };
        let rates = shape.rates();
        for rate in &rates {
            self.number(&at, *rate, 0.0, limits::RATE_MAX, "requests/s")?;
        }
        if rates.iter().all(|rate| *rate == 0.0) {
            self.complain(&at, "is 0, so nothing would be sent");
            return None;
        }
        Some(shape)
    }

    fn request(&mut self, at: &str, index: usize, raw: raw::Request) -> Request {
        let method = raw.method.unwrap_or_else(|| "GET".to_owned());
        let path = raw.path.unwrap_or_else(|| "/".to_owned());
        if !is_token(&method) {
            self.complain(at, format_args!("method {method:?} is no HTTP method"));
        }
        if !is_path(&path) {
            self.complain(
                at,
                format_args!("path {path:?} has to start with \"/\" and have no spaces"),
            );
        }
        let weight = raw.weight.unwrap_or(1.0);
        self.number(&format!("{at}: weight"), weight, 0.0, 1e9, "");
        for (name, value) in &raw.headers {
            let lower = name.to_ascii_lowercase();
            if !is_token(name) || value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
                self.complain(at, format_args!("header {name:?} is not well-formed"));
            } else if ["host", "content-length", "transfer-encoding", "connection"]
                .contains(&lower.as_str())
            {
                self.complain(
                    at,
                    format_args!("header \"{name}\" is written by the harness; leave it out"),
                );
            }
        }
        let body = match raw.body {
            None => Body::Empty,
            Some(raw::Body::Text(raw::BodyText { text })) => Body::Text(text),
            Some(raw::Body::Bytes(raw::BodyBytes { bytes })) => {
                let (min, max) = match bytes {
                    raw::Length::Exactly(bytes) => (bytes, bytes),
                    raw::Length::Between([min, max]) => (min, max),
                };
                if min > max || max > limits::BODY_BYTES_MAX {
                    self.complain(
                        at,
                        format_args!(
                            "body.bytes has to be 0 to {}, the smaller number first",
                            limits::BODY_BYTES_MAX
                        ),
                    );
                }
                Body::Filler(min, max)
            }
        };
        let statuses = match raw.expect.status {
            None => vec![200],
            Some(raw::Statuses::One(status)) => vec![status],
            Some(raw::Statuses::Many(statuses)) => statuses,
        };
        if statuses.is_empty() || statuses.iter().any(|status| !(200..=999).contains(status)) {
            self.complain(at, "expect.status has to be one or more of 200 to 999");
        }
        Request {
            name: raw
                .name
                .unwrap_or_else(|| format!("{} ({method} {path})", index + 1)),
            weight,
            method,
            path,
            headers: raw.headers.into_iter().collect(),
            body,
            expect: Expect {
                statuses,
                body_bytes: raw.expect.body_bytes,
                headers: raw
                    .expect
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value))
                    .collect(),
                body: raw.expect.body,
                body_contains: raw.expect.body_contains,
            },
            pace: raw.pace.map(|pace| self.pace(at, &pace)),
        }
    }

    fn pace(&mut self, at: &str, raw: &raw::Pace) -> Pace {
        let mut half = |bytes: Option<usize>, every_ms: Option<f64>, name: &str| match (
            bytes, every_ms,
        ) {
            (None, None) => (0, Duration::ZERO),
            (Some(bytes), Some(every_ms)) if bytes > 0 && (0.1..=60_000.0).contains(&every_ms) => {
                (bytes, Duration::from_secs_f64(every_ms / 1e3))
            }
            _ => {
                self.complain(at, format_args!("pace: give both {name}_bytes (1 or more) and {name}_every_ms (0.1 to 60000)"));
                (0, Duration::ZERO)
            }
        };
        let (write_bytes, write_every) = half(raw.write_bytes, raw.write_every_ms, "write");
        let (read_bytes, read_every) = half(raw.read_bytes, raw.read_every_ms, "read");
        Pace {
            write_bytes,
            write_every,
            read_bytes,
            read_every,
        }
    }

    fn phases(
        &mut self,
        raw: Vec<raw::Phase>,
        populations: &[Population],
        settings: &Settings,
    ) -> Vec<Phase> {
        if raw.is_empty() || raw.len() > limits::PHASES_MAX {
            self.complain(
                "phase",
                format_args!(
                    "{} of them; a scenario has 1 to {}, as [[phase]]",
                    raw.len(),
                    limits::PHASES_MAX
                ),
            );
        }
        let mut names = BTreeSet::new();
        let phases: Vec<Phase> = raw
            .into_iter()
            .map(|phase| {
                let at = format!("phase \"{}\"", phase.name);
                if !names.insert(phase.name.clone()) {
                    self.complain(&at, "is there twice; every phase has a name of its own");
                }
                self.phase(&at, phase, populations, settings)
            })
            .collect();
        let seconds: f64 = phases.iter().map(|phase| phase.seconds).sum();
        if seconds > limits::RUN_SECONDS_MAX {
            self.complain(
                "phase",
                format_args!(
                    "all together {seconds} s; at most {} s",
                    limits::RUN_SECONDS_MAX
                ),
            );
        }
        phases
    }

    fn phase(
        &mut self,
        at: &str,
        raw: raw::Phase,
        populations: &[Population],
        settings: &Settings,
    ) -> Phase {
        let kind = raw.kind.unwrap_or(PhaseKind::Measure);
        let seconds = raw.seconds * settings.stretch.unwrap_or(1.0);
        self.number(
            &format!("{at}: seconds"),
            seconds,
            0.05,
            limits::RUN_SECONDS_MAX,
            "s",
        );
        let load = raw.load.unwrap_or(1.0);
        self.number(&format!("{at}: load"), load, 0.0, 1e6, "times");
        let active: Vec<usize> = match raw.populations {
            None => (0..populations.len()).collect(),
            Some(names) => names
                .iter()
                .filter_map(|name| {
                    let index = populations
                        .iter()
                        .position(|population| population.name == *name);
                    // A population that is itself wrong is already complained about.
                    if index.is_none() && self.wrong.is_empty() {
                        let known: Vec<&str> = populations
                            .iter()
                            .map(|population| population.name.as_str())
                            .collect();
                        self.complain(
                            &format!("{at}: populations"),
                            format_args!("\"{name}\" is none; there are {}", known.join(", ")),
                        );
                    }
                    index
                })
                .collect(),
        };
        let load = load * self.load;
        for index in &active {
            let (Arrival::Constant(shape) | Arrival::Poisson(shape)) = &populations[*index].arrival
            else {
                continue;
            };
            let rate = shape.rates().into_iter().fold(0.0, f64::max) * load;
            if rate > limits::RATE_MAX {
                self.complain(
                    &format!("{at}: load"),
                    format_args!(
                        "makes {rate} requests/s of \"{}\"; at most {}",
                        populations[*index].name,
                        limits::RATE_MAX
                    ),
                );
            }
        }
        let actions = raw
            .action
            .into_iter()
            .filter_map(|action| self.action(&format!("{at}: action"), action, seconds))
            .collect();
        Phase {
            name: raw.name,
            kind,
            seconds,
            active,
            load,
            actions,
        }
    }

    fn action(&mut self, at: &str, raw: raw::Action, seconds: f64) -> Option<Action> {
        let at_s = raw.at_s * self.stretch;
        if !(0.0..seconds).contains(&at_s) {
            let whole = seconds / self.stretch;
            self.complain(
                &format!("{at}: at_s"),
                format_args!(
                    "{}; has to be 0 to less than {whole} s, the phase's length",
                    raw.at_s
                ),
            );
            return None;
        }
        let every_s = match raw.every_s {
            Some(every) => Some(
                self.number(
                    &format!("{at}: every_s"),
                    every,
                    0.05,
                    limits::RUN_SECONDS_MAX,
                    "s",
                )?
                .max(0.05 / self.stretch)
                    * self.stretch,
            ),
            None => None,
        };
        if let Some(every) = every_s
            && seconds / every > limits::ACTION_REPEATS_MAX
        {
            self.complain(
                &format!("{at}: every_s"),
                format_args!(
                    "repeats it {:.0} times in the phase; at most {}",
                    seconds / every,
                    limits::ACTION_REPEATS_MAX
                ),
            );
            return None;
        }
        let what = match (raw.run, raw.signal) {
            (Some(command), None) if !command.is_empty() => Deed::Run(command),
            (None, Some(signal)) => {
                let name = format!("SIG{}", signal.trim_start_matches("SIG"));
                let Ok(signal) = name.parse() else {
                    self.complain(
                        at,
                        format_args!("\"{signal}\" is no signal; such as \"KILL\" or \"HUP\""),
                    );
                    return None;
                };
                let whom = match (raw.pid_file, raw.child) {
                    (Some(file), None) => Whom::PidFile(self.here.join(file)),
                    (None, Some(word)) => Whom::Child(word),
                    (None, None) => Whom::Server,
                    (Some(_), Some(_)) => {
                        self.complain(
                            at,
                            "has pid_file and child; give one, or neither for the server itself",
                        );
                        return None;
                    }
                };
                Deed::Signal(signal, whom)
            }
            _ => {
                self.complain(
                    at,
                    "give either run = [\"program\", ...] or signal = \"NAME\"",
                );
                return None;
            }
        };
        Some(Action {
            at_s,
            every_s,
            what,
        })
    }

    fn objectives(&mut self, populations: &[Population], phases: &[Phase]) {
        for population in populations {
            for objective in &population.objectives {
                let Some(name) = &objective.phase else {
                    continue;
                };
                if !phases.iter().any(|phase| phase.name == *name) {
                    let known: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
                    self.complain(
                        &format!("population \"{}\": objectives", population.name),
                        format_args!(
                            "\"{objective}\": no phase \"{name}\"; there are {}",
                            known.join(", ")
                        ),
                    );
                }
            }
        }
    }

    fn server(&mut self, raw: raw::Server, work: &Path) -> Option<Server> {
        if raw.command.is_empty() {
            self.complain("server.command", "is empty; give program and arguments");
            return None;
        }
        let files = raw
            .file
            .into_iter()
            .map(|file| {
                let mut text = file.text;
                for each in file.each {
                    if each.count > limits::TENANTS_MAX {
                        self.complain(
                            "server.file.each",
                            format_args!(
                                "count is {}; at most {}",
                                each.count,
                                limits::TENANTS_MAX
                            ),
                        );
                        continue;
                    }
                    for n in 0..each.count {
                        text.push_str(&each.text.replace("{n}", &n.to_string()));
                    }
                }
                (work.join(file.path), text)
            })
            .collect();
        Some(Server {
            command: raw.command,
            files,
        })
    }
}

fn default_request() -> raw::Request {
    raw::Request {
        name: None,
        weight: None,
        method: None,
        path: None,
        headers: BTreeMap::new(),
        body: None,
        expect: raw::Expect::default(),
        pace: None,
    }
}

/// A request target that ends neither its line nor itself early.
pub(crate) fn is_path(path: &str) -> bool {
    (path.starts_with('/') || path == "*") && !path.bytes().any(|byte| byte <= b' ' || byte == 0x7f)
}

/// Visible ASCII without separators that would end a line or a name.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"/\\\"(),;<=>?@{}".contains(&byte))
}
