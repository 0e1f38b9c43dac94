//! `[tenant.origin]`: the servers that a tenant's requests are passed on to, and the filters on the way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::limits;
use super::tenant::One;
use super::{Egress, HostPattern, Scheme, raw};

/// The servers behind a tenant's hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Each has the whole site; in file order, never empty.
    pub servers: Vec<Destination>,
    /// The `Host` that they are asked for.
    pub host: OriginHost,
    /// What looks at requests on their way there, in this order, and at answers, in the other one.
    pub filters: Vec<OriginFilter>,
}

/// One filter on the way to an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginFilter {
    /// Its module's file; only who prepares it is told.
    #[serde(skip)]
    pub component: PathBuf,
    /// Which of [`HOOKS`] it is called at, where it exports them.
    pub on: [bool; HOOKS.len()],
}

/// When a filter can be called, in the order of a request's life.
pub const HOOKS: [&str; 4] = [
    "request_headers",
    "request_body",
    "response_headers",
    "response_body",
];

/// The `Host` of a request that is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginHost {
    /// The server's own name and port.
    #[default]
    Server,
    /// What the client said.
    Client,
    /// Always this.
    Name(String),
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Its protocol.
    pub scheme: Scheme,
    /// A name in lower case, or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What `servers` has, for messages.
const SERVER_RIGHT: &str = "\"https://origin.example\" or \"http://10.0.0.5:8080\", without a path";

impl Origin {
    /// What passing requests on needs to connect to: the operator names these servers, wherever their
    /// names lead.
    pub fn egress(&self) -> Egress {
        Egress::to_servers(self.servers.iter().map(|it| (it.host.as_str(), it.port)))
    }

    /// A number for this site, the same after a restart: what another one answered is not its answer. An
    /// origin with one more server is another one.
    pub fn site(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{:?} {:?}", self.host, self.servers).hash(&mut hasher);
        hasher.finish()
    }
}

impl Destination {
    /// How a request names it: without the port that is its scheme's own (RFC 9110 §4.2.3).
    pub fn authority(&self) -> String {
        let Self { scheme, host, port } = self;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        match *port == scheme.default_port() {
            true => host,
            false => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Destination {
    type Err = &'static str;

    /// Reads `SCHEME://HOST[:PORT]`, a slash at its end or not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err("neither http:// nor https://"),
        };
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return Err("more than a server");
        }
        let authority = uri.authority().ok_or("no server")?;
        if authority.as_str().contains('@') {
            return Err("a user in a server's URL");
        }
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let host = match (address.parse::<IpAddr>(), HostPattern::parse(&host)) {
            (Ok(address), _) => address.to_string(),
            (Err(_), Ok(HostPattern::Exact(name))) => name,
            _ => return Err("not a host name"),
        };
        let said = authority.as_str().strip_prefix(authority.host());
        let port = match (said, authority.port_u16()) {
            (Some(""), None) => scheme.default_port(),
            (_, Some(port @ 1..)) => port,
            _ => return Err("not a port"),
        };
        Ok(Self { scheme, host, port })
    }
}

impl One<'_, '_, '_> {
    /// Checks `[tenant.origin]`.
    pub(super) fn origin(&mut self, raw: Option<&toml::Spanned<raw::Origin>>) -> Option<Origin> {
        const EMPTY: &str = "at least one server: [\"https://origin.example\"]";
        let place = raw?.span();
        let raw = raw?.get_ref();
        let Some(list) = &raw.servers else {
            self.wrong(place, "origin", "no servers", EMPTY);
            return None;
        };
        if list.get_ref().is_empty() {
            self.wrong(list.span(), "origin.servers", "empty", EMPTY);
        }
        if list.get_ref().len() > limits::ORIGIN_SERVERS_MAX {
            let right = format!("at most {}", limits::ORIGIN_SERVERS_MAX);
            self.wrong(list.span(), "origin.servers", "too many servers", right);
        }
        let mut servers = Vec::with_capacity(list.get_ref().len());
        for text in list.get_ref() {
            match text.get_ref().parse::<Destination>() {
                Ok(server) if servers.contains(&server) => {
                    let right = "each server once";
                    self.wrong(text.span(), "origin.servers", "named twice", right);
                }
                Ok(server) => servers.push(server),
                Err(wrong) => self.wrong(text.span(), "origin.servers", wrong, SERVER_RIGHT),
            }
        }
        let host = match &raw.host {
            None => OriginHost::Server,
            Some(word) if word.get_ref() == "server" => OriginHost::Server,
            Some(word) if word.get_ref() == "client" => OriginHost::Client,
            Some(name) => match HostPattern::parse(name.get_ref()) {
                Ok(HostPattern::Exact(name)) => OriginHost::Name(name),
                _ => {
                    let right = "\"server\", \"client\" or a host name";
                    self.wrong(name.span(), "origin.host", "not a host", right);
                    OriginHost::Server
                }
            },
        };
        let filters = raw
            .filter
            .get(..limits::FILTERS_MAX)
            .unwrap_or_else(|| &raw.filter);
        if raw.filter.len() > limits::FILTERS_MAX {
            let right = format!("at most {}", limits::FILTERS_MAX);
            self.wrong(place, "origin.filter", "too many filters", right);
        }
        Some(Origin {
            servers,
            host,
            filters: filters.iter().map(|raw| self.filter(raw)).collect(),
        })
    }

    fn filter(&mut self, raw: &toml::Spanned<raw::Filter>) -> OriginFilter {
        const KEY: &str = "origin.filter.component";
        let (place, raw) = (raw.span(), raw.get_ref());
        let component = match &raw.component {
            Some(name) => self.module(KEY, name),
            None => {
                let right = "the path of a filter's module, relative to this file";
                self.wrong(place, KEY, "missing", right);
                PathBuf::new()
            }
        };
        let Some(list) = &raw.on else {
            return OriginFilter {
                component,
                on: [true; HOOKS.len()],
            };
        };
        let mut on = [false; HOOKS.len()];
        for word in list.get_ref() {
            match HOOKS.iter().position(|hook| hook == word.get_ref()) {
                Some(hook) => on[hook] = true,
                None => {
                    let right = format!("of {}", HOOKS.join(", "));
                    self.wrong(word.span(), "origin.filter.on", "not a hook", right);
                }
            }
        }
        OriginFilter { component, on }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_how_requests_name_them() {
        for (text, authority) in [
            ("http://origin.example", "origin.example"),
            ("https://Origin.Example/", "origin.example"),
            ("https://origin.example:443", "origin.example"),
            ("http://origin.example:443", "origin.example:443"),
            ("http://10.0.0.5:8080", "10.0.0.5:8080"),
            ("https://[fd00::5]", "[fd00::5]"),
            ("https://[fd00::5]:8443", "[fd00::5]:8443"),
        ] {
            let server: Destination = text.parse().unwrap();
            assert_eq!(server.authority(), authority, "{text}");
        }
        for text in [
            "origin.example",
            "ftp://origin.example",
            "http://",
            "http://origin.example/path",
            "http://origin.example?query",
            "http://origin.example/#fragment",
            "http://user:secret@origin.example",
            "http://*.example",
            "http://origin.example:0",
            "http://origin.example:99999",
            "http://under_score..example",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
