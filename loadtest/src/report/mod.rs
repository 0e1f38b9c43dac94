//! One self-contained HTML page of a run.
//!
//! `page` puts the sections together. `verdict`, `summary`, `curve`, `time`, `isolation`, `heat`,
//! `tenants` and `machine` are the sections, in the order in which a reader asks. `plot`, `axis`,
//! `series` and `phases` draw; `text` escapes and writes numbers.
//!
//! The page asks nothing of a network and reads without its script, which only adds read-outs.

mod axis;
mod curve;
mod heat;
mod isolation;
mod machine;
mod page;
mod phases;
mod plot;
mod series;
mod summary;
mod tenants;
mod text;
mod time;
mod verdict;

use std::fs;
use std::process::ExitCode;

use anyhow::Context as _;

pub use page::page;

use crate::cli::ReportArgs;
use crate::results::Results;

/// `skep-load report`: writes the page of a run's results.
///
/// # Errors
/// One line, when the results cannot be read or the page cannot be written.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let results = Results::read(&args.results)?;
    let page = page(&results);
    fs::write(&args.output, &page)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    println!(
        "{}: {} KiB",
        args.output.display(),
        page.len().div_ceil(1024)
    );
    Ok(ExitCode::SUCCESS)
}
