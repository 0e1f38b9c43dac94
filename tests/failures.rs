//! Every service and every way to fail: a defined error, nothing lost, nobody else affected.
//!
//! Each test has a table of requests that fail, through the real program, with exactly what each is told.
//! While one is under way and after it others are answered as ever ([`Stage::others`]), and then so is
//! whoever it failed for, with all that was there before ([`Stage::kept`]).
//!
//! | service | not granted | quota hit | backend slow | backend gone | malformed answer | junk of the guest |
//! |---|---|---|---|---|---|---|
//! | `wasi:http` 0.2, 0.3 | `wasi_http` | `wasi_http` | `wasi_http` | `wasi_http` | `wasi_http` | `junk`, `junk3` |
//! | names, TLS, who connects | –¹ | –¹ | `the_way_there` | `the_way_there` | `the_way_there` | –¹ |
//! | FastEdge `http-client` | `http_client` | `http_client` | `http_client` | `http_client` | `http_client` | `junk` |
//! | `proxy_http_call` | `proxy_http_call` | `proxy_http_call` | `proxy_http_call` | `proxy_http_call` | `proxy_http_call` | `junk_filters` |
//! | `wasi:keyvalue`, `key-value`, a file | `kv_here` | `kv_here` | `kv_here` | `kv_here` | `no_kv_file` | `junk` |
//! | the same on Redis | `kv_redis` | `kv_redis` | `kv_redis` | `kv_redis` | `kv_redis` | `junk`² |
//! | `wasi:config`, `dictionary` | `config` | `config` | –³ | –³ | –³ | `junk` |
//! | `secret`: both functions | `secrets` | `secrets` | `secrets` | `secrets` | `secrets` | `junk` |
//! | `cache-sync` | `cache` | `cache` | `cache` | `cache` | –⁴ | `junk` |
//! | logs | –⁵ | `logs` | `logs` | `logs` | –⁵ | `junk`, `junk_filters` |
//! | origins | –⁶ | `origins` | `origins` | `origins` | `origins` | –⁶ |
//! | filters and what they are given | `filters` | `filters` | `filters` | `filters` | `filters` | `junk_filters` |
//!
//! 1. They are parts of a request to others, which is what is granted and counted, and what a guest names.
//! 2. What a guest passes is looked at before anybody knows which store it is for.
//! 3. It travels with the tenant: there is no backend. `config` asks while every other process stands still.
//! 4. It is in memory, and what keeps it is the host's own process: what a worker cannot read ends their
//!    stream, which is `cache`'s "gone" (`data::frame` has every such message).
//! 5. Every tenant has a log, and nothing of it is answered.
//! 6. The operator names a tenant's servers, and no guest is asked. Where a filter sends requests elsewhere
//!    is granted, or not: `filters`.
//!
//! The process that keeps data is everybody's: while it stands still or is gone, the others that are answered
//! as ever are those who want nothing of it, and all have theirs again afterwards.
//!
//! More of single cells: `egress` (TLS, rules, every error code of `wasi:http`), `data` (quotas to the byte,
//! writes under `kill -9`), `origin`, `filters`, `fastedge`, `limits`, `logs`; and beside the code
//! `data::kv::redis` (a server's senseless answers), `data::kv::embedded` (damaged rows), `guest::filter`
//! (every function of filters with every kind of number).

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Instant;

use common::{
    Client, Origin, PATIENCE, Redis, Response, Tenant, TestHost, guest, service, written,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A request and what it is told: whose, what for, the answer as [`told`] has it.
type Said<'s> = (&'s str, &'s str, &'s str);

/// A host with one tenant whose requests fail, and others.
struct Stage<'s> {
    host: &'s TestHost,
    /// What those who fail are told otherwise, with what they were promised before.
    kept: &'s [Said<'s>],
    /// What others are told, whatever happens.
    others: &'s [Said<'s>],
}

impl Stage<'_> {
    /// Each of these fails as it says. While it is under way and afterwards others are answered as
    /// ever, and the next request of the same tenant is, too.
    #[track_caller]
    fn check(&self, cases: &[(&str, Said<'_>)]) {
        for (cell, case) in cases {
            self.check_while(cell, &[*case], || {});
            self.is_well(cell);
        }
    }

    /// The same of requests that are under way together while something is done to the host; whoever
    /// calls undoes that, and sees whether [all is well](Self::is_well_again).
    #[track_caller]
    fn check_while(&self, cell: &str, failing: &[Said<'_>], meanwhile: impl FnOnce()) {
        let sent: Vec<_> = failing
            .iter()
            .map(|(tenant, path, _)| sent(self.host, tenant, path))
            .collect();
        self.others_are_answered(cell);
        meanwhile();
        for (mut client, (tenant, path, expected)) in sent.into_iter().zip(failing) {
            let answer = told(&client.read_response());
            assert_eq!(answer, *expected, "{cell}: {path} of {tenant}");
        }
        self.others_are_answered(cell);
    }

    #[track_caller]
    fn others_are_answered(&self, cell: &str) {
        for (tenant, path, expected) in self.others {
            let answer = ask(self.host, tenant, path);
            assert_eq!(answer, *expected, "{cell}: another, {path} of {tenant}");
        }
    }

    /// What was there is there.
    #[track_caller]
    fn is_well(&self, cell: &str) {
        for (tenant, path, expected) in self.kept {
            let answer = ask(self.host, tenant, path);
            assert_eq!(answer, *expected, "{cell}: afterwards, {path} of {tenant}");
        }
    }

    /// The same of what needs a moment to come back.
    #[track_caller]
    fn is_well_again(&self, cell: &str) {
        self.kept.iter().for_each(|kept| self.until(cell, *kept));
        self.is_well(cell);
    }

    /// Asks until the answer is this one.
    #[track_caller]
    fn until(&self, cell: &str, (tenant, path, expected): Said<'_>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask(self.host, tenant, path);
            if answer == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{cell}: {path}: {answer}");
        }
    }

    /// A tenant that asks too often for a second is told so, and has an answer in the next one.
    #[track_caller]
    fn check_rate(&self, refused: Said<'_>, afterwards: Said<'_>) {
        self.until("quota", refused);
        self.others_are_answered("quota");
        self.until("after a quota", afterwards);
        self.is_well("quota");
    }
}

fn sent(host: &TestHost, tenant: &str, path: &str) -> Client {
    let mut client = host.connect();
    // What stands after the path are fields.
    let (path, fields) = path.split_once(' ').unwrap_or((path, ""));
    let fields = match fields {
        "" => String::new(),
        fields => format!("{fields}\r\n"),
    };
    client.send(format!(
        "GET {path} HTTP/1.1\r\nhost: {tenant}.test\r\n{fields}\r\n"
    ));
    client
}

fn ask(host: &TestHost, tenant: &str, path: &str) -> String {
    told(&sent(host, tenant, path).read_response())
}

/// What the program says, or the status and the reason where none does. Of a head that an origin repeats,
/// what a filter has put into it.
fn told(answer: &Response) -> String {
    let text = answer.text();
    let added = text.lines().find(|line| line.starts_with("x-answer: "));
    match (answer.reason(), added) {
        ("", Some(added)) => added.to_owned(),
        ("", None) => text.trim_end().to_owned(),
        (reason, _) => format!("{} {reason}", answer.status),
    }
}

/// A process that does nothing until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn now(pid: Option<u32>) -> Self {
        let pid = pid.expect("a process");
        signal(pid, Signal::SIGSTOP);
        Self(pid)
    }

    /// It goes at once, with all that it was asked.
    fn kill(self) {
        signal(self.0, Signal::SIGKILL);
        std::mem::forget(self);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0 as i32), Signal::SIGCONT);
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).expect("a process of the host's");
}

