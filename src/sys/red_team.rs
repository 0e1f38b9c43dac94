//! Hostile native code, run by a worker after it has locked itself down: what an escape from a guest
//! would try. Only in a build with the feature `red-team`, which no release has.
//!
//! Each attempt is said in one line on standard error: `red-team NAME: ERRNO`, or `red-team NAME:
//! DONE` where nothing refused it. `tests/red_team.rs` knows which layer must refuse each.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;

use io_uring_attacker::squeue::{Entry, Flags};
use io_uring_attacker::{IoUring, Parameters, opcode, types};
use nix::errno::Errno;

use super::{report, ring};

/// The worker's ring.
static RING: OnceLock<OwnedFd> = OnceLock::new();

/// What can only be learned before the lock-down: where things are in a ring of this size.
pub struct Plan(Parameters);

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plan")
    }
}

/// Makes a ring like the worker's, looks at it, and closes it.
///
/// # Errors
/// When there is no such ring.
pub fn plan(entries: u32) -> io::Result<Plan> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all();
    let ring: IoUring = builder.build(entries)?;
    Ok(Plan(ring.params().clone()))
}

/// Tries what is refused before the worker has its own filter: by namespaces, Landlock, the lost
/// capabilities, and the filter that it inherits.
pub fn before_the_filter() {
    // Nobody can look for it afterwards.
    if let Ok(ring) = ring::find() {
        let _ = RING.set(ring);
    }
    for (name, attempt) in BENEATH {
        say(&format!("beneath: {name}"), attempt());
    }
}

/// Tries everything, in a worker that is locked down.
///
/// # Errors
/// When the ring cannot be attacked, which is no refusal.
pub fn attack(plan: &Plan) -> io::Result<()> {
    for (name, attempt) in CALLS {
        say(name, attempt());
    }
    let ring = RING.get().ok_or(io::ErrorKind::NotFound)?;
    let ring = ring.try_clone()?.into_raw_fd();
    // SAFETY: the ring is this process's own, made with these very settings; nobody submits to it while
    // this runs, and what is mapped here is unmapped when it is dropped.
    let mut ring = unsafe { IoUring::<Entry>::from_fd(ring, plan.0.clone())? };
    for (name, entry) in operations() {
        say(name, submit(&mut ring, &entry)?);
    }
    report::line(format_args!("red-team has tried everything"));
    Ok(())
}

fn say(name: &str, result: i64) {
    if result < 0 {
        report::line(format_args!(
            "red-team {name}: {:?}",
            Errno::from_raw(-result as i32)
        ));
    } else {
        report::line(format_args!("red-team {name}: DONE"));
    }
}

fn submit(ring: &mut IoUring, entry: &Entry) -> io::Result<i64> {
    const OURS: u64 = 0x7ed;
    let entry = entry.clone().user_data(OURS);
    // SAFETY: what an entry points to is static, or the kernel refuses it before it looks.
    let pushed = unsafe { ring.submission().push(&entry) };
    pushed.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    loop {
        if let Some(done) = ring.completion().find(|done| done.user_data() == OURS) {
            return Ok(i64::from(done.result()));
        }
        ring.submit_and_wait(1)?;
    }
}

/// A system call that says `-errno`.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {{
        // SAFETY: every pointer is null, or to a static string; what succeeds changes nothing that this
        // process still needs, but a fork, whose child ends at once.
        let result = unsafe { libc::syscall($number $(, $argument)*) };
        if result < 0 { -i64::from(Errno::last_raw()) } else { result }
    }};
}

