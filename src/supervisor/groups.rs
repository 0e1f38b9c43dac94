//! What the kernel holds a cell's workers to: a control group, and with simultaneous multithreading
//! a core to themselves while they run.

use std::io;

use crate::config::{Cell, limits};
use crate::supervisor::start::Supervisor;
use crate::sys::cgroup::{self, GroupLimits};
use crate::sys::core_scheduling;
use crate::sys::report;
use crate::sys::support::Support;

/// The groups of this host's cells, where there are any.
#[derive(Debug, Default)]
pub(super) struct Groups {
    made: Option<cgroup::Groups>,
    /// It was said that they cannot be had.
    is_refused: bool,
}

impl Groups {
    /// Makes a group for each cell, and sets its limits. One cell without limits needs none.
    ///
    /// # Errors
    /// When the kernel refuses a limit. That there are no groups at all is said once, and no error:
    /// `isolation.require` makes it one.
    pub(super) fn arrange(&mut self, cells: &[Cell], workers: usize) -> io::Result<()> {
        let limited: Vec<&str> = cells
            .iter()
            .filter(|cell| cell.has_limits())
            .map(|cell| cell.name.as_str())
            .collect();
        if cells.len() < 2 && limited.is_empty() && self.made.is_none() {
            return Ok(());
        }
        if self.made.is_none() {
            match cgroup::Groups::new() {
                Ok(groups) => self.made = Some(groups),
                Err(Support::Impossible { reason, remedy })
                    if !limited.is_empty() && !self.is_refused =>
                {
                    self.is_refused = true;
                    let names = limited.join(", ");
                    report::line(format_args!(
                        "WARNING: the limits of these cells are not kept: {names}: {reason}; {remedy}"
                    ));
                }
                Err(_) => {}
            }
        }
        let Some(groups) = &self.made else {
            return Ok(());
        };
        for cell in cells {
            groups.limit(&cell.name, &limits_of(cell, workers))?;
        }
        Ok(())
    }

    /// Moves a worker into its cell's group, if there are groups.
    fn enter(&self, cell: &str, pid: u32) -> io::Result<()> {
        let made = self.made.as_ref();
        made.map_or(Ok(()), |groups| groups.enter(cell, pid))
    }

    /// Removes the group of a cell whose workers are gone.
    pub(super) fn remove(&self, cell: &str) {
        if let Some(groups) = &self.made {
            groups.remove(cell);
        }
    }
}

fn limits_of(cell: &Cell, workers: usize) -> GroupLimits {
    let period_us = limits::CELL_CPU_PERIOD_US;
    GroupLimits {
        memory_max_bytes: cell.memory_max_mib.map(|mib| mib << 20),
        cpu_quota_us: cell.cpu_max.map(|cores| (cores * period_us as f64) as u64),
        cpu_period_us: period_us,
        tasks_max: (limits::CELL_PIDS_PER_WORKER * workers) as u64,
    }
}

impl Supervisor {
    /// Sees to it that every cell has its group with its limits, and that the workers that run are
    /// in theirs.
    pub(super) fn arrange_groups(&mut self) -> io::Result<()> {
        self.groups
            .arrange(&self.host.cells, self.host.cores.len())?;
        for worker in self.workers.values().filter(|it| !it.is_retired) {
            if let Some(child) = &worker.slot.child {
                self.groups.enter(&worker.cell, child.pid())?;
            }
        }
        Ok(())
    }

    /// Puts a new worker, which waits for its first message, where its cell belongs.
    pub(super) fn fence(&self, index: usize, pid: u32) -> io::Result<()> {
        let Some(worker) = self.workers.get(&index) else {
            return Ok(());
        };
        self.groups.enter(&worker.cell, pid)?;
        if !self.cells.are_several() || core_scheduling::status() != Support::Possible {
            return Ok(());
        }
        let of_cell = self
            .workers
            .range(self.cells.workers(self.cells.of_worker(index)));
        let mut running = of_cell.filter_map(|(_, it)| it.slot.child.as_ref());
        match running.next() {
            Some(other) => core_scheduling::share(other.pid(), pid),
            None => core_scheduling::separate(pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_configuration() {
        let mut cell = Cell::named("gold");
        let unlimited = limits_of(&cell, 2);
        assert_eq!(
            (unlimited.memory_max_bytes, unlimited.cpu_quota_us),
            (None, None)
        );
        assert_eq!(unlimited.tasks_max, 128);
        cell.memory_max_mib = Some(512);
        cell.cpu_max = Some(1.5);
        let limited = limits_of(&cell, 2);
        assert_eq!(limited.memory_max_bytes, Some(512 << 20));
        assert_eq!(
            (limited.cpu_quota_us, limited.cpu_period_us),
            (Some(15_000), 10_000)
        );
        cell.cpu_max = Some(limits::CELL_CPU_MIN);
        assert_eq!(
            limits_of(&cell, 2).cpu_quota_us,
            Some(1_000),
            "the kernel's least"
        );
    }
}
