//! A program made of a template, built and served as `skep new` says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::common::{Client, Response};

/// A running program. Dropping it ends it.
pub struct App {
    child: Child,
    address: SocketAddr,
}

impl App {
    /// Builds the template, unless that is done, and runs what was printed with these arguments added.
    #[track_caller]
    pub fn start(template: &str, arguments: &str) -> App {
        let dir = built(template);
        check_configuration(&dir);
        let commands = fs::read_to_string(dir.with_extension("commands")).expect("the commands");
        let run = commands.lines().nth(2).expect("a third line");
        let run = run.strip_prefix("skep ").expect("skep");
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!(
                "exec \"$SKEP\" {run} --addr 127.0.0.1:0 {arguments}"
            ))
            .env("SKEP", env!("CARGO_BIN_EXE_skep"))
            .env("XDG_CACHE_HOME", cache())
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().expect("sh(1)");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else {
                panic!("{template}: {}", said.join("\n"));
            };
            let line = line.expect("text");
            if let Some((_, address)) = line.rsplit_once(" on http://") {
                break address.parse().expect("an address");
            }
            said.push(line);
        };
        // Somebody has to read what it says, or it waits.
        std::thread::spawn(move || lines.for_each(drop));
        App { child, address }
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// GET on a new connection.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.get_with(path, "")
    }

    /// The same with header fields, each with its line end.
    #[track_caller]
    pub fn get_with(&self, path: &str, fields: &str) -> Response {
        self.send(&format!("GET {path}"), fields, b"")
    }

    /// POST on a new connection.
    #[track_caller]
    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        self.send(&format!("POST {path}"), "", body)
    }

    /// Any request on a new connection: `send("PUT /a", "x-a: b\r\n", b"body")`.
    #[track_caller]
    pub fn send(&self, method_and_path: &str, fields: &str, body: &[u8]) -> Response {
        let mut client = self.connect();
        let length = body.len();
        client.send(format!(
            "{method_and_path} HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {length}\r\n\r\n"
        ));
        // A program may answer before it has read the body.
        let _ = client.try_send(body);
        client.read_response()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The directory that `skep new` has written, with what was built of it.
#[track_caller]
pub fn built(template: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = Command::new(root.join("tests/templates/build"))
        .args([env!("CARGO_BIN_EXE_skep"), template])
        .output()
        .expect("tests/templates/build");
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{said}");
    root.join("target/templates").join(template)
}

/// The configuration that comes with the program has to be right.
#[track_caller]
fn check_configuration(dir: &Path) {
    if !dir.join("skep.toml").exists() {
        return;
    }
    let check = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(["check", "--config", "skep.toml"])
        .env("XDG_CACHE_HOME", cache())
        .current_dir(dir)
        .output()
        .expect("skep check");
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}

/// Where compiled programs are kept from one run of the tests to the next: a directory of the user's alone.
fn cache() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/templates-cache");
    let _ = fs::DirBuilder::new().mode(0o700).create(&path);
    path
}
