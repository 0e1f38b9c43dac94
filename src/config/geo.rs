//! `[geo]`: what says where clients are, and where this host is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::raw;
use super::validate::Checker;
use crate::geo;

/// What programs for FastEdge are told of places.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeoPlaces {
    /// Databases in MaxMind's format, asked in order.
    pub databases: Vec<PathBuf>,
    /// Where this host is.
    pub pop: Facts,
    /// What is said of every client, whatever databases say: `skep run --geo`.
    pub client: Option<Facts>,
}

impl GeoPlaces {
    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Checker<'_, '_> {
    /// `[geo]`.
    pub(super) fn geo(&mut self, raw: &raw::Geo) -> GeoPlaces {
        let mut databases = Vec::new();
        let named = [
            ("geo.database", &raw.database),
            ("geo.asn_database", &raw.asn_database),
        ];
        for (key, name) in named {
            let Some(name) = name else { continue };
            let path = self.dir.join(name.get_ref());
            if let Err(wrong) = geo::load(&path) {
                let right = "a database in MaxMind's format: GeoLite2-City.mmdb";
                self.report.value(name.span(), key, wrong, right);
            }
            databases.push(path);
        }
        let mut pop = Facts::default();
        if let Some(said) = &raw.pop {
            pop.clone_from(said.get_ref());
            if let Err((wrong, right)) = pop.check() {
                self.report.value(said.span(), "geo.pop", wrong, right);
            }
        }
        GeoPlaces {
            databases,
            pop,
            client: None,
        }
    }
}
