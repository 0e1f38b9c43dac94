//! What guests ask the host's data for, and what they are given.

use serde::{Deserialize, Serialize};

use super::http_cache::{Found, HttpAsk, Object};
use super::kv::{Answer, Change, KvError, Query};
use crate::config::limits;

/// A question about one tenant's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// What a store holds.
    Query {
        /// The name that the tenant has for it.
        store: String,
        /// What is asked.
        query: Query,
    },
    /// To change what a store holds.
    Change {
        /// The name that the tenant has for it.
        store: String,
        /// What is to be changed.
        change: Change,
    },
    /// Something of the tenant's cache.
    Cache(CacheAsk),
    /// Something of the origin's answers that are kept on disk, which no guest asks for.
    Http(HttpAsk),
    /// A secret: [`Given::Value`].
    Secret {
        /// Its name.
        name: String,
        /// The time that its slot is to be in force at, in Unix seconds; now where it is `None`.
        at: Option<u64>,
    },
}

impl Ask {
    /// What it counts among a tenant's operations: one, and more for what takes longer.
    pub fn cost(&self) -> u64 {
        let of = |items: usize, bytes: usize| 1 + items as u64 / 8 + bytes as u64 / 16_384;
        match self {
            Self::Query { query, .. } => match query {
                Query::Get(keys) => of(keys.len(), 0),
                Query::Exists(_) | Query::MayContain { .. } => 1,
                Query::List { .. } => 20,
                Query::Scan { .. } | Query::RangeByScore { .. } | Query::ScanMembers { .. } => 200,
            },
            Self::Change { change, .. } => match change {
                Change::Set(pairs) => of(
                    pairs.len(),
                    pairs.iter().map(|(_, value)| value.len()).sum(),
                ),
                Change::Delete(keys) => of(keys.len(), 0),
                Change::Increment { .. } => 1,
                Change::Swap { value, .. } => of(1, value.len()),
                Change::AddMembers { members, .. } => of(members.len(), 0),
                Change::AddItems { items, .. } => of(items.len(), 0),
            },
            Self::Cache(CacheAsk::Set { value, .. }) => of(1, value.len()),
            Self::Cache(CacheAsk::Purge | CacheAsk::PurgePrefix { .. }) => 20,
            // No guest asks for it, and the queue of the disk has bounds of its own.
            Self::Http(_) => 0,
            Self::Cache(_) | Self::Secret { .. } => 1,
        }
    }

    /// Whether keys, values and batches are no longer than they may be.
    ///
    /// # Errors
    /// [`Refused::TooLarge`].
    pub fn check(&self) -> Result<(), Refused> {
        match self {
            Self::Query { query, .. } => match query {
                Query::Get(keys) => batch(keys.len()).and_then(|()| all(keys, key)),
                Query::Exists(one) => key(one),
                Query::List { cursor } => cursor.iter().try_for_each(|it| longer_key(it)),
                Query::Scan { pattern } => key(pattern),
                Query::RangeByScore { key: one, .. } => key(one),
                Query::ScanMembers { key: one, pattern } => key(one).and_then(|()| key(pattern)),
                Query::MayContain { key: one, item } => key(one).and_then(|()| value(item)),
            },
            Self::Change { change, .. } => match change {
                Change::Set(pairs) => batch(pairs.len())
                    .and_then(|()| all(pairs, |(one, held)| key(one).and_then(|()| value(held)))),
                Change::Delete(keys) => batch(keys.len()).and_then(|()| all(keys, key)),
                Change::Increment { key: one, .. } => key(one),
                Change::Swap {
                    key: one,
                    value: new,
                    ..
                } => key(one).and_then(|()| value(new)),
                Change::AddMembers { key: one, members } => batch(members.len())
                    .and_then(|()| key(one))
                    .and_then(|()| all(members, |(member, _)| value(member))),
                Change::AddItems { key: one, items } => batch(items.len())
                    .and_then(|()| key(one))
                    .and_then(|()| all(items, |item| value(item))),
            },
            Self::Cache(ask) => match ask {
                CacheAsk::Set {
                    key: one,
                    value: held,
                    ..
                } => key(one).and_then(|()| value(held)),
                CacheAsk::Get { key: one }
                | CacheAsk::Delete { key: one }
                | CacheAsk::Exists { key: one }
                | CacheAsk::Increment { key: one, .. }
                | CacheAsk::Expire { key: one, .. }
                | CacheAsk::PurgePrefix { prefix: one } => key(one),
                CacheAsk::Purge => Ok(()),
            },
            Self::Http(ask) => ask.check(),
            Self::Secret { name, .. } => key(name),
        }
    }
}

