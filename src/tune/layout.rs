//! Which CPUs do what: a proposal that a person can follow.
//!
//! | cores | set aside | why |
//! |---|---|---|
//! | up to 3 | none: every core has a worker and takes interrupts | a core of 3 is a third of the host |
//! | 4 to 15 | 1, for housekeeping and interrupts | they fit one core |
//! | 16 and more | 1 for housekeeping, 1 of 16 for interrupts | as many as Seastar's perftune takes |
//!
//! Interrupts are taken near their card: on its NUMA node. Every other core gets one worker, on its
//! first thread. A sibling shares the core's caches and execution units with it, so those of
//! workers stay idle, and those of cores set aside do housekeeping.

use serde::Serialize;

use super::nic::Nic;
use super::topology::{Core, Topology};
use crate::config::CpuSet;
use crate::config::limits::WORKERS_MAX;

/// From this many cores on, one is set aside.
const CORES_SET_ASIDE_MIN: usize = 4;
/// From this many on, housekeeping and interrupts have cores of their own; and one core of this
/// many takes interrupts.
const CORES_PER_INTERRUPT_CORE: usize = 16;

/// CPUs with one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Which.
    pub cpus: CpuSet,
    /// Why these, in one line.
    pub why: String,
}

/// Workers that suit one class of tenants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// The workers' CPUs.
    pub cpus: CpuSet,
    /// The profile that suits them.
    pub profile: &'static str,
    /// Why, in one line.
    pub why: &'static str,
}

/// A proposal for one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// The supervisor, the broker, compile jobs, and everything that is not skep.
    pub housekeeping: Role,
    /// The interrupts of network cards.
    pub interrupts: Role,
    /// One worker each.
    pub workers: Role,
    /// Nothing.
    pub idle: Role,
    /// Whether no worker shares its core with housekeeping or interrupts.
    pub set_aside: bool,
    /// Which workers suit which tenants.
    pub classes: Vec<Class>,
}

impl Layout {
    /// Proposes a layout; `workers` are the cores of a configuration, when there is one.
    pub fn propose(topology: &Topology, workers: Option<&[usize]>) -> Layout {
        let cores: Vec<&Core> = topology.cores.iter().collect();
        let chosen = match workers {
            Some(workers) => around(topology, &cores, workers),
            None => choose(topology, &cores),
        };
        chosen.complete(topology)
    }

    /// The CPUs that take a card's interrupts: those of its own node, if there are any.
    pub fn interrupt_cpus(&self, nic: &Nic, topology: &Topology) -> Vec<usize> {
        let near = nic.node.map(|node| topology.node_cpus(node));
        let all = || self.interrupts.cpus.iter();
        let near: Vec<_> = all()
            .filter(|cpu| near.as_ref().is_some_and(|near| near.has(*cpu)))
            .collect();
        match near.is_empty() {
            true => all().collect(),
            false => near,
        }
    }

    /// Every CPU that has no worker.
    pub fn others(&self, topology: &Topology) -> CpuSet {
        topology.online().without(&self.workers.cpus)
    }
}

/// Which cores do what, before their threads are looked at.
struct Choice<'a> {
    housekeeping: Vec<&'a Core>,
    interrupts: Vec<&'a Core>,
    workers: CpuSet,
    why_housekeeping: String,
    why_workers: String,
}

/// A choice of our own.
fn choose<'a>(topology: &Topology, cores: &[&'a Core]) -> Choice<'a> {
    let count = cores.len();
    if count < CORES_SET_ASIDE_MIN {
        let spared = format!("every core has one: none of {count} can be spared");
        let shared = "shares the first worker's core";
        return Choice::shared(firsts(cores.iter().copied()), shared, spared);
    }
    let (housekeeping, interrupts, why_housekeeping) = match count < CORES_PER_INTERRUPT_CORE {
        true => {
            let near = near_cards(topology, cores, 1);
            let why = format!("one core of {count} does this and the interrupts");
            (near.clone(), near, why)
        }
        false => {
            let left: Vec<_> = cores.iter().skip(1).copied().collect();
            let near = near_cards(topology, &left, count.div_ceil(CORES_PER_INTERRUPT_CORE));
            let first = cores.first().copied().into_iter().collect();
            let mut why = "the first core, where the kernel does its own".to_owned();
            if topology.has_smt() {
                why.push_str(", and siblings of those for interrupts");
            }
            (first, near, why)
        }
    };
    let taken = cpus(&housekeeping).and(&cpus(&interrupts));
    let free = cores.iter().filter(|core| !core.cpus.meets(&taken));
    Choice {
        workers: firsts(free.take(WORKERS_MAX).copied()),
        housekeeping,
        interrupts,
        why_housekeeping,
        why_workers: "one on every other core".to_owned(),
    }
}

