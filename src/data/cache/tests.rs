//! What each operation means, what is evicted, and that both hold whatever comes.

mod model;

use super::*;
use crate::config::limits::CACHE_ENTRY_OVERHEAD_BYTES;

const OVERHEAD: u64 = CACHE_ENTRY_OVERHEAD_BYTES as u64;

/// Enough that nothing is evicted.
const ROOM: u64 = 1 << 30;

impl Cache {
    fn text(&mut self, key: &str, now_ms: u64) -> Option<String> {
        let value = self.get(key, now_ms)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    fn set_text(&mut self, key: &str, value: &str, ttl_ms: Option<u64>, now_ms: u64) {
        self.set(key, value.as_bytes(), ttl_ms, now_ms).unwrap();
    }
}

#[test]
fn a_value_is_there_until_it_is_deleted() {
    let mut cache = Cache::new(ROOM);
    assert_eq!(cache.get("a", 0), None);
    cache.set_text("a", "1", None, 0);
    cache.set_text("", "no name", None, 0);
    assert_eq!(cache.text("a", u64::MAX - 1), Some("1".to_owned()));
    assert_eq!(cache.text("", 0), Some("no name".to_owned()));
    assert!(cache.exists("a", 0) && !cache.exists("b", 0));
    cache.set_text("a", "", None, 0);
    assert_eq!(cache.text("a", 0), Some(String::new()));
    cache.delete("a");
    cache.delete("a");
    assert!(!cache.exists("a", 0));
    assert_eq!((cache.len(), cache.evictions()), (1, 0));
}

#[test]
fn an_entry_lives_until_its_time_is_over() {
    let mut cache = Cache::new(ROOM);
    cache.set_text("a", "1", Some(10), 100);
    assert_eq!(cache.text("a", 109), Some("1".to_owned()));
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.text("a", 110), None);
    assert_eq!(cache.len(), 0, "it was met");
    // Setting it again ends the former time, in both directions.
    cache.set_text("a", "1", Some(10), 200);
    cache.set_text("a", "2", None, 205);
    assert_eq!(cache.text("a", 1_000), Some("2".to_owned()));
    cache.set_text("a", "3", Some(5), 1_000);
    assert!(!cache.exists("a", 1_005));
    // No time at all, and more than there is.
    cache.set_text("a", "4", Some(0), 2_000);
    assert!(!cache.exists("a", 2_000));
    cache.set_text("a", "5", Some(u64::MAX), 2_000);
    assert!(cache.exists("a", u64::MAX - 1));
}

#[test]
fn expire_changes_the_time_of_what_is_there() {
    let mut cache = Cache::new(ROOM);
    assert!(!cache.expire("a", 10, 0));
    assert!(!cache.exists("a", 0));
    cache.set_text("a", "1", None, 0);
    assert!(cache.expire("a", 10, 100));
    assert!(cache.expire("a", 50, 109));
    assert!(cache.exists("a", 158));
    assert!(!cache.expire("a", 50, 159), "its time was over");
    cache.set_text("a", "1", Some(10), 200);
    assert!(cache.expire("a", 0, 200));
    assert!(!cache.exists("a", 200));
    assert!(cache.expiries.is_empty());
}

#[test]
fn a_number_is_incremented() {
    let mut cache = Cache::new(ROOM);
    assert_eq!(cache.incr("n", 5, 0), Ok(5));
    assert_eq!(cache.incr("n", -7, 0), Ok(-2));
    assert_eq!(cache.incr("n", 0, 0), Ok(-2));
    assert_eq!(cache.text("n", 0), Some("-2".to_owned()));
    // It keeps its expiry; afterwards it counts as 0, and has none.
    assert!(cache.expire("n", 10, 100));
    assert_eq!(cache.incr("n", 1, 109), Ok(-1));
    assert_eq!(cache.incr("n", 1, 110), Ok(1));
    assert_eq!(cache.text("n", u64::MAX - 1), Some("1".to_owned()));
}

