//! Connections that change hands: whichever worker accepts, and however often the Host changes, the
//! worker that a tenant is pinned to answers, and the client notices nothing.
//!
//! ```text
//!             ┌─ worker 0 ─┐   socket + bytes read   ┌─ worker 1 ─┐
//! client ────►│ a, upload  │◄───────────────────────►│ b, echo    │      both: on either
//!             └────────────┘                         └────────────┘
//! ```

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use common::{
    Builder, Client, PATIENCE, Tenant, TestHost, cores, holds, open_files, pin_thread, socket_inode,
};

/// Tenants of worker 0, and of worker 1. `a`, `b` and `both` answer their name; `upload` and `echo`
/// read bodies.
fn builder() -> Builder {
    // Queues that hold all the connections of a test, however they meet.
    let named = |name: &str| {
        Tenant::new(name, "tenantname")
            .env("NAME", name)
            .limit("queue", 2_000)
            .limit("queue_ms", 30_000)
    };
    TestHost::builder()
        .workers(2)
        .tenant(named("a").on_workers(&[0]))
        .tenant(named("b").on_workers(&[1]))
        .tenant(named("both").cores(2))
        .tenant(Tenant::new("upload", "kitchen").on_workers(&[0]))
        .tenant(Tenant::new("echo", "echo").on_workers(&[1]))
        .tenant(
            Tenant::new("brief", "kitchen")
                .on_workers(&[0])
                .limit("wall_ms", 200)
                .limit("cpu_ms", 50),
        )
}

/// A host with two workers; `None` on a machine with one core, where nothing is handed over.
fn two_workers() -> Option<TestHost> {
    if cores().len() < 2 {
        eprintln!("skipped: two workers need two cores");
        return None;
    }
    Some(builder().start())
}

/// Runs `work` once on each core: the kernel gives a connection to the worker of the core that it
/// comes from, so that each worker accepts some.
fn on_each_core(work: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for &core in &cores()[..2] {
            let work = &work;
            scope.spawn(move || {
                pin_thread(core);
                work(&format!("from core {core}"));
            });
        }
    });
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

/// Has both workers turn their rings: what was sent before this has been read when it returns.
fn turn_both(host: &TestHost) {
    host.get("a.test", "/").expect(200);
    host.get("b.test", "/").expect(200);
}

/// The workers, by their place, that hold the host's end of this connection.
fn holders(host: &TestHost, client: &Client) -> Vec<usize> {
    let pids = host.worker_pids();
    (0..pids.len())
        .filter(|place| holds(pids[*place], client))
        .collect()
}

#[test]
fn new_connections_reach_their_tenant() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        for round in 0..200 {
            for name in ["a", "b", "both"] {
                let response = host.get(&format!("{name}.test"), "/").expect(200);
                assert_eq!(response.text(), name, "{from}, round {round}");
            }
        }
    });
}

#[test]
fn a_connection_moves_to_the_worker_of_its_tenant() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        let mut client = host.connect();
        for (name, place) in [("a", 0), ("b", 1), ("a", 0)] {
            assert_eq!(client.get(&format!("{name}.test"), "/").text(), name);
            // The worker that passed it on closes its own copy a moment later.
            wait_until(&format!("{from}: worker {place} alone has it"), || {
                holders(&host, &client) == [place]
            });
        }
    });
}

#[test]
fn a_tenant_on_both_workers_is_served_where_its_connections_arrive() {
    let Some(host) = two_workers() else { return };
    let mut clients = Vec::new();
    for &core in &cores()[..2] {
        let connect = || {
            pin_thread(core);
            let connect_one = |_| {
                let mut client = host.connect();
                assert_eq!(client.get("both.test", "/").expect(200).text(), "both");
                client
            };
            (0..20).map(connect_one).collect::<Vec<_>>()
        };
        clients.extend(thread::scope(|scope| scope.spawn(connect).join().unwrap()));
    }
    let mut places = HashSet::new();
    for client in &mut clients {
        let before = holders(&host, client);
        assert_eq!(client.get("both.test", "/").expect(200).text(), "both");
        let after = holders(&host, client);
        assert_eq!(before, after, "there was no reason to move it");
        places.extend(after);
    }
    assert_eq!(places, HashSet::from([0, 1]));
}

#[test]
fn one_connection_alternates_between_workers() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        let mut client = host.connect();
        for round in 0..200 {
            let name = ["a", "b"][round % 2];
            let response = client.get(&format!("{name}.test"), "/").expect(200);
            assert_eq!(response.text(), name, "{from}, round {round}");
        }
    });
}

/// A small generator (SplitMix64), so that a failing order can be had again.
struct Order(u64);

