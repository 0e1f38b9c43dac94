//! What the kernel says of skep's processes once they serve, and what a host without a layer is told.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use common::{Tenant, TestHost};
use nix::unistd::geteuid;
use serde_json::Value;

fn serving() -> TestHost {
    let host = TestHost::builder()
        .tenant(Tenant::new("hello", "hello"))
        .start();
    host.get("hello.test", "/").expect(200);
    host
}

/// A line of `/proc/PID/status` (proc_pid_status(5)).
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is alive");
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let value = line.and_then(|line| line.strip_prefix(':'));
    value.expect("the kernel says it").trim().to_owned()
}

fn namespace(pid: u32, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{kind}"))
        .unwrap()
        .ino()
}

/// `skep doctor --json`, by layer.
fn doctor() -> BTreeMap<String, Value> {
    let skep = env!("CARGO_BIN_EXE_skep");
    let output = Command::new(skep).args(["doctor", "--json"]).output();
    let output = output.expect("skep starts");
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    rows.into_iter()
        .map(|row| (row["layer"].as_str().unwrap().to_owned(), row))
        .collect()
}

fn is_on(layers: &BTreeMap<String, Value>, layer: &str) -> bool {
    layers.get(layer).is_some_and(|row| row["state"] == "on")
}

#[test]
fn processes_have_no_capability_and_a_filter() {
    let host = serving();
    let broker = host.broker_pid().expect("there is one");
    let egress = host.egress_pid().expect("there is one");
    let data = host.data_pid().expect("there is one");
    for pid in host.worker_pids().into_iter().chain([broker, egress, data]) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set} of {pid}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(status(pid, "Seccomp"), "2", "a filter");
    }
    assert_eq!(status(host.pid(), "Seccomp"), "2", "the supervisor's");
}

#[test]
fn a_worker_is_apart_from_the_host_as_far_as_the_doctor_says() {
    let host = serving();
    let layers = doctor();
    let here = std::process::id();
    for pid in host.worker_pids() {
        for (layer, kind) in [
            ("userns", "user"),
            ("netns", "net"),
            ("ipcns", "ipc"),
            ("utsns", "uts"),
            ("pidns", "pid"),
            ("root", "mnt"),
        ] {
            let apart = namespace(pid, kind) != namespace(here, kind);
            assert_eq!(apart, is_on(&layers, layer), "{layer} of {pid}");
        }
        if is_on(&layers, "root") {
            let root = fs::read_dir(format!("/proc/{pid}/root")).unwrap();
            let names: Vec<_> = root.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["fd"], "the root of {pid}");
        }
        if geteuid().is_root() {
            assert!(status(pid, "Uid").starts_with("65534"), "nobody");
        }
    }
}

#[test]
fn a_worker_has_an_interface_that_is_down_and_no_other() {
    let host = serving();
    if !is_on(&doctor(), "netns") {
        return; // the test above has checked that the doctor says the truth
    }
    for pid in host.worker_pids() {
        let devices = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        let names: Vec<_> = devices
            .lines()
            .skip(2)
            .filter_map(|line| Some(line.split_once(':')?.0.trim()))
            .collect();
        assert_eq!(names, ["lo"]);
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap();
        assert!(
            routes.lines().count() <= 1,
            "a heading and no route: {routes}"
        );
    }
}

/// It has the host's network, and of everything else nothing.
#[test]
fn what_connects_for_workers_has_the_network_alone() {
    let host = serving();
    let layers = doctor();
    let here = std::process::id();
    let pid = host.egress_pid().expect("there is one");
    assert_eq!(namespace(pid, "net"), namespace(here, "net"));
    for (layer, kind) in [
        ("userns", "user"),
        ("ipcns", "ipc"),
        ("utsns", "uts"),
        ("pidns", "pid"),
        ("root", "mnt"),
    ] {
        let apart = namespace(pid, kind) != namespace(here, kind);
        assert_eq!(apart, is_on(&layers, layer), "{layer}");
    }
    if is_on(&layers, "root") {
        let root = fs::read_dir(format!("/proc/{pid}/root")).unwrap();
        let names: Vec<_> = root.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["fd"]);
    }
}

/// It has the files of its directory, and no network at all.
#[test]
fn what_keeps_data_has_no_network() {
    let host = serving();
    let layers = doctor();
    let pid = host.data_pid().expect("there is one");
    let apart = namespace(pid, "net") != namespace(std::process::id(), "net");
    assert_eq!(apart, is_on(&layers, "netns"));
    // Who is not root may not look into a process that nobody may dump.
    if !geteuid().is_root() {
        return;
    }
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let files = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let mut files: Vec<_> = files.filter(|path| path.is_absolute()).collect();
    files.retain(|path| path != std::path::Path::new("/dev/null"));
    assert!(!files.is_empty(), "it keeps a file");
    assert!(
        files.iter().all(|path| path.ends_with("data/kv.redb")),
        "{files:?}"
    );
}

#[test]
fn what_is_in_force_is_said_at_the_start() {
    let host = serving();
    let line = host.wait_for_stderr(|line| line.contains("worker isolation: "));
    for (layer, row) in doctor() {
        if row["state"] == "on" {
            assert!(line.contains(&layer), "{layer} in {line}");
        }
    }
}

#[test]
fn what_is_required_is_there_or_nothing_starts() {
    let layers = doctor();
    let (on, rest): (Vec<_>, Vec<_>) = layers.keys().partition(|layer| is_on(&layers, layer));
    let impossible = |layer: &&String| layers[*layer]["state"] == "impossible";
    let off: Vec<&String> = rest.into_iter().filter(impossible).collect();
    let require = |layers: &[&String]| format!("require = {layers:?}");
    let host = TestHost::builder()
        .line("isolation", &require(&on))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    host.get("hello.test", "/").expect(200);
    for layer in off {
        let refused = TestHost::builder()
            .line("isolation", &require(&[layer]))
            .tenant(Tenant::new("hello", "hello"))
            .start_refused();
        let (status, said) = refused;
        assert_eq!(status.code(), Some(1));
        let wanted = format!("isolation.require is not met: {layer}: ");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn the_doctor_without_privileges_names_what_is_missing_and_the_remedy() {
    if !geteuid().is_root() {
        return; // the other tests are that case then
    }
    let skep = env!("CARGO_BIN_EXE_skep");
    // Where another user can run it, whatever the modes of the directories above.
    let copy = std::env::temp_dir().join(format!("skep-doctor-{}", std::process::id()));
    fs::copy(skep, &copy).unwrap();
    let output = {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&copy);
        command
            .arg("doctor")
            .current_dir("/")
            .uid(12_345)
            .gid(12_345);
        command.output()
    };
    fs::remove_file(&copy).unwrap();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("pidns"));
    let at = at.expect("a line about it");
    assert!(lines[at].contains("impossible"), "{text}");
    assert!(
        lines[at + 1].contains("to have it: start skep as root"),
        "{text}"
    );
}

#[test]
fn no_attack_is_built_into_a_release() {
    let binary = fs::read(env!("CARGO_BIN_EXE_skep")).unwrap();
    let contains = |text: &[u8]| binary.windows(text.len()).any(|window| window == text);
    assert!(
        contains(b"isolation.require is not met"),
        "this finds texts"
    );
    assert_eq!(
        contains(b"red-team has tried everything"),
        cfg!(feature = "red-team")
    );
}
