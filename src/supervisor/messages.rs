//! The messages that tell a child which tenants there are.

use std::io;
use std::rc::Rc;

use crate::config::limits;
use crate::control::{Placed, ToBroker, ToFront, ToWorker, program_name};
use crate::supervisor::cells::Cells;
use crate::supervisor::child::{Child, Message};
use crate::supervisor::roster::{Change, Roster, cell_of};
use crate::sys::report;

/// Tells a worker of the cell at `cell` of every tenant of its cell, and to route by that.
pub(super) fn tell_worker_all(worker: &mut Child, cell: usize, roster: &Roster, cells: &Cells) {
    for placed in roster.tenants().filter(|it| cell_of(it, cells) == cell) {
        if let Some(message) = tenant_for_worker(placed) {
            worker.say(message);
        }
    }
    commit(worker);
}

/// Tells `broker` of every tenant.
pub(super) fn tell_broker_all(broker: &mut Child, roster: &Roster) {
    for placed in roster.tenants() {
        say_programs(broker, placed);
    }
}

/// What the changes are for the workers of one cell. They learn nothing of other cells' tenants.
pub(super) fn for_cell(changes: &[Change], cell: usize, cells: &Cells) -> Vec<Message> {
    let is_here = |placed: &Placed| cell_of(placed, cells) == cell;
    let message = |change: &Change| match change {
        Change::Add(placed) | Change::Replace(placed) | Change::Move(placed, _)
            if is_here(placed) =>
        {
            tenant_for_worker(placed)
        }
        Change::Move(placed, from) if *from == cell => {
            let name = &placed.tenant.name;
            encode(name, &ToWorker::Leave { name: name.clone() })
        }
        Change::Remove(name, from) if *from == cell => {
            encode(name, &ToWorker::Remove { name: name.clone() })
        }
        _ => None,
    };
    changes.iter().filter_map(message).collect()
}

/// Tells a worker something about its tenants, and to route by it.
pub(super) fn tell_worker(worker: &mut Child, messages: &[Message]) {
    for message in messages {
        worker.say(message.clone());
    }
    commit(worker);
}

/// Tells `broker` of the changes.
pub(super) fn tell_broker(broker: &mut Child, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Add(placed) | Change::Replace(placed) | Change::Move(placed, _) => {
                remove_programs(broker, placed);
                say_programs(broker, placed);
            }
            Change::Remove(name, _) => {
                for name in names_of_programs(name) {
                    say(broker, &ToBroker::Remove { name });
                }
            }
        }
    }
}

fn say_programs(broker: &mut Child, placed: &Placed) {
    for program in placed.programs() {
        say(broker, &ToBroker::Tenant(Box::new(program)));
    }
}

/// Removes those that a tenant may have had and has no more.
fn remove_programs(broker: &mut Child, placed: &Placed) {
    let programs = placed.programs();
    for name in names_of_programs(&placed.tenant.name) {
        if !programs.iter().any(|it| it.tenant.name == name) {
            say(broker, &ToBroker::Remove { name });
        }
    }
}

/// Every name that a program of a tenant can have.
fn names_of_programs(tenant: &str) -> impl Iterator<Item = String> {
    let filters = (0..limits::FILTERS_MAX).map(move |place| program_name(tenant, place));
    std::iter::once(tenant.to_owned()).chain(filters)
}

/// What the front is told of the tenants: whose hosts are whose, and nothing else of them.
///
/// # Errors
/// None that a validated host can cause: a tenant's hosts fit a message.
pub(super) fn routes(roster: &Roster) -> io::Result<Vec<Message>> {
    let route = |placed: &Placed| {
        let route = ToFront::Route {
            hosts: placed.tenant.hosts.clone(),
            workers: placed.workers.clone(),
        };
        Message::new(&route, Vec::new())
    };
    roster.tenants().map(route).collect()
}

/// Says that a worker is to forget a tenant, which is another cell's now.
pub(super) fn removed(name: &str) -> Option<Message> {
    encode(name, &ToWorker::Remove { name: name.into() })
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
