//! The tenants that are served: where each is placed, and which version of its component.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::{Cores, Tenant, Worker};
use crate::control::Placed;
use crate::supervisor::cells::Cells;
use crate::supervisor::placement::Placement;

/// What tells one version of a component's file from another without reading it: device, inode,
/// size, time of the last change in seconds and nanoseconds. `None` when there is no such file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// One difference between what is served and what a new configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// A new tenant.
    Add(Placed),
    /// A tenant with another component, limits, hosts or workers.
    Replace(Placed),
    /// A tenant that is in another cell now; it was in the one at this place.
    Move(Placed, usize),
    /// A tenant that is gone, from the cell at this place.
    Remove(String, usize),
}

/// A tenant, placed, and the version of its component.
#[derive(Debug)]
struct Entry {
    placed: Placed,
    stamp: Vec<Stamp>,
}

/// All tenants, in file order.
#[derive(Debug)]
pub(super) struct Roster {
    placement: Placement,
    entries: Vec<Entry>,
    /// The newest generation of any tenant; one that is removed and added again gets a new one.
    generation: u64,
}

impl Roster {
    /// No tenants yet; each cell has these workers.
    pub(super) fn new(workers: Vec<Worker>) -> Roster {
        Roster {
            placement: Placement::new(workers),
            entries: Vec::new(),
            generation: 0,
        }
    }

    /// Every tenant, in file order.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &Placed> {
        self.entries.iter().map(|entry| &entry.placed)
    }

    /// How many tenants there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Serves exactly `tenants` from now on, and says what that changes.
    ///
    /// Those who leave make room first. Then come those who stay, so that newcomers see true loads,
    /// and of the newcomers those who have no choice.
    ///
    /// Tenants of one core count together for its load, whatever their cells.
    pub(super) fn apply(&mut self, tenants: &[Tenant], cells: &Cells) -> Vec<Change> {
        let mut old: HashMap<String, Entry> = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| (entry.placed.tenant.name.clone(), entry))
            .collect();
        let names: HashSet<&str> = tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let mut gone: Vec<_> = old
            .extract_if(|name, _| !names.contains(name.as_str()))
            .collect();
        gone.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let mut changes = Vec::new();
        for (name, entry) in gone {
            self.placement.remove(&cores_of(&entry.placed, cells));
            changes.push(Change::Remove(name, cell_of(&entry.placed, cells)));
        }
        let mut order: Vec<(usize, &Tenant)> = tenants.iter().enumerate().collect();
        order.sort_by_key(|(_, tenant)| {
            (
                !old.contains_key(&tenant.name),
                !matches!(tenant.cores, Cores::List(_)),
            )
        });
        let mut entries = Vec::with_capacity(tenants.len());
        for (index, tenant) in order {
            let before = old.remove(&tenant.name);
            let entry = self.entry(tenant, before.as_ref(), cells);
            match before {
                None => changes.push(Change::Add(entry.placed.clone())),
                Some(before) if before.placed != entry.placed => {
                    let (from, placed) = (cell_of(&before.placed, cells), entry.placed.clone());
                    changes.push(match from == cell_of(&placed, cells) {
                        true => Change::Replace(placed),
                        false => Change::Move(placed, from),
                    });
                }
                Some(_) => {}
            }
            entries.push((index, entry));
        }
        entries.sort_unstable_by_key(|(index, _)| *index);
        self.entries = entries.into_iter().map(|(_, entry)| entry).collect();
        changes
    }

    /// Places a tenant that was `before`, and finds out whether its component is another one.
    fn entry(&mut self, tenant: &Tenant, before: Option<&Entry>, cells: &Cells) -> Entry {
        let stamp: Vec<Stamp> = tenant.programs().map(stamp).collect();
        let current = before.map_or_else(Vec::new, |before| cores_of(&before.placed, cells));
        let memory_mib = tenant.limits.memory_mib;
        let cores = self
            .placement
            .place(&tenant.name, &tenant.cores, memory_mib, &current);
        // Every tenant's cell is there: a validated host says so.
        let first = cells.workers(cells.place(&tenant.cell).unwrap_or(0)).start;
        let workers = cores.into_iter().map(|core| first + core).collect();
        let generation = match before {
            Some(before)
                if before.stamp == stamp
                    && before.placed.tenant.programs().eq(tenant.programs())
                    && counts_fuel(&before.placed.tenant) == counts_fuel(tenant) =>
            {
                before.placed.generation
            }
            _ => {
                self.generation += 1;
                self.generation
            }
        };
        Entry {
            placed: Placed {
                tenant: tenant.clone(),
                workers,
                generation,
            },
            stamp,
        }
    }
}

/// Code that counts fuel is other code: another version, as a changed component is.
fn counts_fuel(tenant: &Tenant) -> bool {
    tenant.limits.fuel > 0
}

/// The place of a tenant's cell.
pub(super) fn cell_of(placed: &Placed, cells: &Cells) -> usize {
    placed
        .workers
        .first()
        .map_or(0, |worker| cells.of_worker(*worker))
}

/// The places of its workers within their cell.
fn cores_of(placed: &Placed, cells: &Cells) -> Vec<usize> {
    let workers = placed.workers.iter();
    workers.map(|worker| cells.core_of(*worker)).collect()
}

