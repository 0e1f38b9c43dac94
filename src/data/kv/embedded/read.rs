//! Queries, each answered from one snapshot.
//!
//! No answer has more than [`KV_ANSWER_BYTES_MAX`](limits::KV_ANSWER_BYTES_MAX) bytes of keys, values,
//! members and scores. No query looks at more than [`KV_SCAN_ROWS_MAX`](limits::KV_SCAN_ROWS_MAX) rows,
//! or takes more than [`KV_SCAN_STEPS_MAX`](limits::KV_SCAN_STEPS_MAX) steps to match them.

use std::ops::Bound;

use redb::ReadTransaction;

use super::failure::Failure;
use super::tables::{self, BLOCKS, Entry, KEYS, MEMBERS, SCORES, VALUES};
use crate::config::limits;
use crate::data::kv::bloom::Item;
use crate::data::kv::glob::Glob;
use crate::data::kv::{Answer, KvError, Query, Scored, Value};

/// What one namespace is asked.
pub struct Reader<'a> {
    snapshot: &'a ReadTransaction,
    namespace: &'a str,
}

impl<'a> Reader<'a> {
    /// Of that snapshot.
    pub fn new(snapshot: &'a ReadTransaction, namespace: &'a str) -> Self {
        Self {
            snapshot,
            namespace,
        }
    }

    /// The answer.
    pub fn answer(&self, query: &Query) -> Result<Answer, Failure> {
        match query {
            Query::Get(keys) => self.values(keys).map(Answer::Values),
            Query::Exists(key) => Ok(Answer::Bool(self.entry(key)?.is_some())),
            Query::List { cursor } => self.page(cursor.as_deref()),
            Query::Scan { pattern } => self.matching_keys(pattern).map(Answer::Keys),
            Query::RangeByScore { key, min, max } => {
                self.members_between(key, *min, *max).map(Answer::Members)
            }
            Query::ScanMembers { key, pattern } => {
                self.matching_members(key, pattern).map(Answer::Members)
            }
            Query::MayContain { key, item } => self.may_contain(key, item).map(Answer::Bool),
        }
    }

    fn entry(&self, key: &str) -> Result<Option<Entry>, Failure> {
        let keys = self.snapshot.open_table(KEYS)?;
        tables::entry(&keys, &tables::key_row(self.namespace, key)?)
    }

    fn values(&self, asked: &[String]) -> Result<Vec<Option<Value>>, Failure> {
        let values = self.snapshot.open_table(VALUES)?;
        let mut room = Room::new();
        let mut look = Look::new("keys", "a query of fewer");
        let value = |key: &String| {
            look.at_one()?;
            let row = tables::key_row(self.namespace, key)?;
            match values.get(row.as_slice())? {
                Some(value) => {
                    room.take(value.value().len())?;
                    Ok(Some(value.value().to_vec()))
                }
                None => match self.entry(key)? {
                    None => Ok(None),
                    Some(Entry::Value(_)) => Err(Failure::damaged("values")),
                    Some(_) => Err(KvError::WrongType.into()),
                },
            }
        };
        asked.iter().map(value).collect()
    }

    /// A cursor is the last key of the page before it, so that whatever one is has keys after it.
    fn page(&self, cursor: Option<&str>) -> Result<Answer, Failure> {
        let prefix = tables::namespace_prefix(self.namespace)?;
        let last = cursor
            .map(|key| tables::key_row(self.namespace, key))
            .transpose()?;
        let from = last
            .as_deref()
            .map_or(Bound::Included(prefix.as_slice()), Bound::Excluded);
        let table = self.snapshot.open_table(KEYS)?;
        let (mut keys, mut room) = (Vec::new(), Room::new());
        for row in tables::range(&table, from, &prefix)? {
            let (row, _) = row?;
            let key = key(row.value(), &prefix)?;
            let is_full = keys.len() >= limits::KEYS_PER_PAGE_MAX || room.take(key.len()).is_err();
            if is_full && !keys.is_empty() {
                let cursor = keys.last().cloned();
                return Ok(Answer::Page(keys, cursor));
            }
            keys.push(key.to_owned());
        }
        Ok(Answer::Page(keys, None))
    }

    fn matching_keys(&self, pattern: &str) -> Result<Vec<String>, Failure> {
        let start = tables::namespace_prefix(self.namespace)?;
        let glob = Glob::new(pattern.as_bytes());
        let prefix = [start.as_slice(), &glob.prefix()].concat();
        let table = self.snapshot.open_table(KEYS)?;
        let (mut keys, mut room) = (Vec::new(), Room::new());
        let mut look = Look::new("keys", "a longer literal prefix");
        let rows = tables::range(&table, Bound::Included(&prefix), &prefix)?;
        for row in rows.take(rows_max(&glob)) {
            let (row, _) = row?;
            let key = key(row.value(), &start)?;
            if look.matches(&glob, key.as_bytes())? {
                room.take(key.len())?;
                keys.push(key.to_owned());
            }
        }
        Ok(keys)
    }

