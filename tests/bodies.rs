//! Bodies of every size and shape, in both directions, in constant memory.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::{Builder, Client, PATIENCE, Tenant, TestHost, memory_kib, reset_memory_peak};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How much a worker may grow while a body of any size passes: a few buffers of 64 KiB for the body,
/// the pages of one instance, and what the allocator keeps.
const GROWTH_MIB_MAX: u64 = 16;

/// The kitchen as `a.test` and the echo as `echo.test`, which may take as long as they like.
fn host() -> Builder {
    let patient = |name, guest| {
        Tenant::new(name, guest)
            .limit("cpu_ms", 600_000)
            .limit("wall_ms", 3_600_000)
            .limit("request_body_bytes", 16 * GIB)
    };
    TestHost::builder()
        .tenant(patient("a", "kitchen"))
        .tenant(patient("echo", "echo"))
}

/// The size of large bodies; `SKEP_LONG=1` makes it 10 GiB.
fn large() -> u64 {
    match std::env::var_os("SKEP_LONG") {
        Some(_) => 10 * GIB,
        None => GIB,
    }
}

/// The pattern that the kitchen's bodies have, from an offset on.
fn pattern(offset: u64, length: usize) -> Vec<u8> {
    let phase = (offset % 251) as usize;
    (phase..phase + length).map(|at| (at % 251) as u8).collect()
}

/// Sends a body on a thread of its own: an echo's client that does not read while it writes waits for
/// ever.
fn send_aside(
    client: &Client,
    send: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> thread::JoinHandle<std::io::Result<()>> {
    let mut stream = client.stream().try_clone().expect("a second handle");
    thread::spawn(move || send(&mut stream))
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

const SIZES: [usize; 13] = [
    0, 1, 2, 250, 251, 4095, 8191, 8192, 8193, 65_535, 65_536, 65_537, 300_001,
];

#[test]
fn bodies_of_known_length_come_back_whole() {
    let host = host().start();
    let mut client = host.connect();
    for size in SIZES {
        let body = pattern(0, size);
        let sent = body.clone();
        let sender = send_aside(&client, move |stream| {
            let head =
                format!("POST / HTTP/1.1\r\nHost: echo.test\r\nContent-Length: {size}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &sent].concat())
        });
        let response = client.read_response().expect(200);
        assert!(
            response.body == body,
            "{size}: {} bytes",
            response.body.len()
        );
        sender.join().expect("the sender").expect("sent");
    }
}

#[test]
fn chunked_bodies_come_back_whole_wherever_the_chunks_end() {
    let host = host().start();
    let mut client = host.connect();
    for size in SIZES {
        for chunk_size in [1, 7, 255, 4096, 65_537, 1 << 20] {
            if size / chunk_size > 10_000 {
                continue;
            }
            let body = pattern(0, size);
            let sent = body.clone();
            let sender = send_aside(&client, move |stream| {
                let head =
                    "POST / HTTP/1.1\r\nHost: echo.test\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes())?;
                let chunks: Vec<u8> = sent.chunks(chunk_size).flat_map(chunk).collect();
                stream.write_all(&chunks)?;
                stream.write_all(b"0\r\n\r\n")
            });
            let response = client.read_response().expect(200);
            assert!(
                response.body == body,
                "{size} by {chunk_size}: {} bytes",
                response.body.len()
            );
            sender.join().expect("the sender").expect("sent");
        }
    }
}

#[test]
fn bodies_come_back_whole_that_are_sent_byte_by_byte() {
    let host = host().start();
    let body = pattern(0, 3000);
    let chunks: Vec<u8> = body
        .chunks(3)
        .flat_map(chunk)
        .chain(*b"0\r\n\r\n")
        .collect();
    let cases = [
        ("Content-Length: 3000", body.clone()),
        ("Transfer-Encoding: chunked", chunks),
    ];
    for (framing, bytes) in cases {
        let mut client = host.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: echo.test\r\n{framing}\r\n\r\n"
        ));
        let sender = send_aside(&client, move |stream| {
            bytes.iter().try_for_each(|byte| stream.write_all(&[*byte]))
        });
        assert!(client.read_response().expect(200).body == body, "{framing}");
        sender.join().expect("the sender").expect("sent");
    }
}

/// The response begins before the request ends.
#[test]
fn a_body_is_streamed_and_not_gathered() {
    let host = host().start();
    let mut client = host.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: echo.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
    );
    let mut response = client
        .read_head()
        .expect("a head before the end of the request");
    assert_eq!(response.status, 200);
    let mut rest = client.stream().try_clone().expect("a second handle");
    let mut body = Vec::new();
    let read = client.read_body(&mut response, |piece| {
        // The second piece is sent when the first has come back.
        body.extend_from_slice(piece);
        if body == b"first" {
            rest.write_all(b"6\r\nsecond\r\n0\r\n\r\n").expect("sent");
        }
    });
    read.expect("a whole body");
    assert_eq!(body, b"firstsecond");
}

