//! Holding every place there is: sleepers, guests that stay after their answer, and crowds.

use std::thread;
use std::time::{Duration, Instant};

use crate::arena::{self, Stage};
use crate::case::{Case, Limits, Threat, run};
use crate::common::Response;

pub const THREAT: Threat = Threat {
    name: "pool",
    cases: CASES,
    lines: &[],
};

const QUEUE: Limits = &[
    ("concurrency", 4),
    ("queue", 4),
    ("queue_ms", 200),
    ("wall_ms", 20_000),
];
const NO_QUEUE: Limits = &[("concurrency", 4), ("queue", 0), ("wall_ms", 1_000)];

const CASES: &[Case] = &[
    run(
        "crowd",
        "ten times its concurrency of sleepers at once",
        crowd,
        "200, 503 queue_timeout and 503 tenant_busy",
    )
    .with(QUEUE),
    run(
        "detached",
        "guests that sleep on after their answer",
        detached,
        "200, then 503 tenant_busy until their wall time is over",
    )
    .with(NO_QUEUE),
    run(
        "sleepers",
        "64 sleepers for as long as they may",
        sleepers,
        "504 wall_exhausted, each of them",
    )
    .with(&[("wall_ms", 500)]),
    run(
        "spinners",
        "32 computing guests at once",
        spinners,
        "504 cpu_exhausted, each of them",
    )
    .with(&[("cpu_ms", 20), ("wall_ms", 60_000)]),
    run(
        "growers",
        "16 guests that take all the memory they may",
        growers,
        "200, each of them",
    )
    .with(&[("memory_mib", 64), ("cpu_ms", 5_000), ("wall_ms", 60_000)]),
    run(
        "cold",
        "tenants that are asked for the first time",
        cold,
        "404 unknown_host",
    ),
];

#[test]
fn pool() {
    arena::run(&THREAT);
}

/// Requests at once, each on a connection of its own.
fn at_once(stage: &Stage<'_>, count: usize, path: &str) -> Vec<Response> {
    thread::scope(|scope| {
        let one = || stage.host.get(&stage.authority(), path);
        let all: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        all.into_iter()
            .map(|one| one.join().expect("a response"))
            .collect()
    })
}

fn crowd(stage: &Stage<'_>) {
    let responses = at_once(stage, 40, "/sleep?ms=400");
    for response in &responses {
        stage.check(response, "200 or 503 queue_timeout or 503 tenant_busy");
    }
    let count = |reason: &str| responses.iter().filter(|it| it.reason() == reason).count();
    // Two crowds share the four places.
    assert!(
        count("") <= 4 && count("queue_timeout") <= 4,
        "{responses:?}"
    );
    assert!(count("tenant_busy") >= 32, "{responses:?}");
}

fn detached(stage: &Stage<'_>) {
    let started = Instant::now();
    let mut busy = 0;
    // Longer than a wall time: the places come back.
    while started.elapsed() < Duration::from_millis(1_500)
        && !(busy > 0 && stage.watch.is_satisfied())
    {
        let response = stage.host.get(&stage.authority(), "/hold?ms=60000");
        stage.check(&response, "200 or 503 tenant_busy");
        busy += usize::from(response.reason() == "tenant_busy");
    }
    assert!(busy > 0, "four places");
    stage.wait_until("a place comes back", || {
        stage.host.get(&stage.authority(), "/").status == 200
    });
}

fn each_is(stage: &Stage<'_>, count: usize, path: &str, answer: &str) {
    for response in at_once(stage, count, path) {
        stage.check(&response, answer);
    }
}

fn sleepers(stage: &Stage<'_>) {
    each_is(stage, 32, "/sleep?ms=60000", "504 wall_exhausted");
}

fn spinners(stage: &Stage<'_>) {
    each_is(stage, 16, "/spin", "504 cpu_exhausted");
}

fn growers(stage: &Stage<'_>) {
    each_is(stage, 8, "/grow-all", "200");
}

fn cold(stage: &Stage<'_>) {
    for number in 0..50 {
        let response = stage.host.get(&format!("nobody-{number}.test"), "/");
        stage.check(&response, "404 unknown_host");
    }
}
