//! Outbound HTTP and name lookup. Requests go to the worker's client, where the tenant has one; name
//! lookups are denied at the call: names are looked up where connections are made.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use http::{HeaderName, Method, Uri, header, uri};
use http_body_util::{BodyExt, Empty};
use send_wrapper::SendWrapper;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as NetworkError;
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, subscribe};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Method as WasiMethod, Scheme};
use wasmtime_wasi_http::p2::body::HostIncomingBody;
use wasmtime_wasi_http::p2::types::{HostIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, FieldMap, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpHooks,
};

use super::State;
use super::invoke::Response;
use crate::config::limits;

/// What comes of a request to others.
pub type Answered = Result<Response, ErrorCode>;

/// Sends one guest's requests to others.
pub trait Outbound {
    /// Sends a request; the future gives the head of its answer. Dropping that gives the request up.
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Pin<Box<dyn Future<Output = Answered>>>;
}

/// The stock list is a constant: named where it is used, it would be built and dropped every time.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

static FILTER: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name| FORBIDDEN.contains(name)));

/// The hooks of the stock `wasi:http` implementation.
pub(super) struct Hooks {
    outbound: Option<SendWrapper<std::rc::Rc<dyn Outbound>>>,
    /// Requests that this one may still send.
    left: usize,
}

/// An answer to come.
pub(super) type Sent = Pin<Box<dyn Future<Output = Answered> + Send>>;

impl Hooks {
    /// For a guest that may send `subrequests` by way of `outbound`, if there is one.
    pub(super) fn new(outbound: Option<std::rc::Rc<dyn Outbound>>, subrequests: usize) -> Self {
        Self {
            outbound: outbound.map(SendWrapper::new),
            left: subrequests,
        }
    }

    /// Requests that the guest may still send.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Sends a request, if the guest may send another one.
    ///
    /// # Errors
    /// That it may not.
    pub(super) fn send(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Sent, ErrorCode> {
        let outbound = self.outbound.as_ref();
        let outbound = outbound.ok_or(ErrorCode::HttpRequestDenied)?;
        let left = self.left.checked_sub(1);
        self.left = left.ok_or(ErrorCode::ConnectionLimitReached)?;
        Ok(Box::pin(SendWrapper::new(outbound.send(request, options))))
    }
}

/// Whether a field is the connection's, and no guest's to set.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    FORBIDDEN.contains(name)
}

