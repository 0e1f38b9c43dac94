//! The thread that does what is asked of the file, in order.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use redb::WriteTransaction;
use rustc_hash::FxHashMap;
use tokio::sync::{Semaphore, oneshot};

use super::file::{Cache, open_file};
use super::{Disk, Found, Order, What, Which};
use crate::config::limits;
use crate::sys::{report, thread};

/// How long a transaction is open: what is kept is on disk then.
const COMMIT: Duration = Duration::from_millis(limits::HTTP_CACHE_DISK_COMMIT_MS);

/// How long nothing is tried with a file that has failed.
const PAUSE: Duration = Duration::from_millis(limits::KV_REOPEN_MS);

/// Starts the thread, which keeps up to `bytes_max` in `dir` and ends with the last [`Disk`].
///
/// # Errors
/// When the file cannot be opened, or there is no thread.
pub fn start(dir: &Path, bytes_max: u64) -> io::Result<Disk> {
    let file = open_file(dir)?;
    let (orders, received) = channel();
    thread::start("skep-http-cache", move || {
        Worker::new(file, bytes_max).run(&received);
    })?;
    Ok(Disk {
        orders,
        places: Arc::new(Semaphore::new(limits::HTTP_CACHE_DISK_WAITING_MAX)),
    })
}

struct Worker {
    file: File,
    bytes_max: u64,
    cache: Option<Cache>,
    /// When it failed last.
    failed: Option<Instant>,
    /// Origins and bytes, to be told again to a new file.
    owners: FxHashMap<String, (u64, u64)>,
}

/// A transaction under way.
struct Open {
    transaction: WriteTransaction,
    since: Instant,
    bytes: u64,
    /// They wait until it is on disk.
    forgotten: Vec<oneshot::Sender<()>>,
}

impl Worker {
    fn new(file: File, bytes_max: u64) -> Self {
        // What cannot be opened is another file, or damaged.
        let cache = despite_panics(|| Cache::open(&file, bytes_max)).ok();
        let mut worker = Self {
            file,
            bytes_max,
            cache,
            failed: None,
            owners: FxHashMap::default(),
        };
        if worker.cache.is_none() {
            worker.make_anew(Vec::new());
        }
        worker
    }

    fn run(mut self, orders: &Receiver<Order>) {
        let mut open: Option<Open> = None;
        loop {
            let order = match &open {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(open) => orders.recv_timeout(open.wait()),
            };
            match order {
                Ok(order) => {
                    if let What::Own { site, bytes_max } = order.what {
                        let owner = (site, bytes_max);
                        self.owners.insert(order.tenant.clone(), owner);
                    }
                    self.obey(&mut open, order);
                    if open.as_ref().is_some_and(|open| open.wait().is_zero()) {
                        self.commit(open.take());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.commit(open.take()),
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit(open.take());
                    return;
                }
            }
        }
    }

    fn obey(&mut self, open: &mut Option<Open>, order: Order) {
        if self.cache.is_none() {
            let is_due = self.failed.is_none_or(|at| at.elapsed() >= PAUSE);
            if is_due {
                self.make_anew(Vec::new());
            }
        }
        let Some(cache) = &mut self.cache else {
            // Nothing is read before the file is empty, so nothing has to be forgotten.
            order.what.answer_empty();
            return;
        };
        let done = despite_panics(|| {
            if open.is_none() {
                *open = Some(Open {
                    transaction: cache.begin()?,
                    since: Instant::now(),
                    bytes: 0,
                    forgotten: Vec::new(),
                });
            }
            match open {
                Some(open) => open.obey(cache, order),
                None => Ok(()),
            }
        });
        if let Err(error) = done {
            self.fail(open.take(), &error);
        }
    }

    fn commit(&mut self, open: Option<Open>) {
        let Some(open) = open else { return };
        match despite_panics(|| Ok(open.transaction.commit()?)) {
            Ok(()) => done(open.forgotten),
            Err(error) => {
                self.say(&error);
                self.cache = None;
                self.make_anew(open.forgotten);
            }
        }
    }

    fn fail(&mut self, open: Option<Open>, error: &redb::Error) {
        self.say(error);
        let (transaction, forgotten) = match open {
            Some(open) => (Some(open.transaction), open.forgotten),
            None => (None, Vec::new()),
        };
        // What fails now has been said.
        let cache = self.cache.take();
        let _ = despite_panics(|| {
            drop(transaction);
            drop(cache);
            Ok(())
        });
        self.make_anew(forgotten);
    }

    fn say(&self, error: &redb::Error) {
        report::line(format_args!(
            "answers kept on disk: {error}; the file begins anew"
        ));
    }

    /// Empties the file and opens it. What was to be forgotten is then.
    fn make_anew(&mut self, forgotten: Vec<oneshot::Sender<()>>) {
        let made = despite_panics(|| {
            self.file.set_len(0)?;
            let mut cache = Cache::open(&self.file, self.bytes_max)?;
            let transaction = cache.begin()?;
            for (tenant, (site, bytes_max)) in &self.owners {
                cache.own(&transaction, tenant, *site, *bytes_max)?;
            }
            transaction.commit()?;
            Ok(cache)
        });
        self.failed = Some(Instant::now());
        match made {
            Ok(cache) => {
                self.cache = Some(cache);
                done(forgotten);
            }
            Err(error) => report::line(format_args!("answers kept on disk: {error}")),
        }
    }
}

impl Open {
    /// How long it stays open.
    fn wait(&self) -> Duration {
        if !self.forgotten.is_empty() || self.bytes >= limits::HTTP_CACHE_DISK_COMMIT_BYTES {
            return Duration::ZERO;
        }
        COMMIT.saturating_sub(self.since.elapsed())
    }

    fn obey(&mut self, cache: &mut Cache, order: Order) -> Result<(), redb::Error> {
        let (at, tenant) = (&self.transaction, order.tenant.as_str());
        // Whoever asked may be gone.
        match order.what {
            What::Own { site, bytes_max } => cache.own(at, tenant, site, bytes_max)?,
            What::Find(url, answer) => {
                let _ = answer.send(cache.find(at, tenant, &url)?);
            }
            What::Fetch(number, answer) => {
                let _ = answer.send(cache.fetch(at, tenant, number)?);
            }
            What::Keep(url, object, answer) => {
                cache.keep(at, tenant, &url, &object)?;
                self.bytes += object.bytes();
                let _ = answer.send(());
            }
            What::Forget(which, answer) => {
                cache.forget(at, tenant, &which)?;
                self.forgotten.extend(answer);
                if which == Which::All && self.forgotten.is_empty() {
                    self.bytes = limits::HTTP_CACHE_DISK_COMMIT_BYTES;
                }
            }
        }
        Ok(())
    }
}

impl What {
    fn answer_empty(self) {
        match self {
            Self::Own { .. } => {}
            Self::Find(_, answer) => drop(answer.send(Found::default())),
            Self::Fetch(_, answer) => drop(answer.send(None)),
            Self::Keep(_, _, answer) => drop(answer.send(())),
            Self::Forget(_, answer) => done(answer),
        }
    }
}

fn done(forgotten: impl IntoIterator<Item = oneshot::Sender<()>>) {
    for answer in forgotten {
        let _ = answer.send(());
    }
}

/// redb 4.6 panics of some pages that are damaged. What it says then is on standard error.
fn despite_panics<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    let damaged = |_| redb::Error::Corrupted("a page is damaged".to_owned());
    catch_unwind(AssertUnwindSafe(work)).map_err(damaged)?
}
