//! Where a tenant's guests may connect to.
//!
//! ```text
//!                       name rule allows the name?          address rule names the address?
//!  https://api.example ──────────── yes ──► looked up ──► each address: public, or named ──► dialled
//!  https://10.1.2.3 ───────────────────────────────────► named (or public, and `*`)
//! ```
//!
//! A name that no rule allows is not even looked up: a query can carry data to whoever answers it. An
//! address that is not on the public internet ([`special`]) is reached only where an address rule names
//! it, whatever name led there: so a name that suddenly resolves to `127.0.0.1` leads nowhere.

mod roots;
mod special;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::HostPattern;

pub use roots::roots;
pub use special::{embedded, is_special};

/// The protocol of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The port where none is said.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One entry of `egress.allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    target: Target,
    /// Either one where it is absent.
    scheme: Option<Scheme>,
    /// Where it is absent: the scheme's own for a name, any for addresses.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Target {
    Name(HostPattern),
    Net(IpNet),
}

/// What a tenant's guests may connect to. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// What is allowed; in file order.
    pub allow: Vec<EgressRule>,
}

/// Why a text is no rule, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; {right}")]
pub struct EgressError {
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// What a rule looks like, for messages.
const RULE_RIGHT: &str = "\"https://api.example.com\", \"*.internal:8443\", \"10.0.0.0/8\" or \"*\" for every public host";

impl Egress {
    /// Everything, private networks and this machine included: for `skep run --egress allow-all`.
    pub fn allow_all() -> Self {
        let net = |net| EgressRule {
            target: Target::Net(net),
            scheme: None,
            port: None,
        };
        let any = EgressRule {
            target: Target::Name(HostPattern::Any),
            scheme: None,
            port: Some(0),
        };
        Self {
            allow: special::ranges().map(net).chain([any]).collect(),
        }
    }

    /// These hosts at these ports, wherever their names lead: for servers that the operator names.
    pub fn to_servers<'s>(servers: impl Iterator<Item = (&'s str, u16)>) -> Self {
        let servers: BTreeSet<(&str, u16)> = servers.collect();
        let rule = |target, port| EgressRule {
            target,
            scheme: None,
            port: Some(port),
        };
        let mut allow = Vec::new();
        // What names lead to, on their ports.
        let mut ports = BTreeSet::new();
        for (host, port) in servers {
            match host.parse::<IpAddr>() {
                Ok(address) => allow.push(rule(Target::Net(address.into()), port)),
                Err(_) => {
                    let name = HostPattern::Exact(host.to_owned());
                    allow.push(rule(Target::Name(name), port));
                    ports.insert(port);
                }
            }
        }
        for port in ports {
            allow.extend(special::ranges().map(|net| rule(Target::Net(net), port)));
        }
        Self { allow }
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }

    /// Whether this name may be looked up to be connected to. `name` is in lower case and no address.
    pub fn allows_name(&self, scheme: Scheme, name: &str, port: u16) -> bool {
        self.allow.iter().any(|rule| match &rule.target {
            Target::Name(pattern) => pattern.covers(name) && rule.has_port(scheme, port),
            Target::Net(_) => false,
        })
    }

    /// Whether an address that an allowed name has may be connected to.
    pub fn allows_resolved(&self, scheme: Scheme, address: IpAddr, port: u16) -> bool {
        !is_special(address) || self.names_address(scheme, address, port)
    }

    /// Whether an address may be connected to that the guest itself said.
    pub fn allows_address(&self, scheme: Scheme, address: IpAddr, port: u16) -> bool {
        self.names_address(scheme, address, port)
            || (!is_special(address)
                && self.allow.iter().any(|rule| {
                    matches!(rule.target, Target::Name(HostPattern::Any))
                        && rule.has_port(scheme, port)
                }))
    }

    /// Whether an address rule covers it. A special address has to be meant: a rule that covers public
    /// ones, too (`0.0.0.0/0`), does not name it.
    fn names_address(&self, scheme: Scheme, address: IpAddr, port: u16) -> bool {
        let address = embedded(address).unwrap_or(address);
        self.allow.iter().any(|rule| match &rule.target {
            Target::Net(net) => {
                net.contains(&address)
                    && rule.has_port(scheme, port)
                    && (!is_special(address) || special::contains_net(net))
            }
            Target::Name(_) => false,
        })
    }
}

