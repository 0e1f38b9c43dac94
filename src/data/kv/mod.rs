//! Key-value data: what can be asked of it, and what comes of that, whatever keeps it.
//!
//! ```text
//!              ┌─► embedded: one file of the host's, durable before it is acknowledged
//! Query, Change┤
//!              └─► redis: a server of the operator's
//! ```
//!
//! A key holds a value, a sorted set or a Bloom filter, as in Redis; what one kind is asked as another
//! is [`KvError::WrongType`]. Keys of different [namespaces](Namespace) never meet.

pub mod bloom;
mod bytes;
pub mod embedded;
pub mod glob;
pub mod redis;

/// The keys of one tenant's store, or of one that tenants share: `tenant/store` or `/store`.
pub type Namespace = str;

/// What a key holds, or a member of a sorted set.
pub type Value = Vec<u8>;

/// A member of a sorted set and its score, which is never NaN.
pub type Scored = (Value, f64);

/// A question. None changes anything.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Query {
    /// The values of these keys, in their order: [`Answer::Values`].
    Get(Vec<String>),
    /// Whether there is the key, of whatever kind: [`Answer::Bool`].
    Exists(String),
    /// Keys after `cursor` in an order that the backend keeps, so many as it likes, at most
    /// [`KEYS_PER_PAGE_MAX`](crate::config::limits::KEYS_PER_PAGE_MAX): [`Answer::Page`].
    List {
        /// What the page before gave; the first page where it is `None`.
        cursor: Option<String>,
    },
    /// Keys that match a [glob], sorted: [`Answer::Keys`].
    Scan {
        /// The pattern.
        pattern: String,
    },
    /// Members whose score lies within both ends, from low to high; equal ones by their bytes:
    /// [`Answer::Members`].
    RangeByScore {
        /// The sorted set.
        key: String,
        /// The lowest score.
        min: f64,
        /// The highest one.
        max: f64,
    },
    /// Members that match a [glob], sorted as above: [`Answer::Members`].
    ScanMembers {
        /// The sorted set.
        key: String,
        /// The pattern.
        pattern: String,
    },
    /// Whether the Bloom filter may have the item; `false` where there is none: [`Answer::Bool`].
    MayContain {
        /// The Bloom filter.
        key: String,
        /// The item.
        item: Vec<u8>,
    },
}

/// A change, which happens as a whole or not at all.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Change {
    /// Sets values, whatever kind the keys were of before: [`Answer::Done`].
    Set(#[serde(with = "bytes::pairs")] Vec<(String, Value)>),
    /// Deletes keys of whatever kind; those that are not there are no error: [`Answer::Done`].
    Delete(Vec<String>),
    /// Adds to a number that is written in decimal, 0 where there is no key: [`Answer::Count`].
    Increment {
        /// The key.
        key: String,
        /// What is added.
        delta: i64,
    },
    /// Sets a value if the one before is as `expected`, `None` being no key: [`Answer::Bool`].
    Swap {
        /// The key.
        key: String,
        /// What it must hold.
        #[serde(with = "serde_bytes")]
        expected: Option<Value>,
        /// What it then holds.
        #[serde(with = "serde_bytes")]
        value: Value,
    },
    /// Adds members to a sorted set, or changes their scores; makes one where there is none:
    /// [`Answer::Done`].
    AddMembers {
        /// The sorted set.
        key: String,
        /// The members.
        members: Vec<Scored>,
    },
    /// Adds items to a Bloom filter; makes one where there is none: [`Answer::Done`].
    AddItems {
        /// The Bloom filter.
        key: String,
        /// The items.
        items: Vec<Vec<u8>>,
    },
}

/// What a query or a change gives.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Answer {
    /// It is done, and durable where the backend is.
    Done,
    /// Yes or no.
    Bool(bool),
    /// The number after it was incremented.
    Count(i64),
    /// As many as were asked for.
    Values(#[serde(with = "bytes::options")] Vec<Option<Value>>),
    /// Keys.
    Keys(Vec<String>),
    /// Keys, and the cursor of the next page where there is one.
    Page(Vec<String>, Option<String>),
    /// Members and their scores.
    Members(#[serde(with = "bytes::scored")] Vec<Scored>),
}

/// Why there is no answer. Nothing was changed, except where [`KvError::Unavailable`] says otherwise.
#[derive(Clone, Debug, PartialEq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum KvError {
    /// The key holds something of another kind.
    #[error("the key holds something of another kind")]
    WrongType,
    /// It is not a decimal number of 64 bits, or would be none afterwards.
    #[error("the value is not an integer of 64 bits, or would be none afterwards")]
    NotAnInteger,
    /// A score is not a number.
    #[error("a score is not a number")]
    NotAScore,
    /// The namespace would have more keys or bytes than it may.
    #[error("the store would have more {0} than it may")]
    OverQuota(What),
    /// The answer would have more bytes than an answer may.
    #[error("the answer has more than {0} bytes")]
    TooLarge(u64),
    /// The backend is slow, gone or full. Whether a change happened is not known.
    #[error("{0}")]
    Unavailable(String),
    /// The backend answers what nobody asked.
    #[error("the server's answer makes no sense: {0}")]
    Malformed(String),
}

/// What there is a quota of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum What {
    /// Keys.
    Keys,
    /// Bytes of keys, values, members and filters.
    Bytes,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keys => "keys",
            Self::Bytes => "bytes",
        })
    }
}

/// What one namespace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quota {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys, values, members and filters.
    pub bytes: u64,
}
