//! HTTP/1.1 as a client sees it (RFC 9110, RFC 9112): connections, framing, expectations, refusals.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;
#[path = "http/refusals.rs"]
mod refusals;

use std::time::{Duration, SystemTime};

use common::{Builder, Tenant, TestHost};

/// `a.test` is the kitchen, `echo.test` sends bodies and trailers back.
fn host() -> Builder {
    TestHost::builder()
        .tenant(Tenant::new("a", "kitchen"))
        .tenant(Tenant::new("echo", "echo"))
}

/// What a request line and fields look like in the tables: without the Host that most have.
fn request(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: a.test\r\n{fields}\r\n")
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let host = host().start();
    let mut client = host.connect();
    for round in 0..100 {
        let response = client.get("a.test", "/twice").expect(200);
        assert_eq!(response.text(), "1\n", "round {round}: a fresh instance");
        assert_eq!(response.header("connection"), None);
    }
    assert_eq!(
        client.post("a.test", "/upload", b"abc").text(),
        upload(b"abc")
    );
    assert_eq!(client.get("echo.test", "/").expect(200).text(), "");
}

/// What `/upload` answers for a body.
fn upload(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("bytes {}\nfnv1a {hash:016x}\n", body.len())
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let host = host().start();
    let mut client = host.connect();
    let mut all = request("GET /sleep?ms=150 HTTP/1.1", "");
    all += &request("GET /twice HTTP/1.1", "");
    all += &request("POST /upload HTTP/1.1", "Content-Length: 3\r\n");
    all += "abc";
    all += &request("POST /upload HTTP/1.1", "Transfer-Encoding: chunked\r\n");
    all += "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    all += &request("HEAD /twice HTTP/1.1", "");
    all += &request("GET /status?code=204 HTTP/1.1", "Connection: close\r\n");
    client.send(all);
    for expected in ["slept 150 ms\n", "1\n", &upload(b"abc"), &upload(b"abc")] {
        assert_eq!(client.read_response().expect(200).text(), expected);
    }
    assert_eq!(client.read_response_to_head().status, 200);
    assert_eq!(client.read_response().status, 204);
    client.expect_close();
}

#[test]
fn more_pipelined_requests_than_one_read_holds() {
    let host = host().start();
    let mut client = host.connect();
    let padding = format!("x-padding: {}\r\n", "p".repeat(1000));
    let all: String = (0..200)
        .map(|n| request(&format!("GET /status?code={} HTTP/1.1", 200 + n), &padding))
        .collect();
    client.send(all);
    for n in 0..200 {
        // 204 and 205 differ in what follows; here only the order counts.
        assert_eq!(client.read_response().status, 200 + n);
    }
}

