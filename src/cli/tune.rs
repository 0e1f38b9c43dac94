//! The words of `skep tune`.

mod search;

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub use search::SearchArgs;

pub(super) const EXAMPLES: &str = "\
Nothing of the host is written except by `apply` and `revert`.

Examples:
  skep tune show                         what this host is made of, and who should do what
  skep tune check --config skep.toml     which settings differ
  skep tune plan > tune.sh               the commands, to be read
  skep tune apply && skep tune revert    do it, and take it back

Exit codes: 0 as wanted, 1 something differs or failed, 2 wrong usage or configuration.";

/// Arguments of `skep tune`.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: TuneAction,
}

/// A subcommand of `skep tune`.
#[derive(Debug, Subcommand)]
pub enum TuneAction {
    /// Show the machine, a layout for it, and the configuration that matches
    Show(ShownArgs),
    /// Compare every setting with what is wanted
    Check(ShownArgs),
    /// Print the commands that would change what differs; write nothing
    Plan(ShownArgs),
    /// Change what differs, after saving what was there
    Apply(ApplyArgs),
    /// Put back what was there before the first `apply`
    Revert(RevertArgs),
    /// Find a core profile that beats another on an objective, by measuring
    #[command(after_help = search::EXAMPLES)]
    Search(SearchArgs),
}

/// What is looked at.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// The host's root: another directory is a copy of a host's /sys and /proc
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The profile to tune for: a built-in name, or the path of a file [default: the
    /// configuration's, else balanced]
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The configuration whose cores, profile and tenants are to be served
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Settings of one's own, instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub settings: Option<PathBuf>,
    /// A setting that is only for those who name it; may be repeated
    #[arg(long, value_name = "SETTING")]
    pub with: Vec<String>,
    /// A setting to leave alone; may be repeated
    #[arg(long, value_name = "SETTING")]
    pub without: Vec<String>,
}

/// Arguments of `show`, `check` and `plan`.
#[derive(Debug, Args)]
pub struct ShownArgs {
    /// What is looked at.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What is looked at.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Where the journal is kept [default: var/lib/skep/tune below the root]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Arguments of `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// The root that was given to `apply`
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// The directory that was given to `apply`
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}
