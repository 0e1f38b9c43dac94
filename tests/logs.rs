//! Log lines of requests and tenants: which request each is of, each tenant's own files, `skep logs`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::{Builder, Origin, PATIENCE, Tenant, TestHost, guest};
use serde_json::Value;

/// Two tenants, each with files of its own.
fn config() -> Builder {
    let chatty = |name| {
        Tenant::new(name, "kitchen")
            .limit("log_bytes_per_request", 16 << 20)
            .limit("log_burst_bytes", 64 << 20)
    };
    TestHost::builder()
        .line("log", "dir = 'tenants'")
        .line("log", "rotate_kib = 128")
        .line("log", "keep = 2")
        .tenant(chatty("a"))
        .tenant(chatty("b"))
}

fn logs(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(["logs", "--config"]).arg(config);
    command
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn all_lines_of_a_request_have_its_id_which_no_client_chooses() {
    let host = config().start();
    let mut client = host.connect();
    let mut ids = Vec::new();
    for path in ["/log?n=2&len=1", "/log?n=1&len=2", "/trap"] {
        client = host.connect();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a.test\r\nx-request-id: 00000000000000aa\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
        ));
        client.read_response();
        let access = host.wait_for_access(path);
        let id = access["request"].as_str().expect("an id").to_owned();
        assert_eq!(id.len(), 16, "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_ne!(id, "00000000000000aa");
        let of_it: Vec<_> = host
            .log_lines()
            .into_iter()
            .filter(|line| line["request"] == *id && line["kind"] != "access")
            .map(|line| line["kind"].as_str().expect("a kind").to_owned())
            .collect();
        let expected = match path {
            "/log?n=2&len=1" => vec!["output"; 4],
            "/log?n=1&len=2" => vec!["output"; 2],
            _ => vec!["fault"],
        };
        assert_eq!(of_it, expected, "{path}");
        ids.push(id);
    }
    drop(client);
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let output = host.wait_for_log(|line| line["kind"] == "output");
    for key in ["time", "tenant", "request", "stream", "line"] {
        assert!(!output[key].is_null(), "{key}: {output}");
    }
}

#[test]
fn a_tenant_has_its_own_lines_and_the_command_shows_them() {
    let host = config().start();
    host.get("a.test", "/log?n=3&len=4").expect(200);
    host.get("b.test", "/log?n=1&len=9").expect(200);
    host.get("c.test", "/").expect(404);
    let file = host.dir().join("skep.toml");
    let shown = |args: &[&str]| {
        let output = logs(&file).args(args).output().expect("skep logs");
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    };
    for (tenant, path, printed) in [("a", "/log?n=3&len=4", 6), ("b", "/log?n=1&len=9", 2)] {
        let is_there = |lines: &[Value]| lines.iter().any(|line| line["path"] == path);
        wait_until("the access line", || is_there(&shown(&[tenant])));
        let all = shown(&[tenant]);
        assert!(all.iter().all(|line| line["tenant"] == tenant), "{all:?}");
        let outputs = all.iter().filter(|line| line["kind"] == "output").count();
        assert_eq!(outputs, printed);
        assert_eq!(shown(&[tenant, "-n", "2"]), all[all.len() - 2..]);
    }
    let wrong = |args: &[&str]| {
        let output = logs(&file).args(args).output().expect("skep logs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let path = file.display();
    assert_eq!(
        wrong(&["nobody"]),
        format!("skep: {path}: no tenant nobody; the name of a [[tenant]] is right\n")
    );
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace("dir = 'tenants'", "")).expect("writing");
    assert_eq!(
        wrong(&["a"]),
        format!("skep: {path}: log.dir is not set; the directory of tenants' logs is right\n")
    );
}

/// A tenant that has no program but an origin, with filters or none, has a file of its own, too; and
/// what its filters print is in it.
#[test]
fn passed_on_requests_are_in_their_tenants_file() {
    let origin = Origin::start();
    let filter = format!("origin.filter = [{{ component = {:?} }}]", guest("filter"));
    let filtered = Tenant::passed_on("filtered", &[&origin.url()]).line(&filter);
    let host = TestHost::builder()
        .line("log", "dir = 'tenants'")
        .tenant(Tenant::passed_on("plain", &[&origin.url()]))
        .tenant(filtered)
        .start();
    for (tenant, path) in [("plain", "/hello"), ("filtered", "/log")] {
        host.get(&format!("{tenant}.test"), path).expect(200);
        let file = host.dir().join("tenants").join(format!("{tenant}.log"));
        let text = || std::fs::read_to_string(&file).unwrap_or_default();
        wait_until("its access line", || text().contains(&format!("{path:?}")));
        for line in text().lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(line["tenant"], tenant, "{line}");
        }
    }
    let file = host.dir().join("skep.toml");
    let output = logs(&file).arg("filtered").output().expect("skep logs");
    let printed = lines(&output);
    let printed = printed.iter().filter(|line| line["kind"] == "output");
    assert!(printed.count() > 0, "{output:?}");
}

/// Files are as many and as large as they may be, and who follows loses no line.
#[test]
fn following_survives_rotation() {
    let host = config().start();
    let file = host.dir().join("skep.toml");
    let mut child = logs(&file)
        .args(["a", "--follow", "--lines", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("skep logs");
    let pipe = BufReader::new(child.stdout.take().expect("a pipe"));
    let (send, followed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in pipe.lines().map_while(Result::ok) {
            let line: Value = serde_json::from_str(&line).expect("whole lines");
            if line["kind"] == "output" && send.send(line).is_err() {
                return;
            }
        }
    });
    // It follows once it has shown something.
    let mut number = 0;
    let first = loop {
        number += 1;
        host.get("a.test", "/log?n=1&len=1").expect(200);
        if let Ok(line) = followed.recv_timeout(std::time::Duration::from_millis(200)) {
            break line;
        }
        assert!(number < 100, "nothing is followed");
    };
    assert_eq!(first["tenant"], "a");
    // Each request is a file's worth, and waited for: more than `keep` files at once are lost.
    let dir = host.dir().join("tenants");
    for round in 0..4 {
        let fill = 1_000 + round;
        host.get("a.test", &format!("/log?n=60&len={fill}"))
            .expect(200);
        let mut seen = 0;
        while seen < 120 {
            let line = followed.recv_timeout(PATIENCE).expect("a line");
            let length = line["line"].as_str().expect("a text").len();
            seen += usize::from(length >= fill + 6);
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(&dir)
        .expect("the directory")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("a."))
        .map(|entry| {
            assert!(entry.metadata().expect("a file").len() <= 128 << 10);
            entry.file_name().into_string().expect("UTF-8")
        })
        .collect();
    names.sort();
    assert_eq!(names, ["a.log", "a.log.1", "a.log.2"]);
    child.kill().expect("killing it");
    child.wait().expect("its end");
}
