//! How tenants of one worker share its core: by weight, up to their ceiling, however they compute.
//!
//! `scheduler/simulation/` asserts the shares exactly. Here they are CPU times that the real worker
//! measured, with margins for what else the machine does meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::alone;
use super::cpu::StopOnDrop;
use crate::common::{Client, PATIENCE, Tenant, TestHost, core_wait_ns, cpu_ns};

/// A tenant of the kitchen that may compute for this long in one request.
fn computing(name: &str, cpu_ms: u64) -> Tenant {
    computing_in(name, "kitchen", cpu_ms)
}

fn computing_in(name: &str, guest: &str, cpu_ms: u64) -> Tenant {
    Tenant::new(name, guest)
        .limit("cpu_ms", cpu_ms)
        .limit("wall_ms", 60_000)
        .limit("concurrency", 64)
}

/// Requests that are under way.
fn send(host: &TestHost, tenant: &str, path: &str, count: usize) -> Vec<Client> {
    let send = |_| {
        let mut client = host.connect();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: {tenant}.test\r\n\r\n"
        ));
        client
    };
    (0..count).map(send).collect()
}

/// When the last of these guests had used its budget, since `started`.
fn exhausted(clients: Vec<Client>, started: Instant) -> Duration {
    for mut client in clients {
        assert_eq!(client.read_response().reason(), "cpu_exhausted");
    }
    started.elapsed()
}

/// The machine may have something better to do for a moment: one of three must be as it should.
fn one_of_three(mut attempt: impl FnMut() -> Result<(), String>) {
    let failures: Vec<_> = (0..3).map_while(|_| attempt().err()).collect();
    assert!(failures.len() < 3, "{failures:?}");
}

fn check(holds: bool, told: String) -> Result<(), String> {
    eprintln!("{told}");
    if holds { Ok(()) } else { Err(told) }
}

/// Who has three times the weight has used three times as much when the other has used its part;
/// guests of WASI 0.2 and 0.3 alike.
#[test]
fn computing_tenants_get_cpu_time_by_weight() {
    let _alone = alone();
    for guest in ["kitchen", "service3"] {
        one_of_three(|| {
            let host = TestHost::builder()
                .tenant(computing("light", 250).line("weight = 100"))
                .tenant(computing_in("heavy", guest, 750).line("weight = 300"))
                .start();
            let started = Instant::now();
            let light = send(&host, "light", "/spin", 1);
            let heavy = send(&host, "heavy", "/spin", 1);
            let (heavy, light) = std::thread::scope(|scope| {
                let light = scope.spawn(move || exhausted(light, started));
                (exhausted(heavy, started), light.join().expect("a time"))
            });
            // In turn, slice by slice, the light one would end after half of the time.
            let ratio = light.as_secs_f64() / heavy.as_secs_f64();
            let told = format!("light {light:?}, heavy {heavy:?} ({guest})");
            check((0.8..1.25).contains(&ratio), told)
        });
    }
}

#[test]
fn many_guests_of_a_tenant_get_no_more_than_one_of_another() {
    let _alone = alone();
    one_of_three(|| {
        let host = TestHost::builder()
            .tenant(computing("many", 100))
            .tenant(computing("one", 400))
            .start();
        let started = Instant::now();
        let many = send(&host, "many", "/spin", 20);
        let one = exhausted(send(&host, "one", "/spin", 1), started);
        let many = exhausted(many, started);
        // 400 ms of each, and 1,600 ms more of the many. Guest by guest, it would end at 80 %.
        let part = one.as_secs_f64() / many.as_secs_f64();
        check(part < 0.5, format!("one {one:?}, many {many:?}"))
    });
}

/// CPU time of one tenant's requests that ended before another's, in microseconds.
fn cpu_us_of(host: &TestHost, mark: usize, tenant: &str) -> u64 {
    let lines = host.log_lines();
    let of_tenant = lines[mark.min(lines.len())..]
        .iter()
        .filter(|line| line["kind"] == "access" && line["tenant"] == tenant);
    of_tenant
        .map(|line| line["cpu_us"].as_u64().expect("a number"))
        .sum()
}

/// Requests that each end before their slice does, as many as the tenant may have at once.
#[test]
fn a_flood_of_short_requests_gets_no_more_than_its_share() {
    let _alone = alone();
    one_of_three(|| {
        let host = TestHost::builder()
            .tenant(computing("flood", 50))
            .tenant(computing("heavy", 400).line("weight = 900"))
            .start();
        let stop = AtomicBool::new(false);
        let used_us = std::thread::scope(|scope| {
            // Also when a request fails.
            let _stop = StopOnDrop(&stop);
            for _ in 0..16 {
                let mut client = host.connect();
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        client.get("flood.test", "/pingpong?us=200&times=2");
                    }
                });
            }
            let mark = host.log_lines().len();
            let heavy = send(&host, "heavy", "/spin", 1);
            exhausted(heavy, Instant::now());
            host.wait_for_access("/spin");
            cpu_us_of(&host, mark, "flood")
        });
        // A ninth, and what was under way before. In turn, it would be as much as the other's.
        let told = format!("flood {used_us} µs beside 400,000");
        check((5_000..150_000).contains(&used_us), told)
    });
}

