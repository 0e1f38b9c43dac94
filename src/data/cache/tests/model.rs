//! Random operations, each compared with a plain map that evicts nothing.
//!
//! After every operation the cache holds what the model holds, less what was evicted, which is counted
//! exactly; its bytes are those of its entries, and everything that knows an entry agrees on it.

use std::collections::BTreeMap;

use super::*;
use crate::data::cache::entries::Entry;

const OPERATIONS: usize = if cfg!(debug_assertions) {
    20_000
} else {
    100_000
};

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Values and expiries.
#[derive(Default)]
struct Model(BTreeMap<String, (Vec<u8>, Option<u64>)>);

impl Model {
    fn drop_expired(&mut self, now_ms: u64) {
        self.0
            .retain(|_, (_, expiry)| expiry.is_none_or(|expiry| now_ms < expiry));
    }

    fn incr(&mut self, key: &str, delta: i64) -> Result<i64, CacheError> {
        let (value, expiry) = self.0.get(key).cloned().unwrap_or((b"0".to_vec(), None));
        let text = String::from_utf8(value).map_err(|_| CacheError::NotAnInteger)?;
        let number: i64 = text.parse().map_err(|_| CacheError::NotAnInteger)?;
        let sum = number.checked_add(delta).ok_or(CacheError::Overflow)?;
        let value = (sum.to_string().into_bytes(), expiry);
        self.0.insert(key.to_owned(), value);
        Ok(sum)
    }

    fn purge_prefix(&mut self, prefix: &str) -> u64 {
        let before = self.0.len();
        self.0.retain(|key, _| !key.starts_with(prefix));
        (before - self.0.len()) as u64
    }
}

struct Both {
    cache: Cache,
    model: Model,
    random: Random,
    now_ms: u64,
}

impl Both {
    fn new(seed: u64, bytes_max: u64) -> Self {
        Self {
            cache: Cache::new(bytes_max),
            model: Model::default(),
            random: Random(seed),
            now_ms: 0,
        }
    }

