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
#[path = "failures/junk.rs"]
mod junk;
#[path = "failures/logs.rs"]
mod logs;
#[path = "failures/outside.rs"]
mod outside;
#[path = "failures/passing_on.rs"]
mod passing_on;
#[path = "failures/stores.rs"]
mod stores;

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

const HELLO: Said<'static> = ("hello", "/", "Hello from skep");

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
