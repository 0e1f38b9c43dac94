//! Log lines.

use super::*;

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

/// How many lines a tenant has printed, with those that are said to be over this limit; whether any are.
fn logged(host: &TestHost, tenant: &str, limit: &str) -> (u64, bool) {
    let (mut lines, mut is_over) = (0, false);
    for line in host
        .log_lines()
        .iter()
        .filter(|line| line["tenant"] == tenant)
    {
        let detail = line["detail"].as_str().unwrap_or_default();
        if line["kind"] == "output" {
            lines += 1;
        } else if detail.ends_with(limit) {
            is_over = true;
            lines += detail.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    (lines, is_over)
}

/// How many lines a host has logged after a mark, with those that it says it has dropped.
fn accounted(host: &TestHost, mark: usize) -> u64 {
    let lines = host.stdout_lines();
    let lines = lines[mark..].iter().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        match line["kind"] == "dropped" {
            true => line["lines"].as_u64().expect("a number"),
            false => 1,
        }
    });
    lines.sum()
}

#[test]
fn logs() {
    let chatty = |name: &str| {
        Tenant::new(name, "kitchen")
            .limit("log_bytes_per_request", 16 << 20)
            .limit("log_burst_bytes", 64 << 20)
    };
    let host = TestHost::builder()
        .tenant(chatty("a"))
        .tenant(chatty("little").limit("log_bytes_per_request", 300))
        .tenant(
            chatty("often")
                .limit("log_bytes_per_s", 1_024)
                .limit("log_burst_bytes", 128 << 10),
        )
        .tenant(chatty("other"))
        .start();
    let print = "/log?n=1&len=1";
    let stage = Stage {
        host: &host,
        kept: &[("a", print, "lines 1"), ("a", "/twice", "1")],
        others: &[("other", print, "lines 1")],
    };
    // The program is not told; who reads its log is.
    stage.check(&[
        ("quota", ("little", "/log?n=5&len=100", "lines 5")),
        ("quota", ("often", "/log?n=400&len=200", "lines 400")),
    ]);
    host.wait_for_log(|line| {
        line["tenant"] == "little"
            && line["detail"] == "897 bytes of output were over log_bytes_per_request"
    });
    // What is printed and what is said to be over is all there was, and nothing is over of the others'.
    wait_until("800 lines", || {
        logged(&host, "often", "log_bytes_per_s") == (800, true)
    });
    wait_until("8 lines", || {
        logged(&host, "other", "log_bytes_per_s") == (8, false)
    });
    // Nobody waits for the process that writes, and what found no room is counted.
    ask(&host, "a", "/twice?last");
    host.wait_for_access("/twice?last");
    let (mark, rounds) = (host.log_mark(), 30);
    let stopped = Stopped::now(host.broker_pid());
    for _ in 0..rounds {
        stage.check_while("slow", &[("a", "/log?n=50&len=1000", "lines 50")], || {});
    }
    drop(stopped);
    // Two more lines and one about the request; others were asked twice in a round.
    assert_eq!(ask(&host, "a", print), "lines 1");
    let expected = rounds * (100 + 1 + 2 * 3) + 3;
    wait_until("every line", || accounted(&host, mark) >= expected);
    assert_eq!(accounted(&host, mark), expected);
    let dropped = |line: &str| line.contains("\"dropped\"");
    assert!(
        host.stdout_lines().iter().any(|line| dropped(line)),
        "none found no room"
    );
    // Requests are answered while nobody writes, and lines arrive again when somebody does.
    let errors = host.stderr_lines().len();
    let stopped = Stopped::now(host.broker_pid());
    stage.check_while("gone", &[("a", print, "lines 1")], || stopped.kill());
    host.wait_for_stderr_after(errors, |line| line.starts_with("skep: broker pid "));
    let mark = host.log_mark();
    wait_until("a line", || {
        stage.is_well("gone");
        ask(&host, "a", "/log?n=1&len=2");
        let lines = host.stdout_lines();
        lines[mark..].iter().any(|line| line.contains("out 0 xx"))
    });
}
