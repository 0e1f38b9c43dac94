//! The cache of one tenant: values under keys, in memory, for a time or until others need their room.
//!
//! What gives way is chosen by S3-FIFO (Yang et al., "FIFO queues are all you need for cache
//! eviction", SOSP 2023). Most entries are never read again; the small queue finds out which:
//!
//! ```text
//!           not in ghosts
//!      set ─┬──────────► small, a tenth of the bytes ─┬─ read once or never ─► ghosts: hashes of keys
//!           │                                         └─ read twice or more ─┐
//!           └──────────► main ◄──────────────────────────────────────────────┘
//!            in ghosts    ├─ read since it was last here ─► its end again, with one read less
//!                         └─ not read ─► gone
//! ```
//!
//! So what is set once, however much of it, passes through `small` and leaves `main` alone. Entries
//! whose time is over go before all others.
//!
//! Time is given by the caller, in milliseconds of a clock that does not run back; an entry lives while
//! `now < expiry`. An operation takes O(log n), amortised, for each entry that it adds or removes or
//! whose expiry it changes, and O(1) where it only reads or overwrites.

#![forbid(unsafe_code)]

mod entries;
mod ghosts;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use self::entries::{Entries, Lane, bytes_of};
use self::ghosts::Ghosts;
use self::queue::Queue;

/// The expiry of what has none.
const NEVER: u64 = u64::MAX;

/// The small queue has this part of the bytes: a tenth, as in the paper.
const SMALL_DIVISOR: u64 = 10;

/// Reads after which the small queue passes an entry on.
const USES_PROMOTED: u8 = 2;

/// Reads that are counted: as many as fit into the paper's two bits.
const USES_MAX: u8 = 3;

/// Why an operation changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum CacheError {
    /// The entry is larger than the whole cache.
    #[error("the entry would have {bytes} bytes, the whole cache has {bytes_max}")]
    TooLarge {
        /// Of key, value and what an entry costs beside them.
        bytes: u64,
        /// Of the cache.
        bytes_max: u64,
    },
    /// What is to be incremented is no decimal number of 64 bits.
    #[error("value is not an integer")]
    NotAnInteger,
    /// The sum is none.
    #[error("the sum is not an integer of 64 bits")]
    Overflow,
}

/// Entries of one tenant. Never shared between threads.
///
/// Reading counts for an entry: `get`, `exists`, `incr` and `expire`. Overwriting does not, and leaves
/// it where it is in its queue, unless others have to give way for it: then it goes to the end.
pub struct Cache {
    bytes_max: u64,
    entries: Entries,
    small: Queue,
    main: Queue,
    /// Expiries and numbers of the entries that have one.
    expiries: BTreeSet<(u64, usize)>,
    /// No more than there are entries.
    ghosts: Ghosts,
    evictions: u64,
}

