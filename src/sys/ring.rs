//! Restricting an io_uring to a list of operations, before it runs the first one.
//!
//! seccomp does not see what is submitted to a ring, so a ring has to refuse by itself: it is made
//! disabled, told its operations once, and enabled (`io_uring_register(2)`, Linux 5.10).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::namespaces::own_fds;

/// Descriptors that are looked at: a process that has just made its ring has few.
const LOOKED_AT: RawFd = 1_024;

/// Finds this process's only ring among its first descriptors: a second descriptor of it, for
/// libraries that keep theirs to themselves.
///
/// # Errors
/// `NotFound` without a ring, `InvalidInput` with more than one.
pub fn find() -> io::Result<OwnedFd> {
    // By number: a process that is being locked down may read links and not directories.
    let is_ring = |number: &RawFd| {
        let link = fs::read_link(format!("{}/{number}", own_fds()));
        link.is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]")
    };
    let mut rings = (0..LOOKED_AT).filter(is_ring);
    let ring = rings.next();
    let ring = ring.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no ring"))?;
    if rings.next().is_some() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(kind, "more than one ring"));
    }
    // SAFETY: it is open, and this thread, the only one that closes descriptors, is here.
    let ring = unsafe { BorrowedFd::borrow_raw(ring) };
    ring.try_clone_to_owned()
}

/// `struct io_uring_restriction` of `linux/io_uring.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Restriction {
    opcode: u16,
    /// What this entry allows: a register operation, an SQE operation, SQE flags.
    allows: u8,
    reserved: u8,
    reserved2: [u32; 3],
}

/// `IORING_RESTRICTION_SQE_OP`: `allows` is an operation that may be submitted.
const SQE_OPERATION: u16 = 1;
const IORING_REGISTER_RESTRICTIONS: libc::c_uint = 11;
const IORING_REGISTER_ENABLE_RINGS: libc::c_uint = 12;

/// Lets a disabled ring run only these operations from now on: no flags on them, and no further
/// registration.
///
/// # Errors
/// When the ring is enabled already, or the kernel has no restrictions.
pub fn restrict(ring: BorrowedFd<'_>, operations: &[u8]) -> io::Result<()> {
    let list: Vec<Restriction> = operations
        .iter()
        .map(|&allows| Restriction {
            opcode: SQE_OPERATION,
            allows,
            ..Restriction::default()
        })
        .collect();
    // SAFETY: the kernel reads `list.len()` entries of that layout and keeps no pointer.
    unsafe {
        register(
            ring,
            IORING_REGISTER_RESTRICTIONS,
            list.as_ptr().cast(),
            list.len() as libc::c_uint,
        )
    }
}

/// Enables a ring that was made disabled. The calling thread becomes its one submitter.
///
/// # Errors
/// When the ring is enabled already.
pub fn enable(ring: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: this operation has no argument.
    unsafe { register(ring, IORING_REGISTER_ENABLE_RINGS, std::ptr::null(), 0) }
}

/// # Safety
/// `argument` is what `operation` expects, `count` times, and need not live longer than the call.
unsafe fn register(
    ring: BorrowedFd<'_>,
    operation: libc::c_uint,
    argument: *const libc::c_void,
    count: libc::c_uint,
) -> io::Result<()> {
    let fd = ring.as_raw_fd();
    // SAFETY: as the caller promises; the descriptor is open.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, operation, argument, count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
