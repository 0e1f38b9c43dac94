//! The process that keeps tenants' data: it works with the files of one directory, and has no network.

use std::io;
use std::path::Path;

use super::broker;
use super::compile_job;
use super::confine;
use super::landlock::keep_files;
use super::seccomp::{Allow, allow};
use super::{Layer, Report};

/// Locks the process down, which keeps files in `dir`, if that is there. It has one thread; `start` opens
/// what there is to keep and starts the thread that writes.
///
/// # Errors
/// A directory that cannot be opened; a layer of `required` that is not there.
pub fn lockdown(
    dir: Option<&Path>,
    required: &[Layer],
    start: impl FnOnce(),
) -> io::Result<Report> {
    let mut report = Report::default();
    let rules = dir.map(|dir| broker::rule(dir, keep_files())).transpose()?;
    confine::leave_the_network(&mut report);
    confine::restrict_files(&mut report, rules.into_iter().collect());
    confine::drop_capabilities(&mut report);
    start();
    confine::seal(&mut report, &[broker::CALLS, compile_job::CALLS, CALLS]);
    report.require(required).map_err(io::Error::other)?;
    Ok(report)
}

/// What it calls beside what the broker does for its files, and a compile job for its memory.
pub(super) const CALLS: &[Allow] = &[
    allow(libc::SYS_flock), // one process at a time has the file
    allow(libc::SYS_fallocate),
    allow(libc::SYS_sync_file_range),
    allow(libc::SYS_set_robust_list),
    allow(libc::SYS_readv),
    allow(libc::SYS_preadv),
    allow(libc::SYS_pwritev),
];
