//! The machine that a run was measured on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cores;
use crate::kernel_files::{field, field_kb, names, text};

/// What identifies a machine to someone who compares figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The CPU's own name.
    pub cpu: String,
    /// Cores online.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the hypervisor, when there is one.
    pub hypervisor: Option<String>,
    /// Governor of core 0, when the kernel scales frequencies.
    pub governor: Option<String>,
    /// Whether SMT is active.
    pub smt: Option<bool>,
    /// Mitigations of CPU weaknesses: name and what the kernel says.
    pub mitigations: Vec<(String, String)>,
}

const CPU: &str = "sys/devices/system/cpu";

impl Fingerprint {
    /// Reads the machine below `root`, which is `/` but for tests. What cannot be read stays empty.
    pub fn read(root: &Path) -> Self {
        let cpuinfo = text(root, "proc/cpuinfo").unwrap_or_default();
        Self {
            cpu: cpu_name(&cpuinfo),
            cores: cores_online(root, &cpuinfo),
            memory_bytes: text(root, "proc/meminfo")
                .and_then(|meminfo| field_kb(&meminfo, "MemTotal"))
                .unwrap_or(0),
            kernel: text(root, "proc/sys/kernel/osrelease").unwrap_or_default(),
            hypervisor: hypervisor(root, &cpuinfo),
            governor: text(root, format!("{CPU}/cpu0/cpufreq/scaling_governor")),
            smt: text(root, format!("{CPU}/smt/active")).map(|active| active == "1"),
            mitigations: mitigations(root),
        }
    }
}

fn cores_online(root: &Path, cpuinfo: &str) -> usize {
    text(root, format!("{CPU}/online"))
        .and_then(|list| cores::parse(&list).ok())
        .map_or_else(
            || {
                cpuinfo
                    .lines()
                    .filter(|line| line.starts_with("processor"))
                    .count()
            },
            |online| online.len(),
        )
}

/// x86 spells `model name`; 64-bit ARM gives only the numbers of the implementer and the part.
fn cpu_name(cpuinfo: &str) -> String {
    if let Some(name) = field(cpuinfo, "model name") {
        return name.to_owned();
    }
    if let (Some(implementer), Some(part)) = (
        field(cpuinfo, "CPU implementer"),
        field(cpuinfo, "CPU part"),
    ) {
        return arm_name(implementer, part);
    }
    ["cpu", "Hardware", "Processor"]
        .iter()
        .find_map(|key| field(cpuinfo, key))
        .unwrap_or("unknown")
        .to_owned()
}

/// Names of server cores, from the kernel's `arch/arm64/include/asm/cputype.h`.
fn arm_name(implementer: &str, part: &str) -> String {
    let name = match (implementer, part) {
        ("0x41", "0xd08") => "ARM Cortex-A72",
        ("0x41", "0xd0b") => "ARM Cortex-A76",
        ("0x41", "0xd0c") => "ARM Neoverse N1",
        ("0x41", "0xd40") => "ARM Neoverse V1",
        ("0x41", "0xd49") => "ARM Neoverse N2",
        ("0x41", "0xd4f") => "ARM Neoverse V2",
        ("0x41", "0xd84") => "ARM Neoverse V3",
        ("0x41", "0xd8e") => "ARM Neoverse N3",
        ("0xc0", "0xac3") => "Ampere AmpereOne",
        ("0xc0", "0xac4") => "Ampere AmpereOne A",
        _ => return format!("ARM implementer {implementer} part {part}"),
    };
    name.to_owned()
}

/// A Xen guest says so below `/sys/hypervisor`; KVM on ARM in the device tree; on x86 every
/// hypervisor sets a CPU flag, and most name themselves as the product.
fn hypervisor(root: &Path, cpuinfo: &str) -> Option<String> {
    let named = |path| text(root, path).filter(|name| !name.is_empty());
    if let Some(kind) = named("sys/hypervisor/type") {
        return Some(kind);
    }
    let product = named("sys/devices/virtual/dmi/id/product_name");
    let flagged = field(cpuinfo, "flags")
        .is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"));
    if flagged || product.as_deref().is_some_and(is_virtual_product) {
        return Some(product.unwrap_or_else(|| "unnamed".to_owned()));
    }
    named("proc/device-tree/hypervisor/compatible").map(|name| name.replace('\0', ""))
}

