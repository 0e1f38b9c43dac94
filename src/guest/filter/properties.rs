//! Properties: what a filter asks for by a path, and what filters leave for each other.
//!
//! A path is segments with NUL between them (Envoy's attributes), or one name with dots in it
//! (FastEdge's); both are the same property here: `request\0path` is `request.path`.
//!
//! | property | value |
//! |---|---|
//! | `request.url` | scheme, authority, path and query; to write it sends the request elsewhere |
//! | `request.path` | with `compat = "fastedge"` without the query, as `request.url_path` is everywhere |
//! | `request.query`, `.host`, `.scheme`, `.method`, `.extension`, `.x_real_ip` | as they say |
//! | `request.useragent`, `.referer`, `.id`, `.traceparent` | the fields that Envoy takes them from |
//! | `request.headers.NAME`, `response.headers.NAME` | a field |
//! | `request.size`, `response.size` | bytes of the body that are here, as an integer |
//! | `request.country`, … | what the proxy knows of the client |
//! | `response.status`, `.code` | with `compat = "fastedge"` two bytes, big-endian; else an integer |
//! | `source.address` | the client's address |
//!
//! An integer is eight bytes, little-endian.

use std::collections::BTreeMap;

use super::exchange::{Exchange, Phase};
use super::headers;
use super::status::{Answer, Status, Stop, TooMuch};
use crate::config::{Compat, limits};

/// What a property costs beside its name and value, in bytes.
const PROPERTY_OVERHEAD_BYTES: usize = 64;

