//! What each worker is tuned to, and which of them can hold a tenant.
//!
//! ```text
//! [workers]          profile = "balanced"      cores 0, 1, 2  ─► balanced
//! [[workers.core]]   id = 3                    core 3         ─► density
//!                    profile = "density"
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::validate::{Checker, Seen, ranges};
use super::{Cell, Cores, Host, Profile, raw};

/// The profile of a core that has one of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreProfile {
    /// Its name or path, as configured.
    pub name: String,
    /// What the core's worker is tuned to.
    pub profile: Profile,
}

/// A worker as tenants are placed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its core.
    pub core: usize,
    /// Largest `memory_mib` of a tenant that its profile can hold.
    pub memory_mib_max: u64,
}

impl Host {
    /// What the worker of `core` is tuned to.
    pub fn profile_of(&self, core: usize) -> &Profile {
        match self.core_profiles.get(&core) {
            Some(own) => &own.profile,
            None => &self.profile,
        }
    }

    /// The workers of each cell, in the order of their cores.
    pub fn workers(&self) -> Vec<Worker> {
        let worker = |&core: &usize| Worker {
            core,
            memory_mib_max: self.profile_of(core).memory_mib_max,
        };
        self.cores.iter().map(worker).collect()
    }

    /// Most tenants that a worker may get: those of the largest cell.
    fn tenants_per_worker(&self) -> usize {
        let count = |cell: &Cell| {
            let tenants = self.tenants.iter();
            tenants.filter(|tenant| tenant.cell == cell.name).count()
        };
        self.cells.iter().map(count).max().unwrap_or(0)
    }

    /// Whether this machine can run every worker: it has the protection keys that the profile wants,
    /// and with all tenants of its cell the worker stays below the kernel's limit of mappings, which
    /// is one of each process.
    ///
    /// # Errors
    /// One line about the first worker that does not, with what would help.
    pub fn check_fits(&self) -> Result<(), String> {
        let fuel = self.tenants.iter().any(|tenant| tenant.limits.fuel > 0);
        for core in &self.cores {
            let profile = self.profile_of(*core);
            let fits = profile.check_protection_keys();
            let tenants = self.tenants_per_worker();
            let fits = fits.and_then(|()| profile.check_mappings(tenants, fuel));
            fits.map_err(|line| format!("core {core}: {line}"))?;
        }
        Ok(())
    }

    /// Whether the workers of this host, which may have been started with another configuration,
    /// can hold its tenants.
    ///
    /// # Errors
    /// One line about the first tenant that they cannot.
    pub fn check_room(&self) -> Result<(), String> {
        let workers = self.workers();
        for tenant in &self.tenants {
            let memory_mib = tenant.limits.memory_mib;
            room_for(&workers, &tenant.cores, memory_mib).map_err(|(wrong, right)| {
                let name = &tenant.name;
                format!("tenant.{name}.limits.memory_mib: {wrong} (got {memory_mib}); {right}")
            })?;
        }
        Ok(())
    }
}

/// Whether a tenant with this memory can be placed as `cores` says. Cores without a worker are
/// passed over, as placement does. The error is what is wrong and what would be right.
pub(super) fn room_for(
    workers: &[Worker],
    cores: &Cores,
    memory_mib: u64,
) -> Result<(), (String, String)> {
    let fits = |worker: &&Worker| memory_mib <= worker.memory_mib_max;
    let Some(most) = workers.iter().map(|worker| worker.memory_mib_max).max() else {
        return Ok(());
    };
    let is_alike = workers.iter().all(|worker| worker.memory_mib_max == most);
    if memory_mib > most {
        let wrong = if is_alike {
            format!("above the profile's memory_mib_max of {most}")
        } else {
            format!("above the memory_mib_max of every core's profile, {most} at most")
        };
        return Err((wrong, "less, or a profile with more".into()));
    }
    let count = match cores {
        Cores::Count(count) => *count,
        Cores::List(list) => {
            let mut listed = workers.iter().filter(|it| list.contains(&it.core));
            if let Some(Worker {
                core,
                memory_mib_max,
            }) = listed.find(|worker| !fits(worker))
            {
                let wrong =
                    format!("above the memory_mib_max of core {core}'s profile, {memory_mib_max}");
                return Err((wrong, "less, other cores, or a profile with more".into()));
            }
            1
        }
    };
    let able: Vec<usize> = workers.iter().filter(fits).map(|it| it.core).collect();
    if able.len() < count.min(workers.len()) {
        let (able, cores) = (able.len(), ranges(&able));
        let wrong = format!("{count} workers are wanted and {able} can hold it (cores: {cores})");
        let right = "less, fewer cores, or profiles with more";
        return Err((wrong, right.into()));
    }
    Ok(())
}

/// Profiles that were read already, by name or path: what is wrong with one is said once.
#[derive(Default)]
pub(super) struct Known(BTreeMap<String, Profile>);

