//! Network cards: their queues, and the interrupts that say a queue has something.
//!
//! A card is an interface with a device. Its interrupts stand in `device/msi_irqs`; those of a
//! virtio card one directory further up, at the PCI device that carries it. What each interrupt is
//! for stands only in its name (`/proc/interrupts`, last column), and every driver has its own:
//!
//! ```text
//! virtio2-input.0   mlx5_comp3@pci:0000:17:00.0   ens5-Tx-Rx-4   ice-eth0-TxRx-12
//!               0              3                           4                  12   queue
//! ```

use serde::Serialize;

use super::topology::word;
use crate::config::limits::TUNE_FILE_BYTES_MAX;
use crate::sys::tree::Tree;

/// Where the kernel lists interfaces.
const NET_DIR: &str = "/sys/class/net";

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// The interface's name.
    pub name: String,
    /// The NUMA node it is attached to; `None` where all are equally near.
    pub node: Option<usize>,
    /// Receive queues, by number.
    pub rx: Vec<usize>,
    /// Transmit queues, by number.
    pub tx: Vec<usize>,
    /// Its interrupts, ascending.
    pub irqs: Vec<Irq>,
}

/// One interrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Irq {
    /// Its number.
    pub number: usize,
    /// What the driver calls it; empty where it is not said.
    pub name: String,
    /// The queue it is for, as its name says; `None` for those that manage the card.
    pub queue: Option<usize>,
}

/// Every card, by name.
pub(super) fn read(tree: &Tree) -> Vec<Nic> {
    let names = tree.names(NET_DIR).unwrap_or_default();
    let devices = names
        .into_iter()
        .filter(|name| tree.has_dir(&format!("{NET_DIR}/{name}/device")));
    let cards: Vec<_> = devices.collect();
    // A large file, and of no use without a card.
    let interrupts = match cards.is_empty() {
        true => String::new(),
        false => tree
            .text("/proc/interrupts", TUNE_FILE_BYTES_MAX)
            .unwrap_or_default(),
    };
    let card = |name| card(tree, name, &interrupts);
    cards.into_iter().map(card).collect()
}

fn card(tree: &Tree, name: String, interrupts: &str) -> Nic {
    let device = format!("{NET_DIR}/{name}/device");
    let places = [device.clone(), format!("{device}/..")];
    let numbers = places
        .iter()
        .find_map(|dir| tree.names(&format!("{dir}/msi_irqs")).ok());
    let mut numbers: Vec<usize> = numbers
        .unwrap_or_default()
        .iter()
        .filter_map(|number| number.parse().ok())
        .collect();
    numbers.sort_unstable();
    let node = places
        .iter()
        .find_map(|dir| word(tree, &format!("{dir}/numa_node")));
    let irqs = numbers.into_iter().map(|number| {
        let name = name_of(interrupts, number);
        let queue = queue_of(&name);
        Irq {
            number,
            name,
            queue,
        }
    });
    Nic {
        // -1 means that the firmware does not say.
        node: node.and_then(|node| node.parse().ok()),
        rx: queues(tree, &name, "rx-"),
        tx: queues(tree, &name, "tx-"),
        irqs: irqs.collect(),
        name,
    }
}

fn queues(tree: &Tree, nic: &str, kind: &str) -> Vec<usize> {
    let names = tree.names(&format!("{NET_DIR}/{nic}/queues"));
    let mut numbers: Vec<usize> = names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| name.strip_prefix(kind)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The last word of an interrupt's line.
fn name_of(interrupts: &str, number: usize) -> String {
    let start = format!("{number}:");
    let mut lines = interrupts.lines().map(str::trim_start);
    let line = lines.find(|line| line.starts_with(&start));
    let name = line.and_then(|line| line.split_whitespace().next_back());
    name.filter(|name| *name != start)
        .unwrap_or_default()
        .to_owned()
}

/// The number at the end of an interrupt's name, less the address behind an `@`.
fn queue_of(name: &str) -> Option<usize> {
    let name = name.split('@').next().unwrap_or_default();
    // mlx5's interrupts for events and commands have numbers, too.
    if name.contains("async") {
        return None;
    }
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let digits = name.get(name.len() - digits..)?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_queue() {
        let cases = [
            ("virtio2-input.0", Some(0)),
            ("virtio2-output.13", Some(13)),
            ("virtio2-config", None),
            ("mlx5_comp31@pci:0000:17:00.0", Some(31)),
            ("mlx5_async0@pci:0000:17:00.0", None),
            ("ens5-Tx-Rx-4", Some(4)),
            ("ena-mgmnt@pci:0000:00:05.0", None),
            ("ice-eth0-TxRx-12", Some(12)),
            ("", None),
        ];
        for (name, queue) in cases {
            assert_eq!(queue_of(name), queue, "{name}");
        }
    }

    #[test]
    fn names_are_found_by_their_number() {
        let text = "        CPU0  CPU1\n   4:  1 2  IO-APIC 4-edge ttyS0\n  38:  0 1 PCI-MSIX-0000:00:03.0 1-edge virtio2-input.0\n 138: 0 0 x y other\nNMI: 0 0 Non-maskable interrupts\n";
        let cases = [
            (38, "virtio2-input.0"),
            (4, "ttyS0"),
            (138, "other"),
            (8, ""),
        ];
        for (number, name) in cases {
            assert_eq!(name_of(text, number), name);
        }
    }
}
