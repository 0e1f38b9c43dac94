//! The thread that does what is asked of the file, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use redb::WriteTransaction;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::file::{Cache, open_file, remove_file};
use super::{Disk, Found, Order, What, Which};
use crate::config::limits;
use crate::sys::clock::monotonic_ns;
use crate::sys::{report, thread};

/// How long a transaction is open: what is kept is on disk then.
const COMMIT: Duration = Duration::from_millis(limits::HTTP_CACHE_DISK_COMMIT_MS);

/// How long nothing is tried with a file that has failed.
const PAUSE: Duration = Duration::from_millis(limits::KV_REOPEN_MS);

/// Starts the thread, which keeps up to `bytes_max` in `dir` and ends with the last [`Disk`]. Without bytes
/// there is none, and what was kept is removed.
///
/// # Errors
/// When the file cannot be opened, another process has it open, or there is no thread.
pub fn start(dir: &Path, bytes_max: u64) -> io::Result<Option<Disk>> {
    if bytes_max == 0 {
        remove_file(dir);
        return Ok(None);
    }
    let file = open_file(dir)?;
    let cache = match despite_panics(|| Cache::open(&file, bytes_max)) {
        Ok(cache) => Some(cache),
        Err(error @ (redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch)) => {
            return Err(io::Error::other(error));
        }
        // It is another file, or damaged.
        Err(_) => None,
    };
    let (orders, received) = channel();
    let all = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        file,
        bytes_max,
        cache,
        failed: None,
        owners: FxHashMap::default(),
        forgotten: Forgotten::begin(),
        all: Arc::clone(&all),
    };
    thread::start("skep-http-cache", move || worker.run(&received))?;
    Ok(Some(Disk {
        orders,
        places: Arc::new(Semaphore::new(limits::HTTP_CACHE_DISK_WAITING_MAX)),
        room: Arc::new(Semaphore::new(limits::HTTP_CACHE_DISK_QUEUED_KIB)),
        forgets: Arc::new(Semaphore::new(limits::HTTP_CACHE_DISK_FORGETS_MAX)),
        all,
    }))
}

struct Worker {
    file: File,
    bytes_max: u64,
    cache: Option<Cache>,
    /// When it failed last.
    failed: Option<Instant>,
    /// Origins and bytes, to be told again to a new file.
    owners: FxHashMap<String, (u64, u64)>,
    forgotten: Forgotten,
    all: Arc<AtomicBool>,
}

/// What was forgotten lately. Whoever asked an origin before that brings what it was before, too.
struct Forgotten {
    /// Tenant, which, when; from the oldest on.
    lately: VecDeque<(String, Which, u64)>,
    /// Before that, nobody knows.
    since_ns: u64,
}

impl Forgotten {
    /// From now on: what was forgotten before was told to another process, or to nobody.
    fn begin() -> Self {
        Self {
            lately: VecDeque::new(),
            since_ns: monotonic_ns(),
        }
    }

    fn add(&mut self, tenant: &str, which: &Which, at_ns: u64) {
        if self.lately.len() >= limits::HTTP_CACHE_DISK_FORGETS_MAX
            && let Some((_, _, oldest_ns)) = self.lately.pop_front()
        {
            self.since_ns = oldest_ns;
        }
        let entry = (tenant.to_owned(), which.clone(), at_ns);
        self.lately.push_back(entry);
    }

    /// Whether an answer that was asked for at a time is to be forgotten since.
    fn has(&self, tenant: &str, url: &str, tags: &[String], sent_ns: u64) -> bool {
        let mut later = self.lately.iter().rev();
        let is_meant = |which: &Which| match which {
            Which::Url(it) => it == url,
            Which::Prefix(prefix) => url.starts_with(prefix.as_str()),
            Which::Tag(tag) => tags.contains(tag),
            Which::All => true,
        };
        sent_ns <= self.since_ns
            || later.any(|(of, which, at_ns)| *at_ns >= sent_ns && of == tenant && is_meant(which))
    }
}

