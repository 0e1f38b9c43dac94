//! Limits of what an instance may hold, to the unit: exactly at the limit it runs, with one more it
//! does not, and the answer says which limit it was.

use super::{get, shared};
use crate::common::{Tenant, TestHost, component, core_module, written};

/// A guest that is only a core module ends without an answer when nothing stops it.
const RAN: &str = "no_response";

/// The reason that one request to this component ends with.
fn reason(name: &str, bytes: &[u8], limits: &[(&str, u64)]) -> String {
    let tenant = Tenant::with_component("a", written(name, bytes));
    let tenant = limits
        .iter()
        .fold(tenant, |tenant, (key, value)| tenant.limit(key, *value));
    let host = TestHost::builder().tenant(tenant).start();
    let (response, line) = get(&host, "/");
    assert_eq!(line["reason"], response.reason());
    response.reason().to_owned()
}

/// Grows something by `count`, and traps where that is refused.
fn grow(what: &str, count: u64) -> String {
    let value = if what == "table" {
        "(ref.null func) "
    } else {
        ""
    };
    format!(
        "(if (i32.eq ({what}.grow {value}(i32.const {count})) (i32.const -1)) (then unreachable))"
    )
}

/// 2 MiB are 32 pages.
#[test]
fn memory_to_the_page() {
    let _shared = shared();
    let limits = [("memory_mib", 2)];
    for (more, expected) in [(31, RAN), (32, "memory_exhausted")] {
        let module = core_module("(memory 1)", &grow("memory", more));
        assert_eq!(reason("memory", &module, &limits), expected, "{more}");
    }
    // All at once at the start.
    for (pages, expected) in [(32, RAN), (33, "memory_exhausted")] {
        let module = core_module(&format!("(memory {pages})"), "");
        assert_eq!(reason("memory", &module, &limits), expected, "{pages}");
    }
}

/// What the host keeps for a guest is limited, too: 16 MiB of methods, and no more.
#[test]
fn the_hosts_memory() {
    let _shared = shared();
    let tenant = Tenant::new("a", "attacker").limit("quarantine_failures", 0);
    let host = TestHost::builder().tenant(tenant).start();
    for (held, expected) in [(15, ""), (16, ""), (17, "resource_exhausted")] {
        // A little less than 1 MiB each: the answer has fields, and its body is there to be read.
        let path = format!("/methods?n={held}&bytes={}", (1 << 20) - (16 << 10));
        let response = host.get("a.test", &path);
        assert_eq!(response.reason(), expected, "{held}: {response:?}");
    }
}

#[test]
fn memory_is_summed_over_all_memories() {
    let _shared = shared();
    for (more, expected) in [(15, RAN), (16, "memory_exhausted")] {
        let bytes = component(&format!(
            r#"(core module $other (memory 16))
               (core instance (instantiate $other))
               (core module $m (memory 1)
                   (func (export "handle") (param i32 i32) {}))
               (core instance $i (instantiate $m))"#,
            grow("memory", more)
        ));
        assert_eq!(
            reason("memories", &bytes, &[("memory_mib", 2)]),
            expected,
            "{more}"
        );
    }
}

#[test]
fn table_elements() {
    let _shared = shared();
    let limits = [("table_elements", 100)];
    for (more, expected) in [(60, RAN), (61, "resource_exhausted")] {
        let module = core_module(
            "(table 10 funcref) (table 30 funcref)",
            &grow("table", more),
        );
        assert_eq!(reason("elements", &module, &limits), expected, "{more}");
    }
}

