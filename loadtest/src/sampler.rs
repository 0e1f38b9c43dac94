//! The server's CPU time and memory, over all of its processes, from `/proc`.
//!
//! Workers crash and are started again during a run, so the tree is found anew on each sample, and
//! what a process had used stays counted after its end, once:
//!
//! ```text
//!   used = Σ living (own + waited for) + kept
//!            │          │              └ ended, and nobody in the tree had waited for it
//!            │          └ children's time moves here when their parent waits for them
//!            └ the larger of Σ threads' schedstat (exact) and stat (ended threads too, ±2 ticks)
//! ```
//!
//! A process that leaves the tree because its parent ended is still followed. What a process used
//! between its last sample and its end is seen when its parent waits for it, and else lost.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::kernel_files::{field_kb, text};
use crate::limits::PSS_READ_US_MAX;
use crate::processes::{Process, TICK_NS, threads, tree};
use crate::results::ServerSample;

/// Which memory is summed over the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// `Pss` of `smaps_rollup`: a page that n processes share counts 1/n in each.
    Proportional,
    /// `VmRSS` of `status`: a page that n processes share counts n times. Used when `smaps_rollup`
    /// cannot be read, or took longer than [`PSS_READ_US_MAX`] for a process.
    Resident,
}

/// A process for good: a pid may be given again, with another start.
type Key = (u32, u64);

#[derive(Clone, Copy, Debug)]
struct Used {
    parent: u32,
    own_ns: u64,
    reaped_ns: u64,
}

/// Samples one server.
#[derive(Debug)]
pub struct Sampler {
    root: PathBuf,
    pid: u32,
    start_ticks: Option<u64>,
    used: HashMap<Key, Used>,
    kept_ns: u64,
    shown_ns: u64,
    memory: MemorySource,
}

impl Sampler {
    /// A sampler of the process `pid` and everything below it. `root` is `/` but for tests.
    pub fn new(root: &Path, pid: u32) -> Self {
        Self {
            root: root.to_owned(),
            pid,
            start_ticks: Process::read(root, pid).map(|process| process.start_ticks),
            used: HashMap::new(),
            kept_ns: 0,
            shown_ns: 0,
            memory: MemorySource::Proportional,
        }
    }

    /// Which memory the samples hold. It changes once at most, from proportional to resident: the
    /// samples before and after are then not comparable.
    pub fn memory_source(&self) -> MemorySource {
        self.memory
    }

    /// Takes a sample and stamps it with `at_s`, in seconds on the run's clock. None when the server
    /// has ended; a zombie has.
    pub fn sample(&mut self, at_s: f64) -> Option<ServerSample> {
        let living = self.living()?;
        self.count(&living);
        let running: Vec<u32> = living
            .iter()
            .filter(|process| !process.zombie)
            .map(|process| process.pid)
            .collect();
        Some(ServerSample {
            at_s,
            cpu_s: self.shown_ns as f64 / 1e9,
            rss_bytes: self.memory(&running),
            processes: u32::try_from(running.len()).unwrap_or(u32::MAX),
        })
    }

    /// Everything of the server that still has an entry in `/proc`; none when the root has ended.
    fn living(&self) -> Option<Vec<Process>> {
        let server = Process::read(&self.root, self.pid)?;
        if server.zombie || Some(server.start_ticks) != self.start_ticks {
            return None;
        }
        let mut roots = vec![self.pid];
        for &(pid, start_ticks) in self.used.keys() {
            let same = |process: Process| process.start_ticks == start_ticks;
            if pid != self.pid && Process::read(&self.root, pid).is_some_and(same) {
                roots.push(pid);
            }
        }
        let pids = tree(&self.root, &roots);
        Some(
            pids.into_iter()
                .filter_map(|pid| Process::read(&self.root, pid))
                .collect(),
        )
    }

