//! The words of `skep tune search`.

use std::path::PathBuf;

use clap::Args;

use super::super::parse_variable;
use crate::config::limits::TUNE_SEARCH_CANDIDATES_MAX;

pub(super) const EXAMPLES: &str = "\
Measures with `skep-load`, on this machine: every candidate a server of its own. A quiet machine
gives answers; on a busy one `min cpu_us_per_request` is the most exact.

Objectives:
  max rate with p99_ms <= 5, errors == 0              the highest rate that keeps both
  max tenants with p99_ms <= 1 between 100 and 10000  the largest value of a variable of the scenario
  min cpu_us_per_request with p99_ms <= 5             the smallest metric at the scenario's own load

Examples:
  skep tune search --scenario hello.toml --objective 'max rate with p99_ms <= 5' -o mine.toml
  skep tune search --scenario hello.toml --objective 'min cpu_us_per_request' -o mine.toml --quick

Exit codes: 0 a profile beats the base and is written, 1 none does or it failed, 2 wrong usage.";

/// Arguments of `skep tune search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The scenario of `skep-load`; its server's profile has to be ${profile}
    #[arg(long, value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    /// What is searched for
    #[arg(long, value_name = "OBJECTIVE")]
    pub objective: String,
    /// Where the profile goes; the evidence goes beside it, to NAME.toml.evidence.json
    #[arg(short, long, value_name = "NAME.toml")]
    pub output: PathBuf,
    /// Replace what is there
    #[arg(long)]
    pub overwrite: bool,
    /// The profile to start from and to beat: a built-in name, or the path of a file
    #[arg(long, value_name = "PROFILE", default_value = "balanced")]
    pub base: String,
    /// What is tried, instead of the built-in space
    #[arg(long, value_name = "FILE")]
    pub space: Option<PathBuf>,
    /// Cores of the load generators: `1` or `2-5,7`
    #[arg(long, value_name = "LIST", default_value = "1")]
    pub load_cores: String,
    /// Cores of the server: the scenario's ${server_cores}
    #[arg(long, value_name = "LIST", default_value = "0")]
    pub server_cores: String,
    /// Value of a variable of the scenario; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub set: Vec<(String, String)>,
    /// Begin the random numbers with this: order, choice, and requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u32,
    /// Try at most this many changes, chosen at random [default: all]
    #[arg(long, value_name = "N", value_parser = candidates)]
    pub candidates: Option<usize>,
    /// Measure briefly: shows that everything works, and finds large effects
    #[arg(long)]
    pub quick: bool,
    /// Measure although the preflight of `skep-load` refuses
    #[arg(long)]
    pub force: bool,
    /// The `skep-load` program [default: beside skep, else in $PATH]
    #[arg(long, value_name = "PATH")]
    pub load_tool: Option<PathBuf>,
}

fn candidates(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=TUNE_SEARCH_CANDIDATES_MAX).contains(&count) => Ok(count),
        _ => Err(format!("1 to {TUNE_SEARCH_CANDIDATES_MAX} candidates")),
    }
}
