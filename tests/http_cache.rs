//! Answers of an origin that are kept: what the origin is asked, and what clients get.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use common::{Builder, Response, Tenant, TestHost, cores};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// An origin that answers each request with these fields and a body that says which request it was. A
/// path of `/slow` is answered once `open` is called.
struct Counting {
    url: String,
    asked: Arc<AtomicUsize>,
    gate: Arc<Mutex<()>>,
    last: Arc<Mutex<String>>,
}

impl Counting {
    fn start(fields: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let it = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            gate: Arc::default(),
            last: Arc::default(),
        };
        let (asked, gate, last) = (it.asked.clone(), it.gate.clone(), it.last.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, gate, last) = (asked.clone(), gate.clone(), last.clone());
                thread::spawn(move || answer(stream, fields, &asked, &gate, &last));
            }
        });
        it
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(
    mut stream: TcpStream,
    fields: &str,
    asked: &AtomicUsize,
    gate: &Mutex<()>,
    last: &Mutex<String>,
) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
        if head.starts_with("GET /slow") {
            drop(gate.lock().unwrap());
        }
        let is_known = head.contains("if-none-match: \"1\"");
        *last.lock().unwrap() = head;
        let body = format!("answer {count}");
        let text = match is_known {
            true => format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"),
            false => {
                let length = body.len();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{fields}\r\n{body}")
            }
        };
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn keeping(origin: &Counting) -> TestHost {
    let tenant = Tenant::passed_on("a", &[&origin.url])
        .limit("concurrency", 2_000)
        .limit("queue", 2_000);
    TestHost::builder().tenant(tenant).cold().start()
}

fn ask(host: &TestHost, method: &str, path: &str, fields: &str) -> Response {
    let mut client = host.connect();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n"
    ));
    client.read_response()
}

#[test]
fn what_may_be_kept_is_asked_for_once() {
    let origin = Counting::start("cache-control: max-age=60\r\netag: \"1\"\r\n");
    let host = keeping(&origin);
    let first = ask(&host, "GET", "/page", "").expect(200);
    assert_eq!(first.text(), "answer 1");
    let status = first.header("cache-status").unwrap();
    assert!(status.starts_with("skep; fwd=uri-miss"), "{status}");
    let second = ask(&host, "GET", "/page", "").expect(200);
    assert_eq!(second.text(), "answer 1");
    let status = second.header("cache-status").unwrap();
    assert!(status.starts_with("skep; hit"), "{status}");
    assert_eq!(second.header("age"), Some("0"));
    assert_eq!(second.header("content-length"), Some("8"));
    let not_modified = ask(&host, "GET", "/page", "if-none-match: \"1\"\r\n");
    assert_eq!(not_modified.status, 304);
    let part = ask(&host, "GET", "/page", "range: bytes=0-2\r\n").expect(206);
    assert_eq!(part.text(), "ans");
    assert_eq!(part.header("content-range"), Some("bytes 0-2/8"));
    assert_eq!(origin.asked(), 1);
    // Another URL is another answer; what a client does not want to have from here is asked for.
    ask(&host, "GET", "/page?x", "").expect(200);
    ask(&host, "GET", "/page", "cache-control: no-store\r\n").expect(200);
    assert_eq!(origin.asked(), 3);
    // What changes something is passed on, and what was kept is not served any more.
    ask(&host, "DELETE", "/page", "").expect(200);
    assert_eq!(
        ask(&host, "GET", "/page", "").expect(200).text(),
        "answer 5"
    );
}

#[test]
fn what_is_stale_is_asked_about() {
    let origin = Counting::start("cache-control: max-age=0\r\netag: \"1\"\r\n");
    let host = keeping(&origin);
    assert_eq!(
        ask(&host, "GET", "/page", "").expect(200).text(),
        "answer 1"
    );
    let again = ask(&host, "GET", "/page", "").expect(200);
    assert_eq!(again.text(), "answer 1", "the origin said that it still is");
    assert_eq!(origin.asked(), 2);
    assert!(origin.last.lock().unwrap().contains("if-none-match: \"1\""));
}

