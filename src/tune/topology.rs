//! What a machine is made of, as `/sys` and `/proc` say.
//!
//! ```text
//! package ─ node ─ L3 group ─ core ─ CPU (thread)
//!                               └─── CPU (its sibling)
//! ```
//!
//! Only the list of online CPUs has to be there: what else is missing is left out, as on machines
//! that do not have it.

use std::io;

use serde::Serialize;

use super::nic::{self, Nic};
use crate::config::CpuSet;
use crate::config::limits::{TUNE_FILE_BYTES_MAX, TUNE_VALUE_BYTES_MAX};
use crate::sys::tree::Tree;

/// Where the kernel lists CPUs.
const CPU_DIR: &str = "/sys/devices/system/cpu";
/// Where the kernel lists NUMA nodes.
const NODE_DIR: &str = "/sys/devices/system/node";

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The kernel's release.
    pub kernel: String,
    /// The kernel's command line.
    pub command_line: String,
    /// Memory in all, in KiB; 0 where it is not said.
    pub memory_kib: u64,
    /// `smt/control`: `on`, `off`, `notsupported`; `None` where it is not said.
    pub smt: Option<String>,
    /// The frequency driver of the first CPU; `None` on machines that set it themselves.
    pub frequency_driver: Option<String>,
    /// Whether irqbalance runs: it writes interrupt affinities again every ten seconds.
    pub irqbalance: bool,
    /// Physical cores with a CPU online, by their first CPU.
    pub cores: Vec<Core>,
    /// Network cards.
    pub nics: Vec<Nic>,
}

/// One physical core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Core {
    /// Its online CPUs: one, or SMT siblings.
    pub cpus: CpuSet,
    /// Its NUMA node.
    pub node: usize,
    /// Its socket.
    pub package: usize,
    /// The CPUs that share its L2 cache.
    pub l2: Option<CpuSet>,
    /// The CPUs that share its L3 cache.
    pub l3: Option<CpuSet>,
}

impl Core {
    /// The CPU that stands for the core.
    pub fn first(&self) -> usize {
        self.cpus.first().unwrap_or_default()
    }
}