impl Order {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// A body that looks like requests for other tenants: whoever loses count of it is found out.
fn body(length: usize) -> Vec<u8> {
    let trap = b"\r\n\r\nGET /trap HTTP/1.1\r\nhost: a.test\r\n\r\n0\r\n\r\n";
    trap.iter().copied().cycle().take(length).collect()
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    format!("bytes {}\nfnv1a {:016x}\n", bytes.len(), fnv1a(bytes)).into_bytes()
}

/// Appends a request with this body, in chunks of uneven size or with its length.
fn request(out: &mut Vec<u8>, host: &str, path: &str, body: &[u8], chunked: bool) {
    let framing = if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", body.len())
    };
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{framing}\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    if !chunked {
        out.extend_from_slice(body);
        return;
    }
    for chunk in body.chunks(777) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
}

/// 300 requests in random order of hosts, and the body that each is answered with.
fn mixed_requests(seed: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut order = Order(seed);
    let mut sent = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..300 {
        let payload = body(order.below(6_000));
        let chunked = order.below(2) == 1;
        match order.below(5) {
            0 | 1 => {
                let name = ["a", "b"][order.below(2)];
                let head = format!("GET / HTTP/1.1\r\nhost: {name}.test\r\n\r\n");
                sent.extend_from_slice(head.as_bytes());
                answers.push(name.as_bytes().to_vec());
            }
            // Its guest does not read the body; the next request stands behind it all the same.
            2 => {
                request(&mut sent, "b.test", "/", &payload, chunked);
                answers.push(b"b".to_vec());
            }
            3 => {
                request(&mut sent, "upload.test", "/upload", &payload, chunked);
                answers.push(counted(&payload));
            }
            _ => {
                request(&mut sent, "echo.test", "/", &payload, chunked);
                answers.push(payload);
            }
        }
    }
    (sent, answers)
}

#[test]
fn pipelined_requests_of_mixed_hosts_are_answered_in_order() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        for seed in 0..4 {
            let (sent, answers) = mixed_requests(seed);
            let mut client = host.connect();
            let mut writer = client.stream().try_clone().expect("another handle");
            thread::scope(|scope| {
                scope.spawn(move || writer.write_all(&sent).expect("sending it all"));
                for (index, answer) in answers.iter().enumerate() {
                    let response = client.read_response().expect(200);
                    assert!(
                        response.body == *answer,
                        "{from}, seed {seed}, request {index}: {response:?}, not {:?}",
                        String::from_utf8_lossy(answer)
                    );
                }
            });
            // Nothing is left over: the connection is ready for the next one.
            assert_eq!(client.get("a.test", "/").text(), "a");
        }
    });
}

#[test]
fn a_head_that_arrives_byte_by_byte() {
    let Some(host) = two_workers() else { return };
    let head = |name: &str| format!("GET / HTTP/1.1\r\nx-before: 1\r\nHost: {name}.test\r\n\r\n");
    on_each_core(|from| {
        // The first request of a connection, then the next ones of one that is kept alive.
        let mut client = host.connect();
        for name in ["b", "a", "b"] {
            for byte in head(name).as_bytes() {
                client.send([*byte]);
                turn_both(&host);
            }
            assert_eq!(client.read_response().expect(200).text(), name, "{from}");
        }
    });
}

#[test]
fn a_head_that_is_cut_anywhere() {
    let Some(host) = two_workers() else { return };
    let mut client = host.connect();
    let mut names = ["a", "b"].iter().cycle();
    let length = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".len();
    for cut in 1..length {
        let name = names.next().unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n");
        client.send(&head[..cut]);
        turn_both(&host);
        client.send(&head[cut..]);
        assert_eq!(
            client.read_response().expect(200).text(),
            *name,
            "cut at {cut}"
        );
    }
}

#[test]
fn a_body_that_is_partly_there() {
    let Some(host) = two_workers() else { return };
    let payload = body(40_000);
    on_each_core(|from| {
        for (first, target, chunked) in [
            ("b.test", "upload.test", false),
            ("b.test", "upload.test", true),
            ("a.test", "echo.test", false),
            ("a.test", "echo.test", true),
        ] {
            let mut all = Vec::new();
            request(&mut all, target, "/upload", &payload, chunked);
            let whole = match target {
                "echo.test" => payload.clone(),
                _ => counted(&payload),
            };
            let head = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            // Within the head, right after it, within the body, before its last byte.
            for cut in [head - 1, head, head + 1, head + 20_000, all.len() - 1] {
                let mut client = host.connect();
                client.get(first, "/").expect(200);
                client.send(&all[..cut]);
                turn_both(&host);
                // The rest comes together with a request that belongs to the other worker again.
                let next = format!("GET / HTTP/1.1\r\nhost: {first}\r\n\r\n");
                client.send([&all[cut..], next.as_bytes()].concat());
                let response = client.read_response().expect(200);
                assert!(
                    response.body == whole,
                    "{from}: {target}, chunked {chunked}, cut at {cut}: {response:?}"
                );
                let name = first.strip_suffix(".test").unwrap();
                assert_eq!(client.read_response().expect(200).text(), name);
            }
        }
    });
}

