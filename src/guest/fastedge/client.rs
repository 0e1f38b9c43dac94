//! `gcore:fastedge/http-client`: a request and its answer, both with their whole bodies.

use http::{Method, Uri};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::bindings::gcore::fastedge::http as types;
use super::bindings::gcore::fastedge::http::Error;
use super::bindings::gcore::fastedge::http_client;
use super::handler::full;
use super::{from_pairs, to_pairs, whole};
use crate::config::Compat;
use crate::guest::State;

impl http_client::Host for State {
    async fn send_request(
        &mut self,
        request: types::Request,
    ) -> wasmtime::Result<Result<types::Response, Error>> {
        let answer = self.fetch(request).await;
        Ok(answer.map_err(|error| match (self.grants.compat, error) {
            // FastEdge's own host says no more than this.
            (Compat::Fastedge, Error::DestinationNotAllowed | Error::InvalidUrl) => {
                Error::RequestError
            }
            (_, error) => error,
        }))
    }
}

impl State {
    async fn fetch(&mut self, request: types::Request) -> Result<types::Response, Error> {
        let request = outgoing(request)?;
        let sent = self.hooks.send(request, None).map_err(error)?;
        let (parts, body) = sent.await.map_err(error)?.into_parts();
        let body = whole(body, self.grants.whole_body_bytes).await;
        Ok(types::Response {
            status: parts.status.as_u16(),
            headers: Some(to_pairs(&parts.headers)),
            body: Some(body.map_err(|_| Error::RequestError)?),
        })
    }
}

fn outgoing(request: types::Request) -> Result<http::Request<WasiBody>, Error> {
    let uri: Uri = request.uri.parse().map_err(|_| Error::InvalidUrl)?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Error::InvalidUrl);
    }
    let fields = from_pairs(request.headers).ok_or(Error::RequestError)?;
    let mut outgoing = http::Request::new(full(request.body));
    *outgoing.method_mut() = match request.method {
        types::Method::Get => Method::GET,
        types::Method::Post => Method::POST,
        types::Method::Put => Method::PUT,
        types::Method::Delete => Method::DELETE,
        types::Method::Head => Method::HEAD,
        types::Method::Patch => Method::PATCH,
        types::Method::Options => Method::OPTIONS,
    };
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = fields;
    Ok(outgoing)
}

fn error(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            Error::DestinationNotAllowed
        }
        ErrorCode::HttpRequestUriInvalid => Error::InvalidUrl,
        ErrorCode::ConnectionLimitReached => Error::TooManyRequests,
        _ => Error::RequestError,
    }
}
