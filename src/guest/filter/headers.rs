//! Fields and pseudo-fields of a request and its answer, one map each, as proxy-wasm has them.
//!
//! | | everywhere else | `compat = "fastedge"` |
//! |---|---|---|
//! | a field that is not there | `NotFound` | `Ok` and an empty value |
//! | to remove a field | it is gone | its value is empty; to add to it replaces that |
//! | to read a field that is there twice | the values, with commas | the first value |
//!
//! The right column is what nginx does at Gcore. What is sent leaves out fields whose value is empty
//! there.

use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, StatusCode};

use super::exchange::Exchange;
use super::status::{Answer, Status, TooMuch};
use super::wire;
use crate::config::{Compat, limits};

/// What a field costs beside its name and value, in bytes, as in HTTP/2 (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// One of the maps that a filter may change.
pub(super) struct Fields<'e> {
    head: Head<'e>,
    compat: Compat,
}

enum Head<'e> {
    Request(&'e mut Exchange),
    Response(&'e mut Exchange),
}

impl<'e> Fields<'e> {
    pub(super) fn of_request(exchange: &'e mut Exchange, compat: Compat) -> Self {
        let head = Head::Request(exchange);
        Self { head, compat }
    }

    pub(super) fn of_response(exchange: &'e mut Exchange, compat: Compat) -> Self {
        let head = Head::Response(exchange);
        Self { head, compat }
    }

    fn map(&mut self) -> &mut HeaderMap {
        match &mut self.head {
            Head::Request(exchange) => &mut exchange.request_headers,
            Head::Response(exchange) => &mut exchange.response_headers,
        }
    }

    /// Adds a value to those that there are.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Answer {
        let Some(field) = self.field(name, value)? else {
            return Ok(());
        };
        let (name, value) = field;
        let compat = self.compat;
        let map = self.map();
        let removed = compat == Compat::Fastedge && map.get(&name).is_some_and(|it| it.is_empty());
        if removed {
            map.insert(name, value);
            return fits(map);
        }
        map.try_append(name, value).map_err(|_| too_many())?;
        fits(map)
    }

    /// Puts a value in the place of those that there are.
    pub(super) fn replace(&mut self, name: &[u8], value: &[u8]) -> Answer {
        let Some((name, value)) = self.field(name, value)? else {
            return Ok(());
        };
        let map = self.map();
        map.try_insert(name, value).map_err(|_| too_many())?;
        fits(map)
    }

    /// Takes a field away.
    pub(super) fn remove(&mut self, name: &[u8]) -> Answer {
        if name.starts_with(b":") {
            return Err(Status::BadArgument.into());
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Status::BadArgument)?;
        let compat = self.compat;
        let map = self.map();
        match compat {
            Compat::None => {
                map.remove(&name);
            }
            Compat::Fastedge if map.contains_key(&name) => {
                map.insert(name, HeaderValue::from_static(""));
            }
            Compat::Fastedge => {}
        }
        Ok(())
    }

    /// Puts these fields in the place of all; pseudo-fields that are not among them stay.
    pub(super) fn replace_all(&mut self, pairs: &[(&[u8], &[u8])]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            if let Some((name, value)) = self.field(name, value)? {
                map.try_append(name, value).map_err(|_| too_many())?;
            }
        }
        fits(&map)?;
        *self.map() = map;
        Ok(())
    }

    /// A field as it stands in the map; none where it was a pseudo-field, which is set.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Answer<Option<(HeaderName, HeaderValue)>> {
        if name.starts_with(b":") {
            let set = match &mut self.head {
                Head::Request(exchange) => set_request(exchange, name, value),
                Head::Response(exchange) => set_response(exchange, name, value),
            };
            set.ok_or(Status::BadArgument)?;
            return Ok(None);
        }
        let bad = |_| Status::BadArgument;
        let name = HeaderName::from_bytes(name).map_err(bad)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Status::BadArgument)?;
        // They say the same, in whatever version of HTTP.
        if name == HOST
            && let Head::Request(exchange) = &mut self.head
        {
            set_request(exchange, b":authority", value.as_bytes()).ok_or(Status::BadArgument)?;
        }
        Ok(Some((name, value)))
    }
}

