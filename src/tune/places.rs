//! The files that a path with placeholders stands for.

use super::layout::Layout;
use super::nic::Nic;
use super::topology::Topology;
use crate::config::limits::TUNE_PLACES_MAX;

/// One file, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path, from the root.
    pub path: String,
    /// What it belongs to.
    pub of: Of,
}

/// What a file belongs to; cards and interrupts by their place in the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The whole host.
    Host,
    /// One CPU.
    Cpu(usize),
    /// One network card.
    Nic(usize),
    /// One queue of a card, by its number.
    Queue {
        /// The card.
        nic: usize,
        /// Its queue.
        queue: usize,
    },
    /// One interrupt of a card.
    Irq {
        /// The card.
        nic: usize,
        /// Its interrupt.
        irq: usize,
    },
}

/// Every file of a pattern.
///
/// # Errors
/// Why there is none, or that there are too many.
pub fn places(pattern: &str, topology: &Topology, layout: &Layout) -> Result<Vec<Place>, String> {
    let cpus = |placeholder: &str, cpus: &mut dyn Iterator<Item = usize>| {
        let place = |cpu: usize| Place {
            path: pattern.replace(placeholder, &cpu.to_string()),
            of: Of::Cpu(cpu),
        };
        cpus.map(place).collect()
    };
    let of_cards = |files: &dyn Fn(usize, &Nic) -> Vec<Place>| {
        let cards = topology.nics.iter().enumerate();
        cards.flat_map(|(index, nic)| files(index, nic)).collect()
    };
    let found: Vec<Place> = if pattern.contains("{cpu}") {
        cpus("{cpu}", &mut topology.online().iter())
    } else if pattern.contains("{worker}") {
        cpus("{worker}", &mut layout.workers.cpus.iter())
    } else if pattern.contains("{irq}") {
        of_cards(&|nic, card| irqs(pattern, nic, card))
    } else if pattern.contains("{rx}") {
        of_cards(&|nic, card| queues(pattern, "{rx}", nic, card, &card.rx))
    } else if pattern.contains("{tx}") {
        of_cards(&|nic, card| queues(pattern, "{tx}", nic, card, &card.tx))
    } else if pattern.contains("{nic}") {
        of_cards(&|nic, card| {
            let path = pattern.replace("{nic}", &card.name);
            vec![Place {
                path,
                of: Of::Nic(nic),
            }]
        })
    } else {
        let path = pattern.to_owned();
        vec![Place { path, of: Of::Host }]
    };
    match found.len() {
        0 if topology.nics.is_empty() => Err("no network card was found".to_owned()),
        0 => Err("the network card has none that are its own".to_owned()),
        count if count > TUNE_PLACES_MAX => Err(format!(
            "{count} files; at most {TUNE_PLACES_MAX} are looked at"
        )),
        _ => Ok(found),
    }
}

fn irqs(pattern: &str, nic: usize, card: &Nic) -> Vec<Place> {
    let irqs = card.irqs.iter().enumerate();
    let place = |(irq, it): (usize, &super::nic::Irq)| Place {
        path: pattern.replace("{irq}", &it.number.to_string()),
        of: Of::Irq { nic, irq },
    };
    irqs.map(place).collect()
}

fn queues(
    pattern: &str,
    placeholder: &str,
    nic: usize,
    card: &Nic,
    queues: &[usize],
) -> Vec<Place> {
    let pattern = pattern.replace("{nic}", &card.name);
    let place = |queue: &usize| Place {
        path: pattern.replace(placeholder, &queue.to_string()),
        of: Of::Queue { nic, queue: *queue },
    };
    queues.iter().map(place).collect()
}
