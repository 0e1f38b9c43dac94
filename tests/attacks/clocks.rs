//! Watching others through the clock: the finer it is, the more of its neighbours a guest sees in the
//! caches that they share.

use std::collections::HashMap;

use crate::arena::{self, Stage};
use crate::case::{Case, Program, Threat, run};

pub const THREAT: Threat = Threat {
    name: "clocks",
    cases: CASES,
    lines: &[],
};

/// The default step of both clocks.
const STEP_NS: u64 = 100_000;

const CASES: &[Case] = &[
    probe(
        "stopwatch",
        "reads both clocks for 40 ms as often as it can",
        stopwatch,
        "200; many readings of each time, and none between two steps of 100 µs",
    ),
    probe(
        "wall-stopwatch",
        "looks whether the wall clock tells what the other one hides",
        wall_stopwatch,
        "200; it stands still while the guest computes",
    ),
];

const fn probe(
    name: &'static str,
    what: &'static str,
    act: fn(&Stage<'_>),
    answer: &'static str,
) -> Case {
    Case {
        program: Program::Guest("kitchen"),
        limits: &[("cpu_ms", 1_000)],
        ..run(name, what, act, answer)
    }
}

#[test]
fn clocks() {
    arena::run(&THREAT);
}

/// What the guest saw: for each clock how often it went on, and what was left over by a step.
fn readings(stage: &Stage<'_>) -> HashMap<String, Vec<u64>> {
    let answer = stage.host.get(&stage.authority(), "/ticks?ms=40");
    let text = answer.expect(200).text();
    text.lines()
        .map(|line| {
            let (name, numbers) = line.split_once(' ').expect("a name and numbers");
            let numbers = numbers.split(' ').map(|it| it.parse().expect("a number"));
            (name.to_owned(), numbers.collect())
        })
        .collect()
}

fn stopwatch(stage: &Stage<'_>) {
    let told = readings(stage);
    assert_eq!(told["resolution"], [STEP_NS, STEP_NS], "{told:?}");
    for clock in ["monotonic", "wall"] {
        assert_eq!(told[clock][1] % STEP_NS, 0, "{told:?}");
    }
    assert!(told["reads"][0] > 10 * told["monotonic"][0], "{told:?}");
}

fn wall_stopwatch(stage: &Stage<'_>) {
    let told = readings(stage);
    // A slice is at least five steps here.
    assert!(2 * told["wall"][0] < told["monotonic"][0], "{told:?}");
}
