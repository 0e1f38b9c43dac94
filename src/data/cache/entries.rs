//! Entries, and how they are found: by their number, by their key, by what their key begins with.
//!
//! ```text
//!   slots    0: entry   1: entry   2: free   …     an entry keeps its number while it is there
//!   by_hash  hash of a key ─► number               O(1); keyed, so that nobody can make them collide
//!   by_key   key ─► number, in order               O(log n), for prefixes
//! ```

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::{Bound, Index, IndexMut};
use std::rc::Rc;

use hashbrown::HashTable;
use slab::Slab;

use super::NEVER;
use crate::config::limits::CACHE_ENTRY_OVERHEAD_BYTES;

/// A value and what is known of it.
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) value: Rc<[u8]>,
    /// Of the key.
    pub(super) hash: u64,
    /// Or [`NEVER`].
    pub(super) expires_at_ms: u64,
    /// The one before it in its queue, and the one after it, where there are such.
    pub(super) before: usize,
    pub(super) after: usize,
    /// Reads since it came into its queue, as far as they are counted.
    pub(super) uses: u8,
    pub(super) lane: Lane,
}

/// One of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Small,
    Main,
}

impl Entry {
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        now_ms < self.expires_at_ms
    }

    pub(super) fn bytes(&self) -> u64 {
        bytes_of(&self.key, &self.value)
    }
}

/// What an entry counts.
pub(super) fn bytes_of(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len() + CACHE_ENTRY_OVERHEAD_BYTES) as u64
}

/// All entries of a cache.
#[derive(Default)]
pub(super) struct Entries {
    /// Boxed, so that little memory stays behind when many small entries give way to few large ones.
    slots: Slab<Box<Entry>>,
    by_hash: HashTable<usize>,
    by_key: BTreeMap<Rc<str>, usize>,
    hasher: RandomState,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().map(|(_, entry)| &**entry)
    }

    pub(super) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The number of the entry with this key.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        let is_it = |id: &usize| *self.slots[*id].key == *key;
        self.by_hash.find(self.hash(key), is_it).copied()
    }

    /// The numbers of the entries whose keys begin so, in the order of their keys.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<usize> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let range = self.by_key.range::<str, _>(from);
        let begin_so = range.take_while(|(key, _)| key.starts_with(prefix));
        begin_so.map(|(_, id)| *id).collect()
    }

    /// Adds an entry whose key, with this hash, is not there. It is in no queue, and has no expiry.
    pub(super) fn insert(&mut self, hash: u64, key: &str, value: Rc<[u8]>) -> usize {
        let key: Rc<str> = Rc::from(key);
        let id = self.slots.insert(Box::new(Entry {
            key: Rc::clone(&key),
            value,
            hash,
            expires_at_ms: NEVER,
            before: 0,
            after: 0,
            uses: 0,
            lane: Lane::Small,
        }));
        let slots = &self.slots;
        self.by_hash.insert_unique(hash, id, |id| slots[*id].hash);
        self.by_key.insert(key, id);
        id
    }

    /// Removes an entry that is in no queue.
    pub(super) fn remove(&mut self, id: usize) {
        let entry = self.slots.remove(id);
        self.by_key.remove(&entry.key);
        if let Ok(found) = self.by_hash.find_entry(entry.hash, |other| *other == id) {
            found.remove();
        }
    }
}

impl Index<usize> for Entries {
    type Output = Entry;

    fn index(&self, id: usize) -> &Entry {
        &self.slots[id]
    }
}

impl IndexMut<usize> for Entries {
    fn index_mut(&mut self, id: usize) -> &mut Entry {
        &mut self.slots[id]
    }
}
