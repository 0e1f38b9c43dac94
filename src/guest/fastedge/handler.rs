//! `gcore:fastedge/http-handler`: a request with its whole body in, a response with its whole body out.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;

use super::bindings::App;
use super::bindings::gcore::fastedge::http as types;
use super::{Unwhole, from_pairs, to_pairs, whole};
use crate::fault::Reason;
use crate::guest::State;
use crate::guest::invoke::{Failure, Response};

/// A request as the guest gets it. Waits for its body.
///
/// # Errors
/// A body that is too long or does not end, and methods that the interface has no name for.
pub(crate) async fn gather<B: Body<Data = Bytes>>(
    request: http::Request<B>,
    body_bytes_max: usize,
) -> Result<types::Request, Failure> {
    let (parts, body) = request.into_parts();
    let refused = |reason, detail: &str| Failure {
        reason,
        detail: detail.to_owned(),
    };
    let method = method(&parts.method).ok_or_else(|| {
        let detail = "gcore:fastedge/http has no name for the request's method";
        refused(Reason::MethodNotImplemented, detail)
    })?;
    let body = whole(body, body_bytes_max).await.map_err(|why| match why {
        Unwhole::TooLong => refused(
            Reason::BodyTooLarge,
            "a request's body was longer than whole_body_bytes",
        ),
        Unwhole::Broken => refused(Reason::ClientGone, "a request's body did not end"),
    })?;
    let target = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    Ok(types::Request {
        method,
        uri: target.to_owned(),
        headers: to_pairs(&parts.headers),
        body: (!body.is_empty()).then_some(body),
    })
}

fn method(method: &Method) -> Option<types::Method> {
    Some(match *method {
        Method::GET => types::Method::Get,
        Method::POST => types::Method::Post,
        Method::PUT => types::Method::Put,
        Method::DELETE => types::Method::Delete,
        Method::HEAD => types::Method::Head,
        Method::PATCH => types::Method::Patch,
        Method::OPTIONS => types::Method::Options,
        _ => return None,
    })
}

/// Calls the handler.
///
/// # Errors
/// A trap. The inner error: what it answers cannot be sent.
pub(crate) async fn handle(
    store: &mut Store<State>,
    app: &App,
    request: &types::Request,
    body_bytes_max: usize,
) -> wasmtime::Result<wasmtime::Result<Response>> {
    let handler = app.gcore_fastedge_http_handler();
    let answer = handler.call_process(store, request).await?;
    let length = answer.body.as_ref().map_or(0, Vec::len);
    if length > body_bytes_max {
        let error = wasmtime::format_err!("its {length} bytes are more than whole_body_bytes");
        return Ok(Err(error));
    }
    Ok(response(answer))
}

fn response(answer: types::Response) -> wasmtime::Result<Response> {
    let status = StatusCode::from_u16(answer.status)
        .map_err(|_| wasmtime::format_err!("{} is not a status", answer.status))?;
    let fields = from_pairs(answer.headers.unwrap_or_default())
        .ok_or_else(|| wasmtime::format_err!("a header field is not valid"))?;
    let mut response = http::Response::new(full(answer.body));
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Ok(response)
}

/// 200, and nothing else.
pub fn empty_response() -> Response {
    http::Response::new(full(None))
}

/// A body that is there as a whole.
pub(in crate::guest) fn full(body: Option<Vec<u8>>) -> WasiBody {
    let body = Full::new(Bytes::from(body.unwrap_or_default()));
    body.map_err(|never| match never {}).boxed_unsync()
}
