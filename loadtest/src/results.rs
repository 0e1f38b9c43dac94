//! What a run leaves behind: one JSON document, read by `report`, `compare` and `--baseline`.
//!
//! ```text
//! Results
//! ├── scenario, command, seed, fingerprint, preflight    what was run, and where
//! ├── validity                                           whether the figures may be believed
//! ├── generators[]                                       how busy and how late each one was
//! ├── phases[]                                           warm-up, measure, disturb, recover …
//! ├── populations[]
//! │   ├── phases[]                                       latency, statuses, errors
//! │   ├── seconds[]                                      the same along time
//! │   ├── tenants[]                                      one line each
//! │   └── heat                                           tenants × seconds
//! ├── server[]                                           CPU and memory of its processes
//! ├── isolation[]                                        disturbed against undisturbed
//! └── objectives[]                                       what was promised, and what was measured
//! ```
//!
//! Times are nanoseconds in histograms, milliseconds in summaries (`_ms`), seconds on the run's own
//! clock (`_s`, 0 = the first phase's start).

mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;
use crate::histogram::Latency;
use crate::preflight::Finding;

pub use read::ReadError;

/// The version of this document's shape; a reader refuses another one.
pub const SCHEMA: u32 = 1;

/// Everything one run measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the harness.
    pub tool_version: String,
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario is for, in its own words.
    pub about: String,
    /// The scenario file as it was read, variables filled in.
    pub scenario_text: String,
    /// The command line.
    pub command: Vec<String>,
    /// Seconds since 1970 at the run's start.
    pub started_unix_s: u64,
    /// Length of the run, in seconds.
    pub duration_s: f64,
    /// What the random numbers began with; the same seed sends the same requests.
    pub seed: u64,
    /// Where the requests went: `address:port`.
    pub target: String,
    /// The machine.
    pub fingerprint: Fingerprint,
    /// What could spoil the measurement.
    pub preflight: Vec<Finding>,
    /// Whether the run went on although preflight refused it.
    pub forced: bool,
    /// Whether the figures may be believed.
    pub validity: Validity,
    /// Why the run ended before its last phase did, when it did.
    #[serde(default)]
    pub cut: Option<String>,
    /// The generators, one per core.
    pub generators: Vec<Generator>,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The populations, in the scenario's order.
    pub populations: Vec<Population>,
    /// The server's processes, sampled once a second. Empty when their pid is not known.
    pub server: Vec<ServerSample>,
    /// How much each population suffered from each disturbance.
    pub isolation: Vec<Isolation>,
    /// The objectives with what was measured.
    pub objectives: Vec<Objective>,
}

/// Whether a run's figures may be believed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Validity {
    /// False when the generator, and not the server, was the bottleneck, or the run was cut short.
    pub valid: bool,
    /// Why not, one sentence each.
    pub reasons: Vec<String>,
}

/// One generator thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generator {
    /// The core that it was pinned to; none when it was not.
    pub core: Option<usize>,
    /// Share of the time that it had something to do, 0 to 1; 1 is a generator that never waited.
    pub busy: f64,
    /// The same in each phase.
    #[serde(default)]
    pub busy_by_phase: Vec<f64>,
    /// From when a request was due until the generator came to it.
    pub lateness: Latency,
}

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseKind {
    /// Its figures count for nothing.
    WarmUp,
    /// The undisturbed measurement.
    Measure,
    /// Something is done to the server, or a noisy population joins.
    Disturb,
    /// After the disturbance.
    Recover,
}

/// One phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// Its name, unique in the scenario.
    pub name: String,
    /// What it is for.
    pub kind: PhaseKind,
    /// When it began on the run's clock.
    pub start_s: f64,
    /// When it ended.
    pub end_s: f64,
    /// What was done to the server, with when and how it ended: `2.00 s: killed pid 4711`.
    pub actions: Vec<String>,
}

/// One population of requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Population {
    /// Its name.
    pub name: String,
    /// How many hosts it spreads over.
    pub tenants_total: usize,
    /// The arrival process in words: `poisson, 2000/s`.
    pub arrival: String,
    /// Figures by phase, in the order of [`Results::phases`]; phases in which it rested are absent.
    pub phases: Vec<PhaseFigures>,
    /// Figures by second.
    pub seconds: Vec<Second>,
    /// One line per tenant, busiest first; at most `limits::TENANT_ROWS_MAX`, then the worst of the rest.
    pub tenants: Vec<Tenant>,
    /// Tenants × seconds.
    pub heat: Heat,
    /// [`PhaseFigures::fairness`] over all `measure` phases together.
    pub fairness: Option<f64>,
}