/// A guest that gives way before each tick is charged what it uses, and waits its turn.
#[test]
fn host_calls_between_slices_are_no_way_around() {
    let _alone = alone();
    for us in [1, 400] {
        one_of_three(|| {
            let host = TestHost::builder()
                .tenant(computing("pingpong", 60_000))
                .tenant(computing("spin", 400))
                .start();
            let worker = host.worker_pids()[0];
            let path = format!("/pingpong?us={us}");
            let greedy = send(&host, "pingpong", &path, 16);
            let before_ns = cpu_ns(worker);
            exhausted(send(&host, "spin", "/spin", 1), Instant::now());
            let used_ms = (cpu_ns(worker) - before_ns) / 1_000_000;
            drop(greedy);
            // Half is the other's, and the worker turns its ring.
            check(used_ms < 1_000, format!("{us}: worker {used_ms} ms"))
        });
    }
}

#[test]
fn a_ceiling_holds_on_an_idle_core() {
    let _alone = alone();
    one_of_three(|| {
        let host = TestHost::builder()
            .tenant(computing("a", 200).line("cpu_share_max = 0.25"))
            .start();
        let worker = host.worker_pids()[0];
        let (started, before_ns) = (Instant::now(), cpu_ns(worker));
        let took = exhausted(send(&host, "a", "/spin", 1), started);
        let used = (cpu_ns(worker) - before_ns) as f64 / took.as_nanos() as f64;
        // 10 ms at once, and the others at a quarter of the core: 760 ms.
        assert!(took >= Duration::from_millis(600), "{took:?}");
        let told = format!("took {took:?}, {used:.2} of the core");
        check(took < Duration::from_millis(1_200) && used < 0.35, told)
    });
}

/// Above the ceiling a request waits for its turn, for its wall time at most.
#[test]
fn a_request_above_the_ceiling_waits_within_its_wall_time() {
    let _alone = alone();
    one_of_three(|| {
        let tenant = Tenant::new("a", "kitchen")
            .limit("cpu_ms", 400)
            .limit("wall_ms", 400)
            .line("cpu_share_max = 0.02");
        let host = TestHost::builder().tenant(tenant).start();
        let worker = host.worker_pids()[0];
        let (mut last, before_ns) = (host.connect(), cpu_ns(worker));
        // After 10 ms at once, they get one slice in 25 to 50 ms.
        let before = send(&host, "a", "/spin", 40);
        let started = Instant::now();
        while cpu_ns(worker) - before_ns < 10_000_000 {
            assert!(started.elapsed() < PATIENCE, "they do not compute");
        }
        let started = Instant::now();
        last.send("GET /twice HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = last.read_head().expect("an answer's head");
        let took = started.elapsed();
        for mut client in before {
            let Ok(response) = client.try_read_response() else {
                return check(false, "a connection ended without an answer".to_owned());
            };
            assert!(["queue_timeout", "wall_exhausted"].contains(&response.reason()));
        }
        // It is served when the debt is paid: whole, when the time is enough for the body, too.
        let served = |mut client: Client| {
            let answer = client.try_read_response();
            answer.is_ok_and(|response| response.status == 200)
        };
        while !send(&host, "a", "/twice", 1).into_iter().all(served) {
            assert!(
                started.elapsed() < 6 * PATIENCE,
                "the tenant is not served again"
            );
        }
        let waited = response.status == 503 && response.reason() == "queue_timeout";
        let told = format!("{} {} after {took:?}", response.status, response.reason());
        check(waited && took >= Duration::from_millis(400), told)
    });
}

/// While one tenant waits below its ceiling, the worker does not: the rest of the core is the other's.
#[test]
fn a_ceiling_delays_no_other_tenant() {
    let _alone = alone();
    one_of_three(|| {
        let host = TestHost::builder()
            .tenant(computing("capped", 2_000).line("cpu_share_max = 0.1"))
            .tenant(computing("free", 300))
            .start();
        let worker = host.worker_pids()[0];
        let capped = send(&host, "capped", "/spin", 10);
        let (started, before_ns, waited_ns) =
            (Instant::now(), cpu_ns(worker), core_wait_ns(worker));
        let took = exhausted(send(&host, "free", "/spin", 1), started);
        let used_ms = (cpu_ns(worker) - before_ns) / 1_000_000;
        let waited_ms = (core_wait_ns(worker) - waited_ns) / 1_000_000;
        drop(capped);
        let took_ms = took.as_millis() as u64;
        let idle_ms = took_ms.saturating_sub(used_ms + waited_ms);
        // The capped one's tenth and burst, and the worker's own work.
        let others_ms = used_ms.saturating_sub(300);
        let told = format!("took {took:?}: {others_ms} ms of others, {idle_ms} ms idle");
        check(others_ms < took_ms / 10 + 60 && idle_ms < 60, told)
    });
}