type SentBody = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    /// Trailers are filtered through this one (GHSA-jxcf-8qw5-5c33).
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::clone(&FILTER)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: SentBody,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, SentBody), Error>> + Send> {
        let sent = self.send(request, options);
        Box::new(async move {
            let response = sent?.await?;
            // The exchange is a task of the worker's: there is nothing to be driven here.
            let driven: SentBody = Box::new(std::future::ready(Ok(())));
            Ok((response, driven))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::GUEST_BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        limits::GUEST_BODY_CHUNK_BYTES
    }
}

/// The `future-incoming-response` of `wasi:http@0.2`. The stock one holds a task of tokio's.
struct FutureResponse {
    sent: Option<Sent>,
    answered: Option<Answered>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureResponse {
    async fn ready(&mut self) {
        if let Some(sent) = &mut self.sent {
            let answered = sent.await;
            self.sent = None;
            self.answered = Some(answered);
        }
    }
}

/// Links `wasi:http/outgoing-handler@0.2` and what it gives out, instead of the stock ones, which start
/// tokio tasks.
///
/// # Errors
/// When the interface cannot be defined.
pub(super) fn link_outgoing_handler(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Handled = wasmtime::Result<(Result<Resource<FutureResponse>, ErrorCode>,)>;
    linker
        .instance("wasi:http/outgoing-handler@0.2.12")?
        .func_wrap(
            "handle",
            |mut store: StoreContextMut<'_, State>,
             (request, options): (
                Resource<HostOutgoingRequest>,
                Option<Resource<RequestOptions>>,
            )|
             -> Handled {
                let state = store.data_mut();
                let options = match options {
                    Some(options) => Some(state.table().delete(options)?),
                    None => None,
                };
                let request = state.table().delete(request)?;
                let sent = outgoing(request).and_then(|it| state.hooks.send(it, options));
                let sent = match sent {
                    Ok(sent) => Some(sent),
                    Err(code) => return Ok((Err(code),)),
                };
                let answered = None;
                let future = FutureResponse { sent, answered };
                Ok((Ok(state.table().push(future)?),))
            },
        )?;
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.resource(
        "future-incoming-response",
        ResourceType::host::<FutureResponse>(),
        |mut store, rep| {
            let future = Resource::<FutureResponse>::new_own(rep);
            store.data_mut().table().delete(future)?;
            Ok(())
        },
    )?;
    types.func_wrap(
        "[method]future-incoming-response.subscribe",
        |mut store: StoreContextMut<'_, State>,
         (future,): (Resource<FutureResponse>,)|
         -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(store.data_mut().table(), future)?,))
        },
    )?;
    type Got = Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>;
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut store: StoreContextMut<'_, State>,
         (future,): (Resource<FutureResponse>,)|
         -> wasmtime::Result<(Got,)> {
            let state = store.data_mut();
            let future = state.table.get_mut(&future)?;
            if future.sent.is_some() {
                return Ok((None,));
            }
            let response = match future.answered.take() {
                None => return Ok((Some(Err(())),)),
                Some(Err(code)) => return Ok((Some(Ok(Err(code))),)),
                Some(Ok(response)) => response,
            };
            let (parts, body) = response.into_parts();
            state.host_memory.take_answer(&parts.headers)?;
            let response = HostIncomingResponse {
                status: parts.status.as_u16(),
                headers: FieldMap::new_immutable(&mut state.hooks, parts.headers),
                body: Some(HostIncomingBody::new(body)),
            };
            Ok((Some(Ok(Ok(state.table.push(response)?))),))
        },
    )
}

/// A guest's request as the client takes it.
fn outgoing(request: HostOutgoingRequest) -> Result<http::Request<WasiBody>, ErrorCode> {
    let method = match request.method {
        WasiMethod::Get => Method::GET,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Post => Method::POST,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Other(name) => {
            Method::from_bytes(name.as_bytes()).map_err(|_| ErrorCode::HttpRequestMethodInvalid)?
        }
    };
    let scheme = match request.scheme {
        Some(Scheme::Http) => uri::Scheme::HTTP,
        Some(Scheme::Https) | None => uri::Scheme::HTTPS,
        Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
    };
    let target = request.path_with_query.unwrap_or_else(|| "/".to_owned());
    let target = match target.is_empty() {
        true => "/".to_owned(),
        false => target,
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(request.authority.unwrap_or_default())
        .path_and_query(target)
        .build()
        .map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    // Without a body there is nothing that could have a length.
    let length = request.headers.get(header::CONTENT_LENGTH);
    if request.body.is_none() && length.is_some_and(|length| length != "0") {
        return Err(ErrorCode::HttpRequestBodySize(Some(0)));
    }
    let body = match request.body {
        Some(body) => body.map_err(Error::from).boxed_unsync(),
        None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
    };
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = request.headers.into();
    Ok(outgoing)
}

/// Links `wasi:sockets/ip-name-lookup@0.2`. The stock one asks whether lookups are allowed only after it
/// has started a tokio runtime: threads of their own, which a worker must not have.
///
/// # Errors
/// When the interface cannot be defined.
pub(super) fn link_name_lookup(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Resolved = Result<Resource<ResolveAddressStream>, NetworkError>;
    linker
        .instance("wasi:sockets/ip-name-lookup@0.2.12")?
        .func_wrap(
            "resolve-addresses",
            |_: StoreContextMut<'_, State>,
             (_network, _name): (Resource<Network>, String)|
             -> wasmtime::Result<(Resolved,)> {
                Ok((Err(NetworkError::PermanentResolverFailure),))
            },
        )
}