#[test]
fn nobody_has_what_is_kept_forgotten() {
    let origin = Counting::start("cache-control: max-age=60\r\netag: \"1\"\r\n");
    let host = keeping(&origin);
    ask(&host, "GET", "/page", "").expect(200);
    let asking = "authorization: x\r\ncache-control: no-cache\r\n";
    ask(&host, "GET", "/page", asking).expect(200);
    assert_eq!(origin.asked(), 2, "the origin was asked about it");
    assert_eq!(
        ask(&host, "GET", "/page", "").expect(200).text(),
        "answer 1"
    );
    assert_eq!(origin.asked(), 2, "and it still is there");
}

#[test]
fn what_is_private_is_nobody_elses() {
    for fields in [
        "cache-control: private, max-age=60\r\n",
        "cache-control: no-store\r\n",
        "cache-control: max-age=60\r\nset-cookie: id=1\r\n",
        "cache-control: max-age=60\r\nvary: *\r\n",
    ] {
        let origin = Counting::start(fields);
        let host = keeping(&origin);
        for count in 1..4 {
            let answer = ask(&host, "GET", "/page", "").expect(200);
            assert_eq!(answer.text(), format!("answer {count}"), "{fields}");
        }
    }
    // And no tenant has another's.
    let origin = Counting::start("cache-control: max-age=60\r\n");
    let host = TestHost::builder()
        .tenant(Tenant::passed_on("a", &[&origin.url]))
        .tenant(Tenant::passed_on("b", &[&origin.url]))
        .cold()
        .start();
    assert_eq!(host.get("a.test", "/x").expect(200).text(), "answer 1");
    assert_eq!(host.get("b.test", "/x").expect(200).text(), "answer 2");
}

#[test]
fn a_herd_makes_one_request() {
    const HERD: usize = 200;
    let origin = Counting::start("cache-control: max-age=60\r\n");
    let host = keeping(&origin);
    let closed = origin.gate.lock().unwrap();
    let start = Barrier::new(HERD);
    thread::scope(|scope| {
        let one = || {
            let mut client = host.connect();
            start.wait();
            client.send("GET /slow HTTP/1.1\r\nhost: a.test\r\n\r\n");
            client.read_response().expect(200).text()
        };
        let all: Vec<_> = (0..HERD).map(|_| scope.spawn(one)).collect();
        while origin.asked() == 0 {
            thread::yield_now();
        }
        drop(closed);
        for one in all {
            assert_eq!(one.join().unwrap(), "answer 1");
        }
    });
    assert_eq!(origin.asked(), 1);
}

#[test]
fn one_that_leaves_takes_nobody_with_it() {
    let origin = Counting::start("cache-control: max-age=60\r\n");
    let host = keeping(&origin);
    let closed = origin.gate.lock().unwrap();
    let mut first = host.connect();
    first.send("GET /slow HTTP/1.1\r\nhost: a.test\r\n\r\n");
    while origin.asked() == 0 {
        thread::yield_now();
    }
    let mut second = host.connect();
    second.send("GET /slow HTTP/1.1\r\nhost: a.test\r\n\r\n");
    drop(first);
    drop(closed);
    let text = second.read_response().expect(200).text();
    assert!(text.starts_with("answer "), "{text}");
}

#[test]
fn a_tenant_without_a_cache_has_none() {
    let origin = Counting::start("cache-control: max-age=60\r\n");
    let tenant = Tenant::passed_on("a", &[&origin.url]).limit("http_cache_bytes", 0);
    let host = TestHost::builder().tenant(tenant).cold().start();
    for count in 1..4 {
        let answer = host.get("a.test", "/page").expect(200);
        assert_eq!(answer.text(), format!("answer {count}"));
        assert_eq!(answer.header("cache-status"), None);
    }
}