/// A server that reads what comes and says this, whatever it was asked, and hangs up.
fn saying(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(bytes);
        }
    });
    address.to_string()
}

/// An address that nobody listens on.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn wasi_http() {
    let origin = Origin::start();
    let allowed = |name: &str, guest: &str| {
        Tenant::new(name, guest)
            .line("egress.allow = ['127.0.0.0/8']")
            .limit("subrequests", 2)
            .limit("subrequest_first_byte_ms", 200)
    };
    let host = TestHost::builder()
        .tenant(allowed("two", "kitchen"))
        .tenant(allowed("three", "service3"))
        .tenant(allowed("spent", "service3").limit("subrequests", 0))
        .tenant(Tenant::new("none2", "kitchen"))
        .tenant(Tenant::new("none3", "service3"))
        .tenant(allowed("other", "kitchen"))
        .start();
    let to = |path: &str| format!("/fetch?url={}{path}", origin.url());
    let (hello, echo) = (to("/hello"), to("/echo") + "&send=3");
    let hello2 = "status 200\nbytes 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[
            ("two", &hello, hello2),
            ("two", &echo, "status 200\nbytes 3\n\0\u{1}\u{2}"),
            ("three", &hello, "status 200\nhello"),
        ],
        others: &[("other", &hello, hello2)],
    };
    let gone = format!("/fetch?url=http://{}/", nobody());
    stage.check(&[
        (
            "not granted",
            ("none2", &hello, "error http-request-denied"),
        ),
        (
            "not granted",
            ("none3", &hello, "error ErrorCode::HttpRequestDenied"),
        ),
        (
            "quota",
            (
                "two",
                &(hello.clone() + "&n=3"),
                "error connection-limit-reached",
            ),
        ),
        (
            "quota",
            ("spent", &hello, "error ErrorCode::ConnectionLimitReached"),
        ),
        (
            "slow",
            ("two", &to("/never"), "error connection-read-timeout"),
        ),
        (
            "slow",
            (
                "three",
                &to("/never"),
                "error ErrorCode::ConnectionReadTimeout",
            ),
        ),
        ("gone", ("two", &gone, "error connection-refused")),
        (
            "gone",
            ("three", &gone, "error ErrorCode::ConnectionRefused"),
        ),
        ("gone", ("two", &to("/drop"), "error connection-terminated")),
        (
            "gone",
            (
                "three",
                &to("/drop"),
                "error ErrorCode::ConnectionTerminated",
            ),
        ),
        (
            "malformed",
            ("two", &to("/garbage"), "error http-protocol-error"),
        ),
        (
            "malformed",
            (
                "three",
                &to("/garbage"),
                "error ErrorCode::HttpProtocolError",
            ),
        ),
    ]);
}

/// Name servers and the process that connects are between a program and whom it asks.
#[test]
fn the_way_there() {
    let origin = Origin::start();
    let names = UdpSocket::bind("127.0.0.1:0").unwrap();
    let line = format!("resolvers = [\"{}\"]", names.local_addr().unwrap());
    let allowed = |name: &str| {
        Tenant::new(name, "kitchen")
            .line("egress.allow = ['127.0.0.0/8', '*:*']")
            .limit("subrequest_connect_ms", 300)
    };
    let host = TestHost::builder()
        .line("egress", &line)
        .tenant(allowed("a"))
        .tenant(allowed("other"))
        .start();
    let to = |scheme: &str, authority: &str| format!("/fetch?url={scheme}://{authority}/hello");
    let known = to("http", &format!("127.0.0.1:{}", origin.port()));
    let fine = "status 200\nbytes 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[("a", &known, fine)],
        others: &[("other", &known, fine)],
    };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = to("https", &silent.local_addr().unwrap().to_string());
    let senseless = to("https", &saying(b"no TLS at all\r\n\r\n"));
    let named = to("http", "name.test:8080");
    stage.check(&[
        ("slow", ("a", &silent, "error connection-timeout")),
        ("malformed", ("a", &senseless, "error tls-protocol-error")),
        ("slow", ("a", &named, "error dns-timeout")),
    ]);
    // What is no answer is not taken for one.
    let address = names.local_addr().unwrap();
    let babbles = thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = names.recv_from(&mut query)
            && query[..length] != *b"stop"
        {
            let _ = names.send_to(b"no answer", client);
        }
    });
    stage.check(&[("malformed", ("a", &named, "error dns-timeout"))]);
    let stop = UdpSocket::bind("127.0.0.1:0").unwrap();
    stop.send_to(b"stop", address).unwrap();
    babbles.join().unwrap();
    stage.check(&[("gone", ("a", &named, "error dns-timeout"))]);
    // Connections that there are need nobody who connects.
    let fresh = Origin::start();
    let fresh = to("http", &format!("127.0.0.1:{}", fresh.port()));
    let stopped = Stopped::now(host.egress_pid());
    let late = ("a", &*fresh, "error connection-timeout");
    stage.check_while("slow", &[late], || {});
    let gone = ("a", &*fresh, "error destination-unavailable");
    stage.check_while("gone", &[gone], || stopped.kill());
    stage.is_well("gone");
    stage.until("gone", ("a", &fresh, fine));
}

/// What FastEdge's SDK says of an error of `http-client`.
fn http_error(code: u8, name: &str) -> String {
    format!("error BindgenHttpError(Error {{ code: {code}, name: \"{name}\", message: \"\" }})")
}

#[test]
fn http_client() {
    let origin = Origin::start();
    let allowed = |name: &str| {
        Tenant::new(name, "fastedge")
            .line("egress.allow = ['127.0.0.0/8']")
            .limit("cpu_ms", 500)
            .limit("subrequest_first_byte_ms", 200)
    };
    let host = TestHost::builder()
        .tenant(allowed("a"))
        .tenant(allowed("spent").limit("subrequests", 0))
        .tenant(Tenant::new("none", "fastedge").limit("cpu_ms", 500))
        .tenant(allowed("other"))
        .start();
    let to = |path: &str| format!("/fetch?url={}{path}", origin.url());
    let hello = to("/hello");
    let fine = "status 200\nheaders 1\nbody 5\nhello";
    let stage = Stage {
        host: &host,
        kept: &[("a", &hello, fine)],
        others: &[("other", &hello, fine)],
    };
    let gone = format!("/fetch?url=http://{}/", nobody());
    let (denied, failed) = (
        http_error(1, "destination-not-allowed"),
        http_error(3, "request-error"),
    );
    let spent = http_error(5, "too-many-requests");
    stage.check(&[
        ("not granted", ("none", &hello, &denied)),
        ("quota", ("spent", &hello, &spent)),
        ("slow", ("a", &to("/never"), &failed)),
        ("gone", ("a", &gone, &failed)),
        ("gone", ("a", &to("/drop"), &failed)),
        ("malformed", ("a", &to("/garbage"), &failed)),
    ]);
}

