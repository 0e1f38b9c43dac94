//! Comparisons of made-up runs whose differences are known.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "common/runs.rs"]
mod runs;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp, Normal};
use skep_load::compare::{Comparison, Method, Metric, Row, Verdict, against_baseline, compare};
use skep_load::histogram::Latency;
use skep_load::results::{Results, ServerSample};

/// Draws runs: requests whose latency is `level` times a draw from an exponential distribution
/// around 1 ms, where `level` varies from run to run and from second to second.
struct Machine {
    random: StdRng,
    between_runs: f64,
}

impl Machine {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            between_runs: 0.02,
        }
    }

    fn vary(&mut self, deviation: f64) -> f64 {
        1.0 + Normal::new(0.0, deviation)
            .unwrap()
            .sample(&mut self.random)
    }

    /// A run that began at `began_s`, `factor` times as slow as usual.
    fn run(&mut self, began_s: u64, factor: f64) -> Results {
        let mut results = runs::run();
        results.started_unix_s = began_s;
        let of_run = factor * self.vary(self.between_runs);
        let mut population = runs::population("victims", &[1_000_000]);
        let mut total = Latency::new();
        let exponential = Exp::new(1.0).unwrap();
        for second in &mut population.seconds {
            let of_second = of_run * self.vary(0.05);
            let mut latency = Latency::new();
            for _ in 0..200 {
                latency.record((1e6 * of_second * exponential.sample(&mut self.random)) as u64);
            }
            second.succeeded = (200.0 * self.vary(0.02)) as u64;
            second.intended = second.succeeded;
            second.p50_ms = latency.percentile_ms(50.0);
            second.p99_ms = latency.percentile_ms(99.0);
            second.p999_ms = latency.percentile_ms(99.9);
            total.add(&latency);
        }
        for figures in &mut population.phases {
            figures.latency = total.clone();
            figures.succeeded = (4000.0 * self.vary(0.005)) as u64;
            figures.intended = figures.succeeded;
        }
        results.populations = vec![population];
        results.server = (0..=40)
            .map(|second| ServerSample {
                at_s: f64::from(second),
                cpu_s: f64::from(second) * 0.1 * of_run,
                rss_bytes: 1 << 20,
                processes: 1,
            })
            .collect();
        results
    }

    /// As many runs of each side that take turns, the second side `factor` times as slow.
    fn turns(&mut self, pairs: u64, factor: f64) -> (Vec<Results>, Vec<Results>) {
        (0..pairs)
            .map(|pair| {
                (
                    self.run(pair * 200, 1.0),
                    self.run(pair * 200 + 100, factor),
                )
            })
            .unzip()
    }
}

fn compared(before: &[Results], after: &[Results]) -> Comparison {
    compare(
        &before.iter().collect::<Vec<_>>(),
        &after.iter().collect::<Vec<_>>(),
    )
}

fn row(comparison: &Comparison, metric: Metric) -> &Row {
    comparison.groups[0]
        .rows
        .iter()
        .find(|row| row.metric == metric)
        .unwrap()
}

#[test]
fn a_slower_server_is_worse_where_it_is_slower_and_only_there() {
    let (before, after) = Machine::new(1).turns(6, 1.2);
    let comparison = compared(&before, &after);
    assert!(matches!(&comparison.groups[0].method, Method::Pairs(pairs) if pairs.len() == 6));
    for (metric, verdict) in [
        (Metric::P50, Verdict::Worse),
        (Metric::P99, Verdict::Worse),
        (Metric::Mean, Verdict::Worse),
        (Metric::Cpu, Verdict::Worse),
        (Metric::Rate, Verdict::NoDifferenceShown),
        (Metric::Errors, Verdict::NoDifferenceShown),
    ] {
        let row = row(&comparison, metric);
        assert_eq!(row.verdict, verdict, "{row:?}");
    }
    let change = row(&comparison, Metric::P50).change.unwrap();
    assert!(change.low < 20.0 && 20.0 < change.high, "{change:?}");
    // Warm-up is not compared.
    assert!(
        comparison.groups[0]
            .rows
            .iter()
            .all(|row| row.phase == "measure")
    );
    let failures = comparison.failures(5.0);
    assert!(
        failures
            .iter()
            .any(|line| line.contains("p50 ms of victims in measure of hello"))
    );
    assert_eq!(comparison.failures(50.0), [""; 0]);
    assert!(compared(&after, &before).failures(5.0).is_empty());
}

