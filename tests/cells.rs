//! Cells: tenants of different trust groups never share a process, and no process of one cell sees a
//! byte of another.
//!
//! ```text
//!             ┌──────── front ────────┐ peeks, passes the socket
//! client ────►│ accept   who is it?   ├──► worker 0   default: a, k, and hosts of nobody
//!             └───────────────────────┴──► worker 1   gold: b       (one core; with two: 0-1, 2-3)
//! ```

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Builder, Client, PATIENCE, Tenant, TestHost, cores, holds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep::sys::cgroup;
use skep::sys::support::Support;

/// A tenant that answers its environment's `NAME`.
fn named(name: &str) -> Tenant {
    Tenant::new(name, "tenantname").env("NAME", name)
}

/// `a` and `k` of the default cell, `b` of the cell `gold`, on one core.
fn builder() -> Builder {
    TestHost::builder()
        .tenant(named("a"))
        .tenant(Tenant::new("k", "kitchen").limit("wall_ms", 60_000))
        .tenant(named("b").cell("gold"))
}

/// Asks until it holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[track_caller]
fn send_signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("signalling");
}

fn request(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// The process that `who`'s pid file names.
#[track_caller]
fn pid_of(host: &TestHost, who: &str) -> u32 {
    host.pid_file(who).unwrap_or_else(|| panic!("no {who}.pid"))
}

/// The processes that hold the host's end of a connection, by their pid files.
fn holders(host: &TestHost, client: &Client, of: &[&str]) -> Vec<String> {
    of.iter()
        .filter(|who| holds(pid_of(host, who), client))
        .map(|who| (*who).to_owned())
        .collect()
}

#[test]
fn tenants_of_different_cells_are_served_by_different_processes() {
    let host = builder().start();
    let all = ["worker-0", "worker-1", "front", "broker", "supervisor"];
    let mut kept = BTreeMap::new();
    for (name, worker) in [("a", "worker-0"), ("b", "worker-1"), ("k", "worker-0")] {
        let mut client = host.connect();
        let path = if name == "k" { "/twice" } else { "/" };
        client.get(&format!("{name}.test"), path).expect(200);
        // The front closes its own copy a moment later.
        wait_until(
            &format!("{worker} alone has the connection to {name}"),
            || holders(&host, &client, &all) == [worker],
        );
        kept.insert(name, client);
    }

    // What happens to one cell's process is nothing to the other's.
    let gold = pid_of(&host, "worker-1");
    send_signal(gold, Signal::SIGKILL);
    let mut b = kept.remove("b").unwrap();
    wait_until("gold's connection ended", || {
        b.try_send(request("b.test")).is_err() || b.try_read_response().is_err()
    });
    let a = kept.get_mut("a").unwrap();
    assert_eq!(a.get("a.test", "/").expect(200).text(), "a");
    wait_until("gold has another process", || {
        host.pid_file("worker-1").is_some_and(|pid| pid != gold)
    });
    assert_eq!(host.get("b.test", "/").expect(200).text(), "b");
    assert_eq!(a.get("a.test", "/").expect(200).text(), "a");
}

/// Whether these bytes stand anywhere in the memory that a process may write and has touched.
fn has_in_memory(pid: u32, wanted: &[u8]) -> io::Result<bool> {
    const PAGE_BYTES: u64 = 4096;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let pagemap = fs::File::open(format!("/proc/{pid}/pagemap"))?;
    let memory = fs::File::open(format!("/proc/{pid}/mem"))?;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|it| it.split_once('-'));
        let page = |text| u64::from_str_radix(text, 16).expect("an address") / PAGE_BYTES;
        let (first, end) = range
            .map(|(start, end)| (page(start), page(end)))
            .expect("a range");
        // One entry of 8 bytes for each page; bit 63: it is there (proc_pid_pagemap(5)).
        let mut entries = vec![0; (end - first) as usize * 8];
        let read = pagemap.read_at(&mut entries, first * 8)?;
        let (entries, _) = entries[..read].as_chunks::<8>();
        let pages: Vec<bool> = entries
            .iter()
            .map(|entry| u64::from_ne_bytes(*entry) >> 63 == 1)
            .collect();
        let mut at = first;
        for run in pages.chunk_by(|left, right| left == right) {
            let mut bytes = vec![
                0;
                if run[0] {
                    run.len() * PAGE_BYTES as usize
                } else {
                    0
                }
            ];
            // It may be gone by now.
            let read = memory.read_at(&mut bytes, at * PAGE_BYTES).unwrap_or(0);
            if bytes[..read].windows(wanted.len()).any(|it| it == wanted) {
                return Ok(true);
            }
            at += run.len() as u64;
        }
    }
    Ok(false)
}