    /// Some are asked for more than others.
    fn key(&mut self) -> String {
        let (a, b) = (self.random.below(60), self.random.below(60));
        let number = a.min(b);
        let prefix = self.random.pick(&["", "a", "a/", "a/b/", "é/"]);
        format!("{prefix}{number}")
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0..3 => self.random.below(1 << 20).to_string().into_bytes(),
            3 => self.random.pick(&[i64::MAX, i64::MIN]).to_string().into(),
            _ => {
                let length = self.random.pick(&[0, 1, 10, 100, 1_000, 5_000]);
                vec![b'x'; self.random.below(length + 1) as usize]
            }
        }
    }

    fn step(&mut self) {
        let now = self.now_ms;
        let key = self.key();
        self.model.drop_expired(now);
        let evictions = self.cache.evictions();
        match self.random.below(100) {
            0..30 => {
                let expected = self.model.0.get(&key).map(|(value, _)| &value[..]);
                assert_eq!(
                    self.cache.get(&key, now).map(|it| &**it),
                    expected,
                    "get {key}"
                );
            }
            30..40 => {
                let expected = self.model.0.contains_key(&key);
                assert_eq!(self.cache.exists(&key, now), expected, "exists {key}");
            }
            40..70 => self.set(&key),
            70..80 => self.incr(&key),
            80..88 => {
                let ttl_ms = self.random.below(200);
                let entry = self.model.0.get_mut(&key);
                let expected = entry.map(|entry| entry.1 = Some(now + ttl_ms)).is_some();
                assert_eq!(self.cache.expire(&key, ttl_ms, now), expected);
            }
            88..94 => {
                self.cache.delete(&key);
                self.model.0.remove(&key);
            }
            94..97 => {
                let expected = self.model.purge_prefix(&key);
                assert_eq!(self.cache.purge_prefix(&key, now), expected);
            }
            _ => self.rarely(),
        }
        self.compare(evictions);
        self.now_ms += self.random.pick(&[0, 0, 0, 1, 10]);
    }

    fn set(&mut self, key: &str) {
        let (value, ttl_ms) = (self.value(), self.random.below(400));
        let ttl_ms = (ttl_ms < 200).then_some(ttl_ms);
        let set = self.cache.set(key, &value[..], ttl_ms, self.now_ms);
        let (bytes, bytes_max) = (bytes_of(key, &value), self.cache.bytes_max);
        if bytes > bytes_max {
            assert_eq!(set, Err(CacheError::TooLarge { bytes, bytes_max }));
            return;
        }
        assert_eq!(set, Ok(()));
        let expiry = ttl_ms.map(|ttl_ms| self.now_ms + ttl_ms);
        assert!(
            self.cache.entries.find(key).is_some(),
            "{key} is set and gone"
        );
        self.model.0.insert(key.to_owned(), (value, expiry));
    }

    fn incr(&mut self, key: &str) {
        let delta = self.random.pick(&[1, -1, 0, 1_000_000, i64::MIN]);
        let before = self.model.0.get(key).cloned();
        let sum = self.cache.incr(key, delta, self.now_ms);
        if let Err(CacheError::TooLarge { bytes, bytes_max }) = sum {
            assert_eq!(bytes_max, self.cache.bytes_max);
            assert!(bytes > bytes_max);
        } else {
            assert_eq!(self.model.incr(key, delta), sum, "{before:?} + {delta}");
        }
    }

    /// A purge or another size, in one step of two hundred.
    fn rarely(&mut self) {
        match self.random.below(6) {
            0 => {
                let expected = self.model.purge_prefix("");
                assert_eq!(self.cache.purge(self.now_ms), expected);
            }
            1 => {
                let bytes_max = self.cache.bytes_max;
                let shrunk = self.random.below(bytes_max + 1);
                self.cache.set_bytes_max(shrunk, self.now_ms);
                assert!(self.cache.bytes() <= shrunk);
                // What was evicted for it is taken out of the model before it grows again.
                self.cache.bytes_max = bytes_max;
            }
            _ => {}
        }
    }

    /// Takes out of the model what was evicted since, and compares everything.
    fn compare(&mut self, evictions_before: u64) {
        self.model.drop_expired(self.now_ms);
        let (cache, before) = (&self.cache, self.model.0.len());
        self.model
            .0
            .retain(|key, _| cache.entries.find(key).is_some());
        let lost = (before - self.model.0.len()) as u64;
        // What is expired is in neither: it is gone from the model, and dropping it is no eviction.
        assert_eq!(lost, cache.evictions() - evictions_before);
        let live = cache.entries.iter().filter(|it| it.is_live(self.now_ms));
        let live = live.map(|entry| {
            let expiry = (entry.expires_at_ms != NEVER).then_some(entry.expires_at_ms);
            (entry.key.to_string(), (entry.value.to_vec(), expiry))
        });
        assert_eq!(live.collect::<BTreeMap<_, _>>(), self.model.0);
        check_books(cache);
    }
}

/// Everything that knows an entry knows the same of it.
fn check_books(cache: &Cache) {
    assert!(cache.bytes() <= cache.bytes_max);
    assert!(cache.ghosts.len() <= cache.len());
    let in_order = cache.entries.with_prefix("");
    assert_eq!(in_order.len(), cache.len());
    for pair in in_order.windows(2) {
        assert!(cache.entries[pair[0]].key < cache.entries[pair[1]].key);
    }
    let expiries = in_order
        .iter()
        .map(|id| (cache.entries[*id].expires_at_ms, *id));
    let expiries: BTreeSet<_> = expiries.filter(|(at_ms, _)| *at_ms != NEVER).collect();
    assert_eq!(expiries, cache.expiries);
    let queued = check_queue(cache, &cache.small, Lane::Small);
    assert_eq!(
        queued + check_queue(cache, &cache.main, Lane::Main),
        cache.len()
    );
}

/// How many entries a queue has.
fn check_queue(cache: &Cache, queue: &Queue, lane: Lane) -> usize {
    let ids: Vec<usize> = queue.iter(&cache.entries).collect();
    let entries = ids.iter().map(|id| &cache.entries[*id]);
    assert!(entries.clone().all(|entry| entry.lane == lane));
    assert_eq!(entries.map(Entry::bytes).sum::<u64>(), queue.bytes());
    ids.len()
}

fn run(seed: u64, bytes_max: u64) -> u64 {
    let mut both = Both::new(seed, bytes_max);
    for _ in 0..OPERATIONS {
        both.step();
    }
    both.cache.evictions()
}

#[test]
fn with_room_for_everything() {
    assert_eq!(run(1, ROOM), 0);
}

#[test]
fn with_room_for_a_part() {
    for (seed, entries) in [(2, 60), (3, 20), (4, 5), (5, 1)] {
        let evictions = run(seed, entries * (OVERHEAD + 100));
        assert!(evictions > OPERATIONS as u64 / 20, "{evictions}");
    }
}
