//! What `show` and `check` print, and the JSON of both.

use std::fmt::Write;

use serde::Serialize;

use super::check::{Checked, Finding, Verdict};
use super::layout::Layout;
use super::nic::Nic;
use super::settings::Target;
use super::topology::Topology;
use super::value::shorten;
use crate::config::CpuSet;

/// Files of one setting that are listed when they are not as wanted.
const LISTED_MAX: usize = 4;
/// The longest line of the configuration snippet.
const LINE_BYTES_MAX: usize = 96;

/// Everything `show` knows, as JSON.
#[derive(Debug, Serialize)]
pub struct Shown<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// The proposal.
    pub layout: &'a Layout,
    /// The configuration's part that matches it.
    pub configuration: String,
}

/// One setting of `check`, as JSON.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    id: &'a str,
    subject: &'a str,
    verdict: Verdict,
    takes: &'static str,
    why: &'a str,
    source: &'a str,
    cost: &'a str,
    undo: &'a str,
    places: &'a [Finding],
}

/// `check`, as JSON.
pub fn rows<'a>(checked: &'a [Checked<'a>]) -> Vec<Row<'a>> {
    let row = |it: &'a Checked<'a>| Row {
        id: &it.setting.id,
        subject: &it.setting.subject,
        verdict: it.verdict(),
        takes: takes(&it.setting.target),
        why: &it.setting.why,
        source: &it.setting.source,
        cost: &it.setting.cost,
        undo: &it.setting.undo,
        places: &it.findings,
    };
    checked.iter().map(row).collect()
}

/// When a changed setting is in effect.
pub(super) fn takes(target: &Target) -> &'static str {
    match target {
        Target::File { .. } => "at once",
        Target::Boot(_) => "at the next boot",
        Target::Limit(_) => "at the service's next start",
    }
}

/// Machine and proposal, for a person.
pub fn show(topology: &Topology, layout: &Layout, profile: Option<&str>) -> String {
    let mut out = String::new();
    machine(&mut out, topology);
    line(&mut out, format_args!("\nlayout"));
    let roles = [
        ("housekeeping", &layout.housekeeping),
        ("interrupts", &layout.interrupts),
        ("workers", &layout.workers),
        ("idle", &layout.idle),
    ];
    for (name, role) in roles {
        let cpus = or_none(&role.cpus);
        line(
            &mut out,
            format_args!("  {name:<13} {cpus:<16} {}", role.why),
        );
    }
    line(
        &mut out,
        format_args!("\ntenants by class, and the profile for it"),
    );
    for class in &layout.classes {
        let (profile, cpus) = (class.profile, or_none(&class.cpus));
        line(
            &mut out,
            format_args!("  {profile:<13} {cpus:<16} {}", class.why),
        );
    }
    line(&mut out, format_args!("\nfor skep.toml\n"));
    out.push_str(&configuration(layout, profile));
    out
}

fn machine(out: &mut String, topology: &Topology) {
    let online = topology.online();
    let mib = topology.memory_kib >> 10;
    line(out, format_args!("machine"));
    line(
        out,
        format_args!("  Linux {}, {mib} MiB of memory", topology.kernel),
    );
    let cores = topology.cores.len();
    let smt = match (topology.has_smt(), topology.smt.as_deref()) {
        (true, _) => "SMT on",
        (false, Some("off" | "forceoff")) => "SMT off",
        (false, _) => "no SMT",
    };
    line(out, format_args!("  CPUs {online}: {cores} cores, {smt}"));
    for node in topology.nodes() {
        let cpus = topology.node_cpus(node);
        line(out, format_args!("  node {node}: CPUs {cpus}"));
    }
    line(out, format_args!("  L3 caches: {}", caches(topology)));
    let driver = topology.frequency_driver.as_deref();
    let driver = driver.unwrap_or("none: the hypervisor or firmware sets it");
    line(out, format_args!("  frequency driver: {driver}"));
    for nic in &topology.nics {
        line(out, format_args!("  {}", card(nic)));
    }
    if topology.irqbalance {
        line(out, format_args!("  irqbalance runs: {IRQBALANCE}"));
    }
}

/// What to say when it runs.
pub const IRQBALANCE: &str =
    "it moves interrupts back within seconds; `systemctl disable --now irqbalance` before `apply`";

