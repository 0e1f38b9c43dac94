//! What gives way: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023),
//! as in `data/cache.rs`, with nodes that say themselves what they count.
//!
//! ```text
//!           not in ghosts
//!   insert ─┬──────────► small, a tenth of the bytes ─┬─ used once or never ─► gone; ghosts: its hash
//!           │                                         └─ used twice or more ─┐
//!           └──────────► main ◄──────────────────────────────────────────────┘
//!            in ghosts    ├─ used since it was last here ─► its end again, with one use less
//!                         └─ not used ─► gone
//! ```

use rustc_hash::FxHashMap;
use slab::Slab;
use std::collections::VecDeque;

/// The small queue has this part of the bytes: a tenth, as in the paper.
const SMALL_DIVISOR: u64 = 10;

/// Uses after which the small queue passes a node on.
const USES_PROMOTED: u8 = 2;

/// Uses that are counted: as many as fit into the paper's two bits.
const USES_MAX: u8 = 3;

/// No node.
const NONE: usize = usize::MAX;

/// Values in two queues. A value keeps its number while it is there.
pub(super) struct S3Fifo<T> {
    /// Boxed, so that little memory stays behind when many nodes give way to few.
    nodes: Slab<Box<Node<T>>>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

struct Node<T> {
    value: T,
    hash: u64,
    bytes: u64,
    before: usize,
    after: usize,
    uses: u8,
    lane: Lane,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Small,
    Main,
}

struct Queue {
    first: usize,
    last: usize,
    bytes: u64,
}

impl<T> Default for S3Fifo<T> {
    fn default() -> Self {
        let empty = || Queue {
            first: NONE,
            last: NONE,
            bytes: 0,
        };
        Self {
            nodes: Slab::new(),
            small: empty(),
            main: empty(),
            ghosts: Ghosts::default(),
        }
    }
}

impl<T> S3Fifo<T> {
    /// Of all values together.
    pub(super) fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, id: usize) -> Option<&T> {
        self.nodes.get(id).map(|node| &node.value)
    }

    pub(super) fn get_mut(&mut self, id: usize) -> Option<&mut T> {
        self.nodes.get_mut(id).map(|node| &mut node.value)
    }

    /// Counts one use.
    pub(super) fn touch(&mut self, id: usize) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.uses = USES_MAX.min(node.uses + 1);
        }
    }

    /// Adds a value that counts so many bytes. `hash` is that of what it will be known by when it is back.
    pub(super) fn insert(&mut self, hash: u64, bytes: u64, value: T) -> usize {
        let lane = match self.ghosts.take(hash) {
            true => Lane::Main,
            false => Lane::Small,
        };
        let id = self.nodes.insert(Box::new(Node {
            value,
            hash,
            bytes,
            before: NONE,
            after: NONE,
            uses: 0,
            lane,
        }));
        self.link(id, lane);
        id
    }

    /// A value counts other bytes from now on.
    pub(super) fn resize(&mut self, id: usize, bytes: u64) {
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut node.bytes, bytes);
        let queue = match node.lane {
            Lane::Small => &mut self.small,
            Lane::Main => &mut self.main,
        };
        queue.bytes = queue.bytes - before + bytes;
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, id: usize) -> Option<T> {
        self.nodes.get(id)?;
        self.unlink(id);
        let node = self.nodes.try_remove(id)?;
        self.ghosts.trim(self.nodes.len());
        Some(node.value)
    }

    /// Takes out the value whose turn it is, in a cache of so many bytes. `None`: there is none.
    pub(super) fn evict(&mut self, bytes_max: u64) -> Option<(usize, T)> {
        loop {
            let small_is_full = self.small.bytes > bytes_max / SMALL_DIVISOR;
            let (first, second) = match small_is_full {
                true => (self.small.first, self.main.first),
                false => (self.main.first, self.small.first),
            };
            let id = if first == NONE { second } else { first };
            let node = self.nodes.get_mut(id)?;
            match node.lane {
                Lane::Small if node.uses >= USES_PROMOTED => node.uses = 0,
                Lane::Main if node.uses > 0 => node.uses -= 1,
                lane => {
                    let hash = node.hash;
                    let value = self.remove(id)?;
                    if lane == Lane::Small {
                        self.ghosts.push(hash, self.nodes.len());
                    }
                    return Some((id, value));
                }
            }
            self.unlink(id);
            self.link(id, Lane::Main);
        }
    }

    fn link(&mut self, id: usize, lane: Lane) {
        let queue = match lane {
            Lane::Small => &mut self.small,
            Lane::Main => &mut self.main,
        };
        let node = &mut self.nodes[id];
        (node.lane, node.before, node.after) = (lane, queue.last, NONE);
        queue.bytes += node.bytes;
        match queue.last {
            NONE => queue.first = id,
            last => self.nodes[last].after = id,
        }
        queue.last = id;
    }

    fn unlink(&mut self, id: usize) {
        let node = &self.nodes[id];
        let (before, after, bytes) = (node.before, node.after, node.bytes);
        let queue = match node.lane {
            Lane::Small => &mut self.small,
            Lane::Main => &mut self.main,
        };
        queue.bytes -= bytes;
        match before {
            NONE => queue.first = after,
            before => self.nodes[before].after = after,
        }
        match after {
            NONE => queue.last = before,
            after => self.nodes[after].before = before,
        }
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T, u64)> {
        self.nodes
            .iter()
            .map(|(id, node)| (id, &node.value, node.bytes))
    }
}

