//! What a change does: it is found out before anything is written, so that one that may not happen
//! leaves nothing to be undone.
//!
//! ```text
//! change, rows as they are ─► rows to write, usage afterwards ─► over quota? ─► Plan
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;

use redb::{ReadableTable, Table};

use super::failure::Failure;
use super::tables::{self, Bytes, Entry, Owned, SCORE_BYTES, Usage};
use crate::config::limits;
use crate::data::kv::bloom::{Filter, Item};
use crate::data::kv::{Answer, Change, KvError, Quota, Scored, Value, What};

/// Where a row is written.
#[derive(Clone, Copy)]
pub enum In {
    /// `keys`.
    Keys,
    /// `values`.
    Values,
    /// `members`.
    Members,
    /// `scores`.
    Scores,
    /// `blocks`.
    Blocks,
    /// `garbage`.
    Garbage,
}

/// A row, and what it holds then; `None` takes it away.
type Write<'c> = (In, Vec<u8>, Option<Cow<'c, [u8]>>);

/// What a change does.
pub struct Plan<'c> {
    /// Of a row that is written twice, the later counts.
    pub rows: Vec<Write<'c>>,
    /// Of its namespace, afterwards.
    pub usage: Usage,
    /// The first id that is not used.
    pub next_id: u64,
    /// What it gives.
    pub answer: Answer,
}

/// Rows of a namespace, as they are before the change.
pub struct Planner<'a, 't> {
    /// `keys`.
    pub keys: &'a Table<'t, Bytes, Bytes>,
    /// `values`.
    pub values: &'a Table<'t, Bytes, Bytes>,
    /// `members`.
    pub members: &'a Table<'t, Bytes, Bytes>,
    /// `blocks`.
    pub blocks: &'a Table<'t, Bytes, Bytes>,
    /// Its name.
    pub namespace: &'a str,
}