/// A population's figures in one phase. A request counts in the phase in which it was due.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseFigures {
    /// The phase's name.
    pub phase: String,
    /// Requests that were due.
    pub intended: u64,
    /// Requests that got a complete response of an expected status.
    pub succeeded: u64,
    /// Requests that got anything else, by kind: `status`, `connect`, `reset`, `timeout`, `closed`,
    /// `malformed`, `backlog`, `body`, `unfinished`.
    pub errors: BTreeMap<String, u64>,
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From the intended start to the last byte of the response; successes only.
    pub latency: Latency,
    /// From the moment of sending; for comparison with tools that omit what a stalled server hides.
    pub service: Latency,
    /// From the intended start to the last byte of a response that was an error.
    pub failed: Latency,
    /// Body and head bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections opened.
    pub connects: u64,
    /// Jain's index of the share of intended requests that each tenant got answered, 0 to 1; 1 is
    /// perfectly even (Jain, Chiu & Hawe 1984).
    #[serde(default)]
    pub fairness: Option<f64>,
    /// Length of the phase, in seconds.
    pub seconds: f64,
}

impl PhaseFigures {
    /// Successes a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 {
            self.succeeded as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// All errors.
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A population's figures in one second of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Second {
    /// Which second, from 0.
    pub second: u64,
    /// Requests that were due.
    pub intended: u64,
    /// Successes.
    pub succeeded: u64,
    /// Errors.
    pub errors: u64,
    /// Requests under way at the second's end.
    pub in_flight: u64,
    /// Percentiles of the successes that ended in this second, in milliseconds; 0 when there were none.
    pub p50_ms: f64,
    /// 99th.
    pub p99_ms: f64,
    /// 99.9th.
    pub p999_ms: f64,
    /// Largest.
    pub max_ms: f64,
}

/// One tenant of a population, over every phase but warm-up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    /// Its host name.
    pub host: String,
    /// Requests that were due.
    pub intended: u64,
    /// Successes.
    pub succeeded: u64,
    /// Errors.
    pub errors: u64,
    /// Percentiles to 6 %, in milliseconds; 0 in populations too large to keep them.
    pub p50_ms: f64,
    /// 99th.
    pub p99_ms: f64,
    /// Largest.
    pub max_ms: f64,
}

/// Tenants × seconds: the worst of what each cell saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heat {
    /// Name of each row: a host, or `hosts 10–19` where rows hold several.
    pub rows: Vec<String>,
    /// Seconds in each column.
    pub column_s: f64,
    /// 99th percentile of latency in milliseconds by row, then column; negative where nothing ended.
    pub p99_ms: Vec<Vec<f32>>,
    /// Errors by row, then column.
    pub errors: Vec<Vec<u32>>,
}

/// The server's processes at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerSample {
    /// When, on the run's clock.
    pub at_s: f64,
    /// CPU time used so far by all of its processes, in seconds.
    pub cpu_s: f64,
    /// Resident memory of all of its processes, in bytes; pages shared between them count once each.
    pub rss_bytes: u64,
    /// How many processes.
    pub processes: u32,
}

/// One population, disturbed against undisturbed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Isolation {
    /// The population.
    pub population: String,
    /// The undisturbed phase.
    pub baseline: String,
    /// The disturbed phase.
    pub disturbed: String,
    /// Percentiles undisturbed, in milliseconds.
    pub baseline_p50_ms: f64,
    /// 99th.
    pub baseline_p99_ms: f64,
    /// Percentiles disturbed, in milliseconds.
    pub disturbed_p50_ms: f64,
    /// 99th.
    pub disturbed_p99_ms: f64,
    /// The isolation ratio: p99 while disturbed over p99 before; 1 is perfect isolation. Of successes, or
    /// of all requests, whichever is worse: a tenant whose requests time out is not isolated.
    pub ratio: f64,
    /// Errors in the disturbed phase over requests due in it.
    pub disturbed_error_share: f64,
}

/// One objective with what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Objective {
    /// As written: `p99_ms <= 5`.
    pub text: String,
    /// Of which population.
    pub population: String,
    /// In which phase.
    pub phase: String,
    /// What was measured; none when there was nothing to measure, which is a failure.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}