/// A choice around workers that a configuration has.
fn around<'a>(topology: &Topology, cores: &[&'a Core], workers: &[usize]) -> Choice<'a> {
    let workers: CpuSet = workers.iter().copied().collect();
    let free = cores.iter().filter(|core| !core.cpus.meets(&workers));
    let free: Vec<&Core> = free.copied().collect();
    let why_workers = "as configured".to_owned();
    let Some(first) = free.first().copied() else {
        let shared = "shares the first worker's core: every core has one";
        return Choice::shared(workers, shared, why_workers);
    };
    let wanted = cores.len().div_ceil(CORES_PER_INTERRUPT_CORE);
    let interrupts = match free.get(1..) {
        Some(rest) if !rest.is_empty() => near_cards(topology, rest, wanted),
        _ => vec![first],
    };
    let taken = cpus(&interrupts);
    let left = free.iter().filter(|core| !core.cpus.meets(&taken));
    let mut housekeeping: Vec<_> = left.copied().collect();
    if housekeeping.is_empty() {
        housekeeping.push(first);
    }
    Choice {
        housekeeping,
        interrupts,
        workers,
        why_housekeeping: "cores without a configured worker".to_owned(),
        why_workers,
    }
}

/// The first cores of the cards' nodes, as many of each; of any node where that is not known.
fn near_cards<'a>(topology: &Topology, cores: &[&'a Core], count: usize) -> Vec<&'a Core> {
    let mut nodes: Vec<_> = topology.nics.iter().filter_map(|nic| nic.node).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut chosen: Vec<&Core> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let share = (count - chosen.len()).div_ceil(nodes.len() - index);
        let near = cores.iter().filter(|core| core.node == *node);
        chosen.extend(near.take(share).copied());
    }
    let taken = cpus(&chosen);
    let rest = cores.iter().filter(|core| !core.cpus.meets(&taken));
    let missing = count - chosen.len();
    chosen.extend(rest.take(missing).copied());
    chosen
}

impl Choice<'_> {
    /// Workers on every core: nothing is set aside.
    fn shared(workers: CpuSet, why_housekeeping: &str, why_workers: String) -> Self {
        Choice {
            housekeeping: Vec::new(),
            interrupts: Vec::new(),
            workers,
            why_housekeeping: why_housekeeping.to_owned(),
            why_workers,
        }
    }

    fn complete(self, topology: &Topology) -> Layout {
        let own = cpus(&self.housekeeping).and(&cpus(&self.interrupts));
        let set_aside = !own.is_empty();
        let interrupts = match set_aside {
            true => firsts(self.interrupts.iter().copied()),
            false => self.workers.clone(),
        };
        let housekeeping = match set_aside {
            true if self.housekeeping == self.interrupts => own,
            true => own.without(&interrupts),
            false => self.workers.first().into_iter().collect(),
        };
        let all = topology.online();
        let used = housekeeping.and(&interrupts).and(&self.workers);
        let idle = all.without(&used);
        let classes = classes(topology, &self.workers, &interrupts, set_aside);
        Layout {
            interrupts: Role {
                why: match set_aside {
                    true => why_interrupts(topology, &interrupts),
                    false => "spread over the workers: no core is set aside".to_owned(),
                },
                cpus: interrupts,
            },
            housekeeping: Role {
                cpus: housekeeping,
                why: self.why_housekeeping,
            },
            workers: Role {
                cpus: self.workers,
                why: self.why_workers,
            },
            idle: Role {
                why: why_idle(&idle, topology.has_smt()).to_owned(),
                cpus: idle,
            },
            set_aside,
            classes,
        }
    }
}

