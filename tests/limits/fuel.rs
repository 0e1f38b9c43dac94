//! Fuel: the same work costs the same, to the unit.

use super::{check_fault, get, kitchen, shared};
use crate::common::{Tenant, TestHost};

/// A path of a guest, with so much fuel: the reason it ended with, none when it was served, and the fuel
/// it used.
fn run(guest: &str, path: &str, fuel: u64) -> (String, u64) {
    let tenant = Tenant::new("a", guest).limit("fuel", fuel);
    // Fuel is what is looked at, whatever the machine: an interrupted request has none to tell.
    let tenant = tenant.limit("cpu_ms", 10_000);
    let host = TestHost::builder().tenant(tenant).start();
    // A guest that was interrupted between its answer and its end has none to tell yet.
    let ends_first = || (0..10).find_map(|_| ask(&host, path));
    ends_first().expect("it ends before its answer is out, most times")
}

/// The reason and the fuel that one request's line has, if its guest has ended by then.
fn ask(host: &TestHost, path: &str) -> Option<(String, u64)> {
    let mark = host.log_mark();
    let mut client = host.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let response = client.try_read_response();
    let line = host.wait_for_log_after(mark, |line| line["kind"] == "access");
    // Where the head was out already, the body is cut off.
    if let Ok(response) = response {
        match line["reason"].as_str() {
            None => drop(response.expect(200)),
            // It had answered in full before it ran out.
            Some(_) if response.status == 200 => assert_eq!(line["status"], 200, "{line}"),
            Some(reason) => check_fault(&response, &line, 504, reason),
        }
    }
    let reason = line["reason"].as_str().unwrap_or_default().to_owned();
    Some((reason, line["fuel"].as_u64()?))
}

#[test]
fn the_same_request_uses_the_same_fuel_and_not_a_unit_more_than_it_may() {
    let _shared = shared();
    const PLENTY: u64 = 1_000_000_000;
    for (guest, path) in [
        ("kitchen", "/twice"),
        ("kitchen", "/log?n=20&len=100"),
        ("kitchen", "/alloc?mib=3"),
        ("hello", "/"),
        ("service3", "/"),
        ("service3", "/sleep?ms=5"),
    ] {
        let (reason, used) = run(guest, path, PLENTY);
        assert_eq!(reason, "", "{path}");
        assert!(used > 100, "{path}: {used}");
        // Another process, another day: the same, also with not a unit to spare.
        assert_eq!(run(guest, path, PLENTY).1, used, "{guest} {path}");
        assert_eq!(
            run(guest, path, used),
            (String::new(), used),
            "{guest} {path}"
        );
        let (reason, below) = run(guest, path, used - 1);
        assert_eq!(
            (reason.as_str(), below),
            ("fuel_exhausted", used - 1),
            "{guest} {path}"
        );
    }
}

#[test]
fn a_guest_that_computes_for_ever_runs_out_and_its_time_is_limited_beside() {
    let _shared = shared();
    let host = kitchen(&[("fuel", 1_000_000)]);
    let (response, line) = get(&host, "/spin");
    check_fault(&response, &line, 504, "fuel_exhausted");
    assert_eq!(line["fuel"], 1_000_000);
    // With plenty of fuel, the CPU budget is what stops it.
    let host = kitchen(&[("fuel", 1_000_000_000_000_000), ("cpu_ms", 20)]);
    let (response, line) = get(&host, "/spin");
    check_fault(&response, &line, 504, "cpu_exhausted");
    assert_eq!(line.get("fuel"), None, "it was interrupted: {line}");
    // Without, nothing is counted.
    let host = kitchen(&[]);
    assert_eq!(get(&host, "/twice").1.get("fuel"), None);
}

/// Code that counts fuel is other code of the same component.
#[test]
fn a_reload_turns_fuel_on_and_off() {
    let _shared = shared();
    let config = |fuel| {
        let tenant = Tenant::new("a", "kitchen").limit("fuel", fuel);
        TestHost::builder().tenant(tenant)
    };
    let host = config(0).start();
    assert_eq!(get(&host, "/twice").1.get("fuel"), None);
    for fuel in [1_000_000_000, 2_000_000_000, 0] {
        assert!(host.reload(&config(fuel)).contains("reloaded"));
        let deadline = std::time::Instant::now() + crate::common::PATIENCE;
        // The version before serves until the new code is there.
        while get(&host, &format!("/twice?{fuel}"))
            .1
            .get("fuel")
            .is_some()
            != (fuel > 0)
        {
            assert!(
                std::time::Instant::now() < deadline,
                "fuel {fuel} does not take effect"
            );
        }
    }
}
