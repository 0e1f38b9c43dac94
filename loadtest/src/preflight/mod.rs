//! What spoils a measurement, looked for before the first request.

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Figures are noisier than they could be.
    Warning,
    /// Figures would be wrong; the run does not start without `--force`.
    Refusal,
}

/// One thing that spoils a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable name: `governor`, `smt`, `load`, `nofile`, `ports`, `shared-core`, …
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with numbers.
    pub found: String,
    /// What to do about it: a command where there is one.
    pub remedy: String,
}