/// Over 40 comparisons of the same with the same, by each method.
#[test]
fn no_difference_is_shown_where_there_is_none() {
    for (method, runs, apart_s) in [("pairs", 5, 0), ("runs", 5, 100_000), ("seconds", 1, 0)] {
        let mut machine = Machine::new(2);
        if method == "seconds" {
            // Seconds cannot know how runs differ, so here they do not.
            machine.between_runs = 0.0;
        }
        let (mut all, mut changed, mut steady, mut shown) = (0, 0, 0, 0);
        for _ in 0..40 {
            let (before, mut after) = machine.turns(runs, 1.0);
            for run in &mut after {
                run.started_unix_s += apart_s;
            }
            let comparison = compared(&before, &after);
            for row in &comparison.groups[0].rows {
                let is = |verdict| usize::from(row.verdict == verdict);
                if row.change.is_some() {
                    all += 1;
                    changed += is(Verdict::Better) + is(Verdict::Worse);
                    // The extremes rest on a few requests: whether they changed cannot be told.
                    if !matches!(row.metric, Metric::Max | Metric::P999) {
                        steady += 1;
                        shown += is(Verdict::NoDifferenceShown);
                    }
                }
            }
        }
        let percent = |count: usize, of: usize| 100.0 * count as f64 / of as f64;
        let (changed, shown) = (percent(changed, all), percent(shown, steady));
        println!(
            "{method}: {changed:.1} % of {all} look changed, {shown:.1} % of {steady} unchanged"
        );
        assert!(changed <= 6.0, "{method}: {changed} %");
        assert!(shown >= 90.0, "{method}: {shown} %");
    }
}

#[test]
fn one_run_each_says_what_it_cannot_say() {
    let mut machine = Machine::new(3);
    let (before, after) = (machine.run(0, 1.0), machine.run(100, 1.5));
    let against = against_baseline(&before, &after, 5.0);
    let group = &against.comparison.groups[0];
    assert_eq!(group.method, Method::Seconds);
    assert!(
        group.explained.contains("not how runs differ"),
        "{}",
        group.explained
    );
    for (metric, verdict) in [
        (Metric::P50, Verdict::Worse),
        (Metric::P99, Verdict::Worse),
        (Metric::Rate, Verdict::NoDifferenceShown),
        (Metric::Cpu, Verdict::Worse),
        (Metric::P90, Verdict::CannotTell),
        (Metric::Max, Verdict::CannotTell),
    ] {
        assert_eq!(
            row(&against.comparison, metric).verdict,
            verdict,
            "{metric:?}"
        );
    }
    assert!(against.failures.iter().any(|line| line.contains("p99 ms")));
    assert_eq!(against_baseline(&before, &before, 5.0).failures, [""; 0]);
}

#[test]
fn a_server_that_answers_nothing_is_worse_and_its_latency_unknown() {
    let mut machine = Machine::new(4);
    let (before, mut after) = machine.turns(4, 1.0);
    for run in &mut after {
        for figures in &mut run.populations[0].phases {
            figures.latency = Latency::new();
            figures.errors.insert("connect".into(), figures.succeeded);
            figures.succeeded = 0;
        }
    }
    let comparison = compared(&before, &after);
    for (metric, verdict, after) in [
        (Metric::Rate, Verdict::Worse, Some(0.0)),
        (Metric::Errors, Verdict::Worse, Some(100.0)),
        (Metric::P99, Verdict::CannotTell, None),
    ] {
        let row = row(&comparison, metric);
        assert_eq!(row.verdict, verdict, "{row:?}");
        assert_eq!(row.after.map(f64::round), after);
    }
    assert_eq!(comparison.failures(5.0).len(), 2);
}

