//! The `skep-load` command: one arm per subcommand.

use std::process::ExitCode;

use clap::Parser;
use skep_load::cli::{Cli, Command};
use skep_load::{commands, compare, export, preflight, report};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => commands::run(&args),
        Command::Capacity(args) => commands::capacity::run(&args),
        Command::Url(args) => commands::url(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::command(&args),
        Command::Export(args) => export::command(&args),
        Command::Preflight(args) => preflight::command(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("skep-load: {error:#}");
        ExitCode::FAILURE
    })
}
