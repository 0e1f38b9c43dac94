//! What a guest can ask of its host, on the real one.

use crate::common::{Tenant, TestHost, memory_kib};

fn host() -> TestHost {
    TestHost::builder()
        .tenant(Tenant::new("a", "advisory"))
        .tenant(Tenant::new("service", "service3"))
        .tenant(Tenant::new("echo", "echo"))
        .tenant(Tenant::new("kitchen", "kitchen"))
        .tenant(Tenant::new("good", "hello"))
        .start()
}

/// The host is as it was: the same workers, and they serve.
#[track_caller]
fn check_alive(host: &TestHost, workers: &[u32]) {
    assert_eq!(
        host.get("good.test", "/").expect(200).text(),
        "Hello from skep\n"
    );
    assert_eq!(host.worker_pids(), workers, "no worker has died of it");
}

#[test]
fn rustsec_2026_0020_ghsa_852m_a_guest_holds_a_bounded_number_of_everything() {
    let host = host();
    let workers = host.worker_pids();
    let before = memory_kib(workers[0], "VmRSS");
    for kind in [
        "fields",
        "requests",
        "responses",
        "options",
        "timers",
        "outputs",
        "inputs",
        "networks",
    ] {
        let path = |n: u32| format!("/flood?kind={kind}&n={n}");
        let within = host.get("a.test", &path(400)).expect(200);
        assert_eq!(within.text(), "held 400\n", "{kind}");
        let above = host.get("a.test", &path(1_000_000)).expect(500);
        assert_eq!(above.reason(), "resource_exhausted", "{kind}");
        assert_eq!(above.header("x-skep-fault"), Some("tenant"), "{kind}");
        check_alive(&host, &workers);
    }
    // Sockets are refused before they are anything.
    for kind in ["tcp", "udp"] {
        let path = format!("/flood?kind={kind}&n=2000");
        let response = host.get("a.test", &path);
        assert!(
            response.status == 500 || response.text() == "held 2000\n",
            "{kind}: {response:?}"
        );
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", workers[0]));
        assert!(descriptors.unwrap().count() < 200, "{kind}");
    }
    let after = memory_kib(workers[0], "VmRSS");
    assert!(after < before + 64 * 1024, "{before} to {after} KiB");
}

#[test]
fn rustsec_2026_0020_ghsa_852m_random_bytes_of_one_call_are_bounded() {
    let host = host();
    let workers = host.worker_pids();
    let most = host.get("a.test", "/random?n=65536").expect(200);
    assert_eq!(most.text(), "bytes 65536\n");
    for n in [65_537, 1 << 32, u64::MAX] {
        let refused = host.get("a.test", &format!("/random?n={n}")).expect(500);
        assert_eq!(refused.reason(), "trapped", "{n}");
    }
    check_alive(&host, &workers);
}

#[test]
fn rustsec_2026_0021_ghsa_243v_too_many_fields_are_no_panic() {
    let host = host();
    let workers = host.worker_pids();
    assert_eq!(
        host.get("a.test", "/fields?n=100").expect(200).text(),
        "100 fields\n"
    );
    for n in [2_000, 24_577, 32_769, 100_000] {
        let response = host.get("a.test", &format!("/fields?n={n}"));
        let refused =
            response.status == 500 || response.status == 504 || response.text().contains("then");
        assert!(refused, "{n}: {response:?}");
        check_alive(&host, &workers);
    }
}

/// The wait for a call that never returns is given up, and its future dropped: in 0.2 inside a host
/// call, in 0.3 inside an async one; with one and with many things that are waited for.
#[test]
fn rustsec_2026_0022_ghsa_xjhv_a_call_given_up_at_its_deadline_is_no_panic() {
    let limited = |name: &str, guest: &str| Tenant::new(name, guest).limit("wall_ms", 60);
    let host = TestHost::builder()
        .tenant(limited("a", "advisory"))
        .tenant(limited("service", "service3"))
        .tenant(limited("kitchen", "kitchen"))
        .tenant(Tenant::new("good", "hello"))
        .start();
    let workers = host.worker_pids();
    for _ in 0..10 {
        for (name, path) in [
            ("a.test", "/poll?n=1"),
            ("a.test", "/poll?n=300"),
            ("kitchen.test", "/sleep?ms=60000"),
            ("service.test", "/sleep?ms=60000"),
        ] {
            let late = host.get(name, path).expect(504);
            assert_eq!(late.reason(), "wall_exhausted", "{name}{path}");
        }
        // A client that goes away drops the call, too.
        for (name, path) in [("a.test", "/poll?n=9"), ("service.test", "/sleep?ms=60000")] {
            let mut client = host.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        }
    }
    check_alive(&host, &workers);
}

/// One write of 64 MiB from a 0.3 guest: the host takes it in pieces.
#[test]
fn ghsa_x84v_a_guests_write_is_not_the_hosts_buffer() {
    let service = Tenant::new("service", "service3");
    let host = TestHost::builder()
        .tenant(service.limit("cpu_ms", 5_000))
        .tenant(Tenant::new("good", "hello"))
        .start();
    let workers = host.worker_pids();
    let before = memory_kib(workers[0], "VmHWM");
    const BYTES: u64 = 48 << 20;
    let mut client = host.connect();
    client.send(format!(
        "GET /write?n={BYTES} HTTP/1.1\r\nHost: service.test\r\n\r\n"
    ));
    let mut head = client.read_response_to_head();
    assert_eq!(head.status, 200);
    // The guest has its 48 MiB; the host has them not a second time while nobody reads.
    assert_eq!(host.get("good.test", "/").status, 200);
    let held = memory_kib(workers[0], "VmHWM") - before;
    assert!(held < (BYTES >> 10) + 16 * 1024, "{held} KiB");
    let mut got = 0;
    let whole = client.read_body(&mut head, |piece| got += piece.len() as u64);
    assert!(whole.is_ok() && got == BYTES, "{got}: {whole:?}");
    let held = memory_kib(workers[0], "VmHWM") - before;
    assert!(held < (BYTES >> 10) + 16 * 1024, "{held} KiB");
    check_alive(&host, &workers);
}

