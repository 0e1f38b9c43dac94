//! The front: accepts for all cells, peeks, passes sockets on. It runs no guest and opens no file.

use std::io;

use super::confine;
use super::seccomp::{Allow, Check, allow, allow_if};
use super::{Layer, Report};

/// Locks the front down. Its runtime is made; it has one thread.
///
/// # Errors
/// A layer of `required` that is not there; the ring is not: the front has none.
pub fn lockdown(required: &[Layer]) -> io::Result<Report> {
    let mut report = Report::default();
    confine::leave_the_host(&mut report);
    confine::restrict_files(&mut report, Vec::new());
    confine::drop_capabilities(&mut report);
    confine::seal(&mut report, &[CALLS]);
    report.require(required).map_err(io::Error::other)?;
    Ok(report)
}

/// What the front calls.
pub(super) const CALLS: &[Allow] = &[
    // tokio.
    allow(libc::SYS_epoll_ctl),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_epoll_wait),
    allow(libc::SYS_epoll_pwait),
    allow(libc::SYS_futex),
    allow(libc::SYS_clock_gettime),
    allow(libc::SYS_clock_nanosleep),
    allow(libc::SYS_sched_yield),
    allow(libc::SYS_getrandom),
    // Memory of its own: no code is ever made.
    allow_if(
        libc::SYS_mmap,
        &[&[Check::Without(2, libc::PROT_EXEC as u32)]],
    ),
    allow_if(
        libc::SYS_mprotect,
        &[&[Check::Without(2, libc::PROT_EXEC as u32)]],
    ),
    allow(libc::SYS_munmap),
    allow(libc::SYS_mremap),
    allow(libc::SYS_madvise),
    allow(libc::SYS_brk),
    allow(libc::SYS_rt_sigaction),
    allow(libc::SYS_rt_sigprocmask),
    allow(libc::SYS_rt_sigreturn),
    allow(libc::SYS_sigaltstack),
    // Connections, mailboxes, channels.
    allow(libc::SYS_accept4),
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    allow(libc::SYS_writev),
    allow(libc::SYS_recvfrom),
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendto),
    allow(libc::SYS_sendmsg),
    allow(libc::SYS_shutdown),
    allow(libc::SYS_close),
    allow(libc::SYS_getsockname),
    allow(libc::SYS_getpeername),
    allow(libc::SYS_getsockopt),
    allow_if(
        libc::SYS_setsockopt,
        &[
            &[
                Check::Is(1, libc::IPPROTO_TCP as u32),
                Check::Is(2, libc::TCP_NODELAY as u32),
            ],
            &[
                Check::Is(1, libc::SOL_SOCKET as u32),
                Check::Is(2, libc::SO_LINGER as u32),
            ],
        ],
    ),
    allow_if(libc::SYS_ioctl, &[&[Check::Is(1, libc::FIONBIO as u32)]]),
    allow_if(
        libc::SYS_fcntl,
        &[
            &[Check::Is(1, libc::F_DUPFD_CLOEXEC as u32)],
            &[Check::Is(1, libc::F_GETFL as u32)],
            &[Check::Is(1, libc::F_SETFL as u32)],
            &[Check::Is(1, libc::F_GETFD as u32)],
            &[Check::Is(1, libc::F_SETFD as u32)],
        ],
    ),
    // The end: exit, or abort(3).
    allow(libc::SYS_getpid),
    allow(libc::SYS_gettid),
    allow_if(libc::SYS_tgkill, &[&[Check::Is(2, libc::SIGABRT as u32)]]),
    allow(libc::SYS_exit),
    allow(libc::SYS_exit_group),
    allow(libc::SYS_restart_syscall),
];
