//! Changes of one transaction: each is planned, and written when nothing speaks against it.
//!
//! ```text
//! change ─► plan ─► rows ──┐
//! change ─► plan: an error ├─► usage, next id, sweep ─► commit
//! change ─► plan ─► rows ──┘
//! ```
//!
//! What a deleted set or filter leaves behind is garbage: its rows go later, a bounded number with
//! every commit, so that nobody waits for a million members of somebody else. Each commit takes away
//! more rows than it wrote, so that while there is garbage the file never has more rows than before.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadableTable, Table, WriteTransaction};

use super::failure::Failure;
use super::plan::{In, Plan, Planner};
use super::tables::{self, Bytes, Usage};
use crate::config::limits;
use crate::data::kv::{Answer, Change, KvError, Quota};

type Rows<'t> = Table<'t, Bytes, Bytes>;

/// Changes of one transaction.
pub struct Batch<'t, 'c> {
    keys: Rows<'t>,
    values: Rows<'t>,
    members: Rows<'t>,
    scores: Rows<'t>,
    blocks: Rows<'t>,
    garbage: Rows<'t>,
    usages: Rows<'t>,
    counters: Rows<'t>,
    /// Of the namespaces that were changed.
    usage: BTreeMap<&'c str, Usage>,
    next_id: u64,
    rows_written: usize,
}

impl<'t, 'c> Batch<'t, 'c> {
    /// None so far.
    pub fn new(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        let counters = transaction.open_table(tables::COUNTERS)?;
        Ok(Self {
            keys: transaction.open_table(tables::KEYS)?,
            values: transaction.open_table(tables::VALUES)?,
            members: transaction.open_table(tables::MEMBERS)?,
            scores: transaction.open_table(tables::SCORES)?,
            blocks: transaction.open_table(tables::BLOCKS)?,
            garbage: transaction.open_table(tables::GARBAGE)?,
            usages: transaction.open_table(tables::USAGE)?,
            usage: BTreeMap::new(),
            next_id: tables::counter(&counters, tables::NEXT_ID)?,
            rows_written: 0,
            counters,
        })
    }

    /// Makes one change, or says why it did not.
    ///
    /// # Errors
    /// When the file fails: then the transaction is lost.
    pub fn apply(
        &mut self,
        namespace: &'c str,
        quota: Quota,
        change: &'c Change,
    ) -> Result<Result<Answer, KvError>, Failure> {
        let plan = match self.plan(namespace, quota, change) {
            Ok(plan) => plan,
            Err(Failure::Answer(error)) => return Ok(Err(error)),
            Err(failure) => return Err(failure),
        };
        if !plan.rows.is_empty() {
            self.usage.insert(namespace, plan.usage);
        }
        self.next_id = plan.next_id;
        self.rows_written += plan.rows.len();
        for (table, row, held) in plan.rows {
            write(self.rows(table), &row, held.as_deref())?;
        }
        Ok(Ok(plan.answer))
    }

    /// Writes what belongs to all changes. Whether there is anything to commit.
    pub fn finish(mut self) -> Result<bool, Failure> {
        if self.rows_written == 0 {
            return Ok(false);
        }
        for (namespace, usage) in &self.usage {
            let held = (*usage != Usage::default()).then(|| usage.encode());
            write(&mut self.usages, namespace.as_bytes(), held.as_deref())?;
        }
        let next_id = self.next_id.to_le_bytes();
        write(&mut self.counters, tables::NEXT_ID, Some(&next_id))?;
        self.sweep()?;
        Ok(true)
    }

    fn plan(
        &self,
        namespace: &'c str,
        quota: Quota,
        change: &'c Change,
    ) -> Result<Plan<'c>, Failure> {
        let usage = match self.usage.get(namespace) {
            Some(usage) => *usage,
            None => Usage::read(&self.usages, namespace)?,
        };
        let planner = Planner {
            keys: &self.keys,
            values: &self.values,
            members: &self.members,
            blocks: &self.blocks,
            namespace,
        };
        planner.plan(change, quota, usage, self.next_id)
    }

    fn rows(&mut self, table: In) -> &mut Rows<'t> {
        match table {
            In::Keys => &mut self.keys,
            In::Values => &mut self.values,
            In::Members => &mut self.members,
            In::Scores => &mut self.scores,
            In::Blocks => &mut self.blocks,
            In::Garbage => &mut self.garbage,
        }
    }

    /// Takes garbage away.
    fn sweep(&mut self) -> Result<(), Failure> {
        let mut left = self.rows_written + limits::KV_SWEEP_ROWS;
        while left > 0 {
            let Some(id) = self.garbage.first()?.map(|(id, _)| id.value().to_vec()) else {
                break;
            };
            for rows in [&mut self.members, &mut self.scores, &mut self.blocks] {
                left -= remove_some(rows, &id, left)?;
            }
            if left > 0 {
                left -= 1;
                self.garbage.remove(id.as_slice())?;
            }
        }
        Ok(())
    }
}

fn write(rows: &mut Rows<'_>, row: &[u8], held: Option<&[u8]>) -> Result<(), Failure> {
    match held {
        Some(held) => rows.insert(row, held)?,
        None => rows.remove(row)?,
    };
    Ok(())
}

/// Takes away at most so many rows that begin with `prefix`, and says how many.
fn remove_some(rows: &mut Rows<'_>, prefix: &[u8], most: usize) -> Result<usize, Failure> {
    let after = tables::after(prefix);
    let until = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let range = (Bound::Included(prefix), until);
    let mut removed = 0;
    for row in rows
        .extract_from_if::<&[u8], _>(range, |_, _| true)?
        .take(most)
    {
        row?;
        removed += 1;
    }
    Ok(removed)
}
