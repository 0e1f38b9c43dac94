//! What this host gives of each layer, found by trying it: a child locks itself down as a worker does,
//! and says what it has.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use serde::Serialize;

use super::{Layer, Report, State, worker};
use crate::sys::channel::Channel;
use crate::sys::process::{self, Spawn, describe};
use crate::sys::support::Support;
use crate::sys::{cgroup, core_scheduling, report};

/// Entries of the ring that is tried: the fewest.
const RING_ENTRIES: u32 = 2;

/// Tries every layer in a child.
///
/// # Errors
/// When no child can be started, or it ends without an answer.
pub fn examine() -> io::Result<Report> {
    let (ours, theirs) = Channel::pair()?;
    let spawn = Spawn {
        subcommand: "isolation-probe",
        fds: &[theirs.as_fd()],
        limits: &[],
        nice: 0,
        stdout: false,
        stderr: true,
    };
    let mut child = spawn.start()?;
    drop(theirs);
    let said = ours.recv::<Report>();
    let status = child.wait()?;
    match said? {
        Some((mut report, _)) => {
            // What the supervisor applies to its children.
            report.note(Layer::Cgroup, State::from(cgroup::status()));
            let siblings = core_scheduling::status();
            report.note(Layer::CoreScheduling, State::from(siblings));
            Ok(report)
        }
        None => Err(io::Error::other(format!(
            "the process that tries it ended with {}",
            describe(status)
        ))),
    }
}

/// The child of [`examine`].
pub fn probe() -> ExitCode {
    match try_layers() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("isolation-probe: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn try_layers() -> io::Result<()> {
    let channel = Channel::from_fd(process::inherited(0)?);
    process::set_name("skep-probe")?;
    let (_ring, report) = worker::lockdown(None, &[], false, || {
        let mut ring = io_uring::IoUring::<io_uring::squeue::Entry>::builder();
        ring.setup_r_disabled()
            .build(RING_ENTRIES)
            .map_err(|error| io::Error::new(error.kind(), format!("no io_uring: {error}")))
    })?;
    channel.send(&report, &[])
}

impl From<Support> for State {
    fn from(support: Support) -> Self {
        match support {
            Support::Possible => Self::on(),
            Support::Needless { reason } => Self::Off(reason),
            // Its remedy is the layer's.
            Support::Impossible { reason, .. } => Self::Impossible(reason),
        }
    }
}

/// One line of `skep doctor --json`.
#[derive(Debug, Serialize)]
pub struct Row {
    layer: &'static str,
    state: &'static str,
    why: String,
    takes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// The report as rows, a remedy where one is needed.
pub fn rows(report: &Report) -> Vec<Row> {
    let row = |(layer, state): (Layer, &State)| Row {
        layer: layer.name(),
        state: state.word(),
        why: state.why().to_owned(),
        takes: layer.purpose(),
        remedy: (!state.is_on()).then(|| layer.remedy()),
    };
    report.iter().map(row).collect()
}

/// The rows for a person.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let why = if row.why.is_empty() {
            String::new()
        } else {
            format!(" ({})", row.why)
        };
        text += &format!("{:<16} {:<11} {}{why}\n", row.layer, row.state, row.takes);
        if let Some(remedy) = row.remedy {
            text += &format!("{:<28} to have it: {remedy}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_layer_comes_with_its_remedy() {
        let mut report = Report::default();
        report.note(Layer::Seccomp, State::on());
        report.note(Layer::Cgroup, State::Impossible("no controllers".into()));
        let text = table(&rows(&report));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("cgroup           impossible  limits of"),
            "{text}"
        );
        assert!(
            lines[1].trim().starts_with("to have it: mount cgroup v2"),
            "{text}"
        );
        assert!(lines[2].starts_with("seccomp          on "), "{text}");
    }
}