impl EgressRule {
    fn has_port(&self, scheme: Scheme, port: u16) -> bool {
        let right_scheme = self.scheme.is_none_or(|it| it == scheme);
        let right_port = match (&self.target, self.port) {
            (_, Some(0)) | (Target::Net(_), None) => true,
            (_, Some(only)) => only == port,
            (Target::Name(_), None) => scheme.default_port() == port,
        };
        right_scheme && right_port
    }
}

impl FromStr for EgressRule {
    type Err = EgressError;

    /// Reads `[SCHEME://]HOST[:PORT]`, where HOST is a name, `*.name`, `*`, an address or a network
    /// (`10.0.0.0/8`); an IPv6 one before a port is in brackets. Without a port, a name is allowed on
    /// its scheme's own port, an address on every port; `:*` is every port.
    fn from_str(text: &str) -> Result<Self, EgressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(_) => return fail("not a scheme of HTTP", "http:// or https://, or neither"),
            None => (None, text),
        };
        let (host, port) = split_port(rest)?;
        let target = match net(host) {
            Some(net) => Target::Net(net?),
            None if host == "*" => Target::Name(HostPattern::Any),
            None => Target::Name(name(host)?),
        };
        Ok(Self {
            target,
            scheme,
            port,
        })
    }
}

/// Splits `host:port`; port 0 stands for every one.
fn split_port(text: &str) -> Result<(&str, Option<u16>), EgressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, _)) if !host.contains(':') => {
                return fail(
                    "brackets around what is no IPv6 address",
                    "the host without them",
                );
            }
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return fail("no `:` after the bracket", "[fd00::/8]:8443"),
            },
            None => return fail("a bracket that is not closed", "[fd00::/8]:8443"),
        },
        // A bare IPv6 address has no port.
        None if text.matches(':').count() > 1 => (text, None),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some("*") => Some(0),
        Some(digits) => match digits.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => return fail("not a port", "1 to 65535, or * for every one"),
        },
    };
    Ok((host, port))
}

/// An address or a network, if it looks like one.
fn net(host: &str) -> Option<Result<IpNet, EgressError>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Ok(IpNet::from(address)));
    }
    let (address, prefix) = host.split_once('/')?;
    if address.parse::<IpAddr>().is_err() || prefix.is_empty() {
        return None;
    }
    Some(match host.parse::<IpNet>() {
        Ok(net) if net.addr() == net.network() => Ok(net),
        Ok(net) => fail(
            "an address inside the network",
            format!("its first one: {}", net.trunc()),
        ),
        Err(_) => fail("not a network", "an address and its length: 10.0.0.0/8"),
    })
}

fn name(host: &str) -> Result<HostPattern, EgressError> {
    if host.contains(['/', '?', '#', '@']) {
        return fail("more than an origin", RULE_RIGHT);
    }
    HostPattern::parse(host).or_else(|error| match error.wrong {
        "`*` inside a name" => fail(error.wrong, RULE_RIGHT),
        wrong => fail(wrong, error.right),
    })
}

fn fail<T>(wrong: impl Into<String>, right: impl Into<String>) -> Result<T, EgressError> {
    let (wrong, right) = (wrong.into(), right.into());
    Err(EgressError { wrong, right })
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.as_str())?;
        }
        let has_colons = matches!(&self.target, Target::Net(IpNet::V6(_)));
        match &self.target {
            Target::Name(name) => name.fmt(f)?,
            Target::Net(net) if has_colons && self.port.is_some() => write!(f, "[{net}]")?,
            Target::Net(net) => net.fmt(f)?,
        }
        match self.port {
            None => Ok(()),
            Some(0) => f.write_str(":*"),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
