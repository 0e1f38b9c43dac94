//! Scenarios: who sends what, when, for how long, and what has to hold.
//!
//! `text` reads and fills in variables, `raw` is the syntax, `validate` gives it meaning; here is
//! what is left: nothing optional, everything within its limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::results::PhaseKind;
use crate::schedule::Shape;

pub mod objective;
mod raw;
pub mod text;
pub(crate) mod validate;

pub use objective::Objective;
pub use text::Wrong;
pub use validate::{Settings, load, of_text};

/// A scenario that can be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// The file, variables filled in but for the directories `here` and `dir`.
    pub text: String,
    /// What the random numbers begin with.
    pub seed: u64,
    /// Where requests go.
    pub target: SocketAddr,
    /// The server that it brings with it.
    pub server: Option<Server>,
    /// The populations.
    pub populations: Vec<Population>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

impl Scenario {
    /// Length of all phases, in seconds.
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// Connections of all populations together.
    pub fn connections(&self) -> usize {
        self.populations
            .iter()
            .map(|population| population.connections)
            .sum()
    }

    /// Makes these the objectives of every population with a schedule, as far as it is active in a phase
    /// that they are about, and leaves the others none; an empty list changes nothing.
    ///
    /// # Errors
    /// A sentence, when an objective names an unknown phase or is of no population.
    pub fn demand(&mut self, objectives: &[Objective]) -> Result<(), String> {
        if objectives.is_empty() {
            return Ok(());
        }
        for population in &mut self.populations {
            population.objectives.clear();
        }
        if self
            .populations
            .iter()
            .all(|population| !population.arrival.is_open())
        {
            return Err("no population has a schedule, so --objective is of none".to_owned());
        }
        for objective in objectives {
            let phases: Vec<&Phase> = self
                .phases
                .iter()
                .filter(|phase| match &objective.phase {
                    Some(name) => phase.name == *name,
                    None => phase.kind == objective.kind(),
                })
                .collect();
            if phases.is_empty() {
                let known: Vec<&str> = self
                    .phases
                    .iter()
                    .map(|phase| phase.name.as_str())
                    .collect();
                return Err(format!(
                    "\"{objective}\" is about no phase; there are {}",
                    known.join(", ")
                ));
            }
            // A ratio needs something to compare with.
            let measured: Vec<&Phase> = self
                .phases
                .iter()
                .filter(|phase| phase.kind == PhaseKind::Measure)
                .collect();
            let is_ratio = objective.metric == objective::Metric::IsolationRatio;
            let mut is_of_any = false;
            for (index, population) in self.populations.iter_mut().enumerate() {
                let active = phases.iter().any(|phase| phase.active.contains(&index));
                let comparable =
                    !is_ratio || measured.iter().any(|phase| phase.active.contains(&index));
                if active && comparable && population.arrival.is_open() {
                    population.objectives.push(objective.clone());
                    is_of_any = true;
                }
            }
            if !is_of_any {
                return Err(format!(
                    "\"{objective}\": no population with a schedule is active in that phase"
                ));
            }
        }
        Ok(())
    }

    /// New connections a second of all populations together, once all are open: those that are closed
    /// after some requests.
    pub fn connects_per_s(&self) -> f64 {
        let of = |population: &Population| {
            let (min, max) = population.requests_per_connection;
            let (Arrival::Constant(shape) | Arrival::Poisson(shape)) = &population.arrival else {
                return 0.0;
            };
            if max == u32::MAX {
                return 0.0;
            }
            let rate = shape.rates().into_iter().fold(0.0, f64::max);
            rate * 2.0 / (f64::from(min) + f64::from(max))
        };
        self.populations.iter().map(of).sum()
    }

    /// Where each phase begins, in seconds of the run.
    pub fn starts(&self) -> Vec<f64> {
        let mut at = 0.0;
        self.phases
            .iter()
            .map(|phase| {
                let start = at;
                at += phase.seconds;
                start
            })
            .collect()
    }
}

/// A server that the scenario starts, and stops when the run is over.
#[derive(Clone, Debug)]
pub struct Server {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Files it needs, written before it starts.
    pub files: Vec<(PathBuf, String)>,
}

