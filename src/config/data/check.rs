//! Checks of `[[tenant.kv]]` and `[[tenant.secret]]`.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::{Backend, RedisServer, Secret, SecretSource, Store};
use crate::config::tenant::{NAME_RIGHT, One, is_name};
use crate::config::{HostPattern, limits, raw};

pub(super) const REDIS_RIGHT: &str = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]";

/// Reads the address of a Redis server.
///
/// # Errors
/// What is wrong.
pub(super) fn redis(text: &str) -> Result<RedisServer, String> {
    let rest = text
        .strip_prefix("redis://")
        .ok_or("not an address of a Redis server")?;
    let (rest, db) = match rest.split_once('/') {
        Some((rest, "")) => (rest, 0),
        Some((rest, db)) => (rest, db.parse().map_err(|_| "not a number of a database")?),
        None => (rest, 0),
    };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let (username, password) = match login.map(|it| it.split_once(':').unwrap_or((it, ""))) {
        None => (None, None),
        Some((user, password)) => {
            let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            (said(user), said(password))
        }
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
            (host, port.parse().map_err(|_| "not a port")?)
        }
        _ => (place, 6379),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    if username.is_some() && password.is_none() {
        return Err("a user without a password".to_owned());
    }
    let is_host = host.parse::<std::net::IpAddr>().is_ok()
        || matches!(HostPattern::parse(&host), Ok(HostPattern::Exact(_)));
    if !is_host || port == 0 {
        return Err("not a host and a port".to_owned());
    }
    Ok(RedisServer {
        host,
        port,
        username,
        password,
        db,
        prefix: String::new(),
        raw: false,
    })
}

