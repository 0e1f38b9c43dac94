//! `proxy_http_call`: requests of a filter to others, and their answers.
//!
//! They go the way of every guest's: the tenant's `egress` says where to, and they are counted.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, StatusCode, Uri};
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::WasiBody;

use super::headers;
use super::status::{Answer, Status};
use crate::guest::State;
use crate::guest::egress::{Answered, Sent, is_forbidden};
use crate::guest::fastedge::{handler::full, whole};

/// The calls of one instance.
#[derive(Default)]
pub(super) struct Calls {
    pending: Vec<Pending>,
    last_token: u32,
    /// The one that was answered last.
    pub(super) answered: Option<Called>,
}

struct Pending {
    token: u32,
    sent: Sent,
}

/// An answer with its whole body.
pub(super) struct Called {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Calls {
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Waits for the first answer. There has to be a call.
    async fn first(&mut self) -> (u32, Answered) {
        poll_fn(|cx| {
            for at in 0..self.pending.len() {
                if let Poll::Ready(answer) = self.pending[at].sent.as_mut().poll(cx) {
                    let call = self.pending.swap_remove(at);
                    return Poll::Ready((call.token, answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl State {
    /// Sends a filter's request, and gives it a token.
    pub(super) fn call_out(
        &mut self,
        request: http::Request<WasiBody>,
        timeout_ms: u32,
    ) -> Answer<u32> {
        let timeout = Some(Duration::from_millis(timeout_ms.max(1).into()));
        let options = RequestOptions {
            connect_timeout: timeout,
            first_byte_timeout: timeout,
            between_bytes_timeout: timeout,
        };
        let sent = self.hooks.send(request, Some(options));
        let sent = sent.map_err(|_| Status::InternalFailure)?;
        let calls = &mut self.filter().calls;
        calls.last_token = calls.last_token.wrapping_add(1);
        let token = calls.last_token;
        calls.pending.push(Pending { token, sent });
        Ok(token)
    }

    /// Waits for an answer to one of the calls, which becomes the one that the filter reads. Says how
    /// many fields and bytes it has; none of either where there was no answer.
    pub(super) async fn called(&mut self) -> (u32, usize, usize) {
        let bytes_max = self.grants.whole_body_bytes;
        let (token, answer) = self.filter().calls.first().await;
        let called = match answer {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                let body = whole(body, bytes_max).await;
                body.ok().map(|body| Called {
                    status: parts.status,
                    headers: parts.headers,
                    body: body.into(),
                })
            }
            Err(_) => None,
        };
        let size = |called: &Called| {
            let count = headers::response_count(&called.headers);
            (token, count, called.body.len())
        };
        let sizes = called.as_ref().map_or((token, 0, 0), size);
        self.filter().calls.answered = called;
        sizes
    }
}

/// A request from its fields: pseudo-fields say where it goes, and what is missing of them is
/// `GET https://UPSTREAM/`.
pub(super) fn request(
    upstreams: [&str; 2],
    pairs: &[u8],
    body: Vec<u8>,
) -> Answer<http::Request<WasiBody>> {
    let (mut scheme, mut method) = (Scheme::HTTPS, Method::GET);
    let (mut authority, mut path) = (None::<Authority>, PathAndQuery::from_static("/"));
    let mut map = headers::parse(pairs, |name, value| {
        match name {
            b":scheme" => scheme = Scheme::try_from(value).ok()?,
            b":method" => method = Method::from_bytes(value).ok()?,
            b":authority" => authority = Some(Authority::try_from(value).ok()?),
            b":path" => path = PathAndQuery::try_from(value).ok()?,
            _ => return None,
        }
        Some(())
    })?;
    let named = upstreams.into_iter().find(|upstream| !upstream.is_empty());
    let authority = match authority {
        Some(authority) => authority,
        None => named
            .and_then(|upstream| upstream.parse().ok())
            .ok_or(Status::BadArgument)?,
    };
    let is_http = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
    if !is_http || !path.as_str().starts_with('/') {
        return Err(Status::BadArgument.into());
    }
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| Status::BadArgument)?;
    // The connection is the host's, and the body's length is what it is.
    let forbidden: Vec<_> = map
        .keys()
        .filter(|name| is_forbidden(name) || *name == http::header::CONTENT_LENGTH)
        .cloned()
        .collect();
    for name in forbidden {
        map.remove(name);
    }
    let mut request = http::Request::new(full((!body.is_empty()).then_some(body)));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = map;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::super::wire;
    use super::*;

    fn made(upstreams: [&str; 2], pairs: &[(&str, &str)]) -> Option<String> {
        let pairs = pairs.iter().map(|(a, b)| (a.as_bytes(), b.as_bytes()));
        let pairs = wire::pairs(&pairs.collect::<Vec<_>>());
        let request = request(upstreams, &pairs, Vec::new()).ok()?;
        let fields = request.headers().keys().map(http::HeaderName::as_str);
        let fields = fields.collect::<Vec<_>>().join(",");
        Some(format!("{} {} {fields}", request.method(), request.uri()))
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    fn pseudo_fields_say_where_a_call_goes() {
        let api = ["api.example", "default.example"];
        let cases: [([&str; 2], &[(&str, &str)], Option<&str>); 12] = [
            (api, &[], Some("GET https://api.example/ ")),
            (
                ["", "default.example"],
                &[],
                Some("GET https://default.example/ "),
            ),
            (["", ""], &[], None),
            (["no authority", ""], &[], None),
            (
                api,
                &[
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", "/x?y"),
                    ("a", "b"),
                ],
                Some("POST http://api.example/x?y a"),
            ),
            (
                ["cluster name", ""],
                &[(":authority", "h:81")],
                Some("GET https://h:81/ "),
            ),
            (
                api,
                &[
                    ("host", "x"),
                    ("connection", "close"),
                    ("content-length", "7"),
                ],
                Some("GET https://api.example/ "),
            ),
            (api, &[(":scheme", "ftp")], None),
            (api, &[(":path", "*")], None),
            (api, &[(":path", "no path")], None),
            (api, &[(":other", "x")], None),
            (api, &[("a b", "x")], None),
        ];
        for (upstreams, pairs, expected) in cases {
            assert_eq!(
                made(upstreams, pairs).as_deref(),
                expected,
                "{upstreams:?} {pairs:?}"
            );
        }
    }
}
