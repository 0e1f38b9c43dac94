//! The machine that a run was measured on.

use serde::{Deserialize, Serialize};

/// What identifies a machine to someone who compares figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The CPU's own name.
    pub cpu: String,
    /// Cores online.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the hypervisor, when there is one.
    pub hypervisor: Option<String>,
    /// Governor of core 0, when the kernel scales frequencies.
    pub governor: Option<String>,
    /// Whether SMT is active.
    pub smt: Option<bool>,
    /// Mitigations of CPU weaknesses: name and what the kernel says.
    pub mitigations: Vec<(String, String)>,
}
