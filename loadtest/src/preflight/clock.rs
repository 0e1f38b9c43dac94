//! Whether a core's speed stays the same during a run: `governor`, `turbo`, `idle-states`.

use std::collections::BTreeMap;
use std::path::Path;

use super::Finding;
use crate::cores;
use crate::kernel_files::{names, number, text};
use crate::limits::IDLE_EXIT_US_MAX;

const CPU: &str = "sys/devices/system/cpu";

pub(super) fn look(root: &Path) -> Vec<Finding> {
    let online = text(root, format!("{CPU}/online"))
        .and_then(|list| cores::parse(&list).ok())
        .unwrap_or_default();
    [
        governor(root, &online),
        turbo(root),
        idle_states(root, &online),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Another governor lets the clock follow the load, so that a low rate looks slow.
fn governor(root: &Path, online: &[usize]) -> Option<Finding> {
    let mut cores_of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for core in online {
        if let Some(governor) = text(root, format!("{CPU}/cpu{core}/cpufreq/scaling_governor"))
            && governor != "performance"
        {
            cores_of.entry(governor).or_default().push(*core);
        }
    }
    let found: Vec<String> = cores_of
        .iter()
        .map(|(governor, list)| format!("{governor} on core {}", cores::format(list)))
        .collect();
    (!found.is_empty()).then(|| {
        Finding::warning(
            "governor",
            format!("the clock follows the load: {}", found.join(", ")),
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )
    })
}

/// How far turbo goes depends on temperature and on what the other cores do.
fn turbo(root: &Path) -> Option<Finding> {
    for (path, on, off) in [("intel_pstate/no_turbo", 0, 1), ("cpufreq/boost", 1, 0)] {
        if number::<u32>(root, format!("{CPU}/{path}")) == Some(on) {
            return Some(Finding::warning(
                "turbo",
                format!("the clock may rise above its base: {path} is {on}"),
                format!("echo {off} | sudo tee /{CPU}/{path}"),
            ));
        }
    }
    None
}

/// The slowest state that a core may sleep in.
fn idle_states(root: &Path, online: &[usize]) -> Option<Finding> {
    let mut slowest: Option<(u64, String, usize)> = None;
    for core in online {
        let directory = format!("{CPU}/cpu{core}/cpuidle");
        for state in names(root, &directory) {
            let state = format!("{directory}/{state}");
            let exit_us = number::<u64>(root, format!("{state}/latency")).unwrap_or(0);
            let enabled = number::<u32>(root, format!("{state}/disable")) != Some(1);
            if enabled && slowest.as_ref().is_none_or(|(most, ..)| exit_us > *most) {
                let name = text(root, format!("{state}/name")).unwrap_or_default();
                slowest = Some((exit_us, name, *core));
            }
        }
    }
    let (exit_us, name, core) = slowest.filter(|(exit_us, ..)| *exit_us > IDLE_EXIT_US_MAX)?;
    Some(Finding::warning(
        "idle-states",
        format!(
            "waking core {core} from {name} takes {exit_us} µs, which adds to latency at low rates"
        ),
        format!("sudo cpupower idle-set -D {IDLE_EXIT_US_MAX}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::tree;
    use crate::preflight::fake::ids;

    const GOVERNOR: &str = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";
    const ONLINE: (&str, &str) = ("sys/devices/system/cpu/online", "0-1\n");

    #[test]
    fn each_is_found_only_where_it_is() {
        const STATE: &str = "sys/devices/system/cpu/cpu0/cpuidle/state2";
        let (latency, disable) = (format!("{STATE}/latency"), format!("{STATE}/disable"));
        for (files, expected) in [
            (vec![], vec![]),
            (vec![(GOVERNOR, "performance\n")], vec![]),
            (vec![(GOVERNOR, "schedutil\n")], vec!["governor warning"]),
            (
                vec![("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n")],
                vec!["turbo warning"],
            ),
            (
                vec![("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n")],
                vec![],
            ),
            (
                vec![("sys/devices/system/cpu/cpufreq/boost", "1\n")],
                vec!["turbo warning"],
            ),
            (vec![(&*latency, "133\n")], vec!["idle-states warning"]),
            (vec![(&*latency, "133\n"), (&*disable, "1\n")], vec![]),
            (vec![(&*latency, "2\n")], vec![]),
        ] {
            let mut all = vec![ONLINE];
            all.extend(files);
            let root = tree(&all);
            assert_eq!(ids(&look(root.path())), expected, "{all:?}");
        }
    }

    #[test]
    fn the_governor_names_its_cores() {
        let root = tree(&[ONLINE, (GOVERNOR, "powersave\n")]);
        let found = &look(root.path())[0].found;
        assert_eq!(found, "the clock follows the load: powersave on core 1");
    }
}
