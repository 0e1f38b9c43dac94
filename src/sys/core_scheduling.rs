//! Core scheduling (`PR_SCHED_CORE`, Linux 5.14): programs of different cells never run on the two
//! hardware threads of one core at the same time, where one could read the other's traces.
//!
//! The kernel lets two tasks share a core only when their *cookies* are equal:
//!
//! ```text
//! cell gold: cookie A on all its workers      core 0:  thread 0 gold │ thread 1 gold or idle
//! cell iron: cookie B on all its workers
//! ```
//!
//! Source: Documentation/admin-guide/hw-vuln/core-scheduling.rst.

use std::fs;
use std::io;

use super::support::Support;

/// Of include/uapi/linux/prctl.h.
const PR_SCHED_CORE: i32 = 62;
const GET: libc::c_ulong = 0;
const CREATE: libc::c_ulong = 1;
const SHARE_TO: libc::c_ulong = 2;
const SHARE_FROM: libc::c_ulong = 3;
/// Scopes: one task, or all tasks of a process.
const SCOPE_THREAD: libc::c_ulong = 0;
const SCOPE_PROCESS: libc::c_ulong = 1;

/// Whether cells can be kept apart in this way, and need to be.
pub fn status() -> Support {
    let active = fs::read_to_string("/sys/devices/system/cpu/smt/active").ok();
    let mut cookie: u64 = 0;
    let pointer = (&raw mut cookie) as libc::c_ulong;
    judge(active.as_deref(), call(GET, 0, SCOPE_THREAD, pointer))
}

fn judge(active: Option<&str>, got: io::Result<()>) -> Support {
    if active.is_some_and(|active| active.trim() == "0") {
        let reason = "simultaneous multithreading is off: no core runs two programs at once";
        return Support::Needless {
            reason: reason.into(),
        };
    }
    match got.map_err(|error| (error.raw_os_error(), error)) {
        Ok(()) => Support::Possible,
        Err((Some(libc::EINVAL), _)) => Support::impossible(
            "the kernel has no core scheduling (PR_SCHED_CORE: EINVAL)",
            "a kernel of 5.14 or later with CONFIG_SCHED_CORE, or `nosmt`",
        ),
        Err((_, error)) => Support::impossible(format!("PR_SCHED_CORE: {error}"), "`nosmt`"),
    }
}

/// Gives a process a cookie that no other has.
///
/// # Errors
/// `EINVAL` where the kernel has no core scheduling, `ENODEV` where multithreading is off, `EPERM`
/// when this process may not trace the other.
pub fn separate(pid: u32) -> io::Result<()> {
    call(CREATE, pid, SCOPE_PROCESS, 0)
}

/// Gives the process `to` the cookie of `from`.
///
/// # Errors
/// As [`separate`].
pub fn share(from: u32, to: u32) -> io::Result<()> {
    // A cookie is carried by the calling thread, which should not keep it.
    let carrier = std::thread::Builder::new().spawn(move || {
        call(SHARE_FROM, from, SCOPE_THREAD, 0)?;
        call(SHARE_TO, to, SCOPE_PROCESS, 0)
    })?;
    let ended = carrier.join();
    ended.unwrap_or_else(|_| {
        Err(io::Error::other(
            "the thread that carries the cookie failed",
        ))
    })
}

fn call(
    command: libc::c_ulong,
    pid: u32,
    scope: libc::c_ulong,
    into: libc::c_ulong,
) -> io::Result<()> {
    let pid = libc::c_ulong::from(pid);
    // SAFETY: the only pointer among the arguments is that of GET, to a u64 of the caller that
    // outlives the call.
    match unsafe { libc::prctl(PR_SCHED_CORE, command, pid, scope, into) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_decides() {
        let os = |code| Err(io::Error::from_raw_os_error(code));
        let word = |support: Support| match support {
            Support::Possible => "possible",
            Support::Needless { .. } => "needless",
            Support::Impossible { .. } => "impossible",
        };
        let cases = [
            (Some("1\n"), Ok(()), "possible"),
            (None, Ok(()), "possible"),
            (Some("0\n"), Ok(()), "needless"),
            (Some("0\n"), os(libc::EINVAL), "needless"),
            (Some("1\n"), os(libc::EINVAL), "impossible"),
            (None, os(libc::EPERM), "impossible"),
        ];
        for (active, got, expected) in cases {
            let what = format!("{active:?} {got:?}");
            assert_eq!(word(judge(active, got)), expected, "{what}");
        }
    }

    #[test]
    fn the_status_is_what_comes_of_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let separated = separate(child.id()).and_then(|()| share(child.id(), child.id()));
        match status() {
            Support::Possible => separated.unwrap(),
            Support::Needless { .. } | Support::Impossible { .. } => {
                separated.unwrap_err();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
