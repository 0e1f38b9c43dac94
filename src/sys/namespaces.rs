//! A process of its own world: another user, no network, an empty root.
//!
//! Source: namespaces(7), user_namespaces(7), pivot_root(2), open_tree(2), move_mount(2).

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, getegid, geteuid, pivot_root, setgroups, setresgid, setresuid};

/// The user and group that nothing belongs to: `nobody` on every Linux (`overflowuid`).
pub const NOBODY: u32 = 65_534;

/// Where a process with an empty root finds its own descriptors, and nothing else.
const OWN_FDS: &str = "/fd";

static ROOT_IS_EMPTY: AtomicBool = AtomicBool::new(false);

/// The directory of this process's own descriptors, by number.
pub fn own_fds() -> &'static str {
    if ROOT_IS_EMPTY.load(Ordering::Relaxed) {
        OWN_FDS
    } else {
        "/proc/self/fd"
    }
}

/// The number that `openat2` and its like call the working directory.
const HERE: libc::c_int = libc::AT_FDCWD;

/// Becomes `nobody`, keeping capabilities for what is still to do. Does nothing for a process that
/// is not root: it has no other user to become.
///
/// # Errors
/// When the process may not change its user.
pub fn become_nobody() -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    prctl::set_keepcaps(true)?;
    setgroups(&[])?;
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    Ok(())
}

/// Enters new namespaces with a user namespace around them, in which this user is all there is. For
/// a process of one thread.
///
/// # Errors
/// When the kernel gives none: by its settings, or to a process in a container.
pub fn enter_as_user(namespaces: CloneFlags) -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(namespaces | CloneFlags::CLONE_NEWUSER)?;
    // Under Landlock the maps cannot be written; without one the process is nobody, which is as well.
    let _ = map_self(user, group);
    Ok(())
}

/// Enters new namespaces by privilege (`CAP_SYS_ADMIN`).
///
/// # Errors
/// `EPERM` without it.
pub fn enter(namespaces: CloneFlags) -> io::Result<()> {
    Ok(unshare(namespaces)?)
}

/// Maps the process's own user and group to themselves: all that it may map.
fn map_self(user: Uid, group: Gid) -> io::Result<()> {
    // New credentials took it away, and with it the right to write here.
    prctl::set_dumpable(true)?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes the root directory an empty, read-only one, but for [`own_fds`]: the process's own
/// descriptors, by which a program that knows only paths can open what was passed.
///
/// # Errors
/// When the process has no mount namespace of its own, or may not mount.
pub fn empty_root() -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let own_fds = clone_mount(c"/proc/self/fd")?;
    // Any directory that is there would do: nothing below it is seen again.
    let place = "/proc";
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        hardened,
        Some("mode=0555,size=4k,nr_inodes=4"),
    )?;
    let target = format!("{place}{OWN_FDS}");
    fs::create_dir(&target)?;
    attach(&own_fds, c"/proc/fd")?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | hardened;
    mount(none, place, none, read_only, none)?;
    chdir(place)?;
    // The old root ends up below the new one, on the same path: pivot_root(2), NOTES.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    ROOT_IS_EMPTY.store(true, Ordering::Relaxed);
    Ok(())
}

fn clone_mount(path: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: a plain system call on a path that ends in NUL; it returns a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, HERE, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open_tree returned a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn attach(tree: &OwnedFd, target: &CStr) -> io::Result<()> {
    // SAFETY: a plain system call on an open descriptor and two paths that end in NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            HERE,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Dies with its parent still: new credentials have taken that away, too (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// None that is documented for this signal.
pub fn die_with_parent() -> io::Result<()> {
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Runs `start`, which starts a process, so that this process is the first of a new PID namespace.
/// The caller's own namespace stays what it was.
///
/// # Errors
/// Those of `start`. Without the privilege for a namespace (`CAP_SYS_ADMIN`), `start` runs in this one.
pub fn in_new_pid_namespace<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let ours = fs::File::open("/proc/self/ns/pid");
    let entered = ours.is_ok() && unshare(CloneFlags::CLONE_NEWPID).is_ok();
    let started = start();
    if let (true, Ok(ours)) = (entered, ours) {
        setns(ours, CloneFlags::CLONE_NEWPID)?;
    }
    started
}

/// Whether this process is the first of a PID namespace.
pub fn is_first_process() -> bool {
    std::process::id() == 1
}
