//! proxy-wasm filters (ABI 0.2.1): programs that look at a request on its way to an origin, and at the
//! answer on its way back.
//!
//! ```text
//!   start   instantiate ─ _initialize ─ context_create(1, 0) ─ vm_start ─ configure ─ context_create(2, 1)
//!   run     on_request_headers ─► Continue | Answer | Close
//!             └ Pause with a call out ─ wait ─ on_http_call_response ─► as below
//!   finish  calls still out ─ on_done ─ on_log ─ on_delete
//! ```
//!
//! After a pause, a filter goes on when it has called `proxy_continue_stream`. With `compat =
//! "fastedge"` its hook is called once more instead, on the same instance, until it pauses no more.
//! There is no root context that outlives a request, so nothing can resume a filter that waits for
//! neither a call nor more of a body: that is its failure, said at once.
//!
//! | part | what it is |
//! |---|---|
//! | [`exchange`] | the request and the answer, which outlive the filters' instances |
//! | [`program`] | the module: its imports are linked, its exports checked |
//! | [`memory`], [`wire`], [`status`] | reading and writing a guest's memory, and how a host function ends |
//! | [`headers`], [`properties`], [`calls`], [`shared`], [`metrics`] | what the host functions are about |
//! | [`host`], [`wasi`] | the functions that are imported |

mod active;
mod calls;
mod exchange;
mod headers;
mod host;
mod memory;
mod metrics;
mod program;
mod properties;
mod shared;
mod status;
#[cfg(test)]
mod tests;
mod wasi;
mod wire;

use bytes::Bytes;
use wasmtime_wasi::I32Exit;

use super::invoke::{Failure, FuelAccount, place};
use super::{Context, State};
use crate::config::Compat;
use crate::engine::{Program, Proxy};
use crate::fault::Reason;

pub(super) use active::Active;
pub use exchange::{Exchange, Phase, Verdict};
pub use program::{FilterPre, link_filters};
pub use properties::Properties;
pub use shared::SharedData;
pub(super) use status::TooMuch;

use program::Exports;

/// The context of the filter, and that of the request.
const ROOT: u32 = 1;
const STREAM: u32 = 2;

/// An instance of a filter, for one request or for one phase of it.
pub struct Filter {
    account: FuelAccount,
    exports: Exports,
    compat: Compat,
    spent: std::rc::Rc<super::Notes>,
}

/// How a hook ended.
enum Ended {
    With(Verdict),
    /// It does not go on, and nothing will make it.
    Stuck(&'static str),
}

/// What a hook returned.
enum Action {
    Continue,
    Pause,
}

impl Action {
    /// Of the numbers, 0 is to continue everywhere, and 2 to continue and end the stream, where it is
    /// about fields; the others are kinds of waiting.
    fn of(number: u32, phase: Phase) -> Self {
        match number {
            0 => Self::Continue,
            2 if !phase.is_body() => Self::Continue,
            _ => Self::Pause,
        }
    }
}

impl Filter {
    /// Makes an instance of a filter and starts it; its configuration is the tenant's, as JSON.
    ///
    /// # Errors
    /// When it traps, breaks a limit, or says that it cannot start; [`Reason::ComponentRejected`] for
    /// a program that is no filter.
    pub async fn start(program: &Program, context: &Context) -> Result<Filter, Failure> {
        let Proxy::Filter(pre) = &program.proxy else {
            return Err(rejected("the program is no filter"));
        };
        let (account, exports) =
            place(program, context, async |store| pre.instantiate(store).await).await?;
        let mut filter = Filter {
            account,
            exports,
            compat: context.grants.compat,
            spent: context.notes.clone(),
        };
        let started = filter.initialize().await;
        match filter.settle(started)? {
            None => Ok(filter),
            Some(refused) => Err(rejected(refused)),
        }
    }

    /// Its start; why it did not.
    async fn initialize(&mut self) -> wasmtime::Result<Option<&'static str>> {
        let store = &mut self.account.store;
        let grants = &store.data().grants;
        let configuration = match grants.config.is_empty() {
            true => Vec::new(),
            false => serde_json::to_vec(&grants.config).map_err(wasmtime::Error::new)?,
        };
        let length = u32::try_from(configuration.len())?;
        store.data_mut().filter().configuration = Bytes::from(configuration);
        let exports = &self.exports;
        match exports.initialize(store).await {
            // A `main` that is over is a start like any other.
            Err(error) if matches!(error.downcast_ref(), Some(I32Exit(0))) => {}
            result => result?,
        }
        exports.create(store, ROOT, 0).await?;
        if exports.vm_start(store, ROOT).await? == Some(0) {
            return Ok(Some("its proxy_on_vm_start refused to start"));
        }
        if exports.configure(store, ROOT, length).await? == Some(0) {
            return Ok(Some("its proxy_on_configure refused its configuration"));
        }
        exports.create(store, STREAM, ROOT).await?;
        Ok(None)
    }

