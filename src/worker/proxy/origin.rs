//! A tenant's origin: its servers, and which of them a request goes to.
//!
//! A server that failed several requests in a row is left alone for a while (passive ejection), for twice
//! as long each time that it fails again at its return. When all are left alone, the one whose time ends
//! first is tried: an origin is never given up.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderValue, header};
use http_body_util::BodyExt;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::below::Disk;
use super::cached;
use super::upload::Upload;
use crate::config::{self, Destination, OriginHost, limits};
use crate::control::Purge;
use crate::fault::Reason;
use crate::guest::{Failure, Response};
use crate::scheduler::Account;
use crate::worker::data;
use crate::worker::egress::{Client, Network};
use crate::worker::http_cache::{self, Below};
use crate::worker::split::Split;

/// A tenant's origin, as one worker sees it.
#[derive(Debug)]
pub struct Origin {
    /// The client that it is reached by.
    pub(super) client: Rc<Client>,
    /// Its answers that are kept, where any are.
    pub(super) cache: Option<http_cache::Tenant>,
    /// Those of its answers that are kept on disk, too.
    disk: Option<Rc<Disk>>,
    config: config::Origin,
    servers: Rc<[Server]>,
    /// Whose turn it is.
    next: Cell<usize>,
}

/// One server.
#[derive(Debug)]
struct Server {
    destination: Rc<Destination>,
    /// The `Host` of its own.
    authority: HeaderValue,
    health: Health,
}

impl Origin {
    /// The origin of a tenant, if it has one. What `known`, the one before a reload, has of the same
    /// servers is kept: connections, and how they do.
    pub fn of(
        network: &Rc<Network>,
        tenant: &config::Tenant,
        account: &Rc<Account>,
        (split, is_here): (Split, bool),
        data: &Rc<data::Client>,
        known: Option<&Self>,
    ) -> Option<Self> {
        let client = known.map(|known| &known.client);
        let client = Client::of_origin(network, tenant, account, split, client)?;
        let config = tenant.origin.clone()?;
        // What another site said is not what this one says.
        let of_site = known.filter(|known| known.is_of_site(&config));
        let kept = of_site.and_then(|known| known.cache.as_ref());
        let cache = cache(is_here, network, &tenant.limits, kept);
        let site = config.site();
        let wants_disk = tenant.limits.http_cache_disk_bytes > 0;
        let disk = cache.as_ref().filter(|_| wants_disk).map(|_| {
            // What it still has to make up for stays with it.
            let disk = known.and_then(|known| known.disk.clone());
            disk.filter(|disk| disk.site() == site)
                .unwrap_or_else(|| Rc::new(Disk::new(data, site)))
        });
        if let Some(cache) = &cache {
            cache.set_below(disk.clone().map(|disk| disk as Rc<dyn Below>));
        }
        let known = known.filter(|known| known.config.servers == config.servers);
        let servers = known.map_or_else(
            || config.servers.iter().filter_map(Server::new).collect(),
            |known| Rc::clone(&known.servers),
        );
        Some(Self {
            client,
            cache,
            disk,
            config,
            servers,
            next: Cell::new(0),
        })
    }

    /// Whether another configuration is about the same site: the same name for it, and a server in common.
    fn is_of_site(&self, other: &config::Origin) -> bool {
        let servers = &self.config.servers;
        self.config.host == other.host && servers.iter().any(|it| other.servers.contains(it))
    }

    /// Forgets answers that are kept; how many.
    pub fn purge(&self, what: &Purge, soft: bool) -> u64 {
        self.cache
            .as_ref()
            .map_or(0, |cache| cached::purge(cache, what, soft))
    }

    /// Those of its answers that are kept on disk, too.
    pub fn disk(&self) -> Option<Rc<Disk>> {
        self.disk.clone()
    }

    /// How its first server is named in a URL.
    pub fn authority(&self) -> String {
        let first = self.config.servers.first();
        first.map(Destination::authority).unwrap_or_default()
    }

    /// Whether one of its servers is named so in a URL.
    pub fn has(&self, authority: &str) -> bool {
        self.servers.iter().any(|it| it.authority == authority)
    }

    /// The `Host` that all servers are asked for, where it is not their own.
    fn host(&self, parts: &Parts) -> Option<HeaderValue> {
        match &self.config.host {
            OriginHost::Server => None,
            OriginHost::Client => parts.headers.get(header::HOST).cloned(),
            OriginHost::Name(name) => HeaderValue::from_str(name).ok(),
        }
    }