#[test]
fn proxy_http_call() {
    let origin = Origin::start();
    let filter = format!(
        "origin.filter = [{{ component = {:?} }}]",
        guest("filter-call")
    );
    let behind = |name: &str| {
        Tenant::passed_on(name, &[&origin.url()])
            .line(&filter)
            .limit("cpu_ms", 500)
            .limit("subrequest_first_byte_ms", 200)
    };
    let allowed = |name: &str| behind(name).line("egress.allow = ['127.0.0.0/8']");
    let host = TestHost::builder()
        .tenant(allowed("a"))
        .tenant(allowed("spent").limit("subrequests", 0))
        .tenant(behind("none"))
        .tenant(allowed("other"))
        .start();
    let good = Origin::of_files(&[("/answer", "text/plain", b"yes")]);
    // Nobody takes what waits in its queue.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let asking = |authority: String| format!("/head x-ask: {authority}");
    let fine = asking(format!("127.0.0.1:{}", good.port()));
    let stage = Stage {
        host: &host,
        kept: &[
            ("a", &fine, "x-answer: 200 yes"),
            ("a", "/hello", "hello"),
            ("spent", "/hello", "hello"),
        ],
        others: &[("other", &fine, "x-answer: 200 yes")],
    };
    let (slow, gone) = (
        asking(silent.local_addr().unwrap().to_string()),
        asking(nobody()),
    );
    let (hangs_up, senseless) = (
        asking(saying(b"")),
        asking(saying(b"no HTTP at all\r\n\r\n")),
    );
    stage.check(&[
        ("not granted", ("none", &fine, "no call: InternalFailure")),
        ("quota", ("spent", &fine, "no call: InternalFailure")),
        ("slow", ("a", &slow, "x-answer: none")),
        ("gone", ("a", &gone, "x-answer: none")),
        ("gone", ("a", &hangs_up, "x-answer: none")),
        ("malformed", ("a", &senseless, "x-answer: none")),
    ]);
}

/// What is said of a host's data process that is stopped, and of one that has gone.
const LATE: &str = "error Error::Other(\"no answer within 3000 ms\")";
const GONE: &str = "error Error::Other(\"nobody keeps data at the moment\")";

/// Requests for data fail as they say while the process that keeps it is stopped, and when it goes;
/// afterwards what was there is there.
#[track_caller]
fn check_data_process(stage: &Stage<'_>, asking: &[(&str, &str)], late: &str, gone: &str) {
    let failing = |told| -> Vec<_> {
        let with = |&(tenant, path): &(_, _)| (tenant, path, told);
        asking.iter().map(with).collect()
    };
    let stopped = Stopped::now(stage.host.data_pid());
    stage.check_while("slow", &failing(late), || {});
    drop(stopped);
    stage.is_well_again("slow");
    let mark = stage.host.stderr_lines().len();
    let stopped = Stopped::now(stage.host.data_pid());
    stage.check_while("gone", &failing(gone), || stopped.kill());
    stage
        .host
        .wait_for_stderr_after(mark, |line| line.starts_with("skep: data pid "));
    stage.is_well_again("gone");
}

const HELLO: Said<'static> = ("hello", "/", "Hello from skep");

