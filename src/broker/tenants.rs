//! Which tenant has which artifacts, and which worker is to have which.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Event;
use super::deliver::{Courier, Delivery};
use super::prepare::{Artifact, Preparer};
use super::store::STORE_BYTES_MAX;
use super::workshops::Workshops;
use crate::control::Placed;
use crate::sys::{AsyncChannel, report};

/// How often one artifact may turn out damaged after it was prepared before its tenant is refused.
const LOSSES_MAX: u32 = 3;

/// A tenant, and what became of its component.
#[derive(Debug)]
struct Known {
    placed: Placed,
    /// One for each kind of engine that its workers have, by the place of its workshop.
    builds: BTreeMap<usize, Build>,
}

/// A tenant's artifact for one kind of engine. Dropped, it is not waited for any more.
#[derive(Debug)]
struct Build {
    /// `None` while it is being prepared.
    outcome: Option<Result<Artifact, String>>,
    preparing: AbortHandle,
    losses: u32,
}

impl Drop for Build {
    fn drop(&mut self) {
        self.preparing.abort();
    }
}

/// All tenants and all workers.
#[derive(Debug)]
pub(super) struct Tenants {
    known: HashMap<String, Known>,
    couriers: HashMap<usize, Courier>,
    workshops: Workshops,
    preparer: Arc<Preparer>,
    events: mpsc::Sender<Event>,
}

impl Tenants {
    /// None yet. What is prepared or lost is reported to `events`, whose other end is to come back
    /// in [`Self::event`].
    pub(super) fn new(workshops: Workshops, events: mpsc::Sender<Event>) -> Tenants {
        Tenants {
            known: HashMap::new(),
            couriers: HashMap::new(),
            workshops,
            preparer: Arc::default(),
            events,
        }
    }

    /// A tenant is new, changed or moved.
    pub(super) fn set(&mut self, placed: Placed) {
        let name = placed.tenant.name.clone();
        // Whose requests are only passed on has no program.
        let needed = match placed.tenant.component {
            Some(_) => self.workshops.of_workers(&placed.workers),
            None => Default::default(),
        };
        let mut builds = match self.known.remove(&name) {
            Some(known) if known.placed.generation == placed.generation => known.builds,
            _ => BTreeMap::new(),
        };
        builds.retain(|workshop, _| needed.contains(workshop));
        for workshop in needed {
            builds.entry(workshop).or_insert_with(|| Build {
                outcome: None,
                preparing: self.prepare(&placed, workshop),
                losses: 0,
            });
        }
        let known = Known { placed, builds };
        for workshop in known.builds.keys() {
            self.deliver(&known, *workshop);
        }
        self.known.insert(name, known);
    }

    /// A tenant is gone.
    pub(super) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// A worker is there, for the first time or again: it gets what it is to have.
    pub(super) fn worker(&mut self, index: usize, channel: AsyncChannel) {
        let workshop = self.workshops.of_worker(index);
        let events = self.events.clone();
        let courier = Courier::start(channel, self.workshops.store(), workshop, events);
        for known in self
            .known
            .values()
            .filter(|known| known.placed.workers.contains(&index))
        {
            if let Some(delivery) = known.delivery(workshop) {
                courier.deliver(delivery);
            }
        }
        self.couriers.insert(index, courier);
    }

    /// A worker is gone for good.
    pub(super) fn retire(&mut self, index: usize) {
        self.couriers.remove(&index);
    }