/// What a component consists of is known before it runs.
#[test]
fn instances_and_memories_and_tables_of_a_component() {
    let _shared = shared();
    let with = |declares: &str, more: usize| {
        component(&format!(
            r#"(core module $e {declares}) {}
               (core module $m (func (export "handle") (param i32 i32)))
               (core instance $i (instantiate $m))"#,
            "(core instance (instantiate $e))".repeat(more)
        ))
    };
    let four_tables = "(table 1 funcref)".repeat(4);
    for (name, declares, most) in [
        ("instances", "", 19),
        ("memories", "(memory 1)", 2),
        ("tables", &four_tables, 4),
    ] {
        assert_eq!(reason(name, &with(declares, most), &[]), RAN, "{name}");
        let over = with(declares, most + 1);
        assert_eq!(reason(name, &over, &[]), "component_rejected", "{name}");
    }
    let five_tables = "(table 1 funcref)".repeat(5);
    assert_eq!(
        reason("tables", &with(&five_tables, 1), &[]),
        "component_rejected"
    );
}

/// The largest number between `low`, which passes, and `high`, which does not, that passes.
fn last(mut low: u64, mut high: u64, passes: impl Fn(u64) -> bool) -> u64 {
    assert!(passes(low) && !passes(high), "{low} to {high}");
    while high - low > 1 {
        let middle = low.midpoint(high);
        if passes(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// A kitchen that may fail often.
fn kitchen(key: &str, value: u64) -> TestHost {
    let tenant = Tenant::new("a", "kitchen").limit("quarantine_failures", 0);
    TestHost::builder().tenant(tenant.limit(key, value)).start()
}

/// A few handles belong to the request and its response: with one more allowed, one more is made.
#[test]
fn handles_to_the_last() {
    let _shared = shared();
    let most = |limit| {
        let host = kitchen("handles", limit);
        last(limit - 20, limit + 1, |count| {
            let response = host.get("a.test", &format!("/handles?n={count}"));
            let full = response.reason() == "resource_exhausted";
            assert!(full || response.status == 200, "{response:?}");
            !full
        })
    };
    assert_eq!(most(101), most(100) + 1);
}

/// A header that is too large is refused by its size, until copying it out of the guest is too much
/// for one call: with one more byte allowed, one more is copied.
#[test]
fn bytes_of_a_host_call_to_the_last() {
    let _shared = shared();
    let most = |limit: u64| {
        let host = kitchen("hostcall_bytes", limit);
        last(limit - 2_000, limit + 1, |count| {
            let mark = host.log_mark();
            let response = host.get("a.test", &format!("/bigheader?n={count}"));
            assert_eq!(response.reason(), "resource_exhausted", "{count}");
            let told = host.wait_for_log_after(mark, |line| line["kind"] == "fault");
            !told["detail"]
                .to_string()
                .contains("fuel allocated for hostcalls")
        })
    };
    assert_eq!(most((128 << 10) + 1), most(128 << 10) + 1);
}

/// Lines that come faster than they may are dropped, counted, and said in one line; the request goes
/// on.
#[test]
fn log_bytes_a_second() {
    let _shared = shared();
    // A line of `/log` is `out 0` or `err 0` with the fill, and LOG_LINE_OVERHEAD_BYTES (128).
    let (burst, line) = (128 << 10, 6 + 1_000 + 128);
    let host = {
        let tenant = Tenant::new("a", "kitchen")
            .limit("log_bytes_per_s", 1024)
            .limit("log_burst_bytes", burst)
            .limit("log_bytes_per_request", 16 << 20);
        TestHost::builder().tenant(tenant).start()
    };
    let mark = host.log_mark();
    let started = std::time::Instant::now();
    let response = host.get("a.test", "/log?n=100&len=1000").expect(200);
    assert_eq!(response.text(), "lines 100\n");
    let told = host.wait_for_log_after(mark, |line| line["kind"] == "fault");
    let lines = host.log_lines();
    let written = lines.iter().filter(|line| line["kind"] == "output").count() as u64;
    // From 10 on, lines are a byte longer.
    let most = (burst + 1024 * (started.elapsed().as_secs() + 1)) / line;
    assert!((burst / (line + 1)..=most).contains(&written), "{written}");
    let detail = told["detail"].as_str().expect("a text");
    let over = format!("{} lines of ", 200 - written);
    assert!(
        detail.starts_with(&over) && detail.ends_with(" were over log_bytes_per_s"),
        "{detail}"
    );
}
