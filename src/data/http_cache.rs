//! Answers of tenants' origins that are kept on disk, below what the workers keep in memory: there for all
//! workers of a tenant, and after a restart.
//!
//! ```text
//! worker: nothing in memory ── Find ──► queue ─► one thread ─► DIR/http_cache.redb ── Found ──► worker
//!         stored in memory ─── Keep ──►                        one transaction for up to a second
//!         purged, changed ─── Forget ─►                        done once it is in the queue
//! ```
//!
//! One thread does everything in the order in which it was asked, so nobody finds what was forgotten before; and
//! what was asked of an origin before something was forgotten is not kept after it. What the file holds can be
//! fetched again, so it is emptied whenever that cannot be said of it: when it fails or is damaged, and when
//! the process before was killed; of a worker that dies, all that its tenants have is forgotten.

mod file;
#[cfg(test)]
mod tests;
mod thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Refused;
use crate::config::limits;
use crate::sys::clock::monotonic_ns;

pub use self::thread::start;
pub use crate::control::Purge as Which;

/// What can be asked of it. `site` is the origin that the tenant has as far as the worker knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HttpAsk {
    /// The answers for a URL: [`Given::Found`](super::Given::Found).
    Find { site: u64, url: String },
    /// One of them: [`Given::Object`](super::Given::Object).
    Fetch { site: u64, url: String, number: u64 },
    /// Keeps an answer, in the place of the one that is for the same requests: [`Given::Done`](super::Given::Done).
    Keep {
        site: u64,
        url: String,
        object: Box<Object>,
    },
    /// Forgets; [`Given::Done`](super::Given::Done).
    Forget(Which),
}

/// An answer of an origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its status.
    pub status: u16,
    /// Its fields, in their order.
    pub fields: Vec<(String, ByteBuf)>,
    /// How long it may be used.
    pub times: Times,
    /// Which requests it is for.
    pub selection: Selection,
    /// Its tags.
    pub tags: Vec<String>,
    /// When its head came, in milliseconds of Unix time.
    pub received_ms: u64,
    /// When the origin was asked, by the machine's monotonic clock.
    pub sent_ns: u64,
    /// Its body, in pieces.
    pub body: Vec<ByteBuf>,
}

/// How long an answer may be used. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in RFC 9111 and 5861")]
pub struct Times {
    pub lifetime_ms: u64,
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
    pub initial_age_ms: u64,
    pub no_cache: bool,
    pub must_revalidate: bool,
    pub forbids_max_stale: bool,
}

/// What a request has to have in the fields that an answer varies by; `None`: no such field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Selection {
    pub names: Vec<String>,
    pub values: Vec<Option<ByteBuf>>,
}

/// The answers for a URL, the youngest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Their numbers, and which requests they are for.
    pub variants: Vec<(u64, Selection)>,
    /// The answer itself, where there is one only.
    pub only: Option<Box<Object>>,
}

impl Object {
    /// Of fields and body, without what is kept beside them.
    pub fn bytes(&self) -> u64 {
        let fields = self.fields.iter();
        let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
        let body: usize = self.body.iter().map(|piece| piece.len()).sum();
        (fields + body) as u64
    }

    /// Whether nothing of it is longer than it may be.
    fn is_allowed(&self) -> bool {
        let Selection { names, values } = &self.selection;
        let counts = self.fields.len() <= limits::HTTP_CACHE_DISK_FIELDS_MAX
            && self.body.len() <= limits::HTTP_CACHE_DISK_PIECES_MAX;
        let text = names.iter().map(String::len).sum::<usize>()
            + values.iter().flatten().map(|it| it.len()).sum::<usize>();
        let tags = self.tags.len() <= limits::HTTP_CACHE_TAGS_MAX
            && (self.tags.iter()).all(|tag| tag.len() <= limits::HTTP_CACHE_TAG_BYTES_MAX);
        tags && counts
            && text <= limits::HTTP_CACHE_DISK_SELECTION_BYTES_MAX
            && names.len() <= limits::HTTP_CACHE_VARY_NAMES_MAX
            && names.len() == values.len()
            && self.bytes() <= limits::HTTP_CACHE_DISK_OBJECT_BYTES_MAX
    }
}