#[test]
fn what_cannot_be_incremented_stays_as_it_is() {
    let max = &i64::MAX.to_string();
    let min = &i64::MIN.to_string();
    for (value, delta, expected) in [
        (max.as_str(), 0, Ok(i64::MAX)),
        (max, 1, Err(CacheError::Overflow)),
        (max, i64::MIN, Ok(-1)),
        (min, 0, Ok(i64::MIN)),
        (min, -1, Err(CacheError::Overflow)),
        (min, i64::MAX, Ok(-1)),
        ("007", 1, Ok(8)),
        ("", 1, Err(CacheError::NotAnInteger)),
        ("-", 1, Err(CacheError::NotAnInteger)),
        (" 1", 1, Err(CacheError::NotAnInteger)),
        ("1\n", 1, Err(CacheError::NotAnInteger)),
        ("1.0", 1, Err(CacheError::NotAnInteger)),
        ("0x1", 1, Err(CacheError::NotAnInteger)),
        ("9223372036854775808", -1, Err(CacheError::NotAnInteger)),
    ] {
        let mut cache = Cache::new(ROOM);
        cache.set_text("n", value, None, 0);
        assert_eq!(cache.incr("n", delta, 0), expected, "{value:?} + {delta}");
        if expected.is_err() {
            assert_eq!(cache.text("n", 0).as_deref(), Some(value));
        }
    }
    let mut cache = Cache::new(ROOM);
    cache.set("n", &b"1\xff"[..], None, 0).unwrap();
    assert_eq!(cache.incr("n", 1, 0), Err(CacheError::NotAnInteger));
}

#[test]
fn purge_counts_what_was_there() {
    let mut cache = Cache::new(ROOM);
    let keys = ["", "a", "a/", "a/1", "a/2", "a0", "b/1", "é1", "é2"];
    let fill = |cache: &mut Cache| {
        for key in keys {
            cache.set_text(key, "1", None, 0);
        }
        cache.set_text("a/over", "1", Some(10), 0);
    };
    for (prefix, count) in [
        ("a/", 3),
        ("a", 5),
        ("b/", 1),
        ("é", 2),
        ("c", 0),
        ("a/10", 0),
        ("", 9),
    ] {
        fill(&mut cache);
        assert_eq!(cache.purge_prefix(prefix, 10), count, "{prefix:?}");
        for key in keys {
            assert_eq!(cache.exists(key, 10), !key.starts_with(prefix), "{key:?}");
        }
    }
    fill(&mut cache);
    assert_eq!(cache.purge(10), 9);
    assert_eq!((cache.len(), cache.bytes(), cache.purge(10)), (0, 0, 0));
}

#[test]
fn bytes_are_those_of_keys_and_values_and_what_an_entry_costs() {
    let mut cache = Cache::new(ROOM);
    cache.set_text("key", "value", None, 0);
    assert_eq!(cache.bytes(), 3 + 5 + OVERHEAD);
    cache.set_text("key", "longer value", None, 0);
    assert_eq!(cache.bytes(), 3 + 12 + OVERHEAD);
    cache.incr("n", 99, 0).unwrap();
    cache.incr("n", 1, 0).unwrap();
    assert_eq!(cache.bytes(), (3 + 12 + OVERHEAD) + (1 + 3 + OVERHEAD));
    cache.delete("key");
    assert_eq!(cache.bytes(), 1 + 3 + OVERHEAD);
}

#[test]
fn an_entry_may_be_as_large_as_the_cache_and_no_larger() {
    let bytes_max = 1 + 100 + OVERHEAD;
    let mut cache = Cache::new(bytes_max);
    for key in ["a", "b"] {
        cache.set(key, vec![0; 100], None, 0).unwrap();
        assert!(cache.exists(key, 0));
    }
    assert_eq!((cache.len(), cache.evictions()), (1, 1));
    let error = cache.set("b", vec![0; 101], None, 0).unwrap_err();
    let bytes = bytes_max + 1;
    assert_eq!(error, CacheError::TooLarge { bytes, bytes_max });
    assert_eq!(cache.get("b", 0).unwrap().len(), 100, "it has what it had");
    let mut cache = Cache::new(OVERHEAD + 2);
    assert_eq!(cache.incr("n", 9, 0), Ok(9));
    assert!(matches!(
        cache.incr("n", 1, 0),
        Err(CacheError::TooLarge { .. })
    ));
    assert_eq!(cache.text("n", 0), Some("9".to_owned()));
    assert!(Cache::new(0).set("", &b""[..], None, 0).is_err());
}

