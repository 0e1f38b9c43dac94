//! The host of a request: checks its spelling and makes the key that routing looks up.
//!
//! Smaller than RFC 3986 `authority` on purpose: no userinfo, no percent-encoding, no
//! sub-delimiters. What is left is what DNS, TLS and every other parser agree on.

use std::net::Ipv6Addr;

use crate::config::limits::{HOST_BYTES_MAX, HOST_LABEL_BYTES_MAX};
use crate::fault::Reason;

/// Returns the routing key of an authority, `host [":" port]`: the host in lower case, without port
/// and without the dot at the end of a fully qualified name; an IPv6 address in brackets in its
/// canonical form (RFC 5952).
///
/// ```text
///   Shop.Example.:8080  ─►  shop.example        [0:0::1]:80  ─►  [::1]
/// ```
///
/// # Errors
/// [`Reason::BadHost`] unless the host is a name of letters, digits, `-` and `_` in labels of 1 to 63
/// bytes, 253 together, or an IPv4 or bracketed IPv6 address; and the port, where there is a colon,
/// is 1 to 5 digits up to 65,535.
pub fn routing_key(authority: &str) -> Result<Box<str>, Reason> {
    let (host, port) = split_port(authority);
    if !port.is_none_or(is_port) {
        return Err(Reason::BadHost);
    }
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = address.parse().map_err(|_| Reason::BadHost)?;
        return Ok(format!("[{address}]").into());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    if !is_name(name) {
        return Err(Reason::BadHost);
    }
    let mut key: Box<str> = name.into();
    key.make_ascii_lowercase();
    Ok(key)
}

/// Splits at the colon of the port; the colons within the brackets of an IPv6 address are not it.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}

fn is_name(name: &str) -> bool {
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=HOST_LABEL_BYTES_MAX).contains(&label.len())
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_valid_hosts() {
        for (authority, key) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com", "example.com"),
            ("example.com.", "example.com"),
            ("Example.com.:8080", "example.com"),
            ("example.com:0", "example.com"),
            ("example.com:65535", "example.com"),
            ("localhost", "localhost"),
            ("a_b.example", "a_b.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0::1]:8080", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
        ] {
            assert_eq!(routing_key(authority).as_deref(), Ok(key), "{authority}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for authority in [
            "",
            ".",
            ":80",
            "a..b",
            ".a",
            "a.:",
            "a:",
            "a:65536",
            "a:+80",
            "a:000080",
            "a:8o",
            "a:80:80",
            "a b",
            "a/b",
            "a?b",
            "a\\b",
            "a,b",
            "user@a",
            "u:p@a",
            "a%2eb",
            "a%00",
            "b\u{fc}cher.example",
            "*.example",
            "[::1",
            "::1",
            "[]",
            "[::1]80",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "a[::1]",
            "[a]",
        ] {
            assert_eq!(routing_key(authority), Err(Reason::BadHost), "{authority}");
        }
    }

    #[test]
    fn bounds_names_and_labels() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), HOST_BYTES_MAX);
        assert!(routing_key(&longest).is_ok());
        assert!(routing_key(&format!("{longest}.:80")).is_ok());
        assert_eq!(routing_key(&format!("{longest}a")), Err(Reason::BadHost));
        assert_eq!(routing_key(&format!("{label}a")), Err(Reason::BadHost));
    }
}
