//! Clients that send too much, too little, too slowly, or not what they said.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::arena::{self, Stage};
use crate::case::{Case, Threat, run};
use crate::common::{Client, Response};

pub const THREAT: Threat = Threat {
    name: "clients",
    cases: CASES,
    lines: &[
        ("http", "head_timeout_ms = 250"),
        ("http", "body_timeout_ms = 250"),
        // Longer than the victim may wait, or its own connection could be idle.
        ("http", "idle_timeout_ms = 2500"),
        ("http", "connections_max = 64"),
    ],
};

const CASES: &[Case] = &[
    run(
        "fields-many",
        "1,000 header fields",
        fields_many,
        "431 head_too_large",
    ),
    run(
        "field-long",
        "one header field of 1 MiB",
        field_long,
        "431 head_too_large",
    ),
    run(
        "target-long",
        "a request target of 1 MiB",
        target_long,
        "414 uri_too_long",
    ),
    run(
        "empty-lines",
        "empty lines for ever",
        empty_lines,
        "400 or 431, or the connection ends",
    ),
    run(
        "noise",
        "bytes that mean nothing",
        noise,
        "400 malformed_request, or 414, 431, 505",
    ),
    run("tls", "a TLS handshake", tls, "400 malformed_request"),
    run(
        "silent",
        "connects and says nothing",
        silent,
        "the connection ends after idle_timeout_ms",
    ),
    run(
        "slow-head",
        "a head of one byte each 20 ms",
        slow_head,
        "408 head_timeout",
    ),
    run(
        "slow-body",
        "a body of one byte each 20 ms",
        slow_body,
        "504 wall_exhausted",
    )
    .with(&[("wall_ms", 600)]),
    run(
        "body-that-stops",
        "half of the body it said",
        body_that_stops,
        "408 body_timeout",
    ),
    run(
        "expect-never-sent",
        "Expect: 100-continue, then no body",
        expect_never_sent,
        "100, then 408 body_timeout",
    ),
    run(
        "never-reads",
        "an endless answer that nobody reads",
        never_reads,
        "200, then the connection ends: body_timeout",
    ),
    run(
        "slow-reader",
        "reads an endless answer in small pieces",
        slow_reader,
        "200, then the connection ends: wall_exhausted or body_timeout",
    )
    .with(&[("wall_ms", 600)]),
    run(
        "half-closed-head",
        "ends its side in the middle of a head",
        half_closed_head,
        "the connection ends without an answer",
    ),
    run(
        "half-closed-body",
        "ends its side in the middle of a body",
        half_closed_body,
        "the connection ends without an answer: client_gone",
    ),
    run(
        "half-closed-request",
        "ends its side after a request",
        half_closed_request,
        "200",
    ),
    run(
        "reset-body",
        "resets in the middle of a body",
        reset_body,
        "client_gone in the log",
    ),
    run(
        "reset-answer",
        "resets in the middle of an answer",
        reset_answer,
        "client_gone in the log",
    ),
    run(
        "connection-flood",
        "as many connections as there may be, and more",
        connection_flood,
        "they wait, and end after idle_timeout_ms",
    ),
    run(
        "connect-and-close",
        "connects and closes, 200 times",
        connect_and_close,
        "no answer",
    ),
    run(
        "pipelining",
        "2,000 requests at once, of which no answer is read",
        pipelining,
        "200 in order, or the connection ends",
    ),
    run(
        "pipelined-spins",
        "20 requests at once that compute for ever",
        pipelined_spins,
        "504 cpu_exhausted, one after the other",
    )
    .with(&[("cpu_ms", 20)]),
    run(
        "chunk-huge",
        "a chunk of 2^64-1 bytes",
        chunk_huge,
        "413 body_too_large",
    ),
    run(
        "chunk-extensions",
        "chunk extensions for ever",
        chunk_extensions,
        "400 bad_chunk",
    ),
    run(
        "chunks-of-one",
        "100,000 chunks of one byte",
        chunks_of_one,
        "504 cpu_exhausted or 200",
    ),
    run(
        "trailers",
        "1,000 trailer fields",
        trailers,
        "431 head_too_large",
    ),
    run(
        "body-too-large",
        "a body above the limit, in length and in chunks",
        body_too_large,
        "413 body_too_large",
    )
    .with(&[("request_body_bytes", 1_000)]),
    run(
        "targets",
        "targets that are none, or another's",
        targets,
        "400, 404, 421 or 501 with their reasons",
    ),
    run(
        "anothers-host",
        "the victim's name in the target, the field, and both",
        anothers_host,
        "200 of the victim, or 400 bad_host",
    ),
];

