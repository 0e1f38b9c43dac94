//! What can be known of a place, and what it is called.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// What is known of a place; of what is not known nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// Degrees north, -90 to 90.
    pub latitude: Option<f64>,
    /// Degrees east, -180 to 180.
    pub longitude: Option<f64>,
    /// Code of the first-level region within the country: the part of ISO 3166-2 after the hyphen.
    pub region: Option<String>,
    /// Code of the continent: `EU`.
    pub continent: Option<String>,
    /// Code of the country, ISO 3166-1: `LU`.
    pub country_code: Option<String>,
    /// Name of the country, in English.
    pub country_name: Option<String>,
    /// Name of the city, in English.
    pub city: Option<String>,
}

/// For each fact: the end of a header field's name, and FastEdge's property of a request.
const NAMES: [(&str, &str); 8] = [
    ("asn", "request.asn"),
    ("lat", "request.geo.lat"),
    ("long", "request.geo.long"),
    ("reg", "request.region"),
    ("continent", "request.continent"),
    ("country-code", "request.country"),
    ("country-name", "request.country.name"),
    ("city", "request.city"),
];

impl Facts {
    /// In the order of [`NAMES`].
    fn values(&self) -> [Option<String>; 8] {
        [
            self.asn.as_ref().map(ToString::to_string),
            self.latitude.as_ref().map(ToString::to_string),
            self.longitude.as_ref().map(ToString::to_string),
            self.region.clone(),
            self.continent.clone(),
            self.country_code.clone(),
            self.country_name.clone(),
            self.city.clone(),
        ]
    }

    /// What is known, as header fields; names begin with `prefix`. Text is UTF-8, as FastEdge sends it.
    pub fn fields(&self, prefix: &str) -> Vec<(HeaderName, HeaderValue)> {
        let named = NAMES.iter().zip(self.values());
        named
            .filter_map(|((name, _), value)| {
                let name = HeaderName::try_from(format!("{prefix}{name}")).ok()?;
                let value = HeaderValue::from_bytes(value?.as_bytes()).ok()?;
                Some((name, value))
            })
            .collect()
    }

    /// What is known, by the names of FastEdge's properties.
    pub fn properties(&self) -> BTreeMap<String, String> {
        let named = NAMES.iter().zip(self.values());
        named
            .filter_map(|((_, name), value)| Some(((*name).to_owned(), value?)))
            .collect()
    }

    /// Whether all of it can be said.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_within = |degrees: Option<f64>, most: f64| degrees.is_none_or(|it| it.abs() <= most);
        if !is_within(self.latitude, 90.0) || !is_within(self.longitude, 180.0) {
            let right = "latitude -90 to 90, longitude -180 to 180";
            return Err(("not a place on Earth", right));
        }
        let said = self.values().into_iter().flatten().count();
        if self.fields("pop-").len() < said {
            return Err(("a control character", "text in one line"));
        }
        Ok(())
    }

    /// Only what a country's code says: two letters.
    ///
    /// # Errors
    /// What would be right.
    pub fn of_country(code: &str) -> Result<Self, String> {
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err("a country's code of two letters is right: LU".to_owned());
        }
        Ok(Self {
            country_code: Some(code.to_ascii_uppercase()),
            ..Self::default()
        })
    }
}
