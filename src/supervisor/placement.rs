//! Which workers a tenant is pinned to.
//!
//! A new tenant goes to the workers with the fewest tenants; between equals its name decides, by
//! rendezvous hashing (Thaler & Ravishankar 1998), so that the same file gives the same placement
//! on every start:
//!
//! ```text
//! load      2     1     1          order for "shop":   worker 2   (1, rank 7f…)
//! worker    0     1     2                              worker 1   (1, rank 31…)
//! rank     e0…   31…   7f…                             worker 0   (2, rank e0…)
//! ```
//!
//! A tenant that is placed stays where it is, whoever comes or goes. Workers whose profile cannot
//! hold its memory are not considered.

use std::cmp::Reverse;

use crate::config::{Cores, Worker};

/// How many tenants each worker has. One per host.
#[derive(Debug)]
pub struct Placement {
    /// What placement needs to know of each worker.
    workers: Vec<Worker>,
    /// The tenants placed on each worker.
    loads: Vec<usize>,
}

impl Placement {
    /// Nobody is placed yet. `workers` are in worker order; never empty.
    pub fn new(workers: Vec<Worker>) -> Placement {
        Placement {
            loads: vec![0; workers.len()],
            workers,
        }
    }

    /// Places a tenant that is on the workers `current` (none when it is new), and says where it is
    /// from now on: worker indices, ascending, at least one.
    ///
    /// A count keeps as many current workers as it can. A core that has no worker is passed over:
    /// it was configured together with a change of the cores, which needs a restart. That there are
    /// workers that can hold `memory_mib` was checked before ([`Host::check_room`]).
    ///
    /// [`Host::check_room`]: crate::config::Host::check_room
    pub fn place(
        &mut self,
        name: &str,
        wanted: &Cores,
        memory_mib: u64,
        current: &[usize],
    ) -> Vec<usize> {
        self.remove(current);
        let listed = match wanted {
            Cores::List(cores) => self.workers_of(cores),
            Cores::Count(_) => Vec::new(),
        };
        let count = match wanted {
            Cores::Count(count) => (*count).max(1),
            Cores::List(_) => 1,
        };
        let mut chosen = if listed.is_empty() {
            self.least_loaded(name, count, memory_mib, current)
        } else {
            listed
        };
        chosen.sort_unstable();
        for &worker in &chosen {
            self.loads[worker] += 1;
        }
        chosen
    }

    /// Takes a tenant off the workers it was on.
    pub fn remove(&mut self, current: &[usize]) {
        for &worker in current {
            self.loads[worker] -= 1;
        }
    }

    fn workers_of(&self, cores: &[usize]) -> Vec<usize> {
        (0..self.workers.len())
            .filter(|&worker| cores.contains(&self.workers[worker].core))
            .collect()
    }

    /// `count` workers that can hold the memory, or as many as there are; one at least. Those of
    /// `current` come first, then the rest; each by load, then by rank.
    fn least_loaded(
        &self,
        name: &str,
        count: usize,
        memory_mib: u64,
        current: &[usize],
    ) -> Vec<usize> {
        let fits = |worker: usize| memory_mib <= self.workers[worker].memory_mib_max;
        let mut workers: Vec<usize> = (0..self.workers.len()).collect();
        let count = count
            .min(workers.iter().filter(|&&it| fits(it)).count())
            .max(1);
        workers.sort_by_cached_key(|&worker| {
            (
                !fits(worker),
                !current.contains(&worker),
                self.loads[worker],
                Reverse(rank(name, worker)),
            )
        });
        workers.truncate(count);
        workers
    }
}

