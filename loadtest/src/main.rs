//! The `skep-load` command: one arm per subcommand.

use clap::Parser;
use skep_load::cli::Cli;

fn main() {
    let _ = Cli::parse();
}
