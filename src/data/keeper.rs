//! Who owns what: tenants, what they were given, and what is kept for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache::Cache;
use super::caches;
use super::http_cache::{Disk, HttpAsk, Which};
use super::kv::embedded::Embedded;
use super::kv::redis::Redis;
use super::kv::{KvError, Quota};
use super::redis_link::Servers;
use super::sealed::{Context, Key};
use super::secrets::{Origin, Secrets, read};
use super::writer::Writer;
use super::{Ask, Given, Refused};
use crate::config::{Access, limits};
use crate::control::{Backend, Owner};
use crate::sys::clock::monotonic_ns;
use crate::sys::report;
use crate::token_bucket::TokenBucket;

/// How long the workers of a cell may ask for a tenant that has left it.
const MOVE: Duration = Duration::from_secs(limits::EGRESS_MOVE_S);

/// The store that is a file of this host's, and who writes it.
pub(super) struct Own {
    pub(super) embedded: Arc<Embedded>,
    pub(super) writer: Writer,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A worker of that cell, for its tenants and what they were given.
    Worker(usize),
    /// The operator, for every tenant's stores.
    Operator,
}

/// Everything that is kept.
pub(super) struct Keeper {
    own: Result<Own, String>,
    key: Option<Key>,
    servers: Rc<Servers>,
    /// Where origins' answers are kept, if the operator wants any kept.
    disk: Option<Disk>,
    cache_bytes_max: u64,
    /// Of all caches together, as it was last counted.
    cache_bytes: Cell<u64>,
    tenants: RefCell<FxHashMap<String, Rc<Tenant>>>,
}

struct Tenant {
    cell: usize,
    /// The cell that it has left, and until when that one may ask.
    former: Option<(usize, Instant)>,
    stores: FxHashMap<String, Store>,
    cache: Option<caches::Shared>,
    /// Its origin, whose answers it may keep on disk.
    site: Option<u64>,
    /// `None`: it was given none.
    secrets: Option<Secrets>,
    /// Slots that are there and could not be read: names, and when they begin to be in force.
    unreadable: Vec<(String, u64)>,
    operations: TokenBucket,
    operations_per_s: u64,
    /// Its queries and changes under way; the others of it wait for their turn.
    turns: Arc<Semaphore>,
}

struct Store {
    namespace: String,
    access: Access,
    quota: Quota,
    redis: Option<Rc<Redis>>,
}

impl Tenant {
    fn is_of(&self, cell: usize) -> bool {
        let former = |(former, until): (usize, Instant)| former == cell && Instant::now() < until;
        self.cell == cell || self.former.is_some_and(former)
    }
}

impl Keeper {
    pub(super) fn new(
        own: Result<Own, String>,
        key: Option<Key>,
        servers: Rc<Servers>,
        disk: Option<Disk>,
        cache_bytes_max: u64,
    ) -> Self {
        Self {
            own,
            key,
            servers,
            disk,
            cache_bytes_max,
            cache_bytes: Cell::new(0),
            tenants: RefCell::default(),
        }
    }

    /// Adds a tenant, or replaces the one of that name, whose cache stays. `files` are those of its
    /// secrets, in their order; what cannot be read is said, and is an error for whoever asks for it.
    pub(super) fn put(&self, owner: Owner, files: Vec<std::fs::File>) {
        let mut tenants = self.tenants.borrow_mut();
        let before = tenants.get(&owner.name);
        let former = before.and_then(|known| match known.cell == owner.cell {
            true => known.former,
            false => Some((known.cell, Instant::now() + MOVE)),
        });
        let now_ms = monotonic_ns() / 1_000_000;
        let cache = (owner.cache_bytes > 0).then(|| {
            let kept = before.and_then(|known| known.cache.clone());
            let cache =
                kept.unwrap_or_else(|| Rc::new(RefCell::new(Cache::new(owner.cache_bytes))));
            cache.borrow_mut().set_bytes_max(owner.cache_bytes, now_ms);
            cache
        });
        let (secrets, unreadable) = self.secrets(&owner, files);
        if let Some(disk) = &self.disk {
            let site = owner.site.unwrap_or_default();
            let bytes_max = owner.site.map_or(0, |_| owner.http_cache_disk_bytes);
            disk.own(&owner.name, site, bytes_max);
        }
        let has_own = owner
            .stores
            .iter()
            .any(|it| it.backend == Backend::Embedded);
        if let (true, Err(why)) = (has_own, &self.own) {
            report::line(format_args!("tenant {}: {why}", owner.name));
        }
        let stores = owner.stores.into_iter().map(|store| {
            let redis = match store.backend {
                Backend::Embedded => None,
                Backend::Redis(server) => Some(self.servers.of(server)),
            };
            let kept = Store {
                namespace: store.namespace,
                access: store.access,
                quota: Quota {
                    keys: store.keys,
                    bytes: store.bytes,
                },
                redis,
            };
            (store.name, kept)
        });
        let tenant = Tenant {
            cell: owner.cell,
            former,
            stores: stores.collect(),
            cache,
            site: owner.site,
            secrets,
            unreadable,
            operations: TokenBucket::new(owner.operations_per_s, 1, owner.operations_per_s),
            operations_per_s: owner.operations_per_s,
            turns: Arc::new(Semaphore::new(limits::DATA_CALLS_PER_TENANT)),
        };
        tenants.insert(owner.name, Rc::new(tenant));
    }