/// Sets this many keys, each an entry of 1,000 bytes.
fn fill(cache: &mut Cache, prefix: char, count: usize, now_ms: u64) -> Vec<String> {
    let keys = (0..count).map(|number| format!("{prefix}{number:05}"));
    let keys: Vec<String> = keys.collect();
    for key in &keys {
        let value = vec![0; value_bytes(key)];
        cache.set(key, value, None, now_ms).unwrap();
    }
    keys
}

/// Of a value with which the entry has 1,000 bytes.
fn value_bytes(key: &str) -> usize {
    1_000 - key.len() - CACHE_ENTRY_OVERHEAD_BYTES
}

fn count_live(cache: &Cache, keys: &[String]) -> usize {
    let live = keys.iter().filter(|key| cache.entries.find(key).is_some());
    live.count()
}

#[test]
fn an_overwritten_entry_does_not_give_way_to_itself() {
    let mut cache = Cache::new(10_000);
    let keys = fill(&mut cache, 'a', 10, 0);
    // It is the next one to go, and needs the room of three others.
    let value = vec![1; 3_000 + value_bytes(&keys[0])];
    cache.set(&keys[0], value.clone(), None, 0).unwrap();
    assert_eq!(cache.get(&keys[0], 0).map(|it| &**it), Some(&value[..]));
    assert_eq!((cache.bytes(), cache.evictions()), (10_000, 3));
    assert_eq!(count_live(&cache, &keys[1..4]), 0);
}

#[test]
fn what_is_expired_goes_first_and_is_no_eviction() {
    let mut cache = Cache::new(10_000);
    let keys = fill(&mut cache, 'a', 10, 0);
    for key in &keys[5..] {
        cache.expire(key, 10, 0);
    }
    fill(&mut cache, 'b', 5, 10);
    assert_eq!(count_live(&cache, &keys[..5]), 5);
    assert_eq!((cache.len(), cache.evictions()), (10, 0));
    fill(&mut cache, 'c', 1, 10);
    assert_eq!((cache.len(), cache.evictions()), (10, 1));
}

#[test]
fn a_smaller_cache_evicts_at_once() {
    let mut cache = Cache::new(100_000);
    let keys = fill(&mut cache, 'a', 100, 0);
    for key in &keys[..20] {
        cache.get(key, 0);
        cache.get(key, 0);
    }
    cache.set_bytes_max(30_500, 0);
    assert_eq!((cache.bytes(), cache.evictions()), (30_000, 70));
    assert_eq!(count_live(&cache, &keys[..20]), 20, "those that were read");
    cache.set_bytes_max(0, 0);
    assert_eq!((cache.len(), cache.bytes(), cache.ghosts.len()), (0, 0, 0));
    cache.set_bytes_max(100_000, 0);
    assert_eq!(fill(&mut cache, 'a', 100, 0).len(), cache.len());
}

/// What is read stays, whatever is set once: ten times as much as the cache holds.
#[test]
fn a_scan_leaves_what_is_read() {
    for hot_count in [10, 500, 850] {
        let mut cache = Cache::new(1_000_000);
        let hot = fill(&mut cache, 'h', hot_count, 0);
        for key in hot.iter().chain(&hot) {
            cache.get(key, 0);
        }
        let scanned = fill(&mut cache, 's', 10_000, 0);
        assert_eq!(count_live(&cache, &hot), hot_count);
        assert_eq!(count_live(&cache, &scanned), 1_000 - hot_count);
    }
}

/// Reads as programs do, who set what is not there; whether it was.
fn read_through(cache: &mut Cache, key: &str) -> bool {
    let is_there = cache.exists(key, 0);
    if !is_there {
        cache.set(key, vec![0; value_bytes(key)], None, 0).unwrap();
    }
    is_there
}

