//! The caches of all tenants, and how much they may have together.

use std::cell::RefCell;
use std::rc::Rc;

use super::cache::{Cache, CacheError};
use super::{CacheAsk, Given, Refused};
use crate::config::limits;
use crate::sys::clock::monotonic_ns;

/// One tenant's cache.
pub(super) type Shared = Rc<RefCell<Cache>>;

/// Answers from a cache.
///
/// # Errors
/// Values that do not fit, and numbers that are none.
pub(super) fn answer(cache: &mut Cache, ask: CacheAsk) -> Result<Given, Refused> {
    let now_ms = monotonic_ns() / 1_000_000;
    Ok(match ask {
        CacheAsk::Get { key } => Given::Value(cache.get(&key, now_ms).map(|value| value.to_vec())),
        CacheAsk::Set { key, value, ttl_ms } => {
            cache.set(&key, value, ttl_ms, now_ms).map_err(refused)?;
            Given::Done
        }
        CacheAsk::Delete { key } => {
            cache.delete(&key);
            Given::Done
        }
        CacheAsk::Exists { key } => Given::Bool(cache.exists(&key, now_ms)),
        CacheAsk::Increment { key, delta } => {
            Given::Count(cache.incr(&key, delta, now_ms).map_err(refused)?)
        }
        CacheAsk::Expire { key, ttl_ms } => Given::Bool(cache.expire(&key, ttl_ms, now_ms)),
        CacheAsk::Purge => Given::Count(cache.purge(now_ms).cast_signed()),
        CacheAsk::PurgePrefix { prefix } => {
            Given::Count(cache.purge_prefix(&prefix, now_ms).cast_signed())
        }
    })
}

fn refused(error: CacheError) -> Refused {
    Refused::Failed(error.to_string())
}

/// Makes room when all caches together have more than `bytes_max`: the largest one gives an eighth.
pub(super) fn make_room<'c>(caches: impl Iterator<Item = &'c Shared> + Clone, bytes_max: u64) {
    let now_ms = monotonic_ns() / 1_000_000;
    for _ in 0..limits::CACHE_EVICTION_ROUNDS {
        let sum: u64 = caches.clone().map(|cache| cache.borrow().bytes()).sum();
        let largest = caches.clone().max_by_key(|cache| cache.borrow().bytes());
        let Some(largest) = largest.filter(|_| sum > bytes_max) else {
            return;
        };
        let mut largest = largest.borrow_mut();
        let (bytes, allowed) = (largest.bytes(), largest.bytes_max());
        largest.set_bytes_max(bytes - bytes.div_ceil(8), now_ms);
        largest.set_bytes_max(allowed, now_ms);
    }
}