/// How much the tenant belongs on the worker: the same on every host and in every run.
fn rank(name: &str, worker: usize) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(worker as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Workers on cores 0, 2, 3 and 7 whose profiles hold as much memory as any tenant may have.
    fn placement() -> Placement {
        let worker = |core| Worker {
            core,
            memory_mib_max: 4096,
        };
        Placement::new([0, 2, 3, 7].map(worker).to_vec())
    }

    fn name(index: usize) -> String {
        format!("tenant-{index}")
    }

    #[test]
    fn tenants_spread_evenly_and_the_same_way_every_time() {
        let run = || {
            let mut placement = placement();
            let places: Vec<_> = (0..100)
                .map(|i| placement.place(&name(i), &Cores::Count(1), 128, &[]))
                .collect();
            assert_eq!(placement.loads, [25; 4]);
            places
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn the_least_loaded_worker_is_next() {
        let mut placement = placement();
        placement.place("a", &Cores::List(vec![0, 2, 7]), 128, &[]);
        assert_eq!(placement.place("b", &Cores::Count(1), 128, &[]), [2]);
    }

    #[test]
    fn lists_and_counts_are_kept_to() {
        let cases: [(Cores, &[usize], usize); 6] = [
            (Cores::List(vec![7]), &[3], 1),
            (Cores::List(vec![3, 0]), &[0, 2], 2),
            (Cores::List(vec![99]), &[], 1), // no such worker: one of those there are
            (Cores::Count(3), &[], 3),
            (Cores::Count(99), &[0, 1, 2, 3], 4),
            (Cores::Count(0), &[], 1),
        ];
        for (wanted, expected, count) in cases {
            let workers = placement().place("a", &wanted, 128, &[]);
            assert_eq!(workers.len(), count, "{wanted:?}");
            assert!(
                expected.iter().all(|worker| workers.contains(worker)),
                "{wanted:?}"
            );
        }
    }

    #[test]
    fn workers_that_cannot_hold_a_tenant_are_not_considered() {
        let worker = |(core, memory_mib_max)| Worker {
            core,
            memory_mib_max,
        };
        let mixed = [(0, 512), (2, 128), (3, 512), (7, 64)].map(worker);
        let mut placement = Placement::new(mixed.to_vec());
        placement.place("a", &Cores::Count(2), 512, &[]);
        assert_eq!(placement.loads, [1, 0, 1, 0]);
        placement.place("b", &Cores::Count(1), 64, &[]);
        let three = placement.place("c", &Cores::Count(3), 128, &[]);
        assert_eq!(three, [0, 1, 2]);
        // It grew, and moves away from where it cannot stay.
        assert_eq!(placement.place("c", &Cores::Count(2), 129, &three), [0, 2]);
        assert_eq!(placement.place("d", &Cores::List(vec![2]), 128, &[]), [1]);
    }

    #[test]
    fn a_count_that_changes_moves_as_little_as_it_can() {
        let mut placement = placement();
        let one = placement.place("a", &Cores::Count(1), 128, &[]);
        let three = placement.place("a", &Cores::Count(3), 128, &one);
        assert!(three.contains(&one[0]));
        let two = placement.place("a", &Cores::Count(2), 128, &three);
        assert!(two.iter().all(|worker| three.contains(worker)));
        assert_eq!(placement.loads.iter().sum::<usize>(), 2);
        placement.remove(&two);
        assert_eq!(placement.loads, [0; 4]);
    }

    #[test]
    fn coming_and_going_moves_nobody_else() {
        let mut placement = placement();
        let mut placed = BTreeMap::new();
        for i in 0..20 {
            placed.insert(i, placement.place(&name(i), &Cores::Count(1), 128, &[]));
        }
        for i in (0..20).step_by(3) {
            placement.remove(&placed.remove(&i).unwrap());
        }
        for i in 20..30 {
            placed.insert(i, placement.place(&name(i), &Cores::Count(2), 128, &[]));
        }
        for (&i, workers) in &placed {
            let count = if i < 20 { 1 } else { 2 };
            assert_eq!(
                &placement.place(&name(i), &Cores::Count(count), 128, workers),
                workers
            );
        }
    }
}
