//! The supervisor: opens sockets, starts processes, reads the configuration. It never touches a byte
//! that a client or a tenant sent; what it gives up here is what none of its children may have either.

use caps::{CapSet, Capability, CapsHashSet};

use super::seccomp::{self, Allow, allow};
use super::{Layer, Report, State, broker, compile_job, data, egress, front, worker};

/// Locks the supervisor down as far as its work allows: the capabilities that starting and locking
/// down children takes, and no other.
pub fn lockdown() -> Report {
    let mut report = Report::default();
    report.note(Layer::Capabilities, State::of(keep_capabilities()));
    let tables = [
        CALLS,
        LOCKING_DOWN,
        broker::CALLS,
        broker::START,
        compile_job::CALLS,
        data::CALLS,
        front::CALLS,
        egress::CALLS,
        worker::CALLS,
    ];
    report.note(Layer::Seccomp, State::of(seccomp::restrict(&tables)));
    report
}

/// What the supervisor itself calls. A filter is inherited, so its children's tables are added.
const CALLS: &[Allow] = &[
    allow(libc::SYS_signalfd4),
    allow(libc::SYS_getcwd),
    allow(libc::SYS_fchmodat),
    allow(libc::SYS_fchownat),
    allow(libc::SYS_rmdir), // control groups of cells that are gone
    // A front accepts with these; sockets to listen on are open by now.
    allow(libc::SYS_accept4),
    allow(libc::SYS_getsockname),
];

/// What children call before they are locked down.
const LOCKING_DOWN: &[Allow] = &[
    allow(libc::SYS_setgroups),
    allow(libc::SYS_setresgid),
    allow(libc::SYS_setresuid),
    allow(libc::SYS_setns),
    allow(libc::SYS_mount),
    allow(libc::SYS_umount2),
    allow(libc::SYS_open_tree),
    allow(libc::SYS_move_mount),
    allow(libc::SYS_pivot_root),
    allow(libc::SYS_sched_setaffinity),
    allow(libc::SYS_io_uring_setup),
    allow(libc::SYS_io_uring_register),
    // Striped memories: keys are taken and given before guests run.
    allow(libc::SYS_pkey_alloc),
    allow(libc::SYS_pkey_free),
    allow(libc::SYS_pkey_mprotect),
];

/// What starting, killing and locking down children takes.
const KEPT: [Capability; 9] = [
    Capability::CAP_DAC_READ_SEARCH, // a configuration and components that others own
    Capability::CAP_DAC_OVERRIDE,    // the broker's directories, until it is locked down
    Capability::CAP_KILL,            // children have another user
    Capability::CAP_SETUID,          // children become nobody
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,      // children give their bounding set up
    Capability::CAP_SYS_ADMIN,    // namespaces, cgroups
    Capability::CAP_SYS_NICE,     // the ticker's real-time priority
    Capability::CAP_SYS_RESOURCE, // limits of children
];

fn keep_capabilities() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = KEPT
        .into_iter()
        .filter(|it| permitted.contains(it))
        .collect();
    // Without CAP_SETPCAP the bounding set stays as the service manager left it.
    for capability in caps::read(None, CapSet::Bounding)? {
        if !kept.contains(&capability) {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
