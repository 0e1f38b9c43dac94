//! The command line as a person meets it: help, mistakes, `compile`, `run`, `demo`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // in a test, a panic is the report

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything here takes, compiling included.
const PATIENCE: Duration = Duration::from_secs(60);

fn skep() -> Command {
    Command::new(env!("CARGO_BIN_EXE_skep"))
}

fn output(arguments: &[&str]) -> Output {
    skep().args(arguments).output().expect("skep starts")
}

fn guest(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/guests")
        .join(name)
        .with_extension("wasm")
}

/// A running command; killed at the end, with what it started.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

/// Waits for the line that `wanted` accepts.
fn wait_for(lines: &Receiver<String>, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|e| panic!("{what}: {e}"));
        if wanted(&line) {
            return line;
        }
    }
}

/// The whole answer to one request on a connection of its own.
fn get(address: &str, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn help_names_what_each_subcommand_takes() {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--help"], &["demo", "serve", "run", "check", "compile"]),
        (&["demo", "--help"], &["--addr"]),
        (&["serve", "--help"], &["--config", "SIGHUP"]),
        (&["run", "--help"], &["--addr", "--env", "--cpu-ms"]),
        (&["check", "--help"], &["--config"]),
        (&["compile", "--help"], &["--output", "--profile"]),
    ];
    for (arguments, words) in cases {
        let output = output(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: {word}: {text}");
        }
    }
}

#[test]
fn mistakes_are_one_line_and_an_exit_code() {
    let core_module = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(core_module.path(), b"\0asm\x01\0\0\0").expect("written");
    let core_module = core_module.path().to_str().expect("utf-8");
    let cases: [(&[&str], i32, &str); 5] = [
        (&["serve"], 2, "--config"),
        (&["frobnicate"], 2, "frobnicate"),
        (
            &["check", "--config", "/nonexistent.toml"],
            2,
            "/nonexistent.toml",
        ),
        (
            &["compile", core_module, "-o", "/dev/null"],
            1,
            "a core WebAssembly module, not a component",
        ),
        (&["run", core_module], 2, "core"),
    ];
    for (arguments, code, words) in cases {
        let output = output(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
    }
}

#[test]
fn compile_writes_an_artifact() {
    let dir = tempfile::tempdir().expect("a directory");
    let artifact = dir.path().join("hello.cwasm");
    let output = output(&[
        "compile",
        guest("hello").to_str().expect("utf-8"),
        "-o",
        artifact.to_str().expect("utf-8"),
    ]);
    assert!(output.status.success(), "{output:?}");
    let bytes = std::fs::read(artifact).expect("it was written");
    assert_eq!(&bytes[..4], b"\x7fELF");
}

#[test]
fn run_serves_one_app_and_prints_what_it_prints() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = skep()
        .arg("run")
        .arg(guest("kitchen"))
        .args(["--addr", "127.0.0.1:0", "--env", "GREETING=hi"])
        .env("XDG_CACHE_HOME", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("skep starts");
    let stdout = lines(child.stdout.take().expect("piped"));
    let stderr = lines(child.stderr.take().expect("piped"));
    let _running = Running(child);
    let ready = wait_for(&stderr, "the address", |line| line.contains("http://"));
    let address = ready
        .rsplit("http://")
        .next()
        .expect("an address")
        .to_owned();

    assert!(get(&address, "any.host", "/env").contains("GREETING=hi"));
    assert!(get(&address, "any.host", "/log?n=1&len=3").starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(wait_for(&stdout, "its output", |_| true), "out 0 xxx");
    wait_for(&stderr, "its errors", |line| line == "err 0 xxx");
    assert!(get(&address, "any.host", "/trap").contains("x-skep-reason: trapped\r\n"));
    wait_for(&stderr, "why it failed", |line| {
        line.contains("unreachable")
    });
}

#[test]
fn demo_shows_what_it_promises() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = skep()
        .args(["demo", "--addr", "127.0.0.1:0"])
        .env("XDG_CACHE_HOME", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("skep starts");
    let stdout = lines(child.stdout.take().expect("piped"));
    let _running = Running(child);
    let mut address = String::new();
    for name in ["hello", "echo", "spin", "trap"] {
        let host = format!("{name}.localhost");
        let line = wait_for(&stdout, name, |line| line.starts_with("curl "));
        assert!(line.contains(&host), "{line}");
        let url = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://"));
        address = url.expect("a url").trim_end_matches('/').to_owned();
    }
    for (name, status) in [
        ("hello", "200"),
        ("echo", "200"),
        ("spin", "504"),
        ("trap", "500"),
    ] {
        let answer = get(&address, &format!("{name}.localhost"), "/");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{name}: {answer}"
        );
    }
}