/// Properties that filters have set.
#[derive(Debug, Default)]
pub struct Properties {
    values: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl Properties {
    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    fn set(&mut self, name: String, value: Vec<u8>) -> Result<(), TooMuch> {
        let cost = |value: &[u8]| name.len() + value.len() + PROPERTY_OVERHEAD_BYTES;
        let old = self.values.get(&name).map_or(0, |value| cost(value));
        let bytes = self.bytes - old + cost(&value);
        if bytes > limits::FILTER_PROPERTIES_BYTES {
            return Err(TooMuch {
                what: "all that filters set as properties",
                max: limits::FILTER_PROPERTIES_BYTES,
                unit: "bytes",
            });
        }
        self.bytes = bytes;
        self.values.insert(name, value);
        Ok(())
    }
}

/// The name of a property from its path.
pub(super) fn name(path: &str) -> String {
    path.trim_end_matches('\0').replace('\0', ".")
}

/// Where the path of a request's target ends.
fn split(path: &str) -> (&str, &str) {
    path.split_once('?').unwrap_or((path, ""))
}

/// The value of a property.
pub(super) fn get(
    exchange: &Exchange,
    phase: Option<Phase>,
    compat: Compat,
    name: &str,
) -> Option<Vec<u8>> {
    let own = || exchange.properties.get(name).map(<[u8]>::to_vec);
    // While a filter starts and ends there is no request.
    let Some(phase) = phase else { return own() };
    if let Some(value) = of_request(exchange, compat, name) {
        return Some(value);
    }
    if phase.is_response()
        && let Some(value) = of_response(exchange, compat, name)
    {
        return Some(value);
    }
    match exchange.facts.get(name) {
        Some(fact) => Some(fact.clone().into_bytes()),
        None => own(),
    }
}

fn of_request(exchange: &Exchange, compat: Compat, name: &str) -> Option<Vec<u8>> {
    let (path, query) = split(&exchange.path);
    let field = |name: &str| headers::value(&exchange.request_headers, name.as_bytes(), compat);
    let client = || exchange.client_ip.map(|address| address.to_string());
    let text = match name {
        "request.url" => url(exchange),
        "request.path" if compat == Compat::Fastedge => path.to_owned(),
        "request.path" | "request.uri" => exchange.path.clone(),
        "request.url_path" => path.to_owned(),
        "request.query" => query.to_owned(),
        "request.host" => exchange.authority.clone(),
        "request.scheme" => exchange.scheme.clone(),
        "request.method" => exchange.method.as_str().to_owned(),
        "request.extension" => extension(path).to_owned(),
        "request.protocol" => "HTTP/1.1".to_owned(),
        "request.x_real_ip" | "source.address" => client()?,
        "request.useragent" => return field("user-agent"),
        "request.referer" => return field("referer"),
        "request.id" => return field("x-request-id"),
        "request.traceparent" => return field("traceparent"),
        "request.size" => return Some(integer(exchange.request_body.len() as u64)),
        name => {
            let name = name.strip_prefix("request.headers.")?;
            return headers::request_value(exchange, name.as_bytes(), compat);
        }
    };
    Some(text.into_bytes())
}

fn of_response(exchange: &Exchange, compat: Compat, name: &str) -> Option<Vec<u8>> {
    let status = exchange.status.as_u16();
    match name {
        "response.status" | "response.code" | "response.status_code" => Some(match compat {
            Compat::Fastedge => status.to_be_bytes().to_vec(),
            Compat::None => integer(status.into()),
        }),
        "response.size" => Some(integer(exchange.response_body.len() as u64)),
        name => {
            let name = name.strip_prefix("response.headers.")?;
            let map = &exchange.response_headers;
            headers::response_value(exchange.status, map, name.as_bytes(), compat)
        }
    }
}

/// Envoy's form of an integer.
fn integer(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// `request.url`.
fn url(exchange: &Exchange) -> String {
    format!(
        "{}://{}{}",
        exchange.scheme, exchange.authority, exchange.path
    )
}

/// What comes behind the last dot of a path's last segment.
fn extension(path: &str) -> &str {
    let segment = path.rsplit('/').next().unwrap_or_default();
    segment
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
}

/// What is set elsewhere than among a filter's own properties.
pub(super) enum Written {
    /// It is done.
    Done,
    /// The word for the access log.
    Diag(String),
}

/// Sets a property.
pub(super) fn set(
    exchange: &mut Exchange,
    phase: Option<Phase>,
    compat: Compat,
    name: String,
    value: Vec<u8>,
) -> Answer<Written> {
    let is_first = phase == Some(Phase::RequestHeaders);
    let text = |value| String::from_utf8(value).map_err(|_| Stop::Status(Status::BadArgument));
    match &*name {
        "request.url" if is_first => {
            let url = text(value)?;
            if url.len() > limits::FIELDS_BYTES || !is_url(&url) {
                return Err(Status::BadArgument.into());
            }
            exchange.reroute = Some(url);
        }
        // At Gcore they are taken and come to nothing.
        "request.host" | "request.path" | "request.query" | "request.scheme"
            if is_first && compat == Compat::Fastedge => {}
        "nginx.log_field1" if is_first && compat == Compat::Fastedge => {
            return text(value).map(Written::Diag);
        }
        name if is_built_in(exchange, name) => return Err(Status::BadArgument.into()),
        _ => exchange.properties.set(name, value)?,
    }
    Ok(Written::Done)
}

fn is_url(url: &str) -> bool {
    let uri: Result<http::Uri, _> = url.parse();
    uri.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Whether the host says what it is.
fn is_built_in(exchange: &Exchange, name: &str) -> bool {
    let among = ["request.", "response.", "source.", "nginx."];
    among.iter().any(|prefix| name.starts_with(prefix)) || exchange.facts.contains_key(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            scheme: "https".into(),
            authority: "shop.example".into(),
            path: "/a/b.tar.gz?q=1&r=2".into(),
            client_ip: Some([192, 0, 2, 7].into()),
            facts: [("request.country".to_owned(), "LU".to_owned())].into(),
            status: http::StatusCode::IM_A_TEAPOT,
            request_headers: [(http::header::USER_AGENT, "curl".parse().unwrap())]
                .into_iter()
                .collect(),
            ..Exchange::default()
        }
    }

    #[test]
    fn values_have_the_forms_of_both_worlds() {
        let (fastedge, none) = (Compat::Fastedge, Compat::None);
        let (first, last) = (Phase::RequestHeaders, Phase::ResponseBody);
        let cases: [(Compat, Phase, &str, Option<&[u8]>); 18] = [
            (fastedge, first, "request.path", Some(b"/a/b.tar.gz")),
            (none, first, "request.path", Some(b"/a/b.tar.gz?q=1&r=2")),
            (none, first, "request\0path", Some(b"/a/b.tar.gz?q=1&r=2")),
            (none, first, "request\0url_path\0", Some(b"/a/b.tar.gz")),
            (fastedge, last, "request.query", Some(b"q=1&r=2")),
            (fastedge, first, "request.extension", Some(b"gz")),
            (fastedge, first, "request.host", Some(b"shop.example")),
            (
                fastedge,
                first,
                "request.url",
                Some(b"https://shop.example/a/b.tar.gz?q=1&r=2"),
            ),
            (fastedge, first, "request.country", Some(b"LU")),
            (none, first, "request\0country", Some(b"LU")),
            (fastedge, first, "request.x_real_ip", Some(b"192.0.2.7")),
            (none, first, "request.headers.user-agent", Some(b"curl")),
            (none, first, "request\0headers\0:method", Some(b"GET")),
            (fastedge, last, "response.status", Some(&[1, 162])),
            (
                none,
                last,
                "response\0code",
                Some(&[162, 1, 0, 0, 0, 0, 0, 0]),
            ),
            (fastedge, first, "response.status", None),
            (fastedge, first, "request.city", None),
            (fastedge, first, "", None),
        ];
        for (compat, phase, path, expected) in cases {
            let value = get(&exchange(), Some(phase), compat, &name(path));
            assert_eq!(value.as_deref(), expected, "{path:?} {compat:?}");
        }
        assert_eq!(get(&exchange(), None, none, "request.path"), None);
    }

    fn set_in(exchange: &mut Exchange, phase: Phase, name: &str, value: &str) -> bool {
        let compat = Compat::Fastedge;
        set(
            exchange,
            Some(phase),
            compat,
            name.to_owned(),
            value.to_owned().into_bytes(),
        )
        .is_ok()
    }

    #[test]
    fn only_its_url_sends_a_request_elsewhere_and_only_at_first() {
        let mut it = exchange();
        let (first, later) = (Phase::RequestHeaders, Phase::RequestBody);
        for name in [
            "request.host",
            "request.path",
            "request.query",
            "request.scheme",
        ] {
            assert!(set_in(&mut it, first, name, "x"), "{name}");
            assert!(!set_in(&mut it, later, name, "x"), "{name}");
        }
        assert_eq!((&*it.authority, &it.reroute), ("shop.example", &None));
        for bad in ["", "/path", "ftp://a/", "https://", "no url"] {
            assert!(!set_in(&mut it, first, "request.url", bad), "{bad}");
        }
        assert!(!set_in(
            &mut it,
            later,
            "request.url",
            "https://other.example/"
        ));
        assert!(set_in(
            &mut it,
            first,
            "request.url",
            "https://other.example/x?y"
        ));
        assert_eq!(it.reroute.as_deref(), Some("https://other.example/x?y"));
        for read_only in [
            "request.method",
            "request.country",
            "response.status",
            "nginx.x",
        ] {
            assert!(!set_in(&mut it, first, read_only, "x"), "{read_only}");
        }
    }

    #[test]
    fn properties_of_filters_are_bounded_to_the_byte() {
        let mut it = exchange();
        let most = limits::FILTER_PROPERTIES_BYTES - 1 - PROPERTY_OVERHEAD_BYTES;
        let phase = Phase::ResponseHeaders;
        assert!(set_in(&mut it, phase, "a", &"x".repeat(most)));
        assert!(
            set_in(&mut it, phase, "a", &"y".repeat(most)),
            "in its place"
        );
        assert!(!set_in(&mut it, phase, "a", &"x".repeat(most + 1)));
        assert!(!set_in(&mut it, phase, "b", ""));
        let value = get(&it, Some(Phase::ResponseBody), Compat::None, "a");
        assert_eq!(value.map(|value| value[0]), Some(b'y'));
        assert_eq!(it.properties.get("a").map(<[u8]>::len), Some(most));
        assert!(set_in(&mut it, phase, "a", ""));
        assert!(set_in(&mut it, phase, "b", ""));
    }
}