#[test]
fn kv_here() {
    let flags = "{ name = 'default', shared = 'flags' }";
    let keeping = |name: &str, store: &str| {
        Tenant::new(name, "keyvalue")
            .limit("cpu_ms", 1_000)
            .line(&format!("kv = [{store}]"))
    };
    let host = TestHost::builder()
        .tenant(keeping("a", flags).limit("kv_keys", 2))
        .tenant(keeping("often", flags).limit("data_operations_per_s", 1))
        .tenant(keeping(
            "reader",
            "{ name = 'default', shared = 'flags', access = 'read' }",
        ))
        .tenant(
            Tenant::new("f", "fastedge")
                .limit("cpu_ms", 1_000)
                .line("kv = [{ name = 'S', shared = 'flags', access = 'read' }]"),
        )
        .tenant(
            Tenant::new("foften", "fastedge")
                .limit("cpu_ms", 1_000)
                .limit("data_operations_per_s", 1)
                .line("kv = [{ name = 'S', shared = 'flags', access = 'read' }]"),
        )
        .tenant(keeping("other", "{ name = 'default' }"))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    assert_eq!(ask(&host, "a", "/set?key=k&value=1"), "ok");
    assert_eq!(ask(&host, "a", "/set?key=l&value=2"), "ok");
    assert_eq!(ask(&host, "other", "/set?key=k&value=own"), "ok");
    let kept = [
        ("a", "/get-many?key=k&key=l", "k some 1\nl some 2"),
        ("f", "/kv?store=S&op=get&key=k", "some 1"),
    ];
    let stage = Stage {
        host: &host,
        kept: &kept,
        others: &[("other", "/get?key=k", "some own"), HELLO],
    };
    let denied = "open error Error::AccessDenied";
    let full = "error Error::Other(\"the store would have more keys than it may\")";
    stage.check(&[
        ("not granted", ("a", "/get?key=k&store=no", denied)),
        (
            "not granted",
            ("reader", "/set?key=k&value=2", "error Error::AccessDenied"),
        ),
        ("not granted", ("f", "/kv?store=no&op=get&key=k", denied)),
        ("quota", ("a", "/set?key=m&value=3", full)),
        // A change is done as a whole or not at all.
        (
            "quota",
            ("a", "/set-many?key=k&value=9&key=m&value=3", full),
        ),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    let (get, kv) = ("/get?key=k", "/kv?store=S&op=get&key=k");
    stage.check_rate(("often", get, rate), ("often", get, "some 1"));
    stage.check_rate(("foften", kv, rate), ("foften", kv, "some 1"));
    // Others that need no data.
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    let asking = [("a", get), ("a", "/increment?key=n&delta=1"), ("f", kv)];
    check_data_process(&stage, &asking, LATE, GONE);
    assert_eq!(ask(&host, "other", get), "some own");
}

/// A file that is no store is said, left as it is, and keeps nobody else from what they have.
#[test]
fn no_kv_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("kv.redb");
    std::fs::write(&file, "no database at all").unwrap();
    let host = TestHost::builder()
        .line("data", &format!("dir = {data:?}"))
        .tenant(Tenant::new("a", "keyvalue").line("kv = [{ name = 'default' }]"))
        .tenant(
            Tenant::new("f", "fastedge")
                .limit("cpu_ms", 500)
                .line("kv = [{ name = 'S' }]"),
        )
        .tenant(Tenant::new("other", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    assert_eq!(ask(&host, "f", "/cache?op=set&key=k&value=v"), "ok");
    assert_eq!(ask(&host, "other", "/cache?op=set&key=k&value=own"), "ok");
    let get = "/cache?op=get&key=k";
    let stage = Stage {
        host: &host,
        kept: &[("f", get, "some v")],
        others: &[("other", get, "some own"), HELLO],
    };
    let none = "error Error::Other(\"the host cannot keep stores at the moment\")";
    stage.check(&[
        ("malformed", ("a", "/get?key=k", none)),
        ("malformed", ("a", "/set?key=k&value=1", none)),
        ("malformed", ("f", "/kv?store=S&op=get&key=k", none)),
    ]);
    let said = |line: &str| line.contains("kv.redb is damaged, or is none");
    host.wait_for_stderr(said);
    assert_eq!(std::fs::read(&file).unwrap(), b"no database at all");
}

/// Stands between a host and a Redis server, and does what its mode says with what comes from the host.
struct Between {
    url: String,
    mode: Arc<AtomicU8>,
}

const PASSES: u8 = 0;
const SILENT: u8 = 1;
const HANGS_UP: u8 = 2;
const SENSELESS: u8 = 3;

impl Between {
    fn start(redis: &Redis) -> Self {
        let server = redis.url().replace("redis://", "");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("an address"));
        let mode = Arc::new(AtomicU8::new(PASSES));
        let known = Arc::clone(&mode);
        thread::spawn(move || {
            for host in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else {
                    return;
                };
                let (host_end, server_end) = (host.try_clone(), server.try_clone());
                let mode = Arc::clone(&known);
                thread::spawn(move || pass(host, server, &mode));
                thread::spawn(move || std::io::copy(&mut server_end?, &mut host_end?));
            }
        });
        Self { url, mode }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

fn pass(mut host: TcpStream, mut server: TcpStream, mode: &AtomicU8) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = host.read(&mut piece) {
        let passed = match mode.load(Ordering::SeqCst) {
            PASSES => server.write_all(&piece[..length]),
            SILENT => Ok(()),
            SENSELESS => host.write_all(b"!!\r\n"),
            _ => break,
        };
        if passed.is_err() {
            break;
        }
    }
    let _ = host.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn kv_redis() {
    let redis = Redis::start();
    let between = Between::start(&redis);
    let on = |name: &str, url: &str| {
        format!("kv = [{{ name = '{name}', redis = '{url}', raw_keys = true, prefix = 'p:' }}]")
    };
    let keeping = |name: &str, guest: &str, store: &str| {
        Tenant::new(name, guest)
            .limit("cpu_ms", 1_000)
            .line(&on(store, &between.url))
    };
    let host = TestHost::builder()
        .tenant(keeping("a", "keyvalue", "default").limit("kv_bytes", 100))
        .tenant(keeping("f", "fastedge", "S"))
        .tenant(keeping("often", "keyvalue", "default").limit("data_operations_per_s", 1))
        .tenant(keeping("foften", "fastedge", "S").limit("data_operations_per_s", 1))
        .tenant(
            Tenant::new("other", "keyvalue")
                .limit("cpu_ms", 1_000)
                .line(&on("default", &redis.url())),
        )
        .tenant(
            Tenant::new("own", "keyvalue")
                .limit("cpu_ms", 1_000)
                .line("kv = [{ name = 'default' }]"),
        )
        .start();
    assert_eq!(ask(&host, "a", "/set?key=k&value=1"), "ok");
    assert_eq!(ask(&host, "own", "/set?key=k&value=own"), "ok");
    let (get, kv) = ("/get?key=k", "/kv?store=S&op=get&key=k");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some 1"), ("f", kv, "some 1")],
        // One is on the same server, and reaches it.
        others: &[("other", get, "some 1"), ("own", get, "some own")],
    };
    let denied = "open error Error::AccessDenied";
    let large = "error Error::Other(\"the store would have more bytes than it may\")";
    stage.check(&[
        ("not granted", ("a", "/get?key=k&store=no", denied)),
        ("not granted", ("f", "/kv?store=no&op=get&key=k", denied)),
        ("quota", ("a", "/set?key=k&bytes=100", large)),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    stage.check_rate(("often", get, rate), ("often", get, "some 1"));
    stage.check_rate(("foften", kv, rate), ("foften", kv, "some 1"));
    for (cell, mode, why) in [
        ("slow", SILENT, "redis did not answer within 250 ms"),
        ("gone", HANGS_UP, "the connection to redis broke"),
        (
            "malformed",
            SENSELESS,
            "the server's answer makes no sense: it does not speak RESP2",
        ),
    ] {
        for (tenant, path) in [("a", get), ("a", "/set?key=k&value=2"), ("f", kv)] {
            between.set(mode);
            let failing = format!("error Error::Other(\"{why}\")");
            stage.check_while(cell, &[(tenant, path, &failing)], || {});
            between.set(PASSES);
            stage.is_well_again(cell);
        }
    }
}

/// A key and secrets sealed with it: name, value.
fn sealed(dir: &Path, tenant: &str, secrets: &[(&str, &str)]) -> String {
    let run = |args: &[&str], input: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .arg("secret")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().stdout
    };
    let key = dir.join("key");
    let key = key.to_str().unwrap();
    if !Path::new(key).exists() {
        run(&["new-key", key], "");
    }
    let entry = |(name, value): &(&str, &str)| {
        let file = dir.join(format!("{tenant}-{name}"));
        let args = ["seal", "--tenant", tenant, "--name", name, "--key", key];
        std::fs::write(&file, run(&args, value)).unwrap();
        format!("{{ name = '{name}', file = {file:?} }}")
    };
    let entries: Vec<_> = secrets.iter().map(entry).collect();
    format!("secret = [{}]", entries.join(", "))
}

#[test]
fn secrets() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not sealed").unwrap();
    let with = |name: &str| {
        let secrets = sealed(dir.path(), name, &[("KEY", "s3cret")]);
        let broken = format!(", {{ name = 'BROKEN', file = {plain:?} }}]");
        Tenant::new(name, "fastedge")
            .limit("cpu_ms", 500)
            .line(&secrets.replace(']', &broken))
    };
    let host = TestHost::builder()
        .tenant(with("a"))
        .tenant(with("often").limit("data_operations_per_s", 1))
        .tenant(with("other"))
        .tenant(Tenant::new("none", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"))
        .line(
            "data",
            &format!("secret_key = {:?}", dir.path().join("key")),
        )
        .start();
    let (now, then) = ("/secret?name=KEY", "/secret?name=KEY&at=1000000000");
    let stage = Stage {
        host: &host,
        kept: &[("a", now, "some s3cret"), ("a", then, "some s3cret")],
        others: &[("other", now, "some s3cret"), HELLO],
    };
    let (denied, unreadable) = ("error Error::AccessDenied", "error Error::DecryptError");
    stage.check(&[
        ("not granted", ("none", now, denied)),
        ("not granted", ("none", then, denied)),
        ("not granted", ("a", "/secret?name=OTHER", "none")),
        ("malformed", ("a", "/secret?name=BROKEN", unreadable)),
        (
            "malformed",
            ("a", "/secret?name=BROKEN&at=1000000000", unreadable),
        ),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    for path in [now, then] {
        stage.check_rate(("often", path, rate), ("often", path, "some s3cret"));
    }
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    check_data_process(&stage, &[("a", now), ("a", then)], LATE, GONE);
    assert_eq!(ask(&host, "other", now), "some s3cret");
}

#[test]
fn cache() {
    let with = |name: &str| Tenant::new(name, "fastedge").limit("cpu_ms", 500);
    let host = TestHost::builder()
        .tenant(with("a").limit("cache_bytes", 2_000))
        .tenant(with("often").limit("data_operations_per_s", 1))
        .tenant(with("none").limit("cache_bytes", 0))
        .tenant(with("other"))
        .tenant(Tenant::new("hello", "hello"))
        .start();
    let get = "/cache?op=get&key=k";
    let set = "/cache?op=set&key=k&value=v";
    assert_eq!(ask(&host, "a", set), "ok");
    assert_eq!(ask(&host, "other", set), "ok");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some v")],
        others: &[("other", get, "some v"), HELLO],
    };
    let large = format!("{set}{}", "v".repeat(2_000));
    const LARGE: &str =
        "error Error::Other(\"the entry would have 2322 bytes, the whole cache has 2000\")";
    stage.check(&[
        ("not granted", ("none", get, "error Error::AccessDenied")),
        ("not granted", ("none", set, "error Error::AccessDenied")),
        ("quota", ("a", &large, LARGE)),
    ]);
    let rate = "error Error::Other(\"more than 1 operations a second\")";
    stage.check_rate(("often", set, rate), ("often", set, "ok"));
    // It may forget: what is promised is that it answers, and of the same tenant.
    let stage = Stage {
        kept: &[("a", set, "ok"), ("a", get, "some v")],
        others: &[HELLO],
        ..stage
    };
    check_data_process(&stage, &[("a", get), ("a", set)], LATE, GONE);
    assert_eq!(ask(&host, "other", get), "none");
}

/// It travels with the tenant: nobody else has to be there for it.
#[test]
fn config() {
    let with = |name: &str, guest: &str| {
        Tenant::new(name, guest)
            .limit("cpu_ms", 500)
            .line("config = { KEY = 'value' }")
    };
    let config = TestHost::builder()
        .tenant(with("a", "keyvalue"))
        .tenant(with("f", "fastedge"))
        .tenant(Tenant::new("none", "keyvalue"))
        .tenant(Tenant::new("fnone", "fastedge").limit("cpu_ms", 500))
        .tenant(Tenant::new("hello", "hello"));
    let host = config.clone().start();
    let (get, of_dictionary) = ("/config?key=KEY", "/dictionary?key=KEY");
    let stage = Stage {
        host: &host,
        kept: &[("a", get, "some value"), ("f", of_dictionary, "some value")],
        others: &[HELLO],
    };
    stage.check(&[
        ("not granted", ("none", get, "none")),
        ("not granted", ("none", "/config", "count 0")),
        ("not granted", ("fnone", of_dictionary, "none")),
    ]);
    let large = format!("config = {{ KEY = '{}' }}", "x".repeat(64 << 10));
    let refused = config.tenant(Tenant::new("large", "hello").line(&large));
    let line = host.reload(&refused);
    assert!(line.contains("reload: refused"), "{line}");
    let why = "have 65539 bytes; at most 256 values and 65536 bytes";
    host.wait_for_stderr(|line| line.ends_with(why));
    stage.is_well("quota");
    let _stopped = [host.data_pid(), host.egress_pid(), host.broker_pid()].map(Stopped::now);
    stage.is_well("nobody else is there");
}

#[test]
fn origins() {
    let origin = Origin::start();
    let passing = |name: &str, servers: &[&str]| {
        Tenant::passed_on(name, servers).limit("subrequest_first_byte_ms", 300)
    };
    let gone = format!("http://{}", nobody());
    let senseless = format!("https://{}", saying(b"no TLS at all\r\n\r\n"));
    let host = TestHost::builder()
        .tenant(passing("a", &[&origin.url()]))
        .tenant(passing("gone", &[&gone]))
        .tenant(passing("senseless", &[&senseless]))
        .tenant(
            passing("one", &[&origin.url()])
                .limit("concurrency", 1)
                .limit("queue", 0),
        )
        .tenant(passing("other", &[&origin.url()]))
        .start();
    let stage = Stage {
        host: &host,
        kept: &[
            ("a", "/hello", "hello"),
            ("a", "/chunked", "hello"),
            ("one", "/hello", "hello"),
        ],
        others: &[("other", "/hello", "hello")],
    };
    stage.check(&[
        ("slow", ("a", "/never", "504 origin_timeout")),
        ("gone", ("gone", "/hello", "502 origin_unreachable")),
        ("gone", ("a", "/drop", "502 origin_failed")),
        ("malformed", ("a", "/garbage", "502 origin_failed")),
        (
            "malformed",
            ("senseless", "/hello", "502 origin_unreachable"),
        ),
        ("malformed", ("a", "/two-lengths", "502 origin_failed")),
    ]);
    let slow = sent(&host, "one", "/never");
    stage.until("quota", ("one", "/hello", "503 tenant_busy"));
    stage.others_are_answered("quota");
    let mut slow = slow;
    assert_eq!(told(&slow.read_response()), "504 origin_timeout");
    stage.is_well("quota");
}

/// What the host keeps, as filters have it.
#[test]
fn filters() {
    let origin = Origin::start();
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not sealed").unwrap();
    let filter = format!("origin.filter = [{{ component = {:?} }}]", guest("filter"));
    let behind = |name: &str| {
        Tenant::passed_on(name, &[&origin.url()])
            .line(&filter)
            .limit("cpu_ms", 100)
            .limit("wall_ms", 2_000)
    };
    let given = |name: &str| {
        behind(name)
            .line("kv = [{ name = 'shop' }]")
            .line(&sealed(dir.path(), name, &[("key", "s3cret")]))
            .env("NAME", "shop")
    };
    let host = TestHost::builder()
        .tenant(given("a"))
        .tenant(given("often").limit("data_operations_per_s", 1))
        .tenant(behind("none").limit("cache_bytes", 0))
        .tenant(
            behind("broken")
                .line("kv = [{ name = 'shop' }]")
                .line(&format!("secret = [{{ name = 'key', file = {plain:?} }}]"))
                .env("NAME", "shop"),
        )
        .tenant(given("other"))
        .tenant(Tenant::new("hello", "hello"))
        .line(
            "data",
            &format!("secret_key = {:?}", dir.path().join("key")),
        )
        .start();
    let path = "/services";
    let fine = "Ok(Some(\"s3cret\")) Ok(None)\nSome(\"shop\")\nOk(None) Ok(0)\nSome(AccessDenied)\n\
                Ok(()) Ok(5) Ok(Some(\"5\"))";
    let stage = Stage {
        host: &host,
        kept: &[("a", path, fine), ("a", "/hello", "hello")],
        others: &[("other", path, fine), HELLO],
    };
    let none = "Err(2) Err(2)\nNone\naccess denied\nSome(AccessDenied)\n\
                Err(AccessDenied) Err(AccessDenied) Err(AccessDenied)";
    let failed = "Some(\"shop\")\nErr(Other(\"unexpected status: 10\")) \
                  Err(Other(\"unexpected status: 10\"))\nSome(AccessDenied)\n\
                  Err(InternalError) Err(InternalError) Err(InternalError)";
    let gone = format!("Err(10) Err(10)\n{failed}");
    let elsewhere = format!("/elsewhere?{}/hello", Origin::start().url());
    let unreadable = fine.replace("Ok(Some(\"s3cret\"))", "Err(10)");
    stage.check(&[
        ("not granted", ("none", path, none)),
        ("not granted", ("a", &elsewhere, "502 bad_response")),
        ("quota", ("a", "/spin", "504 cpu_exhausted")),
        ("malformed", ("broken", path, &unreadable)),
    ]);
    // It is told of one secret, and of nothing else in this second.
    let rate = format!("Ok(Some(\"s3cret\")) Err(10)\n{failed}");
    stage.check_rate(("often", path, &rate), ("often", "/hello", "hello"));
    let stage = Stage {
        others: &[HELLO],
        ..stage
    };
    // Each call may take 3 s, the request has 2 s.
    check_data_process(&stage, &[("a", path)], "504 wall_exhausted", &gone);
}

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

/// One call of a host function: what it is imported from, its name, and its arguments, whose first
/// letters tell its type: `i` is an `i32`, `l` an `i64`, `f` an `f64`; after `>`, what it returns.
type Call = (&'static str, &'static str, &'static str);

/// The imports of these calls, and the calls, each where `$n` is its number, with what is to be done
/// with what one returns.
fn imports_and_calls(calls: &[Call], returned: &str) -> (String, String) {
    let kind = |argument: &str| match &argument[..1] {
        "i" => "i32",
        "l" => "i64",
        _ => "f64",
    };
    let (mut imports, mut text) = (String::new(), String::new());
    for (number, (module, name, arguments)) in calls.iter().enumerate() {
        let (arguments, returns) = arguments.split_once('>').unwrap_or((arguments, ""));
        let (mut parameters, mut values) = (String::new(), String::new());
        for argument in arguments.split_whitespace() {
            parameters += &format!(" {}", kind(argument));
            values += &format!("({}.const {})", kind(argument), &argument[1..]);
        }
        let (result, returned) = match returns {
            "" => ("", ""),
            _ => ("(result i32)", returned),
        };
        imports += &format!(
            r#"(import "{module}" "{name}" (func $f{number} (param{parameters}) {result}))"#
        );
        text += &format!(
            "(if (i32.eq (local.get $n) (i32.const {number}))
                (then (call $f{number} {values}) {returned}))"
        );
    }
    (imports, text)
}

/// The number in a path such as `/07`, whose address is in `$path`; above 99 where it is none.
const NUMBER: &str = "(i32.add
    (i32.mul (i32.sub (i32.load8_u offset=1 (local.get $path)) (i32.const 48)) (i32.const 10))
    (i32.sub (i32.load8_u offset=2 (local.get $path)) (i32.const 48)))";

/// What calls find in memory: a store and a key at 512 and 513, no UTF-8 at 514, a URL at 516, the name
/// of a value of six bytes at 530; at 600 and 608, slices that are beyond the end and too long.
const DATA: &str = r#"
    (data (i32.const 512) "Sk\ff\ffhttp://a.test/SIX")
    (data (i32.const 600) "\c0\ff\ff\ff\40\00\00\00\00\02\00\00\ff\ff\ff\7f")"#;

/// A program in FastEdge's form, a core module, that makes the call whose number its path is. With any
/// other path it answers what the key `k` of the store `S` holds. It has opened the store twice: handle
/// 1 is FastEdge's, 2 that of `wasi:keyvalue`.
fn program(calls: &[Call]) -> Vec<u8> {
    let (imports, calls) = imports_and_calls(calls, "(drop)");
    let text = format!(
        r#"(module
            {imports}
            (import "gcore:fastedge/key-value" "[static]store.open"
                (func $open (param i32 i32 i32)))
            (import "gcore:fastedge/key-value" "[method]store.get"
                (func $get (param i32 i32 i32 i32)))
            (import "wasi:keyvalue/store@0.2.0-draft2" "open" (func $open2 (param i32 i32 i32)))
            (memory (export "memory") 32)
            {DATA}
            (global $free (mut i32) (i32.const 65536))
            ;; What has six bytes is put where there is no memory.
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (if (i32.eq (local.get 3) (i32.const 6)) (then (return (i32.const -64))))
                (global.set $free (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func (export "gcore:fastedge/http-handler#process")
                (param i32) (param $path i32) (param i32 i32 i32 i32 i32 i32) (result i32)
                (local $n i32)
                (call $open (i32.const 512) (i32.const 1) (i32.const 1024))
                (call $open2 (i32.const 512) (i32.const 1) (i32.const 1036))
                (if (i32.or
                        (i32.ne (i32.load (i32.const 1028)) (i32.const 1))
                        (i32.ne (i32.load (i32.const 1040)) (i32.const 2)))
                    (then (unreachable)))
                (local.set $n {NUMBER})
                {calls}
                (call $get (i32.const 1) (i32.const 513) (i32.const 1) (i32.const 1024))
                (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
                ;; A status, no fields, the value as the body.
                (i32.store (i32.const 2048) (i32.const 200))
                (memory.copy (i32.const 2064) (i32.const 1028) (i32.const 12))
                (i32.const 2048)))"#
    );
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = wit_parser::Resolve::default();
    for package in [
        include_str!("../wit/fastedge.wit"),
        include_str!("../wit/keyvalue.wit"),
        include_str!("guests/fastedge/wit/config.wit"),
        // As much of it as is called.
        "package wasi:http@0.2.0;
         interface types {
           variant header-error { invalid-syntax, forbidden, immutable }
           resource fields {
             from-list: static func(entries: list<tuple<string, list<u8>>>)
               -> result<fields, header-error>;
           }
           resource outgoing-request {
             constructor(headers: fields);
             set-authority: func(authority: option<string>) -> result;
           }
         }",
    ] {
        resolve.push_str("a.wit", package).unwrap();
    }
    let world = "package skep:junk;
        world junk {
          include gcore:fastedge/app;
          import wasi:keyvalue/store@0.2.0-draft2;
          import wasi:keyvalue/batch@0.2.0-draft2;
          import wasi:config/store@0.2.0-rc.1;
          import wasi:http/types@0.2.0;
        }";
    let package = resolve.push_str("junk.wit", world).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    module
}

const JUNK_OF_PROGRAMS: &[(&str, &[(&str, &str)])] = &[
    // Beyond the end, too long, no UTF-8, a result beyond the end, and at an address that is not aligned;
    // and a result for which there is no memory.
    (
        "gcore:fastedge/dictionary",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i514 i2 i1024"),
            ("get", "i512 i1 i-64"),
            ("get", "i512 i1 i1025"),
            ("get", "i530 i3 i1024"),
        ],
    ),
    (
        "wasi:config/store@0.2.0-rc.1",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i512 i1 i-64"),
            ("get", "i530 i3 i1024"),
            ("get-all", "i-64"),
        ],
    ),
    (
        "gcore:fastedge/secret",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i2147483647 i1024"),
            ("get", "i512 i1 i-64"),
            ("get-effective-at", "i-64 i64 i0 i1024"),
            ("get-effective-at", "i512 i1 i0 i-64"),
        ],
    ),
    (
        "gcore:fastedge/key-value",
        &[
            ("[static]store.open", "i-64 i64 i1024"),
            ("[static]store.open", "i512 i1 i-64"),
            // Handles that are none, and that are another's.
            ("[method]store.get", "i77 i513 i1 i1024"),
            ("[method]store.get", "i2 i513 i1 i1024"),
            ("[method]store.get", "i1 i-64 i64 i1024"),
            ("[method]store.get", "i1 i513 i1 i-64"),
            ("[method]store.scan", "i1 i512 i2147483647 i1024"),
            ("[method]store.zrange-by-score", "i1 i-64 i64 f0 f1 i1024"),
            ("[method]store.zscan", "i1 i513 i1 i-64 i64 i1024"),
            ("[method]store.bf-exists", "i1 i513 i1 i-64 i64 i1024"),
        ],
    ),
    (
        "wasi:keyvalue/store@0.2.0-draft2",
        &[
            ("open", "i-64 i64 i1024"),
            ("[method]bucket.get", "i1 i513 i1 i1024"),
            ("[method]bucket.get", "i2 i513 i1 i-64"),
            ("[method]bucket.set", "i2 i513 i1 i-64 i64 i1024"),
            ("[method]bucket.set", "i2 i513 i1 i512 i2147483647 i1024"),
            ("[method]bucket.delete", "i2 i-64 i64 i1024"),
            ("[method]bucket.list-keys", "i2 i7 i512 i1 i1024"),
        ],
    ),
    (
        "wasi:keyvalue/batch@0.2.0-draft2",
        &[
            ("get-many", "i2 i-64 i3 i1024"),
            ("set-many", "i2 i512 i268435456 i1024"),
            ("set-many", "i2 i600 i1 i1024"),
            ("delete-many", "i2 i600 i1 i1024"),
        ],
    ),
    (
        "gcore:fastedge/cache-sync",
        &[
            ("get", "i-64 i64 i1024"),
            ("get", "i512 i1 i-64"),
            ("set", "i513 i1 i-64 i64 i0 l0 i1024"),
            ("set", "i513 i1 i512 i2147483647 i0 l0 i1024"),
            ("set", "i513 i1 i512 i1 i7 l0 i1024"),
            ("delete", "i-64 i64 i1024"),
            ("incr", "i514 i2 l1 i1024"),
            ("purge", "i-64"),
            ("purge-prefix", "i-64 i64 i1024"),
        ],
    ),
    (
        "gcore:fastedge/http-client",
        &[
            ("send-request", "i0 i-64 i64 i0 i0 i0 i0 i0 i1024"),
            ("send-request", "i99 i516 i14 i0 i0 i0 i0 i0 i1024"),
            ("send-request", "i0 i516 i14 i512 i268435456 i0 i0 i0 i1024"),
            ("send-request", "i0 i516 i14 i0 i0 i1 i-64 i64 i1024"),
            ("send-request", "i0 i516 i14 i0 i0 i0 i0 i0 i-64"),
        ],
    ),
    (
        "wasi:http/types@0.2.0",
        &[
            ("[static]fields.from-list", "i-64 i1 i1024"),
            ("[static]fields.from-list", "i512 i268435456 i1024"),
            ("[constructor]outgoing-request", "i77>i"),
            ("[method]outgoing-request.set-authority", "i1 i1 i516 i6>i"),
        ],
    ),
    ("gcore:fastedge/utils", &[("set-user-diag", "i-64 i64")]),
    (
        "wasi_snapshot_preview1",
        &[
            ("fd_write", "i1 i-64 i1 i1024>i"),
            ("fd_write", "i1 i600 i1 i1024>i"),
            ("fd_write", "i2 i608 i1 i1024>i"),
            ("fd_write", "i1 i600 i-1 i-64>i"),
            ("random_get", "i-64 i64>i"),
            ("environ_get", "i-64 i-64>i"),
        ],
    ),
];

/// What is found, as the tenant's log has it.
const FOUND: &[&str] = &[
    "pointer/length out of bounds of memory",
    "pointer out of bounds",
    "pointer not aligned",
    "realloc return: beyond end of memory",
    "unknown handle index",
    "used with the wrong type",
    "discriminant",
    "invalid utf-8",
    "out of bounds memory access",
];

/// Programs are components, also those that were core modules: the canonical ABI looks at every number
/// before the host has it, and the program crashes.
#[test]
fn junk() {
    let calls = JUNK_OF_PROGRAMS.iter().flat_map(|(module, calls)| {
        let named = |(name, arguments): &(&'static str, &'static str)| (*module, *name, *arguments);
        calls.iter().map(named)
    });
    let calls: Vec<Call> = calls.collect();
    let host = TestHost::builder()
        .tenant(
            Tenant::with_component("junk", written("junk-program", &program(&calls)))
                .line("kv = [{ name = 'S', shared = 'flags' }]")
                .line("config = { SIX = 'sixsix' }")
                .line("egress.allow = ['127.0.0.0/8']")
                .env("NAME", "value")
                .limit("quarantine_failures", 0),
        )
        .tenant(
            Tenant::new("other", "keyvalue")
                .limit("cpu_ms", 500)
                .line("kv = [{ name = 'default', shared = 'flags' }]"),
        )
        .start();
    assert_eq!(ask(&host, "other", "/set?key=k&value=kept"), "ok");
    let stage = Stage {
        host: &host,
        kept: &[("junk", "/ok", "kept")],
        others: &[("other", "/get?key=k", "some kept")],
    };
    for (number, (module, name, arguments)) in calls.iter().enumerate() {
        let cell = format!("{module} {name}({arguments})");
        let path = format!("/{number:02}");
        stage.check(&[(&cell, ("junk", &path, "500 trapped"))]);
        check_found(&host, "junk", &path, &cell);
    }
}

/// A tenant's request ended because of what it passed.
#[track_caller]
fn check_found(host: &TestHost, tenant: &str, path: &str, cell: &str) {
    let access = host.wait_for_log(|line| {
        line["tenant"] == *tenant && line["kind"] == "access" && line["path"] == *path
    });
    let fault = host.wait_for_log(|line| {
        line["reason"] == "trapped"
            && line["kind"] == "fault"
            && line["request"] == access["request"]
    });
    let detail = fault["detail"].as_str().unwrap();
    let is_found = FOUND.iter().any(|it| detail.contains(it));
    assert!(is_found, "{cell}: {detail}");
}

/// A program of WASI 0.3 that makes this call, whatever it is asked; handle 1 is its request.
fn service_that(calls: &str) -> Vec<u8> {
    let types = r#"
        (export "fields" (type $fields (sub resource)))
        (type $why (variant (case "invalid-syntax") (case "forbidden") (case "immutable")
            (case "size-exceeded") (case "other" (option string))))
        (export "header-error" (type $header-error (eq $why)))
        (export "[static]fields.from-list" (func
            (param "entries" (list (tuple string (list u8))))
            (result (result (own $fields) (error $header-error)))))"#;
    let module = format!(
        r#"(import "wasi:http/client@0.3.0" (instance $client
                (export "send" (func async (param "request" (own $request))
                    (result (result (own $response) (error $error)))))))
        (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (alias export $client "send" (func $send))
        (alias export $types "[static]fields.from-list" (func $from-list))
        (core func $from-list (canon lower (func $from-list)
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core func $send (canon lower (func $send)
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core func $start (canon lower (func $send) async
            (memory (core memory $memory)) (realloc (core func $realloc))))
        (core module $m
            (import "" "memory" (memory 1))
            (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
            (import "" "from-list" (func $from-list (param i32 i32 i32)))
            (import "" "send" (func $send (param i32 i32)))
            (import "" "start" (func $start (param i32 i32) (result i32)))
            (export "memory" (memory 0))
            (export "realloc" (func $realloc))
            (func (export "handle") (param $request i32) (result i32) {calls} (unreachable)))
        (core instance $i (instantiate $m (with "" (instance
            (export "memory" (memory $memory))
            (export "realloc" (func $realloc))
            (export "from-list" (func $from-list))
            (export "send" (func $send))
            (export "start" (func $start))))))"#
    );
    service(types, &module)
}

/// The same of WASI 0.3: each of these programs does it at every request, and nothing else.
#[test]
fn junk3() {
    let cases = [
        "(call $from-list (i32.const -64) (i32.const 64) (i32.const 1024))",
        "(call $from-list (i32.const 512) (i32.const 268435456) (i32.const 1024))",
        "(call $from-list (i32.const 512) (i32.const 0) (i32.const -64))",
        "(call $send (i32.const 77) (i32.const 1024))",
        "(call $send (local.get $request) (i32.const -64))",
        "(drop (call $start (i32.const 77) (i32.const 1024)))",
        "(drop (call $start (local.get $request) (i32.const -64)))",
    ];
    let names: Vec<_> = (0..cases.len()).map(|at| format!("junk{at}")).collect();
    let mut config = TestHost::builder().tenant(Tenant::new("three", "service3"));
    for (name, calls) in names.iter().zip(cases) {
        let path = written(&format!("service-{name}"), &service_that(calls));
        config = config.tenant(Tenant::with_component(name, path));
    }
    let host = config.tenant(Tenant::new("hello", "hello")).start();
    let stage = Stage {
        host: &host,
        kept: &[("three", "/", "Hello from skep")],
        others: &[HELLO, ("three", "/", "Hello from skep")],
    };
    for (name, calls) in names.iter().zip(cases) {
        for _ in 0..2 {
            stage.check(&[(calls, (name, "/", "500 trapped"))]);
        }
        check_found(&host, name, "/", calls);
    }
}

/// A filter that makes the call whose number its path is, and answers its status as two digits. Other
/// paths go on. Its allocator gives six bytes where there is no memory.
fn filter(calls: &[Call]) -> Vec<u8> {
    let (imports, calls) = imports_and_calls(calls, "(local.set $status)");
    let text = format!(
        r#"(module
            {imports}
            (import "env" "proxy_get_header_map_value"
                (func $field (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_send_local_response"
                (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_kv_store_open" (func $open (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            {DATA}
            (data (i32.const 700) ":path")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32)
                (select (i32.const -64) (i32.const 4096) (i32.eq (local.get 0) (i32.const 6))))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
                (local $n i32) (local $path i32) (local $status i32)
                (drop (call $field (i32.const 0) (i32.const 700) (i32.const 5) (i32.const 1024) (i32.const 1028)))
                (local.set $path (i32.load (i32.const 1024)))
                (local.set $n {NUMBER})
                (if (i32.gt_u (local.get $n) (i32.const 99)) (then (return (i32.const 0))))
                (drop (call $open (i32.const 512) (i32.const 1) (i32.const 1032)))
                {calls}
                (i32.store8 (i32.const 720)
                    (i32.add (i32.div_u (local.get $status) (i32.const 10)) (i32.const 48)))
                (i32.store8 (i32.const 721)
                    (i32.add (i32.rem_u (local.get $status) (i32.const 10)) (i32.const 48)))
                (drop (call $answer (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 720) (i32.const 2)
                    (i32.const 0) (i32.const 0) (i32.const -1)))
                (i32.const 1)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// `InvalidMemoryAccess` of proxy-wasm, and `EFAULT` of WASI.
const OUTSIDE: &str = "06";
const FAULT: &str = "21";

const JUNK_OF_FILTERS: &[(&str, &str, &str)] = &[
    // The first two are fine.
    ("proxy_cache_set", "i513 i1 i513 i1 l0>i", "00"),
    ("proxy_cache_get", "i513 i1 i1024 i1028>i", "00"),
    ("proxy_log", "i2 i-64 i64>i", OUTSIDE),
    ("proxy_log", "i2 i512 i2147483647>i", OUTSIDE),
    (
        "proxy_http_call",
        "i-64 i64 i0 i0 i0 i0 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i-64 i64 i0 i0 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i0 i0 i-64 i64 i0 i0 i1000 i1024>i",
        OUTSIDE,
    ),
    (
        "proxy_http_call",
        "i523 i6 i0 i0 i0 i0 i0 i0 i1000 i-2>i",
        OUTSIDE,
    ),
    ("proxy_secret_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    (
        "proxy_secret_get_effective_at",
        "i512 i2147483647 i0 i1024 i1028>i",
        OUTSIDE,
    ),
    ("proxy_dictionary_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_dictionary_get", "i530 i3 i1024 i1028>i", OUTSIDE),
    ("proxy_kv_store_open", "i-64 i64 i1024>i", OUTSIDE),
    ("proxy_kv_store_open", "i512 i1 i-2>i", OUTSIDE),
    ("proxy_kv_store_get", "i77 i513 i1 i1024 i1028>i", "02"),
    ("proxy_kv_store_get", "i0 i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_kv_store_get", "i0 i513 i1 i-2 i-2>i", OUTSIDE),
    (
        "proxy_kv_store_scan",
        "i0 i512 i2147483647 i1024 i1028>i",
        OUTSIDE,
    ),
    (
        "proxy_kv_store_bf_exists",
        "i0 i513 i1 i-64 i64 i1024>i",
        OUTSIDE,
    ),
    ("proxy_cache_get", "i-64 i64 i1024 i1028>i", OUTSIDE),
    ("proxy_cache_get", "i514 i2 i1024 i1028>i", "02"),
    ("proxy_cache_get", "i513 i1 i-2 i-2>i", OUTSIDE),
    ("proxy_cache_set", "i513 i1 i-64 i64 l0>i", OUTSIDE),
    ("proxy_cache_set", "i513 i1 i512 i2147483647 l0>i", OUTSIDE),
    ("proxy_cache_incr", "i513 i1 l1 i-2>i", OUTSIDE),
    ("proxy_cache_purge", "i-2>i", OUTSIDE),
    ("fd_write", "i1 i-64 i1 i1024>i", FAULT),
    ("fd_write", "i1 i600 i1 i1024>i", FAULT),
    ("fd_write", "i2 i608 i1 i1024>i", FAULT),
];

/// For filters it is the host that looks, function by function; that each of them does, with every kind
/// of number, is tested beside them.
#[test]
fn junk_filters() {
    let origin = Origin::start();
    let call = |(name, arguments, _): &(&'static str, &'static str, &'static str)| -> Call {
        match name.starts_with("fd_") {
            true => ("wasi_snapshot_preview1", name, arguments),
            false => ("env", name, arguments),
        }
    };
    let calls: Vec<_> = JUNK_OF_FILTERS.iter().map(call).collect();
    let component = written("junk-filter", &filter(&calls));
    let secret = tempfile::tempdir().unwrap();
    let host = TestHost::builder()
        .line(
            "data",
            &format!("secret_key = {:?}", secret.path().join("key")),
        )
        .tenant(
            Tenant::passed_on("junk", &[&origin.url()])
                .line(&format!(
                    "origin.filter = [{{ component = {component:?} }}]"
                ))
                .line("kv = [{ name = 'S' }]")
                .line("config = { SIX = 'sixsix' }")
                .line("egress.allow = ['127.0.0.0/8']")
                .line(&sealed(secret.path(), "junk", &[("KEY", "s3cret")])),
        )
        .tenant(Tenant::passed_on("other", &[&origin.url()]))
        .start();
    assert_eq!(ask(&host, "junk", "/00"), "00");
    let stage = Stage {
        host: &host,
        kept: &[("junk", "/hello", "hello"), ("junk", "/01", "00")],
        others: &[("other", "/hello", "hello")],
    };
    for (number, (name, arguments, status)) in JUNK_OF_FILTERS.iter().enumerate() {
        let cell = format!("{name}({arguments})");
        let path = format!("/{number:02}");
        stage.check(&[(&cell, ("junk", &path, status))]);
    }
}