    /// The id of a sorted set, where there is one.
    fn set(&self, key: &str) -> Result<Option<u64>, Failure> {
        match self.entry(key)? {
            None => Ok(None),
            Some(Entry::Set(owned)) => Ok(Some(owned.id)),
            Some(_) => Err(KvError::WrongType.into()),
        }
    }

    fn members_between(&self, key: &str, min: f64, max: f64) -> Result<Vec<Scored>, Failure> {
        if min.is_nan() || max.is_nan() {
            return Err(KvError::NotAScore.into());
        }
        let Some(id) = self.set(key)?.filter(|_| min <= max) else {
            return Ok(Vec::new());
        };
        let first = tables::score_row(id, min, b"");
        let last = tables::score_row(id, max, b"");
        let table = self.snapshot.open_table(SCORES)?;
        let (mut members, mut room) = (Vec::new(), Room::new());
        let mut look = Look::new("members", "a narrower range of scores");
        for row in tables::range(&table, Bound::Included(&first), &last)? {
            let (row, _) = row?;
            look.at_one()?;
            let (score, member) = tables::score_and_member(row.value())?;
            room.take_member(member)?;
            members.push((member.to_vec(), score));
        }
        Ok(members)
    }

    fn matching_members(&self, key: &str, pattern: &str) -> Result<Vec<Scored>, Failure> {
        let Some(id) = self.set(key)? else {
            return Ok(Vec::new());
        };
        let glob = Glob::new(pattern.as_bytes());
        let start = tables::member_row(id, b"").len();
        let prefix = tables::member_row(id, &glob.prefix());
        let table = self.snapshot.open_table(MEMBERS)?;
        let (mut members, mut room) = (Vec::new(), Room::new());
        let mut look = Look::new("members", "a longer literal prefix");
        let rows = tables::range(&table, Bound::Included(&prefix), &prefix)?;
        for row in rows.take(rows_max(&glob)) {
            let (row, held) = row?;
            let member = row.value().get(start..);
            let member = member.ok_or_else(|| Failure::damaged("members"))?;
            if look.matches(&glob, member)? {
                room.take_member(member)?;
                members.push((member.to_vec(), tables::score(held.value())?));
            }
        }
        // They come in the order of their bytes, which this keeps where scores are equal.
        members.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        Ok(members)
    }

    fn may_contain(&self, key: &str, item: &[u8]) -> Result<bool, Failure> {
        let (owned, filter) = match self.entry(key)? {
            None => return Ok(false),
            Some(Entry::Filter(owned, filter)) => (owned, filter),
            Some(_) => return Err(KvError::WrongType.into()),
        };
        let blocks = self.snapshot.open_table(BLOCKS)?;
        let item = Item::new(item);
        for layer in filter.layers() {
            let row = tables::block_row(owned.id, layer.index, layer.block(&item));
            if let Some(block) = blocks.get(row.as_slice())?
                && layer.has(&item, tables::block(block.value(), &layer)?)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The key of a row that begins with its namespace.
fn key<'a>(row: &'a [u8], prefix: &[u8]) -> Result<&'a str, Failure> {
    let key = row.strip_prefix(prefix);
    let key = key.and_then(|key| std::str::from_utf8(key).ok());
    key.ok_or_else(|| Failure::damaged("keys"))
}

/// Rows to look at of those that begin as a pattern does: where it has nothing but bytes, only the first
/// can match.
fn rows_max(glob: &Glob) -> usize {
    match glob.is_literal() {
        true => 1,
        false => usize::MAX,
    }
}

/// Bytes that an answer may still have.
struct Room(u64);

impl Room {
    fn new() -> Self {
        Self(limits::KV_ANSWER_BYTES_MAX)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        let left = self.0.checked_sub(bytes as u64);
        self.0 = left.ok_or(KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX))?;
        Ok(())
    }

    fn take_member(&mut self, member: &[u8]) -> Result<(), Failure> {
        self.take(member.len() + size_of::<f64>())
    }
}

/// How much a query may still look at.
struct Look {
    rows: usize,
    steps: u64,
    /// What the rows are.
    of: &'static str,
    /// What makes them fewer.
    remedy: &'static str,
}

impl Look {
    fn new(of: &'static str, remedy: &'static str) -> Self {
        Self {
            rows: limits::KV_SCAN_ROWS_MAX,
            steps: limits::KV_SCAN_STEPS_MAX,
            of,
            remedy,
        }
    }

    fn at_one(&mut self) -> Result<(), Failure> {
        let Self { of, remedy, .. } = self;
        let max = limits::KV_SCAN_ROWS_MAX;
        let left = self.rows.checked_sub(1);
        self.rows = left.ok_or_else(|| {
            KvError::Unavailable(format!(
                "more than {max} {of} would have to be looked at: {remedy} is needed"
            ))
        })?;
        Ok(())
    }

    fn matches(&mut self, glob: &Glob, text: &[u8]) -> Result<bool, Failure> {
        self.at_one()?;
        glob.matches(text, &mut self.steps).map_err(|_| {
            KvError::Unavailable(format!(
                "matching {} takes more than {} steps: a pattern with fewer stars is needed",
                self.of,
                limits::KV_SCAN_STEPS_MAX
            ))
            .into()
        })
    }
}
