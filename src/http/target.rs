//! The four forms of a request target (RFC 9112 §3.2), brought to one: path and query.
//!
//! ```text
//!   origin-form     /cart?id=7                       ─►  /cart?id=7
//!   absolute-form   http://shop.example/cart?id=7    ─►  /cart?id=7, and shop.example is the host
//!   asterisk-form   *           (OPTIONS only)       ─►  *
//!   authority-form  a:443       (CONNECT only)       ─►  501
//! ```

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;

use crate::fault::Reason;

/// A request target, taken apart.
#[derive(Debug)]
pub(super) struct Target<'h> {
    /// Path and query, or `*`.
    pub(super) path: PathAndQuery,
    /// The authority of an absolute-form target, not yet checked.
    pub(super) authority: Option<&'h str>,
}

impl<'h> Target<'h> {
    /// Takes `text` apart, which is a slice of `head`; the path shares its memory.
    pub(super) fn parse(method: &Method, text: &'h str, head: &'h Bytes) -> Result<Self, Reason> {
        if method == Method::CONNECT {
            return Err(Reason::MethodNotImplemented);
        }
        match text.as_bytes() {
            [b'/', ..] => Ok(Self {
                path: shared_path(text, head)?,
                authority: None,
            }),
            [b'*'] if method == Method::OPTIONS => Ok(Self {
                path: PathAndQuery::from_static("*"),
                authority: None,
            }),
            _ => Self::parse_absolute(method, text, head),
        }
    }

    fn parse_absolute(method: &Method, text: &'h str, head: &'h Bytes) -> Result<Self, Reason> {
        let (scheme, rest) = text.split_once("://").ok_or(Reason::MalformedRequest)?;
        if scheme.eq_ignore_ascii_case("https") {
            // RFC 9110 §7.4: this connection is not one on which https can be answered.
            return Err(Reason::Misdirected);
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(Reason::MalformedRequest);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = match path.as_bytes() {
            // RFC 9112 §3.2.4: OPTIONS for a server, as a client writes it to a proxy.
            [] if method == Method::OPTIONS => PathAndQuery::from_static("*"),
            [] => PathAndQuery::from_static("/"),
            [b'/', ..] => shared_path(path, head)?,
            // RFC 3986 §6.2.3: an empty path is the same as "/".
            _ => {
                PathAndQuery::try_from(format!("/{path}")).map_err(|_| Reason::MalformedRequest)?
            }
        };
        Ok(Self {
            path,
            authority: Some(authority),
        })
    }
}

fn shared_path(path: &str, head: &Bytes) -> Result<PathAndQuery, Reason> {
    PathAndQuery::from_maybe_shared(head.slice_ref(path.as_bytes()))
        .map_err(|_| Reason::MalformedRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brings_every_form_to_path_and_query() {
        let check = |method: Method,
                     target: &'static str,
                     expected: Result<(&str, Option<&str>), Reason>| {
            let head = Bytes::from_static(target.as_bytes());
            let text = std::str::from_utf8(&head).unwrap();
            let parsed = Target::parse(&method, text, &head);
            let parsed = parsed
                .as_ref()
                .map(|target| (target.path.as_str(), target.authority))
                .map_err(|reason| *reason);
            assert_eq!(parsed, expected, "{method} {target}");
        };
        let bad = Err(Reason::MalformedRequest);
        check(Method::GET, "/", Ok(("/", None)));
        check(Method::GET, "/a?b=c", Ok(("/a?b=c", None)));
        check(
            Method::GET,
            "//evil.example/",
            Ok(("//evil.example/", None)),
        );
        check(Method::GET, "/a?u=http://b/", Ok(("/a?u=http://b/", None)));
        check(Method::OPTIONS, "*", Ok(("*", None)));
        check(Method::GET, "*", bad);
        check(Method::OPTIONS, "**", bad);
        check(
            Method::GET,
            "http://a.example/b?c",
            Ok(("/b?c", Some("a.example"))),
        );
        check(
            Method::GET,
            "HTTP://a.example",
            Ok(("/", Some("a.example"))),
        );
        check(
            Method::GET,
            "http://a.example?x",
            Ok(("/?x", Some("a.example"))),
        );
        check(
            Method::GET,
            "http://a.example?x/y",
            Ok(("/?x/y", Some("a.example"))),
        );
        check(
            Method::OPTIONS,
            "http://a.example",
            Ok(("*", Some("a.example"))),
        );
        check(
            Method::OPTIONS,
            "http://a.example/",
            Ok(("/", Some("a.example"))),
        );
        check(Method::GET, "http:///b", Ok(("/b", Some(""))));
        check(Method::GET, "https://a.example/", Err(Reason::Misdirected));
        check(Method::GET, "ftp://a.example/", bad);
        check(Method::GET, "a.example", bad);
        check(Method::GET, "a.example:80", bad);
        check(Method::GET, "?x", bad);
        check(Method::GET, "/<", bad);
        check(
            Method::CONNECT,
            "a.example:443",
            Err(Reason::MethodNotImplemented),
        );
        check(Method::CONNECT, "/", Err(Reason::MethodNotImplemented));
    }
}
