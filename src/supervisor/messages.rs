//! The messages that tell a child which tenants there are.

use std::rc::Rc;

use crate::control::{Placed, ToBroker, ToWorker};
use crate::supervisor::child::{Child, Message};
use crate::supervisor::roster::{Change, Roster};
use crate::sys::report;

/// Tells `worker` of every tenant, and to route by that.
pub(super) fn tell_worker_all(worker: &mut Child, roster: &Roster) {
    for placed in roster.tenants() {
        if let Some(message) = tenant_for_worker(placed) {
            worker.say(message);
        }
    }
    commit(worker);
}

/// Tells `broker` of every tenant.
pub(super) fn tell_broker_all(broker: &mut Child, roster: &Roster) {
    for placed in roster.tenants() {
        say(broker, &ToBroker::Tenant(Box::new(placed.clone())));
    }
}

/// Tells all workers of the changes, and to route by them.
pub(super) fn tell_workers<'a>(workers: impl Iterator<Item = &'a mut Child>, changes: &[Change]) {
    let messages: Vec<Message> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Add(placed) | Change::Replace(placed) => tenant_for_worker(placed),
            Change::Remove(name) => encode(name, &ToWorker::Remove { name: name.clone() }),
        })
        .collect();
    for worker in workers {
        for message in &messages {
            worker.say(message.clone());
        }
        commit(worker);
    }
}

/// Tells `broker` of the changes.
pub(super) fn tell_broker(broker: &mut Child, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Add(placed) | Change::Replace(placed) => {
                say(broker, &ToBroker::Tenant(Box::new(placed.clone())));
            }
            Change::Remove(name) => say(broker, &ToBroker::Remove { name: name.clone() }),
        }
    }
}

/// Says a message that carries no descriptors.
pub(super) fn say<M: serde::Serialize>(child: &mut Child, message: &M) {
    // Only a tenant's message can be too long, and that was reported with the one to the workers.
    if let Ok(message) = Message::new(message, Vec::new()) {
        child.say(message);
    }
}

fn commit(worker: &mut Child) {
    worker.uncommitted += 1;
    say(worker, &ToWorker::Commit);
}

fn tenant_for_worker(placed: &Placed) -> Option<Message> {
    encode(
        &placed.tenant.name,
        &ToWorker::Tenant(Box::new(placed.clone())),
    )
}

/// A message about one tenant; one that does not fit costs that tenant only.
fn encode(tenant: &str, message: &ToWorker) -> Option<Message> {
    Message::new(message, Vec::<Rc<_>>::new())
        .inspect_err(|error| {
            report::line(format_args!(
                "tenant {tenant} is not served: {error}; shorten its env"
            ));
        })
        .ok()
}
