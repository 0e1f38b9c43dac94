//! A compile job: Cranelift on bytes that a tenant chose. In by one descriptor, out by another.

use std::io;

use super::Report;
use super::confine;
use super::seccomp::{Allow, Check, NOT_WRITABLE_CODE, allow, allow_if};

/// Locks a compile job down. It has one thread and all its descriptors; `start` starts the threads
/// that compile.
///
/// Under a broker that is locked down already, the empty root is impossible: Landlock refuses mounts.
/// It refuses files as well, so nothing is lost.
///
/// # Errors
/// Those of `start`.
pub fn lockdown(start: impl FnOnce() -> io::Result<()>) -> io::Result<Report> {
    let mut report = Report::default();
    confine::leave_the_host(&mut report);
    confine::restrict_files(&mut report, Vec::new());
    confine::drop_capabilities(&mut report);
    start()?;
    confine::seal(&mut report, &[CALLS]);
    Ok(report)
}

/// What a compile job calls: memory, its threads, three descriptors.
pub(super) const CALLS: &[Allow] = &[
    allow_if(libc::SYS_mmap, NOT_WRITABLE_CODE),
    allow_if(libc::SYS_mprotect, NOT_WRITABLE_CODE),
    allow(libc::SYS_munmap),
    allow(libc::SYS_mremap),
    allow(libc::SYS_madvise),
    allow(libc::SYS_brk),
    allow(libc::SYS_futex),
    allow(libc::SYS_sched_yield),
    allow(libc::SYS_sched_getaffinity),
    allow(libc::SYS_clock_gettime),
    allow(libc::SYS_clock_nanosleep),
    allow(libc::SYS_getrandom),
    allow(libc::SYS_sigaltstack),
    allow(libc::SYS_rt_sigprocmask),
    allow(libc::SYS_rt_sigaction),
    allow(libc::SYS_rt_sigreturn),
    // Component, artifact, channel.
    allow(libc::SYS_pread64),
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    allow(libc::SYS_lseek),
    allow(libc::SYS_fstat),
    allow(libc::SYS_statx),
    allow(libc::SYS_sendmsg),
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_close),
    // The end: exit, or abort(3), by which out-of-memory is told from a refusal.
    allow(libc::SYS_getpid),
    allow(libc::SYS_gettid),
    allow_if(libc::SYS_tgkill, &[&[Check::Is(2, libc::SIGABRT as u32)]]),
    allow(libc::SYS_exit),
    allow(libc::SYS_exit_group),
    allow(libc::SYS_restart_syscall),
];