/// What is tried, and how.
type Attempt = (&'static str, fn() -> i64);

const HERE: i32 = libc::AT_FDCWD;
const WORLD_READABLE: &std::ffi::CStr = c"/etc/passwd";
const NULL: *const u8 = std::ptr::null();

/// `struct sockaddr_in`: 169.254.169.254 port 80, where clouds answer with credentials.
const METADATA: [u8; 16] = [2, 0, 0, 80, 169, 254, 169, 254, 0, 0, 0, 0, 0, 0, 0, 0];
/// 192.0.2.1 port 443: some host on the Internet.
const OUTSIDE: [u8; 16] = [2, 0, 1, 187, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
/// `struct sockaddr_un`: the abstract name `dbus`.
const ABSTRACT: [u8; 7] = [1, 0, 0, b'd', b'b', b'u', b's'];

fn connect(domain: i32, address: &'static [u8]) -> i64 {
    let socket = call!(libc::SYS_socket, domain, libc::SOCK_STREAM, 0);
    if socket < 0 {
        return socket;
    }
    call!(libc::SYS_connect, socket, address.as_ptr(), address.len())
}

fn fork() -> i64 {
    let child = call!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
    if child == 0 {
        // SAFETY: the child ends at once.
        unsafe { libc::_exit(0) };
    }
    child
}

/// In a PID namespace of one process with two threads there is no third task.
const ABSENT: i32 = 3;

/// What is refused before the worker has its own filter.
const BENEATH: &[Attempt] = &[
    ("open a file", || {
        call!(libc::SYS_openat, HERE, WORLD_READABLE.as_ptr(), 0)
    }),
    ("open a descriptor again", || {
        call!(libc::SYS_openat, HERE, c"/fd/0".as_ptr(), 0)
    }),
    ("open a descriptor to write", || {
        call!(libc::SYS_openat, HERE, c"/fd/0".as_ptr(), 1)
    }),
    ("create a file", || {
        call!(
            libc::SYS_openat,
            HERE,
            c"/x".as_ptr(),
            libc::O_CREAT | 1,
            0o600
        )
    }),
    ("open own memory", || {
        call!(libc::SYS_openat, HERE, c"/proc/self/mem".as_ptr(), 2)
    }),
    ("execute", || {
        call!(libc::SYS_execve, c"/proc/self/exe".as_ptr(), NULL, NULL)
    }),
    ("connect out", || connect(libc::AF_INET, &OUTSIDE)),
    ("connect to the metadata address", || {
        connect(libc::AF_INET, &METADATA)
    }),
    ("connect to an abstract socket", || {
        connect(libc::AF_UNIX, &ABSTRACT)
    }),
    ("trace a process", || {
        call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, ABSENT, 0, 0)
    }),
    ("signal a process", || call!(libc::SYS_kill, ABSENT, 0)),
    ("signal everybody", || call!(libc::SYS_kill, -1, 0)),
    ("read a process", || {
        call!(libc::SYS_process_vm_readv, ABSENT, NULL, 0, NULL, 0, 0)
    }),
    ("mount", || {
        call!(
            libc::SYS_mount,
            NULL,
            c"/".as_ptr(),
            NULL,
            libc::MS_REMOUNT,
            NULL
        )
    }),
    ("change the root", || {
        call!(libc::SYS_chroot, c"/fd".as_ptr())
    }),
    ("become root", || call!(libc::SYS_setuid, 0)),
    ("load a BPF program", || call!(libc::SYS_bpf, 5, NULL, 0)),
    ("set the host's name", || {
        call!(libc::SYS_sethostname, c"x".as_ptr(), 1)
    }),
    ("raise a limit", || {
        const MORE: [u64; 2] = [u64::MAX, u64::MAX];
        call!(
            libc::SYS_prlimit64,
            0,
            libc::RLIMIT_NOFILE,
            MORE.as_ptr(),
            NULL
        )
    }),
    ("a new ring", || {
        call!(libc::SYS_io_uring_register, ring_number(), 11, NULL, 0)
    }),
];

fn ring_number() -> i32 {
    RING.get().map_or(-1, AsRawFd::as_raw_fd)
}

/// What the filter refuses, and some that it lets through to the layers beneath.
const CALLS: &[Attempt] = &[
    // Files.
    ("openat", || {
        call!(libc::SYS_openat, HERE, WORLD_READABLE.as_ptr(), 0)
    }),
    ("openat /fd/0", || {
        call!(libc::SYS_openat, HERE, c"/fd/0".as_ptr(), 0)
    }),
    ("openat to write", || {
        call!(libc::SYS_openat, HERE, c"/fd/0".as_ptr(), 1)
    }),
    ("openat /proc/self/mem", || {
        call!(libc::SYS_openat, HERE, c"/proc/self/mem".as_ptr(), 0)
    }),
    ("openat /proc/1/environ", || {
        call!(libc::SYS_openat, HERE, c"/proc/1/environ".as_ptr(), 0)
    }),
    ("openat2", || {
        call!(libc::SYS_openat2, HERE, WORLD_READABLE.as_ptr(), NULL, 0)
    }),
    ("open_by_handle_at", || {
        call!(libc::SYS_open_by_handle_at, 0, NULL, 0)
    }),
    ("mknodat", || {
        call!(libc::SYS_mknodat, HERE, c"/x".as_ptr(), 0o600, 0)
    }),
    ("memfd_create", || {
        call!(libc::SYS_memfd_create, c"x".as_ptr(), 0)
    }),
    ("unlinkat", || {
        call!(libc::SYS_unlinkat, HERE, c"/fd".as_ptr(), 0)
    }),
    // Programs and processes.
    ("execve", || {
        call!(libc::SYS_execve, c"/fd/0".as_ptr(), NULL, NULL)
    }),
    ("execveat", || {
        call!(
            libc::SYS_execveat,
            0,
            c"".as_ptr(),
            NULL,
            NULL,
            libc::AT_EMPTY_PATH
        )
    }),
    ("fork", fork),
    ("clone3", || call!(libc::SYS_clone3, NULL, 0)),
    ("kill", || call!(libc::SYS_kill, 1, libc::SIGTERM)),
    ("kill everybody", || {
        call!(libc::SYS_kill, -1, libc::SIGKILL)
    }),
    ("tgkill", || call!(libc::SYS_tgkill, 1, 1, libc::SIGKILL)),
    ("rt_sigqueueinfo", || {
        call!(libc::SYS_rt_sigqueueinfo, 1, libc::SIGTERM, NULL)
    }),
    ("pidfd_open", || call!(libc::SYS_pidfd_open, 1, 0)),
    ("pidfd_getfd", || call!(libc::SYS_pidfd_getfd, 0, 0, 0)),
    ("ptrace", || {
        call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, ABSENT, 0, 0)
    }),
    ("process_vm_readv", || {
        call!(libc::SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0)
    }),
    ("process_vm_writev", || {
        call!(libc::SYS_process_vm_writev, 1, NULL, 0, NULL, 0, 0)
    }),
    ("process_madvise", || {
        call!(libc::SYS_process_madvise, 0, NULL, 0, 0, 0)
    }),
    // The network.
    ("socket inet", || {
        call!(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0)
    }),
    ("socket unix", || {
        call!(libc::SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0)
    }),
    ("socket netlink", || {
        call!(libc::SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, 0)
    }),
    ("socket packet", || {
        call!(libc::SYS_socket, libc::AF_PACKET, libc::SOCK_RAW, 0)
    }),
    ("socketpair", || {
        call!(
            libc::SYS_socketpair,
            libc::AF_UNIX,
            libc::SOCK_STREAM,
            0,
            NULL
        )
    }),
    ("connect out", || connect(libc::AF_INET, &OUTSIDE)),
    ("connect to the metadata address", || {
        connect(libc::AF_INET, &METADATA)
    }),
    ("connect to an abstract socket", || {
        connect(libc::AF_UNIX, &ABSTRACT)
    }),
    ("connect a descriptor", || {
        call!(libc::SYS_connect, 3, METADATA.as_ptr(), METADATA.len())
    }),
    ("bind", || {
        call!(libc::SYS_bind, 3, METADATA.as_ptr(), METADATA.len())
    }),
    ("listen", || call!(libc::SYS_listen, 3, 1)),
    ("setsockopt", || {
        call!(
            libc::SYS_setsockopt,
            3,
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            NULL,
            0
        )
    }),
    // Memory.
    ("mmap W+X", || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        call!(
            libc::SYS_mmap,
            0,
            4096,
            libc::PROT_WRITE | libc::PROT_EXEC,
            flags,
            -1,
            0
        )
    }),
    ("mprotect W+X", || {
        call!(
            libc::SYS_mprotect,
            4096,
            4096,
            libc::PROT_WRITE | libc::PROT_EXEC
        )
    }),
    ("pkey_mprotect", || {
        call!(libc::SYS_pkey_mprotect, 4096, 4096, libc::PROT_READ, 0)
    }),
    ("pkey_alloc", || call!(libc::SYS_pkey_alloc, 0, 0)),
    ("mremap", || call!(libc::SYS_mremap, 4096, 4096, 8192, 0)),
    ("userfaultfd", || call!(libc::SYS_userfaultfd, 1)),
    // The kernel.
    ("io_uring_setup", || {
        call!(libc::SYS_io_uring_setup, 4, NULL)
    }),
    ("io_uring_register", || {
        call!(libc::SYS_io_uring_register, 4, 11, NULL, 0)
    }),
    ("bpf", || call!(libc::SYS_bpf, 5, NULL, 0)),
    ("perf_event_open", || {
        call!(libc::SYS_perf_event_open, NULL, 0, -1, -1, 0)
    }),
    ("keyctl", || call!(libc::SYS_keyctl, 0, -3, 0, 0, 0)),
    ("add_key", || {
        call!(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"x".as_ptr(),
            NULL,
            0,
            -3
        )
    }),
    ("seccomp", || call!(libc::SYS_seccomp, 0, 0, NULL)),
    ("finit_module", || {
        call!(libc::SYS_finit_module, 0, c"".as_ptr(), 0)
    }),
    ("kexec_load", || call!(libc::SYS_kexec_load, 0, 0, NULL, 0)),
    ("personality", || call!(libc::SYS_personality, 0)),
    ("modify_ldt", || call!(libc::SYS_modify_ldt, 0, NULL, 0)),
    ("x32 getpid", || call!(0x4000_0000_i64 + libc::SYS_getpid)),
    // The host.
    ("unshare", || call!(libc::SYS_unshare, libc::CLONE_NEWUSER)),
    ("setns", || call!(libc::SYS_setns, 0, 0)),
    ("mount", || {
        call!(
            libc::SYS_mount,
            NULL,
            c"/".as_ptr(),
            NULL,
            libc::MS_REMOUNT,
            NULL
        )
    }),
    ("chroot", || call!(libc::SYS_chroot, c"/fd".as_ptr())),
    ("setuid", || call!(libc::SYS_setuid, 0)),
    ("capset", || call!(libc::SYS_capset, NULL, NULL)),
    ("prlimit64", || {
        call!(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, NULL, NULL)
    }),
    ("prctl dumpable", || {
        call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0)
    }),
    ("sched_setaffinity", || {
        call!(libc::SYS_sched_setaffinity, 0, 0, NULL)
    }),
    ("sched_setscheduler", || {
        call!(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, NULL)
    }),
    ("reboot", || call!(libc::SYS_reboot, 0, 0, 0, NULL)),
    ("sethostname", || {
        call!(libc::SYS_sethostname, c"x".as_ptr(), 1)
    }),
    ("ioctl TIOCSTI", || {
        call!(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr())
    }),
];

