//! Where clients are, and where this host is: databases in MaxMind's format (MaxMind DB 2.0).
//!
//! ```text
//! GeoLite2-City.mmdb ──read──► supervisor ──► sealed memory ──descriptor──► worker: mapped, looked up
//!                              (start, SIGHUP)  one for the host               for each request
//! ```
//!
//! A worker opens no file: it maps what it is given, read-only. Memory that is sealed is written by nobody
//! any more, so a reload gives workers another one and leaves this one to those who look something up.

mod database;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::{Facts, GeoPlaces};

pub use database::{Database, load};

/// What is known of places.
#[derive(Debug, Default)]
pub struct Geo {
    /// Asked in order; what an earlier one says counts.
    databases: Vec<Database>,
    /// What is said of every client instead.
    constant: Option<Facts>,
    /// `pop-*`, made once.
    pop: Vec<(HeaderName, HeaderValue)>,
}

impl Geo {
    /// Of a host at `pop`, with these databases.
    ///
    /// # Errors
    /// A descriptor that is no sealed memory, or has no database in it.
    pub fn new(databases: Vec<OwnedFd>, pop: &Facts) -> Result<Self, String> {
        let databases = databases.into_iter().map(Database::map);
        Ok(Self {
            databases: databases.collect::<Result<_, _>>()?,
            constant: None,
            pop: pop.fields("pop-"),
        })
    }

    /// What a configuration says, in the process that may read its files.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(places: &GeoPlaces) -> Result<Self, String> {
        let databases = places.databases.iter().map(|path| load(path));
        let geo = Self::new(databases.collect::<Result<_, _>>()?, &places.pop)?;
        Ok(geo.with_constant(places.client.clone()))
    }

    /// The same is said of every client, whatever its address.
    pub fn with_constant(mut self, facts: Option<Facts>) -> Self {
        self.constant = facts;
        self
    }

    /// What is known of an address.
    pub fn lookup(&self, ip: IpAddr) -> Facts {
        if let Some(constant) = &self.constant {
            return constant.clone();
        }
        let mut facts = Facts::default();
        for database in &self.databases {
            database.add(ip, &mut facts);
        }
        facts
    }

    /// What is known of an address, by the names of FastEdge's properties: `request.country`, …
    pub fn facts(&self, ip: IpAddr) -> BTreeMap<String, String> {
        self.lookup(ip).properties()
    }

    /// Puts `geoip-*` of a client and `pop-*` of this host into a request's fields.
    pub fn put(&self, fields: &mut HeaderMap, client: Option<IpAddr>) {
        let of_client = client.map(|ip| self.lookup(ip).fields("geoip-"));
        let of_client = of_client.unwrap_or_default().into_iter();
        for (name, value) in of_client.chain(self.pop.iter().cloned()) {
            // A request has so many fields already that one more does not fit: it goes without.
            let _ = fields.try_insert(name, value);
        }
    }
}

#[cfg(test)]
#[path = "../../tests/common/mmdb.rs"]
mod testing;
#[cfg(test)]
mod tests;
