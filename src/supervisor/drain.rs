//! The end: everybody finishes what is in flight, then stops.
//!
//! ```text
//! SIGTERM ─► Drain to workers and front ─► all Drained ─► Stop to them ─► all gone ─► Stop to the broker
//! ```

use nix::sys::signal::Signal;

use crate::config::limits;
use crate::control::{ToBroker, ToWorker};
use crate::supervisor::front::stop_front;
use crate::supervisor::messages;
use crate::supervisor::start::Supervisor;
use crate::sys::report;

/// Most time for the broker to write out what it holds, in milliseconds.
const BROKER_STOP_MS: u64 = 3_000;

impl Supervisor {
    /// Stops accepting, and has the workers finish what is in flight.
    pub(super) fn drain(&mut self, signal: Signal) {
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
        self.egress.restart_ns = None;
        self.data.restart_ns = None;
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
    pub(super) fn stop_drained(&mut self) {
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

    pub(super) fn stop_broker(&mut self) {
        if let Some(broker) = &mut self.broker.child {
            messages::say(broker, &ToBroker::Stop);
            broker.kill_after_ms(BROKER_STOP_MS);
        }
    }
}
