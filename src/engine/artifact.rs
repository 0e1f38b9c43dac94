//! Mapping an artifact into this process: the one place that trusts machine code from a file.

use std::os::fd::{AsRawFd, BorrowedFd};

use thiserror::Error;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::engine::settings::one_line;
use crate::engine::stripes::Unproved;
use crate::sys::namespaces;

/// Why an artifact cannot be served.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// Wasmtime refused it: made by another version or with other settings.
    #[error("artifact does not load: {0}")]
    Refused(String),
    /// It imports something that skep does not provide, or has the wrong export.
    #[error("component cannot be linked: {0}")]
    Unlinkable(String),
    /// The engine is there, but its stripes are not proved to hold.
    #[error(transparent)]
    Unproved(#[from] Unproved),
}

/// Maps the artifact behind `fd`, read-only and shared with other workers through the page cache.
///
/// The descriptor comes from the broker, which has verified the artifact's keyed digest on this
/// very descriptor before it let go of it.
#[allow(unsafe_code)] // the one place outside `sys`
pub(super) fn map(engine: &Engine, fd: BorrowedFd<'_>) -> Result<Component, ArtifactError> {
    let path = format!("{}/{}", namespaces::own_fds(), fd.as_raw_fd());
    // SAFETY: the bytes were produced by skep's own compiler process and authenticated by the
    // broker (a keyed BLAKE3 digest, checked on this open file); the artifact directory is
    // writable by skep's own user alone, so they do not change while mapped.
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map_err(|e| ArtifactError::Refused(one_line(e)))
}

/// The same for a filter's core module.
#[allow(unsafe_code)] // as above
pub(super) fn map_module(engine: &Engine, fd: BorrowedFd<'_>) -> Result<Module, ArtifactError> {
    let path = format!("{}/{}", namespaces::own_fds(), fd.as_raw_fd());
    // SAFETY: as in `map`.
    let module = unsafe { Module::deserialize_file(engine, path) };
    module.map_err(|e| ArtifactError::Refused(one_line(e)))
}
