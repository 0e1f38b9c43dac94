//! `skep-load capacity`: runs a scenario at one load after the other.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::{code, complain, interruptible, options, settings};
use crate::capacity::{Found, Search, Trial};
use crate::cli::CapacityArgs;
use crate::results::{PhaseKind, Results};
use crate::run::{self, Options, Prepared};
use crate::scenario::{self, Scenario, Settings};

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    scenario: &'a str,
    vary: &'a str,
    objectives: Vec<String>,
    #[serde(flatten)]
    found: &'a Found,
    /// Successes a second at the best value.
    rate: Option<f64>,
}

/// The command.
///
/// # Errors
/// When a run cannot begin.
pub fn run(args: &CapacityArgs) -> anyhow::Result<ExitCode> {
    let work = tempfile::Builder::new().prefix("skep-load-").tempdir()?;
    let is_load = args.vary.name == "load";
    let mut trials = Trials {
        args,
        work: work.path(),
        options: options(&args.how, args.start),
        interrupted: interruptible()?,
        prepared: None,
        count: 0,
    };
    let first = match trials.scenario(args.vary.low) {
        Ok(scenario) => scenario,
        Err(wrong) => return Ok(complain(&wrong)),
    };
    let objectives: Vec<String> = first
        .populations
        .iter()
        .flat_map(|population| {
            population
                .objectives
                .iter()
                .map(|objective| format!("{}: {objective}", population.name))
        })
        .collect();
    if objectives.is_empty() {
        return Ok(complain(
            &"no population has an objective to meet; give one with --objective",
        ));
    }
    let search = Search {
        start: if is_load { 1.0 } else { args.vary.low },
        low: args.vary.low,
        high: args.vary.high,
        trials: args.trials,
        within: args.within / 100.0,
        whole: !is_load,
    };
    let (found, ended) = search.run(|value| trials.one(value));
    drop(trials);
    let best = found
        .points
        .iter()
        .find(|point| Some(point.value) == found.best);
    let rate = best.map(|point| point.median(|trial| trial.rate));
    if args.json {
        let document = Document {
            scenario: &first.name,
            vary: &args.vary.name,
            objectives,
            found: &found,
            rate,
        };
        println!("{}", serde_json::to_string(&document)?);
    } else {
        print(&first, args, &objectives, &found, rate);
    }
    // What was found until then is printed.
    ended?;
    Ok(code(found.best.is_some()))
}

/// Does trials, one after the other.
struct Trials<'a> {
    args: &'a CapacityArgs,
    work: &'a Path,
    options: Options,
    interrupted: Arc<AtomicBool>,
    /// The server, with the value that it was started for.
    prepared: Option<(f64, Prepared)>,
    count: u64,
}

impl Trials<'_> {
    /// The scenario at a value.
    fn scenario(&self, value: f64) -> Result<Scenario, scenario::Wrong> {
        let args = self.args;
        let mut settings = Settings {
            stretch: args.stretch,
            ..settings(&args.set, &args.how)
        };
        if args.vary.name == "load" {
            settings.load = Some(value);
        } else {
            settings
                .variables
                .insert(args.vary.name.clone(), value.to_string());
        }
        let mut scenario = scenario::load(&args.scenario, self.work, &settings)?;
        scenario
            .demand(&args.objective)
            .map_err(scenario::Wrong::one)?;
        // Another seed each time: a trial is not a repetition.
        scenario.seed += self.count;
        Ok(scenario)
    }

    fn one(&mut self, value: f64) -> anyhow::Result<Trial> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        self.count += 1;
        let scenario = self.scenario(value)?;
        let same = self.args.vary.name == "load"
            || self.prepared.as_ref().is_some_and(|(of, _)| *of == value);
        if !same {
            // Its port is free only when it is gone.
            self.prepared = None;
        }
        let (_, prepared) = match self.prepared.take() {
            Some(prepared) => self.prepared.insert(prepared),
            None => {
                let prepared = run::prepare(&scenario, &self.options, self.work, &self.interrupted)
                    .with_context(|| format!("at {} = {value}", self.args.vary.name))?;
                self.prepared.insert((value, prepared))
            }
        };
        let results = run::measure(&scenario, &self.options, prepared, &self.interrupted)?;
        if let Some(why) = &results.cut {
            if self.interrupted.load(Ordering::Relaxed) || !self.args.start {
                bail!("{why}");
            }
            // A server that died is started anew for the next trial.
            self.prepared = None;
        }
        let trial = summarize(&results);
        if !self.args.how.quiet {
            let verdict = match (trial.valid, trial.met) {
                (false, _) => "INVALID",
                (true, true) => "met",
                (true, false) => "missed",
            };
            eprintln!(
                "{} = {value:<10.4} {:>10.1}/s  p50 {:>8.3}  p99 {:>8.3} ms  {:>6} errors  {verdict}",
                self.args.vary.name, trial.rate, trial.p50_ms, trial.p99_ms, trial.errors
            );
        }
        Ok(trial)
    }
}