    fn secrets(
        &self,
        owner: &Owner,
        files: Vec<std::fs::File>,
    ) -> (Option<Secrets>, Vec<(String, u64)>) {
        if owner.secrets.is_empty() {
            return (None, Vec::new());
        }
        let (mut secrets, mut unreadable) = (Secrets::default(), Vec::new());
        let mut files = files.into_iter();
        for slot in &owner.secrets {
            let context = Context {
                tenant: &owner.name,
                name: &slot.name,
            };
            let origin = match slot.is_credential {
                true => Origin::SystemdCredential,
                false => Origin::File,
            };
            // Where it could not be opened, that was said already.
            let file = slot.is_open.then(|| files.next()).flatten();
            let value = file.map(|mut file| read(&mut file, origin, self.key.as_ref(), context));
            match value {
                Some(Ok(value)) => secrets.put(&slot.name, slot.from_s, value),
                Some(Err(error)) => {
                    report::line(format_args!("data: {error}"));
                    unreadable.push((slot.name.clone(), slot.from_s));
                }
                None => unreadable.push((slot.name.clone(), slot.from_s)),
            }
        }
        (Some(secrets), unreadable)
    }

    pub(super) fn servers(&self) -> Rc<Servers> {
        Rc::clone(&self.servers)
    }

    pub(super) fn remove(&self, name: &str) {
        self.tenants.borrow_mut().remove(name);
        self.forget(name, Which::All);
    }

    /// Forgets answers of a tenant's origin.
    pub(super) fn forget(&self, tenant: &str, which: Which) {
        if let Some(disk) = &self.disk {
            disk.forget(tenant, which);
        }
    }

    /// A worker of that cell is gone that may have had something forgotten which nobody was told of.
    pub(super) fn mistrust(&self, cell: usize) {
        let tenants = self.tenants.borrow();
        for (name, _) in tenants.iter().filter(|(_, it)| it.is_of(cell)) {
            self.forget(name, Which::All);
        }
    }

    /// Has everything written that waits to be.
    pub(super) async fn stop(&self) {
        if let Some(disk) = &self.disk {
            disk.stop().await;
        }
    }

