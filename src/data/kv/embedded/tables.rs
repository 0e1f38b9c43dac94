//! What lies where in the file.
//!
//! ```text
//! table     row                          holds
//! keys      n namespace key              kind, bytes; of a set or a filter also its id      Entry
//! values    n namespace key              the value
//! members   id member                    score
//! scores    id score member              nothing: the order of the members
//! blocks    id layer block               bits of a filter                                   bloom
//! garbage   id                           nothing: its rows above have no key any more
//! usage     namespace                    keys, bytes                                        Usage
//! counters  name                         the next id; the version of this layout
//! ```
//!
//! `n` is the namespace's length, so that none is a prefix of another. Numbers of rows are big-endian,
//! which is their order; all others are little-endian. A value lies apart from its key, so that keys
//! are looked through without their values; what a key holds beside its length is never read for that.

use std::ops::Bound;

use redb::{Range, ReadableTable, TableDefinition};

use super::failure::Failure;
use crate::data::kv::bloom::{Filter, Layer};

/// All rows and what they hold are bytes.
pub type Bytes = &'static [u8];

type Definition = TableDefinition<'static, Bytes, Bytes>;

/// As above, like those that follow.
pub const KEYS: Definition = TableDefinition::new("keys");
pub const VALUES: Definition = TableDefinition::new("values");
pub const MEMBERS: Definition = TableDefinition::new("members");
pub const SCORES: Definition = TableDefinition::new("scores");
pub const BLOCKS: Definition = TableDefinition::new("blocks");
pub const GARBAGE: Definition = TableDefinition::new("garbage");
pub const USAGE: Definition = TableDefinition::new("usage");
pub const COUNTERS: Definition = TableDefinition::new("counters");

/// All of them.
pub const ALL: [Definition; 8] = [
    KEYS, VALUES, MEMBERS, SCORES, BLOCKS, GARBAGE, USAGE, COUNTERS,
];

/// The counter of the version of this layout.
pub const VERSION: &[u8] = b"version";
/// The counter of the next id.
pub const NEXT_ID: &[u8] = b"next-id";

/// Bytes that are counted for a member's score.
pub const SCORE_BYTES: u64 = 8;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry {
    /// A value of so many bytes.
    Value(u64),
    /// A sorted set.
    Set(Owned),
    /// A Bloom filter.
    Filter(Owned, Filter),
}

/// What owns rows of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owned {
    /// What they begin with.
    pub id: u64,
    /// Their bytes, as far as they are counted.
    pub bytes: u64,
}

impl Entry {
    /// Bytes of what it holds, as far as they are counted.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Value(bytes) => *bytes,
            Self::Set(owned) | Self::Filter(owned, _) => owned.bytes,
        }
    }

    /// What its rows begin with, if it has any but its value.
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::Value(_) => None,
            Self::Set(owned) | Self::Filter(owned, _) => Some(owned.id),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let bytes = self.bytes().to_le_bytes();
        match self {
            Self::Value(_) => [&[0], &bytes[..]].concat(),
            Self::Set(owned) => [&[1], &bytes[..], &owned.id.to_le_bytes()].concat(),
            Self::Filter(owned, filter) => {
                let id = owned.id.to_le_bytes();
                [&[2], &bytes[..], &id, &filter.encode()].concat()
            }
        }
    }

    /// From such bytes; `None` when they are none.
    pub fn decode(row: &[u8]) -> Option<Self> {
        let (kind, rest) = row.split_first()?;
        let (bytes, rest) = number(rest)?;
        let owned = |rest| number(rest).map(|(id, rest)| (Owned { id, bytes }, rest));
        match kind {
            0 if rest.is_empty() => Some(Self::Value(bytes)),
            1 => match owned(rest)? {
                (owned, []) => Some(Self::Set(owned)),
                _ => None,
            },
            2 => {
                let (owned, rest) = owned(rest)?;
                Some(Self::Filter(owned, Filter::decode(rest)?))
            }
            _ => None,
        }
    }
}

/// What a namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys, values, members with their scores, and blocks of filters that were written.
    pub bytes: u64,
}

impl Usage {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        [self.keys.to_le_bytes(), self.bytes.to_le_bytes()].concat()
    }

    /// Of a namespace; nothing where there is no row.
    pub fn read(
        usage: &impl ReadableTable<Bytes, Bytes>,
        namespace: &str,
    ) -> Result<Self, Failure> {
        let Some(row) = usage.get(namespace.as_bytes())? else {
            return Ok(Self::default());
        };
        let decode = |row| {
            let (keys, rest) = number(row)?;
            let (bytes, rest) = number(rest)?;
            rest.is_empty().then_some(Self { keys, bytes })
        };
        decode(row.value()).ok_or_else(|| Failure::damaged("usage"))
    }
}

