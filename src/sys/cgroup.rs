//! Control groups, version 2: limits for all processes of a cell together.
//!
//! ```text
//! own group (delegated)           where skep was started
//! └─ skep-4711                    one for each running skep, by its supervisor's process id
//!    ├─ main                      supervisor, broker, front, compile jobs
//!    ├─ cell-default              the workers of that cell
//!    └─ cell-gold                 memory.max, memory.swap.max, cpu.max, pids.max
//! ```
//!
//! A group that hands controllers down can hold no process itself (the kernel's "no internal
//! processes" rule), hence `main`; and so the group where skep is started has to be skep's alone.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::support::Support;

/// What a cell is limited by.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// What one group may use; `None`: as much as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Memory of all its processes, in bytes. They never swap.
    pub memory_max_bytes: Option<u64>,
    /// CPU time of all its processes in each period, in microseconds.
    pub cpu_quota_us: Option<u64>,
    /// The period, in microseconds: 1,000 to 1,000,000.
    pub cpu_period_us: u64,
    /// Threads of all its processes.
    pub tasks_max: u64,
}

/// The groups of this skep. Removed when dropped, as far as they are empty.
#[derive(Debug)]
pub struct Groups {
    own: PathBuf,
    root: PathBuf,
    /// Controllers that the own group did not hand down before.
    added: Vec<&'static str>,
}

/// Whether this process can limit others, were it started as it is.
pub fn status() -> Support {
    own_group()
        .and_then(|own| check(&own))
        .err()
        .unwrap_or(Support::Possible)
}

/// The directory of the group that this process is in.
fn own_group() -> Result<PathBuf, Support> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    find(&read("/proc/self/mounts"), &read("/proc/self/cgroup"))
}

fn find(mounts: &str, groups: &str) -> Result<PathBuf, Support> {
    let mut mounts = mounts.lines().map(|line| line.split(' '));
    let mount = mounts.find_map(|mut words| {
        let place = words.nth(1)?;
        (words.next() == Some("cgroup2")).then_some(place)
    });
    let Some(mount) = mount else {
        let remedy = "mount -t cgroup2 none /sys/fs/cgroup";
        return Err(Support::impossible("cgroup v2 is not mounted", remedy));
    };
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(own) = own.filter(|own| !own.split('/').any(|part| part == "..")) else {
        return Err(Support::impossible(
            "this process's cgroup v2 group is not visible here",
            "start skep in the host's cgroup namespace, or mount cgroup v2 in its own",
        ));
    };
    Ok(Path::new(mount).join(own))
}

fn check(own: &Path) -> Result<(), Support> {
    const DELEGATE: &str = "delegate a group to skep (systemd: Delegate=yes)";
    let shown = own.display();
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
    let has = |wanted: &&str| controllers.split_whitespace().any(|one| one == *wanted);
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|it| !has(it)).collect();
    if !missing.is_empty() {
        let reason = format!("{shown} has no {} controller", missing.join(", "));
        let remedy = format!("boot with cgroup_no_v1=all if cgroup v1 has them, and {DELEGATE}");
        return Err(Support::impossible(reason, remedy));
    }
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        let path = own.join(file);
        if let Err(error) = access(&path, AccessFlags::W_OK) {
            let reason = format!("{}: {}", path.display(), error.desc());
            return Err(Support::impossible(
                reason,
                format!("run as root, or {DELEGATE}"),
            ));
        }
    }
    // The root group of the system may hold processes and hand controllers down.
    let is_root = !own.join("cgroup.type").exists();
    let processes = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    let this = std::process::id().to_string();
    let others = processes.lines().filter(|pid| *pid != this).count();
    if !is_root && others > 0 {
        return Err(Support::impossible(
            format!("{others} other processes are in {shown}"),
            "start skep in a group of its own: as a service, or by systemd-run -p Delegate=yes",
        ));
    }
    Ok(())
}

impl Groups {
    /// Makes this skep's groups, and moves this process into one of them.
    ///
    /// # Errors
    /// Why they cannot be had, and what would help.
    pub fn new() -> Result<Groups, Support> {
        let own = own_group()?;
        check(&own)?;
        remove_stale(&own);
        let refused = |error: io::Error| {
            let remedy = "start skep in a group of its own (systemd: Delegate=yes)";
            Support::impossible(format!("{}: {error}", own.display()), remedy)
        };
        Groups::below(&own, std::process::id()).map_err(refused)
    }