/// Version and Connection of a request, Connection of the response, and whether it stays open.
#[test]
fn the_connection_stays_open_when_both_sides_want_it() {
    let host = host().start();
    let cases = [
        ("1.1", "", None, true),
        ("1.1", "Connection: keep-alive\r\n", None, true),
        ("1.1", "Connection: close\r\n", Some("close"), false),
        ("1.1", "Connection: CLOSE\r\n", Some("close"), false),
        ("1.1", "Connection: x, close\r\n", Some("close"), false),
        (
            "1.1",
            "Connection: keep-alive, close\r\n",
            Some("close"),
            false,
        ),
        ("1.0", "", Some("close"), false),
        (
            "1.0",
            "Connection: keep-alive\r\n",
            Some("keep-alive"),
            true,
        ),
        (
            "1.0",
            "Connection: Keep-Alive\r\n",
            Some("keep-alive"),
            true,
        ),
        (
            "1.0",
            "Connection: keep-alive, close\r\n",
            Some("close"),
            false,
        ),
    ];
    for (version, fields, connection, stays) in cases {
        let mut client = host.connect();
        client.send(request(&format!("GET /twice HTTP/{version}"), fields));
        let response = client.read_response().expect(200);
        let name = format!("HTTP/{version} {fields}");
        assert_eq!(response.header("connection"), connection, "{name}");
        assert_eq!(response.header("content-length"), Some("2"), "{name}");
        if stays {
            assert_eq!(
                client.get("a.test", "/twice").expect(200).text(),
                "1\n",
                "{name}"
            );
        } else {
            client.expect_close();
        }
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks_and_no_trailers() {
    let host = host().start();
    for fields in ["", "Connection: keep-alive\r\n"] {
        for (path, body) in [("/stream?n=100000", 100_000), ("/trailers", 16)] {
            let mut client = host.connect();
            client.send(request(&format!("GET {path} HTTP/1.0"), fields));
            let response = client.read_response().expect(200);
            assert_eq!(response.header("transfer-encoding"), None);
            assert_eq!(
                response.header("connection"),
                Some("close"),
                "the end is the close"
            );
            assert_eq!(response.body.len(), body);
        }
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let host = host().start();
    let mut client = host.connect();
    // Path, status, Content-Length.
    let cases = [
        ("/twice", 200, Some("2")),
        ("/download?n=1000000", 200, Some("1000000")),
        ("/status?code=404", 404, None),
        ("/trap", 500, None),
    ];
    for (path, status, length) in cases {
        client.send(request(&format!("HEAD {path} HTTP/1.1"), ""));
        let response = client.read_response_to_head().expect(status);
        if length.is_some() {
            assert_eq!(response.header("content-length"), length, "{path}");
        }
        assert_eq!(response.header("transfer-encoding"), None, "{path}");
        // Were there a body, it would stand where this response is read.
        assert_eq!(
            client.get("a.test", "/twice").expect(200).text(),
            "1\n",
            "after {path}"
        );
    }
}

#[test]
fn responses_without_a_body_say_so() {
    let host = host().start();
    let mut client = host.connect();
    for (code, length) in [
        (200, Some("0")),
        (204, None),
        (205, Some("0")),
        (304, None),
        (599, Some("0")),
    ] {
        let path = format!("/status?code={code}");
        let mut ask = |_| client.get("a.test", &path).expect(code);
        // Where the machine stood still, the head went out before the program had ended, and the
        // length was not known yet: one of three must be as it should.
        let mut answers: Vec<_> = (0..3).map(&mut ask).collect();
        assert!(answers.iter().all(|it| it.text().is_empty()), "{code}");
        answers.retain(|it| it.header("content-length") == length);
        let response = answers.first().unwrap_or_else(|| panic!("{code}"));
        assert_eq!(response.header("transfer-encoding"), None, "{code}");
    }
}

#[test]
fn every_response_has_one_date() {
    let host = host().start();
    let mut client = host.connect();
    for path in ["/twice", "/stream?n=10", "/trap", "/status?code=304"] {
        let response = client.get("a.test", path);
        let dates: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| name == "date")
            .collect();
        assert_eq!(dates.len(), 1, "{path}");
        assert_eq!(dates[0].1.len(), 29, "IMF-fixdate");
        let date = httpdate::parse_http_date(&dates[0].1).expect("a date");
        // Whole seconds, and two clocks.
        let age = SystemTime::now()
            .duration_since(date)
            .expect("not in the future");
        assert!(age < Duration::from_secs(3), "{path}: {age:?}");
    }
}

/// Request target, Host field, and the authority and path that the guest sees.
#[test]
fn the_four_forms_of_a_request_target() {
    let host = host()
        .tenant(Tenant::new("b", "kitchen").host("*.b.test"))
        .start();
    let cases = [
        ("GET", "/headers?x=1", "a.test", "a", "/headers?x=1"),
        (
            "GET",
            "http://a.test/headers?x=1",
            "a.test",
            "a",
            "/headers?x=1",
        ),
        // RFC 9112 §3.2.2: the target counts, not the field.
        ("GET", "http://a.test/headers", "x.b.test", "a", "/headers"),
        ("GET", "http://x.b.test/headers", "a.test", "b", "/headers"),
        ("GET", "HTTP://A.TEST:80/headers", "a.test", "a", "/headers"),
        ("GET", "/headers", "A.Test", "a", "/headers"),
        ("GET", "/headers", "a.test.", "a", "/headers"),
        ("GET", "/headers", "a.test:8080", "a", "/headers"),
        ("GET", "/headers", "y.x.b.test", "b", "/headers"),
        ("GET", "//headers", "a.test", "a", "//headers"),
        ("OPTIONS", "*", "a.test", "a", "*"),
        ("GET", "http://a.test", "a.test", "a", "/"),
    ];
    let mut client = host.connect();
    for (method, target, field, tenant, path) in cases {
        let mark = host.log_mark();
        client.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: {field}\r\n\r\n"
        ));
        let response = client.read_response();
        let line = host.wait_for_log_after(mark, |line| line["kind"] == "access");
        assert_eq!(line["tenant"], tenant, "{target}");
        let text = response.text();
        match response.status {
            200 => assert!(
                text.contains(&format!("\npath {path}\nscheme http\n")),
                "{text}"
            ),
            _ => assert_eq!(text, format!("no route {path}\n"), "{target}"),
        }
    }
}

#[test]
fn the_guest_sees_end_to_end_fields_only() {
    let host = host().start();
    let mut client = host.connect();
    client.send(request(
        "GET /headers HTTP/1.1",
        "Connection: x-mine, keep-alive\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n\
         Proxy-Connection: x\r\nX-Twice: a\r\nX-Other: o\r\nX-Twice: b\r\n",
    ));
    let text = client.read_response().expect(200).text();
    let mut fields: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("header "))
        .collect();
    fields.sort_unstable();
    // The stock host gives Host as the authority.
    assert!(text.contains("\nauthority a.test\n"), "{text}");
    assert_eq!(fields, ["x-other: o", "x-twice: a", "x-twice: b"]);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let host = host().start();
    let mut client = host.connect();
    let all = "POST /echo HTTP/1.1\r\nHost: echo.test\r\nContent-Type: x/y\r\nTransfer-Encoding: chunked\r\n\
               Trailer: x-end\r\n\r\n3;ext=1\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-End: yes\r\n\r\n";
    for byte in all.as_bytes().iter().chain(all.as_bytes()) {
        client.send([*byte]);
    }
    for _ in 0..2 {
        let response = client.read_response().expect(200);
        assert_eq!(response.text(), "abc0123456789");
        assert_eq!(response.header("content-type"), Some("x/y"));
        assert_eq!(response.trailers, [("x-end".to_owned(), "yes".to_owned())]);
    }
}

