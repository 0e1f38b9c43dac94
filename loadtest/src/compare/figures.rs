//! The figures that are compared, and where in the results each one is.

use serde::Serialize;

use super::bootstrap::Centre;
use crate::limits::{COMPARE_STEPS_MAX, RUN_SECONDS_MAX, SERVER_COVER_MIN};
use crate::results::{Phase, PhaseFigures, Population, Results, Second, ServerSample};

/// A figure of a population, or of the server, in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Metric {
    /// Median latency, in milliseconds.
    #[serde(rename = "p50_ms")]
    P50,
    /// Its 90th percentile.
    #[serde(rename = "p90_ms")]
    P90,
    /// Its 99th.
    #[serde(rename = "p99_ms")]
    P99,
    /// Its 99.9th.
    #[serde(rename = "p999_ms")]
    P999,
    /// The largest latency, in milliseconds.
    #[serde(rename = "max_ms")]
    Max,
    /// The mean latency, in milliseconds.
    #[serde(rename = "mean_ms")]
    Mean,
    /// Successes a second.
    #[serde(rename = "rate")]
    Rate,
    /// Errors over requests that were due, in percent.
    #[serde(rename = "error_percent")]
    Errors,
    /// CPU time of the server's processes for each success of any population, in microseconds.
    #[serde(rename = "cpu_us_per_request")]
    Cpu,
}

/// Of each population.
pub(super) const OF_POPULATIONS: [Metric; 8] = [
    Metric::P50,
    Metric::P90,
    Metric::P99,
    Metric::P999,
    Metric::Max,
    Metric::Mean,
    Metric::Rate,
    Metric::Errors,
];

/// A rate or a latency of zero has no logarithm; it counts as this.
const SMALLEST: f64 = 1e-9;

impl Metric {
    /// What people call it, with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50 ms",
            Self::P90 => "p90 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::Max => "max ms",
            Self::Mean => "mean ms",
            Self::Rate => "rate /s",
            Self::Errors => "errors %",
            Self::Cpu => "CPU µs/request",
        }
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        self == Self::Rate
    }

    /// Whether its change is a difference in percentage points. Errors are: a share that was zero
    /// has no ratio to what it became. All else changes by a ratio.
    pub fn in_points(self) -> bool {
        self == Self::Errors
    }

    /// What stands for several runs of it.
    pub(super) fn centre(self) -> Centre {
        match self {
            Self::Rate | Self::Errors | Self::Cpu => Centre::Mean,
            _ => Centre::Median,
        }
    }

    /// The scale on which it changes by a difference: ratios become differences of logarithms.
    pub(super) fn scaled(self, value: f64) -> f64 {
        if self.in_points() {
            value
        } else {
            value.max(SMALLEST).ln()
        }
    }

    /// A difference on that scale, in percent or percentage points.
    pub(super) fn percent(self, difference: f64) -> f64 {
        if self.in_points() {
            difference
        } else {
            difference.exp_m1() * 100.0
        }
    }

    /// A value on that scale, as itself again.
    pub(super) fn unscaled(self, value: f64) -> f64 {
        if self.in_points() { value } else { value.exp() }
    }
}

/// Where a figure is: a population in a phase, or the server when there is no population.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) population: Option<&'a str>,
    pub(super) phase: &'a str,
}

impl Place<'_> {
    fn phase<'r>(&self, results: &'r Results) -> Option<&'r Phase> {
        results.phases.iter().find(|phase| phase.name == self.phase)
    }

    fn population<'r>(&self, results: &'r Results) -> Option<&'r Population> {
        let name = self.population?;
        results
            .populations
            .iter()
            .find(|population| population.name == name)
    }
}

