//! A run's histograms as files that other HdrHistogram tools read.
//!
//! | file | holds | read by |
//! |---|---|---|
//! | `POPULATION-PHASE.hgrm` | the percentile distribution, in milliseconds | the plotter of HdrHistogram, wrk2's scripts |
//! | `POPULATION.hlog` | one compressed histogram a phase, in nanoseconds | `HistogramLogProcessor`, the libraries of every language |

mod hgrm;
mod hlog;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::ExportArgs;
use crate::results::Results;

/// `skep-load export`: writes the files and says which.
///
/// # Errors
/// The results cannot be read, or a file cannot be written.
pub fn command(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let results = Results::read(&args.results)?;
    let mut out = io::stdout().lock();
    for path in write(&results, &args.output)? {
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes every population's files into `directory`, which is created, over what was there under
/// the same names; the paths that were written. Characters that do not belong into a file's name
/// become `_`.
///
/// # Errors
/// What could not be written, and why.
pub fn write(results: &Results, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let mut names = Names::default();
    let mut written = Vec::new();
    for population in &results.populations {
        for figures in &population.phases {
            let stem = format!("{}-{}", population.name, figures.phase);
            let path = directory.join(names.new_name(&stem, "hgrm"));
            create(&path, |file| Ok(hgrm::write(&figures.latency, file)?))?;
            written.push(path);
        }
        let path = directory.join(names.new_name(&population.name, "hlog"));
        create(&path, |file| hlog::write(results, population, file))?;
        written.push(path);
    }
    Ok(written)
}

fn create(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let written = || -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write(&mut file)?;
        Ok(file.flush()?)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

/// File names, each given once.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// A name that stays within the directory and is not hidden; a second of the same gets a number.
    fn new_name(&mut self, stem: &str, extension: &str) -> String {
        let mut stem: String = stem
            .chars()
            .map(|letter| match letter {
                '.' | '-' | '_' => letter,
                _ if letter.is_alphanumeric() => letter,
                _ => '_',
            })
            .collect();
        if stem.is_empty() || stem.starts_with('.') {
            stem.insert(0, '_');
        }
        let mut name = format!("{stem}.{extension}");
        let mut number = 2;
        while !self.0.insert(name.clone()) {
            name = format!("{stem}-{number}.{extension}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory_and_differ() {
        let mut names = Names::default();
        for (stem, expected) in [
            ("victims-measure", "victims-measure.hgrm"),
            ("../../etc/x", "_.._.._etc_x.hgrm"),
            ("a b\n", "a_b_.hgrm"),
            ("", "_.hgrm"),
            ("victims-measure", "victims-measure-2.hgrm"),
            ("größe", "größe.hgrm"),
        ] {
            assert_eq!(names.new_name(stem, "hgrm"), expected);
        }
    }
}
