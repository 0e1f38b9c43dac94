//! A tenant's answers on disk, kept by the data process.
//!
//! What that process was told to forget, nobody finds afterwards. What it could not be told, because too much
//! is under way, is made up for: all that the tenant has there is forgotten before this worker reads again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::cached::now;
use crate::config::limits;
use crate::data::http_cache::{HttpAsk, Object, Which};
use crate::data::{Ask, Given};
use crate::worker::data::Client;
use crate::worker::http_cache::{Below, Kept, is_for};
use crate::worker::runtime::within;

/// The longest wait for what is on disk.
const FIND: Duration = Duration::from_millis(limits::HTTP_CACHE_DISK_FIND_MS);

/// How long a disk is left alone that was too slow.
const PAUSE: Duration = Duration::from_millis(limits::HTTP_CACHE_DISK_PAUSE_MS);

/// See above.
pub struct Disk(Rc<Shared>);

struct Shared {
    data: Rc<Client>,
    site: u64,
    /// How often what was to be forgotten may not have been.
    failures: Cell<u64>,
    /// Of these, those that were made up for.
    made_up: Cell<u64>,
    /// When it was too slow last.
    slow: Cell<Option<Instant>>,
}

impl Disk {
    /// Of a tenant with this origin.
    pub fn new(data: &Rc<Client>, site: u64) -> Self {
        Self(Rc::new(Shared {
            data: Rc::clone(data),
            site,
            failures: Cell::new(0),
            made_up: Cell::new(0),
            slow: Cell::new(None),
        }))
    }

    /// Of which origin it is.
    pub fn site(&self) -> u64 {
        self.0.site
    }

    /// Waits until what was to be forgotten before is; whether it is.
    pub async fn settle(&self) -> bool {
        // What is asked for last is done last.
        let last = Ask::Http(HttpAsk::Forget(Which::Url(String::new())));
        self.0.data.begin(last).await.is_ok() && self.0.make_up().await.is_some()
    }

    /// The answer for a request, where there is one. Not longer than the disk may take: the origin can be
    /// asked.
    pub async fn find(&self, url: &str, headers: &HeaderMap) -> Option<Kept> {
        let slow = self.0.slow.get();
        if slow.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        let find = async {
            self.0.make_up().await?;
            self.0.find(url, headers).await
        };
        let found = within(FIND, find).await;
        if found.is_none() {
            self.0.slow.set(Some(Instant::now()));
        }
        found.flatten()
    }
}

impl Shared {
    /// `None`: it cannot be done at the moment.
    async fn make_up(&self) -> Option<()> {
        let failures = self.failures.get();
        if self.made_up.get() < failures {
            let forget = Ask::Http(HttpAsk::Forget(Which::All));
            self.data.begin(forget).await.ok()?;
            self.made_up.set(failures.max(self.made_up.get()));
        }
        Some(())
    }

    async fn find(&self, url: &str, headers: &HeaderMap) -> Option<Kept> {
        let (site, url) = (self.site, url.to_owned());
        let find = Ask::Http(HttpAsk::Find {
            site,
            url: url.clone(),
        });
        let Ok(Given::Found(found)) = self.data.begin(find).await else {
            return None;
        };
        let mut variants = found.variants.into_iter();
        let (number, _) = variants.find(|(_, selection)| is_for(selection, headers))?;
        let object = match found.only {
            Some(object) => object,
            None => {
                let fetch = Ask::Http(HttpAsk::Fetch { site, url, number });
                match self.data.begin(fetch).await {
                    Ok(Given::Object(Some(object))) => object,
                    _ => return None,
                }
            }
        };
        // A forgetting that failed meanwhile may have meant this one.
        match self.made_up.get() == self.failures.get() {
            true => Kept::new(*object, now()),
            false => None,
        }
    }
}

impl Below for Disk {
    fn keep(&self, url: &str, object: Object) {
        let forget = Which::Url(url.to_owned());
        // Others have calls to make.
        if self.0.data.queued_bytes() > limits::HTTP_CACHE_DISK_QUEUED_KIB << 10 {
            return self.forget(forget);
        }
        let ask = Ask::Http(HttpAsk::Keep {
            site: self.0.site,
            url: url.to_owned(),
            object: Box::new(object),
        });
        let (disk, kept) = (Self(Rc::clone(&self.0)), self.0.data.begin(ask));
        monoio::spawn(async move {
            if kept.await != Ok(Given::Bool(true)) {
                disk.forget(forget);
            }
        });
    }

    fn forget(&self, which: Which) {
        let shared = Rc::clone(&self.0);
        let forgotten = self.0.data.begin(Ask::Http(HttpAsk::Forget(which)));
        monoio::spawn(async move {
            if forgotten.await.is_err() {
                shared.failures.set(shared.failures.get() + 1);
            }
        });
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({:x})", self.0.site)
    }
}