#[test]
fn clients() {
    arena::run(&THREAT);
}

/// Sends this, reads the answer, and fails unless the connection ends after it.
fn refused(stage: &Stage<'_>, bytes: impl AsRef<[u8]>, answer: &str) {
    let mut client = stage.send(bytes);
    stage.check(&client.read_response(), answer);
    client.expect_close();
}

/// Waits for an access line of this tenant with that reason.
fn logged(stage: &Stage<'_>, mark: usize, reason: &str) {
    stage.host.wait_for_log_after(mark, |line| {
        line["kind"] == "access" && line["tenant"] == stage.name && line["reason"] == reason
    });
}

fn fields_many(stage: &Stage<'_>) {
    refused(
        stage,
        stage.head("GET /") + &"x: y\r\n".repeat(1_000) + "\r\n",
        "431 head_too_large",
    );
}

fn field_long(stage: &Stage<'_>) {
    let long = "x".repeat(1 << 20);
    let mut client = stage.send(stage.head("GET /") + "x: " + &long + "\r\n\r\n");
    // It may be cut off before it has read the answer: most of what it sent was not taken.
    if let Ok(response) = client.try_read_response() {
        stage.check(&response, "431 head_too_large");
    }
}

fn target_long(stage: &Stage<'_>) {
    let long = "x".repeat(1 << 20);
    let mut client = stage.send(stage.head(&format!("GET /{long}")) + "\r\n");
    if let Ok(response) = client.try_read_response() {
        stage.check(&response, "414 uri_too_long");
    }
}

fn empty_lines(stage: &Stage<'_>) {
    let mut client = stage.send("\r\n".repeat(1 << 20));
    let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
}

/// Bytes that mean nothing, the same every time (SplitMix64).
fn noise(stage: &Stage<'_>) {
    let mut state = 7_u64;
    for _ in 0..50 {
        let bytes: Vec<u8> = (0..512)
            .flat_map(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (mixed ^ (mixed >> 27)).to_le_bytes()
            })
            .collect();
        let mut client = stage.send(bytes);
        client.finish_sending();
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(
            answer.is_empty()
                || answer.starts_with("HTTP/1.1 4")
                || answer.starts_with("HTTP/1.1 505"),
            "{answer}"
        );
    }
}

fn tls(stage: &Stage<'_>) {
    refused(
        stage,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "400 malformed_request",
    );
}