#[test]
fn expect_continue_is_answered_by_the_worker_that_reads_the_body() {
    let Some(host) = two_workers() else { return };
    let payload = body(10_000);
    on_each_core(|from| {
        let mut client = host.connect();
        for (target, answer) in [("upload", counted(&payload)), ("echo", payload.clone())] {
            let mut head = String::new();
            let _ = write!(
                head,
                "POST /upload HTTP/1.1\r\nhost: {target}.test\r\ncontent-length: {}\r\n\
                 expect: 100-continue\r\n\r\n",
                payload.len()
            );
            client.send(head);
            let interim = client.read_response();
            assert_eq!(interim.status, 100, "{from}: {interim:?}");
            client.send(&payload);
            let response = client.read_response().expect(200);
            assert!(response.body == answer, "{from}: {target}: {response:?}");
        }
        assert_eq!(client.get("a.test", "/").text(), "a");
    });
}

#[test]
fn a_body_that_its_guest_gave_up_does_not_shift_what_follows() {
    let Some(host) = two_workers() else { return };
    let mut client = host.connect();
    // The guest's time ends while the host waits for the rest of a chunk size: `1` of `100`.
    client.send(
        "POST /upload HTTP/1.1\r\nhost: brief.test\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n1",
    );
    let response = client.read_response().expect(504);
    assert_eq!(response.reason(), "wall_exhausted");
    // Whoever forgot the `1` sees the end of the body, and a request in what is its data.
    let mut data = b"\r\nGET / HTTP/1.1\r\nhost: a.test\r\nx-fill: ".to_vec();
    data.resize(0x100 - 4, b'x');
    data.extend_from_slice(b"\r\n\r\n");
    let next = b"\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: b.test\r\n\r\n";
    let rest = [b"00\r\n", &data[..], next].concat();
    // The host may close instead: nobody promised to read what no guest wants.
    if client.try_send(rest).is_ok()
        && let Ok(response) = client.try_read_response()
    {
        assert_eq!(response.expect(200).text(), "b");
    }
}

#[test]
fn an_unknown_host_is_refused_where_it_arrives() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        for before in [None, Some("a"), Some("b")] {
            let mut client = host.connect();
            if let Some(name) = before {
                assert_eq!(client.get(&format!("{name}.test"), "/").text(), name);
            }
            let refused = client.get("nobody.test", "/").expect(404);
            assert_eq!(refused.reason(), "unknown_host", "{from}, after {before:?}");
        }
    });
}

#[test]
fn five_hundred_connections_with_mixed_hosts() {
    let Some(host) = two_workers() else { return };
    on_each_core(|from| {
        let mut clients: Vec<Client> = (0..250).map(|_| host.connect()).collect();
        for round in 0..4 {
            let name = |index: usize| ["a", "b", "both"][(index + round) % 3];
            for (index, client) in clients.iter_mut().enumerate() {
                let name = name(index);
                client.send(format!("GET / HTTP/1.1\r\nhost: {name}.test\r\n\r\n"));
            }
            for (index, client) in clients.iter_mut().enumerate() {
                let response = client.read_response().expect(200);
                assert_eq!(
                    response.text(),
                    name(index),
                    "{from}, round {round}, {index}"
                );
            }
        }
    });
}

#[test]
fn workers_keep_no_descriptor_of_what_they_handed_on() {
    let Some(host) = two_workers() else { return };
    turn_both(&host);
    let pids = host.worker_pids();
    let sockets = |pid: u32| {
        let files = open_files(pid);
        files
            .iter()
            .filter(|file| file.starts_with("socket:"))
            .count()
    };
    // Connections that warmed the host are closed by now, or soon.
    let quiet = || pids.iter().map(|pid| sockets(*pid)).collect::<Vec<_>>();
    let mut before = quiet();
    wait_until("as many sockets as last time", || {
        let now = quiet();
        std::mem::replace(&mut before, now.clone()) == now
    });

    on_each_core(|_| {
        // Handed to and fro, then closed by the client, in the middle of a request too.
        for round in 0..50 {
            let mut client = host.connect();
            for name in ["a", "b", "a", "b"] {
                assert_eq!(client.get(&format!("{name}.test"), "/").text(), name);
            }
            match round % 3 {
                0 => {}
                1 => client
                    .send("POST /upload HTTP/1.1\r\nhost: upload.test\r\ncontent-length: 9\r\n"),
                _ => client.send(
                    "POST /upload HTTP/1.1\r\nhost: upload.test\r\ncontent-length: 9\r\n\r\nabc",
                ),
            }
        }
    });
    wait_until("every socket was closed", || {
        let now = quiet();
        now.iter().zip(&before).all(|(now, before)| now <= before)
    });
}

#[test]
fn the_socket_table_is_read_right() {
    // `holders` would be empty for ever if it were not.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let found = socket_inode(listener.local_addr().unwrap(), client.local_addr().unwrap());
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&server));
    assert_eq!(found, Some(fs::metadata(path).unwrap().ino()));
}
