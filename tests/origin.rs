//! Requests that are passed on to an origin: what arrives, what comes back, what becomes of failures.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::net::TcpListener;

use common::{Names, Origin, Tenant, TestHost};

/// A host that passes everything on to these servers; fast to give up.
fn passing_on(servers: &[&str]) -> TestHost {
    let tenant = Tenant::passed_on("a", servers)
        .limit("subrequest_connect_ms", 2_000)
        .limit("subrequest_first_byte_ms", 500)
        .limit("subrequest_between_bytes_ms", 500);
    TestHost::builder().tenant(tenant).cold().start()
}

/// The URL of a server that nobody is.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn answers_come_back_as_they_are() {
    let origin = Origin::start();
    let host = passing_on(&[&origin.url()]);
    let mut client = host.connect();
    for path in ["/hello", "/chunked", "/hello"] {
        let answer = client.get("a.test", path).expect(200);
        assert_eq!(answer.text(), "hello", "{path}");
        assert_eq!(answer.header("via"), Some("1.1 skep"), "{path}");
        assert_eq!(answer.header("x-skep-reason"), None, "{path}");
    }
    for path in ["/big", "/big-chunked"] {
        let answer = client.get("a.test", path).expect(200);
        assert_eq!(answer.body.len(), 1 << 20, "{path}");
        assert!(answer.body.iter().all(|byte| *byte == b'x'), "{path}");
    }
    let redirect = client.get("a.test", "/redirect").expect(302);
    assert_eq!(redirect.header("location"), Some("/hello"));
    client.send("GET /not-modified HTTP/1.1\r\nhost: a.test\r\ncache-control: no-store\r\n\r\n");
    let known = client.read_response().expect(304);
    assert_eq!(known.header("etag"), Some("\"x\""));
    assert_eq!(origin.connections(), 1, "one was kept for all of them");
    assert_eq!(client.get("a.test", "/close").expect(200).text(), "hello");
}

#[test]
fn bodies_arrive() {
    let origin = Origin::start();
    let host = passing_on(&[&origin.url()]);
    let mut client = host.connect();
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for chunked in [false, true] {
        let head = match chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("content-length: {}", body.len()),
        };
        client.send(format!(
            "POST /echo HTTP/1.1\r\nhost: a.test\r\n{head}\r\n\r\n"
        ));
        for piece in body.chunks(70_000) {
            if chunked {
                client.send(format!("{:x}\r\n", piece.len()));
            }
            client.send(piece);
            if chunked {
                client.send("\r\n");
            }
        }
        if chunked {
            client.send("0\r\n\r\n");
        }
        let answer = client.read_response().expect(200);
        assert!(answer.body == body, "chunked: {chunked}");
    }
}

#[test]
fn the_server_is_told_who_asks_and_through_whom() {
    let origin = Origin::start();
    let own = format!("127.0.0.1:{}", origin.port());
    for (line, expected) in [
        ("", own.as_str()),
        ("origin.host = 'client'", "a.test"),
        ("origin.host = 'other.example'", "other.example"),
    ] {
        let tenant = Tenant::passed_on("a", &[&origin.url()]).line(line);
        let host = TestHost::builder().tenant(tenant).cold().start();
        let mut client = host.connect();
        client.send(
            "GET /head HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: 1.2.3.4\r\n\
             x-forwarded-host: b.test\r\nforwarded: host=b.test\r\nx-real-ip: 6.6.6.6\r\nvia: 1.0 fred\r\nconnection: x-secret\r\n\
             x-secret: hop\r\nte: trailers\r\n\r\n",
        );
        let head = client.read_response().expect(200).text().to_lowercase();
        let has = |line: &str| {
            assert!(head.lines().any(|it| it == line), "no `{line}` in:\n{head}");
        };
        has("get /head http/1.1");
        has(&format!("host: {expected}"));
        has("x-forwarded-for: 1.2.3.4, 127.0.0.1");
        has("x-forwarded-host: a.test");
        has("x-forwarded-proto: http");
        has("x-real-ip: 127.0.0.1");
        has("via: 1.0 fred");
        has("via: 1.1 skep");
        has("cdn-loop: skep");
        for gone in ["x-secret", "te:", "connection:", "\nforwarded:", "b.test"] {
            assert!(!head.contains(gone), "`{gone}` in:\n{head}");
        }
    }
}

