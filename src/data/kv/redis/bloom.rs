//! Bloom filters: the server's own, or a string of ours where it has none.
//!
//! `BF.INSERT` and `BF.EXISTS` are used where the server knows them (Redis 8, RedisBloom, Kvrocks). To
//! plain Redis a filter is a string of one fixed size, whose first bytes set it apart from values:
//!
//! ```text
//! 0               16                                                          16 + 131,072 bytes
//! │ MARK          │ KV_REDIS_FILTER_BITS bits; bit 0 is the highest of its byte │
//! ```
//!
//! An item sets `KV_REDIS_FILTER_HASHES` bits: the i-th is `(a + i·b) mod bits`, `a` and `b` being the
//! first two little-endian words of the item's BLAKE3 hash, `b` made odd (Kirsch & Mitzenmacher 2006).
//! With 100,000 items, one in a hundred others seems to be there. A filter of one kind is of the wrong
//! type to a server that has, or no longer has, the other.

use std::cell::Cell;

use redis::{Cmd, Value as Reply, cmd};

use super::answers::{self, accepted};
use super::link::Session;
use super::{few, script};
use crate::config::limits;
use crate::data::kv::{Answer, KvError};

/// What a filter begins with; no text does.
pub(super) const MARK: &[u8; 16] = b"\x93skep-bloom-01\r\n";

/// Where bits begin.
const FIRST_BIT: u64 = 8 * MARK.len() as u64;

/// Whether what a key holds is a filter.
pub(super) fn is_filter(value: &[u8]) -> bool {
    value.starts_with(MARK)
}

/// Whether the key holds a filter.
pub(super) async fn is_at(session: &Session, key: &str) -> Result<bool, KvError> {
    let mut command = cmd("GETRANGE");
    command.arg(key).arg(0).arg(MARK.len() - 1);
    let head = session.one(&command).await?;
    Ok(is_filter(&answers::present(head)?))
}

/// Whether the filter may have the item.
pub(super) async fn may_contain(
    session: &Session,
    key: &str,
    item: &[u8],
) -> Result<Answer, KvError> {
    match theirs(session, cmd("BF.EXISTS").arg(key).arg(item)).await? {
        Some(found) => Ok(Answer::Bool(answers::integer(found)? > 0)),
        None => our_may_contain(session, key, item).await,
    }
}

/// Adds items; makes a filter where there is none.
pub(super) async fn add(
    session: &Session,
    key: &str,
    items: &[Vec<u8>],
) -> Result<Answer, KvError> {
    if items.is_empty() {
        // Nothing is to be done, but not to a key of another kind.
        may_contain(session, key, b"").await?;
        return Ok(Answer::Done);
    }
    few(items.len(), "items")?;
    let mut insert = cmd("BF.INSERT");
    insert.arg(key);
    insert.arg("CAPACITY").arg(limits::KV_REDIS_FILTER_ITEMS);
    insert.arg("ERROR").arg("0.01").arg("ITEMS").arg(items);
    match theirs(session, &insert).await? {
        Some(added) => {
            for one in answers::list(added)? {
                accepted(one)?;
            }
        }
        None => our_add(session, key, items).await?,
    }
    Ok(Answer::Done)
}

/// What the server's own filters say; `None` where it has none.
async fn theirs(session: &Session, command: &Cmd) -> Result<Option<Reply>, KvError> {
    let known: &Cell<Option<bool>> = session.has_filters();
    if known.get() == Some(false) {
        return Ok(None);
    }
    let reply = session.ask(command).await?;
    let is_known = !answers::is_unknown_command(&reply);
    known.set(Some(is_known));
    is_known.then(|| accepted(reply)).transpose()
}

/// What both scripts begin with. `ARGV`: the mark, and bits.
macro_rules! with_head {
    ($where_there_is_none:literal, $rest:literal) => {
        concat!(
            "local head = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if type(head) == 'table' then return head end
if head ~= ARGV[1] then
  if redis.call('EXISTS', KEYS[1]) == 1 then
    return redis.error_reply('WRONGTYPE the key holds a value')
  end
  ",
            $where_there_is_none,
            "
end
",
            $rest
        )
    };
}

/// Whether all the bits are set.
const HAS: &str = with_head!(
    "return 0",
    "for i = 2, #ARGV do
  if redis.call('GETBIT', KEYS[1], ARGV[i]) == 0 then return 0 end
end
return 1"
);

/// Sets the bits.
const ADD: &str = with_head!(
    "redis.call('SET', KEYS[1], ARGV[1])",
    "for i = 2, #ARGV do redis.call('SETBIT', KEYS[1], ARGV[i], 1) end
return 1"
);

async fn our_may_contain(session: &Session, key: &str, item: &[u8]) -> Result<Answer, KvError> {
    let mut command = script(HAS, key);
    command.arg(MARK).arg(bits(item).collect::<Vec<_>>());
    let found = session.one(&command).await?;
    Ok(Answer::Bool(answers::integer(found)? > 0))
}

async fn our_add(session: &Session, key: &str, items: &[Vec<u8>]) -> Result<(), KvError> {
    let mut command = script(ADD, key);
    command.arg(MARK);
    for item in items {
        command.arg(bits(item).collect::<Vec<_>>());
    }
    session.one(&command).await.map(drop)
}

/// The bits of an item.
fn bits(item: &[u8]) -> impl Iterator<Item = u64> + use<> {
    let hash = blake3::hash(item);
    let word = |at: usize| {
        let bytes = hash.as_bytes()[8 * at..].first_chunk();
        bytes.copied().map_or(0, u64::from_le_bytes)
    };
    let (first, step) = (word(0), word(1) | 1);
    (0..limits::KV_REDIS_FILTER_HASHES).map(move |i| {
        FIRST_BIT + first.wrapping_add(i.wrapping_mul(step)) % limits::KV_REDIS_FILTER_BITS
    })
}
