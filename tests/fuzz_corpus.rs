//! The corpora of the fuzz targets, replayed: every file as it is, and with every byte changed in
//! some ways. What fuzzing once found stays found without `cargo fuzz`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "../fuzz/targets/answer.rs"]
mod answer;
#[path = "../fuzz/targets/artifact.rs"]
mod artifact;
#[path = "../fuzz/targets/component.rs"]
mod component;
#[path = "../fuzz/targets/config.rs"]
mod config;
#[path = "../fuzz/targets/http.rs"]
mod http;
#[path = "../fuzz/targets/messages.rs"]
mod messages;
#[path = "../fuzz/targets/peek.rs"]
mod peek;
#[path = "../fuzz/targets/rule.rs"]
mod rule;

use std::fs;
use std::path::Path;

/// Files of one corpus at most: a seed is there for what it shows, and not for coverage's last edge.
const FILES_MAX: usize = 49;

/// Inputs made from one file at most.
const VARIANTS_MAX: usize = 400;

fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!((1..=FILES_MAX).contains(&files.len()), "{}", files.len());
    for file in files {
        let data = fs::read(&file).unwrap();
        println!("{}", file.display());
        run(&data);
        let step = data.len().div_ceil(VARIANTS_MAX / 4).max(1);
        for at in (0..data.len()).step_by(step) {
            run(&data[..at]);
            let mut changed = data.clone();
            changed[at] ^= 1;
            run(&changed);
            changed[at] = [b'\r', b'\n', b' ', 0, 0xff, b'"'][at % 6];
            run(&changed);
            changed.remove(at);
            run(&changed);
        }
    }
}

#[test]
fn http_connection() {
    replay("http", http::run);
    replay("peek", http::run);
}

#[test]
fn origins_answer() {
    replay("answer", answer::run);
}

#[test]
fn egress_rules() {
    replay("rule", rule::run);
}

#[test]
fn peeked_head() {
    replay("peek", peek::run);
    replay("http", peek::run);
}

#[test]
fn configuration() {
    replay("config", config::run);
}

#[test]
fn control_messages() {
    replay("messages", messages::run);
}

#[test]
fn artifact_tags() {
    replay("artifact", artifact::run);
}

#[test]
fn component_files() {
    replay("component", component::run);
}
