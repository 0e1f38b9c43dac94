//! What `run` and `url` do around a run: reading, printing, writing, and the exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

use crate::cli::{HowArgs, RunArgs, UrlArgs};
use crate::report;
use crate::results::Results;
use crate::run::{self, Options};
use crate::scenario::{self, Scenario, Settings};

pub mod capacity;
mod outcome;
mod url;

/// Exit code of wrong usage or a wrong scenario.
const WRONG: u8 = 2;

/// `skep-load run`.
///
/// # Errors
/// When the run cannot begin or its results cannot be written.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let work = tempfile::Builder::new().prefix("skep-load-").tempdir()?;
    let settings = Settings {
        load: args.load,
        stretch: args.stretch,
        ..settings(&args.set, &args.how)
    };
    let mut scenario = match scenario::load(&args.scenario, work.path(), &settings) {
        Ok(scenario) => scenario,
        Err(wrong) => return Ok(complain(&wrong)),
    };
    if let Err(why) = scenario.demand(&args.objective) {
        return Ok(complain(&why));
    }
    let baseline = args.baseline.as_deref().map(Results::read).transpose()?;
    let results = execute(&scenario, &args.how, args.start, work.path())?;
    let mut good = finish(&results, &args.how)?;
    if let (Some(baseline), Some(percent)) = (baseline, args.fail_above) {
        good &= outcome::against(&baseline, &results, percent);
    }
    Ok(code(good))
}

/// `skep-load url`.
///
/// # Errors
/// As [`run`].
pub fn url(args: &UrlArgs) -> anyhow::Result<ExitCode> {
    let work = tempfile::Builder::new().prefix("skep-load-").tempdir()?;
    let settings = settings(&[], &args.how);
    let text = match url::scenario(args) {
        Ok(text) => text,
        Err(why) => return Ok(complain(&why)),
    };
    match scenario::of_text("url", &text, PathBuf::new(), work.path(), &settings) {
        Ok(scenario) => {
            let results = execute(&scenario, &args.how, false, work.path())?;
            Ok(code(finish(&results, &args.how)?))
        }
        Err(wrong) => Ok(complain(&wrong)),
    }
}

fn complain(wrong: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{wrong}");
    ExitCode::from(WRONG)
}

/// Settings of a scenario from the command line.
fn settings(set: &[(String, String)], how: &HowArgs) -> Settings {
    Settings {
        variables: set.iter().cloned().collect(),
        target: how.target.clone(),
        seed: how.seed,
        ..Settings::default()
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn execute(
    scenario: &Scenario,
    how: &HowArgs,
    start: bool,
    work: &Path,
) -> anyhow::Result<Results> {
    let interrupted = interruptible()?;
    let options = options(how, start);
    let prepared = run::prepare(scenario, &options, work, &interrupted)?;
    run::measure(scenario, &options, &prepared, &interrupted)
}

fn options(how: &HowArgs, start: bool) -> Options {
    Options {
        cores: how.cores.0.clone(),
        server_pid: how.server_pid,
        start,
        force: how.force,
        unchecked: how.unchecked,
        quiet: how.quiet,
        command: std::env::args().collect(),
    }
}

/// A switch that SIGINT and SIGTERM turn on. The second signal ends the program at once.
fn interruptible() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// Writes JSON and report into `directory`.
fn write(results: &Results, directory: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let allowed = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    let name: String = results
        .scenario
        .chars()
        .map(|letter| if allowed(letter) { letter } else { '-' })
        .collect();
    let (json, html) = (
        directory.join(format!("{name}.json")),
        directory.join(format!("{name}.html")),
    );
    for (path, bytes) in [
        (&json, serde_json::to_vec(results)?),
        (&html, report::page(results).into_bytes()),
    ] {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((json, html))
}

/// Prints to standard output, which may be closed.
fn say(text: &str) -> std::io::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes and prints results; whether the run is valid and every objective met.
fn finish(results: &Results, how: &HowArgs) -> anyhow::Result<bool> {
    let mut text = outcome::text(results);
    if let Some(directory) = &how.out {
        // Before anything is printed: whoever reads the output may be gone.
        let (json, html) = write(results, directory)?;
        text += &format!(
            "\nresults        {} and {}\n",
            json.display(),
            html.display()
        );
    }
    say(&text)?;
    Ok(results.validity.valid && results.objectives.iter().all(|objective| objective.met))
}
