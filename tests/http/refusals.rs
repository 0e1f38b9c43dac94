//! What a client is told that breaks the rules: status, whose fault, why, and then the close.

use crate::common::{Builder, Response, Tenant, TestHost};

/// Asked for, it writes a line: a bad request that reached the guest would leave a trace.
const TRACED: &str = "/log?n=1&len=1";

/// Limits as small as they get, so that what is above them is short.
fn host() -> Builder {
    TestHost::builder()
        .line("http", "head_bytes_max = 1024")
        .line("http", "target_bytes_max = 256")
        .line("http", "headers_max = 8")
        .line("http", "body_timeout_ms = 300")
        .tenant(Tenant::new("a", "kitchen").limit("request_body_bytes", 100))
}

/// The answer to `bytes`, after which the connection has to be closed; and the reason that was logged.
#[track_caller]
fn refused(host: &TestHost, bytes: &[u8]) -> (Response, serde_json::Value) {
    let mark = host.log_mark();
    let mut client = host.connect();
    client.send(bytes);
    let response = client.read_response();
    client.expect_close();
    let line = host.wait_for_log_after(mark, |line| line["kind"] == "access");
    (response, line)
}

fn check(host: &TestHost, reason: &str, status: u16, bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let (response, line) = refused(host, bytes);
    assert_eq!(
        (response.reason(), response.status),
        (reason, status),
        "{name:?}"
    );
    assert_eq!(response.header("x-skep-fault"), Some("client"), "{name:?}");
    assert_eq!(response.header("connection"), Some("close"), "{name:?}");
    assert_eq!(response.header("retry-after"), None, "{name:?}");
    assert!(response.header("date").is_some(), "{name:?}");
    assert!(
        response.text().starts_with(&format!("{reason}: ")),
        "{name:?}"
    );
    assert_eq!(line["reason"], reason, "{name:?}");
    assert_eq!(line["fault"], "client", "{name:?}");
    assert_eq!(line["status"], status, "{name:?}");
}

