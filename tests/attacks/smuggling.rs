//! Request smuggling: bytes that one parser takes for the end of a request and another does not.
//!
//! ```text
//!   POST / … two ways to find the end of the body …          refused, and the connection closed:
//!   GET /log … the request that must not be seen as one      whatever this is, nobody answers it
//! ```
//!
//! Background: RFC 9112 §11.2, and <https://portswigger.net/web-security/request-smuggling>. An entry
//! that names an advisory is what that advisory's parser took.

use crate::common::{Tenant, TestHost};

/// What is smuggled. Its guest writes a log line, so that being served leaves a trace.
const SMUGGLED: &str = "GET /log?n=1&len=3 HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Host, and the empty line, are added; the body is `5` or what stands after the bar.
const FRAMING: &[(&str, &str)] = &[
    // Two answers to where the body ends.
    ("CL.TE", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
    (
        "CL 0 and TE",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ),
    (
        "CL and unknown TE",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
    ),
    ("CL and empty TE", "Content-Length: 5\r\nTransfer-Encoding:"),
    ("CL.CL", "Content-Length: 5\r\nContent-Length: 0"),
    ("CL.CL, the same", "Content-Length: 5\r\nContent-Length: 5"),
    ("CL list", "Content-Length: 5, 0"),
    ("CL list, the same", "Content-Length: 5, 5"),
    // Lengths that are none, or that others read as another number.
    (
        "CVE-2021-32715 (hyper): CL with a sign",
        "Content-Length: +5",
    ),
    ("CL negative", "Content-Length: -5"),
    ("CL hexadecimal", "Content-Length: 0x5"),
    ("CL with a fraction", "Content-Length: 5.0"),
    ("CL with an underscore", "Content-Length: 1_0"),
    ("CL empty", "Content-Length:"),
    ("CL with words", "Content-Length: 5 bytes"),
    ("CL with a space inside", "Content-Length: 5 5"),
    ("CL over u64", "Content-Length: 18446744073709551621"),
    ("CL in other digits", "Content-Length: \u{665}"),
    ("CL quoted", "Content-Length: \"5\""),
    // A name or a value that some parsers see as Transfer-Encoding.
    (
        "CVE-2019-16276 (Go): space before the colon",
        "Transfer-Encoding : chunked\r\nContent-Length: 5",
    ),
    (
        "CVE-2021-22959 (Node): space before the colon",
        "Content-Length : 5",
    ),
    (
        "tab before the colon",
        "Transfer-Encoding\t: chunked\r\nContent-Length: 5",
    ),
    (
        "CVE-2019-18277 (HAProxy): TE with a vertical tab",
        "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5",
    ),
    (
        "TE with a form feed",
        "Transfer-Encoding: \x0cchunked\r\nContent-Length: 5",
    ),
    (
        "TE with a no-break space",
        "Transfer-Encoding: \u{a0}chunked",
    ),
    ("TE quoted", "Transfer-Encoding: \"chunked\""),
    ("TE with a parameter", "Transfer-Encoding: chunked;q=1"),
    (
        "CVE-2022-32213 (Node): TE that only ends like it",
        "Transfer-Encoding: xchunked",
    ),
    (
        "TE chunked with an empty element",
        "Transfer-Encoding: chunked,",
    ),
    (
        "TE with an empty element first",
        "Transfer-Encoding: ,chunked",
    ),
    ("TE chunked twice", "Transfer-Encoding: chunked, chunked"),
    (
        "CVE-2020-8287 (Node): TE in two fields",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: false",
    ),
    (
        "CVE-2021-21299 (hyper): TE in two fields",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    ),
    (
        "TE in two fields, the same",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ),
    (
        "TE not chunked last",
        "Transfer-Encoding: chunked, identity",
    ),
    ("TE unknown first", "Transfer-Encoding: gzip, chunked"),
    ("TE empty", "Transfer-Encoding:"),
    (
        "TE gone with Connection",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
    ),
    (
        "CL gone with Connection",
        "Connection: content-length\r\nContent-Length: 5",
    ),
    // Line ends and lines that others join, split or skip.
    (
        "CVE-2022-32215 (Node): TE on two lines",
        "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5",
    ),
    ("folded value", "X: y\r\n\tContent-Length: 5"),
    ("folded first line", " Content-Length: 5"),
    ("bare LF before a field", "X: y\nContent-Length: 5"),
    (
        "CVE-2023-30589 (Node): bare CR before a field",
        "X: y\rContent-Length: 5",
    ),
    ("CR CR LF", "X: y\r\r\nContent-Length: 5"),
    ("bare LF as the empty line", "X: y\r\n\nContent-Length: 5"),
    ("NUL in a value", "X: a\0b\r\nContent-Length: 5"),
    ("NUL in a name", "Content-Length\0: 5"),
    (
        "CVE-2023-25725 (HAProxy): empty name",
        ": x\r\nContent-Length: 5",
    ),
    ("line without a colon", "Content-Length 5"),
    ("name in other letters", "Content-\u{17f}ength: 5"),
    ("second Host", "Host: b.test\r\nContent-Length: 5"),
];

/// Request lines; Host and the empty line follow.
const LINES: &[(&str, &str)] = &[
    (
        "two requests in a line",
        "GET / HTTP/1.1\rGET /log?n=1 HTTP/1.1",
    ),
    ("a third word", "GET / HTTP/1.1 HTTP/1.1"),
    ("a tab for a space", "GET\t/ HTTP/1.1"),
    ("no version: HTTP/0.9", "GET /"),
    ("version with a space", "GET / HTTP/1. 1"),
    ("version with more digits", "GET / HTTP/1.10"),
    (
        "version in front of a field",
        "GET / HTTP/1.1\nContent-Length: 5",
    ),
    (
        "absolute form with a user",
        "GET http://a.test@b.test/ HTTP/1.1",
    ),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
    ),
    ("CONNECT", "CONNECT a.test:80 HTTP/1.1"),
];