/// What the key of that row holds, whatever its kind.
pub fn entry(
    keys: &impl ReadableTable<Bytes, Bytes>,
    row: &[u8],
) -> Result<Option<Entry>, Failure> {
    let held = keys.get(row)?;
    let decode = |row| Entry::decode(row).ok_or_else(|| Failure::damaged("keys"));
    held.as_ref().map(|held| decode(held.value())).transpose()
}

/// A counter, which is 0 at first.
pub fn counter(counters: &impl ReadableTable<Bytes, Bytes>, name: &[u8]) -> Result<u64, Failure> {
    let Some(row) = counters.get(name)? else {
        return Ok(0);
    };
    match number(row.value()) {
        Some((number, [])) => Ok(number),
        _ => Err(Failure::damaged("counters")),
    }
}

/// What the rows of a namespace's keys begin with.
///
/// # Errors
/// When its name has 64 KiB or more.
pub fn namespace_prefix(namespace: &str) -> Result<Vec<u8>, Failure> {
    let length = u16::try_from(namespace.len())
        .map_err(|_| Failure::unavailable("the name of a namespace is too long"))?;
    Ok([&length.to_be_bytes(), namespace.as_bytes()].concat())
}

/// The row of a key.
///
/// # Errors
/// When the namespace's name has 64 KiB or more.
pub fn key_row(namespace: &str, key: &str) -> Result<Vec<u8>, Failure> {
    let mut row = namespace_prefix(namespace)?;
    row.extend_from_slice(key.as_bytes());
    Ok(row)
}

/// The row of a member, or what the rows of all that begin so begin with.
pub fn member_row(id: u64, member: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), member].concat()
}

/// The row of a member in the order of scores.
pub fn score_row(id: u64, score: f64, member: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &ordered(score)[..], member].concat()
}

/// The row of a filter's block.
pub fn block_row(id: u64, layer: u8, block: u64) -> Vec<u8> {
    [&id.to_be_bytes(), &[layer][..], &block.to_be_bytes()].concat()
}

/// The first row after all that begin with `prefix`; `None` where there can be none.
pub fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut row = prefix.get(..=last)?.to_vec();
    *row.last_mut()? += 1;
    Some(row)
}

/// Rows from one on, up to the last that begins with `prefix`.
pub fn range<'t>(
    table: &'t impl ReadableTable<Bytes, Bytes>,
    from: Bound<&[u8]>,
    prefix: &[u8],
) -> Result<Range<'t, Bytes, Bytes>, Failure> {
    let after = after(prefix);
    let until = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    Ok(table.range::<&[u8]>((from, until))?)
}

/// A block of that layer, from what `blocks` holds.
pub fn block<'a>(held: &'a [u8], layer: &Layer) -> Result<&'a [u8], Failure> {
    match held.len() == layer.block_bytes {
        true => Ok(held),
        false => Err(Failure::damaged("blocks")),
    }
}

/// A score from what `members` holds.
pub fn score(held: &[u8]) -> Result<f64, Failure> {
    let bytes = held.try_into().map_err(|_| Failure::damaged("members"))?;
    Ok(f64::from_le_bytes(bytes))
}

/// The id, score and member of a row of `scores`.
pub fn score_and_member(row: &[u8]) -> Result<(f64, &[u8]), Failure> {
    let split = || {
        let (_, rest) = row.split_first_chunk::<8>()?;
        rest.split_first_chunk::<8>()
    };
    let (ordered, member) = split().ok_or_else(|| Failure::damaged("scores"))?;
    Ok((unordered(*ordered), member))
}

/// A score in bytes whose order is the scores': the sign turned round, and negative ones as a whole.
///
/// ```text
/// 1 11…    -∞       ─►  0 00…
/// 1 00…0   -0.0     ─►  (is taken for 0.0)
/// 0 00…0    0.0     ─►  1 00…0
/// 0 11…     ∞       ─►  1 11…
/// ```
fn ordered(score: f64) -> [u8; 8] {
    const SIGN: u64 = 1 << 63;
    // -0.0 + 0.0 is 0.0 (IEEE 754 section 6.3).
    let bits = (score + 0.0).to_bits();
    let turned = match bits & SIGN {
        0 => bits | SIGN,
        _ => !bits,
    };
    turned.to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> f64 {
    const SIGN: u64 = 1 << 63;
    let turned = u64::from_be_bytes(bytes);
    f64::from_bits(match turned & SIGN {
        0 => !turned,
        _ => turned & !SIGN,
    })
}

/// A little-endian number, and what comes after it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}
