//! The machine that a search runs on, for the record.

use std::path::Path;

use super::evidence::Machine;
use crate::sys::tree::Tree;
use crate::tune::topology::{self, Topology};

/// Reads it; what cannot be read stays empty.
pub fn read() -> Machine {
    Tree::open(Path::new("/"))
        .ok()
        .and_then(|tree| of(&tree))
        .unwrap_or_default()
}

fn of(tree: &Tree) -> Option<Machine> {
    let topology = Topology::read(tree).ok()?;
    let cpu = topology::line(tree, "/proc/cpuinfo", "model name");
    let cpu = cpu.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    Some(Machine {
        cpu: cpu.unwrap_or_else(|| "unknown CPU".to_owned()),
        cpus: topology.online().iter().count(),
        memory_kib: topology.memory_kib,
        kernel: topology.kernel,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::testing::tree_of;

    #[test]
    fn a_machine_in_a_line() {
        let (_dir, tree) = tree_of(&[
            ("/sys/devices/system/cpu/online", "0-1\n"),
            (
                "/proc/cpuinfo",
                "processor\t: 0\nmodel name\t: AMD EPYC 9R14\n",
            ),
            ("/proc/meminfo", "MemTotal:       4194304 kB\n"),
            ("/proc/sys/kernel/osrelease", "6.8.0\n"),
        ]);
        let line = crate::tune::search::report::machine(&of(&tree).unwrap());
        assert_eq!(line, "AMD EPYC 9R14, 2 CPUs, 4096 MiB, Linux 6.8.0");
    }
}
