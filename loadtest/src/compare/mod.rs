//! What changed between two sets of runs, and how sure that is.
//!
//! | file | answers |
//! |---|---|
//! | `figures` | what is compared |
//! | `pairing` | what one observation is |
//! | `bootstrap` | how wide the interval is |
//! | `proportions` | the same for errors, which are counts |
//! | `row` | what a change means |
//! | `differences` | what else differs between the runs |
//! | `table` | how people see it |
//!
//! Intervals are of one figure each and hold the truth 95 times in 100. Of 40 figures that did not
//! change, two will therefore look changed; `--fail-above 5` asks for more than that.

mod bootstrap;
mod differences;
mod figures;
mod pairing;
mod proportions;
mod row;
mod table;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use serde::Serialize;

pub use bootstrap::Change;
pub use differences::Warning;
pub use figures::Metric;
pub use pairing::Method;
pub use row::{Row, Verdict};

use crate::cli::CompareArgs;
use crate::limits::COMPARE_RUNS_MAX;
use crate::results::Results;

/// The runs of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Its name.
    pub scenario: String,
    /// Runs before.
    pub runs_before: usize,
    /// Runs after.
    pub runs_after: usize,
    /// What the intervals rest on.
    pub method: Method,
    /// The same as a sentence.
    pub explained: String,
    /// What else differs.
    pub warnings: Vec<Warning>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// Everything that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// By scenario.
    pub groups: Vec<Group>,
    /// Scenarios that only one side ran.
    pub warnings: Vec<Warning>,
}

/// A comparison with a baseline, for a run that is to fail on a regression.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// The figures.
    pub comparison: Comparison,
    /// Why it fails, one line each; empty when it does not.
    pub failures: Vec<String>,
}

/// `skep-load compare`: prints the comparison. With `--fail-above` it fails when a figure is worse
/// by more than that with confidence, and when figures are not comparable.
///
/// # Errors
/// Results cannot be read, are too many, or share no scenario.
pub fn command(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let [before, after] = [&args.before, &args.after].map(|paths| {
        ensure!(
            paths.len() <= COMPARE_RUNS_MAX,
            "{} results on one side; {COMPARE_RUNS_MAX} can be compared",
            paths.len()
        );
        let runs = paths.iter().map(|path| Ok(Results::read(path)?));
        runs.collect::<anyhow::Result<Vec<Results>>>()
    });
    let (before, after) = (before?, after?);
    let comparison = compare(
        &before.iter().collect::<Vec<_>>(),
        &after.iter().collect::<Vec<_>>(),
    );
    ensure!(
        !comparison.groups.is_empty(),
        "the two sides share no scenario: {} before, {} after",
        before[0].scenario,
        after[0].scenario
    );
    let failures = args.fail_above.map(|percent| comparison.failures(percent));
    let text = if args.json {
        let json = serde_json::json!({ "comparison": comparison, "failures": failures });
        serde_json::to_string_pretty(&json).context("cannot write JSON")? + "\n"
    } else {
        table::table(&comparison) + &table::failures(failures.as_deref())
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(match failures {
        Some(failures) if !failures.is_empty() => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Compares one run with one earlier one: worse by more than `percent` with confidence is a
/// failure, and so is a baseline that the run cannot be compared with.
pub fn against_baseline(baseline: &Results, now: &Results, percent: f64) -> Against {
    let comparison = compare(&[baseline], &[now]);
    let failures = comparison.failures(percent);
    Against {
        comparison,
        failures,
    }
}

/// Compares runs, matched by scenario, phase and population; warm-up is left out.
pub fn compare(before: &[&Results], after: &[&Results]) -> Comparison {
    let mut scenarios: BTreeMap<&str, [Vec<&Results>; 2]> = BTreeMap::new();
    for (side, runs) in [before, after].into_iter().enumerate() {
        for &run in runs {
            scenarios.entry(&run.scenario).or_default()[side].push(run);
        }
    }
    let mut comparison = Comparison {
        groups: Vec::new(),
        warnings: Vec::new(),
    };
    for (scenario, [before, after]) in scenarios {
        if before.is_empty() || after.is_empty() {
            let side = if before.is_empty() { "after" } else { "before" };
            comparison.warnings.push(Warning::incomparable(format!(
                "scenario {scenario} was run only {side}"
            )));
        } else {
            comparison.groups.push(group(scenario, &before, &after));
        }
    }
    comparison
}

fn group(scenario: &str, before: &[&Results], after: &[&Results]) -> Group {
    let [began_before, began_after] = [before, after].map(|runs| {
        runs.iter()
            .map(|run| run.started_unix_s)
            .collect::<Vec<_>>()
    });
    let method = Method::of(&began_before, &began_after);
    Group {
        scenario: scenario.to_owned(),
        runs_before: before.len(),
        runs_after: after.len(),
        explained: method.explained(before.len(), after.len()),
        warnings: differences::between(before, after),
        rows: row::rows(before, after, &method),
        method,
    }
}

impl Against {
    /// The comparison and what fails, for people.
    pub fn text(&self) -> String {
        table::table(&self.comparison) + &table::failures(Some(&self.failures))
    }
}

impl Comparison {
    /// Why a comparison that allows `percent` fails, one line each.
    pub fn failures(&self, percent: f64) -> Vec<String> {
        let mut failures: Vec<String> = self
            .warnings
            .iter()
            .chain(self.groups.iter().flat_map(|group| &group.warnings))
            .filter(|warning| warning.incomparable)
            .map(|warning| format!("not comparable: {}", warning.text))
            .collect();
        for group in &self.groups {
            for row in group.rows.iter().filter(|row| row.worse_by(percent)) {
                failures.push(format!(
                    "worse by more than {percent} %: {} of {} in {} of {}: {}",
                    row.metric.name(),
                    row.population.as_deref().unwrap_or("the server"),
                    row.phase,
                    group.scenario,
                    table::change(row)
                ));
            }
        }
        failures
    }
}
