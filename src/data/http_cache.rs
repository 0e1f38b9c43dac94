//! Answers of tenants' origins that are kept on disk, below what the workers keep in memory: there for all
//! workers of a tenant, and after a restart.
//!
//! ```text
//! worker: nothing in memory ── Find ──► queue ─► one thread ─► DIR/http_cache.redb ── Found ──► worker
//!         stored in memory ─── Keep ──►                        one transaction for up to a second
//!         purged, changed ─── Forget ─►                        answered when it is on disk
//! ```
//!
//! One thread does everything in the order in which it was asked, so nobody finds what was forgotten before. What
//! the file holds can be fetched again: one that fails or is damaged is emptied, and nothing is read of it
//! before.

mod file;
#[cfg(test)]
mod tests;
mod thread;

use std::sync::Arc;
use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Refused;
use crate::config::limits;

pub use self::thread::start;

/// What can be asked of it. `site` is the origin that the tenant has as far as the worker knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum HttpAsk {
    /// The answers for a URL: [`Given::Found`](super::Given::Found).
    Find { site: u64, url: String },
    /// One of them: [`Given::Object`](super::Given::Object).
    Fetch { site: u64, number: u64 },
    /// Keeps an answer, in the place of the one that is for the same requests: [`Given::Done`](super::Given::Done).
    Keep {
        site: u64,
        url: String,
        object: Box<Object>,
    },
    /// Forgets; [`Given::Done`](super::Given::Done) when that is on disk.
    Forget(Which),
}

/// Which answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Which {
    /// All for exactly this URL.
    Url(String),
    /// All whose URLs begin so.
    Prefix(String),
    /// All that have the tag.
    Tag(String),
    /// All of the tenant.
    All,
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
        let tags = self.tags.len() <= limits::HTTP_CACHE_TAGS_MAX
            && (self.tags.iter()).all(|tag| tag.len() <= limits::HTTP_CACHE_TAG_BYTES_MAX);
        tags && names.len() <= limits::HTTP_CACHE_VARY_NAMES_MAX
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
            Self::Find { url, .. } | Self::Forget(Which::Url(url) | Which::Prefix(url)) => {
                (url.as_str(), None)
            }
            Self::Keep { url, object, .. } => (url.as_str(), Some(object)),
            Self::Forget(Which::Tag(tag)) => (tag.as_str(), None),
            Self::Fetch { .. } | Self::Forget(Which::All) => ("", None),
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
    /// Its place in the queue, until it is done.
    _place: Option<OwnedSemaphorePermit>,
}

enum What {
    /// The tenant's origin and its bytes: what another origin said is forgotten, and what is too much.
    Own {
        site: u64,
        bytes_max: u64,
    },
    Find(String, oneshot::Sender<Found>),
    Fetch(u64, oneshot::Sender<Option<Box<Object>>>),
    Keep(String, Box<Object>, oneshot::Sender<()>),
    Forget(Which, Option<oneshot::Sender<()>>),
}

/// Gives orders to the thread.
#[derive(Clone, Debug)]
pub struct Disk {
    orders: Sender<Order>,
    places: Arc<Semaphore>,
}

impl Disk {
    /// Tells it of a tenant, before anything else is asked for that one.
    pub(super) fn own(&self, tenant: &str, site: u64, bytes_max: u64) {
        self.order(tenant, What::Own { site, bytes_max }, None);
    }

    /// Forgets all of a tenant that is gone.
    pub(super) fn remove(&self, tenant: &str) {
        self.order(tenant, What::Forget(Which::All, None), None);
    }

    fn order(&self, tenant: &str, what: What, place: Option<OwnedSemaphorePermit>) {
        let tenant = tenant.to_owned();
        // It fails when the thread is gone: then nobody answers, either.
        let _ = self.orders.send(Order {
            tenant,
            what,
            _place: place,
        });
    }

    pub(super) async fn find(&self, tenant: &str, url: String) -> Result<Found, Refused> {
        self.ask(tenant, |answer| What::Find(url, answer)).await
    }

    pub(super) async fn fetch(
        &self,
        tenant: &str,
        number: u64,
    ) -> Result<Option<Box<Object>>, Refused> {
        self.ask(tenant, |answer| What::Fetch(number, answer)).await
    }

    pub(super) async fn keep(
        &self,
        tenant: &str,
        url: String,
        object: Box<Object>,
    ) -> Result<(), Refused> {
        self.ask(tenant, |answer| What::Keep(url, object, answer))
            .await
    }

    /// Waits for its turn, however long: this has to be done.
    pub(super) async fn forget(&self, tenant: &str, which: Which) -> Result<(), Refused> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (answer, done) = oneshot::channel();
        self.order(tenant, What::Forget(which, Some(answer)), place);
        done.await.map_err(|_| gone())
    }

    /// Does not wait for a place: whoever asks can ask the origin.
    async fn ask<T>(
        &self,
        tenant: &str,
        what: impl FnOnce(oneshot::Sender<T>) -> What,
    ) -> Result<T, Refused> {
        let busy = |_| Refused::Failed("too much is asked of the disk at once".to_owned());
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(busy)?;
        let (answer, answered) = oneshot::channel();
        self.order(tenant, what(answer), Some(place));
        answered.await.map_err(|_| gone())
    }
}

fn gone() -> Refused {
    Refused::Failed("nothing is kept on disk at the moment".to_owned())
}