#[test]
fn no_process_knows_what_belongs_to_another_cell() {
    // In two pieces, so that this test's own file is not what is found.
    let secret = |name: &str| format!("{}-of-{name}-{}", "secret", std::process::id());
    let host = TestHost::builder()
        .tenant(named("a").env("TOKEN", &secret("a")).host("a-host.test"))
        .tenant(
            named("b")
                .env("TOKEN", &secret("b"))
                .host("b-host.test")
                .cell("gold"),
        )
        .start();
    for name in ["a", "b"] {
        host.get(&format!("{name}-host.test"), "/").expect(200);
    }
    let has = |who: &str, text: &str| has_in_memory(pid_of(&host, who), text.as_bytes());
    let expected = [
        ("worker-0", secret("a"), true),
        ("worker-1", secret("b"), true),
        ("worker-0", secret("b"), false),
        ("worker-1", secret("a"), false),
        ("worker-0", "b-host.test".to_owned(), false),
        ("worker-1", "a-host.test".to_owned(), false),
        ("front", secret("a"), false),
        ("front", secret("b"), false),
        ("front", "b-host.test".to_owned(), true),
    ];
    for (who, text, expected) in expected {
        match has(who, &text) {
            Ok(found) => assert_eq!(found, expected, "{text} in {who}"),
            Err(error) => {
                eprintln!("skipped: the memory of {who} cannot be read: {error}");
                return;
            }
        }
    }
}

#[test]
fn a_later_request_for_another_cell_is_misdirected() {
    let host = builder().start();
    // What the connection's first request was for, what its second one is for, and its answer.
    let cases = [
        ("a.test", "b.test", 421, "misdirected"),
        ("b.test", "a.test", 421, "misdirected"),
        ("b.test", "nobody.test", 421, "misdirected"),
        ("a.test", "nobody.test", 421, "misdirected"),
        ("a.test", "a.test", 200, ""),
    ];
    for (first, second, status, reason) in cases {
        let mut client = host.connect();
        client.get(first, "/").expect(200);
        let response = client.get(second, "/").expect(status);
        assert_eq!(response.reason(), reason, "{first}, then {second}");
        if status == 421 {
            client.expect_close();
        }
    }
    // Of nobody: any worker of the default cell says so.
    assert_eq!(
        host.get("nobody.test", "/").expect(404).reason(),
        "unknown_host"
    );
    // Behind another: the answers that came before it are whole.
    let mut client = host.connect();
    client.send(request("a.test").repeat(3) + &request("b.test"));
    for _ in 0..3 {
        assert_eq!(client.read_response().expect(200).text(), "a");
    }
    assert_eq!(client.read_response().expect(421).reason(), "misdirected");
    client.expect_close();
}

#[test]
fn heads_reach_their_cell_however_they_arrive() {
    let host = builder().line("http", "head_bytes_max = 65536").start();
    let filler = |bytes: usize| format!("x: {}\r\n", "x".repeat(bytes));
    let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}host: b.test\r\n\r\n");
    for bytes in [3_000, 4_050, 4_096, 5_000, 30_000, 60_000] {
        let mut client = host.connect();
        client.send(head(&filler(bytes)));
        assert_eq!(client.read_response().expect(200).text(), "b", "{bytes}");
    }
    // In two pieces, cut anywhere.
    let whole = head("");
    for cut in 1..whole.len() {
        let mut client = host.connect();
        client.send(&whole[..cut]);
        host.get("a.test", "/").expect(200);
        client.send(&whole[cut..]);
        assert_eq!(
            client.read_response().expect(200).text(),
            "b",
            "cut at {cut}"
        );
    }
    // Byte by byte.
    let mut client = host.connect();
    for byte in whole.bytes() {
        client.send([byte]);
    }
    assert_eq!(client.read_response().expect(200).text(), "b");
    // With a body, and a request behind it.
    let mut client = host.connect();
    client.send("POST / HTTP/1.1\r\nhost: b.test\r\ncontent-length: 10000\r\n\r\n");
    client.send("x".repeat(10_000));
    client.send(request("b.test"));
    for _ in 0..2 {
        assert_eq!(client.read_response().expect(200).text(), "b");
    }
}

