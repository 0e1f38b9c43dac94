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
use crate::supervisor::child::Child;
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
            if phase == Phase::Draining && self.workers.iter().all(|w| w.slot.child.is_none()) {
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
            .iter_mut()
            .map(|worker| &mut worker.slot)
            .chain([&mut self.broker])
    }

    fn children(&mut self) -> impl Iterator<Item = &mut Child> {
        self.slots().filter_map(|slot| slot.child.as_mut())
    }

    /// Waits for a signal, a message, room for one, or the next deadline.
    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        let mut deadline_ns: Option<u64> = None;
        for slot in self
            .workers
            .iter()
            .map(|worker| &worker.slot)
            .chain([&self.broker])
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
        let mut isolated = Vec::new();
        for child in self
            .workers
            .iter_mut()
            .filter_map(|worker| worker.slot.child.as_mut())
        {
            for message in child.hear::<FromWorker>() {
                match message {
                    FromWorker::Isolated(layers) => isolated.push(("worker", layers.line())),
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
        let names: Vec<String> = (0..self.workers.len())
            .map(|index| self.worker_name(index))
            .chain(["broker".into()])
            .collect();
        let now_ns = monotonic_ns();
        for (slot, who) in self.slots().zip(names) {
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
                Phase::Serving => {
                    let pause_ms = slot.backoff.after_death(lived_ms);
                    slot.restart_ns = Some(now_ns + pause_ms * 1_000_000);
                    report::line(format_args!(
                        "{who} pid {pid} died ({status}); it starts again in {pause_ms} ms"
                    ));
                }
                Phase::Draining | Phase::Stopping => {
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
        for index in 0..self.workers.len() {
            if due(&self.workers[index].slot) {
                let (who, result) = (self.worker_name(index), self.start_worker(index));
                settle(&mut self.workers[index].slot, &who, result, now_ns);
            }
        }
    }

    /// Whether every worker is there and routes by the newest tenants.
    fn committed(&self) -> bool {
        let is_current = |child: &Child| child.ready && child.uncommitted == 0;
        self.workers
            .iter()
            .all(|worker| worker.slot.child.as_ref().is_some_and(is_current))
    }

    fn say_serving(&self) {
        let addresses: Vec<String> = self.http.iter().map(ToString::to_string).collect();
        report::line(format_args!(
            "serving {} tenants on {} with {} workers",
            self.roster.len(),
            addresses.join(", "),
            self.workers.len()
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
        let changes = self.roster.apply(&self.host.tenants);
        let workers = self
            .workers
            .iter_mut()
            .filter_map(|worker| worker.slot.child.as_mut());
        messages::tell_workers(workers, &changes);
        if let Some(broker) = &mut self.broker.child {
            messages::tell_broker(broker, &changes);
        }
        let count = |wanted: fn(&Change) -> bool| changes.iter().filter(|c| wanted(c)).count();
        Some(format!(
            "reloaded: {} added, {} changed, {} removed; {} tenants",
            count(|change| matches!(change, Change::Add(_))),
            count(|change| matches!(change, Change::Replace(_))),
            count(|change| matches!(change, Change::Remove(_))),
            self.roster.len()
        ))
    }

    /// Stops accepting, and has the workers finish what is in flight.
    fn drain(&mut self, signal: Signal) {
        let drain_ms = self.host.drain_ms;
        report::line(format_args!("{signal}: draining, {drain_ms} ms at most"));
        for worker in &mut self.workers {
            worker.listeners.clear();
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
        self.broker.restart_ns = None;
    }

    /// Once no worker has anything in flight, none can hand anything over any more.
    fn stop_drained(&mut self) {
        let workers = || self.workers.iter().filter_map(|it| it.slot.child.as_ref());
        if workers().any(|child| !child.drained) {
            return;
        }
        for worker in &mut self.workers {
            if let Some(child) = &mut worker.slot.child
                && !std::mem::replace(&mut child.stopped, true)
            {
                messages::say(child, &ToWorker::Stop);
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
fn settle(slot: &mut Slot, who: &str, result: io::Result<()>, now_ns: u64) {
    slot.restart_ns = None;
    if let Err(error) = result {
        let pause_ms = slot.backoff.after_death(0);
        slot.restart_ns = Some(now_ns + pause_ms * 1_000_000);
        report::line(format_args!(
            "{who} cannot start: {error}; again in {pause_ms} ms"
        ));
    }
}