#[test]
fn bad_requests_are_refused_and_reach_no_guest() {
    let host = host().start();
    let get = |fields: &str| format!("GET {TRACED} HTTP/1.1\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST {TRACED} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: a.test\r\n\r\n");
    let target = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    let nine_fields = "a: b\r\n".repeat(8) + "Host: a.test\r\n";

    let cases = [
        ("malformed_request", 400, line(&format!("GET {TRACED}"))),
        (
            "malformed_request",
            400,
            line(&format!("GET  {TRACED} HTTP/1.1")),
        ),
        (
            "malformed_request",
            400,
            line(&format!("GET {TRACED}  HTTP/1.1")),
        ),
        (
            "malformed_request",
            400,
            line(&format!("GET {TRACED} http/1.1")),
        ),
        (
            "malformed_request",
            400,
            line(&format!("GET {TRACED} HTTP/1.1 ")),
        ),
        (
            "malformed_request",
            400,
            line(&format!("GET {TRACED}#x HTTP/1.1")),
        ),
        ("malformed_request", 400, line("GET log HTTP/1.1")),
        ("malformed_request", 400, line("GET ftp://a.test/ HTTP/1.1")),
        ("malformed_request", 400, line("GET * HTTP/1.1")),
        ("malformed_request", 400, line("G\u{e9}T / HTTP/1.1")),
        (
            "malformed_request",
            400,
            "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".to_owned(),
        ),
        ("malformed_request", 400, get("Host : a.test\r\n")),
        ("malformed_request", 400, get("Host: a.test\r\n folded\r\n")),
        (
            "malformed_request",
            400,
            get("Host: a.test\r\nno colon\r\n"),
        ),
        (
            "malformed_request",
            400,
            get("Host: a.test\r\n: no name\r\n"),
        ),
        (
            "malformed_request",
            400,
            get("Host: a.test\r\nb\u{e4}d: x\r\n"),
        ),
        ("malformed_request", 400, get("Host: a.test\r\nx: a\0b\r\n")),
        ("malformed_request", 400, get("Host: a.test\r\nx: a\rb\r\n")),
        ("malformed_request", 400, get("Host: a.test\nx: y\r\n")),
        (
            "malformed_request",
            400,
            get("Host: a.test\r\nConnection: host\r\n"),
        ),
        (
            "malformed_request",
            400,
            get("Host: a.test\r\nConnection: b/d\r\n"),
        ),
        (
            "conflicting_framing",
            400,
            post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "abc",
        ),
        (
            "conflicting_framing",
            400,
            post("Content-Length: 3\r\nContent-Length: 4\r\n") + "abc",
        ),
        ("conflicting_framing", 400, post("Content-Length: -1\r\n")),
        (
            "conflicting_framing",
            400,
            post("Content-Length: 18446744073709551616\r\n"),
        ),
        (
            "conflicting_framing",
            400,
            post("Transfer-Encoding: chunked, gzip\r\n"),
        ),
        ("bad_host", 400, get("")),
        ("bad_host", 400, get("Host:\r\n")),
        ("bad_host", 400, get("Host: a.test\r\nHost: a.test\r\n")),
        ("bad_host", 400, get("Host: a..test\r\n")),
        ("bad_host", 400, get("Host: a.test/\r\n")),
        ("bad_host", 400, get("Host: u@a.test\r\n")),
        ("bad_host", 400, get("Host: a.test:65536\r\n")),
        ("bad_host", 400, line("GET http://a_b..test/ HTTP/1.1")),
        ("unknown_host", 404, get("Host: b.test\r\n")),
        ("unknown_host", 404, get("Host: x.a.test\r\n")),
        ("unknown_host", 404, get("Host: test\r\n")),
        ("unknown_host", 404, get("Host: 127.0.0.1\r\n")),
        ("unknown_host", 404, get("Host: [::1]:80\r\n")),
        (
            "unknown_host",
            404,
            format!("GET {TRACED} HTTP/1.0\r\n\r\n"),
        ),
        ("body_too_large", 413, post("Content-Length: 101\r\n")),
        (
            "body_too_large",
            413,
            post("Content-Length: 101\r\nExpect: 100-continue\r\n"),
        ),
        (
            "uri_too_long",
            414,
            line(&format!("GET {} HTTP/1.1", target(257))),
        ),
        ("uri_too_long", 414, format!("GET {}", target(258))),
        (
            "expectation_failed",
            417,
            get("Host: a.test\r\nExpect: x\r\n"),
        ),
        (
            "expectation_failed",
            417,
            post("Content-Length: 5\r\nExpect: 100-continue, x\r\n"),
        ),
        (
            "misdirected",
            421,
            line(&format!("GET https://a.test{TRACED} HTTP/1.1")),
        ),
        (
            "head_too_large",
            431,
            get(&format!("Host: a.test\r\nx: {}\r\n", "x".repeat(1024))),
        ),
        (
            "head_too_large",
            431,
            "GET / HTTP/1.1\r\nx: ".to_owned() + &"x".repeat(1024),
        ),
        ("head_too_large", 431, get(&nine_fields)),
        (
            "unknown_transfer_coding",
            501,
            post("Transfer-Encoding: gzip\r\n"),
        ),
        (
            "unknown_transfer_coding",
            501,
            post("Transfer-Encoding: gzip, chunked\r\n"),
        ),
        (
            "unknown_transfer_coding",
            501,
            post("Transfer-Encoding: identity\r\n"),
        ),
        (
            "method_not_implemented",
            501,
            line("CONNECT a.test:443 HTTP/1.1"),
        ),
        (
            "method_not_implemented",
            501,
            line(&format!("{} / HTTP/1.1", "X".repeat(33))),
        ),
        (
            "version_not_supported",
            505,
            line(&format!("GET {TRACED} HTTP/1.2")),
        ),
        (
            "version_not_supported",
            505,
            line(&format!("GET {TRACED} HTTP/2.0")),
        ),
        (
            "version_not_supported",
            505,
            line(&format!("GET {TRACED} HTTP/0.9")),
        ),
        (
            "version_not_supported",
            505,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ),
    ];
    for (reason, status, bytes) in &cases {
        check(&host, reason, *status, bytes.as_bytes());
    }

    // The worker's lines keep their order: a guest before this one would have been seen before it.
    host.get("a.test", "/log?n=1&len=2").expect(200);
    let traced = host.wait_for_log(|line| line["kind"] == "output" && line["line"] == "err 0 xx");
    assert_eq!(traced["tenant"], "a");
    let traces = host
        .log_lines()
        .into_iter()
        .filter(|line| line["kind"] == "output");
    assert_eq!(
        traces.count(),
        2,
        "stdout and stderr of the last request alone"
    );
}