impl HttpAsk {
    /// Whether nothing is longer than it may be.
    ///
    /// # Errors
    /// [`Refused::TooLarge`].
    pub fn check(&self) -> Result<(), Refused> {
        let too_large = |what: &str, max: u64| {
            let (what, unit) = (what.to_owned(), "bytes".to_owned());
            Err(Refused::TooLarge { what, max, unit })
        };
        let (text, object) = match self {
            Self::Find { url, .. }
            | Self::Fetch { url, .. }
            | Self::Forget(Which::Url(url) | Which::Prefix(url)) => (url.as_str(), None),
            Self::Keep { url, object, .. } => (url.as_str(), Some(object)),
            Self::Forget(Which::Tag(tag)) => (tag.as_str(), None),
            Self::Forget(Which::All) => ("", None),
        };
        if text.len() > limits::HTTP_CACHE_KEY_BYTES_MAX {
            return too_large("a URL", limits::HTTP_CACHE_KEY_BYTES_MAX as u64);
        }
        match object.is_none_or(|object| object.is_allowed()) {
            true => Ok(()),
            false => too_large("an answer", limits::HTTP_CACHE_DISK_OBJECT_BYTES_MAX),
        }
    }
}

/// What the thread is to do, and who waits for it.
struct Order {
    tenant: String,
    what: What,
    /// Its places in the queue, until it is done.
    _places: [Option<OwnedSemaphorePermit>; 2],
}

enum What {
    /// The tenant's origin and its bytes: what another origin said is forgotten, and what is too much.
    Own {
        site: u64,
        bytes_max: u64,
    },
    Find(String, oneshot::Sender<Found>),
    Fetch(String, u64, oneshot::Sender<Option<Box<Object>>>),
    Keep(String, Box<Object>, oneshot::Sender<bool>),
    /// What was asked of the origin before this time is not kept any more.
    Forget(Which, u64),
    /// To be told when everything is on disk.
    Stop(oneshot::Sender<()>),
}

/// Gives orders to the thread.
#[derive(Clone, Debug)]
pub struct Disk {
    orders: Sender<Order>,
    /// For those who wait for an answer.
    places: Arc<Semaphore>,
    /// For answers that wait to be kept, in KiB.
    room: Arc<Semaphore>,
    /// For what waits to be forgotten.
    forgets: Arc<Semaphore>,
    /// There was no room for that: everything is to be forgotten.
    all: Arc<AtomicBool>,
}

impl Disk {
    /// Tells it of a tenant, before anything else is asked for that one.
    pub(super) fn own(&self, tenant: &str, site: u64, bytes_max: u64) {
        self.order(tenant, What::Own { site, bytes_max }, [None, None]);
    }

    /// Forgets; whatever is asked for later does not find it.
    pub(super) fn forget(&self, tenant: &str, which: Which) {
        match Arc::clone(&self.forgets).try_acquire_owned() {
            Ok(place) => {
                let what = What::Forget(which, monotonic_ns());
                self.order(tenant, what, [Some(place), None]);
            }
            // The thread is far behind.
            Err(_) => self.all.store(true, Ordering::Release),
        }
    }

    /// Has everything written, and the file marked as whole.
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.order("", What::Stop(done), [None, None]);
        // It fails when the thread is gone.
        let _ = stopped.await;
    }

    fn order(&self, tenant: &str, what: What, places: [Option<OwnedSemaphorePermit>; 2]) {
        let tenant = tenant.to_owned();
        // It fails when the thread is gone: then nobody answers, either.
        let _ = self.orders.send(Order {
            tenant,
            what,
            _places: places,
        });
    }

    pub(super) async fn find(&self, tenant: &str, url: String) -> Result<Found, Refused> {
        self.ask(tenant, |answer| What::Find(url, answer), 0).await
    }

    pub(super) async fn fetch(
        &self,
        tenant: &str,
        url: String,
        number: u64,
    ) -> Result<Option<Box<Object>>, Refused> {
        let what = |answer| What::Fetch(url, number, answer);
        self.ask(tenant, what, 0).await
    }

    /// Whether it is kept.
    pub(super) async fn keep(
        &self,
        tenant: &str,
        url: String,
        object: Box<Object>,
    ) -> Result<bool, Refused> {
        let kib = object.bytes().div_ceil(1_024).max(1) as u32;
        let what = |answer| What::Keep(url, object, answer);
        self.ask(tenant, what, kib).await
    }

    /// Does not wait for a place: whoever asks can ask the origin.
    async fn ask<T>(
        &self,
        tenant: &str,
        what: impl FnOnce(oneshot::Sender<T>) -> What,
        kib: u32,
    ) -> Result<T, Refused> {
        let busy = |_| Refused::Failed("too much is asked of the disk at once".to_owned());
        let place = Arc::clone(&self.places).try_acquire_owned();
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib);
        let places = [Some(place.map_err(busy)?), Some(room.map_err(busy)?)];
        let (answer, answered) = oneshot::channel();
        self.order(tenant, what(answer), places);
        answered.await.map_err(|_| gone())
    }
}

fn gone() -> Refused {
    Refused::Failed("nothing is kept on disk at the moment".to_owned())
}