/// Over the measured phases of the populations that have an objective.
fn summarize(results: &Results) -> Trial {
    let mut trial = Trial {
        intended: 0.0,
        rate: 0.0,
        p50_ms: 0.0,
        p99_ms: 0.0,
        errors: 0,
        met: results.objectives.iter().all(|objective| objective.met),
        valid: results.validity.valid,
    };
    let measured: Vec<&str> = results
        .phases
        .iter()
        .filter(|phase| phase.kind == PhaseKind::Measure)
        .map(|phase| phase.name.as_str())
        .collect();
    for population in &results.populations {
        if !results
            .objectives
            .iter()
            .any(|objective| objective.population == population.name)
        {
            continue;
        }
        for figures in &population.phases {
            if !measured.contains(&figures.phase.as_str()) || figures.seconds <= 0.0 {
                continue;
            }
            trial.intended += figures.intended as f64 / figures.seconds / measured.len() as f64;
            trial.rate += figures.rate() / measured.len() as f64;
            trial.p50_ms = trial.p50_ms.max(figures.latency.percentile_ms(50.0));
            trial.p99_ms = trial.p99_ms.max(figures.latency.percentile_ms(99.0));
            trial.errors += figures.errors_total();
        }
    }
    trial
}

fn print(
    scenario: &Scenario,
    args: &CapacityArgs,
    objectives: &[String],
    found: &Found,
    rate: Option<f64>,
) {
    println!("{}: {}\n", scenario.name, objectives.join("; "));
    println!(
        "{:>12} {:>12} {:>12} {:>10} {:>10} {:>8}  trials met",
        args.vary.name, "intended/s", "rate/s", "p50 ms", "p99 ms", "errors"
    );
    for point in &found.points {
        let met = point
            .trials
            .iter()
            .filter(|trial| trial.met && trial.valid)
            .count();
        let late = if point.trials.iter().any(|trial| !trial.valid) {
            "  (generator late)"
        } else {
            ""
        };
        println!(
            "{:>12.4} {:>12.1} {:>12.1} {:>10.3} {:>10.3} {:>8}  {met} of {}{late}",
            point.value,
            point.median(|trial| trial.intended),
            point.median(|trial| trial.rate),
            point.median(|trial| trial.p50_ms),
            point.median(|trial| trial.p99_ms),
            point.median(|trial| trial.errors as f64),
            point.trials.len()
        );
    }
    match (found.best, found.missed, rate) {
        (Some(best), Some(missed), Some(rate)) => {
            println!(
                "\ncapacity: {} = {best:.4}, {rate:.0} requests/s; missed at {missed:.4}",
                args.vary.name
            );
        }
        (Some(best), None, Some(rate)) => {
            println!(
                "\ncapacity: at least {} = {best:.4}, {rate:.0} requests/s: the bound of --vary was met",
                args.vary.name
            );
        }
        _ => println!(
            "\ncapacity: none; the objectives are missed even at {} = {:.4}",
            args.vary.name, args.vary.low
        ),
    }
}