    /// Whether it has something to do in this phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.exports.has(phase)
    }

    /// Calls its hook for a phase, until it decides. `end_of_stream` says that nothing follows: the
    /// body is whole, or there is none. Dropping the future ends the request: `exchange` is empty then.
    ///
    /// # Errors
    /// When it traps, breaks a limit, or pauses with nothing to wait for
    /// ([`Reason::NoResponse`]).
    pub async fn run(
        &mut self,
        phase: Phase,
        exchange: &mut Exchange,
        end_of_stream: bool,
    ) -> Result<Verdict, Failure> {
        if !self.has(phase) {
            return Ok(Verdict::Continue);
        }
        let active = self.active();
        active.exchange = std::mem::take(exchange);
        active.phase = Some(phase);
        (active.answer, active.closed, active.resumed) = (None, false, false);
        let ended = self.decide(phase, end_of_stream).await;
        let active = self.active();
        *exchange = std::mem::take(&mut active.exchange);
        (active.phase, active.calls.answered) = (None, None);
        match self.settle(ended)? {
            Ended::With(verdict) => Ok(verdict),
            Ended::Stuck(detail) => Err(Failure {
                reason: Reason::NoResponse,
                detail: format!("{}: {detail}", phase.export()),
            }),
        }
    }

    async fn decide(&mut self, phase: Phase, end_of_stream: bool) -> wasmtime::Result<Ended> {
        loop {
            let action = self.hook(phase, end_of_stream).await?;
            if let Some(verdict) = self.decided() {
                return Ok(Ended::With(verdict));
            }
            if matches!(action, Action::Continue) {
                return Ok(Ended::With(Verdict::Continue));
            }
            let mut was_called = false;
            // Every turn of the loops takes one call from those that a request may make.
            while self.active().calls.is_pending() {
                if self.has_resumed() {
                    return Ok(Ended::With(Verdict::Continue));
                }
                self.deliver().await?;
                was_called = true;
                if let Some(verdict) = self.decided() {
                    return Ok(Ended::With(verdict));
                }
                if self.compat == Compat::Fastedge {
                    break;
                }
            }
            if self.has_resumed() {
                return Ok(Ended::With(Verdict::Continue));
            }
            self.active().calls.answered = None;
            if self.compat == Compat::Fastedge && was_called {
                continue;
            }
            return Ok(match (phase.is_body(), end_of_stream) {
                (true, false) => Ended::With(Verdict::Pause),
                (true, true) => {
                    Ended::Stuck("it paused at the end of the body, and waits for no call")
                }
                (false, _) => Ended::Stuck("it paused, and waits for no call"),
            });
        }
    }

    /// Calls the hook itself.
    async fn hook(&mut self, phase: Phase, end_of_stream: bool) -> wasmtime::Result<Action> {
        let store = &mut self.account.store;
        let exchange = &store.data_mut().filter().exchange;
        let size = match phase {
            Phase::RequestHeaders => headers::request_count(exchange),
            Phase::RequestBody => exchange.request_body.len(),
            Phase::ResponseHeaders => headers::response_count(&exchange.response_headers),
            Phase::ResponseBody => exchange.response_body.len(),
        };
        let parameters = (STREAM, u32::try_from(size)?, end_of_stream.into());
        let number = self.exports.hook(store, phase, parameters).await?;
        Ok(number.map_or(Action::Continue, |number| Action::of(number, phase)))
    }

    /// Waits for the answer to a call, and gives it to the filter.
    async fn deliver(&mut self) -> wasmtime::Result<()> {
        let store = &mut self.account.store;
        let (token, fields, bytes) = store.data_mut().called().await;
        let (fields, bytes) = (u32::try_from(fields)?, u32::try_from(bytes)?);
        let parameters = (ROOT, token, fields, bytes, 0);
        self.exports.call_response(store, parameters).await
    }

    /// What it has decided beside what its hook returned.
    fn decided(&mut self) -> Option<Verdict> {
        let active = self.active();
        match active.answer.take() {
            Some(answer) => Some(Verdict::Answer(answer)),
            None => active.closed.then_some(Verdict::Close),
        }
    }

    /// At Gcore, to continue a stream is nothing.
    fn has_resumed(&mut self) -> bool {
        self.compat == Compat::None && self.active().resumed
    }

    /// Ends it: waits for the calls that are still out, tells it that the request is over, and notes
    /// its fuel.
    ///
    /// # Errors
    /// When it traps or breaks a limit.
    pub async fn finish(mut self) -> Result<(), Failure> {
        let ended = self.end().await;
        self.settle(ended)
    }

    async fn end(&mut self) -> wasmtime::Result<()> {
        while self.active().calls.is_pending() {
            self.deliver().await?;
        }
        let store = &mut self.account.store;
        let exports = &self.exports;
        exports.done(store, STREAM).await?;
        // At Gcore it is never called.
        if self.compat == Compat::None {
            exports.log(store, STREAM).await?;
        }
        exports.delete(store, STREAM).await
    }

    fn active(&mut self) -> &mut Active {
        self.account.store.data_mut().filter()
    }

    /// Notes what was used so far, and says whose fault an error is.
    fn settle<T>(&mut self, result: wasmtime::Result<T>) -> Result<T, Failure> {
        self.spent.spend(self.account.store.data().spent());
        self.account.settle(result)
    }
}

fn rejected(detail: &str) -> Failure {
    Failure {
        reason: Reason::ComponentRejected,
        detail: detail.to_owned(),
    }
}

impl State {
    /// The filter's part of the data, made when it is first needed.
    pub(super) fn filter(&mut self) -> &mut Active {
        self.filter.get_or_insert_default()
    }
}