fn all<T>(items: &[T], check: impl Fn(&T) -> Result<(), Refused>) -> Result<(), Refused> {
    items.iter().try_for_each(check)
}

fn at_most(what: &str, is: usize, max: usize, unit: &str) -> Result<(), Refused> {
    match is <= max {
        true => Ok(()),
        false => Err(Refused::TooLarge {
            what: what.to_owned(),
            max: max as u64,
            unit: unit.to_owned(),
        }),
    }
}

#[expect(clippy::ptr_arg, reason = "passed to iterators over strings")]
fn key(key: &String) -> Result<(), Refused> {
    at_most("a key", key.len(), limits::DATA_KEY_BYTES_MAX, "bytes")
}

/// A cursor is a key, written in a way that may be longer.
fn longer_key(cursor: &str) -> Result<(), Refused> {
    at_most(
        "a cursor",
        cursor.len(),
        4 * limits::DATA_KEY_BYTES_MAX,
        "bytes",
    )
}

fn value(value: &[u8]) -> Result<(), Refused> {
    at_most(
        "a value",
        value.len(),
        limits::DATA_VALUE_BYTES_MAX,
        "bytes",
    )
}

fn batch(items: usize) -> Result<(), Refused> {
    at_most("a batch", items, limits::DATA_BATCH_MAX, "items")
}

/// What can be asked of a cache. A time to live is in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CacheAsk {
    /// [`Given::Value`].
    Get { key: String },
    /// [`Given::Done`].
    Set {
        key: String,
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    },
    /// [`Given::Done`].
    Delete { key: String },
    /// [`Given::Bool`].
    Exists { key: String },
    /// [`Given::Count`]: the value afterwards.
    Increment { key: String, delta: i64 },
    /// [`Given::Bool`]: whether there is such a key.
    Expire { key: String, ttl_ms: u64 },
    /// [`Given::Count`]: how many there were.
    Purge,
    /// [`Given::Count`]: how many there were.
    PurgePrefix { prefix: String },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Given {
    /// Of a store.
    Kv(Answer),
    /// A value, where there is one.
    Value(#[serde(with = "serde_bytes")] Option<Vec<u8>>),
    /// It is done.
    Done,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Count(i64),
    /// Answers of an origin.
    Found(Found),
    /// One of them, where it is still there.
    Object(Option<Box<Object>>),
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// The tenant was not given this.
    #[error("the program was not given this")]
    NotGranted,
    /// The tenant may read the store and not change it.
    #[error("the program may only read this store")]
    ReadOnly,
    /// A key, a value or a batch is longer than it may be.
    #[error("{what} has more than {max} {unit}")]
    TooLarge {
        /// What it is.
        what: String,
        /// What it may have.
        max: u64,
        /// Of what.
        unit: String,
    },
    /// The tenant asks more often than it may.
    #[error("more than {0} operations a second")]
    TooOften(u64),
    /// A secret is there and cannot be read.
    #[error("the secret cannot be read")]
    Undecryptable,
    /// A store's answer.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The host cannot at the moment, or will not; in one line.
    #[error("{0}")]
    Failed(String),
}