/// What the ring refuses.
fn operations() -> Vec<(&'static str, Entry)> {
    let file = || types::Fd(0);
    let here = types::Fd(HERE);
    let path = WORLD_READABLE.as_ptr();
    let nowhere = std::ptr::null_mut();
    let plain = || opcode::Read::new(file(), nowhere, 0).build();
    vec![
        ("ring OPENAT", opcode::OpenAt::new(here, path).build()),
        (
            "ring OPENAT2",
            opcode::OpenAt2::new(here, path, std::ptr::null()).build(),
        ),
        (
            "ring STATX",
            opcode::Statx::new(here, path, nowhere.cast()).build(),
        ),
        ("ring UNLINKAT", opcode::UnlinkAt::new(here, path).build()),
        (
            "ring RENAMEAT",
            opcode::RenameAt::new(here, path, here, path).build(),
        ),
        ("ring MKDIRAT", opcode::MkDirAt::new(here, path).build()),
        (
            "ring LINKAT",
            opcode::LinkAt::new(here, path, here, path).build(),
        ),
        (
            "ring SOCKET",
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
        ),
        (
            "ring CONNECT",
            opcode::Connect::new(file(), METADATA.as_ptr().cast(), METADATA.len() as u32).build(),
        ),
        (
            "ring SENDMSG",
            opcode::SendMsg::new(file(), std::ptr::null()).build(),
        ),
        (
            "ring RECVMSG",
            opcode::RecvMsg::new(file(), nowhere.cast()).build(),
        ),
        ("ring WRITE", opcode::Write::new(file(), NULL, 0).build()),
        (
            "ring WRITEV",
            opcode::Writev::new(file(), std::ptr::null(), 0).build(),
        ),
        (
            "ring SPLICE",
            opcode::Splice::new(file(), 0, file(), 0, 0).build(),
        ),
        ("ring TEE", opcode::Tee::new(file(), file(), 0).build()),
        ("ring URING_CMD", opcode::UringCmd16::new(file(), 0).build()),
        (
            "ring MSG_RING",
            opcode::MsgRingData::new(file(), 0, 0, None).build(),
        ),
        (
            "ring PROVIDE_BUFFERS",
            opcode::ProvideBuffers::new(nowhere, 0, 0, 0, 0).build(),
        ),
        (
            "ring FILES_UPDATE",
            opcode::FilesUpdate::new(std::ptr::null(), 0).build(),
        ),
        (
            "ring EPOLL_CTL",
            opcode::EpollCtl::new(file(), file(), 1, std::ptr::null()).build(),
        ),
        (
            "ring MADVISE",
            opcode::Madvise::new(std::ptr::null(), 0, 0).build(),
        ),
        ("ring FALLOCATE", opcode::Fallocate::new(file(), 0).build()),
        ("ring IO_LINK", plain().flags(Flags::IO_LINK)),
        ("ring FIXED_FILE", plain().flags(Flags::FIXED_FILE)),
        ("ring ASYNC", plain().flags(Flags::ASYNC)),
        ("ring BUFFER_SELECT", plain().flags(Flags::BUFFER_SELECT)),
    ]
}
