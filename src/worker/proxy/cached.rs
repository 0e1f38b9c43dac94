//! An origin behind a cache: what is kept of its answers is given, and what is not is asked for once.
//!
//! Whoever asks the origin does so in the request's own future, and hands that over to one who waits when
//! its client leaves. The body is moved into the cache by a task of its own, so that a slow client holds up
//! nobody else, unless the body turns out too large to be kept.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use send_wrapper::SendWrapper;
use wasmtime_wasi_http::{Error, WasiBody};

use super::origin::Origin;
use super::upload::Upload;
use crate::control::{self, cache_key};
use crate::fault::Reason;
use crate::guest::{Failure, Response};
use crate::worker::http_cache::{
    Answer, Body, CacheStatus, Demand, Fill, How, Lookup, Now, ORIGIN_METHOD, OriginHead, Outcome,
    PassReason, Purge, Request, Restored, Tenant, Writer, strip,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How this cache calls itself in `cache-status` (RFC 9211).
const ITSELF: &str = "skep";

/// Answers a request from the cache, or through it.
///
/// # Errors
/// When the origin has to be asked and does not answer.
pub async fn send(origin: &Rc<Origin>, parts: Parts, body: Upload) -> Result<Response, Failure> {
    let Some(cache) = &origin.cache else {
        return origin.send(parts, body).await;
    };
    let request = Request {
        method: parts.method.clone(),
        url: url(&parts).into(),
        headers: Rc::new(parts.headers.clone()),
    };
    if !body.was_empty() && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        // A body that the cache cannot see.
        return pass(origin, cache, &request, PassReason::Method, parts, body).await;
    }
    let mut found = cache.lookup(&request, now());
    loop {
        found = match found {
            Lookup::Fresh(answer) => return Ok(of_cache(answer)),
            Lookup::Stale(answer, fill) => {
                if let Some(fill) = fill {
                    let (origin, parts) = (Rc::clone(origin), parts.clone());
                    // Nobody waits for what comes of it but the cache.
                    origin.client.clone().spawn(async move {
                        let _ = ask(&origin, fill, &parts).await;
                    });
                }
                return Ok(of_cache(answer));
            }
            Lookup::Revalidate(fill) | Lookup::Miss(fill) => {
                return ask(origin, fill, &parts).await;
            }
            Lookup::Wait(waiter) => waiter.await,
            Lookup::Pass(reason) => {
                return pass(origin, cache, &request, reason, parts, body).await;
            }
            Lookup::Unavailable => return Ok(unavailable()),
            Lookup::Failed => {
                return Err(Failure {
                    reason: Reason::OriginFailed,
                    detail: "the origin did not answer the request that this one waited for".into(),
                });
            }
        }
    }
}

pub(super) fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// The key of what a request asks for: under the name that the client knows.
fn url(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    cache_key::of(host, target)
}

/// Forgets answers that are kept; how many.
pub(super) fn purge(cache: &Tenant, what: &control::Purge, soft: bool) -> u64 {
    let how = match soft {
        true => How::MakeStale,
        false => How::Remove,
    };
    match what {
        control::Purge::Url(url) => {
            cache.purge(Purge::Url(&cache_key::of_written(url)), how, now())
        }
        control::Purge::Prefix(prefix) => {
            cache.purge(Purge::Prefix(&cache_key::of_written(prefix)), how, now())
        }
        control::Purge::Tag(tag) => cache.purge(Purge::Tag(tag), how, now()),
        control::Purge::All => cache.purge(Purge::All, how, now()),
    }
}

/// Asks the origin for everyone who wants the same.
async fn ask(origin: &Rc<Origin>, fill: Fill, parts: &Parts) -> Result<Response, Failure> {
    let mut fill = match restored(origin, fill).await {
        Restored::Answer(answer) => return Ok(of_cache(answer)),
        Restored::Fill(fill) => fill,
    };
    loop {
        let sent = Instant::now();
        let mut asked = parts.clone();
        asked.method = ORIGIN_METHOD;
        asked.headers = fill.origin_headers();
        let nothing = Empty::new().map_err(|never| match never {});
        let response = match origin
            .send(asked, Upload::new(nothing.boxed_unsync()))
            .await
        {
            Ok(response) => response,
            // There is no room for this request: one who waits may have it.
            Err(failure) if failure.reason == Reason::NoSlot => return Err(failure),
            Err(failure) => return fill.failed(now()).map(of_cache).ok_or(failure),
        };
        let (head, body) = response.into_parts();
        let head = OriginHead {
            status: head.status,
            headers: head.headers,
            length: body.size_hint().exact(),
        };
        match fill.answered(head, sent, now()) {
            Outcome::Store(answer, writer) => {
                origin.client.spawn(pump(body, writer));
                return Ok(of_cache(answer));
            }
            Outcome::Stored(answer) => return Ok(of_cache(answer)),
            Outcome::Again(again) => fill = again,
            Outcome::Pass {
                head,
                not_modified,
                cache_status,
            } => {
                return Ok(of_origin(
                    head,
                    body,
                    not_modified,
                    cache_status,
                    &parts.method,
                ));
            }
        }
    }
}