#[test]
fn answers_are_purged_by_url_prefix_and_tag() {
    let origin = Counting::start("cache-control: max-age=60\r\nsurrogate-key: one two\r\n");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let host = TestHost::builder()
        .workers(cores().len().min(2))
        .line("admin", &format!("socket = {socket:?}"))
        .tenant(Tenant::passed_on("a", &[&origin.url]).cores(cores().len().min(2)))
        .cold()
        .start();
    let mut client = host.connect();
    let mut get = |path: &str| {
        let answer = client.get("a.test", path).expect(200);
        assert_eq!(
            answer.header("surrogate-key"),
            None,
            "tags are not handed on"
        );
        answer.text()
    };
    let config = host.dir().join("skep.toml");
    let purge = |args: &[&str]| {
        let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
        let output = skep
            .args(["purge", "a", "--config"])
            .arg(&config)
            .args(args)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        said
    };
    for (args, forgets) in [
        (&["--url", "https://A.test/dir/page"][..], true),
        (&["--url", "a.test/dir/other"], false),
        (&["--prefix", "http://a.test/dir/"], true),
        (&["--prefix", "http://b.test/"], false),
        (&["--tag", "two"], true),
        (&["--tag", "three"], false),
        (&["--all"], true),
        (&["--all", "--soft"], true),
    ] {
        let before = get("/dir/page");
        assert_eq!(get("/dir/page"), before);
        let said = purge(args);
        let count = if forgets { "purged 1 " } else { "purged 0 " };
        assert!(said.starts_with(count), "{args:?}: {said}");
        assert_eq!(get("/dir/page") != before, forgets, "{args:?}");
    }
    let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
    let refused = skep
        .args(["purge", "b", "--all", "--config"])
        .arg(&config)
        .output();
    let refused = refused.unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no tenant b is served"), "{said}");
}

/// A tenant whose answers are kept on disk, too, in `data`.
fn on_disk(origin: &Counting, data: &Path, socket: &Path) -> Builder {
    TestHost::builder()
        .line("data", &format!("dir = {data:?}"))
        .line("data", "http_cache_mib_max = 64")
        .line("admin", &format!("socket = {socket:?}"))
        .tenant(Tenant::passed_on("a", &[&origin.url]))
        .cold()
}

fn purged(host: &TestHost, args: &[&str]) -> Output {
    let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
    let config = host.dir().join("skep.toml");
    let purge = skep.args(["purge", "a", "--config"]).arg(config).args(args);
    purge.output().unwrap()
}

