//! The server that a scenario brings with it: started before the run, stopped after it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::limits::{SERVER_READY_S, SERVER_STOP_S};
use crate::scenario;

/// How often a server that starts or stops is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lines of a server's output that are shown when it fails.
const LAST_LINES: usize = 10;

/// A running server; ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Writes the server's files and starts it with its output in `work/server.log`; returns when
    /// `target` accepts connections.
    ///
    /// # Errors
    /// When something listens there already, a file cannot be written, or the server does not start: its last lines are in the error.
    pub fn start(
        server: &scenario::Server,
        target: SocketAddr,
        work: &Path,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<Self> {
        if TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok() {
            bail!("something listens on {target} already; end it, or leave out --start to load it");
        }
        for (path, text) in &server.files {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let log = work.join("server.log");
        let output = File::create(&log)?;
        let child = Command::new(&server.command[0])
            .args(&server.command[1..])
            .env_remove("RUST_BACKTRACE")
            // What a terminal sends this program is not meant for the server.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start \"{}\"", server.command[0]))?;
        let mut started = Self { child, log };
        started.wait_until_ready(target, interrupted)?;
        Ok(started)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The last lines that it printed.
    pub fn last_lines(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ")
    }

    fn wait_until_ready(
        &mut self,
        target: SocketAddr,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(SERVER_READY_S);
        loop {
            if TcpStream::connect_timeout(&target, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted before the server listened on {target}");
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended with {status} before it listened on {target}:\n  {}",
                    self.last_lines()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "the server does not listen on {target} after {SERVER_READY_S} s:\n  {}",
                    self.last_lines()
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        // It may have ended by itself.
        let _ = kill(pid, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(SERVER_STOP_S);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Whatever is left of it, its own children included.
        let _ = killpg(pid, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
