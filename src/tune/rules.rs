//! Wanted values that depend on the machine, the layout and the configuration.

use serde::Deserialize;

use super::layout::Layout;
use super::places::Of;
use super::settings::{Format, Resource, Setting, Target, Wanted};
use super::topology::Topology;
use crate::config::limits::{CONNECTIONS_MAX, TENANTS_MAX};
use crate::config::{CpuSet, Host, Profile};

/// Descriptors of a worker beside connections and tenants: ring, engines, mailboxes, log.
const OPEN_FILES_OTHER: u64 = 1_024;

/// What a profile is called that equals no built-in one.
pub const CUSTOM: &str = "custom";

/// A named way to compute a wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The memory mappings of a worker whose every slot was used.
    MaxMapCount,
    /// The descriptors of a worker with every connection open.
    OpenFiles,
    /// The workers' CPUs.
    WorkerCpus,
    /// Every CPU without a worker.
    OtherCpus,
    /// For an interrupt: the CPU that takes its queue.
    QueueCpu,
    /// For a receive queue: the CPUs that its packets are spread over.
    RpsCpus,
    /// For a transmit queue: the workers that send through it.
    XpsCpus,
}

/// What the configuration asks of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The profile's name; [`CUSTOM`] for one that is no built-in.
    pub profile: String,
    /// The cores of configured workers.
    pub workers: Option<Vec<usize>>,
    /// Memory mappings of one worker.
    pub mappings: u64,
    /// Open descriptors of one worker.
    pub open_files: u64,
}

impl Needs {
    /// Those of a profile and, where there is one, of a configuration. Without one, room for the
    /// most tenants.
    pub fn of(profile: &Profile, host: Option<&Host>) -> Needs {
        let tenants = host.map_or(TENANTS_MAX, |host| host.tenants.len());
        let connections = host.map_or(CONNECTIONS_MAX.default, |host| {
            host.http.connections_max as u64
        });
        // A core may have a profile of its own, and the limit is one for every process.
        let own = host
            .into_iter()
            .flat_map(|host| host.core_profiles.values())
            .map(|own| own.profile.mappings_needed(tenants, false));
        Needs {
            profile: name_of(profile).to_owned(),
            workers: host.map(|host| host.cores.clone()),
            mappings: own.fold(profile.mappings_needed(tenants, false), u64::max),
            open_files: connections + tenants as u64 + OPEN_FILES_OTHER,
        }
    }
}

/// The built-in profile that is the same, or [`CUSTOM`].
fn name_of(profile: &Profile) -> &'static str {
    let mut names = Profile::names();
    let same = |name: &&str| {
        let built_in = Profile::find(name, std::path::Path::new(""));
        built_in.is_ok_and(|built_in| built_in == *profile)
    };
    names.find(same).unwrap_or(CUSTOM)
}

/// What one place should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// One of these; the first is written. Never empty.
    AnyOf(Vec<String>),
    /// A number from `least` on; `write` is written.
    AtLeast {
        /// The smallest that is enough.
        least: u64,
        /// What is written where it is less.
        write: u64,
    },
    /// Exactly these CPUs.
    Cpus(CpuSet),
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// Its layout.
    pub layout: &'a Layout,
    /// What the configuration needs.
    pub needs: &'a Needs,
}

