//! What all connections of one worker share.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use monoio::io::Canceller;
use nix::sys::socket::{Shutdown, shutdown};
use rustc_hash::FxHashMap;

use crate::config::{Compat, Http, Profile, limits};
use crate::engine::Engines;
use crate::engine::meter::Metered;
use crate::fault::Reason;
use crate::geo::Geo;
use crate::guest::{Failure, RequestId};
use crate::http::{DateCache, HeadLimits, Peek, RequestHead, peek_host};
use crate::sys::channel::Channel;
use crate::worker::added::Added;
use crate::worker::admission::Pass;
use crate::worker::connection::Idle;
use crate::worker::egress::Network;
use crate::worker::exchange::finish_detached;
use crate::worker::log::Log;
use crate::worker::outbound::Asked;
use crate::worker::quarantine::Verdict;
use crate::worker::semaphore::Semaphore;
use crate::worker::slots::Slots;
use crate::worker::table::Tenants;
use crate::worker::tenant::Tenant;

/// One worker's state, shared by its tasks.
pub struct Core {
    /// This worker's place among the workers.
    pub index: usize,
    /// What the worker is tuned to.
    pub profile: Profile,
    /// Limits of client connections.
    pub http: Http,
    /// Its engines.
    pub engines: Engines,
    /// Its tenants.
    pub tenants: Tenants,
    /// Guests that may run at once.
    pub slots: Slots,
    /// Where lines go.
    pub log: Log,
    /// Fields that are added to every request and answer.
    pub added: RefCell<Added>,
    /// What programs for FastEdge are told of places.
    pub geo: RefCell<Geo>,
    /// How requests to others leave.
    pub network: Rc<Network>,
    /// The mailboxes of the workers of this cell.
    mailboxes: Mailboxes,
    /// Requests that may wait for a first compile at once.
    pub compile_waiters: Rc<Semaphore>,
    /// Set when the worker accepts no more requests.
    pub draining: Cell<bool>,
    /// Open connections, for the drain to find the idle ones.
    pub connections: RefCell<FxHashMap<u64, Rc<Idle>>>,
    /// Client connections that may be open at once.
    pub places: Rc<Semaphore>,
    /// Tasks that serve a connection, or a guest that runs on after its response.
    busy: Cell<usize>,
    date: RefCell<DateCache>,
    accepting: RefCell<Vec<(Canceller, Rc<Cell<bool>>)>>,
}

/// The sending ends of the mailboxes of one cell's workers; none when there is only this worker.
#[derive(Debug, Default)]
pub struct Mailboxes {
    /// The place of the cell's first worker among the workers of all cells.
    pub first: usize,
    /// In worker order, from there.
    pub channels: Vec<Channel>,
}

impl Core {
    /// A worker's state before it has tenants.
    pub fn new(
        index: usize,
        profile: Profile,
        http: Http,
        engines: Engines,
        log: Log,
        mailboxes: Mailboxes,
        network: Rc<Network>,
    ) -> Rc<Self> {
        Rc::new(Self {
            index,
            slots: Slots::new(&profile),
            places: Semaphore::new(http.connections_max),
            tenants: Tenants::new(index, log.clone(), Rc::clone(&network)),
            network,
            compile_waiters: Semaphore::new(limits::ARTIFACT_WAITERS_MAX),
            profile,
            http,
            engines,
            log,
            geo: RefCell::default(),
            added: RefCell::default(),
            mailboxes,
            draining: Cell::new(false),
            connections: RefCell::default(),
            busy: Cell::new(0),
            date: RefCell::new(DateCache::new(SystemTime::now())),
            accepting: RefCell::default(),
        })
    }

