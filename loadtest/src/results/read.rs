//! Reading what an earlier run left, with one clear line for each way in which that can fail.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Results, SCHEMA};
use crate::limits::RESULTS_BYTES_MAX;

/// Why a file is not the results of a run. The fault is the file's, or of who named it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, not readable, or no plain file.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// It is larger than any run's results.
    #[error(
        "{} is larger than {} MiB, the largest that results can be",
        path.display(),
        RESULTS_BYTES_MAX / 1024 / 1024
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is JSON of something else, or not JSON.
    #[error("{} is not the results of a run: {error}", path.display())]
    NotResults {
        /// The file.
        path: PathBuf,
        /// Where it stops being that, and how.
        error: serde_json::Error,
    },
    /// Another version of the harness wrote it.
    #[error(
        "{} has schema {found}, and this version of skep-load reads schema {SCHEMA}: use the version that wrote it",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
}

/// What every version's document has.
#[derive(Deserialize)]
struct Versioned {
    schema: u64,
}

impl Results {
    /// Reads the results of a run, at most [`RESULTS_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let bytes = bounded(path, RESULTS_BYTES_MAX)?;
        let not_results = |error| ReadError::NotResults {
            path: path.to_owned(),
            error,
        };
        // The version first: the rest of another version's document may well not parse.
        let Versioned { schema } = serde_json::from_slice(&bytes).map_err(not_results)?;
        if schema != u64::from(SCHEMA) {
            return Err(ReadError::Schema {
                path: path.to_owned(),
                found: schema,
            });
        }
        serde_json::from_slice(&bytes).map_err(not_results)
    }
}

fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let unreadable = |error| ReadError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one, even when it
    // is a pipe that has no size.
    let mut limited = file.take(bytes_max + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn message(content: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.json");
        fs::write(&path, content).unwrap();
        Results::read(&path).unwrap_err().to_string()
    }

    #[test]
    fn each_failure_is_one_line_that_names_it() {
        for (content, expected) in [
            (
                &b"<html>"[..],
                "is not the results of a run: expected value",
            ),
            (b"{}", "missing field `schema`"),
            (
                b"{\"schema\": 7}",
                "has schema 7, and this version of skep-load reads schema 1",
            ),
            (b"{\"schema\": 1}", "missing field `tool_version`"),
            (b"{\"schema\": 1, \xff", "is not the results of a run"),
        ] {
            let message = message(content);
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("results.json"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn what_is_not_there_and_what_is_no_file_is_said() {
        let directory = tempfile::tempdir().unwrap();
        for (path, expected) in [
            (directory.path().join("absent.json"), "No such file"),
            (directory.path().to_owned(), "directory"),
        ] {
            let message = Results::read(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_size_is_bounded_to_the_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.json");
        fs::write(&path, [b' '; 100]).unwrap();
        assert_eq!(bounded(&path, 100).unwrap().len(), 100);
        let message = bounded(&path, 99).unwrap_err().to_string();
        assert!(message.contains("larger than 256 MiB"), "{message}");
    }
}
