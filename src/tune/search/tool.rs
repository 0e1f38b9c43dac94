//! `skep-load` as a program: where it is, and one run of it that always ends.
//!
//! ```text
//!            ┌───────── a process group of its own ─────────┐
//! skep ────► │ skep-load ──► skep serve ──► workers, broker │     Ctrl-C reaches only skep
//!            └──────────────────────────────────────────────┘
//!   SIGINT, SIGTERM, SIGHUP, or too late:  SIGTERM to all of it, wait, SIGKILL to what is left
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Arrivals, SignalKind, signal};

use crate::config::limits::{TUNE_SEARCH_STOP_S, TUNE_SEARCH_TRIAL_S_MAX};

/// The program's name.
pub const NAME: &str = "skep-load";

/// After SIGKILL: how long its output is waited for.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// Finds it: as named, else beside `skep`, else in a directory of `path` (`$PATH`).
///
/// # Errors
/// One line that says where it was looked for.
pub fn find(named: Option<&Path>, skep: &Path, path: Option<OsString>) -> Result<PathBuf, String> {
    if let Some(named) = named {
        return match is_program(named) {
            true => std::path::absolute(named).map_err(|error| error.to_string()),
            false => Err(format!("--load-tool: {}: no program", named.display())),
        };
    }
    let beside = skep.parent().map(|dir| dir.join(NAME));
    let path = path.unwrap_or_default();
    let listed = std::env::split_paths(&path).map(|dir| dir.join(NAME));
    let mut places = beside.into_iter().chain(listed);
    places.find(|place| is_program(place)).ok_or_else(|| {
        format!(
            "no {NAME} beside {} or in $PATH; build it with `cargo build --release -p {NAME}`, or \
             name it with --load-tool",
            skep.display()
        )
    })
}

fn is_program(path: &Path) -> bool {
    let file = std::fs::metadata(path);
    file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself.
    Exited(Output),
    /// It took longer than a measurement may.
    TooLate,
    /// A signal asked this process to end.
    Interrupted,
}

/// Runs programs, one at a time, and ends them when a signal comes.
#[derive(Debug)]
pub struct Runner {
    runtime: Runtime,
    signals: [Arrivals; 3],
}

impl Runner {
    /// From now on SIGINT, SIGTERM and SIGHUP end a run, and the next one, instead of this process.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Runner> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = {
            let _within = runtime.enter();
            [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ]
        };
        Ok(Runner { runtime, signals })
    }

    /// Runs it to its end, with its temporary files in `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&mut self, program: &Path, words: &[OsString], dir: &Path) -> io::Result<Ended> {
        let mut command = Command::new(program);
        command
            .args(words)
            .env("TMPDIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let limit = Duration::from_secs(TUNE_SEARCH_TRIAL_S_MAX);
        let signals = &mut self.signals;
        self.runtime
            .block_on(async { to_the_end(command.spawn()?, signals, limit).await })
    }
}

async fn to_the_end(
    child: Child,
    signals: &mut [Arrivals; 3],
    limit: Duration,
) -> io::Result<Ended> {
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let group = group.map(Pid::from_raw);
    let mut output = std::pin::pin!(child.wait_with_output());
    let [interrupt, terminate, hangup] = signals;
    let ended = tokio::select! {
        biased;
        _ = interrupt.recv() => Ended::Interrupted,
        _ = terminate.recv() => Ended::Interrupted,
        _ = hangup.recv() => Ended::Interrupted,
        output = &mut output => {
            // A program that crashed may have left its server behind.
            tell(group, Signal::SIGKILL);
            return output.map(Ended::Exited);
        }
        () = tokio::time::sleep(limit) => Ended::TooLate,
    };
    tell(group, Signal::SIGTERM);
    let grace = Duration::from_secs(TUNE_SEARCH_STOP_S);
    let finished = tokio::time::timeout(grace, &mut output).await.is_ok();
    tell(group, Signal::SIGKILL);
    if !finished {
        // Nothing that it still says is of interest; it is reaped.
        let _ = tokio::time::timeout(AFTER_KILL, &mut output).await;
    }
    Ok(ended)
}

/// To everything in a group; an empty one is no mistake.
fn tell(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = killpg(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    fn program(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join(NAME);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn it_is_named_or_beside_or_in_the_path() {
        let [beside, listed, nowhere] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let in_path = program(listed.path(), "#!/bin/sh\n");
        let path = || Some(listed.path().as_os_str().to_owned());
        let skep = beside.path().join("skep");
        assert_eq!(find(None, &skep, path()), Ok(in_path.clone()));
        let missing = find(None, &skep, Some(nowhere.path().into())).unwrap_err();
        assert!(missing.contains("--load-tool"), "{missing}");
        let next = program(beside.path(), "#!/bin/sh\n");
        assert_eq!(find(None, &skep, path()), Ok(next));
        assert_eq!(find(Some(&in_path), &skep, None), Ok(in_path.clone()));
        fs::set_permissions(&in_path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find(Some(&in_path), &skep, path()).is_err());
    }

    #[test]
    fn what_is_too_late_ends_with_everything_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let runner = &mut Runner::new().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).stdout(Stdio::piped());
        command.stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let ended = runner.runtime.block_on(async {
            let limit = Duration::from_millis(500);
            to_the_end(command.spawn().unwrap(), &mut runner.signals, limit).await
        });
        assert!(matches!(ended, Ok(Ended::TooLate)), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        // A killed process ends when it is scheduled the next time.
        loop {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{stat}");
            std::thread::yield_now();
        }
    }
}
