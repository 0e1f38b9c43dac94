//! A request that meets filters on its way.
//!
//! ```text
//! request ─ on_request_headers ─┬─ on_request_body, piece by piece ─► origin
//!                               └─ answer (403, a redirect, …) ────────────┐
//! client ◄──── on_response_body, piece by piece ◄─ on_response_headers ◄───┴ origin's
//! ```
//!
//! The request's body is through before the answer's fields are looked at: one filter is one instance,
//! which does one thing at a time. The answer's head goes out with the first piece of its body that the
//! filters let through, so that one that waits for the whole body can still change the fields, or answer
//! something else.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use wasmtime_wasi_http::WasiBody;

use super::cached;
use super::channel::{BodySender, channel};
use super::filters::{Chain, Passed};
use super::forward;
use super::origin::{Origin, what_failed};
use super::upload::Upload;
use crate::config::Compat;
use crate::fault::Reason;
use crate::guest::filter::Exchange;
use crate::guest::{Failure, Outbound, Phase, Responder, Response};
use crate::worker::inbound::RequestBody;

/// Who sends a request.
pub struct Client {
    /// Its address.
    pub address: Option<IpAddr>,
    /// What is known of it, by names of properties.
    pub facts: BTreeMap<String, String>,
}

/// Takes a request through the filters, to the origin and back.
///
/// # Errors
/// When a filter fails, or no server answered.
pub async fn serve(
    origin: &Rc<Origin>,
    client: Client,
    mut chain: Chain,
    request: http::Request<RequestBody>,
    respond: Responder,
) -> Result<(), Failure> {
    let (parts, body) = request.into_parts();
    let address = client.address;
    let mut exchange = exchange(parts, client, origin);
    let is_whole = body.is_end_stream();
    let answer = chain
        .fields(Phase::RequestHeaders, &mut exchange, is_whole)
        .await?;
    if let Some(answer) = answer {
        return finish(chain, respond, whole(answer)).await;
    }
    let filters_body = !is_whole && chain.has(Phase::RequestBody);
    let to = To::of(origin, &mut exchange, &chain)?;
    let mut parts = passed_on(&exchange, chain.compat())?;
    if filters_body {
        // It may come out longer or shorter.
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    forward::request(&mut parts, address)?;
    let response = if filters_body {
        let (sender, filtered) = channel();
        let sent = to.send(parts, filtered);
        let pumped = request_body(&mut chain, &mut exchange, body, sender);
        // On the heap, so that a request without one has no future as large.
        let both = async { both(pin!(pumped), pin!(sent)).await };
        match Box::pin(both).await? {
            Sent::Passed(response) => response,
            Sent::Answered(answer) => return finish(chain, respond, whole(answer)).await,
        }
    } else {
        to.send(parts, body.boxed_unsync()).await?
    };
    answer_with(chain, exchange, response, respond).await
}

/// Where a request goes.
enum To<'o> {
    Origin(&'o Rc<Origin>),
    /// Where a filter sends it: by the rules that hold for the tenant's programs.
    Elsewhere(Rc<dyn Outbound>, Uri),
}

impl<'o> To<'o> {
    fn of(origin: &'o Rc<Origin>, exchange: &mut Exchange, chain: &Chain) -> Result<Self, Failure> {
        let Some(url) = &exchange.reroute else {
            return Ok(Self::Origin(origin));
        };
        let uri: Uri = url
            .parse()
            .map_err(|_| bad(format!("a filter sends the request to {url:?}")))?;
        let authority = uri.authority().map_or("", |it| it.as_str());
        if authority == exchange.authority || origin.has(authority) {
            exchange.path = uri
                .path_and_query()
                .map_or("/", |it| it.as_str())
                .to_owned();
            return Ok(Self::Origin(origin));
        }
        match chain.outbound() {
            Some(outbound) => Ok(Self::Elsewhere(outbound, uri)),
            None => Err(bad(format!(
                "a filter sends the request to {url}; egress.allow is empty"
            ))),
        }
    }

    async fn send(self, parts: Parts, body: WasiBody) -> Result<Response, Failure> {
        match self {
            Self::Origin(origin) => cached::send(origin, parts, Upload::new(body)).await,
            Self::Elsewhere(outbound, uri) => {
                let mut request = http::Request::from_parts(parts, body);
                *request.uri_mut() = uri.clone();
                let sent = outbound.send(request, None).await;
                sent.map_err(|error| Failure {
                    reason: what_failed(&error).0,
                    detail: format!("a filter sent the request to {uri}: {error:?}"),
                })
            }
        }
    }
}

/// A request as filters see it.
fn exchange(parts: Parts, client: Client, origin: &Origin) -> Exchange {
    let authority = parts.headers.get(header::HOST);
    let authority = authority.and_then(|host| host.to_str().ok());
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    Exchange {
        method: parts.method,
        scheme: "http".to_owned(),
        authority: authority.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        request_headers: parts.headers,
        client_ip: client.address,
        facts: client.facts,
        upstream: origin.authority(),
        ..Exchange::default()
    }
}

/// Fields of this kind are between a filter and its host, at Gcore.
const OF_THE_HOST: [&str; 2] = ["x-cdn-", "x-gcdn-"];

/// A request as the filters leave it.
fn passed_on(exchange: &Exchange, compat: Compat) -> Result<Parts, Failure> {
    let mut request = http::Request::new(());
    *request.method_mut() = exchange.method.clone();
    let uri = exchange.path.parse::<PathAndQuery>();
    *request.uri_mut() = uri
        .map(Uri::from)
        .map_err(|_| bad(format!("a filter made {:?} of the path", exchange.path)))?;
    *request.headers_mut() = exchange.request_headers.clone();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&exchange.authority) {
        headers.insert(header::HOST, host);
    }
    if compat == Compat::Fastedge {
        let of_host =
            |name: &HeaderName| OF_THE_HOST.iter().any(|it| name.as_str().starts_with(it));
        leave_out(headers, |name, value| of_host(name) || value.is_empty());
    }
    Ok(request.into_parts().0)
}

