//! One request, one instance: made, called, dropped.

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

use super::{Context, State, fastedge, filter};
use crate::engine::meter::Verdict;
use crate::engine::settings::one_line;
use crate::engine::{Program, Proxy};
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
    /// What the guest has of its host.
    pub context: Context,
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
    let Invocation {
        context,
        request,
        respond,
    } = call;
    // The others are on the heap, so that the future of a 0.2 request is not as large as theirs.
    match &program.proxy {
        Proxy::P2(pre) => {
            let (account, proxy) = place(program, &context, async |store| {
                pre.instantiate_async(store).await
            })
            .await?;
            let handle =
                async |store: &mut Store<State>| handle_p2(store, &proxy, request, respond).await;
            finish(account, handle).await
        }
        Proxy::P3(pre) => {
            Box::pin(async {
                let (account, proxy) = place(program, &context, async |store| {
                    pre.instantiate_async(store).await
                })
                .await?;
                let proxy = WasiProxy::P3(proxy);
                let handle = async |store: &mut Store<State>| {
                    handle_p3(store, &proxy, request, respond).await
                };
                finish(account, handle).await
            })
            .await
        }
        Proxy::FastEdge(pre) => {
            Box::pin(async {
                // Before there is an instance: a slow client holds none.
                let bytes_max = context.grants.whole_body_bytes;
                let request = fastedge::handler::gather(request, bytes_max).await?;
                let (account, app) = place(program, &context, async |store| {
                    pre.instantiate_async(store).await
                })
                .await?;
                let handle = async |store: &mut Store<State>| {
                    let answer =
                        fastedge::handler::handle(store, &app, &request, bytes_max).await?;
                    // Nobody is waiting any more when the client is gone or the time is up.
                    let _ = respond.send(answer);
                    Ok(())
                };
                finish(account, handle).await
            })
            .await
        }
        Proxy::Filter(_) => Err(Failure {
            reason: Reason::ComponentRejected,
            detail: "a filter has no answers of its own: it needs an origin".to_owned(),
        }),
    }
}

/// Runs the guest in its instance, and settles its account.
async fn finish(
    mut account: FuelAccount,
    handle: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<()>,
) -> Result<(), Failure> {
    let result = handle(&mut account.store).await;
    account.settle(result)
}

/// Makes a store and an instance in it.
///
/// Where memories are striped, the memories of each store are of one protection key, and the next
/// store's of the next; when those of a key are all taken, another's are not
/// ([`stripes`](crate::config::Profile::stripes)).
pub(super) async fn place<H>(
    program: &Program,
    context: &Context,
    instantiate: impl AsyncFn(&mut Store<State>) -> wasmtime::Result<H>,
) -> Result<(FuelAccount, H), Failure> {
    let mut left = program.stripes;
    loop {
        let mut account = open(program, context)?;
        left = left.saturating_sub(1);
        match instantiate(&mut account.store).await {
            Ok(handler) => return Ok((account, handler)),
            Err(error) if left > 0 && error.is::<PoolConcurrencyLimitError>() => {}
            Err(error) => {
                account.note();
                return Err(account.failure(error));
            }
        }
    }
}

/// A store of its own for one request, within the limits of its tenant.
fn open(program: &Program, context: &Context) -> Result<FuelAccount, Failure> {
    let grants = &context.grants;
    // Instances of this request that ran before.
    let used = context.meter.fuel_used().unwrap_or(0);
    let mut account = FuelAccount {
        store: Store::new(&program.engine, State::new(context.clone())),
        limit: program
            .counts_fuel
            .then(|| grants.fuel.saturating_sub(used)),
        used,
    };
    account.open().map_err(|error| account.failure(error))?;
    let store = &mut account.store;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(on_tick);
    store.limiter(|state| &mut state.allowance);
    store.set_hostcall_fuel(grants.hostcall_bytes);
    store.set_max_component_handles(grants.handles);
    if let Proxy::P3(_) = program.proxy
        && let Some(table) = store.concurrent_resource_table()
    {
        table.set_max_capacity(grants.handles);
    }
    Ok(account)
}

/// A request's store and the fuel that it may use, where its code counts any.
///
/// Compiled code looks at the fuel when it enters a function or a loop, and may have used a little
/// more when it ends. So it is given one unit more than the limit: whoever has none left at the end
/// has used more than the limit, to the unit, whatever was looked at.
pub(super) struct FuelAccount {
    pub(super) store: Store<State>,
    limit: Option<u64>,
    /// What the request's instances before used.
    used: u64,
}

impl FuelAccount {
    fn open(&mut self) -> wasmtime::Result<()> {
        match self.limit {
            Some(limit) => self.store.set_fuel(limit.saturating_add(1)),
            None => Ok(()),
        }
    }

    /// Notes what was used. A guest that was interrupted at a tick has its count in a register, and
    /// what the store says then is old: it is left out.
    fn note(&self) {
        let meter = &self.store.data().meter;
        if let Some(limit) = self.limit
            && !meter.exhausted()
            && let Ok(left) = self.store.get_fuel()
        {
            let used = limit.saturating_add(1).saturating_sub(left);
            meter.set_fuel_used(self.used + used.min(limit));
        }
    }

    /// Notes what was used, and says whose fault an error is.
    pub(super) fn settle<T>(&self, result: wasmtime::Result<T>) -> Result<T, Failure> {
        self.note();
        match result {
            Ok(_) if self.is_overdrawn() => Err(Failure {
                reason: Reason::FuelExhausted,
                detail: "it ended with more fuel used than it may".to_owned(),
            }),
            Ok(done) => Ok(done),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn is_overdrawn(&self) -> bool {
        self.limit.is_some() && matches!(self.store.get_fuel(), Ok(0))
    }

    fn failure(&self, error: wasmtime::Error) -> Failure {
        let state = self.store.data();
        if self.is_overdrawn() && !state.meter.exhausted() {
            return Failure {
                reason: Reason::FuelExhausted,
                detail: one_line(error),
            };
        }
        failure(error, state)
    }
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
        Verdict::Yield => UpdateDeadline::YieldCustom(1, Box::pin(scheduler::give_way())),
        Verdict::Exhausted => UpdateDeadline::Interrupt,
    })
}

/// What Wasmtime says, in types that are not public, of a host call that copies too much out of the guest and
/// of a component that holds or lends too many handles.
const EXHAUSTED: [&str; 2] = [
    "fuel allocated for hostcalls",
    "store handle limit exceeded",
];

fn is_exhausted(error: &wasmtime::Error) -> bool {
    let cause = error.root_cause().to_string();
    EXHAUSTED.iter().any(|text| cause.contains(text))
}

/// Whose fault an error is. The state knows better than the error: a guest that is refused memory
/// aborts, and the abort is a trap like any other.
fn failure(error: wasmtime::Error, state: &State) -> Failure {
    let reason = if state.meter.exhausted() {
        Reason::CpuExhausted
    } else if state.allowance.memory_denied() {
        Reason::MemoryExhausted
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        if exit.0 == 0 {
            state.notes.set_exited_well();
        }
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
        || error.is::<filter::TooMuch>()
        || is_exhausted(&error)
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