    fn below(own: &Path, pid: u32) -> io::Result<Groups> {
        let before = fs::read_to_string(own.join("cgroup.subtree_control"))?;
        let is_new = |it: &&str| !before.split_whitespace().any(|one| one == *it);
        // From here on it cleans up after itself.
        let groups = Groups {
            own: own.to_owned(),
            root: own.join(format!("skep-{pid}")),
            added: CONTROLLERS.into_iter().filter(is_new).collect(),
        };
        let main = groups.root.join("main");
        fs::create_dir_all(&main)?;
        enter(&main, pid)?;
        hand_down(own, '+', &CONTROLLERS)?;
        hand_down(&groups.root, '+', &CONTROLLERS)?;
        Ok(groups)
    }

    /// Makes a cell's group, or changes the limits of the one there is.
    ///
    /// # Errors
    /// When the kernel refuses a limit.
    pub fn limit(&self, cell: &str, limits: &GroupLimits) -> io::Result<()> {
        let group = self.cell(cell);
        fs::create_dir_all(&group)?;
        let or_max = |number: Option<u64>| number.map_or("max".to_owned(), |it| it.to_string());
        let quota = or_max(limits.cpu_quota_us);
        for (file, value) in [
            ("memory.max", or_max(limits.memory_max_bytes)),
            ("cpu.max", format!("{quota} {}", limits.cpu_period_us)),
            ("pids.max", limits.tasks_max.to_string()),
        ] {
            write(&group, file, &value)?;
        }
        // Absent where the kernel does not account for swap.
        if group.join("memory.swap.max").exists() {
            write(&group, "memory.swap.max", "0")?;
        }
        Ok(())
    }

    /// Moves a process into a cell's group. What it has allocated before stays where it was counted.
    ///
    /// # Errors
    /// When there is no such group or no such process.
    pub fn enter(&self, cell: &str, pid: u32) -> io::Result<()> {
        enter(&self.cell(cell), pid)
    }

    /// Removes a cell's group; one that is not empty stays until the end.
    pub fn remove(&self, cell: &str) {
        let _ = fs::remove_dir(self.cell(cell));
    }