/// Fields that frame or route a message, which no guest may set.
const FORBIDDEN: [&str; 8] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

#[test]
fn ghsa_jxcf_trailers_carry_no_forbidden_fields() {
    let host = host();
    let workers = host.worker_pids();
    for name in FORBIDDEN {
        let response = host
            .get("a.test", &format!("/forbidden?name={name}"))
            .expect(200);
        assert_eq!(response.header("header"), Some("refused"), "{name}");
        assert_eq!(response.header("appended"), Some("refused"), "{name}");
    }
    let allowed = host.get("a.test", "/forbidden?name=x-fine").expect(200);
    assert_eq!(allowed.header("appended"), Some("set"));
    // A client's trailers, which echoes send on as their own: in 0.2 and in 0.3.
    for tenant in ["echo", "service"] {
        for name in FORBIDDEN
            .into_iter()
            .chain(["content-length", "trailer", "te"])
        {
            let mut client = host.connect();
            client.send(format!(
                "POST /echo HTTP/1.1\r\nHost: {tenant}.test\r\nTransfer-Encoding: chunked\r\n\
                 Trailer: {name}\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n{name}: 1\r\nX-Last: 2\r\n\r\n"
            ));
            let answer = String::from_utf8_lossy(&client.read_to_end()).to_lowercase();
            let trailers = answer.rsplit("\r\n0\r\n").next().unwrap();
            assert!(
                !trailers.contains(&format!("{name}:")) || !answer.contains("\r\n0\r\n"),
                "{tenant} {name}: {answer}"
            );
            // An echo ends without an answer where its client broke off.
            assert!(answer.matches("http/1.1 ").count() <= 1, "{answer}");
        }
    }
    check_alive(&host, &workers);
}

#[test]
fn wasmtime_48_there_is_one_content_length_and_it_is_true() {
    let host = host();
    let workers = host.worker_pids();
    let text = host.get("a.test", "/lengths").expect(200).text();
    // One of the two is refused however it is said.
    assert!(!text.contains("list true"), "{text}");
    assert!(!text.contains("appended true true"), "{text}");
    assert!(!text.contains("set true"), "{text}");
    // A body of another length: the client sees that it is not whole, and nothing follows it.
    for (said, sent) in [(10, 5), (5, 10), (0, 1), (1, 0)] {
        let mut client = host.connect();
        client.send(format!(
            "GET /short?cl={said}&n={sent} HTTP/1.1\r\nHost: kitchen.test\r\n\r\n\
             GET / HTTP/1.1\r\nHost: good.test\r\n\r\n"
        ));
        client.finish_sending();
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        if let Some((head, body)) = answer.split_once("\r\n\r\n")
            && head.starts_with("HTTP/1.1 200")
        {
            assert!(
                head.to_lowercase()
                    .contains(&format!("content-length: {said}")),
                "{said} {sent}: {answer}"
            );
            let own = body.split("HTTP/1.1 ").next().unwrap();
            assert!(own.len() <= said, "{said} {sent}: {answer}");
            // After a body that is too short the connection is of no use.
            assert!(
                own.len() == said || !body.contains("HTTP/1.1"),
                "{said} {sent}: {answer}"
            );
        }
    }
    check_alive(&host, &workers);
}

/// A target like `http://evil.test/` in the request line would address another host than the one
/// that the request is sent to.
#[test]
fn wasmtime_48_a_request_target_begins_with_a_slash() {
    let host = host();
    let text = host.get("a.test", "/paths").expect(200).text();
    assert!(!text.contains("SENT"), "{text}");
    let refused: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("refused"))
        .collect();
    for path in [
        "http://evil.test/",
        "evil.test/",
        "@evil.test",
        "/a b",
        r"host: evil.test",
        r"HTTP/1.1\r\n",
    ] {
        assert!(
            refused.iter().any(|line| line.contains(path)),
            "{path}: {text}"
        );
    }
}

#[test]
fn wasmtime_48_zero_timeouts_are_no_panic() {
    let host = host();
    let workers = host.worker_pids();
    let text = host.get("a.test", "/timeouts").expect(200).text();
    assert!(text.contains("HttpRequestDenied"), "{text}");
    check_alive(&host, &workers);
}

/// A stream that says it takes `usize::MAX` makes the host allocate what the guest likes.
#[test]
fn wasmtime_48_check_write_is_bounded() {
    let host = host();
    let text = host.get("a.test", "/room").expect(200).text();
    for (name, most) in [("stdout", 4_096), ("stderr", 4_096), ("body", 2 * 65_536)] {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let room: u64 = line.and_then(|line| line.trim().parse().ok()).unwrap();
        assert!((1..=most).contains(&room), "{name}: {room}");
    }
}
