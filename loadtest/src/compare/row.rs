//! One line of a comparison: a figure before and after, its change, and what that means.

use serde::Serialize;

use super::bootstrap::{Centre, Change, centre_of, paired, unpaired, within};
use super::figures::{Metric, OF_POPULATIONS, Place, Steps, error_counts, of_run};
use super::pairing::Method;
use super::proportions::difference;
use crate::limits::{
    COMPARE_INTERVAL_PERCENT_MAX, COMPARE_RESOLUTION_PERCENT, COMPARE_SECONDS_MIN,
};
use crate::results::{PhaseKind, Results};

/// What is said about a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval is on the better side of no change.
    Better,
    /// The whole interval is on the worse side.
    Worse,
    /// The interval holds no change. A change within it may still be there.
    NoDifferenceShown,
    /// There is no interval, or it is too wide to say anything.
    CannotTell,
}

/// One figure, before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The phase.
    pub phase: String,
    /// The population; none for the server as a whole.
    pub population: Option<String>,
    /// Which figure.
    pub metric: Metric,
    /// Before, in the metric's unit: the centre of the runs, or of the seconds of one run.
    pub before: Option<f64>,
    /// After.
    pub after: Option<f64>,
    /// The change in percent of before, or for errors in percentage points; above 0 it has grown.
    pub change: Option<Change>,
    /// What that means.
    pub verdict: Verdict,
}

/// A line for each figure that either side measured; warm-up is left out. The first run before says
/// which phases and populations there are.
pub(super) fn rows(before: &[&Results], after: &[&Results], method: &Method) -> Vec<Row> {
    places(before[0])
        .into_iter()
        .filter_map(|(place, metric)| row(before, after, method, place, metric))
        .collect()
}

/// Every figure of a run, phase by phase.
fn places(run: &Results) -> Vec<(Place<'_>, Metric)> {
    let mut places = Vec::new();
    for phase in run
        .phases
        .iter()
        .filter(|phase| phase.kind != PhaseKind::WarmUp)
    {
        let phase = phase.name.as_str();
        for population in &run.populations {
            if population
                .phases
                .iter()
                .any(|figures| figures.phase == phase)
            {
                let population = Some(population.name.as_str());
                places.extend(OF_POPULATIONS.map(|metric| (Place { population, phase }, metric)));
            }
        }
        let server = Place {
            population: None,
            phase,
        };
        places.push((server, Metric::Cpu));
    }
    places
}

/// None when neither side measured the figure.
fn row(
    before: &[&Results],
    after: &[&Results],
    method: &Method,
    place: Place,
    metric: Metric,
) -> Option<Row> {
    let of_runs = |runs: &[&Results]| -> Vec<Option<f64>> {
        runs.iter().map(|run| of_run(run, place, metric)).collect()
    };
    let (one, other) = (of_runs(before), of_runs(after));
    if one.iter().chain(&other).all(Option::is_none) {
        return None;
    }
    let mut typical = [typical(&one, metric), typical(&other, metric)];
    let change = if *method == Method::Seconds {
        let found = of_seconds(before[0], after[0], place, metric);
        if let Some((_, values)) = found {
            typical = values.map(Some);
        }
        found.map(|(change, _)| change)
    } else {
        of_observations(&one, &other, method, metric)
    };
    let change = change.map(|change| in_percent(change, metric));
    Some(Row {
        phase: place.phase.to_owned(),
        population: place.population.map(str::to_owned),
        metric,
        before: typical[0],
        after: typical[1],
        change,
        verdict: change.map_or(Verdict::CannotTell, |change| verdict(change, metric)),
    })
}

/// The change with runs, or pairs of them, as observations.
fn of_observations(
    before: &[Option<f64>],
    after: &[Option<f64>],
    method: &Method,
    metric: Metric,
) -> Option<Change> {
    let (before, after) = (every(before, metric)?, every(after, metric)?);
    match method {
        Method::Runs => unpaired(&before, &after, metric.centre()),
        Method::Pairs(pairs) => {
            let changes: Vec<f64> = pairs
                .iter()
                .map(|&(one, other)| after[other] - before[one])
                .collect();
            paired(&changes, metric.centre())
        }
        Method::Seconds | Method::Unknown => None,
    }
}

