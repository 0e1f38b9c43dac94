//! skep against its rivals: requests per second, latency, CPU time per request.
//!
//! ```text
//! for each round: for each server: start · warm up · measure · stop
//! ```
//!
//! Servers take turns, so that whatever else changes on the machine changes for all of them, and
//! each round has a new process. `cargo bench --bench compare -- --help`.

#[path = "../harness/mod.rs"]
mod harness;

mod contestants;
mod load;
mod tenants;

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::contestants::{Contestant, HOST};
use crate::harness::machine::{self, Machine};
use crate::harness::record::{self, Table};
use crate::harness::stats::Spread;
use crate::load::{Round, Target};

/// skep against its rivals, each on core 0, with wrk on core 1.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Seconds of load before each measurement.
    #[arg(long, default_value_t = 1)]
    warm_up: u32,
    /// Compare skep with one tenant to skep with this many instead.
    #[arg(long, value_name = "N")]
    tenants: Option<usize>,
    /// Only servers whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Where the record goes instead of benches/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// All rounds of one server.
#[derive(Debug, Serialize)]
struct Measured {
    name: String,
    rounds: Vec<Round>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    contestants::need_wrk()?;
    machine::warn_if_busy();
    let (name, measured, skipped) = match arguments.tenants {
        Some(count) => {
            harness::take_client_core()?;
            (
                format!("tenants-{count}"),
                tenants::measure(&arguments, count)?,
                Vec::new(),
            )
        }
        None => {
            let (measured, skipped) = rivals(&arguments)?;
            ("compare".into(), measured, skipped)
        }
    };
    let report = report(&measured, &skipped);
    record::keep(
        &name,
        &machine,
        &report,
        &measured,
        arguments.out.as_deref(),
    )
}

/// Measures every contestant that is there.
fn rivals(arguments: &Arguments) -> anyhow::Result<(Vec<Measured>, Vec<String>)> {
    let dir = tempfile::Builder::new().prefix("compare-").tempdir()?;
    let (mut present, mut skipped) = (Vec::new(), Vec::new());
    for found in contestants::find(dir.path())? {
        match found {
            Ok(contestant) => present.push(contestant),
            Err((name, install)) => skipped.push(format!("skipped: {name}. To have it: {install}")),
        }
    }
    let wanted = |name: &str| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only))
    };
    present.retain(|contestant: &Contestant| wanted(contestant.name));
    harness::take_client_core()?;
    let mut measured: Vec<Measured> = present
        .iter()
        .map(|it| Measured {
            name: it.name.into(),
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=arguments.rounds {
        for (contestant, measured) in present.iter().zip(&mut measured) {
            let server = contestant.start(dir.path())?;
            load::run(&server, Target::Host(HOST), arguments.warm_up)?;
            let result = load::run(&server, Target::Host(HOST), arguments.seconds)?;
            progress(round, contestant.name, &result);
            measured.rounds.push(result);
        }
    }
    Ok((measured, skipped))
}

fn progress(round: u32, name: &str, result: &Round) {
    eprintln!(
        "round {round} · {name}: {:.0} requests/s, {:.2} µs CPU each",
        result.requests_per_s, result.cpu_us
    );
}

/// The table: the first server is what the others are compared to.
fn report(measured: &[Measured], skipped: &[String]) -> String {
    let mut table = Table::new(
        1,
        &[
            "server",
            "requests/s",
            "ratio",
            "p50 ms",
            "p99 ms",
            "p99/p50",
            "CPU µs/request",
            "ratio",
            "core busy",
        ],
    );
    let spread = |it: &Measured, value: fn(&Round) -> f64| Spread::of(it.rounds.iter().map(value));
    // Round by round, because what disturbs a round disturbs it for all.
    let ratio = |it: &Measured, value: fn(&Round) -> f64| {
        let pairs = it.rounds.iter().zip(&measured[0].rounds);
        Spread::of(pairs.map(|(its, first)| value(its) / value(first)))
    };
    for it in measured {
        table.row(vec![
            it.name.clone(),
            format!("{:.0}", spread(it, |round| round.requests_per_s)),
            format!("{:.2}", ratio(it, |round| round.requests_per_s)),
            format!("{:.2}", spread(it, |round| round.p50_us / 1000.0)),
            format!("{:.2}", spread(it, |round| round.p99_us / 1000.0)),
            format!(
                "{:.1}",
                spread(it, |round| round.p99_us / round.p50_us).median
            ),
            format!("{:.2}", spread(it, |round| round.cpu_us)),
            format!("{:.2}", ratio(it, |round| round.cpu_us)),
            format!("{:.2}", spread(it, |round| round.busy).median),
        ]);
    }
    let mut report = table.markdown();
    report +=
        "\nMedian (smallest–largest) of the rounds; ratios to the first row, round by round.\n";
    for line in skipped {
        report += &format!("\n{line}\n");
    }
    report
}
