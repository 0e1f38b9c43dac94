//! Components that are meant to break the compiler, or the host that runs them: refused or compiled
//! within limits, for their tenant's account, while others are served.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Tenant, TestHost, guest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longest wait for a bomb: the machine may be busy, and a job may take two minutes.
const FUSE: Duration = Duration::from_secs(150);

#[track_caller]
fn wait_until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("sending a signal");
}

/// A component with `wasi:http`'s handler, whose core module has this in it beside a `handle` that
/// returns without an answer; and `more` on the component's level.
fn component(module: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $m {module} (func (export "handle") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            {more}
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#
    );
    wat::parse_str(text).expect("valid text")
}

/// A function whose every loop carries every local: 4,000 times 49,000 values in 250 KB. The
/// compiler keeps each, and asks for more memory than it may have.
fn memory_bomb() -> Vec<u8> {
    let (locals, loops) = (49_000, 4_000);
    let mut module = String::from("(func (param i32) (local");
    module.push_str(&" i64".repeat(locals));
    module.push(')');
    module.push_str(&"(loop (br_if 0 (local.get 0)))".repeat(loops));
    for local in 1..=locals {
        let _ = write!(module, "(drop (local.get {local}))");
    }
    module.push(')');
    component(&module, "")
}

/// Seconds of work, and an artifact of 20 MB; but no more than that.
fn large() -> Vec<u8> {
    let function = "(func (param i64) (result i64) (i64.add (local.get 0) (local.get 0)))";
    component(&function.repeat(100_000), "")
}

/// A tenant with these bytes as its component.
fn tenant(dir: &TempDir, name: &str, bytes: &[u8]) -> Tenant {
    let path: PathBuf = dir.path().join(name).with_extension("wasm");
    fs::write(&path, bytes).expect("writing a component");
    Tenant::with_component(name, path)
}

fn good() -> Tenant {
    Tenant::new("good", "tenantname").env("NAME", "good")
}

/// The line about a tenant that gets no artifact.
fn complaint(host: &TestHost, name: &str) -> Option<String> {
    let start = format!("skep: tenant {name} has no artifact: ");
    let lines = host.stderr_lines().into_iter();
    lines
        .filter_map(|line| line.strip_prefix(&start).map(str::to_owned))
        .next()
}

/// Asks for another tenant, on one connection and on new ones, until `done` holds. Every request
/// has to succeed; says how many there were while a compile job ran.
fn served_until(host: &TestHost, what: &str, done: impl Fn() -> bool) -> usize {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut kept = host.connect();
            let mut served = 0;
            while !stop.load(Ordering::Relaxed) {
                let compiling = !host.compile_job_pids().is_empty();
                assert_eq!(kept.get("good.test", "/").expect(200).text(), "good");
                assert_eq!(host.get("good.test", "/").expect(200).text(), "good");
                served += if compiling { 2 } else { 0 };
                // A job has the lowest priority: it gets its turn between requests.
                thread::sleep(Duration::from_millis(5));
            }
            served
        });
        let deadline = Instant::now() + FUSE;
        while !done() && !client.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(Instant::now() < deadline, "still not so: {what}");
        client.join().expect("every request succeeds")
    })
}

#[test]
fn a_compile_bomb_is_its_tenants_fault_and_nobody_elses_problem() {
    let dir = tempfile::tempdir().unwrap();
    let base = || TestHost::builder().private_artifacts().tenant(good());
    let host = base().start();
    host.reload(&base().tenant(tenant(&dir, "bomb", &memory_bomb())));
    let served = served_until(&host, "refused", || complaint(&host, "bomb").is_some());
    assert!(served >= 50, "{served} requests served meanwhile");
    let reason = complaint(&host, "bomb").unwrap();
    // Where the host has less memory than a job may use, the kernel ends it; a slow one may find the
    // time over first.
    let known = [
        "out of its 4096 MiB of memory",
        "the host ran out of memory",
        "more than 30 s of CPU time",
        "took longer than 120000 ms",
    ];
    assert!(known.iter().any(|known| reason.contains(known)), "{reason}");
    let refused = host.get("bomb.test", "/").expect(502);
    assert_eq!(refused.reason(), "component_rejected");
    assert_eq!(refused.header("x-skep-fault"), Some("tenant"));

    // It is not tried again, and the next one gets its turn.
    assert!(host.compile_job_pids().is_empty());
    host.reload(&base().tenant(Tenant::new("next", "hello")));
    host.get("next.test", "/").expect(200);
}