fn stamp(component: &Path) -> Stamp {
    let meta = fs::metadata(component).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cell, DEFAULT_CELL, HostPattern, Limits};

    fn tenant(name: &str, component: &Path, cores: Cores) -> Tenant {
        Tenant {
            name: name.into(),
            component: Some(component.into()),
            hosts: vec![HostPattern::Exact(format!("{name}.test"))],
            cores,
            limits: Limits {
                cpu_ms: 50,
                wall_ms: 1000,
                memory_mib: 1,
                concurrency: 1,
                queue: 1,
                queue_ms: 1,
                request_body_bytes: 1,
                log_line_bytes: 1,
                log_bytes_per_request: 1,
                handles: 1,
                hostcall_bytes: 1,
                table_elements: 1,
                ..Limits::default()
            },
            ..Tenant::default()
        }
    }

    fn two_workers() -> Vec<Worker> {
        let worker = |core| Worker {
            core,
            memory_mib_max: 1,
        };
        [0, 1].map(worker).to_vec()
    }

    fn cells(names: &[&str]) -> Cells {
        let mut cells = Cells::new(2);
        let named: Vec<_> = names.iter().map(|name| Cell::named(name)).collect();
        cells.arrange(&named);
        cells
    }

    /// The changes as words: `+name`, `~name@generation`, `>name@from`, `-name`.
    fn words(changes: &[Change]) -> Vec<String> {
        changes
            .iter()
            .map(|change| match change {
                Change::Add(placed) => format!("+{}", placed.tenant.name),
                Change::Replace(placed) => {
                    format!("~{}@{}", placed.tenant.name, placed.generation)
                }
                Change::Move(placed, from) => format!(">{}@{from}", placed.tenant.name),
                Change::Remove(name, _) => format!("-{name}"),
            })
            .collect()
    }

    #[test]
    fn only_differences_are_changes() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        let mut roster = Roster::new(two_workers());
        let one_cell = cells(&[DEFAULT_CELL]);
        let a = tenant("a", &one, Cores::Count(1));
        let b = tenant("b", &two, Cores::Count(2));
        let c = tenant("c", &two, Cores::List(vec![1]));
        let both = [a.clone(), b.clone()];
        assert_eq!(words(&roster.apply(&both, &one_cell)), ["+a", "+b"]);
        assert_eq!(words(&roster.apply(&both, &one_cell)), [""; 0]);
        let limits = Tenant {
            limits: Limits {
                cpu_ms: 7,
                ..a.limits.clone()
            },
            ..a.clone()
        };
        assert_eq!(
            words(&roster.apply(&[b.clone(), limits.clone()], &one_cell)),
            ["~a@1"]
        );
        assert_eq!(
            roster.tenants().next().unwrap().tenant.name,
            "b",
            "file order"
        );
        let fuel = |fuel| {
            let limits = limits.limits.clone();
            let limits = Limits { fuel, ..limits };
            Tenant {
                limits,
                ..a.clone()
            }
        };
        assert_eq!(
            words(&roster.apply(&[b.clone(), fuel(5)], &one_cell)),
            ["~a@3"]
        );
        assert_eq!(
            words(&roster.apply(&[b.clone(), fuel(6)], &one_cell)),
            ["~a@3"]
        );
        fs::write(&one, "1, again").unwrap();
        assert_eq!(
            words(&roster.apply(&[limits, b.clone(), c.clone()], &one_cell)),
            ["~a@4", "+c"]
        );
        assert_eq!(words(&roster.apply(&[c], &one_cell)), ["-a", "-b"]);
        assert_eq!(words(&roster.apply(&[a], &one_cell)), ["-c", "+a"]);
        assert_eq!(roster.tenants().next().unwrap().generation, 6);
    }

    #[test]
    fn those_without_a_choice_are_placed_first() {
        let mut roster = Roster::new(two_workers());
        let one_cell = cells(&[DEFAULT_CELL]);
        let file = Path::new("/nonexistent");
        let tenants = [
            tenant("free", file, Cores::Count(1)),
            tenant("bound", file, Cores::List(vec![0])),
        ];
        roster.apply(&tenants, &one_cell);
        let workers: Vec<_> = roster
            .tenants()
            .map(|placed| placed.workers.clone())
            .collect();
        assert_eq!(workers, [[1], [0]]);
    }

    #[test]
    fn a_tenant_moves_between_cells_and_stays_on_its_core() {
        let mut roster = Roster::new(two_workers());
        let cells = cells(&[DEFAULT_CELL, "gold"]);
        let file = Path::new("/nonexistent");
        let tenants = ["a", "b"].map(|name| tenant(name, file, Cores::Count(1)));
        roster.apply(&tenants, &cells);
        let workers = |roster: &Roster, at: usize| {
            let placed = roster.tenants().nth(at).unwrap();
            (placed.workers.clone(), cell_of(placed, &cells))
        };
        let [(a, _), (b, _)] = [0, 1].map(|at| workers(&roster, at));
        assert_ne!(a, b, "one on each core");
        let mut moved = tenants.clone();
        moved[0].cell = "gold".into();
        assert_eq!(words(&roster.apply(&moved, &cells)), [">a@0"]);
        assert_eq!(workers(&roster, 0), (vec![a[0] + 2], 1));
        assert_eq!(
            roster.tenants().next().unwrap().generation,
            1,
            "the same program"
        );
        assert_eq!(words(&roster.apply(&tenants, &cells)), [">a@1"]);
        assert_eq!(workers(&roster, 0), (a, 0));
        assert_eq!(
            roster.apply(&tenants[1..], &cells),
            [Change::Remove("a".into(), 0)]
        );
    }
}
