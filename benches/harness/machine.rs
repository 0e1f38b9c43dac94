//! What a figure was measured on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::Serialize;

/// A machine's fingerprint, and the moment.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// Processor model.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Whether a hypervisor says that it is there.
    pub virtual_machine: bool,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Frequency governor of core 0; `none` where there is no frequency control.
    pub governor: String,
    /// Transparent huge pages: the setting in brackets.
    pub huge_pages: String,
    /// What ran beside this when it began: the load of the last minute.
    pub load_1min: f64,
    /// The revision that was measured; `+` when the tree had changes.
    pub revision: String,
    /// The exact command.
    pub command: String,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Self {
        let cpuinfo = key_values("/proc/cpuinfo");
        let flags = cpuinfo.get("flags").cloned().unwrap_or_default();
        let memory = key_values("/proc/meminfo");
        let memory_kib = memory
            .get("MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let changed = output(
            "git",
            &["status", "--porcelain", "src", "Cargo.toml", "Cargo.lock"],
        );
        let revision = output("git", &["rev-parse", "--short", "HEAD"]);
        Self {
            date: output("date", &["-u", "+%F"]),
            cpu: cpuinfo.get("model name").cloned().unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            memory_mib: memory_kib.unwrap_or(0) / 1024,
            kernel: text("/proc/sys/kernel/osrelease"),
            governor: match text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
                none if none.is_empty() => "none".into(),
                governor => governor,
            },
            huge_pages: text("/sys/kernel/mm/transparent_hugepage/enabled"),
            load_1min: load_1min(),
            revision: format!("{revision}{}", if changed.is_empty() { "" } else { "+" }),
            command: std::env::args().skip(1).fold(
                format!("cargo bench --bench {} --", env!("CARGO_CRATE_NAME")),
                |line, argument| match argument.as_str() {
                    "--bench" => line,
                    _ => format!("{line} {argument}"),
                },
            ),
        }
    }

    /// The machine as part of a directory's name.
    pub fn kind(&self) -> String {
        let words = format!("{} core {}", self.cores, self.cpu);
        let mut kind = String::new();
        for word in words.split(|c: char| !c.is_ascii_alphanumeric()) {
            if !word.is_empty() {
                if !kind.is_empty() {
                    kind.push('-');
                }
                kind.push_str(&word.to_ascii_lowercase());
            }
        }
        kind + if self.virtual_machine { "-vm" } else { "" }
    }

    /// One line each, for people.
    pub fn lines(&self) -> String {
        let kind = if self.virtual_machine {
            ", virtual machine"
        } else {
            ""
        };
        format!(
            "{} · {} · {} cores{kind} · {} MiB · Linux {} · governor {} · THP {} · load {:.2} · {}\n`{}`",
            self.date,
            self.cpu,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.governor,
            self.huge_pages,
            self.load_1min,
            self.revision,
            self.command.trim_end_matches(" --"),
        )
    }
}

/// Waits until the machine has been quiet for a moment, or says that it is not.
pub fn warn_if_busy() {
    let load = load_1min();
    if load > 0.7 {
        eprintln!(
            "warning: the load is {load:.2}: something else runs here, and the figures are its too"
        );
    }
}

fn load_1min() -> f64 {
    text("/proc/loadavg")
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}

fn text(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn key_values(path: &str) -> BTreeMap<String, String> {
    text(path)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(super::root())
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
