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

use crate::config::Host;
use crate::control::{FromBroker, FromData, FromEgress, FromWorker, ToData};
use crate::supervisor::child::Child;
use crate::supervisor::front::Accepting;
use crate::supervisor::messages;
use crate::supervisor::start::{Slot, Supervisor};
use crate::supervisor::{Addresses, ServeError};
use crate::sys::clock::monotonic_ns;
use crate::sys::process::describe;
use crate::sys::report;

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
            self.administer();
            self.reap(phase)?;
            if phase == Phase::Draining {
                self.stop_drained();
            }
            if phase < Phase::Draining {
                self.restart();
                self.retire();
                if self.may_steer() {
                    self.steer();
                }
            }
            if self.committed() {
                // A broker that cannot use its directory never becomes ready.
                let is_ready = |slot: &Slot| slot.child.as_ref().is_some_and(|it| it.ready);
                let has_others = [&self.broker, &self.egress, &self.data]
                    .into_iter()
                    .all(is_ready);
                if phase == Phase::Starting && has_others {
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
                self.stop_egress();
                self.stop_data();
            }
            let is_gone = [&self.broker, &self.egress, &self.data]
                .into_iter()
                .all(|slot| slot.child.is_none());
            if phase == Phase::Stopping && is_gone {
                return Ok(());
            }
        }
    }

    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.workers
            .values_mut()
            .map(|worker| &mut worker.slot)
            .chain([
                &mut self.broker,
                &mut self.egress,
                &mut self.data,
                &mut self.front.slot,
            ])
    }

    fn children(&mut self) -> impl Iterator<Item = &mut Child> {
        self.slots().filter_map(|slot| slot.child.as_mut())
    }

    /// Waits for a signal, a message, room for one, or the next deadline.
    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        // Until then it is a message that lets them leave.
        let mut deadline_ns = self.leaving.deadline_ns().filter(|_| self.may_leave());
        for slot in self.workers.values().map(|worker| &worker.slot).chain([
            &self.broker,
            &self.egress,
            &self.data,
            &self.front.slot,
        ]) {
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
        for fd in self.admin.fds() {
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        deadline_ns = [deadline_ns, self.admin.deadline_ns()]
            .into_iter()
            .flatten()
            .min();
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
        let mut isolated = Vec::new();
        let workers = self.workers.iter_mut();
        let workers = workers.map(|(index, worker)| (*index, "worker", &mut worker.slot));
        // The front has no place among the workers.
        for (index, kind, slot) in workers.chain([(usize::MAX, "front", &mut self.front.slot)]) {
            let Some(child) = &mut slot.child else {
                continue;
            };
            for message in child.hear::<FromWorker>() {
                match message {
                    FromWorker::Isolated(layers) => isolated.push((kind, layers.line())),
                    FromWorker::Ready => child.ready = true,
                    FromWorker::Committed => {
                        child.uncommitted = child.uncommitted.saturating_sub(1);
                    }
                    FromWorker::Drained => child.drained = true,
                    FromWorker::Purged { id, count } => self.admin.purged(index, id, count),
                }
            }
        }
        if let Some(broker) = &mut self.broker.child {
            for message in broker.hear::<FromBroker>() {
                match message {
                    FromBroker::Isolated(layers) => isolated.push(("broker", layers.line())),
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
        if let Some(egress) = &mut self.egress.child {
            for message in egress.hear::<FromEgress>() {
                match message {
                    FromEgress::Isolated(layers) => isolated.push(("egress", layers.line())),
                    FromEgress::Ready => egress.ready = true,
                }
            }
        }
        if let Some(data) = &mut self.data.child {
            for message in data.hear::<FromData>() {
                match message {
                    FromData::Isolated(layers) => isolated.push(("data", layers.line())),
                    FromData::Ready => data.ready = true,
                }
            }
        }
        for (kind, line) in isolated {
            self.say_isolation(kind, line);
        }
    }

    /// Says what a kind of process has of each layer; again only when that changes.
    fn say_isolation(&mut self, kind: &'static str, line: String) {
        if self.isolation.get(kind) != Some(&line) {
            report::line(format_args!("{kind} isolation: {line}"));
            self.isolation.insert(kind, line);
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
                ("egress".into(), true),
                ("data".into(), true),
                ("front".into(), self.front.accepting == Accepting::Front),
            ])
            .collect();
        let now_ns = monotonic_ns();
        let indices: Vec<usize> = self.workers.keys().copied().collect();
        let mut died = Vec::new();
        for (place, (slot, (who, is_wanted))) in self.slots().zip(names).enumerate() {
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
            // Workers come first.
            if status != "exit code 0" {
                died.extend(indices.get(place));
            }
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
        for index in died {
            let cell = self.cells.of_worker(index);
            if let Some(data) = &mut self.data.child {
                messages::say(data, &ToData::WorkerDied { cell });
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
        if due(&self.egress) {
            let result = self.start_egress();
            settle(&mut self.egress, "egress", result, now_ns);
        }
        if due(&self.data) {
            let result = self.start_data();
            settle(&mut self.data, "data", result, now_ns);
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
    pub(super) fn try_start_worker(&mut self, index: usize) {
        let (who, result) = (self.worker_name(index), self.start_worker(index));
        if let Some(worker) = self.workers.get_mut(&index) {
            settle(&mut worker.slot, &who, result, monotonic_ns());
        }
    }

    /// Whether every worker that is there routes by the newest tenants. One that is not gets them
    /// first thing, and what waits in its mailbox after that: nobody waits for a worker that dies
    /// again and again.
    fn may_steer(&self) -> bool {
        let mut workers = self.workers.values().filter(|worker| !worker.is_retired);
        workers.all(|worker| worker.slot.child.as_ref().is_none_or(is_current))
    }

    /// Whether tenants that have moved may leave their old workers.
    fn may_leave(&self) -> bool {
        self.may_steer() && self.front_is_settled()
    }

    /// Whether every worker is there and routes by the newest tenants.
    fn workers_are_current(&self) -> bool {
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
}

fn is_current(child: &Child) -> bool {
    child.ready && child.uncommitted == 0
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
