//! A scenario file as it is written: syntax only. Meaning is in [`super`].

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub seed: Option<u64>,
    #[serde(default)]
    pub target: Option<String>,
    pub server: Option<Server>,
    #[serde(default)]
    pub population: Vec<Population>,
    #[serde(default)]
    pub phase: Vec<Phase>,
}

/// A server that the scenario brings with it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub command: Vec<String>,
    #[serde(default)]
    pub file: Vec<ServerFile>,
}

/// A file that the server needs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFile {
    pub path: String,
    pub text: String,
    #[serde(default)]
    pub each: Vec<Each>,
}

/// A text repeated in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each {
    pub count: usize,
    pub text: String,
}

/// A population of requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    pub name: String,
    #[serde(default)]
    pub hosts: Option<Hosts>,
    #[serde(default)]
    pub weights: Weights,
    pub arrival: Arrival,
    #[serde(default)]
    pub connections: Option<usize>,
    #[serde(default)]
    pub requests_per_connection: Option<PerConnection>,
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub objectives: Vec<String>,
    #[serde(default)]
    pub request: Vec<Request>,
}

/// The hosts that a population's requests name.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "hosts are a list of names, or { pattern = \"app-{n}.test\", count = 100 }"
)]
pub enum Hosts {
    List(Vec<String>),
    Pattern(HostPattern),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPattern {
    pub pattern: String,
    pub count: usize,
    #[serde(default)]
    pub first: usize,
}

/// How requests spread over hosts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    #[default]
    Uniform,
    RoundRobin,
    Zipf(f64),
    Explicit(Vec<f64>),
}

/// When requests are due.
#[derive(Debug, Deserialize)]
#[serde(tag = "process", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Arrival {
    Constant {
        rate: Rate,
    },
    Poisson {
        rate: Rate,
    },
    Closed {
        #[serde(default)]
        think_ms: f64,
    },
    Replay {
        file: String,
        #[serde(default)]
        speed: Option<f64>,
    },
}

/// Requests a second, along a phase.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a rate is a number, { from, to }, { steps = [...] } or { base, peak, at_s, for_s }"
)]
pub enum Rate {
    Flat(f64),
    Ramp(Ramp),
    Steps(Steps),
    Spike(Spike),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    pub from: f64,
    pub to: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    pub steps: Vec<f64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spike {
    pub base: f64,
    pub peak: f64,
    pub at_s: f64,
    pub for_s: f64,
}

/// A keep-alive connection's life, in requests.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "requests_per_connection is a number or [smallest, largest]"
)]
pub enum PerConnection {
    Exactly(u32),
    Between([u32; 2]),
}

/// One shape of request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub weight: Option<f64>,
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<Body>,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default)]
    pub pace: Option<Pace>,
}

/// A request body.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "a body is { bytes = N }, { bytes = [min, max] } or { text = \"...\" }"
)]
pub enum Body {
    Bytes(BodyBytes),
    Text(BodyText),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyBytes {
    pub bytes: Length,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyText {
    pub text: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "a length is a number or [smallest, largest]")]
pub enum Length {
    Exactly(usize),
    Between([usize; 2]),
}

/// What a response has to be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub status: Option<Statuses>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub body_contains: Option<String>,
    #[serde(default)]
    pub body_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "status is a number or a list of numbers")]
pub enum Statuses {
    One(u16),
    Many(Vec<u16>),
}

/// A client that is slow on purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    #[serde(default)]
    pub write_bytes: Option<usize>,
    #[serde(default)]
    pub write_every_ms: Option<f64>,
    #[serde(default)]
    pub read_bytes: Option<usize>,
    #[serde(default)]
    pub read_every_ms: Option<f64>,
}

/// A phase.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    #[serde(default)]
    pub kind: Option<crate::results::PhaseKind>,
    pub seconds: f64,
    #[serde(default)]
    pub populations: Option<Vec<String>>,
    #[serde(default)]
    pub load: Option<f64>,
    #[serde(default)]
    pub action: Vec<Action>,
}

/// Something done to the server during a phase.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    #[serde(default)]
    pub at_s: f64,
    #[serde(default)]
    pub every_s: Option<f64>,
    #[serde(default)]
    pub run: Option<Vec<String>>,
    #[serde(default)]
    pub signal: Option<String>,
    #[serde(default)]
    pub pid_file: Option<String>,
    #[serde(default)]
    pub child: Option<String>,
}
