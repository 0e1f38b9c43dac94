//! Whether something else uses the machine: `load`, `steal`, `swap`.

use std::path::Path;
use std::time::Duration;

use super::{Finding, Plan};
use crate::cores;
use crate::fingerprint::Fingerprint;
use crate::kernel_files::{field_kb, text};
use crate::limits::{
    LOADAVG_PER_CORE_MAX, OTHER_LOAD_SHARE_MAX, PREFLIGHT_WATCH_MS, STEAL_SHARE_MAX,
};

pub(super) fn look(root: &Path, plan: &Plan, server: &[u32]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(before) = text(root, "proc/stat") {
        std::thread::sleep(Duration::from_millis(PREFLIGHT_WATCH_MS));
        let after = text(root, "proc/stat").unwrap_or_default();
        findings.extend(busy(&before, &after, &plan.generator_cores));
        let hypervisor = Fingerprint::read(root).hypervisor;
        findings.extend(steal(&before, &after, hypervisor.as_deref()));
    }
    if findings.iter().all(|finding| finding.id != "load") {
        findings.extend(load_average(root));
    }
    findings.extend(swap(root, server));
    findings
}

/// Ticks of a core since boot: a line of `/proc/stat` (proc_stat(5)).
#[derive(Clone, Copy, Default)]
struct Ticks {
    idle: u64,
    steal: u64,
    all: u64,
}

impl Ticks {
    /// The line `cpu` is all cores together, `cpu3` one.
    fn read(stat: &str, name: &str) -> Option<Self> {
        let line = stat
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name))?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        // user nice system idle iowait irq softirq steal; guest time is within user time already.
        Some(Self {
            idle: ticks.get(3)? + ticks.get(4).copied().unwrap_or(0),
            steal: ticks.get(7).copied().unwrap_or(0),
            all: ticks.iter().take(8).sum(),
        })
    }

    fn since(self, before: Self) -> Self {
        Self {
            idle: self.idle.saturating_sub(before.idle),
            steal: self.steal.saturating_sub(before.steal),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// `part` of all time, 0 to 1.
    fn share(self, part: u64) -> f64 {
        if self.all == 0 {
            0.0
        } else {
            part as f64 / self.all as f64
        }
    }
}

fn busy(before: &str, after: &str, generators: &[usize]) -> Option<Finding> {
    let names: Vec<String> = match generators {
        [] => vec!["cpu".to_owned()],
        some => some.iter().map(|core| format!("cpu{core}")).collect(),
    };
    let (worst, name) = names
        .iter()
        .filter_map(|name| {
            let spent = Ticks::read(after, name)?.since(Ticks::read(before, name)?);
            Some((spent.share(spent.all - spent.idle), name))
        })
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    let of = match generators {
        [] => "all cores".to_owned(),
        _ => format!("core {}", name.trim_start_matches("cpu")),
    };
    (worst > OTHER_LOAD_SHARE_MAX).then(|| {
        Finding::warning(
            "load",
            format!(
                "{of} busy {:.0} % of {PREFLIGHT_WATCH_MS} ms before the first request",
                worst * 100.0
            ),
            format!("see who: top -1; then stop it, or move it away from {}", {
                match generators {
                    [] => "the server's cores".to_owned(),
                    some => cores::format(some),
                }
            }),
        )
    })
}

/// The last minute, for load that comes and goes.
fn load_average(root: &Path) -> Option<Finding> {
    let loadavg = text(root, "proc/loadavg")?;
    let minute: f64 = loadavg.split_whitespace().next()?.parse().ok()?;
    let cores = Fingerprint::read(root).cores.max(1);
    (minute > LOADAVG_PER_CORE_MAX * cores as f64).then(|| {
        Finding::warning(
            "load",
            format!("load average of the last minute is {minute:.2} on {cores} cores"),
            "see who: top -1; then stop it, or wait a minute when it was you",
        )
    })
}

/// Time that the hypervisor gave to other machines, now or on average since boot.
fn steal(before: &str, after: &str, hypervisor: Option<&str>) -> Option<Finding> {
    let since_boot = Ticks::read(after, "cpu")?;
    let now = since_boot.since(Ticks::read(before, "cpu")?);
    let (now, since_boot) = (now.share(now.steal), since_boot.share(since_boot.steal));
    (now.max(since_boot) > STEAL_SHARE_MAX).then(|| {
        Finding::warning(
            "steal",
            format!(
                "virtual machine ({}): other machines took {:.1} % of its cores' time now, {:.1} % since boot",
                hypervisor.unwrap_or("unnamed"),
                now * 100.0,
                since_boot * 100.0
            ),
            "a machine with dedicated cores; else several interleaved runs and `skep-load compare`",
        )
    })
}

fn swap(root: &Path, server: &[u32]) -> Option<Finding> {
    let swapped: u64 = server
        .iter()
        .filter_map(|pid| field_kb(&text(root, format!("proc/{pid}/status"))?, "VmSwap"))
        .sum();
    (swapped > 0).then(|| {
        Finding::warning(
            "swap",
            format!("{} KiB of the server are in swap", swapped / 1024),
            "sudo swapoff -a, then start the server again",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::tree;
    use crate::preflight::fake::{ids, plan};

    const BEFORE: &str = "cpu  100 0 100 1800 0 0 0 0 0 0\ncpu0 50 0 50 900 0 0 0 0 0 0\n\
                          cpu1 50 0 50 900 0 0 0 0 0 0\nintr 1\n";
    /// Core 1 was half busy: 5 of 20 ticks user, 5 stolen.
    const AFTER: &str = "cpu  105 0 100 1825 5 0 0 5 0 0\ncpu0 50 0 50 920 0 0 0 0 0 0\n\
                         cpu1 55 0 50 905 5 0 0 5 0 0\nintr 1\n";

    #[test]
    fn only_the_generators_cores_count_as_busy() {
        assert_eq!(busy(BEFORE, AFTER, &[0]), None);
        let finding = busy(BEFORE, AFTER, &[0, 1]).unwrap();
        assert_eq!(
            finding.found,
            "core 1 busy 50 % of 200 ms before the first request"
        );
        assert!(
            busy(BEFORE, AFTER, &[])
                .unwrap()
                .found
                .starts_with("all cores busy 25 %")
        );
        assert_eq!(busy(BEFORE, BEFORE, &[0, 1]), None);
        assert_eq!(busy(BEFORE, AFTER, &[7]), None);
    }

    #[test]
    fn stolen_time_is_told_now_and_since_boot() {
        let finding = steal(BEFORE, AFTER, Some("KVM")).unwrap();
        assert_eq!(
            finding.found,
            "virtual machine (KVM): other machines took 12.5 % of its cores' time now, 0.2 % since boot"
        );
        assert_eq!(steal(BEFORE, BEFORE, None), None);
    }

    #[test]
    fn a_loaded_minute_and_a_swapped_server_are_found() {
        let root = tree(&[
            ("proc/loadavg", "1.25 0.5 0.2 1/80 900\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("proc/70/status", "VmSwap:\t      12 kB\n"),
        ]);
        let findings = look(root.path(), &plan(), &[70, 71]);
        assert_eq!(ids(&findings), ["load warning", "swap warning"]);
        assert_eq!(findings[1].found, "12 KiB of the server are in swap");
    }
}
