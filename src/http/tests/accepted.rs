//! What is accepted, and what becomes of it.

use bytes::BytesMut;

use super::{LIMITS, parse};
use crate::http::{BodyLength, Parsed, RequestHead, Version, parse_request};

/// Parses a valid HTTP/1.1 head with these fields.
fn with_fields(fields: &str) -> RequestHead {
    parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).unwrap()
}

/// The fields as `name: value` lines, in order.
fn lines(head: &RequestHead) -> Vec<String> {
    head.headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

#[test]
fn a_browser_request() {
    let head = parse(
        "GET /cart?id=7 HTTP/1.1\r\nHost: Shop.Example.:8080\r\nUser-Agent: x/1 (y)\r\nACCEPT: \t*/* \t\r\nCookie: a=b; c=d\r\n\r\n",
    )
    .unwrap();
    assert_eq!(head.method, "GET");
    assert_eq!(head.uri, "/cart?id=7");
    assert_eq!(head.version, Version::Http11);
    assert_eq!(
        head.authority.as_ref().unwrap().as_str(),
        "Shop.Example.:8080"
    );
    assert_eq!(&*head.host, "shop.example");
    assert_eq!(head.body, BodyLength::None);
    assert!(head.keep_alive && !head.expect_continue);
    assert_eq!(
        lines(&head),
        [
            "host: Shop.Example.:8080",
            "user-agent: x/1 (y)",
            "accept: */*",
            "cookie: a=b; c=d"
        ]
    );
}

#[test]
fn only_the_head_is_taken_from_the_buffer() {
    let mut buf = BytesMut::from("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next");
    let Ok(Parsed::Complete(head)) = parse_request(&mut buf, &LIMITS) else {
        panic!("not complete")
    };
    assert_eq!(&head.raw[..], b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(&buf[..], b"GET /next");
    assert!(matches!(
        parse_request(&mut buf, &LIMITS),
        Ok(Parsed::Partial)
    ));
    assert_eq!(&buf[..], b"GET /next");
}

#[test]
fn header_values_share_the_memory_of_the_head() {
    let head = with_fields("X: value");
    assert!(
        head.raw
            .as_ptr_range()
            .contains(&head.headers["x"].as_bytes().as_ptr())
    );
}

#[test]
fn targets() {
    for (line, uri, host) in [
        ("GET / HTTP/1.1", "/", "a"),
        ("GET //b/../c HTTP/1.1", "//b/../c", "a"),
        ("GET /%00%2e|{}[]^?`'\\ HTTP/1.1", "/%00%2e|{}[]^?`'\\", "a"),
        ("OPTIONS * HTTP/1.1", "*", "a"),
        ("GET http://B:80/c?d HTTP/1.1", "/c?d", "b"),
        ("GET http://b HTTP/1.1", "/", "b"),
        ("GET http://b?c HTTP/1.1", "/?c", "b"),
        ("OPTIONS http://b HTTP/1.1", "*", "b"),
        ("GET http://[::1]:80/ HTTP/1.1", "/", "[::1]"),
        ("brew /pot HTTP/1.1", "/pot", "a"),
    ] {
        let head = parse(&format!("{line}\r\nHost: a\r\n\r\n")).unwrap();
        assert_eq!(
            (head.uri.to_string().as_str(), &*head.host),
            (uri, host),
            "{line}"
        );
    }
}

#[test]
fn the_guest_sees_the_host_that_was_routed_by() {
    let head = parse("GET http://b:81/ HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(lines(&head), ["host: b:81", "x: y"]);
    assert_eq!(head.authority.unwrap().as_str(), "b:81");
}

#[test]
fn http_1_0_may_have_no_host() {
    let head = parse("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        (head.version, head.authority, &*head.host),
        (Version::Http10, None, "")
    );
    assert!(head.headers.is_empty() && !head.keep_alive);
}

#[test]
fn body_lengths() {
    for (fields, body) in [
        ("X: y", BodyLength::None),
        ("Content-Length: 0", BodyLength::Length(0)),
        ("content-length:\t 5 \t", BodyLength::Length(5)),
        ("Content-Length: 0005", BodyLength::Length(5)),
        (
            "Content-Length: 00000000000000000000000000005",
            BodyLength::Length(5),
        ),
        ("Content-Length: 1000", BodyLength::Length(1000)),
        ("Transfer-Encoding: chunked", BodyLength::Chunked),
        ("transfer-encoding:  CHUNKED ", BodyLength::Chunked),
    ] {
        assert_eq!(with_fields(fields).body, body, "{fields}");
    }
}

#[test]
fn keep_alive() {
    for (version, connection, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x,\tCLOSE ,,y\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Connection:\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: te, keep-alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ] {
        let head = parse(&format!(
            "GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n"
        ))
        .unwrap();
        assert_eq!(head.keep_alive, keep_alive, "{version} {connection}");
    }
}

#[test]
fn expect_continue() {
    for (version, fields, expected) in [
        ("1.1", "Expect: 100-continue\r\nContent-Length: 5\r\n", true),
        (
            "1.1",
            "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n",
            true,
        ),
        (
            "1.1",
            "Expect: 100-continue\r\nContent-Length: 0\r\n",
            false,
        ),
        ("1.1", "Expect: 100-continue\r\n", false),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
            false,
        ),
    ] {
        let head = parse(&format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).unwrap();
        assert_eq!(head.expect_continue, expected, "{version} {fields}");
        assert!(!head.headers.contains_key("expect"));
    }
}

#[test]
fn fields_of_the_connection_end_here() {
    let head = with_fields(
        "Connection: upgrade, X-Hop\r\nUpgrade: h2c\r\nTE: trailers\r\nx-hop: 1\r\nTrailer: digest\r\nTransfer-Encoding: chunked\r\nX-End: 2",
    );
    assert_eq!(lines(&head), ["host: a", "trailer: digest", "x-end: 2"]);
    let head = with_fields(
        "Proxy-Connection: close\r\nKeep-Alive: 5\r\nHTTP2-Settings: AA\r\nContent-Length: 3",
    );
    assert_eq!(lines(&head), ["host: a", "content-length: 3"]);
}

#[test]
fn repeated_fields_keep_their_order_and_odd_bytes() {
    let head = parse_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY:\r\nx: \xff\t\x80\r\n\r\n");
    let values: Vec<_> = head
        .headers
        .get_all("x")
        .iter()
        .map(|value| value.as_bytes())
        .collect();
    assert_eq!(values, [&b"1"[..], b"\xff\t\x80"]);
    assert_eq!(head.headers["y"], "");
}

fn parse_bytes(input: &[u8]) -> RequestHead {
    match parse_request(&mut BytesMut::from(input), &LIMITS) {
        Ok(Parsed::Complete(head)) => head,
        other => panic!("{other:?}"),
    }
}
