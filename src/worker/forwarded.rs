//! What a program for Gcore FastEdge is told of its client in header fields.
//!
//! | field | value |
//! |---|---|
//! | `x-real-ip` | the client's address |
//! | `x-forwarded-proto` | `http` |
//! | `server_name` | the host that was asked for |
//! | `server_addr` | the address that was connected to |
//! | `geoip-*`, `pop-*` | where the client is, and this host: `[geo]` ([`Geo`]) |
//!
//! What a client says in these, and in `x-cdn-*`, is left out: a program trusts them.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use socket2::{SockAddr, SockRef};

use crate::geo::Geo;

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const SERVER_NAME: HeaderName = HeaderName::from_static("server_name");
const SERVER_ADDR: HeaderName = HeaderName::from_static("server_addr");

/// Fields of this kind that a client has no say in.
const RESERVED: [&str; 3] = ["geoip-", "pop-", "x-cdn-"];

/// Replaces the fields of a request that came over `connection`.
pub fn put(fields: &mut HeaderMap, connection: BorrowedFd<'_>, geo: &Geo) {
    let reserved: Vec<HeaderName> = fields
        .keys()
        .filter(|name| {
            RESERVED
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
        })
        .cloned()
        .collect();
    for name in reserved {
        fields.remove(name);
    }
    let connection = SockRef::from(&connection);
    let client = ip(connection.peer_addr());
    set(fields, X_REAL_IP, client);
    set(fields, SERVER_ADDR, ip(connection.local_addr()));
    geo.put(fields, client);
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    match fields.get(HOST).cloned() {
        Some(host) => fields.insert(SERVER_NAME, host),
        None => fields.remove(SERVER_NAME),
    };
}

fn ip(address: io::Result<SockAddr>) -> Option<IpAddr> {
    let address = address.ok()?.as_socket()?;
    // A client of IPv4 at a socket of IPv6 is still one of IPv4.
    Some(address.ip().to_canonical())
}

/// An address that is not known is not said, whatever the client says.
fn set(fields: &mut HeaderMap, name: HeaderName, ip: Option<IpAddr>) {
    match ip.and_then(|it| HeaderValue::try_from(it.to_string()).ok()) {
        Some(value) => fields.insert(name, value),
        None => fields.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_client_has_no_say() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("host", "a.test"),
            ("x-real-ip", "10.9.8.7"),
            ("server_name", "b.test"),
            ("geoip-country-code", "XX"),
            ("pop-city", "nowhere"),
            ("x-other", "1"),
        ] {
            fields.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        put(&mut fields, connection.as_fd(), &Geo::default());
        let mut said: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [
                "host: a.test",
                "server_addr: 127.0.0.1",
                "server_name: a.test",
                "x-forwarded-proto: http",
                "x-other: 1",
                "x-real-ip: 127.0.0.1",
            ]
        );
    }
}
