use std::io::Write;

use http::header::HeaderMap;
use serde_json::{Value, json};

use super::testing::database;
use super::*;
use crate::sys::sealed;

fn luxembourg() -> Value {
    json!({
        "city": { "geoname_id": 1, "names": { "en": "Luxembourg", "de": "Luxemburg" } },
        "continent": { "code": "EU", "names": { "en": "Europe" } },
        "country": { "iso_code": "LU", "names": { "en": "Luxembourg" } },
        "location": { "latitude": 49.6113, "longitude": 6.1294, "time_zone": "Europe/Luxembourg" },
        "subdivisions": [{ "iso_code": "LU", "names": { "en": "Luxembourg" } }, { "iso_code": "XX" }],
    })
}

fn memory(bytes: &[u8]) -> OwnedFd {
    sealed::make(c"t", |file| file.write_all(bytes)).unwrap()
}

fn geo(databases: &[Vec<u8>]) -> Geo {
    let pop = Facts {
        latitude: Some(-33.5),
        ..Facts::of_country("au").unwrap()
    };
    Geo::new(databases.iter().map(|it| memory(it)).collect(), &pop).unwrap()
}

fn pairs(fields: &HeaderMap) -> Vec<String> {
    let mut pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn what_databases_say_is_told_by_fastedges_names() {
    let city = database(&[("192.0.2.7", luxembourg()), ("2001:db8::1", luxembourg())]);
    let asn = database(&[(
        "192.0.2.7",
        json!({ "autonomous_system_number": 64496, "country": { "iso_code": "DE" } }),
    )]);
    let geo = geo(&[city, asn]);
    let told = geo.facts("192.0.2.7".parse().unwrap());
    let expected = [
        ("request.asn", "64496"),
        ("request.city", "Luxembourg"),
        ("request.continent", "EU"),
        ("request.country", "LU"),
        ("request.country.name", "Luxembourg"),
        ("request.geo.lat", "49.6113"),
        ("request.geo.long", "6.1294"),
        ("request.region", "LU"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, expected.into());
    let of_v6 = geo.facts("2001:db8::1".parse().unwrap());
    assert_eq!((of_v6.len(), of_v6.get("request.asn")), (7, None));
    assert!(geo.facts("192.0.2.8".parse().unwrap()).is_empty());

    let mut fields = HeaderMap::new();
    geo.put(&mut fields, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(
        pairs(&fields),
        [
            "geoip-asn: 64496",
            "geoip-city: Luxembourg",
            "geoip-continent: EU",
            "geoip-country-code: LU",
            "geoip-country-name: Luxembourg",
            "geoip-lat: 49.6113",
            "geoip-long: 6.1294",
            "geoip-reg: LU",
            "pop-country-code: AU",
            "pop-lat: -33.5",
        ]
    );
}

#[test]
fn names_are_utf_8_and_those_that_are_no_field_are_left_out() {
    let say = |city: &str| json!({ "city": { "names": { "en": city } } });
    let geo = geo(&[database(&[
        ("192.0.2.1", say("São Paulo")),
        ("192.0.2.2", say("a\r\nx-y: z")),
    ])]);
    let told = |ip: &str| {
        let mut fields = HeaderMap::new();
        geo.put(&mut fields, Some(ip.parse().unwrap()));
        pairs(&fields)[0].clone()
    };
    assert_eq!(told("192.0.2.1"), "geoip-city: São Paulo");
    assert_eq!(told("192.0.2.2"), "pop-country-code: AU");
}

#[test]
fn a_constant_is_said_of_everybody() {
    let facts = Facts::of_country("lu").unwrap();
    let geo = geo(&[database(&[("192.0.2.7", luxembourg())])]).with_constant(Some(facts.clone()));
    for ip in ["192.0.2.7", "::1"] {
        assert_eq!(geo.lookup(ip.parse().unwrap()), facts);
    }
    for wrong in ["", "L", "LUX", "L1"] {
        assert!(Facts::of_country(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn damaged_databases_are_refused_or_say_nothing() {
    let good = database(&[("192.0.2.7", luxembourg())]);
    let ip = "192.0.2.7".parse().unwrap();
    for wrong in [b"".as_slice(), b"no database", &good[..good.len() - 40]] {
        let made = Geo::new(vec![memory(&[wrong, b" "].concat())], &Facts::default());
        assert!(made.is_err(), "{} bytes", wrong.len());
    }
    // Each byte of it in turn: whatever is read, nothing panics, and most of it is still told.
    let mut as_it_was = 0;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        if let Ok(geo) = Geo::new(vec![memory(&bytes)], &Facts::default()) {
            as_it_was += usize::from(geo.facts(ip).len() == 7);
        }
    }
    assert!((1..good.len()).contains(&as_it_was), "{as_it_was}");
}

#[test]
fn files_are_read_up_to_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mmdb");
    assert!(load(&path).unwrap_err().contains("a.mmdb"));
    std::fs::write(&path, database(&[("192.0.2.7", luxembourg())])).unwrap();
    let geo = Geo::new(vec![load(&path).unwrap()], &Facts::default()).unwrap();
    assert_eq!(geo.facts("192.0.2.7".parse().unwrap()).len(), 7);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(crate::config::limits::GEO_DATABASE_BYTES_MAX + 1)
        .unwrap();
    assert!(load(&path).unwrap_err().contains("larger than"));
}
