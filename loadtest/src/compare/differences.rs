//! What else differs between two sets of runs, and may be the reason for what they measured.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::results::Results;

/// Something to know before reading the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Whether the figures are not comparable: with `--fail-above`, that is a failure.
    pub incomparable: bool,
    /// One line.
    pub text: String,
}

impl Warning {
    /// Something that makes figures incomparable.
    pub(super) fn incomparable(text: String) -> Self {
        Self {
            incomparable: true,
            text,
        }
    }

    fn note(text: String) -> Self {
        Self {
            incomparable: false,
            text,
        }
    }
}

/// All of them, for the runs of one scenario.
pub(super) fn between(before: &[&Results], after: &[&Results]) -> Vec<Warning> {
    let mut warnings = invalid(before, "before");
    warnings.extend(invalid(after, "after"));
    for (name, incomparable, value) in TOLD_APART {
        let [one, other] =
            [before, after].map(|runs| runs.iter().map(|run| value(run)).collect::<BTreeSet<_>>());
        if one == other && one.len() == 1 {
            continue;
        }
        let list = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join(" and ");
        let text = if name == SCENARIO {
            "the scenarios of one name send different requests, in other phases or with other objectives"
                .to_owned()
        } else {
            format!(
                "{name} differs: {} before, {} after",
                list(one),
                list(other)
            )
        };
        warnings.push(Warning { incomparable, text });
    }
    warnings
}

const SCENARIO: &str = "scenario";

type Value = fn(&Results) -> String;

/// What is compared, and whether a difference makes figures incomparable. A kernel or a governor
/// may be what the comparison is about.
const TOLD_APART: [(&str, bool, Value); 10] = [
    ("CPU", true, |run| run.fingerprint.cpu.clone()),
    ("number of cores", true, |run| {
        run.fingerprint.cores.to_string()
    }),
    // A kernel reserves a little more or less than another.
    ("memory in GiB", true, |run| {
        format!(
            "{:.0}",
            run.fingerprint.memory_bytes as f64 / f64::from(1 << 30)
        )
    }),
    ("hypervisor", true, |run| {
        run.fingerprint
            .hypervisor
            .clone()
            .unwrap_or_else(|| "none".to_owned())
    }),
    (SCENARIO, true, |run| load(&run.scenario_text)),
    ("kernel", false, |run| run.fingerprint.kernel.clone()),
    ("governor", false, |run| {
        run.fingerprint
            .governor
            .clone()
            .unwrap_or_else(|| "none".to_owned())
    }),
    ("SMT", false, |run| {
        run.fingerprint
            .smt
            .map_or("unknown", |on| if on { "on" } else { "off" })
            .to_owned()
    }),
    ("mitigations", false, |run| {
        let list: Vec<String> = run
            .fingerprint
            .mitigations
            .iter()
            .map(|(name, state)| format!("{name} {state}"))
            .collect();
        list.join(", ")
    }),
    ("version of skep-load", false, |run| {
        run.tool_version.clone()
    }),
];

/// A scenario without its server: which one is started, with which settings, is what a comparison is
/// about. A text that is no scenario stays as it is.
fn load(scenario: &str) -> String {
    let Ok(mut table) = scenario.parse::<toml::Table>() else {
        return scenario.to_owned();
    };
    for key in ["server", "target", "about"] {
        table.remove(key);
    }
    table.to_string()
}

fn invalid(runs: &[&Results], side: &str) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let many = |count: usize| format!("{count} of {} runs {side}", runs.len());
    let bad: Vec<&&Results> = runs.iter().filter(|run| !run.validity.valid).collect();
    if let Some(first) = bad.first() {
        let reasons = first.validity.reasons.join(" ");
        warnings.push(Warning::incomparable(format!(
            "{} are not valid: {reasons}",
            many(bad.len())
        )));
    }
    let forced = runs.iter().filter(|run| run.forced).count();
    if forced > 0 {
        warnings.push(Warning::note(format!(
            "{} were forced although preflight refused them",
            many(forced)
        )));
    }
    warnings
}
