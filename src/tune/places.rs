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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::nic::Irq;
    use super::*;
    use crate::sys::tree::Tree;

    /// This machine with one card that has so many interrupts.
    fn machine(irqs: usize) -> Topology {
        let mut topology = Topology::read(&Tree::open(Path::new("/")).unwrap()).unwrap();
        let irq = |number| Irq {
            number,
            name: String::new(),
            queue: None,
        };
        topology.nics = vec![Nic {
            name: "e".to_owned(),
            node: None,
            rx: vec![0, 3],
            tx: Vec::new(),
            irqs: (0..irqs).map(irq).collect(),
        }];
        topology
    }

    #[test]
    fn patterns_stand_for_files() {
        let topology = machine(2);
        let layout = Layout::propose(&topology, Some(&[0]));
        let cases: [(&str, &[&str]); 5] = [
            ("/a", &["/a"]),
            ("/{worker}", &["/0"]),
            ("/{nic}", &["/e"]),
            ("/{nic}/{rx}", &["/e/0", "/e/3"]),
            ("/{irq}/x", &["/0/x", "/1/x"]),
        ];
        for (pattern, expected) in cases {
            let found = places(pattern, &topology, &layout).unwrap();
            let found: Vec<_> = found.iter().map(|place| place.path.as_str()).collect();
            assert_eq!(found, expected);
        }
        let none = places("/{nic}/{tx}", &topology, &layout).unwrap_err();
        assert_eq!(none, "the network card has none that are its own");
    }

    #[test]
    fn at_most_so_many() {
        let all = |count| {
            let topology = machine(count);
            let layout = Layout::propose(&topology, None);
            places("/{irq}", &topology, &layout).map(|places| places.len())
        };
        assert_eq!(all(TUNE_PLACES_MAX), Ok(TUNE_PLACES_MAX));
        assert!(all(TUNE_PLACES_MAX + 1).is_err());
    }
}