fn caches(topology: &Topology) -> String {
    let mut groups: Vec<&CpuSet> = topology
        .cores
        .iter()
        .filter_map(|it| it.l3.as_ref())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    let shared = groups.iter().map(|cpus| format!("CPUs {cpus}"));
    match groups.len() {
        0 => "not known".to_owned(),
        1..=LISTED_MAX => shared.collect::<Vec<_>>().join("; "),
        count => {
            let first: Vec<_> = shared.take(2).collect();
            format!("{count}: {}; …", first.join("; "))
        }
    }
}

fn card(nic: &Nic) -> String {
    let Nic { name, rx, tx, .. } = nic;
    let node = nic
        .node
        .map_or("any node".to_owned(), |node| format!("node {node}"));
    let irqs: CpuSet = nic.irqs.iter().map(|irq| irq.number).collect();
    let irqs = match irqs.is_empty() {
        true => "no interrupts of its own".to_owned(),
        false => format!("interrupts {irqs}"),
    };
    let (rx, tx) = (rx.len(), tx.len());
    format!("{name}: {rx} receive and {tx} transmit queues, {node}, {irqs}")
}

/// The `[workers]` section.
/// The profile is `None` where it is a file of one's own that the configuration names already.
pub fn configuration(layout: &Layout, profile: Option<&str>) -> String {
    let mut out = String::from("[workers]\ncores = [");
    let mut column = "cores = [".len();
    for (index, cpu) in layout.workers.cpus.iter().enumerate() {
        let text = match index {
            0 => cpu.to_string(),
            _ => format!(", {cpu}"),
        };
        if column + text.len() > LINE_BYTES_MAX {
            out.push_str(",\n    ");
            column = 4;
            let text = cpu.to_string();
            column += text.len();
            out.push_str(&text);
            continue;
        }
        column += text.len();
        out.push_str(&text);
    }
    match profile.map(toml::Value::from) {
        Some(profile) => line(&mut out, format_args!("]\nprofile = {profile}")),
        None => line(&mut out, format_args!("]")),
    }
    out
}

/// Every setting, for a person.
pub fn check(checked: &[Checked<'_>]) -> String {
    let mut out = String::new();
    for it in checked {
        let (id, verdict) = (&it.setting.id, it.verdict());
        let text = format!("{:<11}{id:<20}{}", verdict.word(), summary(it, verdict));
        line(&mut out, format_args!("{}", text.trim_end()));
        if matches!(verdict, Verdict::Differs | Verdict::Advice) {
            line(
                &mut out,
                format_args!("{:11}{:<20}{}", "", "", it.setting.why),
            );
        }
    }
    let count = |verdict| checked.iter().filter(|it| it.verdict() == verdict).count();
    let counts = [
        Verdict::Ok,
        Verdict::Differs,
        Verdict::Advice,
        Verdict::Impossible,
        Verdict::Skipped,
    ];
    let counts = counts.map(|verdict| format!("{} {}", count(verdict), verdict.word()));
    line(&mut out, format_args!("\n{}", counts.join(", ")));
    out
}

/// The places that decide a setting's verdict, in one line.
fn summary(checked: &Checked<'_>, verdict: Verdict) -> String {
    let all = checked.findings.len();
    let decisive: Vec<_> = checked
        .findings
        .iter()
        .filter(|finding| finding.verdict == verdict)
        .collect();
    let Some(first) = decisive.first() else {
        return String::new();
    };
    let text = state(first, verdict);
    let alike = decisive.iter().all(|finding| finding.note == first.note);
    match (all, decisive.len()) {
        (1, _) => text,
        (all, many) if all == many && alike && !first.note.is_empty() => {
            format!("{text} ({many} files)")
        }
        (all, many) if verdict == Verdict::Ok => format!("{many} of {all} files"),
        (all, many) => format!("{many} of {all} files, such as {}: {text}", first.place),
    }
}

fn state(finding: &Finding, verdict: Verdict) -> String {
    let current = finding.current.as_deref().map(shorten);
    let current = current.unwrap_or_else(|| "?".to_owned());
    let wanted = finding.wanted.as_deref().map(shorten).unwrap_or_default();
    let note = &finding.note;
    match verdict {
        Verdict::Ok => current,
        Verdict::Differs => format!("{current}, wanted {wanted}"),
        Verdict::Advice => format!("{current}, wanted {wanted}: {note}"),
        Verdict::Impossible | Verdict::Skipped => note.clone(),
    }
}

fn or_none(cpus: &CpuSet) -> String {
    match cpus.is_empty() {
        true => "none".to_owned(),
        false => cpus.to_string(),
    }
}

/// Writing to a `String` cannot fail; this keeps the results out of sight.
fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
    out.push('\n');
}
