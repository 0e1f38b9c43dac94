//! Programs of every kind that is to be served: by language, and by version of WASI; and files that
//! are none.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{PATIENCE, Tenant, TestHost};

/// Name of the guest, a path that says hello, and what it says.
const HELLOS: [(&str, &str, &str); 7] = [
    ("hello", "/", "Hello from skep\n"),
    ("kitchen", "/twice", "1\n"),
    ("tenantname", "/", "tenantname\n"),
    ("c", "/", "Hello from skep\n"),
    ("js", "/", "Hello from skep\n"),
    ("python", "/", "Hello from skep\n"),
    ("service3", "/", "Hello from skep\n"),
];

/// A tenant for a guest, named like it; interpreters take their time.
fn tenant(guest: &str) -> Tenant {
    Tenant::new(guest, guest)
        .env("NAME", guest)
        .limit("cpu_ms", 1000)
}

#[test]
fn every_kind_says_hello() {
    let host = HELLOS
        .iter()
        .fold(TestHost::builder(), |host, (guest, ..)| {
            host.tenant(tenant(guest))
        })
        .start();
    let mut client = host.connect();
    // Two rounds: the second finds what the first left behind, if anything.
    for _ in 0..2 {
        for (guest, path, text) in HELLOS {
            let response = client.get(&format!("{guest}.test"), path).expect(200);
            assert_eq!(response.text().trim_end(), text.trim_end(), "{guest}");
            let length = response.body.len().to_string();
            assert_eq!(response.header("content-length"), Some(&*length), "{guest}");
        }
    }
    for guest in ["kitchen", "js", "python", "service3"] {
        let response = client.get(&format!("{guest}.test"), "/none").expect(404);
        assert_eq!(
            response.reason(),
            "",
            "{guest}: its own answer, not the host's"
        );
    }
}

#[test]
fn every_kind_streams_a_body_back() {
    let guests = [
        ("echo", "/"),
        ("js", "/echo"),
        ("python", "/echo"),
        ("service3", "/echo"),
    ];
    let host = guests
        .iter()
        .fold(TestHost::builder(), |host, (guest, _)| {
            host.tenant(tenant(guest))
        })
        .start();
    for (guest, path) in guests {
        let mut client = host.connect();
        for size in [0, 1, 1000, 65_537, 300_000] {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut sender = client.stream().try_clone().expect("a second handle");
            let sent = body.clone();
            let sender = std::thread::spawn(move || {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: {guest}.test\r\nContent-Type: x/y\r\n\
                     Content-Length: {size}\r\n\r\n"
                );
                sender.write_all(&[head.as_bytes(), &sent].concat())
            });
            let response = client.read_response().expect(200);
            assert!(
                response.body == body,
                "{guest}: {size} became {}",
                response.body.len()
            );
            assert_eq!(
                response.header("content-type"),
                Some("x/y"),
                "{guest}: {size}"
            );
            sender.join().expect("the sender").expect("sent");
        }
    }
}

#[test]
fn a_service_of_wasi_0_3_has_what_one_of_0_2_has() {
    let service = Tenant::new("a", "service3")
        .limit("cpu_ms", 50)
        .limit("wall_ms", 1500)
        .limit("concurrency", 4);
    let host = TestHost::builder().tenant(service).start();
    let workers = host.worker_pids();
    let mut client = host.connect();
    for round in 0..3 {
        assert_eq!(
            client.get("a.test", "/").expect(200).text(),
            "Hello from skep\n"
        );
        // Waiting costs no CPU.
        assert_eq!(
            client.get("a.test", "/sleep?ms=200").expect(200).text(),
            "slept 200 ms\n"
        );
        let line = host.wait_for_access("/sleep?ms=200");
        assert!(line["cpu_us"].as_u64() < Some(20_000), "{line}");

        let response = client.get("a.test", "/trailers").expect(200);
        assert_eq!(response.text(), "trailers follow\n");
        assert_eq!(
            response.trailers,
            [("x-trailer".to_owned(), "the end".to_owned())]
        );

        assert_eq!(
            client.get("a.test", "/trap").expect(500).reason(),
            "trapped",
            "{round}"
        );
        let path = format!("/spin?{round}");
        assert_eq!(
            client.get("a.test", &path).expect(504).reason(),
            "cpu_exhausted"
        );
        let line = host.wait_for_access(&path);
        // The bound is for the ticks that come late on a busy machine: limits.rs has the narrow one.
        let used_us = line["cpu_us"].as_u64().expect("a number");
        assert!((50_000..=100_000).contains(&used_us), "{line}");
        let late = client.get("a.test", "/sleep?ms=9000").expect(504);
        assert_eq!(late.reason(), "wall_exhausted");
    }
    assert_eq!(host.worker_pids(), workers, "no worker has died of it");
}

