//! What one generator counts while it sends, and how the counts of several become one.
//!
//! A request counts in the phase in which it was due, and in the second in which it ended.

use std::collections::BTreeMap;

use crate::histogram::Latency;
use crate::limits;
use crate::results::PhaseKind;
use crate::scenario::Scenario;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A complete response of a status that was not expected.
    Status,
    /// A complete response whose body had another length than expected.
    Body,
    /// No connection.
    Connect,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the response was complete.
    Closed,
    /// No complete response in time.
    Timeout,
    /// What came was no HTTP/1.1 response.
    Malformed,
    /// Too many requests already waited for a connection.
    Backlog,
    /// The run ended first.
    Unfinished,
}

impl Failure {
    /// Every one, with its name in results.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Status, "status"),
        (Self::Body, "body"),
        (Self::Connect, "connect"),
        (Self::Reset, "reset"),
        (Self::Closed, "closed"),
        (Self::Timeout, "timeout"),
        (Self::Malformed, "malformed"),
        (Self::Backlog, "backlog"),
        (Self::Unfinished, "unfinished"),
    ];
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Population, by index.
    pub population: usize,
    /// Phase in which it was due, by index.
    pub phase: usize,
    /// Host, by index.
    pub tenant: u32,
    /// When it was due, when it was sent and when it ended, in nanoseconds of the run.
    pub due: u64,
    /// When it was sent; `due` when it never was.
    pub sent: u64,
    /// When it ended.
    pub ended: u64,
    /// Status of its response; 0 when there was none.
    pub status: u16,
    /// Why it failed; none is success.
    pub failure: Option<Failure>,
}

/// Counts of a population in one phase.
#[derive(Clone, Debug, Default)]
pub struct PhaseCounts {
    /// Requests that were due.
    pub intended: u64,
    /// Successes.
    pub succeeded: u64,
    /// By [`Failure::ALL`].
    pub failures: [u64; Failure::ALL.len()],
    /// Responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Successes, from the intended start.
    pub latency: Latency,
    /// Successes, from sending.
    pub service: Latency,
    /// Failures, from the intended start.
    pub failed: Latency,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections opened.
    pub connects: u64,
}

impl PhaseCounts {
    fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.succeeded += other.succeeded;
        for (mine, theirs) in self.failures.iter_mut().zip(other.failures) {
            *mine += theirs;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.failed.add(&other.failed);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.connects += other.connects;
    }
}

/// Counts of a population in one second.
#[derive(Clone, Debug, Default)]
pub struct SecondCounts {
    /// Requests that were due.
    pub intended: u64,
    /// Successes.
    pub succeeded: u64,
    /// Failures.
    pub errors: u64,
    /// Failures to connect.
    pub refused: u64,
    /// Under way at the end.
    pub in_flight: u64,
    /// Latency of the successes.
    pub latency: Latency,
}

impl SecondCounts {
    /// Adds another generator's counts of the same second.
    pub fn add(&mut self, other: &Self) {
        self.intended += other.intended;
        self.succeeded += other.succeeded;
        self.errors += other.errors;
        self.refused += other.refused;
        self.in_flight += other.in_flight;
        self.latency.add(&other.latency);
    }
}

/// One generator's counts of one second, population by population.
#[derive(Debug)]
pub struct SecondReport {
    /// Which second, from 0.
    pub second: u64,
    /// By population.
    pub populations: Vec<SecondCounts>,
}

/// A histogram of 1 µs to 71 minutes in an eighth of an octave each: percentiles to 6 % in 1 KB.
#[derive(Clone, Debug)]
pub struct Coarse(Box<[u32; Coarse::BUCKETS]>);

impl Coarse {
    const BUCKETS: usize = 256;

    fn new() -> Self {
        Self(Box::new([0; Self::BUCKETS]))
    }

    fn record(&mut self, nanoseconds: u64) {
        self.0[Self::bucket(nanoseconds)] += 1;
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine += theirs;
        }
    }

    fn bucket(nanoseconds: u64) -> usize {
        let value = nanoseconds.max(1024);
        let octave = 63 - value.leading_zeros() as usize;
        let eighth = (value >> (octave - 3)) as usize & 7;
        ((octave - 10) * 8 + eighth).min(Self::BUCKETS - 1)
    }

    /// The middle of a bucket, in milliseconds.
    fn middle_ms(bucket: usize) -> f64 {
        let (octave, eighth) = (bucket / 8 + 10, bucket % 8);
        (octave as f64).exp2() * (8.0 + eighth as f64 + 0.5) / 8.0 / 1e6
    }

    /// The value at a percentile in milliseconds; none when empty.
    pub fn percentile_ms(&self, percentile: f64) -> Option<f64> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        let wanted = ((all as f64 * percentile / 100.0).ceil() as u64).clamp(1, all);
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return Some(Self::middle_ms(bucket));
            }
        }
        None
    }
}