#[test]
fn what_is_just_within_the_limits_is_served() {
    let host = host().start();
    let target = format!("/twice?{}", "x".repeat(256 - 7));
    let eight_fields = "a: b\r\n".repeat(7) + "Host: a.test\r\n";
    let head = |fields: &str| format!("GET /twice HTTP/1.1\r\n{fields}\r\n");
    let padding = 1024 - head("Host: a.test\r\nx: \r\n").len();
    let longest = head(&format!("Host: a.test\r\nx: {}\r\n", "x".repeat(padding)));
    assert_eq!(longest.len(), 1024);
    let post = |framing: &str| format!("POST /twice HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n");
    let body = "b".repeat(100);
    let cases = [
        format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        head(&eight_fields),
        longest,
        post("Content-Length: 100") + &body,
        post("Transfer-Encoding: chunked") + "64\r\n" + &body + "\r\n0\r\n\r\n",
        format!("{} /twice HTTP/1.1\r\nHost: a.test\r\n\r\n", "X".repeat(32)),
        "\r\n\r\n".to_owned() + &head("Host: a.test\r\n"),
    ];
    for bytes in cases {
        let mut client = host.connect();
        client.send(&bytes);
        assert_eq!(client.read_response().status, 200, "{bytes:?}");
    }
}

/// The guest has begun by then; these end its reading.
#[test]
fn a_body_that_goes_wrong_ends_the_request() {
    let host = host().start();
    let long_trailer = format!("0\r\nx: {}\r\n\r\n", "x".repeat(8192));
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(33));
    let cases = [
        ("bad_chunk", 400, "x\r\n"),
        ("bad_chunk", 400, "-1\r\nx\r\n"),
        ("bad_chunk", 400, "0x1\r\nx\r\n0\r\n\r\n"),
        ("bad_chunk", 400, "1\nx\n0\n\n"),
        ("bad_chunk", 400, "1 \r\nx\r\n0\r\n\r\n"),
        ("bad_chunk", 400, "1\r\nxy\r\n0\r\n\r\n"),
        ("bad_chunk", 400, "1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n"),
        ("bad_chunk", 400, "1\r\nx\r\n0\r\nbad trailer\r\n\r\n"),
        ("bad_chunk", 400, "00000000000000001\r\nx\r\n0\r\n\r\n"),
        ("body_too_large", 413, "65\r\n"),
        ("body_too_large", 413, "ffffffffffffffff\r\n"),
        ("head_too_large", 431, &long_trailer),
        ("head_too_large", 431, &many_trailers),
        ("body_timeout", 408, "2\r\nx"),
    ];
    for (reason, status, body) in cases {
        let head = "POST /upload HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&host, reason, status, format!("{head}{body}").as_bytes());
    }
}

#[test]
fn a_client_that_goes_away_is_logged_only() {
    let host = host().start();
    let mut client = host.connect();
    client.send("POST /upload?gone HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nabc");
    drop(client);
    let line = host.wait_for_access("/upload?gone");
    assert_eq!(
        (&line["reason"], &line["fault"]),
        (&"client_gone".into(), &"client".into())
    );
    assert!(line["status"].is_null(), "{line}");
}