fn set_request(exchange: &mut Exchange, name: &[u8], value: &[u8]) -> Option<()> {
    if value.len() > limits::FIELDS_BYTES {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    match name {
        b":method" => exchange.method = Method::from_bytes(value).ok()?,
        b":scheme" if matches!(text, "http" | "https") => text.clone_into(&mut exchange.scheme),
        b":authority" => {
            text.parse::<Authority>().ok()?;
            text.clone_into(&mut exchange.authority);
        }
        b":path" => {
            let path: PathAndQuery = text.parse().ok()?;
            let is_path = text.starts_with('/') || (text == "*" && exchange.method == "OPTIONS");
            // A fragment is not sent.
            is_path.then(|| path.as_str().clone_into(&mut exchange.path))?;
        }
        _ => return None,
    }
    Some(())
}

fn set_response(exchange: &mut Exchange, name: &[u8], value: &[u8]) -> Option<()> {
    let status = StatusCode::from_bytes(value).ok()?;
    // What comes before an answer is none.
    let is_final = name == b":status" && status.as_u16() >= 200;
    is_final.then(|| exchange.status = status)
}

/// Fields from a guest for a message of its own; `None` where one is not a field. Pseudo-fields go to
/// `pseudo`, which says whether there is such a one.
pub(super) fn parse(
    bytes: &[u8],
    mut pseudo: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Answer<HeaderMap> {
    let pairs = wire::parse_pairs(bytes).ok_or(Status::BadArgument)?;
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        if name.starts_with(b":") {
            pseudo(name, value).ok_or(Status::BadArgument)?;
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| Status::BadArgument)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Status::BadArgument)?;
        map.try_append(name, value).map_err(|_| too_many())?;
    }
    fits(&map)?;
    Ok(map)
}

fn too_many() -> TooMuch {
    TooMuch {
        what: "a filter's header map",
        max: limits::FIELDS_BYTES,
        unit: "bytes",
    }
}

/// Whether a map is not larger than one may be.
fn fits(map: &HeaderMap) -> Answer {
    let costs = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES);
    match costs.sum::<usize>() <= limits::FIELDS_BYTES {
        true => Ok(()),
        false => Err(too_many().into()),
    }
}

/// The value of a field, for a guest.
pub(super) fn value(map: &HeaderMap, name: &[u8], compat: Compat) -> Option<Vec<u8>> {
    let name = HeaderName::from_bytes(name).ok()?;
    if compat == Compat::Fastedge {
        return map.get(name).map(|value| value.as_bytes().to_vec());
    }
    let mut values = map.get_all(name).iter().map(HeaderValue::as_bytes);
    let mut joined = values.next()?.to_vec();
    for value in values {
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    Some(joined)
}

/// The value of a pseudo-field or a field of the request.
pub(super) fn request_value(exchange: &Exchange, name: &[u8], compat: Compat) -> Option<Vec<u8>> {
    if let Some((_, value)) = request_pseudo(exchange)
        .into_iter()
        .find(|(it, _)| it.as_bytes() == name)
    {
        return Some(value.as_bytes().to_vec());
    }
    let found = value(&exchange.request_headers, name, compat);
    match found {
        None if name.eq_ignore_ascii_case(b"host") => Some(exchange.authority.clone().into_bytes()),
        found => found,
    }
}

/// The value of the status or a field of the answer.
pub(super) fn response_value(
    status: StatusCode,
    map: &HeaderMap,
    name: &[u8],
    compat: Compat,
) -> Option<Vec<u8>> {
    match name {
        b":status" => Some(status.as_str().as_bytes().to_vec()),
        name => value(map, name, compat),
    }
}

/// The request's pseudo-fields.
fn request_pseudo(exchange: &Exchange) -> [(&'static str, &str); 4] {
    [
        (":method", exchange.method.as_str()),
        (":scheme", &exchange.scheme),
        (":authority", &exchange.authority),
        (":path", &exchange.path),
    ]
}

/// All of the request, as pairs.
pub(super) fn request_pairs(exchange: &Exchange) -> Vec<u8> {
    let pseudo = request_pseudo(exchange);
    let pseudo = pseudo
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let all: Vec<_> = pseudo.chain(fields(&exchange.request_headers)).collect();
    wire::pairs(&all)
}

/// All of an answer, as pairs.
pub(super) fn response_pairs(status: StatusCode, map: &HeaderMap) -> Vec<u8> {
    let pseudo = std::iter::once((&b":status"[..], status.as_str().as_bytes()));
    let all: Vec<_> = pseudo.chain(fields(map)).collect();
    wire::pairs(&all)
}

fn fields(map: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    map.iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// How many pairs a guest sees of a request.
pub(super) fn request_count(exchange: &Exchange) -> usize {
    4 + exchange.request_headers.len()
}

/// How many pairs a guest sees of an answer.
pub(super) fn response_count(map: &HeaderMap) -> usize {
    1 + map.len()
}