impl Planner<'_, '_> {
    /// Plans a change of the namespace, which uses that much before it.
    ///
    /// # Errors
    /// Why the change does not happen; or that the file fails.
    pub fn plan<'c>(
        &self,
        change: &'c Change,
        quota: Quota,
        before: Usage,
        next_id: u64,
    ) -> Result<Plan<'c>, Failure> {
        let mut plan = Plan {
            rows: Vec::new(),
            usage: before,
            next_id,
            answer: Answer::Done,
        };
        match change {
            Change::Set(values) => self.set(&mut plan, values)?,
            Change::Delete(keys) => self.delete(&mut plan, keys)?,
            Change::Increment { key, delta } => self.increment(&mut plan, key, *delta)?,
            Change::Swap {
                key,
                expected,
                value,
            } => self.swap(&mut plan, key, expected.as_deref(), value)?,
            Change::AddMembers { key, members } => self.add_members(&mut plan, key, members)?,
            Change::AddItems { key, items } => self.add_items(&mut plan, key, items)?,
        }
        // What makes it smaller is never too much.
        if plan.usage.keys > before.keys.max(quota.keys) {
            return Err(KvError::OverQuota(What::Keys).into());
        }
        if plan.usage.bytes > before.bytes.max(quota.bytes) {
            return Err(KvError::OverQuota(What::Bytes).into());
        }
        Ok(plan)
    }

    /// The row of a key, and what it holds.
    fn entry(&self, key: &str) -> Result<(Vec<u8>, Option<Entry>), Failure> {
        let row = tables::key_row(self.namespace, key)?;
        let entry = tables::entry(self.keys, &row)?;
        Ok((row, entry))
    }

    fn set<'c>(&self, plan: &mut Plan<'c>, values: &'c [(String, Value)]) -> Result<(), Failure> {
        // Of a key that comes twice, the later value.
        let values: BTreeMap<_, _> = values.iter().map(|(key, value)| (key, value)).collect();
        for (key, value) in values {
            let (row, before) = self.entry(key)?;
            plan.set(row, key, before, value.into())?;
        }
        Ok(())
    }

    fn delete(&self, plan: &mut Plan, keys: &[String]) -> Result<(), Failure> {
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let (row, before) = self.entry(key)?;
            plan.put(row, key, before, None)?;
        }
        Ok(())
    }

    fn increment(&self, plan: &mut Plan, key: &str, delta: i64) -> Result<(), Failure> {
        let (row, before) = self.entry(key)?;
        let number = match self.value(&row, before)? {
            None => 0,
            Some(value) => integer(&value).ok_or(KvError::NotAnInteger)?,
        };
        let number = number.checked_add(delta).ok_or(KvError::NotAnInteger)?;
        plan.answer = Answer::Count(number);
        plan.set(row, key, before, number.to_string().into_bytes().into())
    }

    fn swap<'c>(
        &self,
        plan: &mut Plan<'c>,
        key: &str,
        expected: Option<&[u8]>,
        value: &'c [u8],
    ) -> Result<(), Failure> {
        let (row, before) = self.entry(key)?;
        let is_as_expected = self.value(&row, before)?.as_deref() == expected;
        plan.answer = Answer::Bool(is_as_expected);
        match is_as_expected {
            true => plan.set(row, key, before, value.into()),
            false => Ok(()),
        }
    }

    /// The value of a key that holds one, or nothing.
    fn value(&self, row: &[u8], entry: Option<Entry>) -> Result<Option<Value>, Failure> {
        match entry {
            None => Ok(None),
            Some(Entry::Value(_)) => match self.values.get(row)? {
                Some(value) => Ok(Some(value.value().to_vec())),
                None => Err(Failure::damaged("values")),
            },
            Some(_) => Err(KvError::WrongType.into()),
        }
    }

    fn add_members(&self, plan: &mut Plan, key: &str, members: &[Scored]) -> Result<(), Failure> {
        if members.iter().any(|(_, score)| score.is_nan()) {
            return Err(KvError::NotAScore.into());
        }
        let (row, before) = self.entry(key)?;
        let mut owned = match before {
            None => plan.new_owned(),
            Some(Entry::Set(owned)) => owned,
            Some(_) => return Err(KvError::WrongType.into()),
        };
        if members.is_empty() {
            return Ok(());
        }
        // Of a member that comes twice, the later score. There is one zero: -0.0 + 0.0 is 0.0 (IEEE
        // 754 section 6.3).
        let scored = members.iter().map(|(member, score)| (member, score + 0.0));
        let scored: BTreeMap<_, _> = scored.collect();
        for (member, score) in scored {
            let row = tables::member_row(owned.id, member);
            let held = self.members.get(row.as_slice())?;
            match held.map(|held| tables::score(held.value())).transpose()? {
                Some(old) if old == score => continue,
                Some(old) => plan.remove(In::Scores, tables::score_row(owned.id, old, member)),
                None => owned.bytes += member.len() as u64 + SCORE_BYTES,
            }
            plan.write(In::Members, row, score.to_le_bytes().to_vec());
            let row = tables::score_row(owned.id, score, member);
            plan.write(In::Scores, row, Vec::new());
        }
        plan.put(row, key, before, Some(Entry::Set(owned)))
    }

    fn add_items(&self, plan: &mut Plan, key: &str, items: &[Vec<u8>]) -> Result<(), Failure> {
        let (row, before) = self.entry(key)?;
        let (mut owned, mut filter) = match before {
            None => (plan.new_owned(), Filter::new(limits::KV_BLOOM_ITEMS)),
            Some(Entry::Filter(owned, filter)) => (owned, filter),
            Some(_) => return Err(KvError::WrongType.into()),
        };
        if items.is_empty() {
            return Ok(());
        }
        let mut blocks = BTreeMap::new();
        for item in items.iter().map(|item| Item::new(item)) {
            if self.has_item(owned.id, &filter, &blocks, &item)? {
                continue;
            }
            let layer = filter.grow().ok_or(KvError::OverQuota(What::Bytes))?;
            let row = tables::block_row(owned.id, layer.index, layer.block(&item));
            if !blocks.contains_key(&row) {
                let block = match self.blocks.get(row.as_slice())? {
                    Some(block) => tables::block(block.value(), &layer)?.to_vec(),
                    None => {
                        owned.bytes += layer.block_bytes as u64;
                        vec![0; layer.block_bytes]
                    }
                };
                blocks.insert(row.clone(), block);
            }
            if let Some(block) = blocks.get_mut(&row) {
                layer.set(&item, block);
            }
        }
        for (row, block) in blocks {
            plan.write(In::Blocks, row, block);
        }
        plan.put(row, key, before, Some(Entry::Filter(owned, filter)))
    }

    /// Whether the filter seems to have an item, by its blocks as they will be or are.
    fn has_item(
        &self,
        id: u64,
        filter: &Filter,
        written: &BTreeMap<Vec<u8>, Vec<u8>>,
        item: &Item,
    ) -> Result<bool, Failure> {
        for layer in filter.layers() {
            let row = tables::block_row(id, layer.index, layer.block(item));
            let has = match written.get(&row) {
                Some(block) => layer.has(item, block),
                None => match self.blocks.get(row.as_slice())? {
                    Some(block) => layer.has(item, tables::block(block.value(), &layer)?),
                    None => false,
                },
            };
            if has {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<'c> Plan<'c> {
    fn write(&mut self, table: In, row: Vec<u8>, held: impl Into<Cow<'c, [u8]>>) {
        self.rows.push((table, row, Some(held.into())));
    }

    fn remove(&mut self, table: In, row: Vec<u8>) {
        self.rows.push((table, row, None));
    }

    /// An id that nothing ever had.
    fn new_owned(&mut self) -> Owned {
        let id = self.next_id;
        self.next_id += 1;
        Owned { id, bytes: 0 }
    }

    /// A key holds a value then, whatever it held before.
    fn set(
        &mut self,
        row: Vec<u8>,
        key: &str,
        before: Option<Entry>,
        value: Cow<'c, [u8]>,
    ) -> Result<(), Failure> {
        let after = Entry::Value(value.len() as u64);
        self.write(In::Values, row.clone(), value);
        self.put(row, key, before, Some(after))
    }

    /// What a key holds then, but for what is in rows of other tables.
    fn put(
        &mut self,
        row: Vec<u8>,
        key: &str,
        before: Option<Entry>,
        after: Option<Entry>,
    ) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        let bytes = |entry: Option<Entry>| entry.map_or(0, |it| key.len() as u64 + it.bytes());
        let usage = &mut self.usage;
        let sums = [
            (
                &mut usage.keys,
                before.is_some().into(),
                after.is_some().into(),
            ),
            (&mut usage.bytes, bytes(before), bytes(after)),
        ];
        for (sum, gone, come) in sums {
            let left = sum.checked_sub(gone).and_then(|sum| sum.checked_add(come));
            *sum = left.ok_or_else(|| Failure::damaged("usage"))?;
        }
        let id = before.and_then(|entry| entry.id());
        if let Some(id) = id.filter(|id| after.and_then(|entry| entry.id()) != Some(*id)) {
            self.write(In::Garbage, id.to_be_bytes().to_vec(), Vec::new());
        }
        match after {
            Some(entry) => self.write(In::Keys, row, entry.encode()),
            None => {
                if let Some(Entry::Value(_)) = before {
                    self.remove(In::Values, row.clone());
                }
                self.remove(In::Keys, row);
            }
        }
        Ok(())
    }
}

/// A number as Redis writes one: no spaces, no `+`, no `-0`, and no zero before another digit.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
    text.parse().ok()
}