    fn count(&mut self, living: &[Process]) {
        let now: HashMap<Key, Used> = living
            .iter()
            .map(|process| {
                let key = (process.pid, process.start_ticks);
                let before = self.used.get(&key).map_or(0, |used| used.own_ns);
                let exact = schedstat_ns(&self.root, process.pid);
                let used = Used {
                    parent: process.parent,
                    own_ns: exact.max(process.own_ns).max(before),
                    reaped_ns: process.reaped_ns,
                };
                (key, used)
            })
            .collect();
        self.kept_ns += self.ended_unseen_ns(&now);
        self.used = now;
        let used: u64 = self
            .used
            .values()
            .map(|used| used.own_ns + used.reaped_ns)
            .sum();
        // Moving from a child's exact time to its parent's ticks may lose two ticks for a moment.
        self.shown_ns = self.shown_ns.max(used + self.kept_ns);
    }

    /// What the processes that ended since the last sample had used, and no living process of the
    /// tree has waited for.
    fn ended_unseen_ns(&self, now: &HashMap<Key, Used>) -> u64 {
        let mut ended_ns: HashMap<Option<Key>, u64> = HashMap::new();
        for (key, used) in &self.used {
            if !now.contains_key(key) {
                *ended_ns.entry(self.heir(used, now)).or_default() += used.own_ns + used.reaped_ns;
            }
        }
        ended_ns
            .into_iter()
            .map(|(heir, ended_ns)| {
                let waited_ns = heir.map_or(0, |key| {
                    let before = self.used.get(&key).map_or(0, |used| used.reaped_ns);
                    let after = now.get(&key).map_or(0, |used| used.reaped_ns);
                    after.saturating_sub(before)
                });
                let missing_ns = ended_ns.saturating_sub(waited_ns);
                // The parent's figure is rounded down to ticks, user and system time each.
                if waited_ns > 0 && missing_ns <= 2 * TICK_NS {
                    0
                } else {
                    missing_ns
                }
            })
            .sum()
    }

    /// The nearest ancestor of an ended process that lives: its time went there, if anyone waited.
    fn heir(&self, ended: &Used, now: &HashMap<Key, Used>) -> Option<Key> {
        let mut parent = ended.parent;
        for _ in 0..=self.used.len() {
            if let Some(key) = now.keys().find(|key| key.0 == parent) {
                return Some(*key);
            }
            let (_, used) = self.used.iter().find(|(key, _)| key.0 == parent)?;
            parent = used.parent;
        }
        None
    }

    fn memory(&mut self, pids: &[u32]) -> u64 {
        if self.memory == MemorySource::Proportional {
            if let Some(bytes) = self.proportional(pids) {
                return bytes;
            }
            self.memory = MemorySource::Resident;
        }
        pids.iter()
            .filter_map(|pid| field_kb(&text(&self.root, format!("proc/{pid}/status"))?, "VmRSS"))
            .sum()
    }

    /// None when a process does not let it be read, or it takes too long.
    fn proportional(&self, pids: &[u32]) -> Option<u64> {
        let mut sum = 0;
        for pid in pids {
            let began = Instant::now();
            let rollup = text(&self.root, format!("proc/{pid}/smaps_rollup"));
            if began.elapsed() > Duration::from_micros(PSS_READ_US_MAX) {
                return None;
            }
            match rollup.and_then(|rollup| field_kb(&rollup, "Pss")) {
                Some(bytes) => sum += bytes,
                // One that has ended meanwhile has no memory; one that lives refused.
                None if Process::read(&self.root, *pid).is_none_or(|process| process.zombie) => {}
                None => return None,
            }
        }
        Some(sum)
    }
}

