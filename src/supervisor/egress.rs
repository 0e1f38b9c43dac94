//! The process that connects for the workers: its start, its tenants, its end.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::control::{Caller, Placed, ToEgress, ToWorker, origin_caller};
use crate::supervisor::child::{Child, Message};
use crate::supervisor::messages;
use crate::supervisor::roster::{Change, cell_of};
use crate::supervisor::start::Supervisor;
use crate::sys::channel::Channel;
use crate::sys::report;

/// Most time for it to end, in milliseconds: it holds nothing that could be lost.
const EGRESS_STOP_MS: u64 = 1_000;

impl Supervisor {
    /// Starts the process, tells it everything, and gives every worker a new channel to it.
    pub(super) fn start_egress(&mut self) -> io::Result<()> {
        let mut egress = Child::start("egress", false)?;
        report::line(format_args!("egress pid {}", egress.pid()));
        self.pids.write("egress", egress.pid())?;
        let start = ToEgress::Start {
            resolvers: self.host.network.resolvers.clone(),
            require: self.host.require.clone(),
        };
        egress.say(Message::new(&start, Vec::new())?);
        for placed in self.roster.tenants() {
            self.tell_of(&mut egress, placed);
        }
        self.rewire_data(&mut egress)?;
        let mut wired = Vec::new();
        for index in self.workers.keys() {
            wired.push((*index, self.wire_egress(self.cells.of_worker(*index))?));
        }
        for (index, (end, message)) in wired {
            let worker = self.workers.get_mut(&index);
            if let Some(child) = worker.and_then(|it| it.slot.child.as_mut()) {
                child.say(Message::new(&ToWorker::Egress, vec![end])?);
                egress.say(message);
            }
        }
        self.egress.child = Some(egress);
        Ok(())
    }

    /// A channel between a worker of the cell at `cell` and the egress process: the worker's end, and the
    /// message that gives the other one away.
    pub(super) fn wire_egress(&self, cell: usize) -> io::Result<(Rc<OwnedFd>, Message)> {
        let (ours, theirs) = Channel::pair()?;
        let theirs = vec![Rc::new(OwnedFd::from(theirs))];
        let message = Message::new(&ToEgress::Worker { cell }, theirs)?;
        Ok((Rc::new(ours.into()), message))
    }

    /// Tells it of a reload's changes.
    pub(super) fn tell_egress(&mut self, changes: &[Change]) {
        let Some(mut egress) = self.egress.child.take() else {
            return;
        };
        for change in changes {
            match change {
                Change::Add(placed) | Change::Replace(placed) | Change::Move(placed, _) => {
                    if placed.tenant.origin.is_none() {
                        let name = origin_caller(&placed.tenant.name);
                        messages::say(&mut egress, &ToEgress::Remove { name });
                    }
                    self.tell_of(&mut egress, placed);
                }
                Change::Remove(name, _) => {
                    for name in [name.clone(), origin_caller(name)] {
                        messages::say(&mut egress, &ToEgress::Remove { name });
                    }
                }
            }
        }
        self.egress.child = Some(egress);
    }

    fn tell_of(&self, egress: &mut Child, placed: &Placed) {
        for caller in Caller::all_of(&placed.tenant, cell_of(placed, &self.cells)) {
            messages::say(egress, &ToEgress::Tenant(Box::new(caller)));
        }
    }

    /// Ends it, once nobody needs it any more.
    pub(super) fn stop_egress(&mut self) {
        if let Some(egress) = &mut self.egress.child {
            messages::say(egress, &ToEgress::Stop);
            egress.kill_after_ms(EGRESS_STOP_MS);
        }
    }
}
