//! Why a query or a change of the embedded backend fails.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::data::kv::KvError;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something in the file system.
    #[error("key-value store {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is one user of a file.
    #[error("key-value store {path} is open in another process")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It is another file, or part of it is lost.
    #[error("key-value store {path} is damaged, or is none: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version of the host wrote it.
    #[error("key-value store {path} has layout {found}, and this host reads layout {known}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout that it has.
        found: u64,
        /// The layout that is known.
        known: u64,
    },
}

impl OpenError {
    /// From what the database says of a file.
    pub(super) fn new(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::Busy { path }
            }
            // How it says that a file is no database.
            redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                Self::Io { path, source }
            }
            error => Self::Damaged {
                path,
                why: error.to_string(),
            },
        }
    }
}

/// Why something failed.
#[derive(Debug)]
pub enum Failure {
    /// It is the answer.
    Answer(KvError),
    /// The file failed: nothing more can be done with it as it is open now.
    File(redb::Error),
}

impl Failure {
    /// A row that cannot be read.
    pub fn damaged(table: &str) -> Self {
        Self::unavailable(format_args!("a row of {table} is damaged"))
    }

    /// Something else that no caller can help.
    pub fn unavailable(why: impl Display) -> Self {
        Self::Answer(KvError::Unavailable(format!("the store's file: {why}")))
    }
}

impl From<Failure> for KvError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Answer(error) => error,
            Failure::File(error) => Self::Unavailable(format!("the store's file: {error}")),
        }
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        Self::Answer(error)
    }
}

impl From<redb::StorageError> for Failure {
    fn from(error: redb::StorageError) -> Self {
        match error {
            // A damaged page is no reason to close the file for those who need others.
            redb::StorageError::Corrupted(_) | redb::StorageError::ValueTooLarge(_) => {
                Self::unavailable(error)
            }
            error => Self::File(error.into()),
        }
    }
}

impl From<redb::TableError> for Failure {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            error => Self::unavailable(error),
        }
    }
}

/// A transaction that does not begin, or does not commit, leaves a file that is to be opened again.
macro_rules! of_the_file {
    ($($error:ty)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::File(error.into())
            }
        })*
    };
}

of_the_file! {
    redb::CommitError
    redb::SetDurabilityError
    redb::TransactionError
}
