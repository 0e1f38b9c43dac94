//! Who accepts: the workers of the only cell, or with two or more cells the front.
//!
//! ```text
//!              two cells: workers stop accepting, front starts
//!   Workers ─────────────────────────────────────────────────► Front ─┐ table, after the workers
//!      ▲                                                         │    │ know their tenants
//!      └── workers accept ◄── the front is gone ── Returning ◄───┘ ◄──┘
//!                                              one cell: it drains
//! ```
//!
//! The listening sockets are the same all the time, and what they queue waits meanwhile.
//!
//! A tenant that moves to another cell is known to both until the front sends nobody to the old one
//! any more, and then for a short time yet: see [`limits::CELL_LEAVE_MS`].

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::config::limits;
use crate::control::{ToBroker, ToFront, ToWorker};
use crate::supervisor::child::{Child, Message};
use crate::supervisor::messages;
use crate::supervisor::roster::{Change, cell_of};
use crate::supervisor::start::{Slot, Supervisor, WorkerSlot};
use crate::sys::channel::Channel;
use crate::sys::clock::monotonic_ns;
use crate::sys::report;

/// Who accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    /// The workers of the default cell, which is the only one.
    Workers,
    /// The front.
    Front,
    /// The front finishes; then the workers.
    Returning,
}

/// The front's place.
#[derive(Debug)]
pub(super) struct Front {
    /// The process, while there is one.
    pub(super) slot: Slot,
    /// Who accepts.
    pub(super) accepting: Accepting,
    /// Whether its table is not the newest.
    pub(super) is_stale: bool,
}

/// What leaves its cell, once nobody is sent there any more.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Tenants, with the place of the cell that they leave.
    tenants: Vec<(String, usize)>,
    /// Places of cells that are gone.
    cells: Vec<usize>,
    /// When they go; `None` while somebody may still be sent there.
    at_ns: Option<u64>,
}

impl Leaving {
    /// When something is to be done.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.at_ns
    }
}

impl Default for Front {
    fn default() -> Front {
        Front {
            slot: Slot::default(),
            accepting: Accepting::Workers,
            is_stale: false,
        }
    }
}

