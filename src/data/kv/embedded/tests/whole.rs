//! Whether all rows of a file belong together, and are counted.

use std::collections::BTreeMap;

use redb::{ReadableDatabase, ReadableTable};

use super::super::tables::{self, Bytes, Entry, Owned, SCORE_BYTES, Usage};
use super::super::{Embedded, State};
use crate::data::kv::bloom::Filter;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Looks at every row of every table.
pub fn check_whole(store: &Embedded) {
    let State::Open(database) = &*store.state.read().unwrap() else {
        panic!("the file has failed");
    };
    let snapshot = database.begin_read().unwrap();
    let [
        keys,
        mut values,
        members,
        scores,
        blocks,
        garbage,
        usages,
        _,
    ] = tables::ALL.map(|table| all(&snapshot.open_table(table).unwrap()));
    let (mut of_sets, mut of_filters) = (by_id(&members), by_id(&blocks));
    let mut of_scores = by_id(&scores);
    let mut usage: BTreeMap<String, Usage> = BTreeMap::new();
    for (row, held) in &keys {
        let (length, rest) = row.split_first_chunk().unwrap();
        let (namespace, key) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        let entry = Entry::decode(held).unwrap();
        match entry {
            Entry::Value(bytes) => assert_eq!(values.remove(row).unwrap().len() as u64, bytes),
            Entry::Set(Owned { id, bytes }) => {
                let members = of_sets.remove(&id).unwrap();
                check_set(id, bytes, &members, &of_scores.remove(&id).unwrap());
            }
            Entry::Filter(Owned { id, bytes }, filter) => {
                check_filter(bytes, &filter, &of_filters.remove(&id).unwrap());
            }
        }
        let namespace = String::from_utf8(namespace.to_vec()).unwrap();
        let usage = usage.entry(namespace).or_default();
        usage.keys += 1;
        usage.bytes += key.len() as u64 + entry.bytes();
    }
    // What is left over is garbage, and known to be.
    assert!(values.is_empty());
    for left in [of_sets, of_scores, of_filters] {
        for id in left.keys() {
            assert!(garbage.contains_key(id.to_be_bytes().as_slice()), "{id}");
        }
    }
    let counted = usage.into_iter();
    let counted = counted.map(|(namespace, usage)| (namespace.into_bytes(), usage.encode()));
    assert_eq!(usages, counted.collect());
}

fn check_set(id: u64, bytes: u64, members: &Rows, scores: &Rows) {
    let of_member = |member: &Vec<u8>| member.len() as u64 + SCORE_BYTES;
    assert_eq!(members.keys().map(of_member).sum::<u64>(), bytes);
    assert!(!members.is_empty());
    let scored = members.iter().map(|(member, score)| {
        let score = tables::score(score).unwrap();
        (tables::score_row(id, score, member)[8..].to_vec(), vec![])
    });
    assert_eq!(*scores, scored.collect());
}

fn check_filter(bytes: u64, filter: &Filter, blocks: &Rows) {
    assert_eq!(
        blocks.values().map(|block| block.len() as u64).sum::<u64>(),
        bytes
    );
    for (row, block) in blocks {
        let layer = filter.layers().find(|layer| layer.index == row[0]).unwrap();
        assert_eq!(block.len(), layer.block_bytes);
    }
}

fn all(table: &impl ReadableTable<Bytes, Bytes>) -> Rows {
    let rows = table.iter().unwrap().map(|row| {
        let (row, held) = row.unwrap();
        (row.value().to_vec(), held.value().to_vec())
    });
    rows.collect()
}

/// Rows that begin with the same id, without it.
fn by_id(rows: &Rows) -> BTreeMap<u64, Rows> {
    let mut all: BTreeMap<u64, Rows> = BTreeMap::new();
    for (row, held) in rows {
        let (id, rest) = row.split_first_chunk().unwrap();
        let rows = all.entry(u64::from_be_bytes(*id)).or_default();
        rows.insert(rest.to_vec(), held.clone());
    }
    all
}