/// A transaction under way.
struct Open {
    transaction: WriteTransaction,
    since: Instant,
    bytes: u64,
    is_changed: bool,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        if self.cache.is_none() {
            self.make_anew();
        }
        let mut open: Option<Open> = None;
        loop {
            let order = match &open {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(open) => orders.recv_timeout(open.wait()),
            };
            match order {
                Ok(order) => {
                    if self.all.swap(false, Ordering::AcqRel) {
                        report::line(format_args!(
                            "answers kept on disk: more was to be forgotten than had room; all are"
                        ));
                        self.close(open.take());
                        self.make_anew();
                        self.forgotten = Forgotten::begin();
                    }
                    let is_last = matches!(order.what, What::Stop(_));
                    self.obey(&mut open, order);
                    if is_last {
                        return;
                    }
                    if open.as_ref().is_some_and(|open| open.wait().is_zero()) {
                        self.commit(open.take());
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.commit(open.take()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn obey(&mut self, open: &mut Option<Open>, order: Order) {
        match &order.what {
            What::Own { site, bytes_max } => {
                let owner = (*site, *bytes_max);
                self.owners.insert(order.tenant.clone(), owner);
            }
            What::Forget(which, at_ns) => self.forgotten.add(&order.tenant, which, *at_ns),
            What::Keep(url, object, _)
                if (self.forgotten).has(&order.tenant, url, &object.tags, object.sent_ns) =>
            {
                order.what.answer_empty();
                return;
            }
            _ => {}
        }
        let is_due = self.failed.is_none_or(|at| at.elapsed() >= PAUSE);
        if self.cache.is_none() && is_due {
            self.make_anew();
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
                    is_changed: false,
                });
            }
            match (open.take(), order.what) {
                (Some(last), What::Stop(done)) => {
                    cache.set_whole(&last.transaction)?;
                    last.transaction.commit()?;
                    // Whoever waits may be gone.
                    let _ = done.send(());
                    Ok(())
                }
                (Some(mut under_way), what) => {
                    let done = under_way.obey(cache, &order.tenant, what);
                    *open = Some(under_way);
                    done
                }
                (None, _) => Ok(()),
            }
        });
        if let Err(error) = done {
            self.say(&error);
            self.close(open.take());
            self.make_anew();
        }
    }

    fn commit(&mut self, open: Option<Open>) {
        let Some(open) = open else { return };
        let ended = despite_panics(|| match open.is_changed {
            true => Ok(open.transaction.commit()?),
            false => Ok(open.transaction.abort()?),
        });
        if let Err(error) = ended {
            self.say(&error);
            self.close(None);
            self.make_anew();
        }
    }

    fn say(&self, error: &redb::Error) {
        report::line(format_args!(
            "answers kept on disk: {error}; the file begins anew"
        ));
    }

    /// Closes the file. What fails now has been said.
    fn close(&mut self, open: Option<Open>) {
        let cache = self.cache.take();
        let _ = despite_panics(|| {
            drop(open);
            drop(cache);
            Ok(())
        });
    }

    /// Empties the file and opens it.
    fn make_anew(&mut self) {
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
            Ok(cache) => self.cache = Some(cache),
            Err(error) => report::line(format_args!("answers kept on disk: {error}")),
        }
    }
}

impl Open {
    /// How long it stays open.
    fn wait(&self) -> Duration {
        match self.bytes >= limits::HTTP_CACHE_DISK_COMMIT_BYTES {
            true => Duration::ZERO,
            false => COMMIT.saturating_sub(self.since.elapsed()),
        }
    }

    fn obey(&mut self, cache: &mut Cache, tenant: &str, what: What) -> Result<(), redb::Error> {
        let at = &self.transaction;
        self.is_changed |= !matches!(what, What::Find(..) | What::Fetch(..));
        match what {
            What::Own { site, bytes_max } => cache.own(at, tenant, site, bytes_max)?,
            // Whoever asked waits no more.
            What::Find(_, answer) if answer.is_closed() => {}
            What::Fetch(_, _, answer) if answer.is_closed() => {}
            What::Find(url, answer) => {
                let _ = answer.send(cache.find(at, tenant, &url)?);
            }
            What::Fetch(url, number, answer) => {
                let _ = answer.send(cache.fetch(at, tenant, &url, number)?);
            }
            What::Keep(url, object, answer) => {
                cache.keep(at, tenant, &url, &object)?;
                self.bytes += object.bytes();
                let _ = answer.send(true);
            }
            What::Forget(which, _) => cache.forget(at, tenant, &which)?,
            What::Stop(_) => {}
        }
        Ok(())
    }
}

impl What {
    /// Whoever asked may be gone.
    fn answer_empty(self) {
        match self {
            Self::Own { .. } | Self::Forget(..) => {}
            Self::Find(_, answer) => drop(answer.send(Found::default())),
            Self::Fetch(_, _, answer) => drop(answer.send(None)),
            Self::Keep(_, _, answer) => drop(answer.send(false)),
            Self::Stop(done) => drop(done.send(())),
        }
    }
}

/// redb 4.6 panics of some pages that are damaged. What it says then is on standard error.
fn despite_panics<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    let damaged = |_| redb::Error::Corrupted("a page is damaged".to_owned());
    catch_unwind(AssertUnwindSafe(work)).map_err(damaged)?
}
