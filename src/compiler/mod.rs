//! Compiling one component in a process of its own, then gone.
//!
//! Cranelift runs on bytes that a tenant chose, so it runs where it can harm nobody: limited
//! memory, CPU time and wall time, lowest priority, no environment, no privileges to gain, and locked
//! down ([`crate::isolation::compile_job`]) before it reads the first of those bytes.
//!
//! ```text
//!  parent (broker, `skep compile`)              skep compile-job
//!  ── spawn ─► fd 3 channel · fd 4 component (read) · fd 5 artifact (memfd)
//!  ── Request { profile, fuel }─────────────────► read fd 4, compile, write fd 5
//!  ◄──────────── Reply::Compiled { flavour } ── or Reply::Refused { reason }
//!  kill, reap, seal the memfd
//! ```
//!
//! Not limited: the number of processes. `RLIMIT_NPROC` counts all processes of a user, not of a
//! job.

#![forbid(unsafe_code)]

pub mod job;
pub mod run;

use std::io;

use serde::{Deserialize, Serialize};

use crate::config::Profile;
use crate::control::Flavour;

pub use run::{JobLimits, compile_in_child};

/// Longest reason for a refusal, in bytes; more is cut.
pub const REASON_BYTES_MAX: usize = 2048;

/// Which descriptor is what in the job, as counted by
/// [`inherited`](crate::sys::process::inherited).
const CHANNEL_INDEX: u32 = 0;
const COMPONENT_INDEX: u32 = 1;
const ARTIFACT_INDEX: u32 = 2;

/// Parent to job.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    profile: Profile,
    /// Whether the code is to count fuel.
    fuel: bool,
}

/// Job to parent.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// The artifact is complete.
    Compiled { flavour: Flavour },
    /// The component cannot be compiled; why, in one line.
    Refused { reason: String },
}

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is not one that can be served.
    #[error("{0}")]
    Refused(String),
    /// The job ended without an answer.
    #[error("compiling it ended with {how}{hint}")]
    Ended {
        /// Exit code or signal.
        how: String,
        /// What that signal most likely means.
        hint: String,
        /// The signal, if it was one.
        signal: Option<i32>,
    },
    /// The job took too long.
    #[error("compiling it took longer than {wall_ms} ms")]
    Deadline {
        /// The limit.
        wall_ms: u64,
    },
    /// The host could not run the job; the component is not to blame.
    #[error("the compile job could not be run: {what}: {source}")]
    Host {
        /// What was attempted.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl CompileError {
    /// Whether the job needed more time than it was given: with more it might succeed.
    pub fn is_out_of_time(&self) -> bool {
        match self {
            CompileError::Deadline { .. } => true,
            CompileError::Ended { signal, .. } => *signal == Some(libc::SIGXCPU),
            CompileError::Refused(_) | CompileError::Host { .. } => false,
        }
    }

    /// Whether the host ended the job or could not run it, which says nothing about the component.
    /// No limit of a job kills with SIGKILL: that is the kernel short of memory, or an operator.
    pub fn is_of_host(&self) -> bool {
        match self {
            CompileError::Host { .. } => true,
            CompileError::Ended { signal, .. } => *signal == Some(libc::SIGKILL),
            CompileError::Refused(_) | CompileError::Deadline { .. } => false,
        }
    }
}

/// One line of at most [`REASON_BYTES_MAX`] bytes.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    line.truncate(line.floor_char_boundary(REASON_BYTES_MAX));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_bounded_line() {
        assert_eq!(one_line("a\nb\x1b[2J"), "a b [2J");
        let long = one_line(&"é".repeat(REASON_BYTES_MAX));
        assert_eq!(long.len(), REASON_BYTES_MAX);
        assert_eq!(
            one_line(&format!("x{}", "é".repeat(REASON_BYTES_MAX))).len(),
            REASON_BYTES_MAX - 1
        );
    }
}
