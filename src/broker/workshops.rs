//! One workshop for each kind of engine that the host's workers have.
//!
//! Compiled code depends on a part of a profile only, so that workers of different profiles can
//! share artifacts:
//!
//! ```text
//! worker                  0          1         2          3
//! profile                 balanced   latency   density    balanced
//! memory_reservation_mib  4096       4096      128        4096
//! workshop                0          0         1          0
//! ```
//!
//! The next cell's workers, from 4 on, have the same profiles in the same order.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::BrokerError;
use super::prepare::Workshop;
use super::store::Store;
use crate::config::Profile;
use crate::engine::settings;

/// The workshops, all with the same store.
#[derive(Debug)]
pub(super) struct Workshops {
    store: Arc<Store>,
    all: Vec<Arc<Workshop>>,
    /// The place in `all` of the workshop of each worker of one cell.
    of_workers: Vec<usize>,
}

impl Workshops {
    /// Opens the store at `dir`, where the workers of a cell have these profiles, in worker
    /// order; at least one.
    pub(super) fn open(dir: &Path, profiles: Vec<Profile>) -> Result<Workshops, BrokerError> {
        let mut workshops = Workshops {
            store: Arc::new(Store::open(dir)?),
            all: Vec::new(),
            of_workers: Vec::with_capacity(profiles.len()),
        };
        for (index, profile) in profiles.iter().enumerate() {
            // Naming a profile's settings takes two engines: once for each profile.
            let same = profiles[..index]
                .iter()
                .position(|before| before == profile);
            let workshop = match same {
                Some(worker) => workshops.of_workers[worker],
                None => workshops.workshop(profile)?,
            };
            workshops.of_workers.push(workshop);
        }
        Ok(workshops)
    }

    /// The place of the workshop for a profile, which is made if it is the first of its kind.
    fn workshop(&mut self, profile: &Profile) -> Result<usize, BrokerError> {
        let compatibility = settings::compatibility(profile).map_err(BrokerError::Engine)?;
        let mut all = self.all.iter();
        if let Some(place) = all.position(|workshop| workshop.compatibility == compatibility) {
            return Ok(place);
        }
        self.all.push(Arc::new(Workshop {
            store: Arc::clone(&self.store),
            profile: profile.clone(),
            compatibility,
        }));
        Ok(self.all.len() - 1)
    }

    /// The place of a worker's workshop.
    pub(super) fn of_worker(&self, worker: usize) -> usize {
        self.of_workers[worker % self.of_workers.len()]
    }

    /// The places of the workshops that these workers need.
    pub(super) fn of_workers(&self, workers: &[usize]) -> BTreeSet<usize> {
        workers.iter().map(|&it| self.of_worker(it)).collect()
    }

    /// The workshop at a place.
    pub(super) fn at(&self, place: usize) -> Arc<Workshop> {
        Arc::clone(&self.all[place])
    }

    /// Where all of them keep artifacts.
    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_workshop_when_their_code_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let profile = |name| Profile::find(name, Path::new("")).unwrap();
        let profiles = ["balanced", "latency", "density", "balanced", "paranoid"];
        let dir = dir.path().join("artifacts");
        let workshops = Workshops::open(&dir, profiles.map(profile).to_vec()).unwrap();
        assert_eq!(workshops.of_workers, [0, 0, 1, 0, 0]);
        assert_eq!(workshops.all.len(), 2);
        assert_eq!(workshops.of_workers(&[0, 1, 3]), BTreeSet::from([0]));
        assert_eq!(workshops.of_workers(&[2, 4]), BTreeSet::from([0, 1]));
        // Of two more cells.
        assert_eq!(workshops.of_worker(5), 0);
        assert_eq!(workshops.of_worker(12), 1);
    }
}