impl One<'_, '_, '_> {
    pub(in crate::config) fn stores(&mut self, raw: &[Spanned<raw::Store>]) -> Vec<Store> {
        if let Some(over) = raw.get(limits::STORES_PER_TENANT_MAX) {
            let right = format!("at most {}", limits::STORES_PER_TENANT_MAX);
            self.wrong_store(over.span(), "too many stores", right);
        }
        let mut stores: Vec<Store> = Vec::with_capacity(raw.len());
        for entry in raw {
            let (span, raw) = (entry.span(), entry.get_ref());
            let Some(name) = &raw.name else {
                self.wrong_store(
                    span,
                    "a store without a name",
                    "name = \"default\"".to_owned(),
                );
                continue;
            };
            if !is_store_name(name.get_ref()) {
                self.wrong(
                    name.span(),
                    "kv.name",
                    "not a store's name",
                    STORE_NAME_RIGHT,
                );
            } else if stores.iter().any(|store| store.name == *name.get_ref()) {
                self.wrong(name.span(), "kv.name", "used twice", "each name once");
            }
            stores.push(Store {
                name: name.get_ref().clone(),
                access: raw.access.unwrap_or_default(),
                shared: self.shared(raw),
                backend: self.backend(raw, span),
            });
        }
        stores
    }

    /// What is wrong with a whole store, which may have a password in it: it is not repeated.
    fn wrong_store(&mut self, span: Range<usize>, wrong: &str, right: String) {
        let key = self.key("kv");
        self.checker.report.place(Some(span), key, wrong, right);
    }

    fn shared(&mut self, raw: &raw::Store) -> Option<String> {
        let shared = raw.shared.as_ref()?;
        if !is_name(shared.get_ref()) {
            self.wrong(
                shared.span(),
                "kv.shared",
                "not a shared store's name",
                NAME_RIGHT,
            );
        }
        Some(shared.get_ref().clone())
    }

    fn backend(&mut self, raw: &raw::Store, span: Range<usize>) -> Backend {
        let Some(address) = &raw.redis else {
            if raw.prefix.is_some() || raw.raw_keys.is_some() {
                let wrong = "prefix and raw_keys are for Redis";
                self.wrong_store(span, wrong, "redis = \"redis://…\" beside them".to_owned());
            }
            return Backend::Embedded;
        };
        let prefix = raw.prefix.as_ref().map_or("", |it| it.get_ref());
        if address.get_ref().len() + prefix.len() > limits::STORE_ADDRESS_BYTES_MAX {
            let right = format!("at most {} bytes", limits::STORE_ADDRESS_BYTES_MAX);
            let key = self.key("kv.redis");
            let report = &mut self.checker.report;
            report.place(
                Some(address.span()),
                key,
                "it and its prefix are too long",
                right,
            );
        }
        let is_raw = raw.raw_keys.unwrap_or_default();
        if !is_raw && !prefix.is_empty() && !is_prefix(prefix) {
            let key = self.key("kv.prefix");
            let report = &mut self.checker.report;
            report.place(Some(address.span()), key, "not a prefix", PREFIX_RIGHT);
        }
        match redis(address.get_ref()) {
            Ok(server) => Backend::Redis(RedisServer {
                prefix: prefix.to_owned(),
                raw: raw.raw_keys.unwrap_or_default(),
                ..server
            }),
            Err(wrong) => {
                // The address may have a password in it: it is not repeated.
                let key = self.key("kv.redis");
                let report = &mut self.checker.report;
                report.place(Some(address.span()), key, wrong, REDIS_RIGHT);
                Backend::Embedded
            }
        }
    }

    pub(in crate::config) fn secrets(&mut self, raw: &[Spanned<raw::Secret>]) -> Vec<Secret> {
        if let Some(over) = raw.get(limits::SECRETS_PER_TENANT_MAX) {
            let right = format!("at most {}", limits::SECRETS_PER_TENANT_MAX);
            self.wrong(over.span(), "secret", "too many secrets and slots", right);
        }
        let mut secrets: Vec<Secret> = Vec::with_capacity(raw.len());
        for entry in raw {
            let (span, raw) = (entry.span(), entry.get_ref());
            let Some(name) = &raw.name else {
                self.wrong(
                    span,
                    "secret",
                    "a secret without a name",
                    "name = \"API_KEY\"",
                );
                continue;
            };
            if !is_secret_name(name.get_ref()) {
                self.wrong(
                    name.span(),
                    "secret.name",
                    "not a secret's name",
                    SECRET_NAME_RIGHT,
                );
            }
            let from_s = self.since_s(raw);
            let is_same = |it: &Secret| it.name == *name.get_ref() && it.from_s == from_s;
            if secrets.iter().any(is_same) {
                let wrong = "two slots of the same time";
                self.wrong(name.span(), "secret.name", wrong, "another `from` for each");
            }
            if let Some(source) = self.source(raw, span) {
                secrets.push(Secret {
                    name: name.get_ref().clone(),
                    source,
                    from_s,
                });
            }
        }
        secrets
    }

    fn source(&mut self, raw: &raw::Secret, span: Range<usize>) -> Option<SecretSource> {
        match (&raw.file, &raw.credential) {
            (Some(file), None) => {
                let path = self.checker.dir.join(file.get_ref());
                if let Err(error) = std::fs::metadata(&path) {
                    let wrong = format!("{}: {error}", path.display());
                    let right = "a file that `skep secret seal` has written";
                    self.wrong(file.span(), "secret.file", wrong, right);
                }
                Some(SecretSource::File(path))
            }
            (None, Some(name)) => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
                let dir = dir.filter(|dir| dir.is_absolute()).unwrap_or_else(|| {
                    let right = "start under systemd with LoadCredential=, or use `file`";
                    let wrong = "there is no CREDENTIALS_DIRECTORY";
                    self.wrong(name.span(), "secret.credential", wrong, right);
                    PathBuf::from("/")
                });
                let is_plain = !name.get_ref().contains('/') && !name.get_ref().starts_with('.');
                if !is_plain || name.get_ref().is_empty() {
                    let right = "its name, as in LoadCredential=";
                    self.wrong(
                        name.span(),
                        "secret.credential",
                        "not a credential's name",
                        right,
                    );
                }
                Some(SecretSource::Credential(dir.join(name.get_ref())))
            }
            _ => {
                let right = "file = \"…\" or credential = \"…\"";
                self.wrong(span, "secret", "not one source", right);
                None
            }
        }
    }

    fn since_s(&mut self, raw: &raw::Secret) -> u64 {
        let Some(from) = &raw.from else {
            return 0;
        };
        match unix_s(from.get_ref()) {
            Some(seconds) => seconds,
            None => {
                let right = "a date and time with an offset: 2027-01-01T00:00:00Z";
                self.wrong(from.span(), "secret.from", "not a time", right);
                0
            }
        }
    }
}