fn purge(host: &TestHost, args: &[&str]) {
    let output = purged(host, args);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_on_disk_outlives_the_host_and_what_was_purged_does_not() {
    let origin = Counting::start("cache-control: max-age=600\r\nsurrogate-key: one\r\n");
    let dir = tempfile::tempdir().unwrap();
    let (data, socket) = (dir.path().join("data"), dir.path().join("admin.sock"));
    let config = on_disk(&origin, &data, &socket);
    let mut host = config.clone().start();
    let kept = ask(&host, "GET", "/kept", "").expect(200).text();
    let purged = ask(&host, "GET", "/purged", "").expect(200).text();
    let changed = ask(&host, "GET", "/changed", "").expect(200).text();
    purge(&host, &["--url", "http://a.test/purged"]);
    ask(&host, "POST", "/changed", "content-length: 0\r\n").expect(200);
    host.stop();
    drop(host);

    let host = config.start();
    let answer = ask(&host, "GET", "/kept", "").expect(200);
    assert_eq!(answer.text(), kept);
    let status = answer.header("cache-status").unwrap();
    assert!(
        status.starts_with("skep; hit;") && status.ends_with("detail=disk"),
        "{status}"
    );
    let again = ask(&host, "GET", "/kept", "").expect(200);
    assert!(
        !again.header("cache-status").unwrap().contains("disk"),
        "in memory, too, now"
    );
    assert_ne!(ask(&host, "GET", "/purged", "").expect(200).text(), purged);
    assert_ne!(
        ask(&host, "GET", "/changed", "").expect(200).text(),
        changed
    );
    // By tag, which memory knows of what came from disk, too.
    purge(&host, &["--tag", "one"]);
    assert_ne!(ask(&host, "GET", "/kept", "").expect(200).text(), kept);
}

/// Another origin has nothing of the one before.
#[test]
fn another_origin_is_asked_itself() {
    let (one, other) = (
        Counting::start("cache-control: max-age=600\r\n"),
        Counting::start("cache-control: max-age=600\r\n"),
    );
    let dir = tempfile::tempdir().unwrap();
    let (data, socket) = (dir.path().join("data"), dir.path().join("admin.sock"));
    let mut host = on_disk(&one, &data, &socket).start();
    ask(&host, "GET", "/page", "").expect(200);
    host.stop();
    drop(host);
    let host = on_disk(&other, &data, &socket).start();
    ask(&host, "GET", "/page", "").expect(200);
    assert_eq!((one.asked(), other.asked()), (1, 1));
}

/// Without who keeps it, the origin is asked; and nothing that was purged or changed comes back.
#[test]
fn whoever_keeps_it_may_be_killed_at_any_time() {
    let origin = Counting::start("cache-control: max-age=600\r\n");
    let dir = tempfile::tempdir().unwrap();
    let (data, socket) = (dir.path().join("data"), dir.path().join("admin.sock"));
    let host = on_disk(&origin, &data, &socket).start();
    for round in 0..4 {
        let path = format!("/{round}");
        let first = ask(&host, "GET", &path, "").expect(200).text();
        let mark = host.stderr_lines().len();
        let (pid, is_worker) = match round % 2 {
            0 => (host.data_pid().expect("a data process"), false),
            _ => (host.worker_pids()[0], true),
        };
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        let who = if is_worker {
            "skep: worker 0 (core "
        } else {
            "skep: data pid "
        };
        let again = |line: &str| line.starts_with(who) && !line.contains("died");
        if !is_worker {
            // Nobody can be told: it is gone from memory, and from the file with the process.
            let _ = purged(&host, &["--url", &format!("http://a.test{path}")]);
        }
        host.wait_for_stderr_after(mark, again);
        if is_worker {
            // A worker may have died with something to be forgotten.
            while host.get("a.test", "/up").status != 200 {}
        }
        assert_ne!(ask(&host, "GET", &path, "").expect(200).text(), first);
    }
    let kept = ask(&host, "GET", "/kept", "").expect(200).text();
    assert_eq!(ask(&host, "GET", "/kept", "").expect(200).text(), kept);
}

/// What one worker fetched the others find.
#[test]
fn workers_share_what_is_on_disk() {
    let count = cores().len().min(2);
    let origin = Counting::start("cache-control: max-age=600\r\n");
    let dir = tempfile::tempdir().unwrap();
    let (data, socket) = (dir.path().join("data"), dir.path().join("admin.sock"));
    let config = |place: usize| {
        let tenant = Tenant::passed_on("a", &[&origin.url]).on_workers(&[place]);
        TestHost::builder()
            .workers(count)
            .line("data", &format!("dir = {data:?}"))
            .line("data", "http_cache_mib_max = 64")
            .line("admin", &format!("socket = {socket:?}"))
            .tenant(tenant)
            .cold()
    };
    let host = config(0).start();
    let first = ask(&host, "GET", "/page", "").expect(200).text();
    // What was told to the disk before this is there when it is answered.
    purge(&host, &["--url", "http://a.test/none"]);
    host.reload(&config(count - 1));
    let answer = ask(&host, "GET", "/page", "").expect(200);
    assert_eq!(answer.text(), first);
    let status = answer.header("cache-status").unwrap();
    assert_eq!(status.contains("disk"), count == 2, "{status}");
    assert_eq!(origin.asked(), 1);
}