/// At Gcore, a field that is taken out becomes an empty one.
fn leave_out(headers: &mut HeaderMap, is_out: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let out = headers.iter().filter(|(name, value)| is_out(name, value));
    let names: Vec<HeaderName> = out.map(|(name, _)| name.clone()).collect();
    for name in names {
        headers.remove(name);
    }
}

/// What came of sending a request whose body is filtered meanwhile.
enum Sent {
    Passed(Response),
    /// A filter answers instead.
    Answered(http::Response<Bytes>),
}

/// Filters a request's body while it is sent, until it is through and there is an answer.
async fn both(
    mut pumped: Pin<&mut impl Future<Output = Result<Option<http::Response<Bytes>>, Failure>>>,
    mut sent: Pin<&mut impl Future<Output = Result<Response, Failure>>>,
) -> Result<Sent, Failure> {
    let (mut is_pumped, mut response) = (false, None);
    poll_fn(|cx| {
        if !is_pumped && let Poll::Ready(result) = pumped.as_mut().poll(cx) {
            match result {
                Ok(None) => is_pumped = true,
                Ok(Some(answer)) => return Poll::Ready(Ok(Sent::Answered(answer))),
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
        if response.is_none()
            && let Poll::Ready(result) = sent.as_mut().poll(cx)
        {
            match result {
                Ok(answer) => response = Some(answer),
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
        match response.take() {
            Some(answer) if is_pumped => Poll::Ready(Ok(Sent::Passed(answer))),
            other => {
                response = other;
                Poll::Pending
            }
        }
    })
    .await
}

/// Takes a request's body through the filters, as fast as it is sent. Gives the answer, if one of them
/// answers.
async fn request_body(
    chain: &mut Chain,
    exchange: &mut Exchange,
    body: RequestBody,
    sender: BodySender,
) -> Result<Option<http::Response<Bytes>>, Failure> {
    let mut pieces = Pieces::new(body.boxed_unsync());
    while sender.is_wanted().await {
        let Some(piece) = pieces.next().await else {
            // Whoever reads the client's body says what is wrong with it.
            return Ok(None);
        };
        let is_last = piece.is_none();
        let piece = piece.unwrap_or_default();
        match chain
            .body(Phase::RequestBody, exchange, piece, is_last)
            .await?
        {
            Passed::Answered(answer) => return Ok(Some(answer)),
            Passed::On(piece) if !piece.is_empty() => sender.send(piece),
            Passed::On(_) => {}
        }
        if is_last {
            if sender.is_wanted().await {
                sender.end(pieces.trailers);
            }
            return Ok(None);
        }
    }
    Ok(None)
}

/// Takes an answer through the filters.
async fn answer_with(
    mut chain: Chain,
    mut exchange: Exchange,
    response: Response,
    respond: Responder,
) -> Result<(), Failure> {
    let (parts, body) = response.into_parts();
    exchange.status = parts.status;
    exchange.response_headers = parts.headers;
    let has_none = exchange.method == Method::HEAD
        || matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || body.is_end_stream();
    let answer = chain
        .fields(Phase::ResponseHeaders, &mut exchange, has_none)
        .await?;
    if let Some(answer) = answer {
        return finish(chain, respond, whole(answer)).await;
    }
    if has_none || !chain.has(Phase::ResponseBody) {
        let response = with_head(&exchange, chain.compat(), body);
        return finish(chain, respond, response).await;
    }
    // It may come out longer or shorter.
    exchange.response_headers.remove(header::CONTENT_LENGTH);
    let mut respond = Some(respond);
    let mut sender = None;
    let mut pieces = Pieces::new(body);
    loop {
        let Some(piece) = pieces.next().await else {
            return Err(Failure {
                reason: Reason::OriginFailed,
                detail: "the answer's body broke off".to_owned(),
            });
        };
        let is_last = piece.is_none();
        let piece = piece.unwrap_or_default();
        let piece = match chain
            .body(Phase::ResponseBody, &mut exchange, piece, is_last)
            .await?
        {
            Passed::On(piece) => piece,
            Passed::Answered(answer) => match respond.take() {
                Some(respond) => return finish(chain, respond, whole(answer)).await,
                None => return Err(bad("a filter answered in the midst of an answer".to_owned())),
            },
        };
        match respond.take() {
            // Nothing is out yet, and this is all of it.
            Some(respond) if is_last && pieces.trailers.is_none() => {
                let body = Full::new(piece).map_err(|never| match never {});
                let response = with_head(&exchange, chain.compat(), body.boxed_unsync());
                return finish(chain, respond, response).await;
            }
            Some(waiting) if piece.is_empty() && !is_last => respond = Some(waiting),
            Some(waiting) => {
                let (end, body) = channel();
                let response = with_head(&exchange, chain.compat(), body);
                // Nobody is waiting any more when the client is gone or the time is up.
                let _ = waiting.send(Ok(response));
                sender = Some(end);
            }
            None => {}
        }
        if let Some(sender) = &sender {
            if !piece.is_empty() && sender.is_wanted().await {
                sender.send(piece);
            }
            if !sender.is_wanted().await {
                break; // the client is gone
            }
            if is_last {
                sender.end(pieces.trailers.take());
                break;
            }
        }
    }
    chain.finish().await
}

/// Ends a request with this answer.
async fn finish(chain: Chain, respond: Responder, response: Response) -> Result<(), Failure> {
    let _ = respond.send(Ok(response));
    chain.finish().await
}

/// The answer whose head is as the filters leave it.
fn with_head(exchange: &Exchange, compat: Compat, body: WasiBody) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = exchange.status;
    // Those that are called for the body see what is left of the head.
    *response.headers_mut() = exchange.response_headers.clone();
    if compat == Compat::Fastedge {
        leave_out(response.headers_mut(), |_, value| value.is_empty());
    }
    forward::response(response.headers_mut());
    response
}

/// A filter's own answer.
fn whole(answer: http::Response<Bytes>) -> Response {
    answer.map(|body| {
        Full::new(body)
            .map_err(|never| match never {})
            .boxed_unsync()
    })
}

fn bad(detail: String) -> Failure {
    Failure {
        reason: Reason::BadResponse,
        detail,
    }
}

/// A body as it comes.
struct Pieces {
    body: WasiBody,
    trailers: Option<HeaderMap>,
}

impl Pieces {
    fn new(body: WasiBody) -> Self {
        Self {
            body,
            trailers: None,
        }
    }

    /// The next piece; `Some(None)` is the end, `None` that it broke off.
    async fn next(&mut self) -> Option<Option<Bytes>> {
        loop {
            match self.body.frame().await {
                None => return Some(None),
                Some(Err(_)) => return None,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Some(Some(data)),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
}