const PREFIX_RIGHT: &str =
    "letters, digits, `-`, `_` and `.`, then one `:`; anything with raw_keys";

/// Tenants' keys begin with a name, `/` and a name, then `:`; with a prefix like this before them they are
/// others than those of any other prefix or of none.
fn is_prefix(prefix: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let name = prefix.strip_suffix(':');
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(plain))
}

/// A TOML date and time in Unix seconds; one before 1970 is none.
fn unix_s(time: &toml::value::Datetime) -> Option<u64> {
    let (date, clock) = (time.date?, time.time?);
    let offset_min = match time.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
    let seconds = i64::from(clock.second.unwrap_or_default());
    let minutes = i64::from(clock.hour) * 60 + i64::from(clock.minute) - offset_min;
    u64::try_from(days * 86_400 + minutes * 60 + seconds).ok()
}

/// Days of the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub(super) const STORE_NAME_RIGHT: &str = "1 to 64 letters, digits, `-`, `_` and `.`";

pub(super) fn is_store_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=limits::STORE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

const SECRET_NAME_RIGHT: &str = "1 to 128 bytes of text without control characters";

fn is_secret_name(name: &str) -> bool {
    (1..=limits::SECRET_NAME_BYTES_MAX).contains(&name.len())
        && !name.bytes().any(|byte| byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_redis() {
        let parse = |text| {
            redis(text).map(|it| {
                let login = (
                    it.username.unwrap_or_default(),
                    it.password.unwrap_or_default(),
                );
                (it.host, it.port, it.db, login.0, login.1)
            })
        };
        let full = |host: &str, port, db, user: &str, password: &str| {
            Ok((
                host.to_owned(),
                port,
                db,
                user.to_owned(),
                password.to_owned(),
            ))
        };
        for (text, expected) in [
            ("redis://localhost", full("localhost", 6379, 0, "", "")),
            ("redis://10.0.0.1:7000/3", full("10.0.0.1", 7000, 3, "", "")),
            ("redis://[::1]:7000/", full("::1", 7000, 0, "", "")),
            ("redis://[::1]", full("::1", 6379, 0, "", "")),
            (
                "redis://u:p@q@Redis.Internal/1",
                full("redis.internal", 6379, 1, "u", "p@q"),
            ),
            ("redis://:p@h", full("h", 6379, 0, "", "p")),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for text in [
            "",
            "redis://",
            "http://h",
            "redis://h:x",
            "redis://h:0",
            "redis://h/x",
            "redis://*.h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_passwords_debug_form_is_nothing() {
        let server = redis("redis://user:hunter2@h").unwrap();
        assert!(!format!("{:?}", Backend::Redis(server)).contains("hunter2"));
    }

    #[test]
    fn times_are_unix_seconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2027-01-01T00:00:00Z", Some(1_798_761_600)),
            ("2024-02-29T12:34:56+02:00", Some(1_709_202_896)),
            ("1969-12-31T23:59:59Z", None),
            ("2027-01-01T00:00:00", None),
            ("2027-01-01", None),
        ] {
            assert_eq!(unix_s(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
