//! The layers of isolation by name, and what a process has of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that the kernel takes from a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// `user_namespaces(7)`: its user and its capabilities mean nothing outside.
    Userns,
    /// `pid_namespaces(7)`: it sees no other process.
    Pidns,
    /// `network_namespaces(7)`: it has no interface, no route and no abstract socket of others.
    Netns,
    /// `ipc_namespaces(7)`: no System V IPC or POSIX queue of others.
    Ipcns,
    /// `uts_namespaces(7)`: the host's name is not its to change.
    Utsns,
    /// `mount_namespaces(7)` and an empty root: there is no file to open.
    Root,
    /// `capabilities(7)`: none, and none to gain (`no_new_privs`).
    Capabilities,
    /// `landlock(7)`: no file, no TCP port, no signal and no abstract socket outside.
    Landlock,
    /// `io_uring_register(2)`, `IORING_REGISTER_RESTRICTIONS`: a literal list of opcodes.
    Ring,
    /// `seccomp(2)`: a literal list of system calls.
    Seccomp,
    /// `PR_SET_DUMPABLE` 0: no core dump, and no other process of its user looks into it.
    Undumpable,
    /// `cgroups(7)`, version 2: limits of memory, processor time and processes for each cell.
    Cgroup,
    /// `PR_SCHED_CORE`: no other cell on a sibling hardware thread.
    CoreScheduling,
}

impl Layer {
    /// All of them, in the order they are applied.
    pub const ALL: [Self; 13] = [
        Self::Cgroup,
        Self::CoreScheduling,
        Self::Pidns,
        Self::Userns,
        Self::Netns,
        Self::Ipcns,
        Self::Utsns,
        Self::Root,
        Self::Landlock,
        Self::Capabilities,
        Self::Ring,
        Self::Undumpable,
        Self::Seccomp,
    ];

    /// Its name in `isolation.require` and in `skep doctor`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Userns => "userns",
            Self::Pidns => "pidns",
            Self::Netns => "netns",
            Self::Ipcns => "ipcns",
            Self::Utsns => "utsns",
            Self::Root => "root",
            Self::Capabilities => "capabilities",
            Self::Landlock => "landlock",
            Self::Ring => "ring",
            Self::Seccomp => "seccomp",
            Self::Undumpable => "undumpable",
            Self::Cgroup => "cgroup",
            Self::CoreScheduling => "core-scheduling",
        }
    }

    /// The layer of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }

    /// What it takes from a process, in one line.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Userns => "its user and capabilities mean nothing outside",
            Self::Pidns => "it sees no other process",
            Self::Netns => "it has no network interface and no route",
            Self::Ipcns => "it shares no System V IPC and no POSIX queue",
            Self::Utsns => "it cannot change the host's name",
            Self::Root => "its root directory is empty",
            Self::Capabilities => "it has no capability and cannot gain one",
            Self::Landlock => "no file, TCP port, signal or abstract socket outside",
            Self::Ring => "its ring runs listed operations only",
            Self::Seccomp => "listed system calls only",
            Self::Undumpable => "no core dump; others of its user cannot trace it",
            Self::Cgroup => "limits of memory and processor time for each cell",
            Self::CoreScheduling => "no other cell on a sibling hardware thread",
        }
    }

    /// What to do where it is missing.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Userns => {
                "allow user namespaces: sysctl user.max_user_namespaces above 0, \
                 kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Self::Pidns => "start skep as root, or with CAP_SYS_ADMIN",
            Self::Netns | Self::Ipcns | Self::Utsns | Self::Root => {
                "start skep as root, or allow user namespaces (see userns); in a container, allow \
                 unshare(2) and mount(2)"
            }
            Self::Capabilities => {
                "let the service manager give CAP_SETPCAP, or no capability at all"
            }
            Self::Landlock => "Linux 5.13 or later with `landlock` in the lsm= list",
            Self::Ring => "Linux 5.10 or later, with kernel.io_uring_disabled at most 1",
            Self::Seccomp => "a kernel with CONFIG_SECCOMP_FILTER",
            Self::Undumpable => "let the process call prctl(2)",
            Self::Cgroup => {
                "mount cgroup v2 with the memory, cpu and pids controllers and delegate a group to \
                 skep (systemd: Delegate=yes)"
            }
            Self::CoreScheduling => {
                "a kernel with CONFIG_SCHED_CORE; not needed where simultaneous multithreading is off"
            }
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a process has a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "why")]
pub enum State {
    /// It is in force; of what quality, where that differs between kernels.
    On(String),
    /// It is not, and need not be: what it takes away is not there, or another layer takes it. Why.
    Off(String),
    /// This host does not give it; why not.
    Impossible(String),
}