/// Product names that only virtual machines have; needed where no CPU flag exists, as on ARM.
fn is_virtual_product(product: &str) -> bool {
    [
        "KVM",
        "QEMU",
        "Virtual Machine",
        "VMware",
        "VirtualBox",
        "Google Compute Engine",
        "HVM domU",
        "OpenStack",
        "Bochs",
    ]
    .iter()
    .any(|known| product.contains(known))
}

fn mitigations(root: &Path) -> Vec<(String, String)> {
    let directory = format!("{CPU}/vulnerabilities");
    names(root, &directory)
        .into_iter()
        .filter_map(|name| {
            let state = text(root, format!("{directory}/{name}"))?;
            Some((name, state))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake;

    #[test]
    fn an_x86_guest() {
        let tree = fake::tree(&[
            (
                "proc/cpuinfo",
                "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu hypervisor sse\n",
            ),
            ("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            ("proc/sys/kernel/osrelease", "6.8.0-45-generic\n"),
            ("sys/devices/system/cpu/online", "0-3,8\n"),
            ("sys/devices/system/cpu/smt/active", "1\n"),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave\n",
            ),
            (
                "sys/devices/system/cpu/vulnerabilities/meltdown",
                "Not affected\n",
            ),
            (
                "sys/devices/system/cpu/vulnerabilities/l1tf",
                "Mitigation: PTE Inversion\n",
            ),
            ("sys/devices/virtual/dmi/id/product_name", "m7a.xlarge\n"),
        ]);
        let expected = Fingerprint {
            cpu: "AMD EPYC 9R14".into(),
            cores: 5,
            memory_bytes: 16 << 20,
            kernel: "6.8.0-45-generic".into(),
            hypervisor: Some("m7a.xlarge".into()),
            governor: Some("powersave".into()),
            smt: Some(true),
            mitigations: vec![
                ("l1tf".into(), "Mitigation: PTE Inversion".into()),
                ("meltdown".into(), "Not affected".into()),
            ],
        };
        assert_eq!(Fingerprint::read(tree.path()), expected);
    }

    #[test]
    fn cpu_names_of_other_machines() {
        for (cpuinfo, name) in [
            (
                "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd4f\n",
                "ARM Neoverse V2",
            ),
            (
                "CPU implementer : 0x61\nCPU part : 0x039\n",
                "ARM implementer 0x61 part 0x039",
            ),
            (
                "processor : 0\ncpu\t\t: POWER9, altivec supported\n",
                "POWER9, altivec supported",
            ),
            ("", "unknown"),
        ] {
            assert_eq!(cpu_name(cpuinfo), name);
        }
    }

    #[test]
    fn hypervisors_by_where_they_say_so() {
        const PRODUCT: &str = "sys/devices/virtual/dmi/id/product_name";
        const FLAGGED: (&str, &str) = ("proc/cpuinfo", "flags : fpu hypervisor\n");
        for (files, expected) in [
            (vec![("sys/hypervisor/type", "xen\n")], Some("xen")),
            (vec![FLAGGED], Some("unnamed")),
            (
                vec![(PRODUCT, "KVM Virtual Machine\n")],
                Some("KVM Virtual Machine"),
            ),
            (vec![(PRODUCT, "PowerEdge R7525\n")], None),
            (
                vec![("proc/device-tree/hypervisor/compatible", "linux,kvm\0")],
                Some("linux,kvm"),
            ),
            (vec![], None),
        ] {
            let tree = fake::tree(&files);
            let found = Fingerprint::read(tree.path()).hypervisor;
            assert_eq!(found.as_deref(), expected, "{files:?}");
        }
    }

    #[test]
    fn this_machine_has_a_kernel_and_cores() {
        let here = Fingerprint::read(Path::new("/"));
        assert!(
            here.cores > 0 && here.memory_bytes > 0 && !here.kernel.is_empty(),
            "{here:?}"
        );
    }
}