#[test]
fn what_is_no_request_is_answered_as_without_a_front() {
    let host = builder().line("http", "head_bytes_max = 8192").start();
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n", "x".repeat(9_000));
    let cases = [
        (
            "GET  / HTTP/1.1\r\nhost: b.test\r\n\r\n",
            400,
            "malformed_request",
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (
            "GET / HTTP/1.1\r\nhost: b.test\r\nhost: a.test\r\n\r\n",
            400,
            "bad_host",
        ),
        (
            "GET / HTTP/2.0\r\nhost: b.test\r\n\r\n",
            505,
            "version_not_supported",
        ),
        (
            "\x16\x03\x01\x02\x00\x01\x00\x01\r\n",
            400,
            "malformed_request",
        ),
        (&long, 431, "head_too_large"),
    ];
    for (bytes, status, reason) in cases {
        let mut client = host.connect();
        client.send(bytes);
        let response = client.read_response().expect(status);
        assert_eq!(response.reason(), reason, "{bytes:?}");
        client.expect_close();
    }
}

#[test]
fn the_front_waits_for_a_head_no_longer_than_it_may() {
    let host = builder().line("http", "head_timeout_ms = 300").start();
    let before = Instant::now();
    let (mut silent, mut half, mut head) = (host.connect(), host.connect(), host.connect());
    half.send("GET / HTTP/1.1\r\nho");
    head.send("HEAD / HTTP/1.1\r\nho");
    let response = half.read_response().expect(408);
    assert_eq!(response.reason(), "head_timeout");
    half.expect_close();
    head.read_response_to_head().expect(408);
    head.expect_close();
    silent.expect_close();
    assert!(before.elapsed() >= Duration::from_millis(300));
    host.wait_for_log(|line| line["kind"] == "access" && line["reason"] == "head_timeout");
    // One that is through is not the front's any more.
    let mut kept = host.connect();
    kept.get("b.test", "/").expect(200);
    thread::sleep(Duration::from_millis(400)); // the timeout itself is what is tested
    assert_eq!(kept.get("b.test", "/").expect(200).text(), "b");
}

#[test]
fn clients_that_say_nothing_do_not_stop_others() {
    let host = builder().line("http", "head_timeout_ms = 60000").start();
    let mut idle: Vec<Client> = (0..200).map(|_| host.connect()).collect();
    for client in &mut idle[..100] {
        client.send("GET / HTTP/1.1\r\nhost: b.te");
    }
    for round in 0..50 {
        for name in ["a", "b"] {
            let response = host.get(&format!("{name}.test"), "/").expect(200);
            assert_eq!(response.text(), name, "round {round}");
        }
    }
    // None of them was lost.
    for client in &mut idle[..100] {
        client.send("st\r\n\r\n");
        assert_eq!(client.read_response().expect(200).text(), "b");
    }
    for client in &mut idle[100..] {
        assert_eq!(client.get("b.test", "/").expect(200).text(), "b");
    }
}

#[test]
fn a_cell_that_does_not_take_its_connections_stops_only_itself() {
    let host = builder().start();
    let gold = pid_of(&host, "worker-1");
    send_signal(gold, Signal::SIGSTOP);
    let mut waiting = Vec::new();
    let refused = loop {
        assert!(waiting.len() < 10_000, "the mailbox has no limit");
        let mut client = host.connect();
        client.send(request("b.test"));
        client
            .stream()
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        match client.try_read_response() {
            Ok(response) => break response,
            Err(_) => waiting.push(client),
        }
        if waiting.len().is_multiple_of(50) {
            assert_eq!(host.get("a.test", "/").expect(200).text(), "a");
        }
        // The answer comes after 100 ms of patience: look at those that have waited for it.
        if let Some(index) = waiting.len().checked_sub(20)
            && let Ok(response) = waiting[index].try_read_response()
        {
            waiting.remove(index);
            break response;
        }
    };
    let refused = refused.expect(503);
    assert_eq!(refused.reason(), "handover_failed");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(host.get("a.test", "/").expect(200).text(), "a");
    host.wait_for_log(|line| line["reason"] == "handover_failed");

    send_signal(gold, Signal::SIGCONT);
    // What was in the mailbox is served, and nobody is left without an answer.
    let mut served = 0;
    for client in &mut waiting {
        client.stream().set_read_timeout(Some(PATIENCE)).unwrap();
        match client.read_response().status {
            200 => served += 1,
            503 => {}
            other => panic!("{other}"),
        }
    }
    assert!(served > 0);
    assert_eq!(host.get("b.test", "/").expect(200).text(), "b");
}

#[test]
fn a_front_that_dies_is_replaced_and_its_queue_kept() {
    let host = builder().start();
    let mut kept = host.connect();
    kept.get("b.test", "/").expect(200);
    let mut waiting = host.connect();
    waiting.send("GET / HT");
    let before = pid_of(&host, "front");
    wait_until("the front has it", || holds(before, &waiting));
    send_signal(before, Signal::SIGKILL);
    // Connected while there may be no front: they wait in the listener's queue.
    let mut queued: Vec<Client> = (0..50).map(|_| host.connect()).collect();
    for (index, client) in queued.iter_mut().enumerate() {
        client.send(request(["a.test", "b.test"][index % 2]));
    }
    for (index, client) in queued.iter_mut().enumerate() {
        let response = client.read_response().expect(200);
        assert_eq!(response.text(), ["a", "b"][index % 2]);
    }
    // What it held is lost; what it had passed on is not.
    assert!(waiting.read_to_end().is_empty());
    assert_eq!(kept.get("b.test", "/").expect(200).text(), "b");
    let after = pid_of(&host, "front");
    assert_ne!(after, before);
    assert_eq!(host.front_pid(), Some(after));
    host.wait_for_stderr(|line| line.contains("front") && line.contains("died (SIGKILL)"));
}

#[test]
fn the_front_keeps_its_log_when_the_broker_is_replaced() {
    let host = builder().line("http", "head_timeout_ms = 100").start();
    let broker = pid_of(&host, "broker");
    send_signal(broker, Signal::SIGKILL);
    wait_until("another broker", || {
        host.pid_file("broker").is_some_and(|pid| pid != broker)
    });
    wait_until("a refusal of the front is logged", || {
        let mut client = host.connect();
        client.send("GET / HT");
        client.read_response().expect(408);
        let lines = host.log_lines();
        lines.iter().any(|line| line["reason"] == "head_timeout")
    });
}

#[test]
fn a_host_with_one_cell_has_no_front() {
    for config in [
        TestHost::builder().tenant(named("a")),
        TestHost::builder().tenant(named("a").cell("default")),
        TestHost::builder().cell("default", "").tenant(named("a")),
    ] {
        let host = config.start();
        assert_eq!(host.front_pid(), None);
        assert_eq!(host.worker_pids().len(), 1);
        let mut client = host.connect();
        client.get("a.test", "/").expect(200);
        // There is no other cell that could have it.
        assert_eq!(
            client.get("b.test", "/").expect(404).reason(),
            "unknown_host"
        );
    }
}

#[test]
fn cells_have_a_worker_on_every_core() {
    if cores().len() < 2 {
        eprintln!("skipped: two workers need two cores");
        return;
    }
    let host = TestHost::builder()
        .workers(2)
        .tenant(named("a").cores(2))
        .tenant(named("b").cores(2).cell("gold"))
        .tenant(named("c").on_workers(&[1]).cell("gold"))
        .tenant(named("d").on_workers(&[0]).cell("gold"))
        .start();
    assert_eq!(host.worker_pids().len(), 4);
    let all = ["worker-0", "worker-1", "worker-2", "worker-3"];
    let mut clients = Vec::new();
    let mut seen = BTreeMap::<_, Vec<String>>::new();
    for index in 0..20 {
        let name = ["a", "b"][index % 2];
        let mut client = host.connect();
        assert_eq!(
            client.get(&format!("{name}.test"), "/").expect(200).text(),
            name
        );
        let mut held = Vec::new();
        wait_until("one worker has it", || {
            held = holders(&host, &client, &all);
            held.len() == 1
        });
        seen.entry(name).or_default().extend(held);
        clients.push(client);
    }
    for (name, workers) in [("a", &all[..2]), ("b", &all[2..])] {
        let mut found = seen[name].clone();
        found.sort();
        found.dedup();
        assert_eq!(found, workers, "{name}: its workers take turns");
    }
    // Within a cell a connection moves as it does without a front.
    let mut client = host.connect();
    for (name, worker) in [("c", "worker-3"), ("d", "worker-2"), ("c", "worker-3")] {
        assert_eq!(
            client.get(&format!("{name}.test"), "/").expect(200).text(),
            name
        );
        wait_until(&format!("{worker} has it"), || {
            holders(&host, &client, &all) == [worker]
        });
    }
    assert_eq!(
        client.get("a.test", "/").expect(421).reason(),
        "misdirected"
    );
}

/// Clients that ask `a` and `b` without a pause, on new connections and on kept-alive ones, until
/// `work` is done. Every answer that is not the tenant's is returned.
fn under_load(host: &TestHost, work: impl FnOnce()) -> Vec<String> {
    let done = AtomicBool::new(false);
    let wrong = Mutex::new(Vec::new());
    let ask = |name: &str, is_kept: bool| {
        let mut connection: Option<Client> = None;
        while !done.load(Ordering::Relaxed) {
            let client = connection.get_or_insert_with(|| host.connect());
            let sent = client.try_send(request(&format!("{name}.test")));
            let answer = sent.and_then(|()| client.try_read_response());
            match &answer {
                Ok(response) if response.status == 200 && response.text() == name => {
                    if !is_kept || response.header("connection") == Some("close") {
                        connection = None;
                    }
                }
                _ => {
                    wrong
                        .lock()
                        .unwrap()
                        .push(format!("{name}, {is_kept}: {answer:?}"));
                    connection = None;
                }
            }
        }
    };
    thread::scope(|scope| {
        for name in ["a", "b"] {
            for is_kept in [false, true] {
                let ask = &ask;
                scope.spawn(move || ask(name, is_kept));
            }
        }
        // Whatever becomes of it, the clients end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    wrong.into_inner().unwrap()
}

#[test]
fn tenants_move_between_cells_without_a_failed_request() {
    let config = |a: &str, b: &str| {
        TestHost::builder()
            .tenant(named("a").cell(a))
            .tenant(named("b").cell(b))
    };
    let host = config("default", "default").start();
    // A new cell, which brings the front; a move into it; out of it again; two at once; no cells.
    let steps = [
        ("default", "gold", 2),
        ("gold", "gold", 2),
        ("default", "gold", 2),
        ("silver", "gold", 3),
        ("gold", "silver", 3),
        ("default", "default", 1),
        ("default", "default", 1),
    ];
    let wrong = under_load(&host, || {
        for (a, b, cells) in steps {
            let line = host.reload(&config(a, b));
            assert!(line.contains("reloaded: 0 added"), "{line}");
            // The workers of cells that are gone end once their tenants have left.
            wait_until(&format!("{cells} cells: {a}, {b}"), || {
                host.worker_pids().len() == cells && host.front_pid().is_some() == (cells > 1)
            });
        }
    });
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(!host.stderr_lines().iter().any(|line| line.contains("died")));
}

#[test]
fn a_tenant_that_has_moved_is_unknown_to_its_old_cell() {
    let config = |cell: &str| {
        TestHost::builder()
            .tenant(named("a"))
            .tenant(named("b").cell("gold"))
            .tenant(named("m").cell(cell))
    };
    let host = config("default").start();
    let mut kept = host.connect();
    kept.get("m.test", "/").expect(200);
    let mut other = host.connect();
    other.get("a.test", "/").expect(200);
    host.reload(&config("gold"));
    // The old worker serves it for a moment yet, and each answer ends its connection.
    let response = kept.get("m.test", "/");
    assert!(matches!(response.status, 200 | 421), "{response:?}");
    assert_eq!(response.header("connection"), Some("close"));
    let mut moved = host.connect();
    moved.get("m.test", "/").expect(200);
    wait_until("gold has the tenant", || {
        holders(&host, &moved, &["worker-0", "worker-1"]) == ["worker-1"]
    });
    wait_until("the old worker has forgotten it", || {
        let response = other.get("m.test", "/");
        if response.status == 200 {
            other = host.connect();
            other.get("a.test", "/").expect(200);
            return false;
        }
        assert_eq!(response.expect(421).reason(), "misdirected");
        true
    });
    // And back, before anybody has forgotten anything.
    host.reload(&config("default"));
    host.reload(&config("gold"));
    let mut client = host.connect();
    client.get("m.test", "/").expect(200);
    let response = client.get("m.test", "/").expect(200);
    assert_ne!(
        response.header("connection"),
        Some("close"),
        "it is not leaving"
    );
}

#[test]
fn a_drain_answers_what_was_sent_through_the_front() {
    for _ in 0..3 {
        let mut host = builder().start();
        let mut half = host.connect();
        half.send("GET / HTTP/1.1\r\nho");
        wait_until("the front has it", || holds(pid_of(&host, "front"), &half));
        let mut silent = host.connect();
        wait_until("the front has it, too", || {
            holds(pid_of(&host, "front"), &silent)
        });
        let mut sleeping = host.connect();
        sleeping.send("GET /sleep?ms=200 HTTP/1.1\r\nhost: k.test\r\n\r\n");
        host.get("a.test", "/").expect(200);
        let mut sent: Vec<(Client, &str)> = Vec::new();
        for index in 0..100 {
            let name = ["a", "b"][index % 2];
            let mut client = host.connect();
            client.send(request(&format!("{name}.test")));
            sent.push((client, name));
        }
        host.signal(Signal::SIGTERM);
        silent.expect_close();
        for (client, name) in &mut sent {
            assert_eq!(client.read_response().expect(200).text(), *name);
        }
        half.send("st: b.test\r\n\r\n");
        let response = half.read_response().expect(200);
        assert_eq!(response.header("connection"), Some("close"));
        sleeping.read_response().expect(200);
        assert_eq!(host.wait_for_exit().code(), Some(0));
        let lines = host.stderr_lines();
        assert!(!lines.iter().any(|line| line.contains("died")), "{lines:?}");
    }
}

#[test]
fn limits_that_cannot_be_kept_are_said_once() {
    let host = builder()
        .cell("default", "")
        .cell("gold", "memory_max_mib = 512\ncpu_max = 0.5")
        .start();
    let warnings = |host: &TestHost| {
        let lines = host.stderr_lines();
        let warnings = lines.into_iter().filter(|line| line.contains("WARNING"));
        warnings.collect::<Vec<_>>()
    };
    match cgroup::status() {
        Support::Impossible { remedy, .. } => {
            let line = host.wait_for_stderr(|line| line.contains("WARNING"));
            for part in ["gold", remedy.as_str()] {
                assert!(line.contains(part), "{line} has no {part}");
            }
            assert_eq!(warnings(&host).len(), 1);
        }
        _ => assert_eq!(warnings(&host), [""; 0]),
    }
    assert_eq!(host.get("b.test", "/").expect(200).text(), "b");
    // Cells without limits ask for nothing.
    assert_eq!(warnings(&builder().start()), [""; 0]);
}

#[test]
fn a_reload_with_too_many_cells_changes_nothing() {
    let host = builder().start();
    let many = (0..20).fold(builder(), |config, index| {
        config.tenant(named(&format!("t{index}")).cell(&format!("cell-{index}")))
    });
    let line = host.reload(&many);
    assert!(line.contains("refused"), "{line}");
    host.wait_for_stderr(|line| line.contains("22 cells are too many; at most 16"));
    assert_eq!(host.get("b.test", "/").expect(200).text(), "b");
    assert_eq!(host.worker_pids().len(), 2);
}
