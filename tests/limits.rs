//! Every limit of a tenant, at the limit and above it; and what a guest is not given at all.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "limits/admission.rs"]
mod admission;
#[path = "limits/clocks.rs"]
mod clocks;
mod common;
#[path = "limits/cpu.rs"]
mod cpu;
#[path = "limits/exact.rs"]
mod exact;
#[path = "limits/fairness.rs"]
mod fairness;
#[path = "limits/fuel.rs"]
mod fuel;
#[path = "limits/isolation.rs"]
mod isolation;
#[path = "limits/places.rs"]
mod places;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use common::{Response, Tenant, TestHost};
use serde_json::Value;

/// Tests that measure time hold this alone; the others share what the machine has.
static MACHINE: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    // A test that failed holding it has changed nothing.
    MACHINE
        .read()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE
        .write()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The kitchen with some limits, as `a.test`.
fn kitchen(limits: &[(&str, u64)]) -> TestHost {
    let tenant = Tenant::new("a", "kitchen");
    let tenant = limits
        .iter()
        .fold(tenant, |tenant, (key, value)| tenant.limit(key, *value));
    TestHost::builder().tenant(tenant).start()
}

/// GET of a path, with its access line.
#[track_caller]
fn get(host: &TestHost, path: &str) -> (Response, Value) {
    let mark = host.log_mark();
    let response = host.get("a.test", path);
    let line = host.wait_for_log_after(mark, |line| {
        line["kind"] == "access" && line["path"] == path
    });
    (response, line)
}

/// Fails unless the response is a tenant's fault with this status and reason, and logged so.
#[track_caller]
fn check_fault(response: &Response, line: &Value, status: u16, reason: &str) {
    assert_eq!(
        (response.status, response.reason()),
        (status, reason),
        "{line}"
    );
    assert_eq!(response.header("x-skep-fault"), Some("tenant"), "{reason}");
    assert_eq!(
        (&line["status"], &line["reason"]),
        (&status.into(), &reason.into())
    );
    assert_eq!(line["fault"], "tenant", "{line}");
    let retry = matches!(status, 503 | 429).then_some("1");
    assert_eq!(response.header("retry-after"), retry, "{reason}");
}

#[test]
fn a_guest_that_breaks_is_answered_for_and_harms_nobody() {
    let _shared = shared();
    let host = kitchen(&[("request_body_bytes", 100)]);
    let workers = host.worker_pids();
    let cases = [
        ("/trap", 500, "trapped"),
        ("/panic", 500, "trapped"),
        ("/recurse", 500, "trapped"),
        ("/exit?code=0", 502, "exited"),
        ("/exit?code=3", 502, "exited"),
        ("/noresponse", 502, "no_response"),
        ("/status?code=100", 502, "bad_response"),
        ("/status?code=103", 502, "bad_response"),
        ("/spin", 504, "cpu_exhausted"),
    ];
    let mut client = host.connect();
    for (path, status, reason) in cases {
        let mark = host.log_mark();
        let response = client.get("a.test", path);
        let line = host.wait_for_log_after(mark, |line| line["path"] == path);
        check_fault(&response, &line, status, reason);
        assert!(
            response.text().starts_with(&format!("{reason}: ")),
            "{path}"
        );
        // It was the program's fault: the client keeps its connection, and its next request is served.
        assert_eq!(
            client.get("a.test", "/twice").expect(200).text(),
            "1\n",
            "after {path}"
        );
    }
    assert_eq!(host.worker_pids(), workers, "no worker has died of it");
}

/// What of the fault is told to the tenant.
#[test]
fn a_fault_is_explained_in_the_tenants_log() {
    let _shared = shared();
    let host = kitchen(&[]);
    for (path, reason, detail) in [
        ("/trap", "trapped", "unreachable"),
        ("/recurse", "trapped", "call stack exhausted"),
        ("/exit?code=3", "exited", "3"),
        ("/spin", "cpu_exhausted", ""),
    ] {
        let mark = host.log_mark();
        let response = host.get("a.test", path);
        let line = host.wait_for_log_after(mark, |line| line["kind"] == "fault");
        assert_eq!(
            (&line["tenant"], &line["reason"]),
            (&"a".into(), &reason.into()),
            "{path}"
        );
        let told = line["detail"].as_str().expect("a text");
        assert!(told.contains(detail), "{path}: {told}");
        // Traces of the program are the tenant's, and not its clients'.
        assert!(!response.text().contains("unreachable"), "{path}");
    }
}