#[test]
fn what_else_differs_is_said_and_fails_a_gate_when_it_matters() {
    let run = Machine::new(5).run(0, 1.0);
    type Edit = fn(&mut Results);
    let changes: [(&str, bool, Edit); 6] = [
        ("CPU differs: Test CPU before, Other after", true, |run| {
            run.fingerprint.cpu = "Other".into();
        }),
        ("number of cores differs: 4 before, 8 after", true, |run| {
            run.fingerprint.cores = 8;
        }),
        ("send different requests", true, |run| {
            run.scenario_text.push_str("seed = 2\n");
        }),
        ("1 of 1 runs after are not valid: late.", true, |run| {
            run.validity.valid = false;
            run.validity.reasons.push("late.".into());
        }),
        (
            "kernel differs: 6.12.0 before, 6.13.0 after",
            false,
            |run| {
                run.fingerprint.kernel = "6.13.0".into();
            },
        ),
        ("1 of 1 runs after were forced", false, |run| {
            run.forced = true
        }),
    ];
    for (text, incomparable, change) in changes {
        let mut after = run.clone();
        change(&mut after);
        let against = against_baseline(&run, &after, 5.0);
        let warnings = &against.comparison.groups[0].warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].text.contains(text), "{warnings:?}");
        assert_eq!(warnings[0].incomparable, incomparable);
        assert_eq!(!against.failures.is_empty(), incomparable);
    }
}

#[test]
fn another_server_is_what_a_comparison_is_about() {
    let before = Machine::new(7).run(0, 1.0);
    let mut after = before.clone();
    after.scenario_text += "# faster?\ntarget = \"127.0.0.1:1\"\n[server]\ncommand = [\"b\"]\n";
    let against = against_baseline(&before, &after, 5.0);
    assert_eq!(against.comparison.groups[0].warnings, []);
}

/// Requests time out after ten seconds: those of a phase of ten have no errors in its seconds.
#[test]
fn errors_that_come_after_their_phase_count_in_it() {
    let before = Machine::new(8).run(0, 1.0);
    let mut after = before.clone();
    let figures = &mut after.populations[0].phases[1];
    let late = figures.intended / 2;
    figures.errors.insert("timeout".into(), late);
    figures.succeeded -= late;
    let against = against_baseline(&before, &after, 5.0);
    let row = row(&against.comparison, Metric::Errors);
    assert_eq!(row.verdict, Verdict::Worse, "{row:?}");
    assert_eq!(row.after.map(f64::round), Some(50.0));
    assert!(
        against
            .failures
            .iter()
            .any(|line| line.contains("errors %"))
    );
}

fn write(directory: &Path, name: &str, results: &Results) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, serde_json::to_vec(results).unwrap()).unwrap();
    path
}

fn skep_load(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skep-load"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn the_command_says_it_and_its_exit_code_does() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (before, after) = Machine::new(6).turns(3, 1.5);
    for at in 0..3 {
        write(directory, &format!("a{at}.json"), &before[at]);
        write(directory, &format!("b{at}.json"), &after[at]);
    }
    let mut other = after[0].clone();
    other.scenario = "other".into();
    write(directory, "other.json", &other);
    std::fs::write(directory.join("old.json"), "{\"schema\": 0}").unwrap();

    let compared = "compare a0.json a1.json a2.json --with b0.json b1.json b2.json";
    for (line, code, expected) in [
        (compared.to_owned(), 0, "3 pairs of runs that took turns"),
        (
            format!("{compared} --fail-above 5"),
            1,
            "FAILED: worse by more than 5 %: p50 ms",
        ),
        (format!("{compared} --fail-above 400"), 0, "passed"),
        (format!("{compared} --json"), 0, "\"verdict\": \"worse\""),
        (
            "compare a0.json --with a0.json --fail-above 0".into(),
            0,
            "one run each",
        ),
        (
            "compare a0.json a1.json --with b0.json".into(),
            0,
            "cannot tell",
        ),
        (
            "compare a0.json --with other.json".into(),
            1,
            "skep-load: the two sides share no scenario",
        ),
        (
            "compare a0.json --with old.json".into(),
            1,
            "skep-load: old.json has schema 0",
        ),
        (
            "compare a0.json --with none.json".into(),
            1,
            "skep-load: cannot read none.json",
        ),
        ("compare a0.json".into(), 2, "--with"),
    ] {
        let done = skep_load(&line.split(' ').collect::<Vec<_>>(), directory);
        let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert_eq!(done.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains(expected), "{line}: {text}");
    }
}
