//! The broker: keeps artifacts and logs, starts compile jobs. It works with files, so Landlock says
//! with which.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use landlock::{AccessFs, BitFlags};

use super::confine;
use super::landlock::{Rule, execute, keep_files, read_tree, write_file};
use super::seccomp::{Allow, NOT_WRITABLE_CODE, allow, allow_if};
use super::{Layer, Report, compile_job};

/// Locks the broker down. It has one thread yet.
///
/// It keeps files in `directories`, reads files everywhere (tenants' components are where their
/// owners put them), and runs this very program.
///
/// # Errors
/// A directory that cannot be opened; a layer of `required` that is not there.
pub fn lockdown(directories: &[PathBuf], required: &[Layer]) -> io::Result<Report> {
    let mut report = Report::default();
    // Inherited by compile jobs, which cannot say it themselves any more: when memory runs out on the
    // host, they and the broker go before any worker. The broker is started again, and no request
    // needs it meanwhile. Without /proc it stays as it is.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let rules = rules(directories)?;
    confine::leave_the_network(&mut report);
    confine::restrict_files(&mut report, rules);
    confine::drop_capabilities(&mut report);
    confine::seal(&mut report, &[CALLS, START, compile_job::CALLS]);
    report.require(required).map_err(io::Error::other)?;
    Ok(report)
}

fn rules(directories: &[PathBuf]) -> io::Result<Vec<Rule>> {
    let mut rules = vec![
        rule(Path::new("/"), read_tree())?,
        rule(Path::new("/proc/self/exe"), execute())?,
        rule(Path::new("/dev/null"), write_file())?, // a job's output
    ];
    if let Some(loader) = loader() {
        rules.push(rule(&loader, execute())?);
    }
    for directory in directories {
        rules.push(rule(directory, keep_files())?);
    }
    Ok(rules)
}

/// What may be done at a place.
pub(super) fn rule(path: &Path, access: BitFlags<AccessFs>) -> io::Result<Rule> {
    let fd = place(path)?;
    Ok(Rule { fd, access })
}

/// Opens a place in the file system, not what is there: open(2), `O_PATH`.
fn place(path: &Path) -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    let opened: io::Result<File> = options.read(true).custom_flags(libc::O_PATH).open(path);
    let opened = opened
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(opened.into())
}

/// The dynamic loader that this program was started by; the kernel runs it first at every start.
fn loader() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])))
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("ld-"))
        })
        .map(Path::to_owned)
}

/// What the broker itself calls.
pub(super) const CALLS: &[Allow] = &[
    // tokio.
    allow(libc::SYS_epoll_create1),
    allow(libc::SYS_epoll_ctl),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_epoll_wait),
    allow(libc::SYS_epoll_pwait),
    allow(libc::SYS_eventfd2),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    allow(libc::SYS_ppoll),
    allow(libc::SYS_timerfd_create),
    allow(libc::SYS_timerfd_settime),
    // Channels to workers and jobs; there is no network behind them.
    allow(libc::SYS_socketpair),
    allow(libc::SYS_setsockopt),
    allow(libc::SYS_getsockopt),
    allow(libc::SYS_recvfrom),
    allow(libc::SYS_sendto),
    allow(libc::SYS_shutdown),
    // Files.
    allow(libc::SYS_openat),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_open),
    allow(libc::SYS_newfstatat),
    allow(libc::SYS_getdents64),
    allow(libc::SYS_writev),
    allow(libc::SYS_pwrite64),
    allow(libc::SYS_copy_file_range),
    allow(libc::SYS_ftruncate),
    allow(libc::SYS_fsync),
    allow(libc::SYS_fdatasync),
    allow(libc::SYS_fchmod),
    allow(libc::SYS_utimensat),
    allow(libc::SYS_linkat),
    allow(libc::SYS_unlinkat),
    allow(libc::SYS_renameat),
    allow(libc::SYS_renameat2),
    allow(libc::SYS_mkdirat),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_link),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_unlink),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_rename),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_mkdir),
    allow(libc::SYS_fcntl),
    allow(libc::SYS_ioctl),
    allow(libc::SYS_memfd_create),
    allow(libc::SYS_geteuid),
    allow(libc::SYS_getuid),
    allow(libc::SYS_sched_setscheduler),
];

/// What starting a compile job takes: fork, exec, a C library that finds its way, and the job's own
/// lock-down.
pub(super) const START: &[Allow] = &[
    allow(libc::SYS_clone),
    allow(libc::SYS_clone3),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_vfork),
    allow(libc::SYS_execve),
    allow(libc::SYS_wait4),
    allow(libc::SYS_waitid),
    allow(libc::SYS_kill),
    allow(libc::SYS_pidfd_open),
    allow(libc::SYS_pidfd_send_signal),
    allow(libc::SYS_pipe2),
    allow(libc::SYS_dup3),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_dup2),
    allow(libc::SYS_close_range),
    allow(libc::SYS_chdir),
    allow(libc::SYS_getppid),
    allow(libc::SYS_getpriority),
    allow(libc::SYS_setpriority),
    allow(libc::SYS_prlimit64),
    allow(libc::SYS_prctl),
    // The loader and the C library.
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_access),
    allow(libc::SYS_faccessat),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_arch_prctl),
    allow(libc::SYS_set_tid_address),
    allow(libc::SYS_set_robust_list),
    allow(libc::SYS_rseq),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_readlink),
    allow(libc::SYS_readlinkat),
    allow(libc::SYS_sysinfo),
    allow(libc::SYS_uname),
    // The job's lock-down.
    allow(libc::SYS_unshare),
    allow(libc::SYS_getegid),
    allow(libc::SYS_getgid),
    allow(libc::SYS_capget),
    allow(libc::SYS_capset),
    allow(libc::SYS_landlock_create_ruleset),
    allow(libc::SYS_landlock_add_rule),
    allow(libc::SYS_landlock_restrict_self),
    allow(libc::SYS_seccomp),
    allow_if(libc::SYS_mmap, NOT_WRITABLE_CODE),
];
