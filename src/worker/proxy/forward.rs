//! What a proxy says of itself and of its client in the fields of what it passes on.
//!
//! | field | to the server | source |
//! |---|---|---|
//! | `via` | `1.1 skep` after what is there | RFC 9110 §7.6.3 |
//! | `cdn-loop` | `skep` after what is there; too many times is an error | RFC 8586 |
//! | `x-forwarded-for` | the client's address after what is there | in common use |
//! | `x-forwarded-host`, `x-forwarded-proto` | what the client asked for | in common use |
//! | `x-real-ip` | the client's address | in common use |
//! | `forwarded`, other `x-forwarded-*` | nothing: a client has no say | RFC 7239 |
//!
//! Hop-by-hop fields were taken out where the message was read. To the client, an answer has `via`, too.

use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, VIA};
use http::request::Parts;

use crate::config::limits;
use crate::fault::Reason;
use crate::guest::Failure;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How this host calls itself: a pseudonym, so that nobody learns its name from it.
const ITSELF: &str = "skep";
const VIA_ITSELF: HeaderValue = HeaderValue::from_static("1.1 skep");

/// Completes a request.
///
/// # Errors
/// [`Reason::LoopDetected`] when it has been here before, too often for any real arrangement.
pub fn request(parts: &mut Parts, client: Option<IpAddr>) -> Result<(), Failure> {
    let fields = &mut parts.headers;
    leave_out_others(fields);
    let visits = fields.get_all(&CDN_LOOP).iter();
    let visits = visits
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|entry| entry.split(';').next().map(str::trim) == Some(ITSELF));
    if visits.count() >= limits::PROXY_VISITS_MAX {
        return Err(Failure {
            reason: Reason::LoopDetected,
            detail: format!("cdn-loop names {ITSELF} too often: does the origin lead back here?"),
        });
    }
    fields.append(CDN_LOOP, HeaderValue::from_static(ITSELF));
    fields.append(VIA, VIA_ITSELF);
    if let Some(host) = fields.get(HOST).cloned() {
        fields.insert(X_FORWARDED_HOST, host);
    }
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(client) = client {
        add_client(fields, client);
        if let Ok(value) = HeaderValue::try_from(client.to_string()) {
            fields.insert(X_REAL_IP, value);
        }
    }
    Ok(())
}

/// What a client says as if it were a proxy would reach an origin that trusts its own, and by way of
/// what is kept other clients, too.
fn leave_out_others(fields: &mut HeaderMap) {
    let is_proxys =
        |name: &&HeaderName| name.as_str().starts_with("x-forwarded-") && **name != X_FORWARDED_FOR;
    let others: Vec<HeaderName> = fields.keys().filter(is_proxys).cloned().collect();
    for name in others.into_iter().chain([FORWARDED, X_REAL_IP]) {
        fields.remove(name);
    }
}

/// The last address is the one that this host has seen; those before it are what others say.
fn add_client(fields: &mut HeaderMap, client: IpAddr) {
    let said = fields.get_all(&X_FORWARDED_FOR).iter();
    let mut chain: Vec<u8> = Vec::with_capacity(48);
    for value in said {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(client.to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&chain) {
        fields.insert(X_FORWARDED_FOR, value);
    }
}

/// Completes an answer.
pub fn response(fields: &mut HeaderMap) {
    fields.append(VIA, VIA_ITSELF);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_the_server_is_told() {
        let mut parts = parts(&[
            ("host", "shop.example"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x-forwarded-host", "evil.example"),
            ("via", "1.0 fred"),
            ("forwarded", "host=evil.example"),
            ("x-forwarded-prefix", "//evil.example"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        request(&mut parts, Some([9, 9, 9, 9].into())).unwrap();
        let all = |name: &str| {
            let values = parts.headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            values.join(" | ")
        };
        assert_eq!(all("x-forwarded-for"), "1.2.3.4, 5.6.7.8, 9.9.9.9");
        assert_eq!(all("x-forwarded-host"), "shop.example");
        assert_eq!(all("x-forwarded-proto"), "http");
        assert_eq!(all("x-real-ip"), "9.9.9.9");
        assert_eq!(all("forwarded") + &all("x-forwarded-prefix"), "");
        assert_eq!(all("via"), "1.0 fred | 1.1 skep");
        assert_eq!(all("cdn-loop"), "skep");
    }

    #[test]
    fn a_loop_ends() {
        let mut value = "other, skep; v=2".to_owned();
        for _ in 1..limits::PROXY_VISITS_MAX {
            assert!(request(&mut parts(&[("cdn-loop", &value)]), None).is_ok());
            value.push_str(", skep");
        }
        let refused = request(&mut parts(&[("cdn-loop", &value)]), None);
        assert_eq!(refused.unwrap_err().reason, Reason::LoopDetected);
    }
}