impl Cache {
    /// An empty one for this many bytes: of keys, of values, and
    /// [`CACHE_ENTRY_OVERHEAD_BYTES`](crate::config::limits::CACHE_ENTRY_OVERHEAD_BYTES) for each entry.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            entries: Entries::default(),
            small: Queue::default(),
            main: Queue::default(),
            expiries: BTreeSet::new(),
            ghosts: Ghosts::default(),
            evictions: 0,
        }
    }

    /// What it may have, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Changes how many bytes it may have. What is too much is evicted at once.
    pub fn set_bytes_max(&mut self, bytes_max: u64, now_ms: u64) {
        self.bytes_max = bytes_max;
        self.make_room(0, now_ms);
    }

    /// The value. It is shared: what a caller still holds of an entry that went is not in
    /// [`Cache::bytes`].
    pub fn get(&mut self, key: &str, now_ms: u64) -> Option<&Rc<[u8]>> {
        let id = self.read(key, now_ms)?;
        Some(&self.entries[id].value)
    }

    /// Whether there is the key.
    pub fn exists(&mut self, key: &str, now_ms: u64) -> bool {
        self.read(key, now_ms).is_some()
    }

    /// Sets a value for so many milliseconds, or without an end, whatever the key had before.
    ///
    /// # Errors
    /// [`CacheError::TooLarge`]; then the key has what it had.
    pub fn set(
        &mut self,
        key: &str,
        value: impl Into<Rc<[u8]>>,
        ttl_ms: Option<u64>,
        now_ms: u64,
    ) -> Result<(), CacheError> {
        let expires_at_ms = ttl_ms.map_or(NEVER, |ttl_ms| now_ms.saturating_add(ttl_ms));
        self.store(key, value.into(), expires_at_ms, now_ms)
    }

    /// Deletes a key; one that is not there is no error.
    pub fn delete(&mut self, key: &str) {
        if let Some(id) = self.entries.find(key) {
            self.remove(id);
        }
    }

    /// Adds to a number that is written in decimal, 0 where there is no key, and gives the sum. An
    /// expiry stays as it is; a key that was not there has none.
    ///
    /// # Errors
    /// [`CacheError::NotAnInteger`], [`CacheError::Overflow`], [`CacheError::TooLarge`]; then the key
    /// has what it had.
    pub fn incr(&mut self, key: &str, delta: i64, now_ms: u64) -> Result<i64, CacheError> {
        let (number, expires_at_ms) = match self.read(key, now_ms) {
            Some(id) => {
                let entry = &self.entries[id];
                (integer(&entry.value)?, entry.expires_at_ms)
            }
            None => (0, NEVER),
        };
        let sum = number.checked_add(delta).ok_or(CacheError::Overflow)?;
        let value = Rc::from(sum.to_string().as_bytes());
        self.store(key, value, expires_at_ms, now_ms)?;
        Ok(sum)
    }

    /// Lets a key live for so many milliseconds from now on; whether there is the key.
    pub fn expire(&mut self, key: &str, ttl_ms: u64, now_ms: u64) -> bool {
        let Some(id) = self.read(key, now_ms) else {
            return false;
        };
        self.set_expiry(id, now_ms.saturating_add(ttl_ms));
        true
    }

    /// Deletes all keys; how many there were.
    pub fn purge(&mut self, now_ms: u64) -> u64 {
        let live = self.entries.iter().filter(|entry| entry.is_live(now_ms));
        let count = live.count() as u64;
        self.reset();
        count
    }

    /// Deletes all keys that begin so; how many there were. It takes O(log n) for each of them, and
    /// none for others.
    pub fn purge_prefix(&mut self, prefix: &str, now_ms: u64) -> u64 {
        let mut count = 0;
        for id in self.entries.with_prefix(prefix) {
            count += u64::from(self.entries[id].is_live(now_ms));
            self.remove(id);
        }
        if self.is_empty() {
            self.reset();
        }
        count
    }

    /// Bytes of all entries, those included whose time is over and which nobody met since.
    pub fn bytes(&self) -> u64 {
        self.small.bytes() + self.main.bytes()
    }

    /// Entries, those included whose time is over and which nobody met since.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that gave way before their time, from the beginning.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The number of a live entry. One whose time is over is dropped.
    fn find(&mut self, key: &str, now_ms: u64) -> Option<usize> {
        let id = self.entries.find(key)?;
        if self.entries[id].is_live(now_ms) {
            return Some(id);
        }
        self.remove(id);
        None
    }

    /// The same for one that is read with that.
    fn read(&mut self, key: &str, now_ms: u64) -> Option<usize> {
        let id = self.find(key, now_ms)?;
        let entry = &mut self.entries[id];
        entry.uses = USES_MAX.min(entry.uses + 1);
        Some(id)
    }

    fn store(
        &mut self,
        key: &str,
        value: Rc<[u8]>,
        expires_at_ms: u64,
        now_ms: u64,
    ) -> Result<(), CacheError> {
        let (bytes, bytes_max) = (bytes_of(key, &value), self.bytes_max);
        if bytes > bytes_max {
            return Err(CacheError::TooLarge { bytes, bytes_max });
        }
        let id = match self.find(key, now_ms) {
            Some(id) => {
                self.overwrite(id, value, now_ms);
                id
            }
            None => {
                self.make_room(bytes, now_ms);
                self.add(key, value)
            }
        };
        self.set_expiry(id, expires_at_ms);
        Ok(())
    }

    /// Adds an entry for which there is room, and whose key is not there.
    fn add(&mut self, key: &str, value: Rc<[u8]>) -> usize {
        let hash = self.entries.hash(key);
        let lane = match self.ghosts.take(hash) {
            true => Lane::Main,
            false => Lane::Small,
        };
        let id = self.entries.insert(hash, key, value);
        self.link(id, lane);
        id
    }

    /// Gives a live entry a value that is not too large.
    fn overwrite(&mut self, id: usize, value: Rc<[u8]>, now_ms: u64) {
        let entry = &mut self.entries[id];
        let (before, after) = (entry.bytes(), bytes_of(&entry.key, &value));
        if self.small.bytes() + self.main.bytes() - before + after <= self.bytes_max {
            entry.value = value;
            match entry.lane {
                Lane::Small => self.small.resize(before, after),
                Lane::Main => self.main.resize(before, after),
            }
            return;
        }
        // It is in no queue while others give way to it.
        let lane = self.unlink(id);
        self.make_room(after, now_ms);
        self.entries[id].value = value;
        self.link(id, lane);
    }

    fn set_expiry(&mut self, id: usize, expires_at_ms: u64) {
        let before = std::mem::replace(&mut self.entries[id].expires_at_ms, expires_at_ms);
        if before == expires_at_ms {
            return;
        }
        if before != NEVER {
            self.expiries.remove(&(before, id));
        }
        if expires_at_ms != NEVER {
            self.expiries.insert((expires_at_ms, id));
        }
    }

    /// Puts an entry that is in no queue at the end of one.
    fn link(&mut self, id: usize, lane: Lane) {
        self.entries[id].lane = lane;
        let queue = match lane {
            Lane::Small => &mut self.small,
            Lane::Main => &mut self.main,
        };
        queue.push(id, &mut self.entries);
    }

    /// Takes an entry out of its queue, and says which it was.
    fn unlink(&mut self, id: usize) -> Lane {
        let lane = self.entries[id].lane;
        let queue = match lane {
            Lane::Small => &mut self.small,
            Lane::Main => &mut self.main,
        };
        queue.remove(id, &mut self.entries);
        lane
    }

    /// Takes an entry out of everything.
    fn remove(&mut self, id: usize) {
        self.unlink(id);
        self.set_expiry(id, NEVER);
        self.entries.remove(id);
        self.ghosts.trim(self.entries.len());
    }

    /// Drops all entries, and the memory of tables that were made for them.
    fn reset(&mut self) {
        *self = Self {
            evictions: self.evictions,
            ..Self::new(self.bytes_max)
        };
    }

    /// Lets entries go until so many more bytes fit, which are no more than the whole cache has.
    fn make_room(&mut self, bytes: u64, now_ms: u64) {
        while self.bytes().saturating_add(bytes) > self.bytes_max {
            if !self.drop_expired(now_ms) && !self.evict() {
                return;
            }
        }
    }

    /// Drops the entry whose time has been over for the longest; whether there is one.
    fn drop_expired(&mut self, now_ms: u64) -> bool {
        match self.expiries.first() {
            Some(&(expires_at_ms, id)) if expires_at_ms <= now_ms => {
                self.remove(id);
                true
            }
            _ => false,
        }
    }

    /// Looks at the first entry of the queue whose turn it is: it goes, or is put elsewhere. Whether
    /// there is one.
    fn evict(&mut self) -> bool {
        let small_is_full = self.small.bytes() > self.bytes_max / SMALL_DIVISOR;
        let first = match small_is_full {
            true => self.small.first().or(self.main.first()),
            false => self.main.first().or(self.small.first()),
        };
        let Some(id) = first else {
            return false;
        };
        let entry = &mut self.entries[id];
        match entry.lane {
            Lane::Small if entry.uses >= USES_PROMOTED => entry.uses = 0,
            Lane::Main if entry.uses > 0 => entry.uses -= 1,
            lane => {
                let hash = entry.hash;
                self.remove(id);
                self.evictions += 1;
                if lane == Lane::Small {
                    self.ghosts.push(hash, self.entries.len());
                }
                return true;
            }
        }
        self.unlink(id);
        self.link(id, Lane::Main);
        true
    }
}

impl fmt::Debug for Cache {
    /// Without keys and values: they are the tenant's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .field("bytes_max", &self.bytes_max)
            .field("evictions", &self.evictions)
            .finish_non_exhaustive()
    }
}

fn integer(value: &[u8]) -> Result<i64, CacheError> {
    let text = std::str::from_utf8(value).ok();
    let number = text.and_then(|text| text.parse().ok());
    number.ok_or(CacheError::NotAnInteger)
}
