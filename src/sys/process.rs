//! Child processes: this program again, with another subcommand, fixed descriptors and less to do
//! harm with.
//!
//! ```text
//! parent ──fork──► child: fds at 3, 4, … · dies with its parent · no new privileges · limits
//!                  └─ exec /proc/self/exe SUBCOMMAND (the same inode, even after an upgrade)
//! ```
//!
//! A child is told what to do on its control channel, never by a signal that a terminal or a
//! service manager sends to the whole group: it ignores SIGINT, SIGHUP and SIGTERM, and it ends
//! when its channel does.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::namespaces;

/// Where a child finds its first descriptor: its control channel. More follow.
pub const CONTROL_FD: RawFd = 3;

/// Environment variables that a child keeps; all others are taken away.
const ENVIRONMENT_KEPT: [&str; 3] = ["LLVM_PROFILE_FILE", "RUST_BACKTRACE", "RUST_LOG"];

/// A child to start: this program with a subcommand.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// The subcommand, and what `ps` shows after the program's name.
    pub subcommand: &'a str,
    /// What it finds at [`CONTROL_FD`] and after, in this order.
    pub fds: &'a [BorrowedFd<'a>],
    /// Limits (resource, soft, hard), set before it starts and cut to the parent's hard limits.
    pub limits: &'a [(Resource, u64, u64)],
    /// Added to the parent's niceness: 0 to 19.
    pub nice: i32,
    /// Whether it writes to the parent's standard output.
    pub stdout: bool,
    /// Whether it writes to the parent's standard error.
    pub stderr: bool,
}

impl Spawn<'_> {
    /// Starts the child. Standard input is `/dev/null`.
    ///
    /// The child is killed when the *thread* that called this ends (`PR_SET_PDEATHSIG`): start it
    /// from a thread that outlives it.
    pub fn start(&self) -> io::Result<Child> {
        let end = CONTROL_FD + self.fds.len() as RawFd;
        let mut sources = Vec::with_capacity(self.fds.len());
        for fd in self.fds {
            sources.push(duplicate(*fd, end)?);
        }
        let _occupied = occupy_below(end)?;
        let raw: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
        let limits = self.limits.to_vec();
        let nice = self.nice;
        let parent = std::process::id();

        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("skep")
            .arg(self.subcommand)
            .current_dir("/")
            .env_clear();
        for name in ENVIRONMENT_KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null());
        if !self.stdout {
            command.stdout(Stdio::null());
        }
        if !self.stderr {
            command.stderr(Stdio::null());
        }
        // SAFETY: between fork and exec the closure makes system calls only: no allocation, no
        // lock. What it uses was allocated above, and `sources` outlives the spawn.
        unsafe { command.pre_exec(move || become_child(&raw, &limits, nice, parent)) };
        namespaces::in_new_pid_namespace(|| command.spawn())
    }
}

/// Runs in the child between fork and exec: system calls only.
fn become_child(
    sources: &[RawFd],
    limits: &[(Resource, u64, u64)],
    nice: i32,
    parent: u32,
) -> io::Result<()> {
    // SAFETY: plain system calls with integer arguments. `sources` are open descriptors at or above
    // the end of the target range (see `duplicate`), so that no dup2 overwrites one that is still
    // needed.
    unsafe {
        for (index, &source) in sources.iter().enumerate() {
            check(libc::dup2(source, CONTROL_FD + index as RawFd))?;
        }
        // Whatever skep itself was started with is not the child's: a service manager's sockets, a
        // shell's files. By number, for a C library that has no such function yet.
        let end = CONTROL_FD as usize + sources.len();
        let flags = libc::CLOSE_RANGE_CLOEXEC;
        check(libc::syscall(libc::SYS_close_range, end, u32::MAX, flags) as i32)?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        // From a PID namespace of its own, the parent is not seen (0); the control channel's end says
        // as well that it has gone.
        let seen = libc::getppid() as u32;
        if seen != 0 && seen != parent {
            // The parent died before the line above: nobody will ever end this process.
            libc::_exit(1);
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        for signal in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
            libc::signal(signal, libc::SIG_IGN);
        }
        if nice != 0 {
            let niceness = libc::getpriority(libc::PRIO_PROCESS, 0) + nice;
            check(libc::setpriority(libc::PRIO_PROCESS, 0, niceness.min(19)))?;
        }
    }
    // The parent's signals are blocked for its signalfd; the mask is inherited, so it is cleared.
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    for &(resource, soft, hard) in limits {
        let (_, hard_now) = getrlimit(resource)?;
        setrlimit(resource, soft.min(hard_now), hard.min(hard_now))?;
    }
    Ok(())
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A close-on-exec copy of `fd` numbered `lowest` or above.
fn duplicate(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: F_DUPFD_CLOEXEC returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Leaves no descriptor below `end` free while the result lives: the standard library reports a
/// failed exec on a pipe of its own, and dup2 in the child must not land on it.
fn occupy_below(end: RawFd) -> io::Result<Vec<OwnedFd>> {
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    let mut held = vec![null];
    while held.last().is_some_and(|fd| fd.as_raw_fd() < end) {
        let next = duplicate(std::os::fd::AsFd::as_fd(&held[0]), 0)?;
        held.push(next);
    }
    Ok(held)
}

/// Descriptors that [`inherited`] gave away, as bits: each is owned once.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Takes the `index`th descriptor that the parent passed ([`Spawn::fds`]), close-on-exec from now
/// on. Call it before anything else opens a descriptor.
///
/// Errors: `NotFound` when there is none at that number (the subcommand was typed by hand),
/// `AlreadyExists` the second time, `InvalidInput` above 63.
pub fn inherited(index: u32) -> io::Result<OwnedFd> {
    let bit = 1u64.checked_shl(index).ok_or(io::ErrorKind::InvalidInput)?;
    if TAKEN.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let number = CONTROL_FD + index as RawFd;
    // SAFETY: plain system call; it fails on a number that is not open.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("descriptor {number} is not open: this subcommand is started by skep itself"),
        ));
    }
    // SAFETY: the descriptor is open, was put there by the parent for this process to own, and
    // `TAKEN` lets it be taken once. A process that was not started by `Spawn` has nothing of ours
    // at these numbers.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Names the calling thread in `ps`, `top` and `/proc/self/comm`; cut to 15 bytes.
pub fn set_name(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    Ok(nix::sys::prctl::set_name(&name)?)
}

/// Raises the soft limit of open descriptors to the hard one, and says it.
pub fn raise_open_files() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// How a process ended, for a log line: `exit code 3`, `SIGKILL`, `SIGSEGV, core dumped`.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    let core = if status.core_dumped() {
        ", core dumped"
    } else {
        ""
    };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match nix::sys::signal::Signal::try_from(number) {
            Ok(signal) => format!("{signal}{core}"),
            Err(_) => format!("signal {number}{core}"),
        },
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn ends_are_described() {
        for (raw, expected) in [
            (3 << 8, "exit code 3"),
            (9, "SIGKILL"),
            (11 | 0x80, "SIGSEGV, core dumped"),
            (0, "exit code 0"),
        ] {
            assert_eq!(describe(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn no_low_descriptor_is_left_free() {
        let end = 48;
        let held = occupy_below(end).unwrap();
        let next = duplicate(held[0].as_fd(), 0).unwrap();
        assert!(next.as_raw_fd() >= end, "{next:?}");
    }

    #[test]
    fn what_was_not_passed_cannot_be_taken() {
        assert_eq!(inherited(63).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            inherited(63).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(
            inherited(64).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