    fn cell(&self, cell: &str) -> PathBuf {
        self.root.join(format!("cell-{cell}"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // What cannot be undone is removed by the next skep that is started here.
        remove_children(&self.root);
        let _ = hand_down(&self.root, '-', &CONTROLLERS);
        let _ = hand_down(&self.own, '-', &self.added);
        let _ = enter(&self.own, std::process::id());
        remove_tree(&self.root);
    }
}

/// Has a group hand controllers down to those below it (`+`), or not any more (`-`).
fn hand_down(group: &Path, sign: char, controllers: &[&str]) -> io::Result<()> {
    let signed: Vec<String> = controllers.iter().map(|it| format!("{sign}{it}")).collect();
    write(group, "cgroup.subtree_control", &signed.join(" "))
}

fn write(group: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = group.join(file);
    fs::write(&path, value).map_err(|error| {
        let text = format!("writing {value:?} to {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn enter(group: &Path, pid: u32) -> io::Result<()> {
    write(group, "cgroup.procs", &pid.to_string())
}

/// Removes the groups of skeps that were killed: those that hold no process.
fn remove_stale(own: &Path) {
    let entries = fs::read_dir(own).into_iter().flatten().flatten();
    for group in entries.filter(|entry| is_ours(&entry.file_name().to_string_lossy())) {
        let events = fs::read_to_string(group.path().join("cgroup.events"));
        if events.is_ok_and(|events| events.lines().any(|line| line == "populated 0")) {
            remove_tree(&group.path());
        }
    }
}

fn is_ours(name: &str) -> bool {
    let pid = name.strip_prefix("skep-").unwrap_or_default();
    !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())
}

/// A group is removed like a directory, although the kernel's files are in it.
fn remove_tree(group: &Path) {
    remove_children(group);
    let _ = fs::remove_dir(group);
}

fn remove_children(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // One that still holds a process stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(support: Support) -> String {
        match support {
            Support::Impossible { reason, .. } => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_own_group_is_found_in_any_mount() {
        let v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        let hybrid = format!("{v1}none /sys/fs/cgroup/unified cgroup2 rw 0 0\n");
        let cases = [
            ("", "0::/\n", Err("cgroup v2 is not mounted")),
            (v1, "0::/\n", Err("cgroup v2 is not mounted")),
            (
                &hybrid,
                "4:memory:/x\n0::/\n",
                Ok("/sys/fs/cgroup/unified/"),
            ),
            (
                &hybrid,
                "0::/a.slice/b.service\n",
                Ok("/sys/fs/cgroup/unified/a.slice/b.service"),
            ),
            (
                &hybrid,
                "4:memory:/x\n",
                Err("this process's cgroup v2 group is not visible here"),
            ),
            (
                &hybrid,
                "0::/../x\n",
                Err("this process's cgroup v2 group is not visible here"),
            ),
        ];
        for (mounts, groups, expected) in cases {
            let found = find(mounts, groups).map_err(reason);
            let expected = expected.map(PathBuf::from).map_err(str::to_owned);
            assert_eq!(found, expected, "{mounts:?} {groups:?}");
        }
    }

    /// A directory that looks like a group with these controllers and processes.
    fn group(controllers: &str, processes: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.procs", processes),
            ("cgroup.subtree_control", ""),
            ("cgroup.type", "domain\n"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_group_needs_controllers_and_nobody_else_in_it() {
        let this = format!("{}\n", std::process::id());
        let shared = format!("1\n{this}2\n");
        let all = "cpuset cpu io memory pids\n";
        let cases = [
            (all, this.as_str(), ""),
            ("", this.as_str(), "has no cpu, memory, pids controller"),
            ("cpu pids\n", this.as_str(), "has no memory controller"),
            (all, shared.as_str(), "2 other processes are in"),
        ];
        for (controllers, processes, expected) in cases {
            let dir = group(controllers, processes);
            let why = check(dir.path()).map_err(reason).err().unwrap_or_default();
            let is_expected = match expected.is_empty() {
                true => why.is_empty(),
                false => why.contains(expected),
            };
            assert!(is_expected, "{controllers:?} {processes:?}: {why}");
        }
        let root = group(all, &shared);
        fs::remove_file(root.path().join("cgroup.type")).unwrap();
        assert_eq!(check(root.path()), Ok(()));
    }

    #[test]
    fn limits_are_written_where_the_kernel_reads_them() {
        let dir = group("cpu memory pids\n", "");
        let groups = Groups::below(dir.path(), 4711).unwrap();
        let limits = GroupLimits {
            memory_max_bytes: Some(1 << 30),
            cpu_quota_us: Some(5_000),
            cpu_period_us: 10_000,
            tasks_max: 128,
        };
        groups.limit("gold", &limits).unwrap();
        groups.enter("gold", 17).unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!(read("skep-4711/main/cgroup.procs"), "4711");
        assert_eq!(read("cgroup.subtree_control"), "+cpu +memory +pids");
        assert_eq!(
            read("skep-4711/cgroup.subtree_control"),
            "+cpu +memory +pids"
        );
        assert_eq!(read("skep-4711/cell-gold/memory.max"), "1073741824");
        assert_eq!(read("skep-4711/cell-gold/cpu.max"), "5000 10000");
        assert_eq!(read("skep-4711/cell-gold/pids.max"), "128");
        assert_eq!(read("skep-4711/cell-gold/cgroup.procs"), "17");
        let unlimited = GroupLimits {
            memory_max_bytes: None,
            cpu_quota_us: None,
            ..limits
        };
        groups.limit("gold", &unlimited).unwrap();
        assert_eq!(read("skep-4711/cell-gold/memory.max"), "max");
        assert_eq!(read("skep-4711/cell-gold/cpu.max"), "max 10000");
    }

    #[test]
    fn only_empty_groups_of_skep_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        for (name, events) in [
            ("skep-1", "populated 0\nfrozen 0\n"),
            ("skep-2", "populated 1\nfrozen 0\n"),
            ("skep-x", "populated 0\nfrozen 0\n"),
            ("other-3", "populated 0\nfrozen 0\n"),
        ] {
            fs::create_dir_all(dir.path().join(name).join("cell-gold")).unwrap();
            fs::write(dir.path().join(name).join("cgroup.events"), events).unwrap();
        }
        remove_stale(dir.path());
        let left = |name: &str| dir.path().join(name).join("cell-gold").exists();
        let names = ["skep-1", "skep-2", "skep-x", "other-3"];
        assert_eq!(names.map(left), [false, true, true, true]);
    }
}
