//! Taking out what is no longer so: by order, and because a request changed it.
//!
//! What is being fetched meanwhile may be what is purged: those who asked for it before still get it, and it
//! is not stored.

use std::rc::Rc;

use http::header::{CONTENT_LOCATION, HeaderMap, LOCATION};
use http::{Method, StatusCode};

use super::flight::Flight;
use super::reference::same_origin;
use super::tenant::{State, Tenant};
use super::time::Now;
use crate::data::http_cache::Which;

/// Which responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge<'a> {
    /// All variants of one URL, which is written as the key of a [`Request`](super::Request) is.
    Url(&'a str),
    /// Those whose URLs begin so.
    Prefix(&'a str),
    /// Those with a tag.
    Tag(&'a str),
    /// All of the tenant.
    All,
}

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// They are removed.
    Remove,
    /// They are stale: they may still be served while the origin is asked, or instead of an error, if they
    /// say so themselves.
    MakeStale,
}

impl Purge<'_> {
    /// As it is told to who keeps answers below. What would be stale there is removed.
    fn below(self) -> Which {
        match self {
            Self::Url(url) => Which::Url(url.to_owned()),
            Self::Prefix(prefix) => Which::Prefix(prefix.to_owned()),
            Self::Tag(tag) => Which::Tag(tag.to_owned()),
            Self::All => Which::All,
        }
    }
}

impl Tenant {
    /// Purges responses; how many.
    pub fn purge(&self, what: Purge<'_>, how: How, now: Now) -> u64 {
        self.0.forget_below(|| what.below());
        self.0.with(|state| state.purge(what, how, now))
    }

    /// Has to be called with each answer to a request that the cache passed because of its method: where it
    /// is no error, what is stored for its URL, and for those that its `Location` and `Content-Location`
    /// name at the same origin, is no longer so (RFC 9111 §4.4). How many were removed.
    pub fn invalidate(
        &self,
        method: &Method,
        url: &str,
        status: StatusCode,
        headers: &HeaderMap,
        now: Now,
    ) -> u64 {
        if method.is_safe() || !(status.is_success() || status.is_redirection()) {
            return 0;
        }
        let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| {
            let reference = headers.get(name)?.to_str().ok()?;
            same_origin(url, reference)
        });
        let urls: Vec<String> = named.collect();
        for url in std::iter::once(url).chain(urls.iter().map(String::as_str)) {
            self.0.forget_below(|| Which::Url(url.to_owned()));
        }
        self.0.with(|state| {
            let urls = std::iter::once(url).chain(urls.iter().map(String::as_str));
            urls.map(|url| state.purge(Purge::Url(url), How::Remove, now))
                .sum()
        })
    }
}

impl State {
    fn purge(&mut self, what: Purge<'_>, how: How, now: Now) -> u64 {
        let flights = self.flights.iter();
        let flights = flights.flat_map(|(key, flights)| flights.iter().map(move |it| (key, it)));
        for (key, flight) in flights {
            doom(key, flight, what);
        }
        match what {
            Purge::Url(url) => self.marks.take(url),
            Purge::All => self.marks.clear(),
            Purge::Prefix(_) | Purge::Tag(_) => {} // they end by themselves
        }
        let ids = match what {
            Purge::Url(url) => self.store.with_key(url),
            Purge::Prefix(prefix) => self.store.with_prefix(prefix),
            Purge::Tag(tag) => self.store.with_tag(tag),
            Purge::All => self.store.with_prefix(""),
        };
        for id in &ids {
            match how {
                How::Remove => self.store.remove(*id),
                How::MakeStale => self.store.expire(*id, now),
            }
        }
        let count = ids.len() as u64;
        self.counters.purged += count;
        count
    }
}

fn doom(key: &str, flight: &Rc<Flight>, what: Purge<'_>) {
    let is_meant = match what {
        Purge::Url(url) => key == url,
        Purge::Prefix(prefix) => key.starts_with(prefix),
        Purge::All => true,
        Purge::Tag(tag) => {
            flight.doom_tag(tag);
            return;
        }
    };
    if is_meant {
        flight.doom();
    }
}