impl State {
    /// In force, nothing to add.
    pub fn on() -> Self {
        Self::On(String::new())
    }

    /// From a step that either worked or said why not.
    pub fn of<E: fmt::Display>(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::on(),
            Err(error) => Self::Impossible(error.to_string()),
        }
    }

    /// Whether it is in force.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// The reason or the quality; may be empty.
    pub fn why(&self) -> &str {
        match self {
            Self::On(why) | Self::Off(why) | Self::Impossible(why) => why,
        }
    }

    /// `on`, `off` or `impossible`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::On(_) => "on",
            Self::Off(_) => "off",
            Self::Impossible(_) => "impossible",
        }
    }
}

/// What one process has of each layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    layers: Vec<(Layer, State)>,
}

impl Report {
    /// Notes a layer's state; a later note of the same layer replaces it.
    pub fn note(&mut self, layer: Layer, state: State) {
        match self.layers.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, known)) => *known = state,
            None => self.layers.push((layer, state)),
        }
    }

    /// The state of a layer, where it was noted.
    pub fn state(&self, layer: Layer) -> Option<&State> {
        let found = self.layers.iter().find(|(known, _)| *known == layer);
        found.map(|(_, state)| state)
    }

    /// Every layer that was noted, in the order of [`Layer::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Layer, &State)> {
        Layer::ALL
            .into_iter()
            .filter_map(|layer| self.state(layer).map(|state| (layer, state)))
    }

    /// The layers that are in force, and those that are not with their reasons: one line.
    pub fn line(&self) -> String {
        let on: Vec<_> = self.iter().filter(|(_, state)| state.is_on()).collect();
        let on: Vec<_> = on.iter().map(|(layer, _)| layer.name()).collect();
        let off: Vec<_> = self
            .iter()
            .filter(|(_, state)| !state.is_on())
            .map(|(layer, state)| format!("{layer} ({})", state.why()))
            .collect();
        let on = if on.is_empty() {
            "nothing".into()
        } else {
            on.join(", ")
        };
        if off.is_empty() {
            on
        } else {
            format!("{on}; without {}", off.join(", "))
        }
    }

    /// Checks that everything required is in force or not needed; layers that are another process's to
    /// apply were not noted and are not missed.
    ///
    /// # Errors
    /// One line that names each missing layer, its reason and its remedy.
    pub fn require(&self, required: &[Layer]) -> Result<(), String> {
        let missing: Vec<String> = self
            .iter()
            .filter(|(layer, state)| required.contains(layer) && !state.is_on())
            .filter(|(_, state)| !matches!(state, State::Off(_)))
            .map(|(layer, state)| format!("{layer}: {} ({})", state.why(), layer.remedy()))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "isolation.require is not met: {}",
                missing.join("; ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for layer in Layer::ALL {
            assert_eq!(Layer::named(layer.name()), Some(layer));
            let json = serde_json::to_string(&layer).unwrap();
            assert_eq!(json, format!("\"{layer}\""));
        }
        assert_eq!(Layer::named("ebpf"), None);
    }

    #[test]
    fn what_is_required_and_missing_is_said_with_its_remedy() {
        let mut report = Report::default();
        report.note(Layer::Seccomp, State::on());
        report.note(
            Layer::Landlock,
            State::Impossible("the kernel has none".into()),
        );
        assert_eq!(report.require(&[Layer::Seccomp, Layer::Cgroup]), Ok(()));
        let refused = report.require(&[Layer::Landlock]).unwrap_err();
        assert!(
            refused.contains("landlock: the kernel has none (Linux 5.13"),
            "{refused}"
        );
        assert_eq!(
            report.line(),
            "seccomp; without landlock (the kernel has none)"
        );
        report.note(Layer::Landlock, State::on());
        assert_eq!(report.require(&[Layer::Landlock]), Ok(()));
    }
}