fn why_interrupts(topology: &Topology, cpus: &CpuSet) -> String {
    let mut near = Vec::new();
    for nic in &topology.nics {
        if let Some(node) = nic.node
            && topology.node_cpus(node).meets(cpus)
        {
            near.push(format!("on node {node} like {}", nic.name));
        }
    }
    match (near.is_empty(), topology.nics.is_empty()) {
        (false, _) => near.join(", "),
        (true, true) => "no card with interrupts of its own was found".to_owned(),
        (true, false) => "every node is as near to the card".to_owned(),
    }
}

fn why_idle(idle: &CpuSet, smt: bool) -> &'static str {
    match (idle.is_empty(), smt) {
        (true, _) => "every CPU has a task",
        (false, true) => "siblings of workers: a busy one takes up to half of its worker's core",
        (false, false) => "more cores than skep has workers for",
    }
}

/// Which workers are quieter than others, and who is best served there.
fn classes(
    topology: &Topology,
    workers: &CpuSet,
    interrupts: &CpuSet,
    set_aside: bool,
) -> Vec<Class> {
    let quiet: CpuSet = workers
        .iter()
        .filter(|cpu| {
            let core = topology.core_of(*cpu);
            let l3 = core.and_then(|core| core.l3.as_ref());
            // Without a known L3 nothing tells cores apart.
            set_aside && l3.is_some_and(|l3| !l3.meets(interrupts))
        })
        .collect();
    if quiet.is_empty() {
        return vec![Class {
            cpus: workers.clone(),
            profile: "balanced",
            why: "all kinds: no worker is farther from the interrupts' cache than another",
        }];
    }
    let near: CpuSet = topology
        .nics
        .iter()
        .filter_map(|nic| nic.node)
        .flat_map(|node| topology.node_cpus(node).iter().collect::<Vec<_>>())
        .collect();
    // Where quiet cores lie on both, those far from the card have the longer way to it.
    let far = match quiet.meets(&near) {
        true => quiet.without(&near),
        false => CpuSet::default(),
    };
    let all = [
        Class {
            cpus: quiet.without(&far),
            profile: "latency",
            why: "tenants whose p99 counts: no L3 cache shared with the interrupts",
        },
        Class {
            cpus: workers.without(&quiet),
            profile: "throughput",
            why: "tenants that move much data: it arrives in the L3 cache that these share",
        },
        Class {
            cpus: far,
            profile: "density",
            why: "tenants that mostly wait: the way to the card is longer from this node",
        },
    ];
    let some = all.into_iter().filter(|class| !class.cpus.is_empty());
    some.collect()
}

/// The first CPU of each core.
fn firsts<'a>(cores: impl Iterator<Item = &'a Core>) -> CpuSet {
    cores.map(Core::first).collect()
}