/// One figure of a whole run. None when nothing was measured.
pub(super) fn of_run(results: &Results, place: Place, metric: Metric) -> Option<f64> {
    if metric == Metric::Cpu {
        return cpu_us(results, place.phase(results)?);
    }
    let figures = figures(place.population(results)?, place.phase)?;
    let latency = &figures.latency;
    let of_latency = |value: f64| (latency.count() > 0).then_some(value);
    match metric {
        Metric::P50 => of_latency(latency.percentile_ms(50.0)),
        Metric::P90 => of_latency(latency.percentile_ms(90.0)),
        Metric::P99 => of_latency(latency.percentile_ms(99.0)),
        Metric::P999 => of_latency(latency.percentile_ms(99.9)),
        Metric::Max => of_latency(latency.max_ms()),
        Metric::Mean => of_latency(latency.mean_ms()),
        Metric::Rate => (figures.intended > 0).then(|| figures.rate()),
        Metric::Errors => (figures.intended > 0)
            .then(|| 100.0 * figures.errors_total() as f64 / figures.intended as f64),
        Metric::Cpu => None,
    }
}

/// Errors and the requests that they are a share of. None when nothing was due.
pub(super) fn error_counts(results: &Results, place: Place) -> Option<(u64, u64)> {
    let figures = figures(place.population(results)?, place.phase)?;
    (figures.intended > 0).then(|| (figures.errors_total(), figures.intended))
}

fn figures<'r>(population: &'r Population, phase: &str) -> Option<&'r PhaseFigures> {
    population
        .phases
        .iter()
        .find(|figures| figures.phase == phase)
}

/// The server's samples rarely fall on a phase's ends, so the cost a second of what they cover
/// stands for the phase.
fn cpu_us(results: &Results, phase: &Phase) -> Option<f64> {
    let (first, last) = (results.server.first()?, results.server.last()?);
    let (from, to) = (phase.start_s.max(first.at_s), phase.end_s.min(last.at_s));
    let length_s = phase.end_s - phase.start_s;
    if length_s <= 0.0 || (to - from) / length_s < SERVER_COVER_MIN {
        return None;
    }
    let used_s = cpu_s_at(&results.server, to)? - cpu_s_at(&results.server, from)?;
    let succeeded: u64 = results
        .populations
        .iter()
        .filter_map(|population| figures(population, &phase.name))
        .map(|figures| figures.succeeded)
        .sum();
    (succeeded > 0).then(|| used_s / (to - from) * length_s * 1e6 / succeeded as f64)
}

/// CPU time used until a moment, between two samples on a straight line.
fn cpu_s_at(samples: &[ServerSample], at_s: f64) -> Option<f64> {
    let after = samples.partition_point(|sample| sample.at_s < at_s);
    let next = samples.get(after)?;
    let Some(previous) = after.checked_sub(1).and_then(|at| samples.get(at)) else {
        return (next.at_s <= at_s).then_some(next.cpu_s);
    };
    let share = (at_s - previous.at_s) / (next.at_s - previous.at_s).max(f64::MIN_POSITIVE);
    Some(previous.cpu_s + share * (next.cpu_s - previous.cpu_s))
}

/// One figure along one run's phase: a numerator and a denominator a step.
pub(super) struct Steps {
    steps: Vec<(f64, f64)>,
    centre: Centre,
}

