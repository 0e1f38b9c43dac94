//! Checks of `[[cell]]` sections: trust groups of tenants, each with worker processes of its own.
//!
//! ```text
//! no [[cell]]             the cells are those that tenants name
//! [[cell]] name = "gold"  the cells are those with a section: a name that is none of them is a mistake
//! always there            "default", of the tenants that name none
//! ```

use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::tenant::{NAME_RIGHT, is_name};
use super::validate::{Checker, Seen};
use super::{Host, limits, raw};

/// The cell of tenants that name none. It answers for unknown hosts, too.
pub const DEFAULT_CELL: &str = "default";

/// A trust group of tenants: tenants of different cells never share a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Unique name: lower-case letters, digits and inner hyphens, at most 63 bytes.
    pub name: String,
    /// The most memory of all its workers together, in MiB; `None`: as much as there is.
    pub memory_max_mib: Option<u64>,
    /// The most CPU time of all its workers together, in cores; `None`: as much as there is.
    pub cpu_max: Option<f64>,
}

impl Cell {
    /// A cell without limits of its own.
    pub fn named(name: &str) -> Cell {
        Cell {
            name: name.to_owned(),
            memory_max_mib: None,
            cpu_max: None,
        }
    }

    /// Whether it has limits that only a control group can keep.
    pub fn has_limits(&self) -> bool {
        self.memory_max_mib.is_some() || self.cpu_max.is_some()
    }
}

impl Default for Cell {
    fn default() -> Cell {
        Cell::named(DEFAULT_CELL)
    }
}

impl Checker<'_, '_> {
    /// The cells that have a section, or else those that tenants name; the default one first.
    pub(super) fn cells(&mut self, file: &raw::File) -> Vec<Cell> {
        let mut cells = vec![Cell::default()];
        let mut seen = Seen::new();
        for (index, entry) in file.cell.iter().enumerate() {
            let cell = self.cell(index, entry, &mut seen);
            match cells.iter_mut().find(|known| known.name == cell.name) {
                Some(known) => *known = cell,
                None => cells.push(cell),
            }
        }
        if file.cell.is_empty() {
            for tenant in &file.tenant {
                let named = tenant.get_ref().cell.as_ref().map(Spanned::get_ref);
                if let Some(name) = named.filter(|name| is_name(name))
                    && !cells.iter().any(|cell| cell.name == *name)
                {
                    cells.push(Cell::named(name));
                }
            }
        }
        cells
    }

    fn cell(&mut self, index: usize, entry: &Spanned<raw::Cell>, seen: &mut Seen<String>) -> Cell {
        let raw = entry.get_ref();
        let section = match &raw.name {
            Some(name) if is_name(name.get_ref()) => format!("cell.{}", name.get_ref()),
            _ => format!("cell[{index}]"),
        };
        let mut cell = Cell::named("");
        let key = format!("{section}.name");
        match &raw.name {
            None => self.missing(Some(entry.span()), &key, NAME_RIGHT),
            Some(name) if !is_name(name.get_ref()) => {
                self.report
                    .value(name.span(), key, "not a cell's name", NAME_RIGHT);
            }
            Some(name) => {
                cell.name.clone_from(name.get_ref());
                match seen.entry(name.get_ref().clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(name.span().start);
                    }
                    Entry::Occupied(entry) => {
                        let wrong =
                            format!("already used in line {}", self.report.line(*entry.get()));
                        let right = "one that no other cell has";
                        self.report.value(name.span(), key, wrong, right);
                    }
                }
            }
        }
        let limit = &limits::CELL_MEMORY_MAX_MIB;
        if raw.memory_max_mib.is_some() {
            cell.memory_max_mib = Some(self.limit(&section, &raw.memory_max_mib, limit));
        }
        if let Some(cpu) = &raw.cpu_max {
            let (least, most) = (limits::CELL_CPU_MIN, limits::WORKERS_MAX as f64);
            if (least..=most).contains(cpu.get_ref()) {
                cell.cpu_max = Some(*cpu.get_ref());
            } else {
                let right = format!("{least} to {most} cores");
                let key = format!("{section}.cpu_max");
                self.report.value(cpu.span(), key, "out of range", right);
            }
        }
        cell
    }

    /// Complains about more cells than there may be, or than have room for a worker on every core.
    pub(super) fn cells_fit(&mut self, file: &raw::File, host: &Host) {
        let first = file.cell.first().map(Spanned::span);
        let named =
            |tenant: &Spanned<raw::Tenant>| tenant.get_ref().cell.as_ref().map(Spanned::span);
        let near = first.or_else(|| file.tenant.iter().find_map(named));
        if let Err((wrong, right)) = check_count(host.cells.len(), host.cores.len()) {
            self.report.place(near, "cell", wrong, right);
        }
    }
}

impl Host {
    /// Whether every cell can have a worker on each core of this host, which may have been started
    /// with another configuration.
    ///
    /// # Errors
    /// Why not, in one line.
    pub fn check_cells(&self) -> Result<(), String> {
        let fits = check_count(self.cells.len(), self.cores.len());
        fits.map_err(|(wrong, right)| format!("cell: {wrong}; {right}"))
    }
}

/// Whether this many cells can have a worker on each of this many cores. The error is what is wrong
/// and what would be right.
fn check_count(cells: usize, cores: usize) -> Result<(), (String, String)> {
    let workers = cells * cores;
    if cells > limits::CELLS_MAX {
        let right = format!("at most {}, the default one included", limits::CELLS_MAX);
        return Err((format!("{cells} cells are too many"), right));
    }
    // One cell with too many cores is what workers.cores complains about.
    if cells > 1 && workers > limits::WORKERS_MAX {
        let wrong =
            format!("{cells} cells on {cores} cores are {workers} workers, which are too many");
        let right = format!(
            "fewer cells or workers.cores: at most {} workers",
            limits::WORKERS_MAX
        );
        return Err((wrong, right));
    }
    Ok(())
}
