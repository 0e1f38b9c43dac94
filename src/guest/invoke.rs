//! One request, one instance: made, called, dropped.

use std::rc::Rc;

use bytes::Bytes;
use futures_channel::oneshot;
use http_body_util::BodyExt;
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{AsContextMut, PoolConcurrencyLimitError, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::handler::{Prepared, Proxy as WasiProxy};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::{FieldMapError, WasiBody, WasiHttpView};

use super::{Grants, LineSink, State};
use crate::engine::meter::Verdict;
use crate::engine::settings::one_line;
use crate::engine::{Meter, Program, Proxy};
use crate::fault::Reason;
use crate::scheduler;

/// What a guest answers with.
pub type Response = http::Response<WasiBody>;

/// Takes the guest's answer: a response, or the error code it gave instead of one.
pub type Responder = oneshot::Sender<Result<Response, wasmtime::Error>>;

/// Why a guest did not finish, and what to tell the tenant.
#[derive(Debug)]
pub struct Failure {
    /// The reason, as it is answered and logged.
    pub reason: Reason,
    /// For the tenant's log: the trap, the backtrace, the refused call; one line.
    pub detail: String,
}

/// Everything one call needs.
pub struct Invocation<B> {
    /// What all of the tenant's requests have in common.
    pub grants: std::sync::Arc<Grants>,
    /// The CPU account.
    pub meter: Rc<Meter>,
    /// Where the guest's output goes.
    pub sink: Rc<dyn LineSink>,
    /// The request.
    pub request: http::Request<B>,
    /// Where the response goes.
    pub respond: Responder,
}

/// Runs a request in an instance of its own, until the guest has nothing more to do.
///
/// # Errors
/// When the guest trapped, broke a limit or its contract; see [`Failure`].
pub async fn invoke<B>(program: &Program, call: Invocation<B>) -> Result<(), Failure>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<wasmtime_wasi_http::Error>,
{
    let (mut store, handler) = place(program, &call).await?;
    let result = match handler {
        WasiProxy::P2(proxy) => handle_p2(&mut store, &proxy, call.request, call.respond).await,
        // On the heap, so that the future of a 0.2 request is not as large as this one's.
        proxy => Box::pin(handle_p3(&mut store, &proxy, call.request, call.respond)).await,
    };
    result.map_err(|error| failure(error, store.data()))
}

/// Makes a store and an instance in it.
///
/// Where memories are striped, the memories of each store are of one protection key, and the next
/// store's of the next; when those of a key are all taken, another's are not
/// ([`stripes`](crate::config::Profile::stripes)).
async fn place<B>(
    program: &Program,
    call: &Invocation<B>,
) -> Result<(Store<State>, WasiProxy), Failure> {
    let mut left = program.stripes;
    loop {
        let mut store = store(program, call);
        left = left.saturating_sub(1);
        match instantiate(&mut store, &program.proxy).await {
            Ok(handler) => return Ok((store, handler)),
            Err(error) if left > 0 && error.is::<PoolConcurrencyLimitError>() => {}
            Err(error) => return Err(failure(error, store.data())),
        }
    }
}

fn store<B>(program: &Program, call: &Invocation<B>) -> Store<State> {
    let state = State::new(
        std::sync::Arc::clone(&call.grants),
        Rc::clone(&call.meter),
        Rc::clone(&call.sink),
    );
    let mut store = Store::new(&program.engine, state);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(on_tick);
    store.limiter(|state| &mut state.allowance);
    store.set_hostcall_fuel(call.grants.hostcall_bytes);
    store.set_max_component_handles(call.grants.handles);
    if let Proxy::P3(_) = program.proxy
        && let Some(table) = store.concurrent_resource_table()
    {
        table.set_max_capacity(call.grants.handles);
    }
    store
}

async fn instantiate(store: &mut Store<State>, proxy: &Proxy) -> wasmtime::Result<WasiProxy> {
    Ok(match proxy {
        Proxy::P2(pre) => WasiProxy::P2(pre.instantiate_async(store).await?),
        Proxy::P3(pre) => WasiProxy::P3(pre.instantiate_async(store).await?),
    })
}

async fn handle_p2<B>(
    store: &mut Store<State>,
    proxy: &wasmtime_wasi_http::p2::bindings::Proxy,
    request: http::Request<B>,
    respond: Responder,
) -> wasmtime::Result<()>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<wasmtime_wasi_http::Error>,
{
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)?;
    let out = store
        .data_mut()
        .http()
        .new_response_outparam_from_callback(move |response| {
            // Nobody is waiting any more when the client is gone or the time is up.
            let _ = respond.send(response.map_err(Into::into));
        })?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(&mut *store, request, out)
        .await?;
    abort_unfinished(store.data_mut().table());
    Ok(())
}

/// A body that its guest neither finished nor dropped is not complete (`outgoing-body` in the WIT
/// of `wasi:http`); but to its reader, the end of the store would look like its end.
fn abort_unfinished(table: &mut ResourceTable) {
    for entry in table.iter_mut() {
        if let Some(body) = entry.downcast_mut::<HostOutgoingBody>() {
            let (empty, _) = HostOutgoingBody::new(StreamContext::Response, None, 1, 1);
            std::mem::replace(body, empty).abort();
        }
    }
}

async fn handle_p3<B>(
    store: &mut Store<State>,
    proxy: &WasiProxy,
    request: http::Request<B>,
    respond: Responder,
) -> wasmtime::Result<()>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<wasmtime_wasi_http::Error>,
{
    let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    store
        .run_concurrent(async |accessor| {
            let prepared = accessor.with(|mut store| {
                Prepared::new(store.as_context_mut(), proxy, request, State::http, respond)
            })?;
            prepared.run(accessor, std::future::pending()).await?;
            // The response's body, and whatever else the guest still does, belongs to the request.
            std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await?
}

/// What happens to a guest that is still computing when the epoch advances.
fn on_tick(store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    Ok(match store.data().meter.on_tick() {
        Verdict::Continue => UpdateDeadline::Continue(1),
        Verdict::Yield => UpdateDeadline::YieldCustom(1, Box::pin(scheduler::preempt())),
        Verdict::Exhausted => UpdateDeadline::Interrupt,
    })
}

/// Whose fault an error is. The state knows better than the error: a guest that is refused memory
/// aborts, and the abort is a trap like any other.
fn failure(error: wasmtime::Error, state: &State) -> Failure {
    let reason = if state.meter.exhausted() {
        Reason::CpuExhausted
    } else if state.allowance.memory_denied() {
        Reason::MemoryExhausted
    } else if error.downcast_ref::<I32Exit>().is_some() {
        Reason::Exited
    } else if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        Reason::NoSlot
    } else if state.allowance.table_denied()
        || matches!(
            error.downcast_ref::<ResourceTableError>(),
            Some(ResourceTableError::Full)
        )
        || matches!(
            error.downcast_ref::<FieldMapError>(),
            Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields)
        )
        // The error of a host call that copies too much has no public type.
        || error.root_cause().to_string().contains("fuel allocated for hostcalls")
    {
        Reason::ResourceExhausted
    } else {
        Reason::Trapped
    };
    Failure {
        reason,
        detail: one_line(error),
    }
}
