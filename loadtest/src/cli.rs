//! The command line: what can be typed, and what each word of it means.

use std::path::PathBuf;

use crate::scenario::Objective;
use clap::{Args, Parser, Subcommand};

use crate::cores::CoreList;
use crate::limits::CONNECTIONS_MAX;

/// Loads an HTTP server that serves many tenants, and says what it carries.
#[derive(Debug, Parser)]
#[command(name = "skep-load", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  skep-load url http://127.0.0.1:8080/ --rate 5000
  skep-load run scenarios/noisy-neighbour.toml --target 127.0.0.1:8080 --cores 1 --out results
  skep-load report results.json -o report.html
  skep-load compare before-*.json --with after-*.json

Exit codes: 0 done and every objective met, 1 failed or an objective missed, 2 wrong usage or scenario.";

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario, and say whether its objectives are met
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Find the highest load that meets a scenario's objectives
    #[command(after_help = CAPACITY_EXAMPLES)]
    Capacity(CapacityArgs),
    /// Load one URL, without a scenario file
    #[command(after_help = URL_EXAMPLES)]
    Url(UrlArgs),
    /// Write one self-contained HTML page of a run's results
    Report(ReportArgs),
    /// Say what changed between two sets of runs, and how sure that is
    Compare(CompareArgs),
    /// Write a run's histograms for other HdrHistogram tools
    Export(ExportArgs),
    /// Look for what would spoil a measurement on this machine
    Preflight(PreflightArgs),
}

const RUN_EXAMPLES: &str = "\
Examples:
  skep-load run scenarios/hello.toml --target 127.0.0.1:8080 --cores 1
  skep-load run scenarios/noisy-neighbour.toml --start --set skep=target/release/skep --out results
  skep-load run scenarios/hello.toml --start --objective 'cpu_us_per_request <= 20'
  skep-load run hello.toml --baseline results/hello.json --fail-above 5

--out DIR gets SCENARIO.json and SCENARIO.html. In a scenario, ${name} is what --set name=VALUE gave.";

/// Arguments of `skep-load run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The scenario file
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// Value of a variable of the scenario; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Objective of every population with a schedule, instead of the scenario's own; may be repeated
    #[arg(long, value_name = "OBJECTIVE", value_parser = objective)]
    pub objective: Vec<Objective>,
    /// Multiply the rates of open-loop populations
    #[arg(long, value_name = "TIMES", value_parser = factor)]
    pub load: Option<f64>,
    /// Multiply the length of every phase
    #[arg(long, value_name = "TIMES", value_parser = factor)]
    pub stretch: Option<f64>,
    /// Start the scenario's own server, and stop it afterwards
    #[arg(long)]
    pub start: bool,
    /// Compare with these results; needs --fail-above
    #[arg(long, value_name = "RESULTS.json", requires = "fail_above")]
    pub baseline: Option<PathBuf>,
    /// Fail when a figure is worse than the baseline's by more than this share, with confidence
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "baseline")]
    pub fail_above: Option<f64>,
    /// How it is run.
    #[command(flatten)]
    pub how: HowArgs,
}

/// What all commands that send requests share.
#[derive(Debug, Args)]
pub struct HowArgs {
    /// Where requests go, instead of the scenario's own target
    #[arg(long, value_name = "ADDR:PORT")]
    pub target: Option<String>,
    /// Cores of the generators, one each: `1` or `2-5,7`; without it one generator, not pinned
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub cores: CoreList,
    /// Pid of the server, to sample its CPU and memory; its child processes count
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Begin the random numbers with this
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Directory for results: JSON and an HTML report
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Run although preflight refuses; the results say so
    #[arg(long)]
    pub force: bool,
    /// Leave out the check phase, which holds every shape of request to what is expected
    #[arg(long)]
    pub unchecked: bool,
    /// Show nothing while it runs
    #[arg(short, long)]
    pub quiet: bool,
}

const CAPACITY_EXAMPLES: &str = "\
Examples:
  skep-load capacity scenarios/hello.toml --start --objective 'p99_ms <= 5' --cores 1
  skep-load capacity scenarios/zipf-10k.toml --start --vary tenants=100..20000 --cores 1

The load (or the variable) is doubled until an objective is missed, then bisected. A point is met when
most of its trials meet every objective.";