/// Time on a core of the living threads, in nanoseconds; 0 where the kernel does not keep it.
fn schedstat_ns(root: &Path, pid: u32) -> u64 {
    threads(root, pid)
        .iter()
        .filter_map(|thread| {
            text(root, format!("proc/{pid}/task/{thread}/schedstat"))?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_files::fake::write;
    use crate::processes::fake::{process, remove};

    fn cpu_s(sampler: &mut Sampler) -> f64 {
        sampler.sample(0.0).unwrap().cpu_s
    }

    #[test]
    fn a_child_that_was_waited_for_counts_once() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [100, 0]);
        process(root.path(), 11, 10, 'S', [300, 0]);
        let mut sampler = Sampler::new(root.path(), 10);
        assert_eq!(cpu_s(&mut sampler), 4.0);
        // It used half a second more after the sample; its parent waited and knows.
        remove(root.path(), 11);
        process(root.path(), 10, 1, 'S', [100, 350]);
        process(root.path(), 12, 10, 'S', [50, 0]);
        assert_eq!(cpu_s(&mut sampler), 5.0);
        assert_eq!(cpu_s(&mut sampler), 5.0);
    }

    #[test]
    fn a_child_that_nobody_waited_for_is_kept() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [100, 0]);
        process(root.path(), 11, 10, 'S', [10, 0]);
        process(root.path(), 12, 11, 'S', [200, 0]);
        let mut sampler = Sampler::new(root.path(), 10);
        assert_eq!(cpu_s(&mut sampler), 3.1);
        // The middle one ends; the grandchild lives on as a child of init and is still followed.
        remove(root.path(), 11);
        process(root.path(), 12, 1, 'S', [250, 0]);
        assert_eq!(cpu_s(&mut sampler), 3.6);
        remove(root.path(), 12);
        assert_eq!(cpu_s(&mut sampler), 3.6);
    }

    #[test]
    fn a_zombie_child_keeps_its_time_and_is_no_process() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [0, 0]);
        process(root.path(), 11, 10, 'Z', [300, 0]);
        let sample = Sampler::new(root.path(), 10).sample(2.5).unwrap();
        assert_eq!((sample.at_s, sample.cpu_s, sample.processes), (2.5, 3.0, 1));
    }

    #[test]
    fn threads_count_to_the_nanosecond_and_after_their_end() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [100, 0]);
        write(root.path(), "proc/10/task/10/schedstat", "600000001 5 9\n");
        write(root.path(), "proc/10/task/17/schedstat", "409999999 5 9\n");
        let mut sampler = Sampler::new(root.path(), 10);
        assert_eq!(cpu_s(&mut sampler), 1.01);
        remove(root.path(), 10);
        process(root.path(), 10, 1, 'S', [103, 0]);
        write(root.path(), "proc/10/task/10/schedstat", "620000000 5 9\n");
        assert_eq!(cpu_s(&mut sampler), 1.03);
    }

    #[test]
    fn a_server_that_is_gone_gives_nothing() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [100, 0]);
        let mut sampler = Sampler::new(root.path(), 10);
        assert!(sampler.sample(0.0).is_some());
        process(root.path(), 10, 1, 'Z', [100, 0]);
        assert!(sampler.sample(1.0).is_none());
        remove(root.path(), 10);
        assert!(sampler.sample(2.0).is_none());
        // The pid of another process that began later.
        write(
            root.path(),
            "proc/10/stat",
            "10 (x) S 1 1 1 0 -1 0 0 0 0 0 9 0 9 0 20 0 1 0 778 0 0\n",
        );
        assert!(sampler.sample(3.0).is_none());
    }

    #[test]
    fn memory_is_proportional_where_it_can_be() {
        let root = tempfile::tempdir().unwrap();
        process(root.path(), 10, 1, 'S', [0, 0]);
        write(root.path(), "proc/10/status", "VmRSS:\t 400 kB\n");
        write(
            root.path(),
            "proc/10/smaps_rollup",
            "Rss: 400 kB\nPss: 100 kB\n",
        );
        let mut sampler = Sampler::new(root.path(), 10);
        assert_eq!(sampler.sample(0.0).unwrap().rss_bytes, 100 << 10);
        assert_eq!(sampler.memory_source(), MemorySource::Proportional);
        std::fs::remove_file(root.path().join("proc/10/smaps_rollup")).unwrap();
        assert_eq!(sampler.sample(1.0).unwrap().rss_bytes, 400 << 10);
        assert_eq!(sampler.memory_source(), MemorySource::Resident);
    }
}
