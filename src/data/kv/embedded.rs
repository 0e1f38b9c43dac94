//! Keys in one file of the host's, durable before a change is acknowledged.
//!
//! ```text
//! DIR/kv.redb (0600)
//! query  ─► snapshot ─► answer            as many at once as there are callers
//! apply  ─► [change, change, …] ─► fsync ─► [answer or error, …]     one after another
//! ```
//!
//! The file is a copy-on-write B-tree ([redb](https://docs.rs/redb)): a commit writes new pages and
//! then the root that leads to them, so that whatever happens, what is found afterwards is as one
//! commit left it. A query sees the last commit, whole, and waits for no writer.

#![forbid(unsafe_code)]

mod failure;
mod file;
mod plan;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase};

use self::failure::Failure;
pub use self::failure::OpenError;
use self::file::{FILE, Opener};
use self::read::Reader;
use self::tables::Usage;
use self::write::Batch;
use crate::config::limits;
use crate::data::kv::{Answer, Change, KvError, Namespace, Query, Quota};

/// How long nothing is tried with a file that has failed.
const PAUSE: Duration = Duration::from_millis(limits::KV_REOPEN_MS);

/// Keys of all namespaces.
#[derive(Debug)]
pub struct Embedded {
    /// Taken for writing only by who closes a file that has failed, say because the disk was full, or
    /// opens it again.
    state: RwLock<State>,
    opener: Opener,
}

#[derive(Debug)]
enum State {
    Open(Database),
    Failed { at: Instant, why: KvError },
}

impl Embedded {
    /// Opens `dir/kv.redb`, or makes it, for its owner alone.
    ///
    /// # Errors
    /// When it is open in another process, is damaged, or cannot be read or written.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::with(Opener::new(dir)?, &dir.join(FILE))
    }

    fn with(opener: Opener, path: &Path) -> Result<Self, OpenError> {
        let database = opener.open_first(path)?;
        Ok(Self {
            state: RwLock::new(State::Open(database)),
            opener,
        })
    }

    /// Answers from the last commit.
    ///
    /// # Errors
    /// Those of [`KvError`]; [`KvError::Unavailable`] also when it would have to look at too much.
    pub fn query(&self, namespace: &Namespace, query: &Query) -> Result<Answer, KvError> {
        self.with_database(|database| {
            let snapshot = database.begin_read()?;
            Reader::new(&snapshot, namespace).answer(query)
        })
    }

    /// Makes changes in their order, and commits them together. Each sees those before it, and happens
    /// or fails by itself.
    ///
    /// # Errors
    /// When there was no commit, as far as is known: all of them have happened, or none.
    pub fn apply(
        &self,
        changes: &[(&Namespace, Quota, &Change)],
    ) -> Result<Vec<Result<Answer, KvError>>, KvError> {
        self.with_database(|database| {
            let transaction = file::begin_write(database).map_err(Failure::File)?;
            let mut batch = Batch::new(&transaction)?;
            let answers = changes
                .iter()
                .map(|(namespace, quota, change)| batch.apply(namespace, *quota, change))
                .collect::<Result<_, _>>()?;
            match batch.finish()? {
                true => transaction.commit()?,
                false => transaction.abort()?,
            }
            Ok(answers)
        })
    }

    /// Keys and bytes of a namespace, as a [`Quota`] counts them.
    ///
    /// # Errors
    /// When the file fails.
    pub fn usage(&self, namespace: &Namespace) -> Result<(u64, u64), KvError> {
        self.with_database(|database| {
            let usages = database.begin_read()?.open_table(tables::USAGE)?;
            let usage = Usage::read(&usages, namespace)?;
            Ok((usage.keys, usage.bytes))
        })
    }

    fn with_database<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<T, KvError> {
        self.open_again();
        let result = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(database) => file::despite_damage(database, work),
            State::Failed { why, .. } => return Err(why.clone()),
        };
        result.map_err(|failure| {
            let is_lost = matches!(failure, Failure::File(_));
            let why = KvError::from(failure);
            if is_lost {
                self.fail(&why);
            }
            why
        })
    }

    /// Closes the file.
    fn fail(&self, why: &KvError) {
        let failed = State::Failed {
            at: Instant::now(),
            why: why.clone(),
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        file::close(std::mem::replace(&mut *state, failed));
    }

    /// Opens it when it failed some time ago. What was committed is there.
    fn open_again(&self) {
        let is_due =
            |state: &State| matches!(state, State::Failed { at, .. } if at.elapsed() >= PAUSE);
        if !is_due(&self.state.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if is_due(&state) {
            *state = match self.opener.open() {
                Ok(database) => State::Open(database),
                Err(error) => State::Failed {
                    at: Instant::now(),
                    why: Failure::File(error).into(),
                },
            };
        }
    }
}