/// A population: requests that share hosts, arrivals and objectives.
#[derive(Clone, Debug)]
pub struct Population {
    /// Its name.
    pub name: String,
    /// The hosts its requests name; never empty.
    pub hosts: Vec<Box<str>>,
    /// Number of the first host, as `{n}` says it.
    pub first_number: u32,
    /// How requests spread over them.
    pub weights: Weights,
    /// When requests are due.
    pub arrival: Arrival,
    /// Connections over all generators.
    pub connections: usize,
    /// Requests after which a connection is closed: smallest and largest. `u32::MAX` is never.
    pub requests_per_connection: (u32, u32),
    /// From the intended start until a request counts as failed.
    pub timeout: Duration,
    /// What has to hold.
    pub objectives: Vec<Objective>,
    /// Shapes of requests; never empty.
    pub requests: Vec<Request>,
}

/// How requests spread over hosts.
#[derive(Clone, Debug, PartialEq)]
pub enum Weights {
    /// Each equally likely.
    Uniform,
    /// One after the other: every host rests as long as possible.
    RoundRobin,
    /// The k-th host with weight k^-s.
    Zipf(f64),
    /// As given, one number a host.
    Explicit(Vec<f64>),
}

/// When requests are due.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// Evenly spaced.
    Constant(Shape),
    /// At random, independent of each other.
    Poisson(Shape),
    /// Each connection sends its next request when the last is answered and `think` has passed.
    Closed {
        /// Pause after a response.
        think: Duration,
    },
    /// As recorded.
    Replay(Replay),
}

impl Arrival {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Constant(shape) => format!("constant, {shape}"),
            Self::Poisson(shape) => format!("poisson, {shape}"),
            Self::Closed { think } if think.is_zero() => "closed loop".to_owned(),
            Self::Closed { think } => {
                format!("closed loop, {} ms apart", think.as_secs_f64() * 1e3)
            }
            Self::Replay(replay) => format!(
                "replay of {} requests at {} x",
                replay.entries.len(),
                replay.speed
            ),
        }
    }

    /// Whether requests are due on a schedule, whatever the server does.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Closed { .. })
    }
}

/// A recorded access log. Hosts and shapes of the population are made from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// In order of time.
    pub entries: Vec<ReplayEntry>,
    /// How many times faster than recorded.
    pub speed: f64,
}

/// One request of a recorded log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplayEntry {
    /// After the first one, as recorded, in nanoseconds.
    pub at_ns: u64,
    /// Index into the population's hosts.
    pub host: u32,
    /// Index into the population's requests.
    pub request: u16,
}

/// One shape of request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is called in messages.
    pub name: String,
    /// How often it is chosen, relative to the others.
    pub weight: f64,
    /// Method.
    pub method: String,
    /// Target; `{n}` is the host's number, `{random}` a random number.
    pub path: String,
    /// Headers beside `host`, `content-length` and `connection`.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Body,
    /// What the response has to be.
    pub expect: Expect,
    /// How slowly it is sent and read.
    pub pace: Option<Pace>,
}

/// A request body.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// Filler of a length between both ends, evenly distributed.
    Filler(usize, usize),
    /// This text.
    Text(String),
}

/// What a response has to be.
#[derive(Clone, Debug)]
pub struct Expect {
    /// One of these statuses. Checked on every response.
    pub statuses: Vec<u16>,
    /// Length of the body. Checked on every response.
    pub body_bytes: Option<u64>,
    /// Headers and their values, `*` for any. Checked in the check phase.
    pub headers: Vec<(String, String)>,
    /// The whole body. Checked in the check phase.
    pub body: Option<String>,
    /// Part of the body. Checked in the check phase.
    pub body_contains: Option<String>,
}

/// A client that is slow on purpose. Zero bytes: at full speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes written at once.
    pub write_bytes: usize,
    /// Pause between writes.
    pub write_every: Duration,
    /// Bytes read at once.
    pub read_bytes: usize,
    /// Pause between reads.
    pub read_every: Duration,
}

/// A phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: PhaseKind,
    /// Its length.
    pub seconds: f64,
    /// Which populations are active, by index.
    pub active: Vec<usize>,
    /// Multiplies the rates of open-loop populations.
    pub load: f64,
    /// What is done to the server.
    pub actions: Vec<Action>,
}

/// Something done during a phase.
#[derive(Clone, Debug)]
pub struct Action {
    /// After the phase's start.
    pub at_s: f64,
    /// Again and again, this far apart.
    pub every_s: Option<f64>,
    /// What.
    pub what: Deed,
}

/// What an action does.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Runs a program.
    Run(Vec<String>),
    /// Sends a signal.
    Signal(nix::sys::signal::Signal, Whom),
}

/// Who gets a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The process named by this file.
    PidFile(PathBuf),
    /// The server.
    Server,
    /// The server's first child process whose command line has this word.
    Child(String),
}
