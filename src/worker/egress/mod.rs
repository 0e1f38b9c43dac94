//! Requests of guests to others: connected by the process that may, spoken by the worker.
//!
//! ```text
//! guest ── request ──► Client ── Dial ──► egress process (rules, names, addresses) ── socket ──┐
//!       ◄── response ──── exchange (HTTP/1.1, TLS) ◄── pool of kept-alive connections ◄────────┘
//! ```
//!
//! An exchange is a task of its own: it goes on while its guest waits for something else, and ends with
//! the future or the body that the guest holds. Its CPU time is charged to the tenant's share of the core;
//! waiting is charged to nobody.

mod dialler;
mod error;
mod exchange;
mod pool;

use std::cell::{Cell, OnceCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use http::HeaderValue;
use rustls::{ClientConfig, RootCertStore};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{RequestOptions, WasiBody};

use self::exchange::exchange;
use self::pool::Pool;
use crate::config::{Destination, Egress, Limits, Origin, limits};
use crate::control::origin_caller;
use crate::engine::Meter;
use crate::guest::{Answered, Outbound};
use crate::scheduler::Account;
use crate::worker::data::Link;
use crate::worker::http_cache;
use crate::worker::semaphore::{Permit, Semaphore};
use crate::worker::split::Split;
use crate::worker::tls;

pub use self::dialler::Dialler;

/// What all tenants of a worker have in common.
#[derive(Debug)]
pub struct Network {
    /// Who connects.
    pub dialler: Dialler,
    /// Who keeps data.
    pub data: Rc<Link>,
    /// Whom TLS trusts.
    pub roots: Arc<RootCertStore>,
    /// Exchanges that may be under way at once, of all tenants.
    pub places: Rc<Semaphore>,
    /// Answers of origins that are kept.
    pub http_cache: http_cache::Worker,
}

impl Network {
    /// A network that nobody connects to yet.
    pub fn new(roots: RootCertStore) -> Rc<Self> {
        Rc::new(Self {
            dialler: Dialler::default(),
            data: Rc::default(),
            roots: Arc::new(roots),
            places: Semaphore::new(limits::EGRESS_EXCHANGES_MAX),
            http_cache: http_cache::Worker::new(limits::HTTP_CACHE_WORKER_BYTES),
        })
    }
}

/// The longest waits of one request to others.
#[derive(Clone, Copy, Debug)]
struct Patience {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Patience {
    fn of(limits: &Limits) -> Self {
        Self {
            connect: Duration::from_millis(limits.subrequest_connect_ms),
            first_byte: Duration::from_millis(limits.subrequest_first_byte_ms),
            between_bytes: Duration::from_millis(limits.subrequest_between_bytes_ms),
        }
    }

    /// No longer than the guest asks for.
    fn at_most(self, options: Option<RequestOptions>) -> Self {
        let shorter = |limit: Duration, asked: Option<Duration>| limit.min(asked.unwrap_or(limit));
        let asked = options.unwrap_or_default();
        Self {
            connect: shorter(self.connect, asked.connect_timeout),
            first_byte: shorter(self.first_byte, asked.first_byte_timeout),
            between_bytes: shorter(self.between_bytes, asked.between_bytes_timeout),
        }
    }
}

/// Sends one tenant's requests from one worker: those of its guests, or those that are passed on.
pub struct Client {
    network: Rc<Network>,
    /// The name that the egress process knows the rules by.
    caller: String,
    rules: Egress,
    patience: Patience,
    account: Rc<Account>,
    places: Rc<Semaphore>,
    pool: Rc<Pool>,
    tls: OnceCell<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.caller)
    }
}

/// The tenant's place and the worker's that an exchange takes.
type Places = (Permit, Permit);

/// What a request may take.
struct Terms {
    patience: Patience,
    /// Bytes of bodies, both ways.
    bytes_left: Rc<Cell<u64>>,
    /// Where it goes, and the `Host` that it asks for, where its URL does not say so.
    to: Option<(Rc<Destination>, HeaderValue)>,
}

impl Client {
    /// The client of a tenant's guests; `None` where they may connect to nothing. `known` is the one
    /// before a reload: its connections are kept where the rules are the same.
    pub fn of_guests(
        network: &Rc<Network>,
        tenant: &crate::config::Tenant,
        account: &Rc<Account>,
        split: Split,
        known: Option<&Rc<Self>>,
    ) -> Option<Rc<Self>> {
        let places = split.share(tenant.limits.subrequest_concurrency).max(1);
        Self::new(
            network,
            tenant,
            (tenant.name.clone(), tenant.egress.clone()),
            (account, places),
            known,
        )
    }

