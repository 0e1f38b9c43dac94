//! Requests that are refused before they cost anything: too many a second, too late, or of a program
//! that keeps failing.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{check_fault, get, kitchen, shared};
use crate::common::{PATIENCE, Response, Tenant, TestHost, cores, pin_thread, two_stacks, written};

/// Lines of guests' output that were logged so far: requests of `/log?n=1&len=0` that ran, twice.
fn lines_of_guests(host: &TestHost) -> usize {
    let lines = host.log_lines();
    lines.iter().filter(|line| line["kind"] == "output").count()
}

/// GET of the path, again and again, until `done`.
#[track_caller]
fn until(host: &TestHost, path: &str, done: impl Fn(&Response) -> bool) -> Response {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = host.get("a.test", path);
        if done(&response) {
            return response;
        }
        assert!(Instant::now() < deadline, "{path}: {response:?}");
    }
}

#[test]
fn requests_over_the_rate_are_refused_without_running() {
    let _shared = shared();
    let (rate, burst) = (1, 10);
    let started = Instant::now();
    let host = kitchen(&[("requests_per_s", rate), ("request_burst", burst)]);
    let mut client = host.connect();
    let mut served = 0;
    let refused = loop {
        let response = client.get("a.test", "/log?n=1&len=0");
        if response.status != 200 {
            break response;
        }
        served += 1;
        assert!(served < 1000, "no end of it");
    };
    let line = host.wait_for_log(|line| line["reason"] == "rate_limited");
    check_fault(&refused, &line, 429, "rate_limited");
    // The request that waited for the compiler took some of the burst.
    let most = burst + started.elapsed().as_secs() * rate + 1;
    assert!((1..=most).contains(&served), "{served} of {most}");

    // The next one is answered, too, before its body is there, and the connection is kept.
    client.send("POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.read_response().reason(), "rate_limited");
    client.send("abc");
    assert_eq!(client.get("a.test", "/twice").reason(), "rate_limited");

    let again = until(&host, "/twice", |response| response.status == 200);
    assert_eq!(again.text(), "1\n");
    assert_eq!(
        lines_of_guests(&host) as u64,
        2 * served,
        "none of the refused ran"
    );
}

#[test]
fn the_rate_of_one_tenant_is_not_anothers() {
    let _shared = shared();
    let limited = Tenant::new("a", "kitchen")
        .limit("requests_per_s", 1)
        .limit("request_burst", 1);
    let host = TestHost::builder()
        .tenant(limited)
        .tenant(Tenant::new("b", "kitchen"))
        .start();
    until(&host, "/twice", |response| response.status == 429);
    for _ in 0..50 {
        host.get("b.test", "/twice").expect(200);
    }
}

/// A request whose turn does not come in time is answered, and never runs.
#[test]
fn late_requests_do_not_run() {
    let _shared = shared();
    let host = kitchen(&[("concurrency", 1), ("queue", 8), ("queue_ms", 100)]);
    let mut slow = host.connect();
    slow.send("GET /sleep?ms=1000 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut late: Vec<_> = (0..4).map(|_| host.connect()).collect();
    for client in &mut late {
        client.send("GET /log?n=1&len=0 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    for client in &mut late {
        let response = client.read_response().expect(503);
        assert_eq!(response.reason(), "queue_timeout");
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    slow.read_response().expect(200);
    assert_eq!(get(&host, "/twice").0.expect(200).text(), "1\n");
    assert_eq!(lines_of_guests(&host), 0);
}

/// The line about a quarantine, after a mark.
#[track_caller]
fn quarantine(host: &TestHost, mark: usize, state: &str) -> Value {
    host.wait_for_log_after(mark, |line| {
        line["kind"] == "quarantine" && line["state"] == state
    })
}

#[test]
fn a_tenant_that_keeps_failing_is_left_alone_and_comes_back() {
    let _shared = shared();
    let limits = [
        ("quarantine_failures", 3),
        ("quarantine_window_s", 3600),
        ("quarantine_max_s", 2),
    ];
    let tenant = Tenant::new("a", "kitchen");
    let tenant = limits
        .iter()
        .fold(tenant, |tenant, (key, value)| tenant.limit(key, *value));
    let host = TestHost::builder()
        .tenant(tenant)
        .tenant(Tenant::new("b", "kitchen"))
        .start();

    let mark = host.log_mark();
    for _ in 0..3 {
        assert_eq!(host.get("a.test", "/trap").expect(500).reason(), "trapped");
    }
    let (response, line) = get(&host, "/log?n=1&len=0");
    check_fault(&response, &line, 503, "quarantined");
    let begun = quarantine(&host, mark, "begun");
    assert_eq!(
        (&begun["tenant"], &begun["reason"], &begun["pause_s"]),
        (&"a".into(), &"trapped".into(), &1.into())
    );
    host.get("b.test", "/twice").expect(200);

    // One request tries again; it fails, and the pause is twice as long.
    let mark = host.log_mark();
    let probe = until(&host, "/trap", |response| {
        response.reason() != "quarantined"
    });
    assert_eq!(probe.expect(500).reason(), "trapped");
    let refused = host.get("a.test", "/twice").expect(503);
    assert_eq!(
        (refused.reason(), refused.header("retry-after")),
        ("quarantined", Some("2"))
    );
    assert_eq!(quarantine(&host, mark, "extended")["pause_s"], 2);

    // It was mended: the next one that tries is served, and so are all after it.
    let mark = host.log_mark();
    until(&host, "/twice", |response| response.status == 200);
    quarantine(&host, mark, "ended");
    for path in ["/trap", "/trap", "/twice"] {
        assert_eq!(
            host.get("a.test", path).reason() == "trapped",
            path == "/trap"
        );
    }
    assert_eq!(lines_of_guests(&host), 0, "what was refused did not run");
}

/// What costs the host no time, or what its clients do to a program, is not its failure.
#[test]
fn a_client_cannot_have_a_tenant_quarantined() {
    let _shared = shared();
    let host = kitchen(&[
        ("quarantine_failures", 2),
        ("quarantine_window_s", 3600),
        ("wall_ms", 100),
    ]);
    for path in [
        "/sleep?ms=500",
        "/exit?code=1",
        "/noresponse",
        "/status?code=100",
    ] {
        for _ in 0..4 {
            host.get("a.test", path);
        }
        host.get("a.test", "/twice").expect(200);
    }
    // Crashes among requests that are served.
    for _ in 0..10 {
        host.get("a.test", "/trap").expect(500);
        for _ in 0..4 {
            host.get("a.test", "/twice").expect(200);
        }
    }
}

#[test]
fn zero_failures_are_no_quarantine() {
    let _shared = shared();
    let host = kitchen(&[("quarantine_failures", 0)]);
    for _ in 0..100 {
        assert_eq!(host.get("a.test", "/trap").expect(500).reason(), "trapped");
    }
}

/// By default, a program that only traps is closed after so many; and every exhausted budget counts.
#[test]
fn the_default_is_on() {
    let _shared = shared();
    let host = kitchen(&[]);
    for turn in 0..=20 {
        let reason = host.get("a.test", "/trap").reason().to_owned();
        let expected = if turn < 20 { "trapped" } else { "quarantined" };
        assert_eq!(reason, expected, "{turn}");
    }
    let host = kitchen(&[
        ("quarantine_failures", 3),
        ("cpu_ms", 5),
        ("handles", 30),
        ("memory_mib", 2),
    ]);
    for (path, reason) in [
        ("/spin", "cpu_exhausted"),
        ("/handles?n=99", "resource_exhausted"),
        ("/bigheader?n=9000000", "memory_exhausted"),
        ("/twice", "quarantined"),
    ] {
        assert_eq!(host.get("a.test", path).reason(), reason);
    }
}

/// Workers share no counter: each has its part, and the parts add up.
#[test]
fn concurrency_is_exact_over_several_workers() {
    let _shared = shared();
    for concurrency in [1, 3] {
        let tenant = Tenant::new("a", "kitchen")
            .cores(2)
            .limit("concurrency", concurrency)
            .limit("queue", 0);
        let host = TestHost::builder().workers(2).tenant(tenant).start();
        // A connection goes to the worker of the core that it comes from: some of each.
        let from = |core| {
            pin_thread(core);
            let some = (0..12).map(|_| {
                let mut client = host.connect();
                client.send("GET /sleep?ms=1500 HTTP/1.1\r\nHost: a.test\r\n\r\n");
                client
            });
            some.collect::<Vec<_>>()
        };
        let both = &cores()[..2];
        let mut clients: Vec<_> = std::thread::scope(|scope| {
            let from = &from;
            let threads = both.iter().map(|core| scope.spawn(|| from(*core)));
            let threads: Vec<_> = threads.collect();
            let all = threads.into_iter();
            all.flat_map(|it| it.join().expect("connected")).collect()
        });
        let responses = clients.iter_mut().map(|client| client.read_response());
        let served = responses.filter(|response| response.status == 200).count();
        assert_eq!(served as u64, concurrency);
    }
}

/// More requests than the smallest pool has slots, of guests that hold theirs after their answer, of
/// both kinds of handler, with one wave right behind the other: they wait, and none finds the pool
/// empty.
#[test]
fn the_pool_is_never_exhausted() {
    let _shared = shared();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("tiny.toml");
    let text =
        "extends = 'local'\nslots = 16\nrunning_max = 14\ndecommit_batch = 2\nwarm_slots = 16\n";
    std::fs::write(&profile, text).expect("writing a profile");
    let tenant = |name, guest| {
        Tenant::new(name, guest)
            .limit("concurrency", 100)
            .limit("queue_ms", 30_000)
    };
    let host = TestHost::builder()
        .line("workers", &format!("profile = {:?}", profile))
        .tenant(tenant("a", "kitchen"))
        .tenant(tenant("f", "kitchen").limit("fuel", 1_000_000_000))
        .tenant(tenant("s", "service3"))
        .start();
    let paths = [
        ("a.test", "/hold?ms=100"),
        ("s.test", "/sleep?ms=100"),
        ("f.test", "/hold?ms=100"),
    ];
    let mut clients: Vec<_> = (0..96).map(|_| host.connect()).collect();
    for (turn, client) in clients.iter_mut().enumerate() {
        let (name, path) = paths[turn % paths.len()];
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n").repeat(2));
    }
    for client in &mut clients {
        for _ in 0..2 {
            let response = client.read_response();
            assert_eq!(response.reason(), "");
            response.expect(200);
        }
    }
    // What ran on after its answer was served, too.
    let faults = host.log_lines();
    let fault = faults.iter().find(|line| line["kind"] == "fault");
    assert_eq!(fault, None);
}

/// Tenants whose guests sleep take no CPU time, and keep their slots: they leave some to the others.
#[test]
fn sleepers_of_many_tenants_leave_a_slot_to_the_next_one() {
    let _shared = shared();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("few.toml");
    let text = "extends = 'local'\nslots = 64\nrunning_max = 60\nwarm_slots = 16\n";
    std::fs::write(&profile, text).expect("writing a profile");
    let names: Vec<_> = (0..8).map(|number| format!("sleeper-{number}")).collect();
    let tenant = |name| Tenant::new(name, "kitchen").limit("queue_ms", 30_000);
    let mut host = TestHost::builder().line("workers", &format!("profile = {:?}", profile));
    for name in names.iter().map(String::as_str).chain(["victim"]) {
        host = host.tenant(tenant(name));
    }
    let host = host.start();
    for name in names.iter().map(String::as_str).chain(["victim"]) {
        until_served(&host, &format!("{name}.test"));
    }
    // Twice as many as there are slots.
    let mut sleepers: Vec<_> = (0..120).map(|_| host.connect()).collect();
    for (client, name) in sleepers.iter_mut().zip(names.iter().cycle()) {
        client.send(format!(
            "GET /sleep?ms=5000 HTTP/1.1\r\nHost: {name}.test\r\n\r\n"
        ));
    }
    // The worker has read them all when it has read this one.
    let mut client = host.connect();
    for _ in 0..20 {
        client.get("victim.test", "/twice").expect(200);
    }
    let asleep = host.log_lines();
    let ended = asleep
        .iter()
        .filter(|line| line["path"] == "/sleep?ms=5000");
    assert_eq!(ended.count(), 0, "the victim was served meanwhile");
    // Nobody who waits is forgotten.
    for client in &mut sleepers {
        client.read_response().expect(200);
    }
}

/// Guests of WASI 0.3 may need a second stack: two of them do not take what a third needs.
#[test]
fn the_pools_stacks_are_never_exhausted() {
    let _shared = shared();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("tiny.toml");
    let text =
        "extends = 'local'\nslots = 16\nrunning_max = 14\ndecommit_batch = 2\nwarm_slots = 16\n";
    std::fs::write(&profile, text).expect("writing a profile");
    let greedy = Tenant::with_component("a", written("two-stacks", &two_stacks()))
        .limit("queue_ms", 30_000)
        .limit("quarantine_failures", 0);
    let host = TestHost::builder()
        .line("workers", &format!("profile = {:?}", profile))
        .tenant(greedy)
        .tenant(Tenant::new("s", "service3").limit("queue_ms", 30_000))
        .start();
    let mut clients: Vec<_> = (0..42).map(|_| host.connect()).collect();
    for (turn, client) in clients.iter_mut().enumerate() {
        let name = if turn % 3 == 2 { "s" } else { "a" };
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n"));
    }
    for (turn, client) in clients.iter_mut().enumerate() {
        let expected = if turn % 3 == 2 { "" } else { "trapped" };
        assert_eq!(client.read_response().reason(), expected);
    }
}

/// With every slot taken it is the host that has no room, whatever queue the tenant may have.
#[test]
fn a_full_worker_is_not_the_tenants_fault() {
    let _shared = shared();
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("one.toml");
    let text =
        "extends = 'local'\nslots = 16\nrunning_max = 1\ndecommit_batch = 1\nwarm_slots = 16\n";
    std::fs::write(&profile, text).expect("writing a profile");
    let quick = Tenant::new("b", "kitchen")
        .limit("queue", 0)
        .limit("queue_ms", 100);
    let host = TestHost::builder()
        .line("workers", &format!("profile = {:?}", profile))
        .tenant(Tenant::new("a", "kitchen"))
        .tenant(quick)
        .start();
    let mut slow = host.connect();
    slow.send("GET /hold?ms=2000 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    slow.read_response().expect(200);
    let started = Instant::now();
    let refused = host.get("b.test", "/twice").expect(503);
    assert_eq!(refused.reason(), "no_slot");
    assert_eq!(refused.header("x-skep-fault"), Some("host"));
    assert!(
        started.elapsed() >= Duration::from_millis(100),
        "it has waited"
    );
    until_served(&host, "b.test");
}

#[track_caller]
fn until_served(host: &TestHost, name: &str) {
    let deadline = Instant::now() + PATIENCE;
    while host.get(name, "/twice").status != 200 {
        assert!(Instant::now() < deadline, "{name} is not served");
    }
}
