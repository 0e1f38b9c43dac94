//! Hostile native code inside a worker that is locked down: every escape is refused, by the layer that
//! is there for it. Run with `--features red-team`; the attempts are in `src/sys/red_team.rs`.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::collections::BTreeMap;

use common::{Tenant, TestHost};

/// Attempt, the layer that refuses it, and how that layer says so. The list is the claim: an attempt
/// that is not in it fails the test, and so does one that is missing.
const REFUSED: &[(&str, &str, &str)] = &[
    // Through the filter, to the layers beneath.
    ("openat", "empty root", "ENOENT"),
    ("openat /proc/self/mem", "empty root", "ENOENT"),
    ("openat /proc/1/environ", "empty root", "ENOENT"),
    ("openat /fd/0", "Landlock", "EACCES"),
];

/// What is refused before the worker has its own filter; the supervisor's is inherited.
const BENEATH: &[(&str, &str, &str)] = &[
    ("open a file", "empty root", "ENOENT"),
    ("open a descriptor again", "Landlock", "EACCES"),
    ("open a descriptor to write", "Landlock", "EACCES"),
    ("create a file", "read-only root", "EROFS"),
    ("open own memory", "empty root", "ENOENT"),
    ("execute", "empty root", "ENOENT"),
    // The supervisor's filter lets it pass: another of its children connects.
    ("connect out", "Landlock", "EACCES"),
    ("connect to the metadata address", "Landlock", "EACCES"),
    (
        "connect to an abstract socket",
        "the supervisor's filter",
        "EPERM",
    ),
    ("trace a process", "the supervisor's filter", "EPERM"),
    ("signal a process", "PID namespace", "ESRCH"),
    ("signal everybody", "PID namespace", "ESRCH"),
    ("read a process", "the supervisor's filter", "EPERM"),
    ("mount", "Landlock", "EPERM"),
    ("change the root", "the supervisor's filter", "EPERM"),
    ("become root", "the supervisor's filter", "EPERM"),
    ("load a BPF program", "the supervisor's filter", "EPERM"),
    ("set the host's name", "the supervisor's filter", "EPERM"),
    ("raise a limit", "capabilities", "EPERM"),
    ("a new ring", "ring restrictions", "EACCES"),
];

/// How many attempts of each kind there are at least.
const CALLS_MIN: usize = 60;
const OPERATIONS_MIN: usize = 20;

#[test]
fn everything_is_refused_and_the_worker_serves_on() {
    let host = TestHost::builder()
        .tenant(Tenant::new("hello", "hello"))
        .start();
    host.wait_for_stderr(|line| line.ends_with("red-team has tried everything"));
    host.get("hello.test", "/").expect(200);
    let said = results(&host.stderr_lines());

    for (name, layer, errno) in BENEATH {
        let name = format!("beneath: {name}");
        let answer = said.get(name.as_str()).map(String::as_str);
        assert_eq!(answer, Some(*errno), "{name} is {layer}'s to refuse");
    }
    let beneath = said.keys().filter(|name| name.starts_with("beneath: "));
    assert_eq!(beneath.count(), BENEATH.len(), "{said:#?}");

    let (mut calls, mut operations) = (0, 0);
    for (name, answer) in &said {
        if name.starts_with("beneath: ") {
            continue;
        }
        if name.starts_with("ring ") {
            operations += 1;
            assert_eq!(answer, "EACCES", "{name} is the ring's to refuse");
            continue;
        }
        calls += 1;
        let known = REFUSED.iter().find(|(known, ..)| known == name);
        let (layer, errno) = known.map_or(("seccomp", "EPERM"), |(_, layer, errno)| (layer, errno));
        assert_eq!(answer, errno, "{name} is {layer}'s to refuse");
    }
    assert!(calls >= CALLS_MIN, "{calls} system calls were tried");
    assert!(operations >= OPERATIONS_MIN, "{operations} ring operations");
}

/// What each attempt was answered, by its name.
fn results(lines: &[String]) -> BTreeMap<String, String> {
    let lines = lines
        .iter()
        .filter_map(|line| line.strip_prefix("skep: red-team "));
    let results = lines.filter_map(|line| line.rsplit_once(": "));
    results
        .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
        .collect()
}