/// Hashes of what gave way lately without having been used; no more than there are values. Four bytes of
/// each, as in the paper: a mistaken one begins in the main queue, nothing worse.
#[derive(Default)]
struct Ghosts {
    /// From the oldest on. One that came back since is still here, and in `tickets` no more.
    order: VecDeque<u32>,
    /// The place of each hash in `order`, counted from the very first. It wraps: `order` is shorter.
    tickets: FxHashMap<u32, u32>,
    first_ticket: u32,
}

impl Ghosts {
    fn push(&mut self, hash: u64, max: usize) {
        let hash = short(hash);
        #[allow(clippy::cast_possible_truncation)] // it wraps
        let ticket = self.first_ticket.wrapping_add(self.order.len() as u32);
        self.tickets.insert(hash, ticket);
        self.order.push_back(hash);
        self.trim(max);
    }

    fn take(&mut self, hash: u64) -> bool {
        self.tickets.remove(&short(hash)).is_some()
    }

    fn trim(&mut self, max: usize) {
        while self.order.len() > max {
            let Some(hash) = self.order.pop_front() else {
                return;
            };
            // It may have gone again since, with a later ticket.
            if self.tickets.get(&hash) == Some(&self.first_ticket) {
                self.tickets.remove(&hash);
            }
            self.first_ticket = self.first_ticket.wrapping_add(1);
        }
    }
}

/// The upper half: the lower one chooses places in tables.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 1_000;

    fn hash(number: u64) -> u64 {
        number << 32
    }

    /// Inserts values of ten bytes each, and evicts until they fit.
    fn fill(cache: &mut S3Fifo<u64>, numbers: std::ops::Range<u64>) {
        for number in numbers {
            while cache.bytes() + 10 > MAX {
                cache.evict(MAX).unwrap();
            }
            cache.insert(hash(number), 10, number);
        }
    }

    fn ids(cache: &S3Fifo<u64>) -> Vec<(usize, u64)> {
        cache.iter().map(|(id, value, _)| (id, *value)).collect()
    }

    #[test]
    fn a_scan_leaves_what_is_used() {
        let mut cache = S3Fifo::default();
        fill(&mut cache, 0..50);
        for (id, _) in ids(&cache) {
            cache.touch(id);
            cache.touch(id);
        }
        fill(&mut cache, 100..1_100);
        let hot = ids(&cache).iter().filter(|(_, value)| *value < 50).count();
        assert_eq!((hot, cache.len(), cache.bytes()), (50, 100, MAX));
    }

    #[test]
    fn what_was_used_once_goes_and_is_remembered() {
        let mut cache = S3Fifo::default();
        fill(&mut cache, 0..1);
        cache.touch(ids(&cache)[0].0);
        fill(&mut cache, 1..101);
        assert!(ids(&cache).iter().all(|(_, value)| *value != 0));
        // It is back soon: in the main queue, where a scan does not reach it.
        fill(&mut cache, 0..1);
        fill(&mut cache, 200..1_200);
        assert!(ids(&cache).iter().any(|(_, value)| *value == 0));
    }

    #[test]
    fn other_bytes_are_counted_where_the_value_is() {
        let mut cache = S3Fifo::default();
        let (a, b) = (cache.insert(1, 10, 'a'), cache.insert(2, 20, 'b'));
        cache.resize(a, 15);
        assert_eq!(cache.bytes(), 35);
        assert_eq!(cache.remove(b), Some('b'));
        assert_eq!(cache.remove(b), None);
        assert_eq!(cache.evict(0).map(|(_, value)| value), Some('a'));
        assert_eq!((cache.bytes(), cache.evict(0)), (0, None));
    }
}
