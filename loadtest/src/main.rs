//! The `skep-load` command: one arm per subcommand.

use std::process::ExitCode;

use clap::Parser;
use skep_load::cli::{Cli, Command};
use skep_load::{compare, export, preflight};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Report(_) => Err(anyhow::anyhow!("report is not built in")),
        Command::Compare(args) => compare::command(&args),
        Command::Export(args) => export::command(&args),
        Command::Preflight(args) => preflight::command(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("skep-load: {error:#}");
        ExitCode::FAILURE
    })
}