/// Counts of one host, over every phase but warm-up.
#[derive(Clone, Debug, Default)]
pub struct TenantCounts {
    /// Requests that were due.
    pub intended: u64,
    /// Successes.
    pub succeeded: u64,
    /// Failures.
    pub errors: u64,
    /// Largest latency of a success, in nanoseconds.
    pub max_ns: u64,
    /// Latency of the successes; none while there are none, and in populations too large for it.
    pub latency: Option<Coarse>,
}

/// One cell of a heat map.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// Latency of the successes.
    pub latency: Option<Coarse>,
    /// Failures.
    pub errors: u32,
}

/// Counts of one population.
#[derive(Debug)]
pub struct PopulationCounts {
    /// By phase.
    pub phases: Vec<PhaseCounts>,
    /// By host.
    pub tenants: Vec<TenantCounts>,
    /// Requests due and successes by phase, then host; empty for warm-ups, and for everything when that
    /// is too much to keep.
    pub shares: Vec<Vec<(u32, u32)>>,
    /// By row, then column.
    pub heat: Vec<Vec<Cell>>,
    second: SecondCounts,
}

/// Everything that one generator counts.
#[derive(Debug)]
pub struct Recorder {
    /// By population.
    pub populations: Vec<PopulationCounts>,
    /// From when a request was due until the generator came to it.
    pub lateness: Latency,
    /// Nanoseconds without anything to do, by phase.
    pub waited_ns: Vec<u64>,
    warm_up: Vec<bool>,
    column_ns: u64,
}

impl Recorder {
    /// An empty one for a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        let (columns, column_s) = columns(scenario.seconds());
        Self {
            populations: scenario
                .populations
                .iter()
                .map(|population| PopulationCounts {
                    phases: vec![PhaseCounts::default(); scenario.phases.len()],
                    tenants: vec![TenantCounts::default(); population.hosts.len()],
                    shares: shares(scenario, population.hosts.len()),
                    heat: vec![
                        vec![Cell::default(); columns];
                        population.hosts.len().min(limits::HEAT_ROWS_MAX)
                    ],
                    second: SecondCounts::default(),
                })
                .collect(),
            lateness: Latency::new(),
            waited_ns: vec![0; scenario.phases.len()],
            warm_up: scenario
                .phases
                .iter()
                .map(|phase| phase.kind == PhaseKind::WarmUp)
                .collect(),
            column_ns: (column_s * 1e9) as u64,
        }
    }

    /// A request is due.
    pub fn intended(&mut self, population: usize, phase: usize, tenant: u32) {
        let counts = &mut self.populations[population];
        counts.phases[phase].intended += 1;
        counts.second.intended += 1;
        if !self.warm_up[phase] {
            counts.tenants[tenant as usize].intended += 1;
            if let Some(share) = counts.shares[phase].get_mut(tenant as usize) {
                share.0 += 1;
            }
        }
    }

    /// A request ended.
    pub fn ended(&mut self, outcome: &Outcome) {
        let warm_up = self.warm_up[outcome.phase];
        let counts = &mut self.populations[outcome.population];
        let latency = outcome.ended.saturating_sub(outcome.due);
        let phase = &mut counts.phases[outcome.phase];
        if outcome.status != 0 {
            *phase.statuses.entry(outcome.status).or_default() += 1;
        }
        let tenants = counts.tenants.len();
        let tenant = &mut counts.tenants[outcome.tenant as usize];
        let row = row_of(outcome.tenant as usize, tenants);
        let column = (outcome.ended / self.column_ns.max(1)) as usize;
        let cell = counts.heat.get_mut(row).and_then(|row| row.get_mut(column));
        match outcome.failure {
            None => {
                phase.succeeded += 1;
                phase.latency.record(latency);
                phase
                    .service
                    .record(outcome.ended.saturating_sub(outcome.sent));
                counts.second.succeeded += 1;
                counts.second.latency.record(latency);
                if !warm_up {
                    tenant.succeeded += 1;
                    if let Some(share) =
                        counts.shares[outcome.phase].get_mut(outcome.tenant as usize)
                    {
                        share.1 += 1;
                    }
                    tenant.max_ns = tenant.max_ns.max(latency);
                    if tenants <= limits::TENANT_HISTOGRAMS_MAX {
                        tenant
                            .latency
                            .get_or_insert_with(Coarse::new)
                            .record(latency);
                    }
                }
                if let Some(cell) = cell {
                    cell.latency.get_or_insert_with(Coarse::new).record(latency);
                }
            }
            Some(failure) => {
                phase.failures[failure as usize] += 1;
                phase.failed.record(latency);
                counts.second.errors += 1;
                counts.second.refused += u64::from(failure == Failure::Connect);
                if !warm_up {
                    tenant.errors += 1;
                }
                if let Some(cell) = cell {
                    cell.errors += 1;
                }
            }
        }
    }

    /// Bytes went in or out, or a connection was opened.
    pub fn traffic(
        &mut self,
        population: usize,
        phase: usize,
        bytes_in: u64,
        bytes_out: u64,
        connects: u64,
    ) {
        let counts = &mut self.populations[population].phases[phase];
        counts.bytes_in += bytes_in;
        counts.bytes_out += bytes_out;
        counts.connects += connects;
    }

    /// The counts since the last call; `in_flight` gives a population's requests under way.
    pub fn take_second(&mut self, second: u64, in_flight: impl Fn(usize) -> u64) -> SecondReport {
        SecondReport {
            second,
            populations: self
                .populations
                .iter_mut()
                .enumerate()
                .map(|(index, counts)| {
                    let mut taken = std::mem::take(&mut counts.second);
                    taken.in_flight = in_flight(index);
                    taken
                })
                .collect(),
        }
    }

    /// Adds another generator's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.populations.iter_mut().zip(&other.populations) {
            for (mine, theirs) in mine.phases.iter_mut().zip(&theirs.phases) {
                mine.add(theirs);
            }
            for (mine, theirs) in mine.tenants.iter_mut().zip(&theirs.tenants) {
                mine.intended += theirs.intended;
                mine.succeeded += theirs.succeeded;
                mine.errors += theirs.errors;
                mine.max_ns = mine.max_ns.max(theirs.max_ns);
                add_coarse(&mut mine.latency, theirs.latency.as_ref());
            }
            for (mine, theirs) in mine
                .shares
                .iter_mut()
                .flatten()
                .zip(theirs.shares.iter().flatten())
            {
                mine.0 += theirs.0;
                mine.1 += theirs.1;
            }
            for (mine, theirs) in mine
                .heat
                .iter_mut()
                .flatten()
                .zip(theirs.heat.iter().flatten())
            {
                mine.errors += theirs.errors;
                add_coarse(&mut mine.latency, theirs.latency.as_ref());
            }
        }
    }
}

