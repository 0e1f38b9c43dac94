//! Which worker belongs to which cell.
//!
//! Every cell has a worker on every core, and their places in the list of all workers follow each
//! other, so that a place says both:
//!
//! ```text
//! cell      default   gold      (gone)    silver
//! place     0         1         2         3
//! worker    0  1      2  3      4  5      6  7        core = place in its cell: 0 or 1
//! ```
//!
//! A place that was used is not used again: its workers may still be finishing.

use std::ops::Range;

use crate::config::Cell;

/// The cells of a host since it was started.
#[derive(Debug)]
pub(super) struct Cells {
    /// How many cores each has a worker on.
    cores: usize,
    /// Names by place; `None` for those that are gone. The first is the default one.
    names: Vec<Option<String>>,
}

/// What a new configuration changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arranged {
    /// Places of new cells.
    pub(super) added: Vec<usize>,
    /// Places of cells that are gone.
    pub(super) gone: Vec<usize>,
}

impl Cells {
    /// No cells yet, on this many cores.
    pub(super) fn new(cores: usize) -> Cells {
        Cells {
            cores,
            names: Vec::new(),
        }
    }

    /// Has exactly these cells from now on.
    pub(super) fn arrange(&mut self, cells: &[Cell]) -> Arranged {
        let mut arranged = Arranged::default();
        for (place, name) in self.names.iter_mut().enumerate() {
            if name
                .take_if(|name| !cells.iter().any(|cell| cell.name == *name))
                .is_some()
            {
                arranged.gone.push(place);
            }
        }
        for cell in cells {
            if self.place(&cell.name).is_none() {
                arranged.added.push(self.names.len());
                self.names.push(Some(cell.name.clone()));
            }
        }
        arranged
    }

    /// The place of a cell.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        let mut names = self.names.iter();
        names.position(|known| known.as_deref() == Some(name))
    }

    /// The name of the cell at a place; `None` when it is gone.
    pub(super) fn name(&self, place: usize) -> Option<&str> {
        self.names.get(place)?.as_deref()
    }

    /// The workers of the cell at a place.
    pub(super) fn workers(&self, place: usize) -> Range<usize> {
        place * self.cores..(place + 1) * self.cores
    }

    /// The place of a worker's cell.
    pub(super) fn of_worker(&self, worker: usize) -> usize {
        worker / self.cores
    }

    /// A worker's place in its cell, which is that of its core.
    pub(super) fn core_of(&self, worker: usize) -> usize {
        worker % self.cores
    }

    /// Whether there is more than one.
    pub(super) fn are_several(&self) -> bool {
        self.names.iter().flatten().count() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(names: &[&str]) -> Vec<Cell> {
        names.iter().map(|name| Cell::named(name)).collect()
    }

    #[test]
    fn places_stay_and_are_not_used_again() {
        let mut all = Cells::new(2);
        let mut arrange = |names: &[&str]| {
            let Arranged { added, gone } = all.arrange(&cells(names));
            (added, gone)
        };
        assert_eq!(arrange(&["default"]), (vec![0], vec![]));
        assert_eq!(arrange(&["default", "gold", "iron"]), (vec![1, 2], vec![]));
        assert_eq!(arrange(&["default", "iron"]), (vec![], vec![1]));
        assert_eq!(arrange(&["default", "iron"]), (vec![], vec![]));
        assert_eq!(arrange(&["default", "gold"]), (vec![3], vec![2]));
        assert!(all.are_several());
        assert_eq!(all.place("gold"), Some(3));
        assert_eq!(all.place("iron"), None);
        assert_eq!((all.name(2), all.name(3)), (None, Some("gold")));
        assert_eq!(all.workers(3), 6..8);
        assert_eq!((all.of_worker(7), all.core_of(7)), (3, 1));
        all.arrange(&cells(&["default"]));
        assert!(!all.are_several());
    }
}