impl Context<'_> {
    /// What a setting wants of one place; or why it wants nothing.
    pub fn want(&self, setting: &Setting, of: Of) -> Result<Want, String> {
        match &setting.wanted {
            Wanted::Value(value) => Ok(Want::AnyOf(vec![value.clone()])),
            Wanted::AnyOf(words) => Ok(Want::AnyOf(words.clone())),
            Wanted::AtLeast(least) => Ok(at_least(*least, *least)),
            Wanted::Cpus(cpus) => Ok(Want::Cpus(cpus.clone())),
            Wanted::Rule(rule) => self.compute(*rule, of),
        }
    }

    fn compute(&self, rule: Rule, of: Of) -> Result<Want, String> {
        let aside = || match self.layout.set_aside {
            true => Ok(()),
            false => Err("no core is set aside: workers are everywhere".to_owned()),
        };
        match (rule, of) {
            (Rule::MaxMapCount, _) => {
                let needed = self.needs.mappings;
                Ok(at_least(needed, needed.next_power_of_two()))
            }
            (Rule::OpenFiles, _) => {
                let needed = self.needs.open_files;
                Ok(at_least(needed, needed.next_power_of_two()))
            }
            (Rule::WorkerCpus, _) => aside().map(|()| Want::Cpus(self.layout.workers.cpus.clone())),
            (Rule::OtherCpus, _) => aside().map(|()| Want::Cpus(self.layout.others(self.topology))),
            (Rule::QueueCpu, Of::Irq { nic, irq }) => self.queue_cpu(nic, irq),
            (Rule::RpsCpus, Of::Queue { nic, .. }) => self.rps_cpus(nic),
            (Rule::XpsCpus, Of::Queue { nic, queue }) => self.xps_cpus(nic, queue),
            // `misfit` has refused these.
            _ => Err("the rule does not fit the path".to_owned()),
        }
    }

    fn queue_cpu(&self, nic: usize, irq: usize) -> Result<Want, String> {
        let nic = self.topology.nics.get(nic).ok_or("no such card")?;
        let irq = nic.irqs.get(irq).ok_or("no such interrupt")?;
        let cpus = self.layout.interrupt_cpus(nic, self.topology);
        if !self.layout.set_aside && nic.rx.len() < cpus.len() {
            return Err(
                "no core is set aside, and the card has fewer queues than workers".to_owned(),
            );
        }
        // An interrupt of no queue manages the card: it comes rarely.
        let turn = irq.queue.unwrap_or(0).checked_rem(cpus.len()).unwrap_or(0);
        let cpu = cpus.get(turn).copied();
        Ok(Want::Cpus(cpu.into_iter().collect()))
    }

    fn rps_cpus(&self, nic: usize) -> Result<Want, String> {
        let nic = self.topology.nics.get(nic).ok_or("no such card")?;
        let cpus = self.layout.interrupt_cpus(nic, self.topology);
        match nic.rx.len() < cpus.len() {
            true => Ok(Want::Cpus(cpus.into_iter().collect())),
            // As many queues as CPUs: the card itself spreads packets.
            false => Ok(Want::Cpus(CpuSet::default())),
        }
    }

    fn xps_cpus(&self, nic: usize, queue: usize) -> Result<Want, String> {
        let queues = self.topology.nics.get(nic).map_or(0, |nic| nic.tx.len());
        if queues < 2 {
            return Err("one transmit queue: there is nothing to choose".to_owned());
        }
        let workers = self.layout.workers.cpus.iter().enumerate();
        let mine = workers.filter(|(index, _)| index % queues == queue);
        Ok(Want::Cpus(mine.map(|(_, cpu)| cpu).collect()))
    }
}

fn at_least(least: u64, write: u64) -> Want {
    Want::AtLeast { least, write }
}

impl Rule {
    /// What would fit, when this rule cannot say anything about a target.
    pub(super) fn misfit(self, target: &Target, pattern: Option<&str>) -> Option<String> {
        let cpus = match target {
            Target::File { format, .. } => matches!(format, Format::List | Format::Mask),
            Target::Boot(_) => true,
            Target::Limit(_) => false,
        };
        let has = |placeholder| pattern.is_some_and(|pattern| pattern.contains(placeholder));
        let (fits, right) = match self {
            Rule::MaxMapCount => (!cpus && pattern.is_some(), "a path with format words"),
            Rule::OpenFiles => (
                *target == Target::Limit(Resource::OpenFiles),
                "limit = \"open_files\"",
            ),
            Rule::WorkerCpus | Rule::OtherCpus => {
                (cpus, "boot, or a path with format list or mask")
            }
            Rule::QueueCpu => (
                cpus && has("{irq}"),
                "{irq} in a path with format list or mask",
            ),
            Rule::RpsCpus => (
                cpus && has("{rx}"),
                "{rx} in a path with format list or mask",
            ),
            Rule::XpsCpus => (
                cpus && has("{tx}"),
                "{tx} in a path with format list or mask",
            ),
        };
        (!fits).then(|| right.to_owned())
    }

    /// What it computes, for the documentation.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Rule::MaxMapCount => "at least a worker's mappings: 12 per slot, 4 per tenant, 1,024",
            Rule::OpenFiles => "at least `connections_max` + tenants + 1,024",
            Rule::WorkerCpus => "the workers' CPUs",
            Rule::OtherCpus => "every CPU without a worker",
            Rule::QueueCpu => "one CPU of the interrupts' for each queue, in turn",
            Rule::RpsCpus => "the interrupts' CPUs when the card has fewer queues, else none",
            Rule::XpsCpus => "the workers in turn, one queue each",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mappings_are_those_that_serve_checks() {
        let cases = [("balanced", 65_024, 65_536), ("density", 281_024, 524_288)];
        for (name, least, write) in cases {
            let profile = Profile::find(name, Path::new("")).unwrap();
            let needs = Needs::of(&profile, None);
            assert_eq!(needs.profile, name);
            assert_eq!(needs.mappings, least);
            assert_eq!(needs.mappings.next_power_of_two(), write);
            assert_eq!(needs.open_files, 16_384 + 10_000 + 1_024);
        }
    }

    #[test]
    fn a_profile_of_ones_own_is_custom() {
        let mut profile = Profile::find("latency", Path::new("")).unwrap();
        assert_eq!(name_of(&profile), "latency");
        profile.slice_us += 1;
        assert_eq!(name_of(&profile), "custom");
    }
}