/// Runs `transfer`, after which the worker's memory must never have been much larger than before.
fn in_constant_memory(host: &TestHost, name: &str, transfer: impl FnOnce()) {
    let worker = host.worker_pids()[0];
    let before = reset_memory_peak(worker);
    let started = Instant::now();
    transfer();
    let growth_mib = memory_kib(worker, "VmHWM").saturating_sub(before) / 1024;
    eprintln!("{name}: {:?}, grew by {growth_mib} MiB", started.elapsed());
    assert!(
        growth_mib < GROWTH_MIB_MAX,
        "{name}: grew by {growth_mib} MiB"
    );
}

/// Waits until a worker has stopped working: it has used next to no CPU for a while.
fn wait_until_idle(worker: u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = common::cpu_ns(worker);
        thread::sleep(Duration::from_millis(200));
        if common::cpu_ns(worker) - before < 2_000_000 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the worker does not come to rest"
        );
    }
}

/// Reads a body that must be `length` bytes of the pattern.
fn read_pattern(client: &mut Client, length: u64) {
    let period = pattern(0, 128 * 1024 + 251);
    let mut response = client.read_head().expect("a head").expect(200);
    let mut received = 0;
    let read = client.read_body(&mut response, |piece| {
        let phase = (received % 251) as usize;
        assert!(
            piece == &period[phase..phase + piece.len()],
            "near byte {received}"
        );
        received += piece.len() as u64;
    });
    read.expect("a whole body");
    assert_eq!(received, length);
}