/// The same with programs that read through it, before which no hot key was read twice.
#[test]
fn a_scan_leaves_what_is_read_through_the_cache() {
    let mut cache = Cache::new(1_000_000);
    let mut misses = [0; 10];
    for number in 0..10_000 {
        assert!(!read_through(&mut cache, &format!("s{number:05}")));
        let hot = format!("h{:05}", number * 7 % 500);
        misses[number / 1_000] += usize::from(!read_through(&mut cache, &hot));
    }
    // Each is missed when it is new, and once more when it has become a ghost.
    assert!(misses[0] + misses[1] <= 1_000, "{misses:?}");
    assert_eq!(misses[2..], [0; 8]);
}

#[test]
fn what_is_not_read_any_more_leaves() {
    let mut cache = Cache::new(1_000_000);
    let mut hits = Vec::new();
    for prefix in ['a', 'b', 'c'] {
        for round in 0..10 {
            let keys = (0..600).map(|number| format!("{prefix}{number:05}"));
            let round_hits = keys.filter(|key| read_through(&mut cache, key)).count();
            hits.push((prefix, round, round_hits));
        }
    }
    let last_rounds = hits.iter().filter(|(_, round, _)| *round == 9);
    assert!(
        last_rounds.clone().all(|(_, _, hits)| *hits == 600),
        "{hits:?}"
    );
    let a: Vec<String> = (0..600).map(|number| format!("a{number:05}")).collect();
    assert_eq!(count_live(&cache, &a), 0);
}

fn lane(cache: &Cache, key: &str) -> Lane {
    cache.entries[cache.entries.find(key).unwrap()].lane
}

#[test]
fn what_comes_back_soon_goes_to_the_main_queue() {
    let mut cache = Cache::new(100_000);
    let keys = fill(&mut cache, 'a', 101, 0);
    assert_eq!(count_live(&cache, &keys[..1]), 0);
    cache.set_text(&keys[0], "1", None, 0);
    assert_eq!(lane(&cache, &keys[0]), Lane::Main);
    fill(&mut cache, 's', 1_000, 0);
    assert!(cache.exists(&keys[0], 0));
    // One that was deleted meanwhile has no such merit.
    cache.delete(&keys[0]);
    cache.set_text(&keys[0], "1", None, 0);
    assert_eq!(lane(&cache, &keys[0]), Lane::Small);
}

#[test]
fn one_that_came_back_and_went_again_is_remembered_for_as_long_as_others() {
    let [a, b, c] = [1_u64, 2, 3].map(|number| number << 32);
    let mut ghosts = Ghosts::default();
    ghosts.push(a, 3);
    assert!(ghosts.take(a) && !ghosts.take(a));
    ghosts.push(b, 3);
    ghosts.push(a, 3);
    // The first time that `a` went is forgotten, then `b`.
    ghosts.push(c, 3);
    ghosts.trim(2);
    assert!(ghosts.take(a) && !ghosts.take(b) && ghosts.take(c));
}

#[test]
fn reading_twice_passes_an_entry_on() {
    for (reads, is_there) in [(0, false), (1, false), (2, true), (3, true)] {
        let mut cache = Cache::new(100_000);
        let keys = fill(&mut cache, 'a', 1, 0);
        for _ in 0..reads {
            cache.get(&keys[0], 0);
        }
        fill(&mut cache, 's', 1_000, 0);
        assert_eq!(cache.exists(&keys[0], 0), is_there, "{reads} reads");
    }
}

#[test]
fn writing_is_not_reading() {
    let mut cache = Cache::new(100_000);
    for _ in 0..10 {
        fill(&mut cache, 'w', 50, 0);
    }
    let written = fill(&mut cache, 'w', 50, 0);
    fill(&mut cache, 's', 1_000, 0);
    assert_eq!(count_live(&cache, &written), 0);
}

#[test]
fn nothing_of_a_tenant_is_printed() {
    let mut cache = Cache::new(ROOM);
    cache.set_text("key", "value", None, 0);
    let debug = format!("{cache:?}");
    assert!(
        !debug.contains("key") && !debug.contains("value"),
        "{debug}"
    );
}
