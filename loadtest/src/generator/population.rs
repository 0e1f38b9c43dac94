//! One generator's share of a population: when its requests are due, and its connections.

use std::collections::VecDeque;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::connection::Want;
use crate::mix::Picker;
use crate::scenario::{Arrival, Replay, Scenario};
use crate::schedule::{Arrivals, Spacing};
use crate::sys::ring::Slot;

/// Where due times come from.
#[derive(Debug)]
enum Source {
    Schedule(Arrivals),
    Recording(Recording),
    /// Closed loop: from completions.
    None,
}

/// A generator's share of a recorded log.
#[derive(Debug)]
struct Recording {
    replay: Replay,
    next: usize,
    step: usize,
    start_ns: u64,
    /// From and to, in nanoseconds: where the population is active.
    active: Vec<(u64, u64)>,
}

/// The next request of a schedule.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    /// Host and shape, when they are recorded and not drawn.
    what: Option<(u32, u16)>,
}

/// One generator's share of a population.
#[derive(Debug)]
pub(super) struct Population {
    source: Source,
    due: Option<Due>,
    /// Phase that `due` is in; due times only go forward.
    due_phase: usize,
    hosts: Picker,
    shapes: Picker,
    requests_per_connection: (u32, u32),
    /// Draws when, for whom and what: a function of the seed alone.
    random: SmallRng,
    /// Draws what depends on when the server answers: lengths, random numbers in paths, lives of
    /// connections.
    pub(super) details: SmallRng,
    /// Fewest bytes that any of its slow readers reads at once.
    pub(super) read_least: usize,
    /// Idle connections, the one that has rested longest first. Those that were closed meanwhile have
    /// another generation.
    pub(super) idle: VecDeque<(Slot, u32)>,
    /// Open connections.
    pub(super) open: usize,
    /// As many as there may be.
    pub(super) connections_most: usize,
    /// Requests that are due and wait for a connection.
    pub(super) backlog: VecDeque<Want>,
    /// Requests that are due and not over.
    pub(super) under_way: u64,
    /// Closed loop: how many connections send one request after the other.
    pub(super) looping: usize,
    pub(super) timeout_ns: u64,
}

impl Population {
    /// Of generator `index` of `of`.
    pub(super) fn new(scenario: &Scenario, number: usize, index: usize, of: usize) -> Self {
        let population = &scenario.populations[number];
        let starts = scenario.starts();
        let active: Vec<(f64, usize)> = scenario
            .phases
            .iter()
            .enumerate()
            .filter(|(_, phase)| phase.active.contains(&number))
            .map(|(phase, _)| (starts[phase], phase))
            .collect();
        let schedule = |shape: &crate::schedule::Shape, spacing| {
            let phases: Vec<_> = active
                .iter()
                .map(|(start, phase)| {
                    let phase = &scenario.phases[*phase];
                    (*start, phase.seconds, shape.scaled(phase.load))
                })
                .collect();
            Source::Schedule(Arrivals::new(&phases, spacing, index, of))
        };
        let source = match &population.arrival {
            Arrival::Constant(shape) => schedule(shape, Spacing::Even),
            Arrival::Poisson(shape) => schedule(shape, Spacing::Random),
            Arrival::Closed { .. } => Source::None,
            Arrival::Replay(replay) => Source::Recording(Recording {
                replay: replay.clone(),
                next: index,
                step: of,
                start_ns: active.first().map_or(0, |(start, _)| (start * 1e9) as u64),
                active: active
                    .iter()
                    .map(|(start, phase)| {
                        let end = start + scenario.phases[*phase].seconds;
                        ((start * 1e9) as u64, (end * 1e9) as u64)
                    })
                    .collect(),
            }),
        };
        let weights = population
            .requests
            .iter()
            .map(|request| request.weight)
            .collect();
        let seed = scenario.seed ^ ((number as u64) << 32) ^ ((index as u64) << 48);
        let mut created = Self {
            source,
            due: None,
            due_phase: 0,
            // Validation tried both; without weights the choice is uniform.
            hosts: Picker::new(&population.weights, population.hosts.len(), index, of)
                .unwrap_or(Picker::Only),
            shapes: Picker::weighted(weights).unwrap_or(Picker::Only),
            requests_per_connection: population.requests_per_connection,
            random: SmallRng::seed_from_u64(seed),
            details: SmallRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15),
            read_least: population
                .requests
                .iter()
                .filter_map(|request| request.pace)
                .map(|pace| pace.read_bytes)
                .filter(|bytes| *bytes > 0)
                .min()
                .unwrap_or(usize::MAX),
            idle: VecDeque::new(),
            open: 0,
            connections_most: share(population.connections, index, of),
            backlog: VecDeque::new(),
            under_way: 0,
            looping: 0,
            timeout_ns: population.timeout.as_nanos() as u64,
        };
        created.advance();
        created
    }

    /// When the next request of the schedule is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.map(|due| due.at)
    }

    /// Whether nothing is under way and nothing else will be due.
    pub(super) fn is_done(&self) -> bool {
        self.under_way == 0 && self.due.is_none()
    }

    /// Takes the next request of the schedule.
    pub(super) fn take_due(&mut self, phase_ends: &[u64]) -> Option<Want> {
        let due = self.due?;
        while self.due_phase + 1 < phase_ends.len() && due.at >= phase_ends[self.due_phase] {
            self.due_phase += 1;
        }
        let phase = self.due_phase;
        self.advance();
        Some(match due.what {
            Some((tenant, request)) => Want {
                due: due.at,
                tenant,
                request,
                phase: phase as u16,
            },
            None => self.want_now(due.at, phase),
        })
    }

    /// A request that is due at `now`, of a host and shape drawn at random.
    pub(super) fn want_now(&mut self, now: u64, phase: usize) -> Want {
        Want {
            due: now,
            tenant: self.hosts.pick(&mut self.random),
            request: self.shapes.pick(&mut self.random) as u16,
            phase: phase as u16,
        }
    }

    /// How many requests a new connection carries.
    pub(super) fn requests_of_a_connection(&mut self) -> u32 {
        let (min, max) = self.requests_per_connection;
        if min == max {
            min
        } else {
            self.details.random_range(min..=max)
        }
    }

    fn advance(&mut self) {
        self.due = match &mut self.source {
            Source::None => None,
            Source::Schedule(arrivals) => arrivals
                .next(&mut self.random)
                .map(|at| Due { at, what: None }),
            Source::Recording(recording) => recording.next(),
        };
    }
}

impl Recording {
    fn next(&mut self) -> Option<Due> {
        while let Some(entry) = self.replay.entries.get(self.next) {
            self.next += self.step;
            let at = self
                .start_ns
                .saturating_add((entry.at_ns as f64 / self.replay.speed) as u64);
            if self
                .active
                .iter()
                .any(|(from, to)| (*from..*to).contains(&at))
            {
                return Some(Due {
                    at,
                    what: Some((entry.host, entry.request)),
                });
            }
        }
        None
    }
}

/// Generator `index`'s share of `all` things, never none: a generator without a connection could not
/// send its share of the requests.
fn share(all: usize, index: usize, of: usize) -> usize {
    (all / of + usize::from(index < all % of)).max(1)
}
