//! One database: read into sealed memory, mapped, asked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use maxminddb::Reader;
use serde::Deserialize;

use crate::config::{Facts, limits};
use crate::sys::sealed::{self, Sealed};

/// Reads a file into memory that nobody can change, for any number of processes to map.
///
/// # Errors
/// A file that cannot be read, that is larger than [`limits::GEO_DATABASE_BYTES_MAX`], or is no database.
pub fn load(path: &Path) -> Result<OwnedFd, String> {
    let copied = File::open(path).and_then(copy);
    let memory = copied.map_err(|error| format!("{}: {error}", path.display()))?;
    let again = memory.as_fd().try_clone_to_owned();
    let again = again.map_err(|error| error.to_string())?;
    Database::map(again).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(memory)
}

fn copy(mut file: File) -> io::Result<OwnedFd> {
    let bytes_max = limits::GEO_DATABASE_BYTES_MAX;
    if file.metadata()?.len() > bytes_max {
        let text = format!("larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    sealed::make(c"skep-geo", |memory| {
        let mut block = vec![0; limits::GEO_READ_BYTES];
        let mut left = bytes_max;
        loop {
            let read = file.read(&mut block)? as u64;
            if read == 0 {
                return Ok(());
            }
            left = left.checked_sub(read).ok_or(io::ErrorKind::FileTooLarge)?;
            memory.write_all(&block[..read as usize])?;
        }
    })
}

/// A database that this process has mapped.
#[derive(Debug)]
pub struct Database(Reader<Sealed>);

/// The part of a record that is told; the layout is that of GeoLite2 and GeoIP2 (City, Country, ASN).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    city: Place<'a>,
    continent: Place<'a>,
    country: Place<'a>,
    location: Location,
    subdivisions: Vec<Place<'a>>,
    autonomous_system_number: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Place<'a> {
    code: Option<&'a str>,
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Names<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Database {
    /// Maps sealed memory with a database in it.
    ///
    /// # Errors
    /// Memory that is not sealed, or has something else in it.
    pub fn map(memory: OwnedFd) -> Result<Self, String> {
        let memory = Sealed::map(memory.as_fd()).map_err(|error| error.to_string())?;
        let reader = Reader::from_source(memory);
        reader.map(Self).map_err(|error| error.to_string())
    }

    /// Adds what this one says of an address to what is known.
    pub(super) fn add(&self, ip: IpAddr, facts: &mut Facts) {
        let found = self.0.lookup(ip).and_then(|it| it.decode::<Record>());
        // A database that is damaged there, or has another layout, says nothing.
        let Ok(Some(record)) = found else {
            return;
        };
        let text = |known: &mut Option<String>, said: Option<&str>| {
            if known.is_none() {
                *known = said.map(str::to_owned);
            }
        };
        facts.asn = facts.asn.or(record.autonomous_system_number);
        facts.latitude = facts.latitude.or(record.location.latitude);
        facts.longitude = facts.longitude.or(record.location.longitude);
        let region = record.subdivisions.first().and_then(|it| it.iso_code);
        text(&mut facts.region, region);
        text(&mut facts.continent, record.continent.code);
        text(&mut facts.country_code, record.country.iso_code);
        text(&mut facts.country_name, record.country.names.en);
        text(&mut facts.city, record.city.names.en);
    }
}
