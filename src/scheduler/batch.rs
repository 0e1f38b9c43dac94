//! The tenants that wait in the batch lane, by virtual clock, and the heaviest of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::account::Account;
use super::queue::Key;

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// With the weight that each had when it came.
    by_clock: BTreeMap<Key, (u64, Rc<Account>)>,
    /// How many there are of each weight.
    weights: BTreeMap<u64, usize>,
}

impl Batch {
    pub(super) const fn new() -> Self {
        Self {
            by_clock: BTreeMap::new(),
            weights: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_clock.is_empty()
    }

    pub(super) fn insert(&mut self, key: Key, account: Rc<Account>) {
        let weight = account.weight();
        *self.weights.entry(weight).or_default() += 1;
        self.by_clock.insert(key, (weight, account));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some((weight, _)) = self.by_clock.remove(key)
            && let Some(count) = self.weights.get_mut(&weight)
        {
            *count -= 1;
            if *count == 0 {
                self.weights.remove(&weight);
            }
        }
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Rc<Account>)> {
        let both = self.by_clock.iter();
        both.map(|(key, (_, account))| (key, account))
    }

    /// The largest weight; 0 when nobody waits.
    pub(super) fn heaviest(&self) -> u64 {
        self.weights
            .last_key_value()
            .map_or(0, |(weight, _)| *weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_is_known_whoever_leaves() {
        let mut batch = Batch::new();
        assert_eq!(batch.heaviest(), 0);
        let accounts = [300, 100, 300, 900].map(|weight| {
            let account = Rc::new(Account::default());
            account.configure(weight, None);
            account
        });
        for (place, account) in accounts.iter().enumerate() {
            batch.insert((0, place as u64), Rc::clone(account));
        }
        // What is configured meanwhile is for the next time.
        accounts[3].configure(1, None);
        for (place, heaviest) in [(3, 300), (0, 300), (2, 100), (1, 0)] {
            batch.remove(&(0, place));
            batch.remove(&(0, place));
            assert_eq!(batch.heaviest(), heaviest);
        }
        assert!(batch.is_empty());
    }
}