/// Sends `length` bytes of the pattern.
fn send_pattern(stream: &mut TcpStream, length: u64) -> std::io::Result<()> {
    // Whole periods, so that every piece begins at the pattern's beginning.
    let piece = pattern(0, 251 * 512);
    let mut left = length;
    while left > 0 {
        let now = piece.len().min(left.try_into().unwrap_or(usize::MAX));
        stream.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(())
}

#[test]
fn large_bodies_take_constant_memory() {
    let host = host().start();
    let length = large();
    for path in ["/stream", "/download"] {
        in_constant_memory(&host, path, || {
            let mut client = host.connect();
            client.send(format!(
                "GET {path}?n={length}&chunk=65536 HTTP/1.1\r\nHost: a.test\r\n\r\n"
            ));
            read_pattern(&mut client, length);
        });
    }
    let post = |host: &str, path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n")
    };
    in_constant_memory(&host, "/upload", || {
        let mut client = host.connect();
        client.send(post("a.test", "/upload"));
        send_pattern(
            &mut client.stream().try_clone().expect("a second handle"),
            length,
        )
        .expect("sent");
        let text = client.read_response().expect(200).text();
        assert!(text.starts_with(&format!("bytes {length}\n")), "{text}");
    });
    in_constant_memory(&host, "echo", || {
        let mut client = host.connect();
        client.send(post("echo.test", "/"));
        let sender = send_aside(&client, move |stream| send_pattern(stream, length));
        read_pattern(&mut client, length);
        sender.join().expect("the sender").expect("sent");
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_guest_and_not_the_worker() {
    let host = host().start();
    let length = 256 * MIB;
    in_constant_memory(&host, "download", || {
        let mut slow = host.connect();
        slow.send(format!(
            "GET /stream?n={length}&chunk=65536 HTTP/1.1\r\nHost: a.test\r\n\r\n"
        ));
        wait_until_idle(host.worker_pids()[0]);
        assert_eq!(host.get("a.test", "/twice").expect(200).text(), "1\n");
        let lines = host.log_lines();
        let finished = lines.iter().any(|line| {
            line["path"]
                .as_str()
                .is_some_and(|p| p.starts_with("/stream"))
        });
        assert!(!finished, "the guest is still at it");
        read_pattern(&mut slow, length);
    });
}

#[test]
fn a_guest_that_does_not_read_stops_its_client() {
    let host = host().start();
    in_constant_memory(&host, "upload", || {
        let mut client = host.connect();
        client.send(format!(
            "POST /sleep?ms=2000 HTTP/1.1\r\nHost: a.test\r\nContent-Length: {GIB}\r\n\r\n"
        ));
        let mut stream = client.stream().try_clone().expect("a second handle");
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("a timeout");
        let piece = vec![0; 64 * 1024];
        let mut sent = 0_u64;
        let error = loop {
            match stream.write(&piece) {
                Ok(written) => sent += written as u64,
                Err(error) => break error,
            }
        };
        // The kernel's two buffers take some megabytes.
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(sent < 64 * MIB, "{} MiB were taken", sent / MIB);
        assert_eq!(client.read_response().expect(200).text(), "slept 2000 ms\n");
    });
}

/// Bytes of an unread body, and whether the connection can be used again.
#[test]
fn an_early_response_does_not_wait_for_the_body() {
    let host = host().start();
    let next = "GET /twice HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for (length, stays) in [
        (1, true),
        (60_000, true),
        (70_000, false),
        (10 * MIB, false),
    ] {
        for chunked in [false, true] {
            let framing = if chunked {
                format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n")
            } else {
                format!("Content-Length: {length}\r\n\r\n")
            };
            let mut client = host.connect();
            client.send(format!("POST /early HTTP/1.1\r\nHost: a.test\r\n{framing}"));
            // Before a byte of the body was sent.
            assert_eq!(client.read_response().expect(200).text(), "early\n");
            let sender = send_aside(&client, move |stream| {
                stream.write_all(&vec![b'x'; length as usize])?;
                let end = if chunked { "\r\n0\r\n\r\n" } else { "" };
                stream.write_all(format!("{end}{next}").as_bytes())
            });
            if stays {
                sender.join().expect("the sender").expect("sent");
                assert_eq!(
                    client.read_response().expect(200).text(),
                    "1\n",
                    "{length} {chunked}"
                );
            } else {
                client.expect_close();
                // Where the body is not taken, sending it fails.
                let _ = sender.join().expect("the sender");
            }
        }
    }
}

/// A client that goes away in the middle frees its place at once: there is only one.
#[test]
fn a_client_that_is_gone_frees_its_place() {
    let only_one = Tenant::new("a", "kitchen")
        .limit("concurrency", 1)
        .limit("queue", 0)
        .limit("cpu_ms", 600_000)
        .limit("wall_ms", 3_600_000);
    let host = TestHost::builder().tenant(only_one).start();
    let cases = [
        ("POST /upload?gone=1", "Content-Length: 100\r\n\r\nabc"),
        (
            "POST /upload?gone=2",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        ),
        (
            "POST /upload?gone=3",
            "Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
        ),
        ("GET /stream?n=99999999999", "\r\n"),
        ("GET /download?n=99999999999", "\r\n"),
    ];
    for how in [Some(Shutdown::Write), None] {
        for (line, rest) in cases {
            if how.is_some() && line.starts_with("GET") {
                continue; // a client may end its side and read on
            }
            let mut client = host.connect();
            client.send(format!("{line} HTTP/1.1\r\nHost: a.test\r\n{rest}"));
            let busy = |reason: &str| {
                let deadline = Instant::now() + PATIENCE;
                while host.get("a.test", "/twice").reason() != reason {
                    assert!(Instant::now() < deadline, "{line}: never {reason:?}");
                }
            };
            busy("tenant_busy");
            match how {
                Some(how) => client.stream().shutdown(how).expect("shut down"),
                None => drop(client),
            }
            busy("");
        }
    }
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_cut_off() {
    let host = host().line("http", "body_timeout_ms = 300").start();
    let mut client = host.connect();
    client.send("GET /stream?n=999999999 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let line = host.wait_for_access("/stream?n=999999999");
    assert_eq!(
        (&line["reason"], &line["fault"]),
        (&"body_timeout".into(), &"client".into())
    );
    assert_eq!(line["status"], 200);
    let error = client.try_read_response().expect_err("a body cut off");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
        ),
        "{error}"
    );
}
