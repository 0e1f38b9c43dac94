//! A server under test: started on its core, asked, its CPU time read, stopped.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CLIENT_CORE, SERVER_CORE};

/// A running server. Stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts `command` on the server's core and waits until `host` is answered with 200.
    ///
    /// # Errors
    /// When it exits or does not answer in time.
    pub fn start(
        mut command: Command,
        port: u16,
        host: &str,
        log: fs::File,
    ) -> anyhow::Result<Self> {
        // With it, Wasmtime makes a backtrace of every error: several microseconds a request.
        command
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // A child inherits the affinity of the thread that starts it.
        skep::sys::affinity::pin_to(SERVER_CORE)?;
        let child = command.spawn();
        skep::sys::affinity::pin_to(CLIENT_CORE)?;
        let child = child.with_context(|| format!("starting {:?}", command.get_program()))?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !matches!(get(server.address, host), Ok(answer) if answer.status == 200) {
            if let Some(status) = server.child.try_wait()? {
                bail!("{:?} ended with {status}", command.get_program());
            }
            if Instant::now() > deadline {
                bail!("{:?} does not answer", command.get_program());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// CPU time of all of the server's processes and threads, user and system, in nanoseconds.
    ///
    /// From the scheduler's own account: clock ticks are 10 ms.
    pub fn cpu_ns(&self) -> u64 {
        family(self.child.id())
            .into_iter()
            .map(process_cpu_ns)
            .sum()
    }

    /// Waits until the server has nothing to do: in a tenth of a second less than 3 ms.
    ///
    /// # Errors
    /// When it is still busy after `limit`.
    pub fn settle(&self, limit: Duration) -> anyhow::Result<()> {
        const QUIET_NS: u64 = 3_000_000;
        let deadline = Instant::now() + limit;
        let mut before_ns = self.cpu_ns();
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now_ns = self.cpu_ns();
            if now_ns.saturating_sub(before_ns) < QUIET_NS {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the server does not come to rest");
            }
            before_ns = now_ns;
        }
    }

    /// Resident memory of all of the server's processes, shared pages by their share, in KiB.
    pub fn pss_kib(&self) -> u64 {
        let pss = |pid| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        family(self.child.id()).into_iter().filter_map(pss).sum()
    }

    /// Sends a signal to the server's first process.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), signal)?)
    }

    /// Asks the server to end, and insists after a while.
    fn end(&mut self) -> std::io::Result<std::process::ExitStatus> {
        // When it is gone already, `wait` says so.
        let _ = self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.end() {
            Ok(status) if status.signal() == Some(libc::SIGKILL) => {
                eprintln!("the server did not end and was killed");
            }
            Ok(_) => {}
            Err(error) => eprintln!("stopping the server: {error}"),
        }
    }
}

/// A process and everything it started.
fn family(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        family.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    family
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent …, and a name may hold anything.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// The first field of every thread's `schedstat`.
fn process_cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let cpu = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads
        .filter_map(|thread| cpu(thread.path().join("schedstat")))
        .sum()
}

/// An answer to one request on a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// From before `connect` to the first byte, in microseconds.
    pub first_byte_us: f64,
}

/// One GET on a new connection.
///
/// # Errors
/// When the connection fails or the answer is no HTTP.
pub fn get(address: SocketAddr, host: &str) -> anyhow::Result<Answer> {
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut answer = [0; 4096];
    let start = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let length = stream.read(&mut answer)?;
    let first_byte_us = start.elapsed().as_nanos() as f64 / 1000.0;
    let status = answer[..length]
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = std::str::from_utf8(status.context("no status line")?)?.parse()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    while stream.read(&mut answer)? > 0 {}
    Ok(Answer {
        status,
        first_byte_us,
    })
}
