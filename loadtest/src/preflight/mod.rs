//! What spoils a measurement, looked for before the first request.
//!
//! Each check reads the kernel's own files below a root, so that every machine can be made up in a
//! test; only raising the limit of open files and watching the load touch the machine itself.
//!
//! | file | findings |
//! |---|---|
//! | `placement` | `cores`, `smt`, `shared-core` |
//! | `clock` | `governor`, `turbo`, `idle-states` |
//! | `load` | `load`, `steal`, `swap` |
//! | `resources` | `nofile`, `ports`, `io-uring` |
//! | `table` | how people see them |

mod clock;
mod load;
mod placement;
mod resources;
mod table;

use std::fmt::Display;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::cli::PreflightArgs;
use crate::processes;

pub use table::table;

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

impl Finding {
    fn warning(id: &str, found: impl Display, remedy: impl Display) -> Self {
        Self::new(id, Severity::Warning, found, remedy)
    }

    fn refusal(id: &str, found: impl Display, remedy: impl Display) -> Self {
        Self::new(id, Severity::Refusal, found, remedy)
    }

    fn new(id: &str, severity: Severity, found: impl Display, remedy: impl Display) -> Self {
        Self {
            id: id.to_owned(),
            severity,
            found: found.to_string(),
            remedy: remedy.to_string(),
        }
    }
}

/// What a run is going to ask of the machine.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Cores that the generators are pinned to; empty when they are not pinned.
    pub generator_cores: Vec<usize>,
    /// The server's first process, when it runs on this machine.
    pub server_pid: Option<u32>,
    /// Connections open at once, over all populations.
    pub connections: usize,
    /// Connections opened a second once all are open: connections that are closed after some
    /// requests. 0 when they are kept.
    pub connects_per_s: f64,
    /// Where the requests go.
    pub target: SocketAddr,
    /// Whether requests stay on this machine: then generators and server share its cores.
    pub loopback: bool,
}

impl Plan {
    /// A plan of no connections to `target`, with nothing pinned; for struct update.
    pub fn new(target: SocketAddr) -> Self {
        Self {
            generator_cores: Vec::new(),
            server_pid: None,
            connections: 0,
            connects_per_s: 0.0,
            target,
            loopback: target.ip().is_loopback(),
        }
    }
}

/// Looks at the machine below `root` (`/` but for tests): refusals first. Takes
/// [`crate::limits::PREFLIGHT_WATCH_MS`], and raises this process's limit of open files when the
/// plan needs more of them.
pub fn look(root: &Path, plan: &Plan) -> Vec<Finding> {
    let server = plan
        .server_pid
        .map(|pid| processes::tree(root, &[pid]))
        .unwrap_or_default();
    let mut findings = placement::look(root, plan, &server);
    findings.extend(clock::look(root));
    findings.extend(load::look(root, plan, &server));
    findings.extend(resources::look(root, plan));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// `skep-load preflight`: prints the findings, and fails when one is a refusal.
///
/// # Errors
/// The server's process does not exist, or the output cannot be written.
pub fn command(args: &PreflightArgs) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    if let Some(pid) = args.server_pid {
        anyhow::ensure!(
            processes::Process::read(root, pid).is_some(),
            "there is no process {pid}: --server-pid takes the pid of the running server"
        );
    }
    let plan = Plan {
        generator_cores: args.cores.0.clone(),
        server_pid: args.server_pid,
        connections: args.connections,
        loopback: args.server_pid.is_some(),
        ..Plan::new((Ipv4Addr::LOCALHOST, 80).into())
    };
    let findings = look(root, &plan);
    let text = if args.json {
        serde_json::to_string_pretty(&findings)? + "\n"
    } else {
        table(&findings)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if refuses(&findings) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Whether any finding is a refusal.
pub fn refuses(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Refusal)
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    /// A plan of one connection to this machine.
    pub(crate) fn plan() -> Plan {
        Plan {
            connections: 1,
            ..Plan::new(([127, 0, 0, 1], 8080).into())
        }
    }

    /// `id severity` of each finding.
    pub(crate) fn ids(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .map(|finding| match finding.severity {
                Severity::Warning => format!("{} warning", finding.id),
                Severity::Refusal => format!("{} refusal", finding.id),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_shows_nothing_has_no_findings() {
        let root = tempfile::tempdir().unwrap();
        let remote = Plan::new(([192, 0, 2, 1], 80).into());
        assert_eq!(look(root.path(), &remote), []);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let findings = look(Path::new("/"), &fake::plan());
        for finding in &findings {
            assert!(
                !finding.found.is_empty() && !finding.remedy.is_empty(),
                "{finding:?}"
            );
        }
        assert!(findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    }
}