    /// Answers whoever asks. `turn` is to be kept until the answer is sent: a tenant has so many
    /// on their way, however large they are.
    pub(super) async fn answer(
        &self,
        who: Who,
        name: &str,
        ask: Ask,
        turn: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Given, Refused> {
        let tenant = self.tenants.borrow().get(name).map(Rc::clone);
        let tenant = tenant
            .filter(|it| match who {
                Who::Worker(cell) => it.is_of(cell),
                Who::Operator => true,
            })
            .ok_or(Refused::NotGranted)?;
        // The worker has looked already; but what a worker says is not believed.
        ask.check()?;
        let is_of_stores = matches!(ask, Ask::Query { .. } | Ask::Change { .. });
        match who {
            Who::Operator if !is_of_stores => return Err(Refused::NotGranted),
            Who::Operator => {}
            Who::Worker(_) => {
                let cost = ask.cost().min(tenant.operations_per_s);
                let taken = tenant.operations.take(cost, monotonic_ns());
                taken.map_err(|_| Refused::TooOften(tenant.operations_per_s))?;
            }
        }
        if is_of_stores {
            // Whoever holds a turn gives it back; the semaphore is never closed.
            *turn = Arc::clone(&tenant.turns).acquire_owned().await.ok();
            // Of several tenants that wait, each is next once.
            tokio::task::yield_now().await;
        }
        match ask {
            Ask::Cache(ask) => {
                let cache = tenant.cache.as_ref().ok_or(Refused::NotGranted)?;
                let before = cache.borrow().bytes();
                let given = caches::answer(&mut cache.borrow_mut(), ask);
                self.count(before, cache.borrow().bytes());
                given
            }
            Ask::Http(ask) => self.http(name, &tenant, ask).await,
            Ask::Secret { name, at } => secret(&tenant, &name, at),
            Ask::Query { store, query } => {
                let store = tenant.stores.get(&store).ok_or(Refused::NotGranted)?;
                let answer = match &store.redis {
                    Some(redis) => redis.query(&store.namespace, &query).await,
                    None => {
                        let own = self.own()?;
                        own.embedded.query(&store.namespace, &query)
                    }
                };
                Ok(Given::Kv(answer?))
            }
            Ask::Change { store, change } => {
                let store = tenant.stores.get(&store).ok_or(Refused::NotGranted)?;
                if store.access == Access::Read && who != Who::Operator {
                    return Err(Refused::ReadOnly);
                }
                let answer = match &store.redis {
                    Some(redis) => redis.change(&store.namespace, store.quota, &change).await,
                    None => {
                        let own = self.own()?;
                        own.writer
                            .change(&store.namespace, store.quota, change)
                            .await
                    }
                };
                Ok(Given::Kv(answer?))
            }
        }
    }

    /// Answers of a tenant's origin on disk. A worker that knows another origin gets none, and adds none.
    async fn http(&self, name: &str, tenant: &Tenant, ask: HttpAsk) -> Result<Given, Refused> {
        let disk = self.disk.as_ref().ok_or(Refused::NotGranted)?;
        let is_known = |site: u64| match tenant.site == Some(site) {
            true => Ok(()),
            false => Err(Refused::NotGranted),
        };
        match ask {
            HttpAsk::Find { site, url } => {
                is_known(site)?;
                disk.find(name, url).await.map(Given::Found)
            }
            HttpAsk::Fetch { site, url, number } => {
                is_known(site)?;
                disk.fetch(name, url, number).await.map(Given::Object)
            }
            HttpAsk::Keep { site, url, object } => {
                is_known(site)?;
                disk.keep(name, url, object).await.map(Given::Bool)
            }
            HttpAsk::Forget(which) => {
                disk.forget(name, which);
                Ok(Given::Done)
            }
        }
    }

    fn own(&self) -> Result<&Own, KvError> {
        let why = || KvError::Unavailable("the host cannot keep stores at the moment".to_owned());
        self.own.as_ref().map_err(|_| why())
    }

    /// Notes how a cache has grown; makes room when all together are too large.
    fn count(&self, before: u64, after: u64) {
        let bytes = (self.cache_bytes.get() + after).saturating_sub(before);
        self.cache_bytes.set(bytes);
        if bytes > self.cache_bytes_max {
            let tenants = self.tenants.borrow();
            let caches = tenants.values().filter_map(|tenant| tenant.cache.as_ref());
            caches::make_room(caches.clone(), self.cache_bytes_max);
            // Those of tenants that are gone are no longer counted.
            self.cache_bytes
                .set(caches.map(|cache| cache.borrow().bytes()).sum());
        }
    }
}

fn secret(tenant: &Tenant, name: &str, at: Option<u64>) -> Result<Given, Refused> {
    let secrets = tenant.secrets.as_ref().ok_or(Refused::NotGranted)?;
    let now = || {
        let since = SystemTime::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_secs())
    };
    let at = at.unwrap_or_else(now);
    let unreadable = tenant.unreadable.iter();
    let unreadable = unreadable.filter(|(of, from_s)| of == name && *from_s <= at);
    let since = unreadable.map(|(_, from_s)| *from_s).max();
    // The slot in force decides: an older value may have been replaced for a reason.
    match (secrets.get(name, at), since) {
        (_, Some(since)) if secrets.since(name, at) <= Some(since) => Err(Refused::Undecryptable),
        (Some(value), _) => Ok(Given::Value(Some(value.to_vec()))),
        (None, _) => Ok(Given::Value(None)),
    }
}
