//! The `skep` command: one arm per subcommand.

use std::process::ExitCode;

use clap::Parser;
use skep::cli::{Cli, Command};
use skep::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::prepare();
    let result = match Cli::parse().command {
        Command::Demo(args) => commands::demo(&args),
        Command::Serve(args) => commands::serve(&args),
        Command::Run(args) => commands::run(&args),
        Command::New(args) => commands::new(&args),
        Command::Check(args) => commands::check(&args),
        Command::Compile(args) => commands::compile(&args),
        Command::Tune(args) => commands::tune(&args),
        Command::Secret(args) => commands::secret(&args),
        Command::Logs(args) => commands::logs(&args),
        Command::Purge(args) => commands::purge(&args),
        Command::Kv(args) => commands::kv(&args),
        Command::Doctor(args) => commands::doctor(&args),
        Command::Worker => commands::worker(),
        Command::Front => return skep::accept::front::run(),
        Command::Egress => return skep::egress::run(),
        Command::Data => return skep::data::run(),
        Command::Broker => return skep::broker::run(),
        Command::CompileJob => return skep::compiler::job::run(),
        Command::IsolationProbe => return skep::isolation::doctor::probe(),
    };
    commands::exit_code(result)
}