/// Arguments of `skep-load capacity`.
#[derive(Debug, Args)]
pub struct CapacityArgs {
    /// The scenario file
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// Value of a variable of the scenario; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// What is varied: `load`, which multiplies the rates, or a whole number that is a variable of the
    /// scenario; between the two bounds
    #[arg(long, value_name = "NAME=LOW..HIGH", value_parser = range, default_value = "load=0.01..1000")]
    pub vary: Range,
    /// Objective of every population with a schedule, instead of the scenario's own; may be repeated
    #[arg(long, value_name = "OBJECTIVE", value_parser = objective)]
    pub objective: Vec<Objective>,
    /// Trials of a point, at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub trials: u32,
    /// How exactly the limit is found
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    pub within: f64,
    /// Multiply the length of every phase
    #[arg(long, value_name = "TIMES", value_parser = factor)]
    pub stretch: Option<f64>,
    /// Start the scenario's own server; for a variable, anew for each of its values
    #[arg(long)]
    pub start: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How it is run.
    #[command(flatten)]
    pub how: HowArgs,
}

/// What is varied, between which bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// `load`, or a variable of the scenario.
    pub name: String,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
}

fn range(text: &str) -> Result<Range, String> {
    let wrong = || {
        "write NAME=LOW..HIGH with 0 < LOW < HIGH, such as load=0.1..100 or tenants=10..10000"
            .to_owned()
    };
    let (name, bounds) = text.split_once('=').ok_or_else(wrong)?;
    let (low, high) = bounds.split_once("..").ok_or_else(wrong)?;
    let (low, high): (f64, f64) = low.parse().ok().zip(high.parse().ok()).ok_or_else(wrong)?;
    if name.is_empty() || low <= 0.0 || low >= high || !high.is_finite() {
        return Err(wrong());
    }
    Ok(Range {
        name: name.to_owned(),
        low,
        high,
    })
}

fn objective(text: &str) -> Result<Objective, String> {
    Objective::parse(text)
}

const URL_EXAMPLES: &str = "\
Examples:
  skep-load url http://127.0.0.1:8080/ --connections 64             as fast as it goes
  skep-load url http://127.0.0.1:8080/ --rate 5000 --seconds 30     on schedule, whatever the server does
  skep-load url http://127.0.0.1:8080/ --host app.test --rate 100 --constant";

/// Arguments of `skep-load url`.
#[derive(Debug, Args)]
pub struct UrlArgs {
    /// http://ADDRESS:PORT/PATH
    #[arg(value_name = "URL")]
    pub url: String,
    /// Requests a second, at random moments; without it each connection sends as fast as it is answered
    #[arg(long, value_name = "PER SECOND")]
    pub rate: Option<f64>,
    /// Space the requests evenly
    #[arg(long, requires = "rate")]
    pub constant: bool,
    /// Connections, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = connections)]
    pub connections: usize,
    /// Length of the measurement, after two seconds of warm-up
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// The Host header, when it is not the URL's
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// A header; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Bytes of request body
    #[arg(long, value_name = "N")]
    pub body_bytes: Option<usize>,
    /// Expected status
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub status: u16,
    /// How it is run.
    #[command(flatten)]
    pub how: HowArgs,
}

/// Arguments of `skep-load report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results of `skep-load run`
    #[arg(value_name = "RESULTS.json")]
    pub results: PathBuf,
    /// Where the page goes
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
}

/// Arguments of `skep-load compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Results before the change; several interleaved runs say more
    #[arg(value_name = "BEFORE.json", required = true)]
    pub before: Vec<PathBuf>,
    /// Results after the change
    #[arg(long = "with", value_name = "AFTER.json", required = true, num_args = 1..)]
    pub after: Vec<PathBuf>,
    /// Fail when a figure is worse by more than this share, with confidence
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_above: Option<f64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `skep-load export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Results of `skep-load run`
    #[arg(value_name = "RESULTS.json")]
    pub results: PathBuf,
    /// Directory for POPULATION-PHASE.hgrm and one POPULATION.hlog each
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Arguments of `skep-load preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// Cores that generators run on: `1` or `2-5,7`
    #[arg(
        long,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true
    )]
    pub cores: CoreList,
    /// Pid of the server, when it runs on this machine
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Connections that the run would open
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = connections)]
    pub connections: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections) if (1..=CONNECTIONS_MAX).contains(&connections) => Ok(connections),
        _ => Err(format!("1 to {CONNECTIONS_MAX} connections can be opened")),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a variable is NAME=VALUE".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor <= 1e6 => Ok(factor),
        _ => Err("a factor is a number above 0, such as 0.5".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("a share in percent is a number of at least 0, such as 5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_say_what_would_be_right() {
        for (line, expected) in [
            ("preflight --cores 1-x", "such as 1 or 2-5,7"),
            ("preflight --connections 0", "1 to 100000"),
            ("compare a --with b --fail-above=-1", "at least 0"),
            ("compare a --with b --fail-above nan", "at least 0"),
        ] {
            let words = std::iter::once("skep-load").chain(line.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