/// The head was out already: the client sees a body without its end.
#[test]
fn a_body_that_breaks_off_is_seen_to_be_cut_off() {
    let _shared = shared();
    let host = kitchen(&[]);
    for (path, at_most) in [
        ("/short?cl=1000000&n=500000", 500_000),
        ("/short?cl=500000&n=1000000", 499_999),
    ] {
        let mut client = host.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let mut response = client.read_head().expect("a head").expect(200);
        let mut received = 0;
        let read = client.read_body(&mut response, |piece| received += piece.len());
        let error = read.expect_err("a body that is cut off");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{path}");
        assert!(received <= at_most, "{path}: {received}");
        client.expect_close();
        let line = host.wait_for_access(path);
        let (reason, fault) = (&line["reason"], &line["fault"]);
        assert_eq!(
            (reason, fault),
            (&"bad_response".into(), &"tenant".into()),
            "{path}"
        );
        assert_eq!(line["status"], 200, "{path}: what was sent");
    }
    // Whether the head is out by then is a matter of time; a whole answer it never is.
    for (path, status, reason) in [
        ("/late-trap", 500, "trapped"),
        ("/short?cl=10&n=5", 502, "bad_response"),
        ("/short?cl=5&n=10", 502, "bad_response"),
    ] {
        let mut client = host.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.try_read_response();
        let line = host.wait_for_access(path);
        match response {
            Ok(response) => check_fault(&response, &line, status, reason),
            Err(_) => assert_eq!(
                (&line["reason"], &line["status"]),
                (&reason.into(), &200.into())
            ),
        }
    }
}

#[test]
fn memory() {
    let _shared = shared();
    let host = kitchen(&[("memory_mib", 16), ("cpu_ms", 2_000)]);
    // The program itself takes between 1 and 2 MiB.
    assert_eq!(get(&host, "/alloc?mib=14").0.expect(200).text(), "mib 14\n");
    // A program that looks at what it is given goes on without.
    assert_eq!(get(&host, "/alloc?mib=16").0.expect(200).text(), "mib 14\n");
    // One that does not is ended.
    let (response, line) = get(&host, "/bigheader?n=17000000");
    check_fault(&response, &line, 507, "memory_exhausted");
    assert_eq!(get(&host, "/twice").0.expect(200).text(), "1\n");

    // Too little to begin with.
    let host = kitchen(&[("memory_mib", 1)]);
    let (response, line) = get(&host, "/twice");
    check_fault(&response, &line, 507, "memory_exhausted");
}

#[test]
fn handles_and_tables_and_host_calls() {
    let _shared = shared();
    let host = kitchen(&[("handles", 100), ("hostcall_bytes", 128 << 10)]);
    // A few belong to the request and its response.
    assert_eq!(
        get(&host, "/handles?n=90").0.expect(200).text(),
        "handles 90\n"
    );
    let (response, line) = get(&host, "/handles?n=101");
    check_fault(&response, &line, 500, "resource_exhausted");
    // The size of a request's or response's fields, then that of one host call.
    let big = get(&host, "/bigheader?n=60000").0.expect(200);
    assert_eq!(big.header("x-big").map(str::len), Some(60_000));
    for (path, detail) in [
        ("/bigheader?n=100000", "total size of fields exceeds limit"),
        ("/bigheader?n=140000", "fuel allocated for hostcalls"),
    ] {
        let mark = host.log_mark();
        let (response, line) = get(&host, path);
        check_fault(&response, &line, 500, "resource_exhausted");
        let told = host.wait_for_log_after(mark, |line| line["kind"] == "fault");
        assert!(
            told["detail"].to_string().contains(detail),
            "{path}: {told}"
        );
    }
    assert_eq!(get(&host, "/twice").0.expect(200).text(), "1\n");

    let host = kitchen(&[("table_elements", 1)]);
    let (response, line) = get(&host, "/twice");
    check_fault(&response, &line, 500, "resource_exhausted");
}

