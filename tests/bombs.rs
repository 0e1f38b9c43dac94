//! Components that are made to break a compiler, each beside a tenant that is served and one that
//! is deployed meanwhile.
//!
//! ```text
//! tests/bombs/corpus.rs   the bombs, made by code
//! tests/bombs/binary.rs   what they are made with
//! ```

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "bombs/binary.rs"]
mod binary;
mod common;
#[path = "bombs/corpus.rs"]
mod corpus;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use binary::{outer, section};
use common::{PATIENCE, Tenant, TestHost, guest};
use corpus::{BOMBS, End};

/// Longest wait for a bomb's end: two minutes of the slow lane, after what is in it, and room.
const FUSE: Duration = Duration::from_secs(300);

fn tenant(dir: &Path, name: &str, bytes: &[u8]) -> Tenant {
    let path = dir.join(name).with_extension("wasm");
    fs::write(&path, bytes).expect("writing a component");
    Tenant::with_component(name, path)
}

/// A program that was never compiled before.
fn newcomer(dir: &Path, name: &str) -> Tenant {
    let mut bytes = fs::read(guest("hello")).unwrap();
    let content = binary::sized(name.as_bytes());
    bytes.extend(section(outer::CUSTOM, &content));
    tenant(dir, name, &bytes)
}

fn complaint(host: &TestHost, name: &str) -> Option<String> {
    let start = format!("skep: tenant {name} has no artifact: ");
    let lines = host.stderr_lines().into_iter();
    lines
        .filter_map(|line| line.strip_prefix(&start).map(str::to_owned))
        .next()
}

/// Waits for what becomes of a bomb; the good tenant is served all the while. `None`: it was
/// compiled, and a worker answers for it.
fn end_of(host: &TestHost, name: &str) -> Option<String> {
    let started = Instant::now();
    loop {
        if let Some(reason) = complaint(host, name) {
            let refused = host.get(&format!("{name}.test"), "/").expect(502);
            assert_eq!(refused.reason(), "component_rejected", "{name}");
            assert_eq!(refused.header("x-skep-fault"), Some("tenant"), "{name}");
            return Some(reason);
        }
        let mut client = host.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n"));
        // It answers 503 for as long as the bomb is being compiled.
        let good = host.get("good.test", "/").expect(200);
        assert_eq!(good.text(), "Hello from skep\n");
        match client.read_response().reason() {
            "compiling" => {}
            // The supervisor's line comes a moment after the worker knows. Where none comes, it was
            // compiled, and the worker found that it cannot be run.
            "component_rejected" => {
                let known = Instant::now();
                while complaint(host, name).is_none() {
                    if known.elapsed() > Duration::from_secs(2) {
                        return None;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            _ => return None,
        }
        assert!(started.elapsed() < FUSE, "no end of {name}");
    }
}

#[test]
fn bombs_that_break_a_rule_are_refused() {
    drop_bombs(|end| matches!(end, End::Refused(_)));
}

#[test]
fn bombs_that_are_only_large_are_compiled() {
    drop_bombs(|end| matches!(end, End::Compiled));
}

#[test]
fn bombs_end_within_their_limits() {
    drop_bombs(|end| matches!(end, End::Limited));
}

/// One after the other; beside each, a tenant is served and another one deployed.
fn drop_bombs(kind: fn(&End) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let base = || {
        TestHost::builder()
            .private_artifacts()
            .tenant(Tenant::new("good", "hello"))
    };
    let host = base().start();
    let workers = host.worker_pids();
    for (name, make, end) in BOMBS.iter().filter(|(.., end)| kind(end)) {
        let started = Instant::now();
        let bomb = tenant(dir.path(), name, &make());
        let bytes = fs::metadata(dir.path().join(name).with_extension("wasm"))
            .unwrap()
            .len();
        host.reload(&base().tenant(bomb.clone()));
        let deployed = Instant::now();
        let next = format!("next-{name}");
        host.reload(&base().tenant(bomb).tenant(newcomer(dir.path(), &next)));
        while host.get(&format!("{next}.test"), "/").status != 200 {
            assert!(deployed.elapsed() < PATIENCE, "{next} waits for {name}");
        }
        let waited = deployed.elapsed();
        let reason = end_of(&host, name);
        println!(
            "{name}: {bytes} bytes, made in {:?}, next after {waited:?}, end after {:?}: {reason:?}",
            deployed - started,
            deployed.elapsed()
        );
        match end {
            End::Refused(wanted) => {
                let reason = reason.expect("it is refused");
                assert!(reason.contains(wanted), "{name}: {reason}");
            }
            End::Compiled => assert_eq!(reason, None, "{name}"),
            End::Limited => {}
        }
        assert_eq!(host.worker_pids(), workers, "{name}");
        fs::remove_file(dir.path().join(name).with_extension("wasm")).unwrap();
    }
    assert!(host.compile_job_pids().is_empty());
}

/// A program cut short anywhere is none.
#[test]
fn what_is_cut_short_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(guest("hello")).unwrap();
    let cuts: Vec<usize> = (0..30).map(|n| 8 + n * (whole.len() - 9) / 29).collect();
    let builder = TestHost::builder().private_artifacts().cold();
    let builder = cuts.iter().fold(builder, |builder, cut| {
        builder.tenant(tenant(dir.path(), &format!("cut-{cut}"), &whole[..*cut]))
    });
    let host = builder.tenant(Tenant::new("good", "hello")).start();
    for cut in cuts {
        let name = format!("cut-{cut}");
        let started = Instant::now();
        while complaint(&host, &name).is_none() {
            assert!(started.elapsed() < PATIENCE, "{name}");
            thread::sleep(Duration::from_millis(1));
        }
        let reason = complaint(&host, &name).unwrap();
        // Between two sections it is a component still, with less in it.
        let known = ["not a WebAssembly component: ", "exports none of"];
        assert!(
            known.iter().any(|known| reason.contains(known)),
            "{name}: {reason}"
        );
    }
    host.get("good.test", "/").expect(200);
}

/// Somebody who deploys a slow component again and again holds up the others for the time of the
/// quick lane at most, and then waits behind them.
#[test]
fn slow_small_components_of_one_tenant_do_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let base = || {
        TestHost::builder()
            .private_artifacts()
            .tenant(Tenant::new("good", "hello"))
    };
    let host = base().start();
    let slow = BOMBS
        .iter()
        .find(|(name, ..)| *name == "huge-locals")
        .unwrap()
        .1();
    let mut waits = Vec::new();
    for round in 0..3 {
        // Another file each time, so that nothing is known of it.
        let custom = section(outer::CUSTOM, &binary::sized(format!("{round}").as_bytes()));
        let bomb = tenant(dir.path(), "slow", &[&slow[..], &custom].concat());
        host.reload(&base().tenant(bomb.clone()));
        let name = format!("next-{round}");
        let deployed = Instant::now();
        host.reload(&base().tenant(bomb).tenant(newcomer(dir.path(), &name)));
        while host.get(&format!("{name}.test"), "/").status != 200 {
            assert!(deployed.elapsed() < PATIENCE, "{name}");
        }
        waits.push(deployed.elapsed());
    }
    println!("newcomers waited {waits:?}");
    assert!(complaint(&host, "slow").is_none_or(|reason| !reason.contains('\n')));
}