    /// The client that passes a tenant's requests on; `None` where it has no origin. `known`: as above.
    pub fn of_origin(
        network: &Rc<Network>,
        tenant: &crate::config::Tenant,
        account: &Rc<Account>,
        split: Split,
        known: Option<&Rc<Self>>,
    ) -> Option<Rc<Self>> {
        let rules = tenant
            .origin
            .as_ref()
            .map(Origin::egress)
            .unwrap_or_default();
        // Each request has a place already. The exchange of one that was given up ends a turn later, when
        // another may be in that place; and what fills the cache outlives its request.
        let places = split.share(tenant.limits.concurrency).max(1);
        let places = 2 * places + limits::HTTP_CACHE_FILLS_MAX;
        Self::new(
            network,
            tenant,
            (origin_caller(&tenant.name), rules),
            (account, places),
            known,
        )
    }

    fn new(
        network: &Rc<Network>,
        tenant: &crate::config::Tenant,
        (caller, rules): (String, Egress),
        (account, places): (&Rc<Account>, usize),
        known: Option<&Rc<Self>>,
    ) -> Option<Rc<Self>> {
        if let Some(known) = known.filter(|known| known.rules != rules) {
            known.pool.close();
        }
        if rules.is_empty() {
            return None;
        }
        let known = known.filter(|known| known.rules == rules);
        Some(Rc::new(Self {
            network: Rc::clone(network),
            caller,
            rules,
            patience: Patience::of(&tenant.limits),
            account: Rc::clone(account),
            places: Semaphore::new(places),
            pool: known.map_or_else(Rc::default, |known| Rc::clone(&known.pool)),
            tls: known.map_or_else(OnceCell::new, |known| known.tls.clone()),
        }))
    }

    /// Runs a task whose CPU time is the tenant's.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        monoio::spawn(Charged {
            meter: Meter::new(Rc::clone(&self.account), u64::MAX),
            inner: Box::pin(task),
        });
    }

    /// Sends a client's request to a server of the origin, asking it for `host`.
    pub fn pass_on(
        self: &Rc<Self>,
        request: http::Request<WasiBody>,
        to: Rc<Destination>,
        host: HeaderValue,
    ) -> Pin<Box<dyn Future<Output = Answered>>> {
        // Its body is bounded as it comes in; how long an answer is, is the origin's affair.
        let terms = Terms {
            patience: self.patience,
            bytes_left: Rc::new(Cell::new(u64::MAX)),
            to: Some((to, host)),
        };
        self.send(request, terms)
    }

    fn send(
        self: &Rc<Self>,
        request: http::Request<WasiBody>,
        terms: Terms,
    ) -> Pin<Box<dyn Future<Output = Answered>>> {
        let place = self.places.try_acquire();
        let places = place.zip(self.network.places.try_acquire());
        let Some(places) = places else {
            return Box::pin(std::future::ready(Err(ErrorCode::ConnectionLimitReached)));
        };
        let (respond, answer) = oneshot::channel();
        self.spawn(exchange(Rc::clone(self), request, terms, respond, places));
        Box::pin(async move {
            // The task always answers, unless the worker ends.
            answer.await.unwrap_or(Err(ErrorCode::ConnectionTerminated))
        })
    }

    fn tls_config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(tls::client_config(Arc::clone(&self.network.roots))?);
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }
}

/// One request's client: how many bytes its bodies may still have.
pub struct Caller {
    client: Rc<Client>,
    bytes_left: Rc<Cell<u64>>,
}

impl Caller {
    /// For a request whose subrequests' bodies may have `bytes` together.
    pub fn new(client: Rc<Client>, bytes: u64) -> Rc<Self> {
        let bytes_left = Rc::new(Cell::new(bytes));
        Rc::new(Self { client, bytes_left })
    }
}

impl Outbound for Caller {
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Pin<Box<dyn Future<Output = Answered>>> {
        let terms = Terms {
            patience: self.client.patience.at_most(options),
            bytes_left: Rc::clone(&self.bytes_left),
            to: None,
        };
        self.client.send(request, terms)
    }
}

/// Charges each poll to a tenant's share of the core.
struct Charged<F> {
    meter: Meter,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Charged<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { meter, inner } = &mut *self;
        meter.charge(|| inner.as_mut().poll(cx))
    }
}
