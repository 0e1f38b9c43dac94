//! A worker: runs strangers' machine code, so it keeps nothing but its descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use io_uring::opcode;

use super::confine;
use super::landlock::{Rule, read_files};
use super::seccomp::{Allow, Check, NOT_WRITABLE_CODE, allow, allow_if};
use super::{Layer, Report};
use crate::sys::ring;

/// Locks a worker down. Its engine is made (that reads `/proc`); it has one thread.
///
/// `artifacts` is open on the directory of artifacts: a worker maps those it is given by descriptor,
/// and the kernel checks that they come from there. `start` starts what needs threads and makes the
/// ring, disabled. `striped`: its memories have protection keys.
///
/// # Errors
/// Those of `start`; a ring that cannot be enabled; a layer of `required` that is not there.
pub fn lockdown<T>(
    artifacts: Option<OwnedFd>,
    required: &[Layer],
    striped: bool,
    start: impl FnOnce() -> io::Result<T>,
) -> io::Result<(T, Report)> {
    let mut report = Report::default();
    confine::leave_the_host(&mut report);
    let rules = artifacts.into_iter().map(|fd| Rule {
        fd,
        access: read_files(),
    });
    confine::restrict_files(&mut report, rules.collect());
    confine::drop_capabilities(&mut report);
    let started = start()?;
    confine::restrict_ring(&mut report, ring::find()?.as_fd(), OPERATIONS)?;
    #[cfg(feature = "red-team")]
    crate::sys::red_team::before_the_filter();
    let striped = if striped { STRIPED_CALLS } else { &[] };
    confine::seal(&mut report, &[CALLS, striped]);
    report.require(required).map_err(io::Error::other)?;
    Ok((started, report))
}

/// What a worker's ring runs. No `OPENAT`, no `SOCKET`, no `CONNECT`, no `URING_CMD`: descriptors come
/// from others.
const OPERATIONS: &[u8] = &[
    opcode::Accept::CODE,      // connections of its listeners
    opcode::AsyncCancel::CODE, // a wait that is over
    opcode::Close::CODE,       // connections
    opcode::PollAdd::CODE,     // its mailbox and its channels
    opcode::Read::CODE,        // the wake-up descriptor, and the ring turn's read of nothing
    opcode::Recv::CODE,        // connections
    opcode::Send::CODE,
    opcode::Timeout::CODE, // the next timer
];

/// What a worker calls.
pub(super) const CALLS: &[Allow] = &[
    // The loop.
    allow(libc::SYS_io_uring_enter),
    allow(libc::SYS_clock_gettime), // CPU time; other clocks are read without a call
    allow(libc::SYS_clock_nanosleep), // the ticker
    allow(libc::SYS_futex),
    allow(libc::SYS_sched_yield),
    // Guests: their memory, stacks and faults.
    allow_if(libc::SYS_mmap, NOT_WRITABLE_CODE),
    allow_if(libc::SYS_mprotect, NOT_WRITABLE_CODE),
    allow(libc::SYS_munmap),
    // Not process_madvise(2): before Linux 6.14 a process cannot name itself there, and Wasmtime takes
    // that error for a failure; refused by the filter, it calls madvise(2) for each slot.
    allow(libc::SYS_madvise),
    allow(libc::SYS_rt_sigreturn),
    allow(libc::SYS_rt_sigprocmask),
    allow(libc::SYS_rt_sigaction), // Wasmtime's handler gives a fault of the host back this way
    allow(libc::SYS_sigaltstack),
    allow_if(
        libc::SYS_ioctl,
        &[
            &[Check::Is(1, PAGEMAP_SCAN)],
            &[Check::Is(1, libc::FIONBIO as u32)],
        ],
    ),
    allow(libc::SYS_brk),
    allow(libc::SYS_getrandom),
    // Descriptors that it was given, and artifacts among them. Landlock and the empty root say which
    // files can be opened at all.
    allow_if(
        libc::SYS_openat,
        &[&[Check::Without(
            2,
            (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH) as u32,
        )]],
    ),
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    allow(libc::SYS_writev),
    allow(libc::SYS_lseek),
    allow(libc::SYS_close),
    allow(libc::SYS_fstat),
    allow(libc::SYS_statx),
    allow_if(
        libc::SYS_fcntl,
        &[
            &[Check::Is(1, libc::F_DUPFD_CLOEXEC as u32)],
            &[Check::Is(1, libc::F_GETFL as u32)],
            &[Check::Is(1, libc::F_SETFL as u32)],
            &[Check::Is(1, libc::F_GETFD as u32)],
            &[Check::Is(1, libc::F_SETFD as u32)],
            &[Check::Is(1, libc::F_GET_SEALS as u32)], // a database of places
        ],
    ),
    // Connections and channels.
    allow(libc::SYS_accept4),
    allow(libc::SYS_recvfrom),
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendmsg),
    allow(libc::SYS_sendto),
    allow(libc::SYS_shutdown),
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
    // The end: exit, or abort(3).
    allow(libc::SYS_getpid),
    allow(libc::SYS_gettid),
    allow_if(libc::SYS_tgkill, &[&[Check::Is(2, libc::SIGABRT as u32)]]),
    allow(libc::SYS_exit),
    allow(libc::SYS_exit_group),
    allow(libc::SYS_restart_syscall),
];

/// What a worker with striped memories calls besides: a program's image, mapped into a slot, gets the
/// slot's key again. Keys are neither made nor given back, and no code gets another.
const STRIPED_CALLS: &[Allow] = &[allow_if(
    libc::SYS_pkey_mprotect,
    &[&[Check::Without(2, libc::PROT_EXEC as u32)]],
)];

/// `PAGEMAP_SCAN` of `linux/fs.h`: `_IOWR('f', 16, struct pm_scan_arg)`, 96 bytes.
const PAGEMAP_SCAN: u32 = 0xc060_6610;