#[test]
fn trailers_and_chunks_pass_through_a_service_of_wasi_0_3() {
    let host = TestHost::builder().tenant(tenant("service3")).start();
    let mut client = host.connect();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: service3.test\r\nTransfer-Encoding: chunked\r\n\
         Expect: 100-continue\r\nTrailer: x-end\r\n\r\n",
    );
    client.read_response().expect(100);
    client.send("3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-End: yes\r\n\r\n");
    let response = client.read_response().expect(200);
    assert_eq!(response.text(), "abcdefg");
    assert_eq!(response.trailers, [("x-end".to_owned(), "yes".to_owned())]);
    assert_eq!(
        client.get("service3.test", "/").expect(200).text(),
        "Hello from skep\n"
    );
}

#[test]
fn a_client_that_is_gone_frees_its_place_in_a_service_of_wasi_0_3() {
    let only_one = Tenant::new("a", "service3")
        .limit("concurrency", 1)
        .limit("queue", 0);
    let host = TestHost::builder()
        .tenant(only_one.limit("wall_ms", 600_000))
        .start();
    let until = |reason: &str| {
        let deadline = Instant::now() + PATIENCE;
        while host.get("a.test", "/").reason() != reason {
            assert!(Instant::now() < deadline, "never {reason:?}");
        }
    };
    let mut client = host.connect();
    // Its program waits for the rest of the body.
    client.send("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nabc");
    until("tenant_busy");
    drop(client);
    until("");
}

/// A computing service does not hold up the others on its core.
#[test]
fn a_service_of_wasi_0_3_that_computes_gives_way() {
    let spinner = Tenant::new("spin", "service3")
        .limit("cpu_ms", 2000)
        .limit("wall_ms", 60_000);
    let host = TestHost::builder()
        .tenant(spinner)
        .tenant(tenant("hello"))
        .start();
    let mut spinning = host.connect();
    spinning.send("GET /spin HTTP/1.1\r\nHost: spin.test\r\n\r\n");
    let mut client = host.connect();
    let mut took: Vec<_> = (0..100)
        .map(|_| {
            let started = Instant::now();
            client.get("hello.test", "/").expect(200);
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    // Behind the spinner they would have taken 2 s.
    assert!(took[50] < Duration::from_millis(20), "{:?}", took[50]);
    assert_eq!(
        spinning.read_response().expect(504).reason(),
        "cpu_exhausted"
    );
}

/// A file with these bytes.
fn file(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).expect("writing a component");
    path
}

/// They look like components, so the host starts; a tenant that cannot run is its own trouble.
#[test]
fn what_cannot_run_is_rejected_and_the_reason_is_told() {
    let wat = |text: &str| wat::parse_str(text).expect("valid text");
    let dir = tempfile::tempdir().expect("a directory");
    let preamble = wat("(component)");
    let kitchen = std::fs::read(common::guest("kitchen")).expect("the kitchen");
    let cases = [
        (
            "no-handler",
            preamble.clone(),
            "exports none of wasi:http/incoming-handler@0.2",
        ),
        (
            "garbage",
            [&preamble[..], b"garbage"].concat(),
            "not a WebAssembly component",
        ),
        (
            "cut",
            kitchen[..kitchen.len() / 2].to_vec(),
            "not a WebAssembly component",
        ),
        (
            "not-a-handler",
            wat(
                r#"(component (instance $i) (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#,
            ),
            "handle",
        ),
        (
            "unknown-import",
            wat(r#"(component
                    (import "evil:host/shell@1.0.0" (instance $i (export "run" (func))))
                    (instance $h)
                    (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#),
            "evil:host/shell",
        ),
    ];
    let host = cases
        .iter()
        .fold(
            TestHost::builder().tenant(tenant("hello")),
            |host, (name, bytes, _)| {
                host.tenant(Tenant::with_component(name, file(&dir, name, bytes)))
            },
        )
        .start();
    for (name, _, why) in &cases {
        let response = host.get(&format!("{name}.test"), "/").expect(502);
        assert_eq!(response.reason(), "component_rejected", "{name}");
        assert_eq!(response.header("x-skep-fault"), Some("tenant"), "{name}");
        let told = host.wait_for_stderr(|line| line.contains(&format!("tenant {name} ")));
        assert!(told.contains(why), "{name}: {told}");
    }
    host.get("hello.test", "/").expect(200);
}

/// What is no component at all is a mistake in the configuration.
#[test]
fn what_is_no_component_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let module = wat::parse_str("(module)").expect("valid text");
    for (bytes, why) in [
        (&module[..], "a core module, not a component"),
        (b"(component)", "text form"),
        (b"#!/bin/sh\n", "component"),
        (b"", "component"),
    ] {
        let tenant = Tenant::with_component("a", file(&dir, "a.wasm", bytes));
        let (status, said) = TestHost::builder().tenant(tenant).start_refused();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(
            said.contains("tenant.a.component: ") && said.contains(why),
            "{said}"
        );
    }
}
