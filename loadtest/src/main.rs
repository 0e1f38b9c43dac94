//! The `skep-load` command: one arm per subcommand.

use std::process::ExitCode;

use clap::Parser;
use skep_load::cli::{Cli, Command};
use skep_load::report;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Report(args) => report::run(&args),
        Command::Compare(_) => Err(anyhow::anyhow!("compare is not built into this version")),
        Command::Export(_) => Err(anyhow::anyhow!("export is not built into this version")),
        Command::Preflight(_) => Err(anyhow::anyhow!("preflight is not built into this version")),
    };
    result.unwrap_or_else(|error| {
        eprintln!("skep-load: {error:#}");
        ExitCode::FAILURE
    })
}