impl Supervisor {
    /// Notes who leaves which cell by a reload.
    pub(super) fn note_leaving(&mut self, changes: &[Change], gone: Vec<usize>) {
        let moved = changes.iter().filter_map(|change| match change {
            Change::Move(placed, from) => Some((placed.tenant.name.clone(), *from)),
            _ => None,
        });
        let before = (self.leaving.tenants.len(), self.leaving.cells.len());
        self.leaving.tenants.extend(moved);
        for cell in &gone {
            for worker in self.cells.workers(*cell) {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.is_retired = true;
                    worker.slot.restart_ns = None;
                }
            }
        }
        self.leaving.cells.extend(gone);
        if before != (self.leaving.tenants.len(), self.leaving.cells.len()) {
            self.leaving.at_ns = None;
        }
    }

    /// Sees to it that the right ones accept and route by the newest table. To be called when every
    /// worker that is there knows its tenants.
    pub(super) fn steer(&mut self) {
        match (self.cells.are_several(), self.front.accepting) {
            (true, Accepting::Workers) => {
                for worker in self.cells.workers(0) {
                    self.say_to_worker(worker, &ToWorker::Deafen);
                }
                self.front.accepting = Accepting::Front;
                self.try_start_front();
            }
            (several, Accepting::Front) => {
                if self.front.is_stale {
                    self.update_front();
                }
                if !several {
                    self.front.accepting = Accepting::Returning;
                    self.front.slot.restart_ns = None;
                    self.drain_front();
                }
            }
            (_, Accepting::Returning) => match &mut self.front.slot.child {
                None => {
                    self.front.accepting = Accepting::Workers;
                    for worker in self.cells.workers(0) {
                        self.give_listeners(worker);
                    }
                }
                Some(front) if front.drained => stop_front(front),
                Some(_) => {}
            },
            (false, Accepting::Workers) => {}
        }
        if self.front_is_settled() {
            self.leave();
        }
    }

    /// Whether nobody is sent anywhere but where the newest configuration says.
    pub(super) fn front_is_settled(&self) -> bool {
        match self.front.accepting {
            Accepting::Workers => !self.cells.are_several(),
            Accepting::Front => {
                let is_current = |front: &Child| front.ready && front.uncommitted == 0;
                !self.front.is_stale && self.front.slot.child.as_ref().is_some_and(is_current)
            }
            Accepting::Returning => true,
        }
    }

    /// Ends what leaves its cell when its time has come; sets the time when it can be known.
    fn leave(&mut self) {
        if self.leaving.tenants.is_empty() && self.leaving.cells.is_empty() {
            return;
        }
        let now_ns = monotonic_ns();
        let at_ns = *self
            .leaving
            .at_ns
            .get_or_insert(now_ns + limits::CELL_LEAVE_MS * 1_000_000);
        if now_ns < at_ns {
            return;
        }
        let Leaving { tenants, cells, .. } = std::mem::take(&mut self.leaving);
        for (name, cell) in tenants {
            let mut all = self.roster.tenants();
            // It may have come back.
            if all.any(|it| it.tenant.name == name && cell_of(it, &self.cells) == cell) {
                continue;
            }
            let Some(removed) = messages::removed(&name) else {
                continue;
            };
            for index in self.cells.workers(cell) {
                let worker = self.workers.get_mut(&index);
                if let Some(child) = worker.and_then(|it| it.slot.child.as_mut()) {
                    messages::tell_worker(child, std::slice::from_ref(&removed));
                }
            }
        }
        for cell in cells {
            for index in self.cells.workers(cell) {
                self.drain_worker(index);
            }
        }
    }

    /// Stops the workers of cells that are gone once none of a cell's has anything in flight, and
    /// forgets those that have ended.
    pub(super) fn retire(&mut self) {
        let retired = |this: &Supervisor| -> Vec<usize> {
            let workers = this.workers.iter();
            let retired = workers.filter(|(_, worker)| worker.is_retired);
            retired.map(|(index, _)| *index).collect()
        };
        for index in retired(self) {
            if self.workers[&index].slot.child.is_some() {
                let cell = self.cells.workers(self.cells.of_worker(index));
                let mut others = cell.filter_map(|it| self.workers.get(&it)?.slot.child.as_ref());
                if others.all(|child| child.drained) {
                    self.stop_worker(index);
                }
                continue;
            }
            let gone = self.workers.remove(&index);
            if let Some(WorkerSlot { cell, .. }) = gone {
                let mut others = self.workers.values();
                if others.all(|it| it.cell != cell) {
                    self.groups.remove(&cell);
                }
            }
            if let Some(broker) = &mut self.broker.child {
                messages::say(broker, &ToBroker::Retired { index });
            }
        }
    }

    fn try_start_front(&mut self) {
        let result = self.start_front();
        super::run::settle(&mut self.front.slot, "front", result, monotonic_ns());
    }

    /// Starts the front and tells it everything; tells the broker of it.
    pub(super) fn start_front(&mut self) -> io::Result<()> {
        let (log, broker_side) = wire_front()?;
        let mut front = Child::start("front", false)?;
        report::line(format_args!("front pid {}", front.pid()));
        self.pids.write("front", front.pid())?;
        let start = ToFront::Start {
            http: self.host.http.clone(),
            access_log: self.host.log.access,
            require: self.host.require.clone(),
        };
        front.say(Message::new(&start, vec![log])?);
        self.tell_front(&mut front)?;
        for listener in self.listeners.iter().flatten() {
            front.say(Message::new(&ToFront::Listener, vec![listener.clone()])?);
        }
        if let Some(broker) = &mut self.broker.child {
            broker.say(broker_side);
        }
        self.front.slot.child = Some(front);
        self.front.is_stale = false;
        Ok(())
    }

    /// Gives a running front the newest table. One that cannot be told is killed, and its next one
    /// gets it.
    fn update_front(&mut self) {
        let Some(mut front) = self.front.slot.child.take() else {
            return;
        };
        if let Err(error) = self.tell_front(&mut front) {
            report::line(format_args!("front pid {}: {error}", front.pid()));
            front.kill();
        }
        self.front.is_stale = false;
        self.front.slot.child = Some(front);
    }

    fn tell_front(&self, front: &mut Child) -> io::Result<()> {
        for (&worker, slot) in self.workers.iter().filter(|(_, it)| !it.is_retired) {
            let mailbox = vec![slot.mailbox_send.clone()];
            front.say(Message::new(&ToFront::Mailbox { worker }, mailbox)?);
        }
        for route in messages::routes(&self.roster)? {
            front.say(route);
        }
        let default = self.cells.workers(0).collect();
        front.say(Message::new(&ToFront::Commit { default }, Vec::new())?);
        front.uncommitted += 1;
        Ok(())
    }

    /// Gives the front a new log channel after the broker's restart.
    pub(super) fn rewire_front(&mut self, broker: &mut Child) -> io::Result<()> {
        if let Some(front) = &mut self.front.slot.child {
            let (log, broker_side) = wire_front()?;
            front.say(Message::new(&ToFront::Log, vec![log])?);
            broker.say(broker_side);
        }
        Ok(())
    }

    /// Has the front finish what it holds.
    pub(super) fn drain_front(&mut self) {
        let drain_ms = self.host.drain_ms;
        if let Some(front) = &mut self.front.slot.child {
            messages::say(front, &ToFront::Drain { drain_ms });
            let ready = front.ready;
            front.kill_after_ms(if ready {
                drain_ms + limits::KILL_GRACE_MS
            } else {
                0
            });
        }
    }
}

/// Ends a front that has finished, once.
pub(super) fn stop_front(front: &mut Child) {
    if !std::mem::replace(&mut front.stopped, true) {
        messages::say(front, &ToFront::Stop);
    }
}

/// A log channel from the front to the broker: the front's end, and the message that gives the
/// broker its own.
fn wire_front() -> io::Result<(Rc<OwnedFd>, Message)> {
    let (send, receive) = Channel::pair()?;
    let message = Message::new(&ToBroker::Front, vec![Rc::new(receive.into())])?;
    Ok((Rc::new(send.into()), message))
}
