//! Concurrency, the queue behind it, and how long one may wait there.

use std::time::{Duration, Instant};

use super::{kitchen, shared};
use crate::common::{Response, TestHost};

/// Sends `count` requests at once, each on a connection of its own; returns the responses and when
/// they came.
fn all_at_once(host: &TestHost, count: usize, path: &str) -> Vec<(Response, Duration)> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| (host.get("a.test", path), started.elapsed())))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a response"))
            .collect()
    })
}

/// Limits, requests at once that take 400 ms each, and how many of them end how.
#[test]
fn places_and_queue() {
    let _shared = shared();
    // concurrency, queue, queue_ms, requests; served, tenant_busy, queue_timeout.
    let cases = [
        (3, 0, 0, 3, [3, 0, 0]),
        (3, 0, 0, 4, [3, 1, 0]),
        (1, 0, 5000, 3, [1, 2, 0]),
        (1, 2, 5000, 3, [3, 0, 0]),
        (1, 2, 5000, 4, [3, 1, 0]),
        (2, 1, 5000, 5, [3, 2, 0]),
        (1, 2, 100, 3, [1, 0, 2]),
        (2, 1, 100, 4, [2, 1, 1]),
    ];
    for (concurrency, queue, queue_ms, requests, expected) in cases {
        let name = format!("concurrency {concurrency}, queue {queue}, {queue_ms} ms: {requests}");
        let host = kitchen(&[
            ("concurrency", concurrency),
            ("queue", queue),
            ("queue_ms", queue_ms),
        ]);
        let responses = all_at_once(&host, requests, "/sleep?ms=400");
        let count = |reason: &str| {
            let same = responses
                .iter()
                .filter(|(response, _)| response.reason() == reason);
            same.count()
        };
        assert_eq!(
            [count(""), count("tenant_busy"), count("queue_timeout")],
            expected,
            "{name}"
        );
        for (response, took) in &responses {
            match response.reason() {
                "" => assert_eq!(response.status, 200, "{name}"),
                "tenant_busy" => assert!(*took < Duration::from_millis(400), "{name}: {took:?}"),
                _ => assert!(*took >= Duration::from_millis(queue_ms), "{name}: {took:?}"),
            }
            if response.status == 503 {
                assert_eq!(response.header("retry-after"), Some("1"), "{name}");
                assert_eq!(response.header("x-skep-fault"), Some("tenant"), "{name}");
                assert_eq!(
                    response.header("connection"),
                    None,
                    "{name}: it may try again"
                );
            }
        }
        // Every place is there again.
        let mut again = all_at_once(&host, concurrency as usize, "/sleep?ms=50");
        assert!(
            again.iter_mut().all(|(response, _)| response.status == 200),
            "{name}"
        );
    }
}

#[test]
fn a_busy_tenant_takes_no_place_of_another() {
    let _shared = shared();
    use crate::common::Tenant;
    let limited = |name| {
        Tenant::new(name, "kitchen")
            .limit("concurrency", 1)
            .limit("queue", 0)
    };
    let host = TestHost::builder()
        .tenant(limited("a"))
        .tenant(limited("b"))
        .start();
    let mut slow = host.connect();
    slow.send("GET /sleep?ms=1500 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    while host.get("a.test", "/twice").reason() != "tenant_busy" {}
    assert_eq!(host.get("b.test", "/twice").expect(200).text(), "1\n");
    slow.read_response().expect(200);
}