impl Topology {
    /// Reads the machine below a root.
    ///
    /// # Errors
    /// When the list of online CPUs cannot be read: this is no root of a Linux system.
    pub fn read(tree: &Tree) -> io::Result<Topology> {
        let online = online(tree)?;
        let cores = cores(tree, &online);
        let memory = line(tree, "/proc/meminfo", "MemTotal:");
        let driver = format!(
            "{CPU_DIR}/cpu{}/cpufreq/scaling_driver",
            online.first().unwrap_or_default()
        );
        Ok(Topology {
            kernel: word(tree, "/proc/sys/kernel/osrelease").unwrap_or_default(),
            command_line: word(tree, "/proc/cmdline").unwrap_or_default(),
            memory_kib: memory
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0),
            smt: word(tree, &format!("{CPU_DIR}/smt/control")),
            frequency_driver: word(tree, &driver),
            irqbalance: runs(tree, "irqbalance"),
            cores,
            nics: nic::read(tree),
        })
    }

    /// Every online CPU.
    pub fn online(&self) -> CpuSet {
        self.cores
            .iter()
            .flat_map(|core| core.cpus.iter())
            .collect()
    }

    /// The core that a CPU belongs to.
    pub fn core_of(&self, cpu: usize) -> Option<&Core> {
        self.cores.iter().find(|core| core.cpus.has(cpu))
    }

    /// NUMA nodes with a CPU online, ascending.
    pub fn nodes(&self) -> Vec<usize> {
        let mut nodes: Vec<_> = self.cores.iter().map(|core| core.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// CPUs of one node.
    pub fn node_cpus(&self, node: usize) -> CpuSet {
        let cores = self.cores.iter().filter(|core| core.node == node);
        cores.flat_map(|core| core.cpus.iter()).collect()
    }

    /// Whether any core has more than one CPU online.
    pub fn has_smt(&self) -> bool {
        self.cores.iter().any(|core| core.cpus.len() > 1)
    }
}

fn online(tree: &Tree) -> io::Result<CpuSet> {
    let text = tree.text(&format!("{CPU_DIR}/online"), TUNE_VALUE_BYTES_MAX)?;
    let cpus = CpuSet::from_list(&text).filter(|cpus| !cpus.is_empty());
    cpus.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a list of CPUs"))
}

/// Gathers CPUs into cores.
fn cores(tree: &Tree, online: &CpuSet) -> Vec<Core> {
    let nodes = node_lists(tree);
    let mut cores = Vec::new();
    let mut seen = CpuSet::default();
    for cpu in online.iter() {
        if seen.has(cpu) {
            continue;
        }
        let here: CpuSet = [cpu].into_iter().collect();
        let siblings = siblings(tree, cpu).unwrap_or_default();
        // Siblings that are offline do not count, and a CPU belongs to one core.
        let online = siblings
            .iter()
            .filter(|it| online.has(*it) && !seen.has(*it));
        let cpus = here.and(&online.collect());
        seen = seen.and(&cpus);
        let package = format!("{CPU_DIR}/cpu{cpu}/topology/physical_package_id");
        let node = nodes.iter().find(|(_, cpus)| cpus.has(cpu));
        cores.push(Core {
            cpus,
            node: node.map_or(0, |(node, _)| *node),
            // Some machines say -1.
            package: word(tree, &package)
                .and_then(|it| it.parse().ok())
                .unwrap_or(0),
            l2: cache(tree, cpu, 2),
            l3: cache(tree, cpu, 3),
        });
    }
    cores
}

/// The threads of a CPU's core: under its name since Linux 5.3, or the older one.
fn siblings(tree: &Tree, cpu: usize) -> Option<CpuSet> {
    let file = |name| format!("{CPU_DIR}/cpu{cpu}/topology/{name}");
    let text = word(tree, &file("core_cpus_list"));
    let text = text.or_else(|| word(tree, &file("thread_siblings_list")));
    CpuSet::from_list(&text?)
}

/// The CPUs that share a CPU's cache of this level.
fn cache(tree: &Tree, cpu: usize, level: u32) -> Option<CpuSet> {
    let dir = format!("{CPU_DIR}/cpu{cpu}/cache");
    let level = level.to_string();
    let indexes = tree.names(&dir).ok()?;
    let index = indexes
        .iter()
        .filter(|name| name.starts_with("index"))
        .find(|name| word(tree, &format!("{dir}/{name}/level")).as_ref() == Some(&level))?;
    CpuSet::from_list(&word(tree, &format!("{dir}/{index}/shared_cpu_list"))?)
}

/// Every node with its CPUs.
fn node_lists(tree: &Tree) -> Vec<(usize, CpuSet)> {
    let names = tree.names(NODE_DIR).unwrap_or_default();
    let numbered = names.iter().filter_map(|name| {
        let node: usize = name.strip_prefix("node")?.parse().ok()?;
        let list = word(tree, &format!("{NODE_DIR}/{name}/cpulist"))?;
        Some((node, CpuSet::from_list(&list)?))
    });
    numbered.collect()
}

/// Whether a process of this name is there.
fn runs(tree: &Tree, command: &str) -> bool {
    let names = tree.names("/proc").unwrap_or_default();
    let mut processes = names
        .iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    processes.any(|pid| word(tree, &format!("/proc/{pid}/comm")).as_deref() == Some(command))
}

/// A file's text without space around it; `None` when it is empty or cannot be read.
pub(super) fn word(tree: &Tree, name: &str) -> Option<String> {
    let text = tree.text(name, TUNE_FILE_BYTES_MAX).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What follows `start` on the line that begins with it.
pub(super) fn line(tree: &Tree, name: &str, start: &str) -> Option<String> {
    let text = tree.text(name, TUNE_FILE_BYTES_MAX).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(start).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tune::testing::tree_of;

    #[test]
    fn a_machine_that_says_little_is_read_all_the_same() {
        let (_dir, tree) = tree_of(&[("/sys/devices/system/cpu/online", "0,2-3\n")]);
        let topology = Topology::read(&tree).unwrap();
        assert_eq!(topology.online().to_string(), "0,2-3");
        assert_eq!(topology.cores.len(), 3);
        assert_eq!(topology.nodes(), [0]);
        assert!(!topology.has_smt() && !topology.irqbalance);
        assert_eq!((topology.memory_kib, topology.smt), (0, None));
    }

    #[test]
    fn siblings_that_are_offline_do_not_count() {
        let (_dir, tree) = tree_of(&[
            ("/sys/devices/system/cpu/online", "0-2\n"),
            (
                "/sys/devices/system/cpu/cpu0/topology/core_cpus_list",
                "0,2\n",
            ),
            (
                "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
                "1,3\n",
            ),
            (
                "/sys/devices/system/cpu/cpu1/topology/physical_package_id",
                "-1\n",
            ),
            ("/sys/devices/system/node/node0/cpulist", "0,2\n"),
            ("/sys/devices/system/node/node1/cpulist", "1,3\n"),
            ("/proc/77/comm", "irqbalance\n"),
        ]);
        let topology = Topology::read(&tree).unwrap();
        let cores: Vec<_> = topology
            .cores
            .iter()
            .map(|core| core.cpus.to_string())
            .collect();
        assert_eq!(cores, ["0,2", "1"]);
        assert_eq!(topology.nodes(), [0, 1]);
        assert_eq!(topology.node_cpus(1).to_string(), "1");
        assert!(topology.irqbalance);
    }

    #[test]
    fn a_directory_that_is_no_system_is_refused() {
        for files in [&[][..], &[("/sys/devices/system/cpu/online", "x\n")]] {
            let (_dir, tree) = tree_of(files);
            assert!(Topology::read(&tree).is_err());
        }
        assert!(Tree::open(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn this_machine() {
        let topology = Topology::read(&Tree::open(Path::new("/")).unwrap()).unwrap();
        assert!(!topology.online().is_empty());
        assert!(topology.memory_kib > 0);
    }
}
