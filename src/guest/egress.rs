//! Outbound HTTP and name lookup: linked, so that components which import them load, and denied at the call.

use std::sync::{Arc, LazyLock};

use http::HeaderName;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::Network;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as NetworkError;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpHooks,
};

use super::State;
use crate::config::limits;

/// The stock list is a constant: named where it is used, it would be built and dropped every time.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

static FILTER: LazyLock<ForbiddenHeaderFilter> =
    LazyLock::new(|| Arc::new(|name| FORBIDDEN.contains(name)));

/// The hooks of the stock `wasi:http` implementation.
pub(super) struct Hooks;

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
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: SentBody,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, SentBody), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        limits::GUEST_BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        limits::GUEST_BODY_CHUNK_BYTES
    }
}

/// Links `wasi:http/outgoing-handler@0.2`. The stock one starts tokio tasks before it asks
/// [`Hooks::send_request`].
///
/// # Errors
/// When the interface cannot be defined.
pub(super) fn link_outgoing_handler(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;
    linker
        .instance("wasi:http/outgoing-handler@0.2.12")?
        .func_wrap(
            "handle",
            |mut store: StoreContextMut<'_, State>,
             (request, _options): (
                Resource<HostOutgoingRequest>,
                Option<Resource<RequestOptions>>,
            )|
             -> wasmtime::Result<(Handled,)> {
                store.data_mut().table().delete(request)?;
                Ok((Err(ErrorCode::HttpRequestDenied),))
            },
        )
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