impl Steps {
    /// None for figures that are not kept by second.
    pub(super) fn read(results: &Results, place: Place, metric: Metric) -> Option<Self> {
        let phase = place.phase(results)?;
        let centre = metric.centre();
        let steps = if metric == Metric::Cpu {
            cpu_steps(results, phase)
        } else {
            let value = by_second(metric)?;
            whole_seconds(place.population(results)?, phase)
                .filter_map(value)
                .collect()
        };
        let width = steps.len().div_ceil(COMPARE_STEPS_MAX).max(1);
        let steps = steps.chunks(width).map(|few| merge(few, centre)).collect();
        Some(Self { steps, centre })
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The figure over some of the steps, by index.
    pub(super) fn over(&self, which: &[usize]) -> f64 {
        let chosen: Vec<(f64, f64)> = which.iter().map(|&at| self.steps[at]).collect();
        let (above, below) = merge(&chosen, self.centre);
        above / below.max(SMALLEST)
    }

    /// The figure over all of them.
    pub(super) fn whole(&self) -> f64 {
        let (above, below) = merge(&self.steps, self.centre);
        above / below.max(SMALLEST)
    }
}

/// Counts add up; of percentiles the median stands for several.
fn merge(steps: &[(f64, f64)], centre: Centre) -> (f64, f64) {
    match centre {
        Centre::Mean => steps
            .iter()
            .fold((0.0, 0.0), |sum, step| (sum.0 + step.0, sum.1 + step.1)),
        Centre::Median => {
            let mut values: Vec<f64> = steps.iter().map(|step| step.0).collect();
            (super::bootstrap::centre_of(&mut values, centre), 1.0)
        }
    }
}

type BySecond = fn(&Second) -> Option<(f64, f64)>;

fn by_second(metric: Metric) -> Option<BySecond> {
    let value: BySecond = match metric {
        Metric::P50 => |second| (second.succeeded > 0).then_some((second.p50_ms, 1.0)),
        Metric::P99 => |second| (second.succeeded > 0).then_some((second.p99_ms, 1.0)),
        Metric::P999 => |second| (second.succeeded > 0).then_some((second.p999_ms, 1.0)),
        Metric::Rate => |second| Some((second.succeeded as f64, 1.0)),
        Metric::Errors => |second| Some((100.0 * second.errors as f64, second.intended as f64)),
        // The maximum of a phase is one event; p90 and the mean are not kept by second.
        Metric::P90 | Metric::Max | Metric::Mean | Metric::Cpu => return None,
    };
    Some(value)
}

fn whole_seconds<'r>(
    population: &'r Population,
    phase: &'r Phase,
) -> impl Iterator<Item = &'r Second> {
    population.seconds.iter().filter(|second| {
        second.second as f64 >= phase.start_s && second.second as f64 + 1.0 <= phase.end_s
    })
}

fn cpu_steps(results: &Results, phase: &Phase) -> Vec<(f64, f64)> {
    let first = phase.start_s.ceil() as u64;
    let last = phase.end_s.min(RUN_SECONDS_MAX).floor() as u64;
    let mut succeeded = vec![0.0; last.saturating_sub(first) as usize];
    for population in &results.populations {
        for second in whole_seconds(population, phase) {
            if let Some(sum) = succeeded.get_mut((second.second - first) as usize) {
                *sum += second.succeeded as f64;
            }
        }
    }
    (first..last)
        .zip(succeeded)
        .filter_map(|(second, succeeded)| {
            let from_s = cpu_s_at(&results.server, second as f64)?;
            let to_s = cpu_s_at(&results.server, (second + 1) as f64)?;
            Some(((to_s - from_s) * 1e6, succeeded))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: f64, cpu_s: f64) -> ServerSample {
        ServerSample {
            at_s,
            cpu_s,
            rss_bytes: 0,
            processes: 1,
        }
    }

    #[test]
    fn cpu_time_lies_on_a_line_between_samples_and_nowhere_else() {
        let samples = [sample(0.5, 1.0), sample(1.5, 3.0), sample(3.5, 3.0)];
        for (at_s, expected) in [
            (0.4, None),
            (0.5, Some(1.0)),
            (1.0, Some(2.0)),
            (1.5, Some(3.0)),
            (3.0, Some(3.0)),
            (3.6, None),
        ] {
            assert_eq!(cpu_s_at(&samples, at_s), expected, "{at_s}");
        }
    }

    #[test]
    fn ratios_and_points_survive_their_scale() {
        let difference = Metric::P99.scaled(5.5) - Metric::P99.scaled(5.0);
        assert!((Metric::P99.percent(difference) - 10.0).abs() < 1e-9);
        let difference = Metric::Errors.scaled(2.0) - Metric::Errors.scaled(0.0);
        assert_eq!(Metric::Errors.percent(difference), 2.0);
        let fallen = Metric::Rate.scaled(0.0) - Metric::Rate.scaled(1000.0);
        assert!((Metric::Rate.percent(fallen) + 100.0).abs() < 1e-6);
    }

    #[test]
    fn many_steps_are_merged_into_as_many_as_are_resampled() {
        let counts = [(3.0, 1.0), (5.0, 1.0), (10.0, 2.0)];
        assert_eq!(merge(&counts, Centre::Mean), (18.0, 4.0));
        assert_eq!(merge(&counts, Centre::Median), (5.0, 1.0));
    }
}
