//! The process that connects for the workers: it has the network and nothing else.

use std::io;

use super::confine;
use super::seccomp::{Allow, Check, allow, allow_if};
use super::{Layer, Report};

/// Locks the process down. Its runtime and its resolver are made; it has one thread.
///
/// # Errors
/// A layer of `required` that is not there; the network namespace is not: the network is its work.
pub fn lockdown(required: &[Layer]) -> io::Result<Report> {
    let mut report = Report::default();
    confine::leave_the_host_for_the_network(&mut report);
    confine::restrict_files_of_a_caller(&mut report);
    confine::drop_capabilities(&mut report);
    confine::seal(&mut report, &[CALLS, super::front::CALLS]);
    report.require(required).map_err(io::Error::other)?;
    Ok(report)
}

/// What it calls beside what the front does: sockets of its own. It listens to nobody.
pub(super) const CALLS: &[Allow] = &[
    allow_if(
        libc::SYS_socket,
        &[
            &[Check::Is(0, libc::AF_INET as u32), Check::Is(2, 0)],
            &[Check::Is(0, libc::AF_INET6 as u32), Check::Is(2, 0)],
            &[
                Check::Is(0, libc::AF_INET as u32),
                Check::Is(2, libc::IPPROTO_TCP as u32),
            ],
            &[
                Check::Is(0, libc::AF_INET6 as u32),
                Check::Is(2, libc::IPPROTO_TCP as u32),
            ],
            &[
                Check::Is(0, libc::AF_INET as u32),
                Check::Is(2, libc::IPPROTO_UDP as u32),
            ],
            &[
                Check::Is(0, libc::AF_INET6 as u32),
                Check::Is(2, libc::IPPROTO_UDP as u32),
            ],
        ],
    ),
    allow(libc::SYS_connect),
    allow(libc::SYS_bind), // a port of its own for each query
];
