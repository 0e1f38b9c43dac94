//! The stored responses of one tenant, and how they are found: by URL and request, by what their URL begins
//! with, by tag.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Instant;

use http::HeaderMap;
use rustc_hash::FxHashSet;

use super::s3fifo::S3Fifo;
use super::stored::Stored;
use super::time::Now;
use super::vary::Names;
use crate::config::limits::HTTP_CACHE_VARIANTS_MAX;

/// A stored response, and what is remembered beside it.
pub(super) struct Entry {
    pub(super) key: Rc<str>,
    pub(super) stored: Rc<Stored>,
    /// Until then it stands in for the origin's error without asking.
    pub(super) stands_in_until: Option<Instant>,
}

/// See above.
#[derive(Default)]
pub(super) struct Store {
    entries: S3Fifo<Entry>,
    /// The numbers of the variants of each URL, from the oldest on.
    keys: HashMap<Rc<str>, Vec<usize>>,
    /// The same keys in order, for prefixes.
    order: BTreeSet<Rc<str>>,
    tags: HashMap<Rc<str>, FxHashSet<usize>>,
    hasher: RandomState,
    evictions: u64,
}

impl Store {
    pub(super) fn bytes(&self) -> u64 {
        self.entries.bytes()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries that gave way to others, from the beginning.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn get(&self, id: usize) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn get_mut(&mut self, id: usize) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    pub(super) fn touch(&mut self, id: usize) {
        self.entries.touch(id);
    }

    /// The youngest response that is for such a request.
    pub(super) fn find(&self, key: &str, request: &HeaderMap) -> Option<usize> {
        let variants = self.keys.get(key)?;
        variants.iter().rev().copied().find(|id| {
            let entry = self.entries.get(*id);
            entry.is_some_and(|entry| entry.stored.head.selection.matches(request))
        })
    }

    /// By what the responses for a URL vary, the youngest of them; `None`: there are none.
    pub(super) fn names(&self, key: &str) -> Option<Names> {
        let id = self.keys.get(key)?.last()?;
        let entry = self.entries.get(*id)?;
        Some(Rc::clone(&entry.stored.head.selection.names))
    }

    /// The number of this very response, if it is still there.
    pub(super) fn find_stored(&self, key: &str, stored: &Rc<Stored>) -> Option<usize> {
        let variants = self.keys.get(key)?;
        variants.iter().copied().find(|id| {
            let entry = self.entries.get(*id);
            entry.is_some_and(|entry| Rc::ptr_eq(&entry.stored, stored))
        })
    }

    /// Adds a response that is the one for the requests that it is for, and evicts what has to give way to
    /// keep all within `bytes_max`. Whether it is stored: not if there is a younger one, and not if it does
    /// not fit; then the one before it is gone all the same.
    pub(super) fn insert(&mut self, key: &Rc<str>, stored: Rc<Stored>, bytes_max: u64) -> bool {
        let same = |entry: &Entry| entry.stored.head.selection == stored.head.selection;
        let variants = self.keys.get(key).map_or(&[][..], |variants| variants);
        let mut replaced: Vec<usize> = variants
            .iter()
            .copied()
            .filter(|id| self.entries.get(*id).is_some_and(same))
            .collect();
        let received = stored.head.policy.received;
        let is_younger = |id: &usize| {
            let entry = self.entries.get(*id);
            entry.is_some_and(|entry| entry.stored.head.policy.received > received)
        };
        if replaced.iter().any(is_younger) {
            return false;
        }
        if replaced.is_empty() && variants.len() >= HTTP_CACHE_VARIANTS_MAX {
            replaced.extend(variants.first());
            self.evictions += 1;
        }
        for id in replaced {
            self.remove(id);
        }
        let bytes = stored.bytes(key);
        if bytes > bytes_max || !self.make_room(bytes, bytes_max) {
            return false;
        }
        let tags = stored.head.tags.clone();
        let entry = Entry {
            key: Rc::clone(key),
            stored,
            stands_in_until: None,
        };
        let hash = self.hasher.hash_one(&**key);
        let id = self.entries.insert(hash, bytes, entry);
        self.keys.entry(Rc::clone(key)).or_default().push(id);
        self.order.insert(Rc::clone(key));
        for tag in tags {
            self.tags.entry(tag).or_default().insert(id);
        }
        true
    }

    /// Gives a response other fields; its tags and what it varies by are the same, so it keeps its place.
    /// Otherwise it is to be inserted.
    pub(super) fn refresh(&mut self, id: usize, stored: &Rc<Stored>, bytes_max: u64) -> bool {
        let Some(entry) = self.entries.get_mut(id) else {
            return false;
        };
        let (old, new) = (&entry.stored.head, &stored.head);
        let bytes = stored.bytes(&entry.key);
        if old.selection != new.selection || old.tags != new.tags || bytes > bytes_max {
            return false;
        }
        entry.stored = Rc::clone(stored);
        entry.stands_in_until = None;
        self.entries.resize(id, bytes);
        self.entries.touch(id);
        self.make_room(0, bytes_max)
    }

    /// Whether there is another response for the same requests.
    pub(super) fn has_other(&self, key: &str, stored: &Stored) -> bool {
        let variants = self.keys.get(key).map_or(&[][..], |variants| variants);
        variants.iter().any(|id| {
            let entry = self.entries.get(*id);
            entry.is_some_and(|entry| entry.stored.head.selection == stored.head.selection)
        })
    }

    /// Evicts until so many more bytes fit; whether they do.
    pub(super) fn make_room(&mut self, bytes: u64, bytes_max: u64) -> bool {
        while self.bytes().saturating_add(bytes) > bytes_max {
            if !self.evict(bytes_max) {
                return false;
            }
        }
        true
    }

    /// Evicts one; whether there was one.
    pub(super) fn evict(&mut self, bytes_max: u64) -> bool {
        let Some((id, entry)) = self.entries.evict(bytes_max) else {
            return false;
        };
        self.forget(id, &entry);
        self.evictions += 1;
        true
    }

    /// Removes one response.
    pub(super) fn remove(&mut self, id: usize) {
        if let Some(entry) = self.entries.remove(id) {
            self.forget(id, &entry);
        }
    }

    /// The numbers of all responses for a URL.
    pub(super) fn with_key(&self, key: &str) -> Vec<usize> {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    /// The numbers of all responses whose URLs begin so.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<usize> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.order.range::<str, _>(from);
        keys.take_while(|key| key.starts_with(prefix))
            .flat_map(|key| self.with_key(key))
            .collect()
    }

    /// The numbers of all responses with a tag.
    pub(super) fn with_tag(&self, tag: &str) -> Vec<usize> {
        let ids = self.tags.get(tag);
        ids.map(|ids| ids.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Makes a response stale.
    pub(super) fn expire(&mut self, id: usize, now: Now) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let head = &entry.stored.head;
        let mut policy = head.policy.clone();
        policy.expire(now);
        let stale = super::stored::Head {
            status: head.status,
            headers: head.headers.clone(),
            policy,
            selection: head.selection.clone(),
            tags: head.tags.clone(),
            received: head.received,
            declared_length: head.declared_length,
        };
        entry.stored = Rc::new(entry.stored.with_head(stale));
    }

    /// Takes an entry that is no more out of the tables.
    fn forget(&mut self, id: usize, entry: &Entry) {
        if let Some(variants) = self.keys.get_mut(&entry.key) {
            variants.retain(|other| *other != id);
            if variants.is_empty() {
                self.keys.remove(&entry.key);
                self.order.remove(&entry.key);
            }
        }
        for tag in &entry.stored.head.tags {
            if let Some(ids) = self.tags.get_mut(tag) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.tags.remove(tag);
                }
            }
        }
    }

    /// Everything that knows an entry agrees on it, and the bytes are those of the entries.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut bytes = 0;
        for (id, entry, charged) in self.entries.iter() {
            assert_eq!(charged, entry.stored.bytes(&entry.key));
            bytes += charged;
            assert!(self.keys[&entry.key].contains(&id));
            assert!(self.order.contains(&entry.key));
            for tag in &entry.stored.head.tags {
                assert!(self.tags[tag].contains(&id));
            }
        }
        assert_eq!(bytes, self.bytes());
        let variants: usize = self.keys.values().map(Vec::len).sum();
        assert_eq!((variants, self.keys.len()), (self.len(), self.order.len()));
        assert!(
            self.keys
                .values()
                .all(|ids| (1..=HTTP_CACHE_VARIANTS_MAX).contains(&ids.len()))
        );
        let tagged: usize = self.tags.values().map(FxHashSet::len).sum();
        let tags = self
            .entries
            .iter()
            .map(|(_, entry, _)| entry.stored.head.tags.len());
        assert_eq!(tagged, tags.sum::<usize>());
    }
}
