//! The file: how it is made, opened, and opened again.
//!
//! ```text
//! none ─► .new-…: tables, synced ─► kv.redb ─► directory synced ─► open
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, WriteTransaction,
};
use tempfile::NamedTempFile;

use super::failure::{Failure, OpenError};
use super::tables::{self, Bytes};
use crate::config::limits;

/// Its name.
pub const FILE: &str = "kv.redb";

/// The layout that [`tables`] describes.
const LAYOUT: u64 = 1;

/// Opens the same file again and again.
pub struct Opener(Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>);

impl Opener {
    /// Of that file in a directory, which is made when it is not there.
    pub fn new(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let file = match open_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_file(dir, &path).and_then(|()| Ok(open_file(&path)?))
            }
            file => file.map_err(redb::Error::from),
        };
        let file = file.map_err(|error| OpenError::new(&path, error))?;
        Ok(Self(Box::new(move || open_database(&file))))
    }

    /// Of whatever keeps a database, for tests.
    #[cfg(test)]
    pub fn of(
        opener: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(opener))
    }

    /// Opens it for the first time, and looks whether it is laid out as this host knows it.
    pub fn open_first(&self, path: &Path) -> Result<Database, OpenError> {
        let database = self.open().map_err(|error| OpenError::new(path, error))?;
        match layout(&database).map_err(|error| OpenError::new(path, error))? {
            LAYOUT => Ok(database),
            found => Err(OpenError::Layout {
                path: path.to_owned(),
                found,
                known: LAYOUT,
            }),
        }
    }

    /// Opens it again. What was committed is there.
    pub fn open(&self) -> Result<Database, redb::Error> {
        unless_it_panics(|| Ok((self.0)()?)).unwrap_or_else(|()| Err(damaged_page()))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Makes the file under another name, so that one that is not whole is never found.
fn make_file(dir: &Path, path: &Path) -> Result<(), redb::Error> {
    let file = NamedTempFile::with_prefix_in(".new-", dir)?;
    let database = open_database(file.as_file())?;
    lay_out(&database)?;
    database.close()?;
    match file.persist_noclobber(path) {
        // Another process was faster, and has it open.
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error.error.into());
        }
        _ => {}
    }
    // Its name is on disk before anything in it is acknowledged.
    Ok(File::open(dir)?.sync_all()?)
}

fn open_database(file: &File) -> Result<Database, DatabaseError> {
    let backend = FileBackend::new(file.try_clone().map_err(redb::StorageError::from)?)?;
    let mut builder = Database::builder();
    builder
        .set_cache_size(limits::KV_CACHE_BYTES)
        .create_with_backend(backend)
}

/// Makes the tables, all of them empty.
pub fn lay_out(database: &Database) -> Result<(), redb::Error> {
    let transaction = begin_write(database)?;
    for table in tables::ALL {
        transaction.open_table(table)?;
    }
    let version = LAYOUT.to_le_bytes();
    let mut counters = transaction.open_table(tables::COUNTERS)?;
    counters.insert(tables::VERSION, version.as_slice())?;
    drop(counters);
    Ok(transaction.commit()?)
}

/// Which layout it has. All tables are there, and their first pages can be read.
fn layout(database: &Database) -> Result<u64, redb::Error> {
    let look = || {
        let snapshot = database.begin_read()?;
        for table in tables::ALL {
            snapshot.open_table::<Bytes, Bytes>(table)?.first()?;
        }
        tables::counter(&snapshot.open_table(tables::COUNTERS)?, tables::VERSION)
    };
    match unless_it_panics(look) {
        Ok(Ok(layout)) => Ok(layout),
        Ok(Err(Failure::File(error))) => Err(error),
        Ok(Err(Failure::Answer(error))) => Err(redb::Error::Corrupted(error.to_string())),
        Err(()) => Err(damaged_page()),
    }
}

/// A transaction that is on disk when its commit returns.
///
/// It is synced twice, first what is new and then that it counts. With one sync, recovery would take
/// pages for whole by a checksum that is not cryptographic, in a file that tenants fill; and it would
/// read the whole file, 2 s for each GB, where this reads what the last commit noted.
pub fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Does something with a database, which panics of some pages that are damaged (redb 4.6): that is an
/// error of who needs the page. What it says of it is on standard error.
pub fn despite_damage<T>(
    database: &Database,
    work: impl FnOnce(&Database) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if let Ok(result) = unless_it_panics(|| work(database)) {
        return result;
    }
    // Nothing else is in doubt while another transaction can be begun.
    let probe = || Ok(begin_write(database)?.abort()?);
    Err(match unless_it_panics(probe) {
        Ok(Ok(())) => Failure::unavailable(damaged_page()),
        Ok(Err(error)) => Failure::File(error),
        Err(()) => Failure::File(damaged_page()),
    })
}

/// Closes whatever is open. What fails then has been said before.
pub fn close<T>(open: T) {
    let _ = unless_it_panics(|| drop(open));
}

fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(work)).map_err(drop)
}

fn damaged_page() -> redb::Error {
    redb::Error::Corrupted("a page is damaged".to_owned())
}