/// Looks on disk for what is not in memory, for everyone who wants the same.
async fn restored(origin: &Origin, fill: Fill) -> Restored {
    let (Some(disk), Some(url)) = (origin.disk(), fill.wanted_below()) else {
        return Restored::Fill(fill);
    };
    match disk.find(url, fill.headers()).await {
        Some(kept) => fill.found(kept, now()),
        None => Restored::Fill(fill),
    }
}

/// Moves a body into the cache, for all who read it there.
async fn pump(mut body: WasiBody, mut writer: Writer) {
    loop {
        match body.frame().await {
            None => {
                writer.finish();
                return;
            }
            // Dropped, the writer says that it broke off.
            Some(Err(_)) => return,
            Some(Ok(frame)) => {
                // Trailers are not kept.
                let Ok(piece) = frame.into_data() else {
                    continue;
                };
                match writer.push(&piece) {
                    Demand::Storing => {}
                    Demand::Passing => poll_fn(|cx| writer.poll_ready(cx)).await,
                    Demand::Nobody => return,
                }
            }
        }
    }
}

/// Sends a request as it is, and the answer back as it is.
async fn pass(
    origin: &Origin,
    cache: &Tenant,
    request: &Request,
    reason: PassReason,
    parts: Parts,
    body: Upload,
) -> Result<Response, Failure> {
    let mut response = origin.send(parts, body).await?;
    if matches!(reason, PassReason::Method) {
        let (status, headers) = (response.status(), response.headers());
        cache.invalidate(&request.method, &request.url, status, headers, now());
    }
    strip(response.headers_mut());
    let status = CacheStatus {
        detail: Some(reason.as_str()),
        ..CacheStatus::forwarded(reason.forward())
    };
    say(response.headers_mut(), &status);
    Ok(response)
}

/// The origin's answer, which is this client's alone.
fn of_origin(
    head: OriginHead,
    body: WasiBody,
    not_modified: bool,
    status: CacheStatus,
    method: &Method,
) -> Response {
    let is_empty = not_modified || *method == Method::HEAD;
    let mut response = http::Response::new(match is_empty {
        true => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        false => body,
    });
    *response.status_mut() = match not_modified {
        true => StatusCode::NOT_MODIFIED,
        false => head.status,
    };
    *response.headers_mut() = head.headers;
    if not_modified {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    strip(response.headers_mut());
    say(response.headers_mut(), &status);
    response
}

/// An answer that the cache has, or is getting.
fn of_cache(answer: Answer) -> Response {
    let is_empty = answer.status == StatusCode::NOT_MODIFIED;
    let body = Read {
        body: SendWrapper::new(answer.body),
        length: answer.length.filter(|_| !is_empty),
    };
    let mut response = http::Response::new(body.boxed_unsync());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if let Some(length) = answer.length {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    say(response.headers_mut(), &answer.cache_status);
    response
}

/// Nothing is kept, and the client wants nothing else (RFC 9111 §5.2.1.7).
fn unavailable() -> Response {
    let nothing = Empty::new().map_err(|never| match never {});
    let mut response = http::Response::new(nothing.boxed_unsync());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    let status = HeaderValue::from_static("skep; fwd=miss; detail=only-if-cached");
    response.headers_mut().append(CACHE_STATUS, status);
    response
}

fn say(headers: &mut HeaderMap, status: &CacheStatus) {
    if let Some(value) = status.value(ITSELF) {
        headers.append(CACHE_STATUS, value);
    }
}

/// A body that is read from the cache.
struct Read {
    body: SendWrapper<Body>,
    length: Option<u64>,
}

impl http_body::Body for Read {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.body.poll_chunk(cx).map(|piece| {
            piece.map(|piece| match piece {
                Ok(piece) => Ok(Frame::data(piece)),
                Err(_) => Err(Error::ConnectionTerminated),
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