    /// Sends a request; gives the head of its answer, whose body follows.
    ///
    /// # Errors
    /// What became of the last attempt.
    pub async fn send(&self, mut parts: Parts, body: Upload) -> Result<Response, Failure> {
        let host = self.host(&parts);
        let tries_max = self.servers.len().min(limits::ORIGIN_TRIES_MAX);
        let mut tried = 0_u32;
        loop {
            let now = Instant::now();
            let Some((place, server)) = self.choose(now, tried) else {
                return Err(Failure {
                    reason: Reason::Internal,
                    detail: "the origin has no servers".to_owned(),
                });
            };
            tried |= 1 << place;
            let mut request = http::Request::new(body.clone().boxed_unsync());
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            let is_last = tried.count_ones() as usize >= tries_max;
            *request.headers_mut() = match is_last {
                true => std::mem::take(&mut parts.headers),
                false => parts.headers.clone(),
            };
            let host = host.clone().unwrap_or_else(|| server.authority.clone());
            let to = Rc::clone(&server.destination);
            let error = match self.client.pass_on(request, to, host).await {
                Ok(response) => {
                    server.health.succeeded();
                    return Ok(response);
                }
                Err(error) => error,
            };
            let (reason, is_servers) = what_failed(&error);
            if is_servers && server.health.failed(Instant::now()) {
                tracing::warn!("the origin's server {server} is left alone");
            }
            let is_harmless =
                body.is_untouched() || (parts.method.is_idempotent() && body.was_empty());
            if !is_servers || !is_harmless || is_last {
                return Err(Failure {
                    reason,
                    detail: format!("the origin's server {server}: {error:?}"),
                });
            }
        }
    }

    /// The server for the next attempt, and its place: one in good health whose turn it is, or the one
    /// that is left alone for the shortest time. `tried`: the places that were tried already, as bits.
    fn choose(&self, now: Instant, tried: u32) -> Option<(usize, &Server)> {
        let count = self.servers.len();
        let first = self.next.get();
        self.next.set((first + 1) % count.max(1));
        let all = (0..count).map(|turn| (first + turn) % count);
        let left = all
            .filter(|place| tried & (1 << place) == 0)
            .map(|place| (place, &self.servers[place]));
        let usable = left.clone().find(|(_, server)| server.health.is_good(now));
        usable.or_else(|| left.min_by_key(|(_, server)| server.health.alone_until.get()))
    }
}

/// The cache of a tenant; `known`, the one before a reload, keeps what it has.
fn cache(
    is_here: bool,
    network: &Network,
    limits: &config::Limits,
    known: Option<&http_cache::Tenant>,
) -> Option<http_cache::Tenant> {
    let settings = http_cache::Settings {
        bytes_max: limits.http_cache_bytes,
        object_bytes_max: limits.http_cache_object_bytes,
        client_directives: true,
    };
    // Whose requests are handed on keeps nothing.
    if settings.bytes_max == 0 || !is_here {
        return None;
    }
    let Some(known) = known else {
        return Some(network.http_cache.tenant(settings));
    };
    known.set(settings);
    Some(known.clone())
}

impl Server {
    fn new(destination: &Destination) -> Option<Self> {
        Some(Self {
            destination: Rc::new(destination.clone()),
            authority: destination.authority().try_into().ok()?,
            health: Health::default(),
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { scheme, .. } = &*self.destination;
        write!(f, "{}://{}", scheme.as_str(), self.destination.authority())
    }
}

/// What is known of a server, from the requests that it was sent.
#[derive(Debug, Default)]
struct Health {
    /// Failures since the last success.
    failures: Cell<u32>,
    alone_until: Cell<Option<Instant>>,
}

impl Health {
    fn is_good(&self, now: Instant) -> bool {
        self.alone_until.get().is_none_or(|until| until <= now)
    }

    fn succeeded(&self) {
        self.failures.set(0);
        self.alone_until.set(None);
    }

    /// Counts a failure; whether the server is left alone from now on, and was not before.
    fn failed(&self, now: Instant) -> bool {
        // A request that was under way when its server was left alone says nothing new.
        if !self.is_good(now) {
            return false;
        }
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        let Some(times) = failures.checked_sub(limits::ORIGIN_FAILURES_MAX) else {
            return false;
        };
        let alone_s = (1_u64 << times.min(31)).min(limits::ORIGIN_ALONE_S_MAX);
        let alone = Duration::from_secs(alone_s);
        self.alone_until.set(Some(now + alone));
        true
    }
}

/// What the client is told of an attempt that failed, and whether that says something about the server.
pub(super) fn what_failed(error: &ErrorCode) -> (Reason, bool) {
    match error {
        ErrorCode::ConnectionTimeout
        | ErrorCode::DnsTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::ConnectionWriteTimeout => (Reason::OriginTimeout, true),
        ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpProhibited
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::HttpRequestDenied
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::TlsAlertReceived(_) => (Reason::OriginUnreachable, true),
        ErrorCode::ConnectionLimitReached => (Reason::NoSlot, false),
        // The client's body broke off, or is not as long as it said.
        ErrorCode::HttpRequestBodySize(_) | ErrorCode::InternalError(_) => {
            (Reason::OriginFailed, false)
        }
        _ => (Reason::OriginFailed, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_again_and_again_is_left_alone_for_longer() {
        let health = Health::default();
        let mut now = Instant::now();
        for _ in 1..limits::ORIGIN_FAILURES_MAX {
            assert!(!health.failed(now));
            assert!(health.is_good(now));
        }
        for times in 0..20 {
            assert!(health.failed(now));
            // Others that were under way change nothing.
            let until = health.alone_until.get();
            assert!(!health.is_good(now));
            assert!(!health.failed(now));
            assert_eq!(health.alone_until.get(), until);
            let alone = Duration::from_secs((1 << times).min(limits::ORIGIN_ALONE_S_MAX));
            assert!(!health.is_good(now + alone - Duration::from_millis(1)));
            now += alone;
            assert!(health.is_good(now));
        }
        health.succeeded();
        assert!(!health.failed(now), "it starts anew");
    }
}
