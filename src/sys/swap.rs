//! Whether this process's memory can be swapped out.
//!
//! Resetting guest memory with `PAGEMAP_SCAN` trusts that a page which is not present was never
//! written; a page that was swapped out breaks that trust.

use std::fs;
use std::path::{Path, PathBuf};

/// Whether memory can be swapped out, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// It can, or nobody can tell.
    pub possible: bool,
    /// Why, for a person: "no swap device" and the like.
    pub reason: String,
}

/// Asks the kernel about this process. What cannot be read counts as swap that is there.
pub fn swap() -> Swap {
    let devices = fs::read_to_string("/proc/swaps").ok();
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok();
    judge(
        devices.as_deref(),
        cgroup.as_deref(),
        Path::new("/sys/fs/cgroup"),
    )
}

fn judge(devices: Option<&str>, cgroup: Option<&str>, root: &Path) -> Swap {
    let Some(devices) = devices else {
        return Swap {
            possible: true,
            reason: "/proc/swaps cannot be read".into(),
        };
    };
    // One header line, then one line for each device.
    let mut names = devices
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    let Some(device) = names.next() else {
        return Swap {
            possible: false,
            reason: "no swap device (/proc/swaps)".into(),
        };
    };
    match cgroup.and_then(|cgroup| unswappable(cgroup, root)) {
        Some(file) => Swap {
            possible: false,
            reason: format!("{} is 0", file.display()),
        },
        None => Swap {
            possible: true,
            reason: format!("{device} is a swap device and memory.swap.max is not 0"),
        },
    }
}

/// The `memory.swap.max` that is 0 on the way from this process's v2 cgroup to the root.
fn unswappable(cgroup: &str, root: &Path) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new(path)
        .ancestors()
        .map(|ancestor| root.join(ancestor).join("memory.swap.max"))
        .find(|file| fs::read_to_string(file).is_ok_and(|max| max.trim() == "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where somebody has arranged this process's swap and cgroup: `tests/qemu/checks/40-swap.sh`.
    #[test]
    #[ignore = "needs a machine with a swap device: tests/qemu/run"]
    fn what_is_expected() {
        let expected = std::env::var("SKEP_EXPECT_SWAP").unwrap();
        let swap = swap();
        let found = if swap.possible {
            "possible"
        } else {
            "impossible"
        };
        assert_eq!(found, expected, "{}", swap.reason);
    }

    #[test]
    fn devices_and_cgroups_decide() {
        let root = std::env::temp_dir().join(format!("swap-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/b/memory.swap.max"), "0\n").unwrap();
        fs::write(root.join("a/memory.swap.max"), "max\n").unwrap();
        let none = "Filename\tType\tSize\n";
        let some = "Filename\tType\tSize\n/swapfile file 1 0 -2\n";
        let cases: [(Option<&str>, Option<&str>, bool); 6] = [
            (None, None, true),
            (Some(none), None, false),
            (Some(some), None, true),
            (Some(some), Some("0::/a\n"), true),
            (Some(some), Some("1:cpu:/x\n0::/a/b\n"), false),
            (Some(some), Some("0::/a/b/c\n"), false),
        ];
        for (devices, cgroup, possible) in cases {
            let swap = judge(devices, cgroup, &root);
            assert_eq!(
                swap.possible, possible,
                "{devices:?} {cgroup:?}: {}",
                swap.reason
            );
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
