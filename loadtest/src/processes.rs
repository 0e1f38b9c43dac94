//! Processes as `/proc` shows them: their times, their children, the cores they may run on.

use std::path::Path;

use crate::cores;
use crate::kernel_files::{field, names, text};
use crate::limits::SERVER_PROCESSES_MAX;

/// Nanoseconds of a tick in `/proc/PID/stat`: `USER_HZ` is 100 on every machine that Rust's Linux
/// targets run on, whatever the kernel's own clock.
pub const TICK_NS: u64 = 10_000_000;

/// One line of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// When it began, in ticks since boot: with the pid it names a process for good.
    pub start_ticks: u64,
    /// Ended, and waits for its parent to notice.
    pub zombie: bool,
    /// CPU time of all its threads, ended ones too, in nanoseconds; up to two ticks too little.
    pub own_ns: u64,
    /// CPU time of the children that it has waited for, and theirs; up to two ticks too little.
    pub reaped_ns: u64,
}

impl Process {
    /// Reads one; none when there is no such process.
    pub fn read(root: &Path, pid: u32) -> Option<Self> {
        let line = text(root, format!("proc/{pid}/stat"))?;
        // The name is in parentheses and may hold any byte; nothing behind it holds a parenthesis.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: u32::try_from(number(1)?).ok()?,
            start_ticks: number(19)?,
            zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
            own_ns: (number(11)?.saturating_add(number(12)?)).saturating_mul(TICK_NS),
            reaped_ns: (number(13)?.saturating_add(number(14)?)).saturating_mul(TICK_NS),
        })
    }
}

/// The threads of a process.
pub fn threads(root: &Path, pid: u32) -> Vec<u32> {
    names(root, format!("proc/{pid}/task"))
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

/// The pids below `roots`, those included, each once; at most [`SERVER_PROCESSES_MAX`].
///
/// Children are read from `/proc/PID/task/TID/children`, which costs only what the tree holds. Where
/// the kernel has no such file (`CONFIG_PROC_CHILDREN`), every process is asked for its parent.
pub fn tree(root: &Path, roots: &[u32]) -> Vec<u32> {
    let mut pids = roots.to_vec();
    let everyone = if has_children_files(root, roots) {
        None
    } else {
        Some(everyone(root))
    };
    let mut at = 0;
    while at < pids.len() && pids.len() < SERVER_PROCESSES_MAX {
        let children = match &everyone {
            None => children(root, pids[at]),
            Some(all) => all
                .iter()
                .filter(|process| process.parent == pids[at])
                .map(|process| process.pid)
                .collect(),
        };
        for child in children {
            if !pids.contains(&child) {
                pids.push(child);
            }
        }
        at += 1;
    }
    pids.truncate(SERVER_PROCESSES_MAX);
    pids
}

fn has_children_files(root: &Path, pids: &[u32]) -> bool {
    pids.iter().any(|pid| {
        root.join(format!("proc/{pid}/task/{pid}/children"))
            .exists()
    })
}

fn children(root: &Path, pid: u32) -> Vec<u32> {
    threads(root, pid)
        .iter()
        .filter_map(|thread| text(root, format!("proc/{pid}/task/{thread}/children")))
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn everyone(root: &Path) -> Vec<Process> {
    names(root, "proc")
        .iter()
        .filter_map(|name| Process::read(root, name.parse().ok()?))
        .collect()
}

/// For each thread of these processes, the cores that it may run on.
pub fn allowed_cores(root: &Path, pids: &[u32]) -> Vec<Vec<usize>> {
    let mut lists = Vec::new();
    for pid in pids {
        for thread in threads(root, *pid) {
            let status = text(root, format!("proc/{pid}/task/{thread}/status")).unwrap_or_default();
            if let Some(Ok(list)) = field(&status, "Cpus_allowed_list").map(cores::parse) {
                lists.push(list);
            }
        }
    }
    lists
}

#[cfg(test)]
pub(crate) mod fake {
    use std::path::Path;

    use crate::kernel_files::fake::write;

    /// Writes a single-threaded process: `state` as in `stat`, times in ticks.
    pub(crate) fn process(root: &Path, pid: u32, parent: u32, state: char, times: [u64; 2]) {
        let [own, reaped] = times;
        write(
            root,
            &format!("proc/{pid}/stat"),
            &format!(
                "{pid} (a ) b) {state} {parent} 1 1 0 -1 0 0 0 0 0 {own} 0 {reaped} 0 20 0 1 0 777 0 0\n"
            ),
        );
        write(root, &format!("proc/{pid}/task/{pid}/comm"), "a ) b\n");
    }

    /// Takes a process away.
    pub(crate) fn remove(root: &Path, pid: u32) {
        std::fs::remove_dir_all(root.join(format!("proc/{pid}"))).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::write;

    #[test]
    fn a_name_with_a_parenthesis_hides_nothing() {
        let root = tempfile::tempdir().unwrap();
        fake::process(root.path(), 7, 3, 'S', [250, 40]);
        let process = Process::read(root.path(), 7).unwrap();
        let expected = Process {
            pid: 7,
            parent: 3,
            start_ticks: 777,
            zombie: false,
            own_ns: 2_500_000_000,
            reaped_ns: 400_000_000,
        };
        assert_eq!(process, expected);
        assert_eq!(Process::read(root.path(), 8), None);
    }

    #[test]
    fn a_tree_is_found_with_and_without_children_files() {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent) in [(10, 1), (11, 10), (12, 11), (13, 1)] {
            fake::process(root.path(), pid, parent, 'S', [0, 0]);
        }
        assert_eq!(tree(root.path(), &[10]), [10, 11, 12]);
        write(root.path(), "proc/10/task/10/children", "11 ");
        write(root.path(), "proc/11/task/11/children", "12 13");
        assert_eq!(tree(root.path(), &[10]), [10, 11, 12, 13]);
    }

    #[test]
    fn this_process_finds_its_own_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("20")
            .spawn()
            .unwrap();
        let pids = tree(Path::new("/"), &[std::process::id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(pids.contains(&child.id()), "{pids:?}");
    }
}