#[test]
fn trailers_go_both_ways() {
    let host = host().start();
    let mut client = host.connect();
    let response = client.get("a.test", "/trailers").expect(200);
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.header("trailer"), Some("x-trailer"));
    assert_eq!(response.text(), "trailers follow\n");
    assert_eq!(
        response.trailers,
        [("x-trailer".to_owned(), "the end".to_owned())]
    );

    // What a trailer section may not contain is dropped (RFC 9110 §6.5.1).
    client.send(
        "POST / HTTP/1.1\r\nHost: echo.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         1\r\nx\r\n0\r\nX-A: 1\r\nAuthorization: secret\r\nX-A: 2\r\n\r\n",
    );
    let response = client.read_response().expect(200);
    let expected = [
        ("x-a".to_owned(), "1".to_owned()),
        ("x-a".to_owned(), "2".to_owned()),
    ];
    assert_eq!(response.trailers, expected);
}

/// Fields of a POST with 5 bytes of body, its path, and the statuses that are read before and after
/// the body is sent; 0: it is not sent.
#[test]
fn a_client_that_expects_100_continue_is_told_when_the_guest_reads() {
    let host = host().start();
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let cases: [(&str, &str, &str, &[u16], &str, u16); 6] = [
        (
            "POST /upload HTTP/1.1",
            "Expect: 100-continue\r\n",
            length,
            &[100],
            "hello",
            200,
        ),
        (
            "POST /upload HTTP/1.1",
            "Expect: 100-Continue\r\n",
            chunked,
            &[100],
            "5\r\nhello\r\n0\r\n\r\n",
            200,
        ),
        (
            "POST /upload HTTP/1.0",
            "Expect: 100-continue\r\n",
            length,
            &[],
            "hello",
            200,
        ),
        ("POST /upload HTTP/1.1", "", length, &[], "hello", 200),
        // The guest does not read: the client need not send.
        (
            "POST /early HTTP/1.1",
            "Expect: 100-continue\r\n",
            length,
            &[200],
            "",
            0,
        ),
        (
            "POST /upload HTTP/1.1",
            "Expect: 100-continue\r\n",
            "Content-Length: 0\r\n",
            &[200],
            "",
            0,
        ),
    ];
    for (line, expect, framing, before, body, after) in cases {
        let mut client = host.connect();
        client.send(request(line, &format!("{expect}{framing}")));
        for status in before {
            client.read_response().expect(*status);
        }
        client.send(body);
        if after > 0 {
            assert_eq!(
                client.read_response().expect(after).text(),
                upload(b"hello"),
                "{line}"
            );
        }
    }
}

/// Whoever got a final answer may or may not send the body that it announced: the next bytes could be
/// either, so there is no next request on this connection (RFC 9110 §10.1.1).
#[test]
fn a_connection_whose_body_was_not_asked_for_is_closed() {
    let host = host().start();
    let mut client = host.connect();
    let next = request("GET /twice HTTP/1.1", "");
    let fields = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", next.len());
    client.send(request("POST /early HTTP/1.1", &fields));
    let response = client.read_response().expect(200);
    assert_eq!(response.header("connection"), Some("close"));
    let _ = client.try_send(format!("{next}{next}"));
    client.expect_close();
}

#[test]
fn a_slow_client_is_told_and_an_idle_one_is_not() {
    let host = host()
        .line("http", "head_timeout_ms = 300")
        .line("http", "body_timeout_ms = 300")
        .line("http", "idle_timeout_ms = 1000")
        .start();
    // What is sent, the reason of the answer, and the tenant that it is for.
    let cases = [
        ("G", "head_timeout", None),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n", "head_timeout", None),
        (
            "POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nabc",
            "body_timeout",
            Some("a"),
        ),
        (
            "POST /upload HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "body_timeout",
            Some("a"),
        ),
    ];
    for (bytes, reason, tenant) in cases {
        let mark = host.log_mark();
        let mut client = host.connect();
        client.send(bytes);
        let response = client.read_response().expect(408);
        assert_eq!(response.reason(), reason, "{bytes:?}");
        assert_eq!(response.header("connection"), Some("close"), "{bytes:?}");
        client.expect_close();
        let line = host.wait_for_log_after(mark, |line| line["kind"] == "access");
        assert_eq!(
            (&line["reason"], &line["tenant"]),
            (&reason.into(), &tenant.into())
        );
    }
    let mut idle = host.connect();
    idle.get("a.test", "/twice").expect(200);
    idle.expect_close();
}