/// The change between two runs with their seconds as observations, and both figures.
///
/// A phase's percentiles vary more than the median of its seconds', which therefore stands for them.
/// Of rates, errors and CPU time the phase's own figures are taken, and from the seconds only how
/// much they vary: what was due in a phase may end in a later second.
fn of_seconds(
    before: &Results,
    after: &Results,
    place: Place,
    metric: Metric,
) -> Option<(Change, [f64; 2])> {
    let one = Steps::read(before, place, metric)?;
    let other = Steps::read(after, place, metric)?;
    if one.len().min(other.len()) < COMPARE_SECONDS_MIN {
        return None;
    }
    let change = within(
        [one.len(), other.len()],
        [&|which| metric.scaled(one.over(which)), &|which| {
            metric.scaled(other.over(which))
        }],
    )?;
    if metric.centre() == Centre::Median {
        return Some((change, [one.whole(), other.whole()]));
    }
    let values = [
        of_run(before, place, metric)?,
        of_run(after, place, metric)?,
    ];
    let change = moved(change, metric.scaled(values[1]) - metric.scaled(values[0]));
    if metric == Metric::Errors {
        let counts = [error_counts(before, place)?, error_counts(after, place)?];
        return Some((at_least_of_counts(change, counts), values));
    }
    Some((change, values))
}

/// The same interval around another estimate.
fn moved(change: Change, estimate: f64) -> Change {
    let by = estimate - change.estimate;
    Change {
        estimate,
        low: change.low + by,
        high: change.high + by,
    }
}

/// Errors come in bursts, so that seconds may say less than counts do; the wider interval holds.
fn at_least_of_counts(change: Change, [before, after]: [(u64, u64); 2]) -> Change {
    let (low, high) = difference(before, after);
    Change {
        low: change.low.min(100.0 * low),
        high: change.high.max(100.0 * high),
        ..change
    }
}

/// All values on the metric's scale; none when a run did not measure it.
fn every(values: &[Option<f64>], metric: Metric) -> Option<Vec<f64>> {
    values
        .iter()
        .map(|value| Some(metric.scaled((*value)?)))
        .collect()
}

/// What stands for the runs that measured it.
fn typical(values: &[Option<f64>], metric: Metric) -> Option<f64> {
    let mut scaled: Vec<f64> = values
        .iter()
        .flatten()
        .map(|value| metric.scaled(*value))
        .collect();
    if scaled.is_empty() {
        return None;
    }
    Some(metric.unscaled(centre_of(&mut scaled, metric.centre())))
}

fn in_percent(change: Change, metric: Metric) -> Change {
    // Points are counts, which are exact; all else is measured to some digits.
    let resolution = if metric.in_points() {
        0.0
    } else {
        COMPARE_RESOLUTION_PERCENT
    };
    Change {
        estimate: metric.percent(change.estimate),
        low: metric.percent(change.low) - resolution,
        high: metric.percent(change.high) + resolution,
    }
}

fn verdict(change: Change, metric: Metric) -> Verdict {
    if change.low > 0.0 || change.high < 0.0 {
        if (change.low > 0.0) == metric.more_is_better() {
            Verdict::Better
        } else {
            Verdict::Worse
        }
    } else if change.high - change.low > COMPARE_INTERVAL_PERCENT_MAX {
        Verdict::CannotTell
    } else {
        Verdict::NoDifferenceShown
    }
}

impl Row {
    /// Whether the whole interval lies beyond `percent` on the worse side. For errors that is more
    /// than `percent` of the errors that there were; where there were none, any that are shown.
    pub fn worse_by(&self, percent: f64) -> bool {
        let (Some(change), Verdict::Worse) = (self.change, self.verdict) else {
            return false;
        };
        if self.metric.in_points() {
            change.low > self.before.unwrap_or(0.0) * percent / 100.0
        } else if self.metric.more_is_better() {
            change.high < -percent
        } else {
            change.low > percent
        }
    }
}
