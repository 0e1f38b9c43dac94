//! Stores and the cache: adapters over `gcore:fastedge/key-value` and `cache-sync`.

use wasmtime::component::{Resource, ResourceTableError};

use crate::guest::State;
use crate::guest::fastedge::bindings::gcore::fastedge::{cache_sync, cache_types, key_value};
use crate::guest::filter::memory::{Guest, Place};
use crate::guest::filter::status::{Answer, Status, Stop};
use crate::guest::filter::wire;

/// An answer of a store. A handle that is none is the guest's mistake, and no trap.
fn of_store<T>(answer: wasmtime::Result<Result<T, key_value::Error>>) -> Answer<T> {
    let answer = answer.map_err(|error| match error.downcast_ref() {
        Some(ResourceTableError::NotPresent | ResourceTableError::WrongType) => {
            Stop::Status(Status::BadArgument)
        }
        _ => Stop::Trap(error),
    })?;
    answer.map_err(|error| {
        Stop::Status(match error {
            key_value::Error::NoSuchStore => Status::NotFound,
            key_value::Error::AccessDenied => Status::BadArgument,
            key_value::Error::InternalError | key_value::Error::Other(_) => Status::InternalFailure,
        })
    })
}

pub(super) async fn open(guest: &mut Guest<'_>, name: u32, length: u32, handle: u32) -> Answer {
    let name = guest.text(name, length)?;
    guest.check(handle, 4)?;
    let store = of_store(key_value::HostStore::open(guest.state(), name).await)?;
    guest.write_u32(handle, store.rep())
}

pub(super) async fn get(
    guest: &mut Guest<'_>,
    handle: u32,
    key: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let store = Resource::new_borrow(handle);
    let value = of_store(key_value::HostStore::get(guest.state(), store, key).await)?;
    let place = Place::new(data, size);
    guest.give_or_null(value.as_deref(), place).await
}

pub(super) async fn scan(
    guest: &mut Guest<'_>,
    handle: u32,
    pattern: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let pattern = guest.text(pattern, length)?;
    let store = Resource::new_borrow(handle);
    let keys = of_store(key_value::HostStore::scan(guest.state(), store, pattern).await)?;
    guest.give(&wire::list(&keys), Place::new(data, size)).await
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) async fn zrange_by_score(
    guest: &mut Guest<'_>,
    handle: u32,
    key: u32,
    length: u32,
    min: f64,
    max: f64,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let store = Resource::new_borrow(handle);
    let range = key_value::HostStore::zrange_by_score(guest.state(), store, key, min, max).await;
    let members = wire::scored(&of_store(range)?);
    guest.give(&members, Place::new(data, size)).await
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) async fn zscan(
    guest: &mut Guest<'_>,
    handle: u32,
    key: u32,
    length: u32,
    pattern: u32,
    pattern_length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let pattern = guest.text(pattern, pattern_length)?;
    let store = Resource::new_borrow(handle);
    let members = key_value::HostStore::zscan(guest.state(), store, key, pattern).await;
    let members = wire::scored(&of_store(members)?);
    guest.give(&members, Place::new(data, size)).await
}

pub(super) async fn bf_exists(
    guest: &mut Guest<'_>,
    handle: u32,
    key: u32,
    length: u32,
    item: u32,
    item_length: u32,
    to: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let item = guest.text(item, item_length)?;
    guest.check(to, 4)?;
    let store = Resource::new_borrow(handle);
    let there = key_value::HostStore::bf_exists(guest.state(), store, key, item).await;
    guest.write_u32(to, of_store(there)?.into())
}

/// An answer of the cache.
fn of_cache<T>(answer: wasmtime::Result<Result<T, cache_types::Error>>) -> Answer<T> {
    answer?.map_err(|error| {
        Stop::Status(match error {
            cache_types::Error::AccessDenied => Status::BadArgument,
            cache_types::Error::InternalError | cache_types::Error::Other(_) => {
                Status::InternalFailure
            }
        })
    })
}

pub(super) async fn cache_get(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    let value = of_cache(<State as cache_sync::Host>::get(guest.state(), key).await)?;
    let value = value.ok_or(Status::NotFound)?;
    guest.give(&value, Place::new(data, size)).await
}

/// A time to live of 0 is none.
pub(super) async fn cache_set(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    value: u32,
    size: u32,
    ttl_ms: u64,
) -> Answer {
    let key = guest.text(key, length)?;
    let value = guest.read(value, size)?;
    let ttl_ms = (ttl_ms > 0).then_some(ttl_ms);
    of_cache(cache_sync::Host::set(guest.state(), key, value, ttl_ms).await)
}

pub(super) async fn cache_delete(guest: &mut Guest<'_>, key: u32, length: u32) -> Answer {
    let key = guest.text(key, length)?;
    of_cache(cache_sync::Host::delete(guest.state(), key).await)
}

pub(super) async fn cache_exists(guest: &mut Guest<'_>, key: u32, length: u32, to: u32) -> Answer {
    let key = guest.text(key, length)?;
    guest.check(to, 4)?;
    let there = of_cache(cache_sync::Host::exists(guest.state(), key).await)?;
    guest.write_u32(to, there.into())
}

pub(super) async fn cache_incr(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    delta: i64,
    to: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    guest.check(to, 8)?;
    let value = of_cache(cache_sync::Host::incr(guest.state(), key, delta).await)?;
    guest.write_u64(to, value.cast_unsigned())
}

pub(super) async fn cache_expire(
    guest: &mut Guest<'_>,
    key: u32,
    length: u32,
    ttl_ms: u64,
    to: u32,
) -> Answer {
    let key = guest.text(key, length)?;
    guest.check(to, 4)?;
    let there = of_cache(cache_sync::Host::expire(guest.state(), key, ttl_ms).await)?;
    guest.write_u32(to, there.into())
}

pub(super) async fn cache_purge(guest: &mut Guest<'_>, to: u32) -> Answer {
    guest.check(to, 8)?;
    let count = of_cache(cache_sync::Host::purge(guest.state()).await)?;
    guest.write_u64(to, count)
}

pub(super) async fn cache_purge_prefix(
    guest: &mut Guest<'_>,
    prefix: u32,
    length: u32,
    to: u32,
) -> Answer {
    let prefix = guest.text(prefix, length)?;
    guest.check(to, 8)?;
    let count = of_cache(cache_sync::Host::purge_prefix(guest.state(), prefix).await)?;
    guest.write_u64(to, count)
}
