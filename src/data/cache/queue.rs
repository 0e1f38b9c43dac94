//! A first-in-first-out queue of entries, which may also leave it from the middle.
//!
//! ```text
//!   first ─► entry ⇄ entry ⇄ entry ◄─ last      the links are numbers, in the entries themselves
//! ```

use super::entries::Entries;

/// No entry: a number that none has.
const NONE: usize = usize::MAX;

/// The ends of a queue, and what its entries count.
pub(super) struct Queue {
    first: usize,
    last: usize,
    bytes: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            bytes: 0,
        }
    }
}

impl Queue {
    /// Of all entries together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry that is here for the longest.
    pub(super) fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first)
    }

    /// Adds an entry that is in no queue.
    pub(super) fn push(&mut self, id: usize, entries: &mut Entries) {
        let entry = &mut entries[id];
        self.bytes += entry.bytes();
        (entry.before, entry.after) = (self.last, NONE);
        match self.last {
            NONE => self.first = id,
            last => entries[last].after = id,
        }
        self.last = id;
    }

    /// Takes out an entry that is in this queue.
    pub(super) fn remove(&mut self, id: usize, entries: &mut Entries) {
        let entry = &entries[id];
        self.bytes -= entry.bytes();
        let (before, after) = (entry.before, entry.after);
        match before {
            NONE => self.first = after,
            before => entries[before].after = after,
        }
        match after {
            NONE => self.last = before,
            after => entries[after].before = before,
        }
    }

    /// An entry of this queue has other bytes.
    pub(super) fn resize(&mut self, before: u64, after: u64) {
        self.bytes = self.bytes - before + after;
    }

    /// The entries from the first to the last, of which each knows the one before it.
    #[cfg(test)]
    pub(super) fn iter(&self, entries: &Entries) -> impl Iterator<Item = usize> {
        let mut before = NONE;
        std::iter::from_fn(move || {
            let id = match before {
                NONE => self.first,
                before => entries[before].after,
            };
            if id == NONE {
                assert_eq!(before, self.last);
                return None;
            }
            assert_eq!(entries[id].before, before);
            before = id;
            Some(id)
        })
    }
}