fn shares(scenario: &Scenario, tenants: usize) -> Vec<Vec<(u32, u32)>> {
    let fits = tenants * scenario.phases.len() <= limits::FAIRNESS_CELLS_MAX;
    scenario
        .phases
        .iter()
        .map(|phase| match fits && phase.kind != PhaseKind::WarmUp {
            true => vec![(0, 0); tenants],
            false => Vec::new(),
        })
        .collect()
}

fn add_coarse(mine: &mut Option<Coarse>, theirs: Option<&Coarse>) {
    match (mine, theirs) {
        (_, None) => {}
        (Some(mine), Some(theirs)) => mine.add(theirs),
        (mine, Some(theirs)) => *mine = Some(theirs.clone()),
    }
}

/// Number of a heat map's columns for a run of `seconds`, and the seconds in each.
pub fn columns(seconds: f64) -> (usize, f64) {
    let column_s = (seconds / limits::HEAT_COLUMNS_MAX as f64).ceil().max(1.0);
    ((seconds / column_s).ceil() as usize, column_s)
}

/// The heat map's row that a host is in.
pub fn row_of(tenant: usize, tenants: usize) -> usize {
    let rows = tenants.clamp(1, limits::HEAT_ROWS_MAX);
    tenant * rows / tenants.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_percentiles_are_right_to_six_percent() {
        for value in [2_000_u64, 123_456, 1_000_000, 87_654_321, 5_000_000_000] {
            let mut coarse = Coarse::new();
            for _ in 0..99 {
                coarse.record(value);
            }
            coarse.record(value * 100);
            let (p50, p99, max) = (
                coarse.percentile_ms(50.0).unwrap(),
                coarse.percentile_ms(99.0).unwrap(),
                coarse.percentile_ms(100.0).unwrap(),
            );
            assert!(
                (p50 * 1e6 / value as f64 - 1.0).abs() < 0.063,
                "{value}: {p50}"
            );
            assert_eq!(p50, p99);
            assert!(
                (max * 1e6 / (value * 100) as f64 - 1.0).abs() < 0.063,
                "{value}: {max}"
            );
        }
        assert_eq!(Coarse::new().percentile_ms(50.0), None);
    }

    #[test]
    fn coarse_ends_hold_everything_beyond() {
        assert_eq!((Coarse::bucket(0), Coarse::bucket(1024)), (0, 0));
        assert_eq!(Coarse::bucket(u64::MAX), Coarse::BUCKETS - 1);
    }

    #[test]
    fn rows_and_columns_stay_within_their_limits() {
        assert_eq!(columns(10.0), (10, 1.0));
        assert_eq!(columns(0.5), (1, 1.0));
        assert_eq!(columns(121.0), (61, 2.0));
        for tenants in [1, 5, 40, 41, 10_000] {
            let rows: Vec<usize> = (0..tenants).map(|tenant| row_of(tenant, tenants)).collect();
            assert!(rows.is_sorted());
            assert_eq!(rows.last(), Some(&(tenants.min(limits::HEAT_ROWS_MAX) - 1)));
        }
    }

    #[test]
    fn names_of_failures_follow_their_numbers() {
        for (index, (failure, _)) in Failure::ALL.iter().enumerate() {
            assert_eq!(*failure as usize, index);
        }
    }
}