    /// Takes in what a task found out; what it says about a generation that is no longer current is
    /// dropped. Gives the tenant and its error, if any, once an artifact is settled, unless the same
    /// error was given before.
    pub(super) fn event(&mut self, event: Event) -> Option<(String, Option<String>)> {
        match event {
            Event::Prepared {
                tenant,
                generation,
                workshop,
                outcome,
            } => {
                let error = outcome.as_ref().err().cloned();
                let news = self.settle(&tenant, generation, workshop, outcome)?;
                self.sweep();
                news.then_some((tenant, error))
            }
            Event::Lost {
                tenant,
                generation,
                workshop,
            } => {
                let build = self.build(&tenant, generation, workshop)?;
                // Another worker's courier may have lost it just before: then it is on its way
                // already.
                let _damaged = build.outcome.take()?;
                build.losses += 1;
                if build.losses > LOSSES_MAX {
                    let reason = "its artifact is damaged whenever it is made".to_owned();
                    let outcome = Err(reason.clone());
                    let news = self.settle(&tenant, generation, workshop, outcome)?;
                    return news.then_some((tenant, Some(reason)));
                }
                let preparing = self.prepare(&self.known.get(&tenant)?.placed, workshop);
                self.build(&tenant, generation, workshop)?.preparing = preparing;
                None
            }
        }
    }

    fn build(&mut self, tenant: &str, generation: u64, workshop: usize) -> Option<&mut Build> {
        let known = self.known.get_mut(tenant)?;
        let is_current = known.placed.generation == generation;
        known.builds.get_mut(&workshop).filter(|_| is_current)
    }

    /// Notes how a build ended and tells the workers. Whether this is news: a component that cannot
    /// be compiled mostly fails in every workshop for the same reason. `None` when nobody waits for
    /// it any more.
    fn settle(
        &mut self,
        tenant: &str,
        generation: u64,
        workshop: usize,
        outcome: Result<Artifact, String>,
    ) -> Option<bool> {
        self.build(tenant, generation, workshop)?.outcome = Some(outcome);
        let known = self.known.get(tenant)?;
        self.deliver(known, workshop);
        let error = |build: &Build| build.outcome.clone().and_then(Result::err);
        let own = error(known.builds.get(&workshop)?);
        let mut others = known.builds.iter().filter(|(place, _)| **place != workshop);
        Some(own.is_none() || !others.any(|(_, build)| error(build) == own))
    }

    fn prepare(&self, placed: &Placed, workshop: usize) -> AbortHandle {
        let (preparer, events) = (self.preparer.clone(), self.events.clone());
        let (tenant, generation) = (placed.tenant.name.clone(), placed.generation);
        let component = placed.tenant.component.clone().unwrap_or_default();
        let fuel = placed.tenant.limits.fuel > 0;
        let tools = self.workshops.at(workshop);
        tokio::spawn(async move {
            let outcome = preparer.prepare(&tools, &tenant, component, fuel).await;
            // Nobody listens only when the broker is ending.
            let _ = events
                .send(Event::Prepared {
                    tenant,
                    generation,
                    workshop,
                    outcome,
                })
                .await;
        })
        .abort_handle()
    }

    /// Tells the tenant's workers with that workshop what is known.
    fn deliver(&self, known: &Known, workshop: usize) {
        let Some(delivery) = known.delivery(workshop) else {
            return;
        };
        for index in &known.placed.workers {
            if self.workshops.of_worker(*index) == workshop
                && let Some(courier) = self.couriers.get(index)
            {
                courier.deliver(delivery.clone());
            }
        }
    }

    /// Keeps the store within its size, once nothing is being prepared.
    fn sweep(&self) {
        let builds = || self.known.values().flat_map(|known| known.builds.values());
        if builds().any(|build| build.outcome.is_none()) {
            return;
        }
        let in_use: HashSet<String> = builds()
            .filter_map(|build| build.outcome.as_ref()?.as_ref().ok())
            .map(|artifact| artifact.name.clone())
            .collect();
        let store = self.workshops.store();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = store.sweep(&in_use, STORE_BYTES_MAX) {
                report::line(format_args!(
                    "artifacts directory: cannot be swept: {error}"
                ));
            }
        });
    }
}

impl Known {
    fn delivery(&self, workshop: usize) -> Option<Delivery> {
        Some(Delivery {
            tenant: self.placed.tenant.name.clone(),
            generation: self.placed.generation,
            outcome: self.builds.get(&workshop)?.outcome.clone()?,
        })
    }
}