/// Every CPU of some cores.
fn cpus(cores: &[&Core]) -> CpuSet {
    cores.iter().flat_map(|core| core.cpus.iter()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many cores, on so many nodes, with this card; siblings are numbered as Linux does on x86.
    fn machine(cores: usize, nodes: usize, smt: bool, l3: usize, nic: Option<usize>) -> Topology {
        let core = |index: usize| Core {
            cpus: match smt {
                true => [index, index + cores].into_iter().collect(),
                false => [index].into_iter().collect(),
            },
            node: index / (cores / nodes),
            package: index / (cores / nodes),
            l2: None,
            l3: (l3 > 0).then(|| (index / l3 * l3..(index / l3 + 1) * l3).collect()),
        };
        Topology {
            kernel: String::new(),
            command_line: String::new(),
            memory_kib: 0,
            smt: None,
            frequency_driver: None,
            irqbalance: false,
            cores: (0..cores).map(core).collect(),
            nics: nic
                .into_iter()
                .map(|node| Nic {
                    name: "eth0".to_owned(),
                    node: Some(node),
                    rx: vec![0],
                    tx: vec![0],
                    irqs: Vec::new(),
                })
                .collect(),
        }
    }

    /// Housekeeping, interrupts, workers, idle.
    fn roles(layout: &Layout) -> [String; 4] {
        let roles = [
            &layout.housekeeping,
            &layout.interrupts,
            &layout.workers,
            &layout.idle,
        ];
        roles.map(|role| role.cpus.to_string())
    }

    #[test]
    fn layouts() {
        let cases = [
            (machine(1, 1, false, 1, None), ["0", "0", "0", ""]),
            (machine(2, 1, false, 2, Some(0)), ["0", "0-1", "0-1", ""]),
            (machine(2, 1, true, 2, None), ["0", "0-1", "0-1", "2-3"]),
            (machine(4, 1, false, 4, None), ["0", "0", "1-3", ""]),
            (machine(4, 1, true, 4, None), ["0,4", "0", "1-3", "5-7"]),
            (machine(8, 2, false, 4, Some(1)), ["4", "4", "0-3,5-7", ""]),
            (
                machine(64, 2, true, 32, Some(1)),
                ["0,64,96-99", "32-35", "1-31,36-63", "65-95,100-127"],
            ),
            (
                machine(128, 1, false, 8, Some(0)),
                ["0", "1-8", "9-127", ""],
            ),
        ];
        for (topology, expected) in cases {
            let layout = Layout::propose(&topology, None);
            assert_eq!(roles(&layout), expected);
            let all = layout.housekeeping.cpus.and(&layout.idle.cpus);
            let all = all.and(&layout.interrupts.cpus).and(&layout.workers.cpus);
            assert_eq!(all, topology.online(), "every CPU has its place");
        }
    }

    #[test]
    fn configured_workers_are_kept() {
        let machine = machine(4, 1, true, 4, None);
        let cases: [(&[usize], [&str; 4], bool); 4] = [
            (&[1, 2, 3], ["0,4", "0", "1-3", "5-7"], true),
            (&[3], ["0,2,4-6", "1", "3", "7"], true),
            (&[0, 1, 2, 3], ["0", "0-3", "0-3", "4-7"], false),
            (&[5, 6], ["0,4,7", "3", "5-6", "1-2"], true),
        ];
        for (workers, expected, set_aside) in cases {
            let layout = Layout::propose(&machine, Some(workers));
            assert_eq!(roles(&layout), expected);
            assert_eq!(layout.set_aside, set_aside);
            assert_eq!(layout.workers.why, "as configured");
        }
    }

    #[test]
    fn no_more_workers_than_skep_has() {
        let layout = Layout::propose(&machine(192, 2, false, 8, Some(0)), None);
        assert_eq!(layout.workers.cpus.len(), WORKERS_MAX);
        assert_eq!(layout.idle.why, "more cores than skep has workers for");
    }

    #[test]
    fn classes_of_tenants() {
        let cases: [(Topology, &[(&str, &str)]); 5] = [
            (machine(2, 1, false, 2, Some(0)), &[("balanced", "0-1")]),
            // One L3: nobody is farther away.
            (machine(8, 1, false, 8, Some(0)), &[("balanced", "1-7")]),
            // No L3 known.
            (machine(16, 1, false, 0, Some(0)), &[("balanced", "2-15")]),
            // An L3 for each socket: the far one is the quiet one.
            (
                machine(64, 2, true, 32, Some(0)),
                &[("latency", "32-63"), ("throughput", "5-31")],
            ),
            (
                machine(32, 2, false, 8, Some(0)),
                &[
                    ("latency", "8-15"),
                    ("throughput", "3-7"),
                    ("density", "16-31"),
                ],
            ),
        ];
        for (topology, expected) in cases {
            let layout = Layout::propose(&topology, None);
            let classes = layout.classes.iter();
            let found: Vec<_> = classes
                .map(|it| (it.profile, it.cpus.to_string()))
                .collect();
            let found: Vec<_> = found
                .iter()
                .map(|(name, cpus)| (*name, cpus.as_str()))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