/// Chunked bodies; the smuggled request follows. The guest reads them.
const CHUNKS: &[(&str, &str)] = &[
    (
        "CVE-2025-22871 (Go): bare LF after a size",
        "5\nhello\r\n0\r\n\r\n",
    ),
    ("bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
    ("bare CR after a size", "5\rhello\r\n0\r\n\r\n"),
    ("bare LF after the last chunk", "5\r\nhello\r\n0\n\r\n"),
    ("bare LF as the end", "5\r\nhello\r\n0\r\n\n"),
    (
        "CVE-2025-55315 (Kestrel): LF in an extension",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ),
    ("CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    (
        "CVE-2021-22960 (Node): extension without a semicolon",
        "5 a=b\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "CVE-2021-32714 (hyper): size over u64",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("size negative", "-5\r\nhello\r\n0\r\n\r\n"),
    ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("size with a space in front", " 5\r\nhello\r\n0\r\n\r\n"),
    ("size with a space behind", "5 \r\nhello\r\n0\r\n\r\n"),
    ("size missing", "\r\nhello\r\n0\r\n\r\n"),
    ("data longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    ("data without its end", "5\r\nhello0\r\n\r\n"),
    (
        "CVE-2023-39326 (Go): extensions without end",
        "5;LONG\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "trailer that sets the length",
        "5\r\nhello\r\n0\r\nContent-Length: 44\r\n\r\n",
    ),
    (
        "trailer that sets the host",
        "5\r\nhello\r\n0\r\nHost: b.test\r\n\r\n",
    ),
    (
        "trailer on two lines",
        "5\r\nhello\r\n0\r\nx: a\r\n b\r\n\r\n",
    ),
    (
        "trailer with a space before the colon",
        "5\r\nhello\r\n0\r\nx : a\r\n\r\n",
    ),
];

fn host() -> TestHost {
    TestHost::builder()
        .tenant(Tenant::new("a", "kitchen"))
        .start()
}

/// Everything the host says to `bytes` before it closes.
fn all_responses(host: &TestHost, bytes: &[u8]) -> String {
    let mut client = host.connect();
    // It may have closed before the last byte.
    let _ = client.try_send(bytes);
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

fn check_refused(host: &TestHost, name: &str, bytes: &str) {
    let text = all_responses(host, bytes.as_bytes());
    let responses = text.matches("HTTP/1.1 ").count();
    assert_eq!(responses, 1, "{name}: {text}");
    assert!(
        text.starts_with("HTTP/1.1 4") || text.starts_with("HTTP/1.1 501"),
        "{name}: {text}"
    );
    assert!(
        text.contains("\r\nx-skep-fault: client\r\n"),
        "{name}: {text}"
    );
    assert!(text.contains("\r\nconnection: close\r\n"), "{name}: {text}");
}

/// Fails when a smuggled request was served: its guest would have written by now.
fn check_nothing_was_served(host: &TestHost) {
    host.get("a.test", "/log?n=1&len=9").expect(200);
    host.wait_for_log(|line| line["line"] == "err 0 xxxxxxxxx");
    let served: Vec<_> = host
        .log_lines()
        .into_iter()
        .filter(|line| line["path"] == "/log?n=1&len=3" || line["line"] == "out 0 xxx")
        .collect();
    assert!(served.is_empty(), "{served:?}");
}

#[test]
fn the_second_request_is_served_when_the_first_is_in_order() {
    let host = host();
    let first = "POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    let mut client = host.connect();
    client.send(format!("{first}{SMUGGLED}"));
    client.read_response().expect(200);
    assert_eq!(client.read_response().expect(200).text(), "lines 1\n");
    host.wait_for_log(|line| line["line"] == "out 0 xxx");
}

#[test]
fn ambiguous_framing_is_refused() {
    let host = host();
    // A chunk of 5 bytes for one reader is longer than 5 bytes for another.
    for (name, fields) in FRAMING {
        for body in ["", "hello", "0\r\n\r\n"] {
            let head = format!("POST /upload HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n");
            check_refused(&host, name, &format!("{head}{body}{SMUGGLED}"));
        }
    }
    check_nothing_was_served(&host);
}

#[test]
fn ambiguous_request_lines_are_refused() {
    let host = host();
    for (name, line) in LINES {
        check_refused(
            &host,
            name,
            &format!("{line}\r\nHost: a.test\r\n\r\n{SMUGGLED}"),
        );
    }
    check_nothing_was_served(&host);
}

#[test]
fn ambiguous_chunks_are_refused() {
    let host = host();
    for (name, chunks) in CHUNKS {
        let chunks = chunks.replace("LONG", &"x".repeat(600));
        for path in ["/upload", "/early", "/twice", "/trap"] {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            let bytes = format!("{head}{chunks}{SMUGGLED}");
            if path == "/upload" {
                check_refused(&host, name, &bytes);
                continue;
            }
            // Whoever did not read the body has answered; after that comes nothing.
            let text = all_responses(&host, bytes.as_bytes());
            assert_eq!(
                text.matches("HTTP/1.1 ").count(),
                1,
                "{name}, {path}: {text}"
            );
        }
    }
    check_nothing_was_served(&host);
}

/// A body that looks like a request stays a body, whoever reads it and however the guest ends.
#[test]
fn a_body_is_never_a_request() {
    let host = host();
    let requests = [
        ("POST /upload", "Content-Length: 45\r\n"),
        ("POST /early", "Content-Length: 45\r\n"),
        ("GET /twice", "Content-Length: 45\r\n"),
        ("HEAD /status?code=204", "Content-Length: 45\r\n"),
        ("OPTIONS /twice", "Content-Length: 045\r\n"),
        ("POST /trap", "Content-Length: 45\r\n"),
        ("POST /exit", "Content-Length: 45\r\n"),
        ("POST /noresponse", "Content-Length: 45\r\n"),
        ("POST /spin", "Content-Length: 45\r\n"),
        ("POST /late-trap", "Content-Length: 45\r\n"),
        ("POST /status?code=304", "Content-Length: 45\r\n"),
        ("POST /short?cl=5&n=3", "Content-Length: 45\r\n"),
        ("POST /early", "Transfer-Encoding: chunked\r\n"),
        ("POST /trap", "Transfer-Encoding: Chunked\r\n"),
        (
            "POST /early",
            "Expect: 100-continue\r\nContent-Length: 45\r\n",
        ),
        (
            "POST /trap",
            "Expect: 100-continue\r\nContent-Length: 45\r\n",
        ),
    ];
    assert_eq!(SMUGGLED.len(), 45);
    for (line, fields) in requests {
        let body = if fields.contains("hunked") {
            format!("2d\r\n{SMUGGLED}\r\n0\r\n\r\n")
        } else {
            SMUGGLED.to_owned()
        };
        // The last one is a request, and ends the connection where it is still open.
        let last = "GET /twice HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        let bytes = format!("{line} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{body}{last}");
        let text = all_responses(&host, bytes.as_bytes());
        assert!(!text.contains("lines 1\n"), "{line} {fields}: {text}");
        let responses = text.matches("HTTP/1.1 ").count();
        assert!(matches!(responses, 1 | 2), "{line} {fields}: {text}");
        if responses == 2 {
            assert!(text.ends_with("\r\n\r\n1\n"), "{line} {fields}: {text}");
        }
    }
    check_nothing_was_served(&host);
}