/// Lines on stdout and stderr are `out 0 xxx` and `err 0 xxx`: 6 bytes and the fill, and the line end.
#[test]
fn log_lines_and_log_bytes() {
    let _shared = shared();
    // log_line_bytes, log_bytes_per_request, fill, length of the two lines that arrive, bytes dropped.
    let cases = [
        (64, 1000, 58, [64, 64], 0),
        (64, 1000, 59, [64, 64], 0),
        (64, 1000, 300, [64, 64], 0),
        // The first line costs its 46 bytes and LOG_LINE_OVERHEAD_BYTES (128).
        (100, 221, 40, [46, 46], 0),
        (100, 219, 40, [46, 45], 2),
        (100, 177, 40, [46, 3], 44),
        (100, 174, 40, [46, 0], 47),
        (100, 0, 40, [0, 0], 94),
    ];
    for (line_bytes, request_bytes, fill, lengths, dropped) in cases {
        let name = format!("{line_bytes} {request_bytes} {fill}");
        let host = kitchen(&[
            ("log_line_bytes", line_bytes),
            ("log_bytes_per_request", request_bytes),
        ]);
        let (response, _) = get(&host, &format!("/log?n=1&len={fill}"));
        assert_eq!(
            response.expect(200).text(),
            "lines 1\n",
            "the guest is not told: {name}"
        );
        // Nothing of the request is logged after this.
        get(&host, "/twice");
        let lines = host.log_lines();
        let length_of = |stream: &str| {
            let line = lines.iter().find(|line| line["stream"] == stream);
            line.map_or(0, |line| line["line"].as_str().expect("a text").len())
        };
        assert_eq!(
            [length_of("stdout"), length_of("stderr")],
            lengths,
            "{name}"
        );
        let over = format!("{dropped} bytes of output were over log_bytes_per_request");
        let said = lines
            .iter()
            .any(|line| line["kind"] == "fault" && line["detail"] == *over);
        assert_eq!(said, dropped > 0, "{name}: {lines:?}");
    }
}

/// Limit, body sent, status; with a known length and chunked.
#[test]
fn request_bodies() {
    let _shared = shared();
    for (limit, body, status) in [(100, 100, 200), (100, 101, 413), (0, 0, 200), (0, 1, 413)] {
        let host = kitchen(&[("request_body_bytes", limit)]);
        let body = "b".repeat(body);
        let chunk = match body.len() {
            0 => String::new(),
            length => format!("{length:x}\r\n{body}\r\n"),
        };
        for framed in [
            format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
        ] {
            let mut client = host.connect();
            client.send(format!("POST /upload HTTP/1.1\r\nHost: a.test\r\n{framed}"));
            let response = client.read_response();
            assert_eq!(response.status, status, "{limit}: {framed}");
            if status == 200 {
                assert!(
                    response
                        .text()
                        .starts_with(&format!("bytes {}\n", body.len()))
                );
            } else {
                assert_eq!(response.reason(), "body_too_large", "{limit}: {framed}");
            }
        }
    }
}

#[test]
fn every_request_has_an_instance_of_its_own() {
    let _shared = shared();
    let host = kitchen(&[]);
    let mut randoms = std::collections::HashSet::new();
    for _ in 0..4 {
        let mut client = host.connect();
        for _ in 0..25 {
            assert_eq!(client.get("a.test", "/twice").expect(200).text(), "1\n");
            assert!(randoms.insert(client.get("a.test", "/random").expect(200).text()));
        }
    }
    assert_eq!(randoms.len(), 100);
}

#[test]
fn the_environment_is_the_configured_one_and_nothing_else() {
    let _shared = shared();
    let tenant = Tenant::new("a", "kitchen")
        .env("GREETING", "hi")
        .env("EMPTY", "")
        .env("Z", "a=b c");
    let host = TestHost::builder()
        .tenant(tenant)
        .tenant(Tenant::new("b", "kitchen"))
        .start();
    let text = host.get("a.test", "/env").expect(200).text();
    assert_eq!(text, "EMPTY=\nGREETING=hi\nZ=a=b c\n");
    assert_eq!(host.get("b.test", "/env").expect(200).text(), "");
}

#[test]
fn there_is_no_file_system() {
    let _shared = shared();
    let host = kitchen(&[]);
    let text = host.get("a.test", "/fs").expect(200).text();
    let (preopens, open) = text.split_once('\n').expect("two lines");
    assert_eq!(preopens, "preopens 0");
    assert!(
        open.starts_with("/etc/passwd ") && !open.contains("opened"),
        "{open}"
    );
}

#[test]
fn requests_to_the_outside_are_denied() {
    let _shared = shared();
    let host = kitchen(&[]);
    let outside = TcpListener::bind("127.0.0.1:0").expect("a listener");
    outside.set_nonblocking(true).expect("non-blocking");
    let port = outside.local_addr().expect("an address").port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
    ] {
        let text = host
            .get("a.test", &format!("/fetch?url={url}"))
            .expect(200)
            .text();
        assert_eq!(text, "error http-request-denied\n", "{url}");
    }
    let error = outside.accept().expect_err("nobody connects");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}
