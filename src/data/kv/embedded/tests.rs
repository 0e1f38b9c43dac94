//! Tests of the embedded backend, and what they have in common.

mod bounds;
mod crash;
mod damage;
mod disk;
mod kinds;
mod model;
mod together;
mod whole;

use redb::ReadableTableMetadata;

use self::disk::Disk;
use self::whole::check_whole;
use super::*;
use crate::data::kv::What;

const PLENTY: Quota = Quota {
    keys: u64::MAX,
    bytes: u64::MAX,
};

fn new() -> (Embedded, Disk) {
    let disk = Disk::new();
    (disk.open().unwrap(), disk)
}

fn change(store: &Embedded, change: Change) -> Result<Answer, KvError> {
    change_of(store, "a/b", PLENTY, change)
}

fn change_of(
    store: &Embedded,
    namespace: &str,
    quota: Quota,
    change: Change,
) -> Result<Answer, KvError> {
    store
        .apply(&[(namespace, quota, &change)])
        .unwrap()
        .remove(0)
}

fn query(store: &Embedded, query: Query) -> Result<Answer, KvError> {
    store.query("a/b", &query)
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn set(key: &str, value: impl AsRef<[u8]>) -> Change {
    Change::Set(vec![(text(key), value.as_ref().to_vec())])
}

fn delete(key: &str) -> Change {
    Change::Delete(vec![text(key)])
}

fn increment(key: &str, delta: i64) -> Change {
    let key = text(key);
    Change::Increment { key, delta }
}

fn swap(key: &str, expected: Option<&str>, value: &str) -> Change {
    Change::Swap {
        key: text(key),
        expected: expected.map(|value| value.as_bytes().to_vec()),
        value: value.as_bytes().to_vec(),
    }
}

fn add_members(key: &str, members: &[(&str, f64)]) -> Change {
    Change::AddMembers {
        key: text(key),
        members: scored(members),
    }
}

fn add_items(key: &str, items: &[&str]) -> Change {
    Change::AddItems {
        key: text(key),
        items: items.iter().map(|item| item.as_bytes().to_vec()).collect(),
    }
}

fn scored(members: &[(&str, f64)]) -> Vec<(Vec<u8>, f64)> {
    members
        .iter()
        .map(|(member, score)| (member.as_bytes().to_vec(), *score))
        .collect()
}

fn get(key: &str) -> Query {
    Query::Get(vec![text(key)])
}

fn exists(key: &str) -> Query {
    Query::Exists(text(key))
}

fn range(key: &str, min: f64, max: f64) -> Query {
    let key = text(key);
    Query::RangeByScore { key, min, max }
}

fn scan(pattern: &str) -> Query {
    let pattern = text(pattern);
    Query::Scan { pattern }
}

fn scan_members(key: &str, pattern: &str) -> Query {
    let (key, pattern) = (text(key), text(pattern));
    Query::ScanMembers { key, pattern }
}

fn may_contain(key: &str, item: &str) -> Query {
    let (key, item) = (text(key), item.as_bytes().to_vec());
    Query::MayContain { key, item }
}

fn value(value: &str) -> Result<Answer, KvError> {
    Ok(Answer::Values(vec![Some(value.as_bytes().to_vec())]))
}

fn members(members: &[(&str, f64)]) -> Result<Answer, KvError> {
    Ok(Answer::Members(scored(members)))
}

fn keys(keys: &[&str]) -> Result<Answer, KvError> {
    Ok(Answer::Keys(keys.iter().map(|key| text(key)).collect()))
}

const NO_VALUE: Result<Answer, KvError> = Ok(Answer::Values(Vec::new()));
const DONE: Result<Answer, KvError> = Ok(Answer::Done);

/// Rows of each table, in the order of [`tables::ALL`].
fn rows(store: &Embedded) -> Vec<u64> {
    let State::Open(database) = &*store.state.read().unwrap() else {
        panic!("the file has failed");
    };
    let snapshot = database.begin_read().unwrap();
    let rows = |table| snapshot.open_table(table).unwrap().len().unwrap();
    tables::ALL.into_iter().map(rows).collect()
}

/// Writes a row that no change would, or takes one away.
fn tamper(store: &Embedded, table: usize, row: &[u8], held: Option<&[u8]>) {
    let State::Open(database) = &*store.state.read().unwrap() else {
        panic!("the file has failed");
    };
    let transaction = database.begin_write().unwrap();
    let mut rows = transaction.open_table(tables::ALL[table]).unwrap();
    match held {
        Some(held) => rows.insert(row, held).unwrap(),
        None => rows.remove(row).unwrap(),
    };
    drop(rows);
    transaction.commit().unwrap();
}

/// One key of each kind.
fn kinds(store: &Embedded) {
    change(store, set("value", "1")).unwrap();
    change(store, add_members("set", &[("m", 1.0)])).unwrap();
    change(store, add_items("filter", &["i"])).unwrap();
}
