//! Keys that gave way lately without having been read: who is set again soon was judged too early.
//!
//! A key is remembered as four bytes of its hash, as in the paper. Beside a hundred thousand of them, one
//! other key in 43,000 is mistaken for one, and begins in the main queue: nothing worse.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// Hashes of keys, in the order in which the keys went.
#[derive(Default)]
pub(super) struct Ghosts {
    /// From the oldest on. One that came back since is still here, and in `tickets` no more.
    order: VecDeque<u32>,
    /// The place of each hash in `order`, counted from the very first. It wraps: `order` is shorter.
    tickets: FxHashMap<u32, u32>,
    /// The ticket of the oldest.
    first_ticket: u32,
}

impl Ghosts {
    /// Remembers a key by its hash, and no more than `max` of them all.
    pub(super) fn push(&mut self, hash: u64, max: usize) {
        let hash = short(hash);
        let ticket = self.first_ticket.wrapping_add(self.order.len() as u32);
        self.tickets.insert(hash, ticket);
        self.order.push_back(hash);
        self.trim(max);
    }

    /// Forgets a key; whether it was remembered.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        self.tickets.remove(&short(hash)).is_some()
    }

    /// Forgets the oldest until there are no more than `max`.
    pub(super) fn trim(&mut self, max: usize) {
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

    /// How many there are at the most.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert!(self.tickets.len() <= self.order.len());
        self.order.len()
    }
}

/// The upper half: the lower one chooses the place in the table of entries.
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}