impl Checker<'_, '_> {
    /// The profile of every core that has none of its own.
    pub(super) fn profile(&mut self, raw: &raw::Workers, known: &mut Known) -> Profile {
        let default = Spanned::new(0..0, "balanced".to_owned());
        let name = raw.profile.as_ref().unwrap_or(&default);
        self.named_profile("workers.profile", name, known)
    }

    /// The profiles of cores that have one of their own.
    pub(super) fn core_profiles(
        &mut self,
        raw: &raw::Workers,
        cores: &[usize],
        known: &mut Known,
    ) -> BTreeMap<usize, CoreProfile> {
        let mut profiles = BTreeMap::new();
        let mut seen = Seen::new();
        for (index, entry) in raw.core.iter().enumerate() {
            let section = format!("workers.core[{index}]");
            let core = self.core_id(&section, entry, cores, &mut seen);
            let key = format!("{section}.profile");
            let Some(name) = &entry.get_ref().profile else {
                self.missing(Some(entry.span()), &key, Profile::names_in_words());
                continue;
            };
            let profile = self.named_profile(&key, name, known);
            if let Some(core) = core {
                let name = name.get_ref().clone();
                profiles.insert(core, CoreProfile { name, profile });
            }
        }
        profiles
    }

    /// The core that an entry is about, if there is such a worker and no other entry about it.
    fn core_id(
        &mut self,
        section: &str,
        entry: &Spanned<raw::Core>,
        cores: &[usize],
        seen: &mut Seen<usize>,
    ) -> Option<usize> {
        let key = format!("{section}.id");
        let right = format!("one of workers.cores: {}", ranges(cores));
        let Some(id) = &entry.get_ref().id else {
            self.missing(Some(entry.span()), &key, right);
            return None;
        };
        let core = usize::try_from(*id.get_ref()).ok();
        // Without valid workers there is nothing to compare with.
        let Some(core) = core.filter(|core| cores.contains(core) || cores.is_empty()) else {
            let wrong = format!("core {} has no worker", id.get_ref());
            self.report.value(id.span(), key, wrong, right);
            return None;
        };
        if let Some(start) = seen.insert(core, id.span().start) {
            let wrong = format!("already used in line {}", self.report.line(start));
            self.report
                .value(id.span(), key, wrong, "each core at most once");
            return None;
        }
        Some(core)
    }

    /// Finds a profile; one that is wrong is replaced by [`Profile::lenient`].
    fn named_profile(&mut self, key: &str, name: &Spanned<String>, known: &mut Known) -> Profile {
        let text = name.get_ref();
        if let Some(profile) = known.0.get(text) {
            return profile.clone();
        }
        let wrong = if Profile::is_unknown_name(text) {
            Some("no such profile".to_owned())
        } else {
            Profile::unopenable(text, self.dir)
        };
        if let Some(wrong) = wrong {
            let right = Profile::names_in_words();
            self.report.value(name.span(), key, wrong, right);
            return Profile::lenient();
        }
        let found = Profile::find(text, self.dir);
        let profile = found.map_err(|errors| self.report.extend(errors));
        let profile = profile.unwrap_or_else(|()| Profile::lenient());
        known.0.insert(text.clone(), profile.clone());
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_needs_as_many_workers_that_can_hold_it_as_it_wants() {
        let worker = |(core, memory_mib_max)| Worker {
            core,
            memory_mib_max,
        };
        let mixed = [(0, 128), (2, 512), (3, 512), (7, 64)].map(worker);
        let alike = [(0, 128), (2, 128)].map(worker);
        let list = |cores: &[usize]| Cores::List(cores.to_vec());
        let cases: [(&[Worker], Cores, u64, &str); 13] = [
            (&[], Cores::Count(1), 9_999, ""),
            (&alike, Cores::Count(2), 128, ""),
            (&alike, Cores::Count(9), 128, ""),
            (
                &alike,
                Cores::Count(1),
                129,
                "above the profile's memory_mib_max of 128",
            ),
            (
                &alike,
                list(&[2]),
                129,
                "above the profile's memory_mib_max of 128",
            ),
            (&mixed, Cores::Count(2), 512, ""),
            (&mixed, Cores::Count(3), 128, ""),
            (
                &mixed,
                Cores::Count(3),
                129,
                "3 workers are wanted and 2 can hold it (cores: 2-3)",
            ),
            (
                &mixed,
                Cores::Count(1),
                513,
                "above the memory_mib_max of every core's profile, 512 at most",
            ),
            (&mixed, list(&[2, 3]), 512, ""),
            (
                &mixed,
                list(&[3, 7]),
                65,
                "above the memory_mib_max of core 7's profile, 64",
            ),
            // No such worker: any that can hold it.
            (&mixed, list(&[9]), 512, ""),
            (&mixed, list(&[9, 0]), 128, ""),
        ];
        for (workers, cores, memory_mib, expected) in cases {
            let wrong = room_for(workers, &cores, memory_mib);
            let wrong = wrong.map_or_else(|(wrong, _)| wrong, |()| String::new());
            assert_eq!(wrong, expected, "{cores:?} {memory_mib}");
        }
    }
}