#[test]
fn a_large_component_is_compiled_while_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let base = || TestHost::builder().private_artifacts().tenant(good());
    let host = base().start();
    host.reload(&base().tenant(tenant(&dir, "large", &large())));
    // Its program runs, and gives no answer.
    let runs = || host.get("large.test", "/").reason() == "no_response";
    let served = served_until(&host, "compiled", runs);
    assert!(served >= 50, "{served} requests served meanwhile");
    assert_eq!(complaint(&host, "large"), None);
}

/// Bytes that mean nothing, the same every time (SplitMix64).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A component's preamble: a configuration with another is refused before anything is compiled.
const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn what_is_no_program_is_refused_with_a_reason() {
    let kitchen = fs::read(guest("kitchen")).unwrap();
    let flipped: Vec<u8> = kitchen
        .iter()
        .enumerate()
        .map(|(at, byte)| if at % 1000 == 999 { byte ^ 0x55 } else { *byte })
        .collect();
    let text = |text: &str| wat::parse_str(text).unwrap();
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("bare", PREAMBLE.to_vec(), "exports none of"),
        (
            "noise",
            [PREAMBLE, &noise(65_536)].concat(),
            "not a WebAssembly component: ",
        ),
        (
            "half",
            kitchen[..kitchen.len() / 2].to_vec(),
            "not a WebAssembly component: ",
        ),
        (
            "short",
            kitchen[..kitchen.len() - 1].to_vec(),
            "not a WebAssembly component: ",
        ),
        ("flipped", flipped, ""),
        (
            "other",
            text(r#"(component (instance $i) (export "wasi:cli/run@0.2.0" (instance $i)))"#),
            "it exports: wasi:cli/run@0.2.0",
        ),
        ("memory64", component("(memory i64 1)", ""), "memory64"),
        ("shared", component("(memory 1 1 shared)", ""), "threads"),
        ("body", component_with_a_wrong_body(), "type mismatch"),
        (
            "locals",
            component(&format!("(func (local {}))", "i32 ".repeat(50_001)), ""),
            "too many locals",
        ),
        (
            "table",
            component(
                &format!("(func (br_table {}(i32.const 0)))", "0 ".repeat(100_000)),
                "",
            ),
            "br_table",
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let all = cases.iter().fold(
        TestHost::builder()
            .private_artifacts()
            .cold()
            .tenant(good()),
        |builder, (name, bytes, _)| builder.tenant(tenant(&dir, name, bytes)),
    );
    let host = all.start();
    for (name, _, wanted) in &cases {
        wait_until(name, PATIENCE, || complaint(&host, name).is_some());
        let reason = complaint(&host, name).unwrap();
        assert!(reason.contains(wanted), "{name}: {wanted:?}: {reason}");
        let refused = host.get(&format!("{name}.test"), "/").expect(502);
        assert_eq!(refused.reason(), "component_rejected", "{name}");
        assert_eq!(refused.header("x-skep-fault"), Some("tenant"), "{name}");
    }
    wait_until("the good one", PATIENCE, || {
        host.get("good.test", "/").status == 200
    });
}

/// Valid to its last byte but for the types of one function.
fn component_with_a_wrong_body() -> Vec<u8> {
    component("(func (result i32) (i64.const 1))", "")
}

#[test]
fn what_cannot_be_run_is_refused_where_it_is_loaded() {
    let import = r#"(import "evil:host/api@1.0.0" (func))"#;
    let many = |what: &str, count: usize| what.repeat(count);
    let cases: [(&str, Vec<u8>); 6] = [
        ("import", component("", import)),
        // More than any instance may have, whatever the tenant's limits say.
        ("memory", component("(memory 65536)", "")),
        ("memories", component(&many("(memory 1)", 5), "")),
        ("tables", component(&many("(table 1 funcref)", 5), "")),
        ("elements", component("(table 10000000 funcref)", "")),
        (
            "instances",
            component("", &many("(core instance (instantiate $m))", 20)),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let all = cases.iter().fold(
        TestHost::builder().private_artifacts().tenant(good()),
        |builder, (name, bytes)| builder.tenant(tenant(&dir, name, bytes)),
    );
    let host = all.start();
    for (name, _) in &cases {
        let refused = host.get(&format!("{name}.test"), "/").expect(502);
        assert_eq!(refused.reason(), "component_rejected", "{name}");
        assert_eq!(refused.header("x-skep-fault"), Some("tenant"), "{name}");
        // It was compiled; only a worker finds out.
        assert_eq!(complaint(&host, name), None);
    }
    assert_eq!(host.get("good.test", "/").expect(200).text(), "good");
}

#[test]
fn a_start_function_runs_on_its_tenants_budget() {
    let start = |body: &str| component(&format!("(func $start {body}) (start $start)"), "");
    let grow =
        "(memory 1) (func $start (loop (drop (memory.grow (i32.const 64))) (br 0))) (start $start)";
    let cases: [(&str, Vec<u8>, u16, &[&str]); 3] = [
        ("loops", start("(loop (br 0))"), 504, &["cpu_exhausted"]),
        ("traps", start("unreachable"), 500, &["trapped"]),
        (
            "grows",
            component(grow, ""),
            0,
            &["cpu_exhausted", "memory_exhausted"],
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let all = cases.iter().fold(
        TestHost::builder().private_artifacts().tenant(good()),
        |builder, (name, bytes, ..)| builder.tenant(tenant(&dir, name, bytes)),
    );
    let host = all.start();
    for (name, _, status, reasons) in cases {
        let response = host.get(&format!("{name}.test"), "/");
        assert!(
            status == 0 || response.status == status,
            "{name}: {response:?}"
        );
        assert!(reasons.contains(&response.reason()), "{name}: {response:?}");
        assert_eq!(response.header("x-skep-fault"), Some("tenant"), "{name}");
        assert_eq!(host.get("good.test", "/").expect(200).text(), "good");
    }
}

/// A compile job that was stopped before it was done.
fn stopped_job(host: &TestHost) -> u32 {
    let mut job = 0;
    wait_until("a compile job", PATIENCE, || {
        job = host.compile_job_pids().first().copied().unwrap_or(0);
        job != 0
    });
    // It has set itself up when it has its name.
    let name = format!("/proc/{job}/comm");
    wait_until("its name", PATIENCE, || {
        fs::read_to_string(&name).is_ok_and(|name| name.trim() == "skep-compile")
    });
    let score = format!("/proc/{job}/oom_score_adj");
    wait_until("its score", PATIENCE, || {
        fs::read_to_string(&score).is_ok_and(|score| score.trim() == "1000")
    });
    send(job, Signal::SIGSTOP);
    job
}

#[test]
fn a_compile_job_has_limits_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    // What the host was started with is not passed on: this copy is not close-on-exec.
    let _stray = nix::unistd::dup(fs::File::open("/dev/zero").unwrap()).unwrap();
    let host = TestHost::builder()
        .private_artifacts()
        .cold()
        .tenant(tenant(&dir, "large", &large()))
        .start();
    let job = stopped_job(&host);
    let read = |name: &str| fs::read_to_string(format!("/proc/{job}/{name}")).unwrap();

    let limits = read("limits");
    for (name, soft) in [
        ("Max address space", 4_u64 << 30),
        ("Max cpu time", 2), // of a small one's first try
        ("Max file size", 1 << 30),
        ("Max open files", 64),
        ("Max core file size", 0),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        assert_eq!(value, Some(soft.to_string().as_str()), "{name}: {limits}");
    }
    let status = read("status");
    assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    let niceness = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let field = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16);
        field.unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(niceness(job), (niceness(host.pid()) + 15).min(19));
    // What may be kept of the environment tells nothing.
    let environment = read("environ");
    let known = ["RUST_BACKTRACE=", "RUST_LOG=", "LLVM_PROFILE_FILE="];
    for variable in environment.split_terminator('\0') {
        assert!(
            known.iter().any(|known| variable.starts_with(known)),
            "{variable}"
        );
    }

    let open = || -> Option<BTreeSet<String>> {
        let entries = fs::read_dir(format!("/proc/{job}/fd")).unwrap();
        let file = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            // One that it opened for a moment may be gone by now.
            let target = fs::read_link(&path).ok()?.display().to_string();
            let kind = target.split([':', ' ']).take(2).collect::<Vec<_>>();
            let kind = match kind[0] {
                "socket" => "socket".into(),
                _ => kind.join(":"),
            };
            Some(format!("{} {kind}", path.file_name()?.display()))
        };
        entries.map(file).collect()
    };
    let expected = [
        "0 /dev/null",
        "1 /dev/null",
        "2 /dev/null",
        "3 socket",
        "4 /memfd:skep-component",
        "5 /memfd:skep-artifact",
    ];
    let expected = BTreeSet::from(expected.map(str::to_owned));
    // The standard library reads the control group's limits when it counts the cores.
    wait_until("nothing else to be open", PATIENCE, || {
        open().as_ref() == Some(&expected)
    });
    assert_eq!(
        fs::read_link(format!("/proc/{job}/cwd")).unwrap(),
        PathBuf::from("/")
    );
    let strays = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets
            .filter(|path| path == Path::new("/dev/zero"))
            .count()
    };
    assert_eq!(strays(host.pid()), 1);
    assert_eq!(strays(host.worker_pids()[0]), 0);
    send(job, Signal::SIGCONT);
    wait_until("compiled", FUSE, || {
        host.get("large.test", "/").reason() == "no_response"
    });
}

#[test]
fn a_compile_job_that_is_killed_is_tried_once_more_and_costs_its_tenant_only() {
    let dir = tempfile::tempdir().unwrap();
    let base = || TestHost::builder().private_artifacts().tenant(good());
    let host = base().start();
    let with_large = || base().tenant(tenant(&dir, "large", &large()));
    host.reload(&with_large());
    // Once may be the bad luck of a host short of memory: nobody is blamed yet.
    let first = stopped_job(&host);
    send(first, Signal::SIGKILL);
    host.wait_for_stderr(|line| {
        line.starts_with("skep: tenant large: ") && line.ends_with("trying once more")
    });
    assert_eq!(complaint(&host, "large"), None);
    assert_eq!(host.get("good.test", "/").expect(200).text(), "good");
    // Twice is enough.
    let second = stopped_job(&host);
    assert_ne!(second, first);
    send(second, Signal::SIGKILL);
    wait_until("refused", PATIENCE, || complaint(&host, "large").is_some());
    let reason = complaint(&host, "large").unwrap();
    assert!(
        reason.contains("ended with SIGKILL: most likely the host ran out of memory"),
        "{reason}"
    );
    assert_eq!(
        host.get("large.test", "/").expect(502).reason(),
        "component_rejected"
    );
    assert_eq!(host.get("good.test", "/").expect(200).text(), "good");
    // The file is written again: it is another version, and gets other jobs. The first is killed,
    // the second is not.
    host.reload(&with_large());
    send(stopped_job(&host), Signal::SIGKILL);
    wait_until("compiled", FUSE, || {
        host.get("large.test", "/").reason() == "no_response"
    });
}
