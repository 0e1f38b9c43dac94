//! What a tenant's neighbours cost it: a victim at a constant rate, alone and beside each kind of
//! attacker, on one core.
//!
//! ```text
//!   core 0: skep, one worker     core 1: skep-load, open loop: 2,000 requests a second are due, whatever
//!   victim + attackers                   the server does, and latency counts from when they were
//! ```
//!
//! Each kind is a run of its own: the victim alone, then disturbed. Rounds take turns.
//! `cargo bench --bench neighbours -- --help`.

#[path = "../harness/mod.rs"]
mod harness;

mod attackers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;
use serde_json::Value;

use crate::attackers::{ATTACKERS, Attacker};
use crate::harness::machine::{self, Machine};
use crate::harness::record::{self, Table};
use crate::harness::stats::Spread;
use crate::harness::{CLIENT_CORE, SERVER_CORE, free_port, root};

/// A victim beside each kind of attacker, skep on core 0, the load on core 1.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds, each with every attacker.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Attackers, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The profile of the worker.
    #[arg(long, default_value = "balanced")]
    profile: String,
    /// The `skep-load` to use instead of the one beside this build.
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// Where the record goes instead of benches/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The victim's figures in one phase.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    errors: u64,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
struct Round {
    attacker: &'static str,
    alone: Figures,
    beside: Figures,
    /// What the attackers got: answers by status.
    answers: Value,
    valid: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    machine::warn_if_busy();
    let wanted = |attacker: &&Attacker| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == attacker.name)
    };
    let chosen: Vec<&Attacker> = ATTACKERS.iter().filter(wanted).collect();
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        for attacker in &chosen {
            let measured = run(&arguments, attacker)?;
            eprintln!(
                "round {round} · {}: p99 {:.2} -> {:.2} ms, p99.9 {:.2} -> {:.2} ms, {} errors",
                attacker.name,
                measured.alone.p99_ms,
                measured.beside.p99_ms,
                measured.alone.p999_ms,
                measured.beside.p999_ms,
                measured.beside.errors,
            );
            rounds.push(measured);
        }
    }
    let report = report(&chosen, &rounds);
    let name = match arguments.profile.as_str() {
        "balanced" => "neighbours".to_owned(),
        // A file's name says nothing of where it is.
        other => format!("neighbours-{}", other.replace(['/', '.'], "-")),
    };
    record::keep(&name, &machine, &report, &rounds, arguments.out.as_deref())
}

/// The load tool: as named, or beside the bench's own build.
fn load_tool(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    let tool = match &arguments.load {
        Some(tool) => tool.clone(),
        None => Path::new(env!("CARGO_BIN_EXE_skep")).with_file_name("skep-load"),
    };
    if !tool.is_file() {
        bail!(
            "{} is missing: run cargo build --release -p skep-load",
            tool.display()
        );
    }
    Ok(tool)
}

fn skep() -> PathBuf {
    std::env::var_os("SKEP").map_or_else(|| env!("CARGO_BIN_EXE_skep").into(), PathBuf::from)
}

fn run(arguments: &Arguments, attacker: &Attacker) -> anyhow::Result<Round> {
    let dir = tempfile::Builder::new()
        .prefix("skep-neighbours-")
        .tempdir()?;
    let scenario = dir.path().join("scenario.toml");
    let text = attackers::scenario(attacker, &arguments.profile, arguments.seconds)?;
    fs::write(&scenario, text)?;
    let output = Command::new(load_tool(arguments)?)
        .arg("run")
        .arg(&scenario)
        .arg("--start")
        .args(["--force", "--cores", &CLIENT_CORE.to_string()])
        .args(["--set", &format!("skep={}", skep().display())])
        .args(["--set", &format!("target=127.0.0.1:{}", free_port()?)])
        .args(["--set", &format!("server_cores={SERVER_CORE}")])
        .args(["--set", &format!("root={}", root().display())])
        .arg("--out")
        .arg(dir.path())
        .current_dir(root())
        .output()
        .context("starting skep-load")?;
    let results = dir.path().join("neighbours.json");
    let Ok(text) = fs::read_to_string(&results) else {
        bail!("skep-load: {}", String::from_utf8_lossy(&output.stderr));
    };
    let results: Value = serde_json::from_str(&text)?;
    let answers = phase(&results, "attackers", "beside")?["statuses"].clone();
    Ok(Round {
        attacker: attacker.name,
        alone: figures(phase(&results, "victim", "alone")?),
        beside: figures(phase(&results, "victim", "beside")?),
        answers,
        valid: results["validity"]["valid"] == true,
    })
}

fn phase<'r>(results: &'r Value, population: &str, phase: &str) -> anyhow::Result<&'r Value> {
    let named = |list: &'r Value, key: &str, name: &str| {
        list.as_array()
            .and_then(|items| items.iter().find(|item| item[key] == name))
    };
    named(&results["populations"], "name", population)
        .and_then(|it| named(&it["phases"], "phase", phase))
        .with_context(|| format!("skep-load says nothing of {population} in {phase}"))
}

fn figures(phase: &Value) -> Figures {
    let number = |key: &str| phase["latency"][key].as_f64().unwrap_or(f64::NAN);
    let errors = phase["errors"].as_object();
    Figures {
        p50_ms: number("p50_ms"),
        p99_ms: number("p99_ms"),
        p999_ms: number("p999_ms"),
        errors: errors.map_or(0, |kinds| kinds.values().filter_map(Value::as_u64).sum()),
    }
}

fn report(chosen: &[&Attacker], rounds: &[Round]) -> String {
    let mut table = Table::new(
        2,
        &[
            "neighbours",
            "what they do",
            "p99 alone",
            "p99 beside",
            "ratio",
            "p99.9 alone",
            "p99.9 beside",
            "more by, ms",
            "errors",
        ],
    );
    for attacker in chosen {
        let of = |value: fn(&Round) -> f64| {
            let own = rounds
                .iter()
                .filter(|round| round.attacker == attacker.name);
            Spread::of(own.map(value))
        };
        let errors = rounds
            .iter()
            .filter(|round| round.attacker == attacker.name);
        let errors: u64 = errors.map(|round| round.beside.errors).sum();
        table.row(vec![
            attacker.name.into(),
            attacker.about.into(),
            format!("{:.2}", of(|round| round.alone.p99_ms)),
            format!("{:.2}", of(|round| round.beside.p99_ms)),
            format!(
                "{:.2}",
                of(|round| round.beside.p99_ms / round.alone.p99_ms)
            ),
            format!("{:.2}", of(|round| round.alone.p999_ms)),
            format!("{:.2}", of(|round| round.beside.p999_ms)),
            format!(
                "{:.2}",
                of(|round| round.beside.p999_ms - round.alone.p999_ms)
            ),
            errors.to_string(),
        ]);
    }
    let invalid = rounds.iter().filter(|round| !round.valid).count();
    format!(
        "{}\nMedian (smallest–largest) of the rounds, in milliseconds; the victim gets {} requests a \
         second. Runs that skep-load calls invalid (its own core was late): {invalid} of {}.\n",
        table.markdown(),
        attackers::VICTIM_RATE,
        rounds.len(),
    )
}
