//! Which tenant has which artifact, and which worker is to have it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Event;
use super::deliver::{Courier, Delivery};
use super::prepare::{Artifact, Preparer, Workshop};
use super::store::STORE_BYTES_MAX;
use crate::control::Placed;
use crate::sys::{AsyncChannel, report};

/// How often one artifact may turn out damaged after it was prepared before its tenant is refused.
const LOSSES_MAX: u32 = 3;

/// A tenant, and what became of its component.
#[derive(Debug)]
struct Known {
    placed: Placed,
    /// `None` while it is being prepared.
    outcome: Option<Result<Artifact, String>>,
    preparing: AbortHandle,
    losses: u32,
}

/// All tenants and all workers.
#[derive(Debug)]
pub(super) struct Tenants {
    known: HashMap<String, Known>,
    couriers: HashMap<usize, Courier>,
    workshop: Arc<Workshop>,
    preparer: Arc<Preparer>,
    events: mpsc::Sender<Event>,
}

impl Tenants {
    /// None yet. What is prepared or lost is reported to `events`, whose other end is to come back
    /// in [`Self::event`].
    pub(super) fn new(workshop: Arc<Workshop>, events: mpsc::Sender<Event>) -> Tenants {
        let preparer = Arc::new(Preparer::new(workshop.clone()));
        Tenants {
            known: HashMap::new(),
            couriers: HashMap::new(),
            workshop,
            preparer,
            events,
        }
    }

    /// A tenant is new, changed or moved.
    pub(super) fn set(&mut self, placed: Placed) {
        let name = placed.tenant.name.clone();
        if let Some(known) = self.known.get_mut(&name) {
            if known.placed.generation == placed.generation {
                known.placed = placed;
                self.deliver(&name);
                return;
            }
            known.preparing.abort();
        }
        let preparing = self.prepare(&placed);
        self.known.insert(
            name,
            Known {
                placed,
                outcome: None,
                preparing,
                losses: 0,
            },
        );
    }

    /// A tenant is gone.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(known) = self.known.remove(name) {
            known.preparing.abort();
        }
    }

    /// A worker is there, for the first time or again: it gets what it is to have.
    pub(super) fn worker(&mut self, index: usize, channel: AsyncChannel) {
        let courier = Courier::start(channel, self.workshop.clone(), self.events.clone());
        for known in self
            .known
            .values()
            .filter(|known| known.placed.workers.contains(&index))
        {
            if let Some(delivery) = known.delivery() {
                courier.deliver(delivery);
            }
        }
        self.couriers.insert(index, courier);
    }

    /// Takes in what a task found out; what it says about a generation that is no longer current is
    /// dropped. Gives the tenant and its error, if any, once its artifact is settled.
    pub(super) fn event(&mut self, event: Event) -> Option<(String, Option<String>)> {
        match event {
            Event::Prepared {
                tenant,
                generation,
                outcome,
            } => {
                let known = self.current(&tenant, generation)?;
                let error = outcome.as_ref().err().cloned();
                known.outcome = Some(outcome);
                self.deliver(&tenant);
                self.sweep();
                Some((tenant, error))
            }
            Event::Lost { tenant, generation } => {
                let known = self.current(&tenant, generation)?;
                // Another worker's courier may have lost it just before: then it is on its way
                // already.
                let _damaged = known.outcome.take()?;
                known.losses += 1;
                if known.losses > LOSSES_MAX {
                    let reason = "its artifact is damaged whenever it is made".to_owned();
                    known.outcome = Some(Err(reason.clone()));
                    self.deliver(&tenant);
                    return Some((tenant, Some(reason)));
                }
                let placed = known.placed.clone();
                let preparing = self.prepare(&placed);
                self.current(&tenant, generation)?.preparing = preparing;
                None
            }
        }
    }

    fn current(&mut self, tenant: &str, generation: u64) -> Option<&mut Known> {
        self.known
            .get_mut(tenant)
            .filter(|known| known.placed.generation == generation)
    }

    fn prepare(&self, placed: &Placed) -> AbortHandle {
        let (preparer, events) = (self.preparer.clone(), self.events.clone());
        let (tenant, generation) = (placed.tenant.name.clone(), placed.generation);
        let component = placed.tenant.component.clone();
        tokio::spawn(async move {
            let outcome = preparer.prepare(component).await;
            // Nobody listens only when the broker is ending.
            let _ = events
                .send(Event::Prepared {
                    tenant,
                    generation,
                    outcome,
                })
                .await;
        })
        .abort_handle()
    }

    /// Tells the tenant's workers what is known.
    fn deliver(&self, tenant: &str) {
        let Some(known) = self.known.get(tenant) else {
            return;
        };
        let Some(delivery) = known.delivery() else {
            return;
        };
        for index in &known.placed.workers {
            if let Some(courier) = self.couriers.get(index) {
                courier.deliver(delivery.clone());
            }
        }
    }

    /// Keeps the store within its size, once nothing is being prepared.
    fn sweep(&self) {
        if self.known.values().any(|known| known.outcome.is_none()) {
            return;
        }
        let in_use: HashSet<String> = self
            .known
            .values()
            .filter_map(|known| known.outcome.as_ref()?.as_ref().ok())
            .map(|artifact| artifact.name.clone())
            .collect();
        let workshop = self.workshop.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = workshop.store.sweep(&in_use, STORE_BYTES_MAX) {
                report::line(format_args!(
                    "artifacts directory: cannot be swept: {error}"
                ));
            }
        });
    }
}

impl Known {
    fn delivery(&self) -> Option<Delivery> {
        Some(Delivery {
            tenant: self.placed.tenant.name.clone(),
            generation: self.placed.generation,
            outcome: self.outcome.clone()?,
        })
    }
}