fn silent(stage: &Stage<'_>) {
    let started = Instant::now();
    stage.host.connect().expect_close();
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(2_400), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Sends a byte at a time until the host has an answer to it.
fn drip(client: &mut Client, bytes: &[u8]) -> Response {
    for byte in bytes.iter().cycle() {
        if client.try_send([*byte]).is_err() || is_readable(client, Duration::from_millis(20)) {
            break;
        }
    }
    client.read_response()
}

/// Waits so long for something to read.
fn is_readable(client: &Client, wait: Duration) -> bool {
    client
        .stream()
        .set_read_timeout(Some(wait))
        .expect("a timeout");
    let readable = client.stream().peek(&mut [0]).is_ok();
    let patience = Some(crate::common::PATIENCE);
    client
        .stream()
        .set_read_timeout(patience)
        .expect("a timeout");
    readable
}

fn slow_head(stage: &Stage<'_>) {
    let mut client = stage.send("G");
    stage.check(
        &drip(&mut client, b"x"),
        "408 head_timeout or 400 malformed_request",
    );
    let mut client = stage.send(stage.head("GET /") + "x: ");
    stage.check(&drip(&mut client, b"x"), "408 head_timeout");
    client.expect_close();
}

fn slow_body(stage: &Stage<'_>) {
    let mut client = stage.send(stage.head("POST /read-all") + "content-length: 100000\r\n\r\n");
    stage.check(&drip(&mut client, b"x"), "504 wall_exhausted");
}

fn body_that_stops(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all");
    refused(
        stage,
        head + "content-length: 10\r\n\r\nhalf",
        "408 body_timeout",
    );
}

fn expect_never_sent(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all");
    let mut client = stage.send(head + "content-length: 10\r\nexpect: 100-continue\r\n\r\n");
    client.read_response().expect(100);
    stage.check(&client.read_response(), "408 body_timeout");
    client.expect_close();
}

fn never_reads(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    let mut client = stage.send(stage.head("GET /endless") + "\r\n");
    logged(stage, mark, "body_timeout");
    ends_in_the_middle(&mut client);
}

/// Fails when the body has an end.
fn ends_in_the_middle(client: &mut Client) {
    let mut response = client.read_head().expect("a head").expect(200);
    let read = client.read_body(&mut response, |_| {});
    read.expect_err("a body without end");
}

fn slow_reader(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    let client = stage.send(stage.head("GET /endless") + "\r\n");
    let mut piece = [0; 16 << 10];
    let mut bytes = 0;
    while let Ok(read @ 1..) = client.stream().read(&mut piece) {
        bytes += read;
        // Slowness is the attack.
        thread::sleep(Duration::from_millis(2));
    }
    assert!(bytes > 0, "a part of the answer");
    let line = stage.host.wait_for_log_after(mark, |line| {
        line["kind"] == "access" && line["tenant"] == stage.name && line["path"] == "/endless"
    });
    let reason = line["reason"].as_str().unwrap_or_default();
    assert!(
        matches!(reason, "wall_exhausted" | "body_timeout"),
        "{line}"
    );
}

fn half_closed_head(stage: &Stage<'_>) {
    let mut client = stage.send(stage.head("GET /"));
    client.finish_sending();
    client.expect_close();
}

fn half_closed_body(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    let mut client = stage.send(stage.head("POST /read-all") + "content-length: 10\r\n\r\nhalf");
    client.finish_sending();
    client.expect_close();
    logged(stage, mark, "client_gone");
}

fn half_closed_request(stage: &Stage<'_>) {
    let mut client = stage.send(stage.head("GET /") + "\r\n");
    client.finish_sending();
    assert_eq!(client.read_response().expect(200).text(), "ready\n");
    client.expect_close();
}

/// Closes with a reset.
fn reset(client: Client) {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(client.stream(), sockopt::Linger, &linger).expect("SO_LINGER");
}

fn reset_body(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    reset(stage.send(stage.head("POST /read-all") + "content-length: 10\r\n\r\nhalf"));
    logged(stage, mark, "client_gone");
}

fn reset_answer(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    let mut client = stage.send(stage.head("GET /endless") + "\r\n");
    client.read_head().expect("a head").expect(200);
    reset(client);
    logged(stage, mark, "client_gone");
}

fn connection_flood(stage: &Stage<'_>) {
    // The victim keeps the one it has; new ones wait for a place like everybody's.
    stage
        .watch
        .keep_connection
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let mut flood: Vec<_> = (0..100).map(|_| stage.host.connect()).collect();
    for client in &mut flood {
        client.expect_close();
    }
    assert_eq!(
        stage.host.get(&stage.authority(), "/").expect(200).text(),
        "ready\n"
    );
}

fn connect_and_close(stage: &Stage<'_>) {
    for _ in 0..200 {
        drop(TcpStream::connect(stage.host.addr()).expect("a connection"));
    }
}

fn pipelining(stage: &Stage<'_>) {
    let request = stage.head("GET /status?code=204") + "\r\n";
    let client = stage.host.connect();
    client
        .stream()
        .set_write_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let mut stream = client.stream();
    // The host reads ahead only so much: where nobody reads the answers, sending stops.
    let _ = stream.write_all(request.repeat(2_000).as_bytes());
    let mut client = client;
    for _ in 0..20 {
        client.read_response().expect(204);
    }
}

fn pipelined_spins(stage: &Stage<'_>) {
    let request = stage.head("GET /spin") + "\r\n";
    let mut client = stage.send(request.repeat(10));
    for _ in 0..10 {
        stage.check(&client.read_response(), "504 cpu_exhausted");
    }
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

fn chunk_huge(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all") + CHUNKED;
    refused(stage, head + "ffffffffffffffff\r\n", "413 body_too_large");
}

fn chunk_extensions(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all") + CHUNKED;
    let chunk = format!("1;{}\r\nx\r\n", "e".repeat(500));
    let mut client = stage.send(head + &chunk.repeat(1_000));
    if let Ok(response) = client.try_read_response() {
        stage.check(&response, "400 bad_chunk");
    }
}

fn chunks_of_one(stage: &Stage<'_>) {
    let body = "1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n";
    let mut client = stage.send(stage.head("POST /read-all") + CHUNKED + &body);
    stage.check(&client.read_response(), "200 or 504 cpu_exhausted");
}

fn trailers(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all") + CHUNKED;
    refused(
        stage,
        head + "0\r\n" + &"x: y\r\n".repeat(1_000) + "\r\n",
        "431 head_too_large",
    );
}

fn body_too_large(stage: &Stage<'_>) {
    let head = stage.head("POST /read-all");
    refused(
        stage,
        format!("{head}content-length: 1001\r\n\r\n"),
        "413 body_too_large",
    );
    let chunks = format!("3e8\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1_000));
    refused(
        stage,
        format!("{head}{CHUNKED}{chunks}"),
        "413 body_too_large",
    );
}

fn targets(stage: &Stage<'_>) {
    let cases = [
        ("GET //", "200"),
        ("GET /../../etc/passwd", "200"),
        ("GET /%00%2e%2e", "200"),
        ("GET *", "400 malformed_request"),
        ("GET etc/passwd", "400 malformed_request"),
        ("GET http://", "400 bad_host or 400 malformed_request"),
        (
            "GET http://a@b.test/",
            "400 bad_host or 400 malformed_request",
        ),
        ("GET http://nobody.test/", "404 unknown_host"),
        ("GET https://nobody.test/", "421 misdirected"),
        ("GET file:///etc/passwd", "400 malformed_request"),
        ("CONNECT 169.254.169.254:80", "501 method_not_implemented"),
    ];
    for (line, answer) in cases {
        let mut client = stage.send(stage.head(line) + "\r\n");
        let response = client.read_response();
        stage.check(&response, answer);
    }
}

/// Whatever it says, a request reaches one tenant: the one that its target names, else its only Host.
fn anothers_host(stage: &Stage<'_>) {
    let victims = "Hello from skep\n";
    let own = stage.authority();
    let absolute = format!("GET http://victim.test/ HTTP/1.1\r\nhost: {own}\r\n\r\n");
    assert_eq!(
        stage.send(absolute).read_response().expect(200).text(),
        victims
    );
    let absolute = format!("GET http://{own}/ HTTP/1.1\r\nhost: victim.test\r\n\r\n");
    assert_eq!(
        stage.send(absolute).read_response().expect(200).text(),
        "ready\n"
    );
    for fields in [
        "host: victim.test\r\n",
        "host:\r\n",
        "host : victim.test\r\n",
    ] {
        let mut client = stage.send(stage.head("GET /") + fields + "\r\n");
        stage.check(
            &client.read_response(),
            "400 bad_host or 400 malformed_request",
        );
    }
}