#[test]
fn a_loop_is_broken() {
    let origin = Origin::start();
    let host = passing_on(&[&origin.url()]);
    let mut client = host.connect();
    client.send("GET /hello HTTP/1.1\r\nhost: a.test\r\ncdn-loop: skep, skep\r\n\r\n");
    client.read_response().expect(200);
    client.send("GET /hello HTTP/1.1\r\nhost: a.test\r\ncdn-loop: skep, x, skep, skep\r\n\r\n");
    let answer = client.read_response().expect(508);
    assert_eq!(answer.reason(), "loop_detected");
}

#[test]
fn https_and_names() {
    let origin = Origin::start_tls(&["origin.test"]);
    let names = Names::start(&[("origin.test", "127.0.0.1")]);
    let dir = tempfile::tempdir().unwrap();
    let server = format!("https://origin.test:{}", origin.port());
    let host = TestHost::builder()
        .tenant(Tenant::passed_on("a", &[&server]))
        .line("egress", &names.line())
        .line("egress", &format!("ca_file = {:?}", origin.ca_file(&dir)))
        .cold()
        .start();
    // A private address: the operator has named the server.
    assert_eq!(host.get("a.test", "/hello").expect(200).text(), "hello");
    let stranger = TestHost::builder()
        .tenant(Tenant::passed_on("a", &[&server]))
        .line("egress", &names.line())
        .cold()
        .start();
    let answer = stranger.get("a.test", "/hello").expect(502);
    assert_eq!(answer.reason(), "origin_unreachable");
}

#[test]
fn failures_have_names() {
    let origin = Origin::start();
    let host = passing_on(&[&origin.url()]);
    for (path, status, reason) in [
        ("/never", 504, "origin_timeout"),
        ("/drop", 502, "origin_failed"),
        ("/garbage", 502, "origin_failed"),
        ("/two-lengths", 502, "origin_failed"),
    ] {
        let answer = host.get("a.test", path).expect(status);
        assert_eq!(answer.reason(), reason, "{path}");
        // Whatever one answer was, the next one is served.
        host.get("a.test", "/hello").expect(200);
    }
    for path in ["/cut", "/stalls"] {
        let mut client = host.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n"));
        let cut = client.try_read_response();
        assert!(cut.is_err(), "{path}: a body that broke off: {cut:?}");
    }
    let gone = passing_on(&[&nobody()]);
    let answer = gone.get("a.test", "/hello").expect(502);
    assert_eq!(answer.reason(), "origin_unreachable");
}

#[test]
fn another_server_answers_where_that_does_no_harm() {
    let origin = Origin::start();
    let host = passing_on(&[&nobody(), &origin.url()]);
    let mut client = host.connect();
    for _ in 0..8 {
        // Nothing was sent to the server that is not there: even this can go to the other one.
        client.send("POST /echo HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.read_response().expect(200).text(), "hi");
    }
}

#[test]
fn a_server_that_breaks_off_is_left_alone_and_nothing_is_done_twice() {
    let bad = Origin::dropping();
    let good = Origin::start();
    let host = passing_on(&[&bad.url(), &good.url()]);
    let mut client = host.connect();
    // What may have been done is not done again: one of two, the servers take turns.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        client.send("POST /echo HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        statuses.push(client.read_response().status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    assert_eq!(bad.connections(), 1);
    // What can be done again is; and three failures are enough for a second.
    for _ in 0..20 {
        client.get("a.test", "/hello").expect(200);
    }
    assert_eq!(bad.connections(), 3);
}

#[test]
fn a_reload_changes_the_servers() {
    let (first, second) = (Origin::start(), Origin::start());
    let host = passing_on(&[&first.url()]);
    host.get("a.test", "/hello").expect(200);
    let next = TestHost::builder()
        .tenant(Tenant::passed_on("a", &[&second.url()]))
        .cold();
    host.reload(&next);
    host.get("a.test", "/hello").expect(200);
    assert_eq!((first.connections(), second.connections()), (1, 1));
}