    /// The limits that request heads are parsed with, before a tenant is known.
    pub fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            head_bytes_max: self.http.head_bytes_max,
            target_bytes_max: self.http.target_bytes_max,
            headers_max: self.http.headers_max,
            body_bytes_max: u64::MAX,
        }
    }

    /// The worker that the request at the start of `buf` belongs to, when it is not this one.
    /// `None` also while the host is not known yet, or never will be.
    pub fn elsewhere(&self, buf: &[u8]) -> Option<usize> {
        if !self.tenants.any_elsewhere() {
            return None;
        }
        let Ok(Peek::Host(host)) = peek_host(buf, &self.head_limits()) else {
            return None;
        };
        let tenant = self.tenants.lookup(host.as_ref())?;
        (!tenant.here).then_some(tenant.elsewhere)
    }

    /// The mailbox of a worker of this cell, by its place among the workers of all cells.
    pub fn mailbox(&self, worker: usize) -> Option<&Channel> {
        let place = worker.checked_sub(self.mailboxes.first)?;
        self.mailboxes.channels.get(place)
    }

    /// How to answer a request.
    pub fn asked(&self, head: &RequestHead, compat: Compat) -> Asked {
        Asked {
            compat,
            method: head.method.clone(),
            version: head.version,
            keep_alive: head.keep_alive && !self.draining.get(),
            date: self.date(),
            gather_bytes: self.profile.body_chunk_bytes,
            timeout: Duration::from_millis(self.http.body_timeout_ms),
        }
    }

    /// The current date, as HTTP writes it.
    pub fn date(&self) -> [u8; 29] {
        *self.date.borrow_mut().at(SystemTime::now())
    }

    /// Lets a guest run on after its response was sent, until it is done or out of time.
    pub fn detach<F>(
        self: &Rc<Self>,
        tenant: &Rc<Tenant>,
        request: RequestId,
        guest: Metered<F>,
        deadline: Instant,
        pass: Pass,
    ) where
        F: Future<Output = Result<(), Failure>> + 'static,
    {
        let (core, tenant) = (Rc::clone(self), Rc::clone(tenant));
        self.track((), async move {
            let failure = finish_detached(guest, deadline).await;
            core.settle(&tenant, pass, failure.as_ref().map(|it| it.reason));
            if let Some(failure) = failure {
                tenant
                    .log
                    .fault(request, Some(failure.reason), &failure.detail);
            }
        });
    }

    /// A guest has ended: counts how, and says so when its tenant is quarantined for it or is free
    /// again.
    pub fn settle(&self, tenant: &Tenant, pass: Pass, reason: Option<Reason>) {
        match Verdict::of(reason) {
            Verdict::Served => tenant.account.served(),
            Verdict::Failed => tenant.account.disappointed(),
            Verdict::Unknown => {}
        }
        if let Some(change) = pass.settle(reason) {
            self.log.quarantine(tenant.name(), change, reason);
        }
    }

    /// Runs a task that the drain waits for; `place` is given back when it is done.
    pub fn track<P: 'static>(self: &Rc<Self>, place: P, task: impl Future<Output = ()> + 'static) {
        self.busy.set(self.busy.get() + 1);
        let core = Rc::clone(self);
        monoio::spawn(async move {
            task.await;
            core.busy.set(core.busy.get() - 1);
            drop(place);
        });
    }

    /// Has `accept` stopped by the drain or the front; the result says when it is.
    pub fn cancel_accept_on_stop(&self, accept: Canceller) -> Rc<Cell<bool>> {
        let stopped = Rc::new(Cell::new(self.draining.get()));
        self.accepting
            .borrow_mut()
            .push((accept, Rc::clone(&stopped)));
        stopped
    }

    /// Stops accepting connections; those that are handed over are served.
    pub fn stop_accepting(&self) {
        for (accept, stopped) in self.accepting.take() {
            stopped.set(true);
            accept.cancel();
        }
    }

    /// Stops accepting connections and requests.
    pub fn drain(&self) {
        self.draining.set(true);
        self.stop_accepting();
    }

    /// Ends the waiting of connections that wait for a request: they see the end of the stream,
    /// unless the request has arrived meanwhile.
    pub fn close_idle(&self) {
        for connection in self.connections.borrow().values() {
            if connection.idle.get() {
                // A connection that is gone already has nothing to be told.
                let _ = shutdown(connection.fd, Shutdown::Read);
            }
        }
    }

    /// Whether nothing is in flight.
    pub fn quiet(&self) -> bool {
        self.busy.get() == 0
    }
}
