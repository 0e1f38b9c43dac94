//! Clocks that are no stopwatch, and timers that are right all the same.

use std::collections::HashMap;

use super::{alone, kitchen, shared};
use crate::common::{Tenant, TestHost};

/// The lines of a response, as numbers by their first word.
fn numbers(text: &str) -> HashMap<&str, Vec<u64>> {
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().expect("a word");
            (
                name,
                words.map(|word| word.parse().expect("a number")).collect(),
            )
        })
        .collect()
}

#[test]
fn a_guest_that_computes_sees_steps_of_the_granularity_only() {
    let _alone = alone();
    let host = kitchen(&[("cpu_ms", 1000)]);
    let text = host.get("a.test", "/ticks?ms=40").expect(200).text();
    let told = numbers(&text);
    assert_eq!(told["resolution"], [100_000, 100_000], "{text}");
    let (monotonic, wall) = (&told["monotonic"], &told["wall"]);
    // Every time that either clock told is a multiple of the step.
    assert_eq!(
        (monotonic[1] % 100_000, wall[1] % 100_000),
        (0, 0),
        "{text}"
    );
    // It looked far more often than the clocks went on.
    assert!(told["reads"][0] > 10 * monotonic[0], "{text}");
    assert!((2..=401).contains(&monotonic[0]), "{text}");
    // A slice is half a millisecond at least here, in which the wall clock stands still. On a machine
    // that is busy, slices are fewer, and each clock skips.
    assert!(
        (2..=81).contains(&wall[0]) && 2 * wall[0] < monotonic[0],
        "{text}"
    );
}

#[test]
fn the_clocks_of_0_3_are_the_same() {
    let _shared = shared();
    let host = TestHost::builder()
        .tenant(Tenant::new("a", "service3").limit("cpu_ms", 1000))
        .start();
    let text = host.get("a.test", "/clocks").expect(200).text();
    let told = numbers(&text);
    for clock in ["monotonic", "wall"] {
        assert_eq!(
            (told[clock][0] % 100_000, told[clock][1]),
            (0, 100_000),
            "{text}"
        );
    }
    assert_eq!(told["early"], [0], "{text}");
}

#[test]
fn no_timer_is_early() {
    let _shared = shared();
    let host = kitchen(&[]);
    for us in [1, 99, 100, 101, 999, 1_001, 2_345] {
        let path = format!("/naps?us={us}&n=20");
        assert_eq!(
            host.get("a.test", &path).expect(200).text(),
            "early 0\n",
            "{us}"
        );
    }
}

#[test]
fn a_profile_sets_the_granularity() {
    let _alone = alone();
    let dir = tempfile::tempdir().expect("a directory");
    for (clock_us, resolution) in [(0, 1), (2_000, 2_000_000)] {
        let profile = dir.path().join("clock.toml");
        let text = format!("extends = 'local'\nclock_us = {clock_us}\n");
        std::fs::write(&profile, text).expect("writing a profile");
        let host = TestHost::builder()
            .line("workers", &format!("profile = {:?}", profile))
            .tenant(Tenant::new("a", "kitchen").limit("cpu_ms", 1000))
            .start();
        let text = host.get("a.test", "/ticks?ms=8").expect(200).text();
        let told = numbers(&text);
        assert_eq!(told["resolution"], [resolution; 2], "{text}");
        assert_eq!(told["monotonic"][1] % resolution, 0, "{text}");
        let exact = told["monotonic"][0] > 1000;
        assert_eq!(exact, clock_us == 0, "{text}");
        // Exact or not, it stands still in a slice.
        assert!(told["wall"][0] < 100, "{text}");
    }
}
