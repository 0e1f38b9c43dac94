//! The process that keeps tenants' data: its start, its tenants, its end.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::config::{Egress, Store};
use crate::control::{Caller, DATA_CALLER, DATA_CELL, Placed, ToData, ToEgress, ToWorker};
use crate::data::{open_regular, owner};
use crate::supervisor::child::{Child, Message};
use crate::supervisor::messages;
use crate::supervisor::roster::{Change, cell_of};
use crate::supervisor::start::Supervisor;
use crate::sys::report;

/// Most time for it to end, in milliseconds: a commit may be under way.
const DATA_STOP_MS: u64 = 5_000;

impl Supervisor {
    /// Starts the process, tells it everything, and gives every worker a new stream to it.
    pub(super) fn start_data(&mut self) -> io::Result<()> {
        let mut data = Child::start("data", false)?;
        report::line(format_args!("data pid {}", data.pid()));
        self.pids.write("data", data.pid())?;
        let start = ToData::Start {
            dir: self.host.data.dir.clone(),
            cache_bytes_max: self.host.data.cache_bytes_max,
            http_cache_bytes_max: self.host.data.http_cache_bytes_max,
            require: self.host.require.clone(),
        };
        let key = self.host.data.secret_key.as_ref().and_then(|path| {
            let opened = open_regular(path).inspect_err(|error| {
                let path = path.display();
                report::line(format_args!(
                    "no sealed secret opens: data.secret_key {path}: {error}"
                ));
            });
            Some(Rc::new(OwnedFd::from(opened.ok()?)))
        });
        data.say(Message::new(&start, key.into_iter().collect())?);
        if let Some(egress) = &mut self.egress.child {
            let (ours, message) = wire_egress()?;
            egress.say(ours);
            data.say(message);
        }
        for placed in self.roster.tenants() {
            self.tell_owner(&mut data, placed);
        }
        let mut wired = Vec::new();
        for index in self.workers.keys() {
            wired.push((*index, wire(self.cells.of_worker(*index))?));
        }
        for (index, (end, message)) in wired {
            let worker = self.workers.get_mut(&index);
            if let Some(child) = worker.and_then(|it| it.slot.child.as_mut()) {
                child.say(Message::new(&ToWorker::Data, vec![end])?);
                data.say(message);
            }
        }
        self.data.child = Some(data);
        Ok(())
    }

    /// Gives the data process a channel to a new egress process, which is told where it may connect.
    pub(super) fn rewire_data(&mut self, egress: &mut Child) -> io::Result<()> {
        say_caller(egress, self.data_caller());
        if let Some(data) = &mut self.data.child {
            let (ours, message) = wire_egress()?;
            egress.say(ours);
            data.say(message);
        }
        Ok(())
    }

    /// Where the data process may connect to: the servers that tenants' stores are on.
    fn data_caller(&self) -> Caller {
        let stores = self.host.tenants.iter().flat_map(|tenant| &tenant.stores);
        let servers = stores.filter_map(Store::server);
        Caller {
            name: DATA_CALLER.to_owned(),
            cell: DATA_CELL,
            rules: Egress::to_servers(servers),
        }
    }

    /// Tells it of a reload's changes, and of every tenant with secrets: their files may be others.
    pub(super) fn tell_data(&mut self, changes: &[Change]) {
        let caller = self.data_caller();
        if let Some(egress) = &mut self.egress.child {
            say_caller(egress, caller);
        }
        let Some(mut data) = self.data.child.take() else {
            return;
        };
        for change in changes {
            match change {
                Change::Add(placed) | Change::Replace(placed) | Change::Move(placed, _) => {
                    self.tell_owner(&mut data, placed);
                }
                Change::Remove(name, _) => {
                    messages::say(&mut data, &ToData::Remove { name: name.clone() });
                }
            }
        }
        let told = |name: &str| {
            let of = |change: &Change| match change {
                Change::Add(it) | Change::Replace(it) | Change::Move(it, _) => {
                    it.tenant.name == name
                }
                Change::Remove(..) => false,
            };
            changes.iter().any(of)
        };
        for placed in self.roster.tenants() {
            if !placed.tenant.secrets.is_empty() && !told(&placed.tenant.name) {
                self.tell_owner(&mut data, placed);
            }
        }
        self.data.child = Some(data);
    }

    fn tell_owner(&self, data: &mut Child, placed: &Placed) {
        let (owner, files) = owner(&placed.tenant, cell_of(placed, &self.cells));
        let files = files.into_iter().map(|file| Rc::new(file.into())).collect();
        match Message::new(&ToData::Tenant(Box::new(owner)), files) {
            Ok(message) => data.say(message),
            Err(error) => {
                let name = &placed.tenant.name;
                report::line(format_args!(
                    "tenant {name}: its data is not served: {error}"
                ));
            }
        }
    }

    /// Ends it, once nobody needs it any more.
    pub(super) fn stop_data(&mut self) {
        if let Some(data) = &mut self.data.child {
            messages::say(data, &ToData::Stop);
            data.kill_after_ms(DATA_STOP_MS);
        }
    }
}

/// Tells the egress process where the data process may connect to.
fn say_caller(egress: &mut Child, caller: Caller) {
    match Message::new(&ToEgress::Tenant(Box::new(caller)), Vec::new()) {
        Ok(message) => egress.say(message),
        Err(error) => report::line(format_args!(
            "no store is served from Redis: {error}; name fewer servers"
        )),
    }
}

/// A stream between a worker of the cell at `cell` and the data process: the worker's end, and the message
/// that gives the other one away.
pub(super) fn wire(cell: usize) -> io::Result<(Rc<OwnedFd>, Message)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = vec![Rc::new(OwnedFd::from(theirs))];
    let message = Message::new(&ToData::Worker { cell }, theirs)?;
    Ok((Rc::new(ours.into()), message))
}

/// A channel between the egress and the data process: a message for each.
fn wire_egress() -> io::Result<(Message, Message)> {
    let (one, other) = crate::sys::channel::Channel::pair()?;
    let end = |end| vec![Rc::new(OwnedFd::from(end))];
    let cell = DATA_CELL;
    Ok((
        Message::new(&ToEgress::Worker { cell }, end(one))?,
        Message::new(&ToData::Egress, end(other))?,
    ))
}
