//! The supervisor: opens sockets, starts processes, reads the configuration. It never touches a byte
//! that a client or a tenant sent; what it gives up here is what none of its children may have either.

use caps::{CapSet, Capability, CapsHashSet};

use super::{Layer, Report, State};

/// Locks the supervisor down as far as its work allows: the capabilities that starting and locking
/// down children takes, and no other.
pub fn lockdown() -> Report {
    let mut report = Report::default();
    report.note(Layer::Capabilities, State::of(keep_capabilities()));
    report
}

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
