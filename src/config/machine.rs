//! What configuration needs to know of the machine it is checked on.

use std::path::{Path, PathBuf};

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use super::CpuSet;

/// The machine's cores, by the kernel's numbers, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that are online.
    pub online: Vec<usize>,
    /// Cores that this process may run on.
    pub allowed: Vec<usize>,
}

impl Machine {
    /// This machine. Where the kernel does not say, cores are counted from 0.
    pub fn here() -> Machine {
        let counted = || (0..std::thread::available_parallelism().map_or(1, usize::from)).collect();
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online")
            .ok()
            .and_then(|text| parse_core_list(&text))
            .unwrap_or_else(counted);
        let allowed = allowed().unwrap_or_else(|| online.clone());
        Machine { online, allowed }
    }
}

/// The calling thread's affinity mask (sched_getaffinity(2)).
fn allowed() -> Option<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let cores: Vec<usize> = (0..nix::sched::CpuSet::count())
        .filter(|core| set.is_set(*core).unwrap_or(false))
        .collect();
    (!cores.is_empty()).then_some(cores)
}

/// The cores of a list that names at least one.
fn parse_core_list(text: &str) -> Option<Vec<usize>> {
    let cores: Vec<_> = CpuSet::from_list(text)?.iter().collect();
    (!cores.is_empty()).then_some(cores)
}

/// Where artifacts are kept by default: `$XDG_CACHE_HOME/skep`, else `$HOME/.cache/skep`, else
/// `/var/lib/skep`. Relative values are ignored, as the XDG base directory specification says.
pub(super) fn default_artifacts_dir() -> PathBuf {
    artifacts_dir_from(|name| std::env::var_os(name).map(PathBuf::from))
}

/// Where stores are kept by default: `$XDG_DATA_HOME/skep`, else `$HOME/.local/share/skep`, else
/// `/var/lib/skep/data`.
pub(super) fn default_data_dir() -> PathBuf {
    data_dir_from(|name| std::env::var_os(name).map(PathBuf::from))
}

fn data_dir_from(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/share"));
    let base = absolute("XDG_DATA_HOME").or_else(home);
    base.map_or_else(
        || Path::new("/var/lib/skep/data").to_owned(),
        |base| base.join("skep"),
    )
}

fn artifacts_dir_from(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| Path::new("/var/lib").to_owned())
        .join("skep")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists() {
        let cases = [
            ("0", Some(vec![0])),
            ("0-3", Some(vec![0, 1, 2, 3])),
            ("0,2-3,8", Some(vec![0, 2, 3, 8])),
            ("", None),
            ("a-b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_core_list(text), expected, "{text}");
        }
    }

    #[test]
    fn artifacts_directories() {
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], "/c/skep"),
            (&[("HOME", "/h")], "/h/.cache/skep"),
            (&[("XDG_CACHE_HOME", "c"), ("HOME", "")], "/var/lib/skep"),
            (&[], "/var/lib/skep"),
        ];
        for (variables, expected) in cases {
            let lookup = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            assert_eq!(artifacts_dir_from(lookup), Path::new(expected));
        }
    }
}
