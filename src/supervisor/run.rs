//! The supervisor's loop: one poll over signals and children, until the last child is gone.
//!
//! ```text
//! Starting ─all committed─► Serving ─SIGTERM─► Draining ─workers gone─► Stopping ─broker gone─► end
//!    └ a death: error          └ a death: restart  └ time over: SIGKILL
//! ```

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::config::{Host, limits};
use crate::control::{FromBroker, FromWorker, ToBroker, ToWorker};
use crate::supervisor::child::{Child, Message};
use crate::supervisor::front::{Accepting, stop_front};
use crate::supervisor::reload::{check_running, need_restart};
use crate::supervisor::roster::Change;
use crate::supervisor::start::{Slot, Supervisor};
use crate::supervisor::{Addresses, ServeError, messages};
use crate::sys::clock::monotonic_ns;
use crate::sys::process::describe;
use crate::sys::report;

/// Most time for the broker to write out what it holds, in milliseconds.
const BROKER_STOP_MS: u64 = 3_000;

/// Where a host is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Starting,
    Serving,
    Draining,
    Stopping,
}

impl Supervisor {
    /// Watches until the end. See [`super::serve`].
    pub(super) fn run(
        mut self,
        mut load: impl FnMut(&Path) -> Result<Host, String>,
        started: impl FnOnce(&Addresses),
    ) -> Result<(), ServeError> {
        let mut phase = Phase::Starting;
        let mut started = Some(started);
        let mut reloaded: Option<String> = None;
        loop {
            self.children().for_each(|child| child.flush());
            self.wait().map_err(|source| ServeError::System {
                what: "poll",
                source,
            })?;
            while let Some(signal) = self.next_signal()? {
                match signal {
                    Signal::SIGHUP if phase < Phase::Draining => {
                        reloaded = self.reload(&mut load).or(reloaded);
                    }
                    Signal::SIGTERM | Signal::SIGINT if phase < Phase::Draining => {
                        phase = Phase::Draining;
                        self.drain(signal);
                    }
                    Signal::SIGTERM | Signal::SIGINT => {
                        report::line(format_args!("second {signal}: killing what is left"));
                        return Ok(());
                    }
                    _ => {} // SIGCHLD: every turn looks for the dead
                }
            }
            self.hear();
            self.reap(phase)?;
            if phase == Phase::Draining {
                self.stop_drained();
            }
            if phase < Phase::Draining {
                self.restart();
                self.retire();
                if self.workers_are_current() {
                    self.steer();
                }
            }
            if self.committed() {
                // A broker that cannot use its directory never becomes ready.
                let has_broker = self.broker.child.as_ref().is_some_and(|it| it.ready);
                if phase == Phase::Starting && has_broker {
                    phase = Phase::Serving;
                    self.say_serving();
                    if let Some(started) = started.take() {
                        started(&self.addresses());
                    }
                }
                if let Some(line) = reloaded.take() {
                    report::line(format_args!("{line}"));
                }
            }
            if phase == Phase::Draining && self.is_served_by_nobody() {
                phase = Phase::Stopping;
                self.stop_broker();
            }
            if phase == Phase::Stopping && self.broker.child.is_none() {
                return Ok(());
            }
        }
    }

    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.workers
            .values_mut()
            .map(|worker| &mut worker.slot)
            .chain([&mut self.broker, &mut self.front.slot])
    }

    fn children(&mut self) -> impl Iterator<Item = &mut Child> {
        self.slots().filter_map(|slot| slot.child.as_mut())
    }

    /// Waits for a signal, a message, room for one, or the next deadline.
    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut deadline_ns = self.leaving.deadline_ns();
        for slot in self
            .workers
            .values()
            .map(|worker| &worker.slot)
            .chain([&self.broker, &self.front.slot])
        {
            let times = [
                slot.restart_ns,
                slot.child.as_ref().and_then(Child::deadline_ns),
            ];
            deadline_ns = times.into_iter().chain([deadline_ns]).flatten().min();
            if let Some(child) = slot.child.as_ref().filter(|child| child.is_open()) {
                let mut wanted = PollFlags::POLLIN;
                wanted.set(PollFlags::POLLOUT, child.has_unsent());
                fds.push(PollFd::new(child.as_fd(), wanted));
            }
        }
        let timeout = match deadline_ns {
            None => PollTimeout::NONE,
            Some(at) => {
                let ms = at.saturating_sub(monotonic_ns()).div_ceil(1_000_000);
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn next_signal(&self) -> Result<Option<Signal>, ServeError> {
        self.signals.next().map_err(|source| ServeError::System {
            what: "reading signals",
            source,
        })
    }

    /// Takes what the children said.
    fn hear(&mut self) {
        let workers = self.workers.values_mut().map(|worker| &mut worker.slot);
        for child in workers
            .chain([&mut self.front.slot])
            .filter_map(|slot| slot.child.as_mut())
        {
            for message in child.hear::<FromWorker>() {
                match message {
                    FromWorker::Ready => child.ready = true,
                    FromWorker::Committed => {
                        child.uncommitted = child.uncommitted.saturating_sub(1);
                    }
                    FromWorker::Drained => child.drained = true,
                }
            }
        }
        if let Some(broker) = &mut self.broker.child {
            for message in broker.hear::<FromBroker>() {
                match message {
                    FromBroker::Ready => broker.ready = true,
                    FromBroker::Prepared { error: None, .. } => {}
                    FromBroker::Prepared {
                        tenant,
                        error: Some(error),
                    } => {
                        report::line(format_args!("tenant {tenant} has no artifact: {error}"));
                    }
                }
            }
        }
    }

    /// Takes away the dead, and kills those whose time is over.
    fn reap(&mut self, phase: Phase) -> Result<(), ServeError> {
        let names: Vec<(String, bool)> = self
            .workers
            .iter()
            .map(|(index, worker)| (self.worker_name(*index), !worker.is_retired))
            .chain([
                ("broker".into(), true),
                ("front".into(), self.front.accepting == Accepting::Front),
            ])
            .collect();
        let now_ns = monotonic_ns();
        for (slot, (who, is_wanted)) in self.slots().zip(names) {
            let Some(child) = &mut slot.child else {
                continue;
            };
            if child.kill_if_due(now_ns) {
                report::line(format_args!("{who} pid {}: its time is over", child.pid()));
            }
            let status = match child.exit_status() {
                Ok(None) => continue,
                Ok(Some(status)) => describe(status),
                Err(error) => error.to_string(),
            };
            let (pid, lived_ms) = (child.pid(), child.lived_ms());
            slot.child = None;
            match phase {
                Phase::Starting => return Err(ServeError::Start { who, how: status }),
                Phase::Serving if is_wanted => {
                    let pause_ms = slot.backoff.after_death(lived_ms);
                    slot.restart_ns = Some(now_ns + pause_ms * 1_000_000);
                    report::line(format_args!(
                        "{who} pid {pid} died ({status}); it starts again in {pause_ms} ms"
                    ));
                }
                Phase::Serving | Phase::Draining | Phase::Stopping => {
                    if status != "exit code 0" {
                        report::line(format_args!("{who} pid {pid} died ({status})"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts again what is due. A start that fails counts as one more death.
    fn restart(&mut self) {
        let now_ns = monotonic_ns();
        let due = |slot: &Slot| slot.restart_ns.is_some_and(|at| at <= now_ns);
        if due(&self.broker) {
            let result = self.start_broker();
            settle(&mut self.broker, "broker", result, now_ns);
        }
        if due(&self.front.slot) {
            let result = self.start_front();
            settle(&mut self.front.slot, "front", result, now_ns);
        }
        let workers = self.workers.iter();
        let due: Vec<usize> = workers
            .filter(|(_, worker)| due(&worker.slot))
            .map(|(index, _)| *index)
            .collect();
        for index in due {
            self.try_start_worker(index);
        }
    }

    /// Starts a worker; a failure is reported, and tried again later.
    fn try_start_worker(&mut self, index: usize) {
        let (who, result) = (self.worker_name(index), self.start_worker(index));
        if let Some(worker) = self.workers.get_mut(&index) {
            settle(&mut worker.slot, &who, result, monotonic_ns());
        }
    }

    /// Whether every worker is there and routes by the newest tenants.
    fn workers_are_current(&self) -> bool {
        let is_current = |child: &Child| child.ready && child.uncommitted == 0;
        let mut workers = self.workers.values().filter(|worker| !worker.is_retired);
        workers.all(|worker| worker.slot.child.as_ref().is_some_and(is_current))
    }

    /// Whether the newest configuration is in force everywhere.
    fn committed(&self) -> bool {
        self.workers_are_current() && self.front_is_settled()
    }

    /// Whether nobody is left that serves.
    fn is_served_by_nobody(&self) -> bool {
        let mut workers = self.workers.values();
        workers.all(|worker| worker.slot.child.is_none()) && self.front.slot.child.is_none()
    }

    fn say_serving(&self) {
        let addresses: Vec<String> = self.http.iter().map(ToString::to_string).collect();
        report::line(format_args!(
            "serving {} tenants on {} with {} workers{}",
            self.roster.len(),
            addresses.join(", "),
            self.workers.len(),
            match self.cells.are_several() {
                true => format!(" in {} cells", self.host.cells.len()),
                false => String::new(),
            }
        ));
    }

    /// Reads the configuration again and serves its tenants; says what to report once all workers
    /// do.
    fn reload(&mut self, load: &mut impl FnMut(&Path) -> Result<Host, String>) -> Option<String> {
        if let Some(broker) = &mut self.broker.child {
            messages::say(broker, &ToBroker::ReopenLog);
        }
        let loaded = load(&self.host.source)
            .and_then(|host| check_running(&self.host, &host).map(|()| host));
        let host = match loaded {
            Ok(host) => host,
            Err(errors) => {
                for error in errors.lines() {
                    report::line(format_args!("reload: {error}"));
                }
                report::line(format_args!("reload: refused, nothing changed"));
                return None;
            }
        };
        let ignored = need_restart(&self.host, &host);
        if !ignored.is_empty() {
            let keys = ignored.join(", ");
            report::line(format_args!("reload: ignored until a restart: {keys}"));
        }
        self.host.drain_ms = host.drain_ms;
        self.host.tenants = host.tenants;
        self.host.cells = host.cells;
        let arranged = self.cells.arrange(&self.host.cells);
        let changes = self.roster.apply(&self.host.tenants, &self.cells);
        self.tell_workers(&changes);
        self.note_leaving(&changes, arranged.gone);
        for cell in arranged.added {
            self.start_cell(cell);
        }
        self.front.is_stale = true;
        if let Some(broker) = &mut self.broker.child {
            messages::tell_broker(broker, &changes);
        }
        let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|c| wanted(c)).count();
        Some(format!(
            "reloaded: {} added, {} changed, {} removed; {} tenants",
            count(|change| matches!(change, Change::Add(_))),
            count(|change| matches!(change, Change::Replace(_) | Change::Move(..))),
            count(|change| matches!(change, Change::Remove(..))),
            self.roster.len()
        ))
    }

    /// Stops accepting, and has the workers finish what is in flight.
    fn drain(&mut self, signal: Signal) {
        let drain_ms = self.host.drain_ms;
        report::line(format_args!("{signal}: draining, {drain_ms} ms at most"));
        self.listeners.clear();
        let all: Vec<usize> = self.workers.keys().copied().collect();
        for index in all {
            self.drain_worker(index);
        }
        self.front.slot.restart_ns = None;
        self.drain_front();
        self.broker.restart_ns = None;
    }

    /// Has a worker finish what is in flight.
    pub(super) fn drain_worker(&mut self, index: usize) {
        let drain_ms = self.host.drain_ms;
        let Some(worker) = self.workers.get_mut(&index) else {
            return;
        };
        worker.slot.restart_ns = None;
        if let Some(child) = &mut worker.slot.child {
            messages::say(child, &ToWorker::Drain { drain_ms });
            // One that does not serve yet has nothing to finish.
            let ready = child.ready;
            child.kill_after_ms(if ready {
                drain_ms + limits::KILL_GRACE_MS
            } else {
                0
            });
        }
    }

    /// Once nobody has anything in flight, none can hand anything over any more.
    fn stop_drained(&mut self) {
        let workers = self.workers.values().map(|worker| &worker.slot);
        let slots = workers.chain([&self.front.slot]);
        let mut children = slots.filter_map(|slot| slot.child.as_ref());
        if children.any(|child| !child.drained) {
            return;
        }
        drop(children);
        let all: Vec<usize> = self.workers.keys().copied().collect();
        for index in all {
            self.stop_worker(index);
        }
        if let Some(front) = &mut self.front.slot.child {
            stop_front(front);
        }
    }

    /// Ends a worker that has finished, once.
    pub(super) fn stop_worker(&mut self, index: usize) {
        let worker = self.workers.get_mut(&index);
        if let Some(child) = worker.and_then(|it| it.slot.child.as_mut())
            && !std::mem::replace(&mut child.stopped, true)
        {
            messages::say(child, &ToWorker::Stop);
        }
    }

    /// Tells the workers of each cell what the changes are for them.
    fn tell_workers(&mut self, changes: &[Change]) {
        let mut told: Option<(usize, Vec<Message>)> = None;
        for (index, worker) in &mut self.workers {
            let cell = self.cells.of_worker(*index);
            let (_, messages) = match told.take().filter(|(known, _)| *known == cell) {
                Some(same) => told.insert(same),
                None => told.insert((cell, messages::for_cell(changes, cell, &self.cells))),
            };
            if let Some(child) = &mut worker.slot.child {
                messages::tell_worker(child, messages);
            }
        }
    }

    /// Starts the workers of a new cell.
    fn start_cell(&mut self, cell: usize) {
        if let Err(error) = self.add_workers(cell) {
            // Out of descriptors: its tenants are not served until the next reload or restart.
            report::line(format_args!("cell {cell}: making mailboxes: {error}"));
        }
        for index in self.cells.workers(cell) {
            if self.workers.contains_key(&index) {
                self.try_start_worker(index);
            }
        }
    }

    fn stop_broker(&mut self) {
        if let Some(broker) = &mut self.broker.child {
            messages::say(broker, &ToBroker::Stop);
            broker.kill_after_ms(BROKER_STOP_MS);
        }
    }
}

/// Records the outcome of a start.
pub(super) fn settle(slot: &mut Slot, who: &str, result: io::Result<()>, now_ns: u64) {
    slot.restart_ns = None;
    if let Err(error) = result {
        let pause_ms = slot.backoff.after_death(0);
        slot.restart_ns = Some(now_ns + pause_ms * 1_000_000);
        report::line(format_args!(
            "{who} cannot start: {error}; again in {pause_ms} ms"
        ));
    }
}
