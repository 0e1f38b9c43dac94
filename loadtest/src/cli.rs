//! The command line: what can be typed, and what each word of it means.

use std::path::PathBuf;

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
  skep-load report results.json -o report.html
  skep-load compare before-*.json --with after-*.json

Exit codes: 0 done and every objective met, 1 failed or an objective missed, 2 wrong usage or scenario.";

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write one self-contained HTML page of a run's results
    Report(ReportArgs),
    /// Say what changed between two sets of runs, and how sure that is
    Compare(CompareArgs),
    /// Write a run's histograms for other HdrHistogram tools
    Export(ExportArgs),
    /// Look for what would spoil a measurement on this machine
    Preflight(PreflightArgs),
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
