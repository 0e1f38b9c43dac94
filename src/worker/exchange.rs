//! One request and its answer: the guest, the body on its way in and the response on its way out,
//! driven together by the connection's task.
//!
//! ```text
//!            ┌──────── guest (metered) ────────┐
//! client ──► pump                            answer ──► client
//!            └─ all three polled in this order ─┘
//! ```
//!
//! The guest is polled first, so a guest that needs no I/O has finished before its answer is
//! looked at, and the whole response goes out in one write.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use wasmtime_wasi_http::Error;

use crate::config::Compat;
use crate::engine::meter::Metered;
use crate::engine::{Meter, Program};
use crate::fault::{Reason, Refusal};
use crate::guest::{
    Context as GuestContext, Failure, Invocation, Notes, RequestId, Response, empty_response,
    invoke,
};
use crate::http::{self as codec, BodyDecoder, BodyLength, RequestHead};
use crate::scheduler;
use crate::worker::admission::Admitted;
use crate::worker::core::Core;
use crate::worker::forwarded;
use crate::worker::inbound::{Inbound, RequestBody, pump};
use crate::worker::outbound::{self, Asked, Sent};
use crate::worker::proxy::{Way, pass_on};
use crate::worker::runtime::within;
use crate::worker::stream::{Reader, Writer};
use crate::worker::tenant::{Programs, Tenant};

/// What came of a request.
#[derive(Debug)]
pub struct Outcome {
    /// What was sent, if the client got a head at all.
    pub sent: Option<Sent>,
    /// What went wrong, as it was answered or would have been.
    pub reason: Option<Reason>,
    /// CPU time of the guest, in nanoseconds.
    pub cpu_ns: u64,
    /// Fuel that the guest used, where it counts any and has ended by itself.
    pub fuel: Option<u64>,
    /// What the guest says about the request.
    pub diag: Option<Box<str>>,
}

/// What the three parts tell each other.
#[derive(Default)]
struct Progress {
    /// The guest has nothing more to do.
    guest_done: Cell<bool>,
    /// Why the request cannot go on.
    stop: Cell<Option<Reason>>,
    /// For the tenant's log.
    detail: RefCell<Option<String>>,
    /// What the guest has noted.
    notes: Rc<Notes>,
}

impl Progress {
    fn stop(&self, reason: Reason) {
        if self.stop.get().is_none() {
            self.stop.set(Some(reason));
        }
    }
}

/// Serves one request of `tenant`, whose body `decoder` reads.
pub async fn exchange(
    core: &Rc<Core>,
    tenant: &Rc<Tenant>,
    request: RequestId,
    mut head: RequestHead,
    decoder: &mut BodyDecoder,
    reader: &mut Reader,
    writer: &mut Writer,
) -> Outcome {
    let mut asked = core.asked(&head, tenant.placed.tenant.compat);
    asked.keep_alive &= !tenant.leaving.get();
    // A client that waits to be told to send its body may or may not send it after an early answer:
    // where its next request begins is not known.
    let keep_alive = asked.keep_alive;
    asked.keep_alive &= !head.expect_continue;
    let pass = match tenant.admission.enter() {
        Ok(pass) => pass,
        Err(refusal) => return refuse(writer, &asked, refusal).await,
    };
    // The program first: a request that waits for the compiler holds nobody's place.
    let (programs, grants) = match tenant.program(core).await {
        Ok(version) => version,
        Err(reason) => return refuse(writer, &asked, reason).await,
    };
    let has_whole = programs.keep_their_place();
    let slots = programs.slots(&core.slots, grants.compat);
    let admitted = match tenant.admission.admit(slots, &tenant.slots).await {
        Ok(admitted) => Rc::new(admitted),
        Err(reason) => return refuse(writer, &asked, reason).await,
    };
    if let Err(refusal) = pass.check() {
        return refuse(writer, &asked, refusal).await;
    }
    // Time in the queue is not the program's.
    let started = Instant::now();
    if !scheduler::may_run(&tenant.account) {
        let arrive = scheduler::arrive(&tenant.account);
        if within(tenant.wall(), arrive).await.is_none() {
            let reason = match tenant.account.is_capped() {
                true => Reason::QueueTimeout,
                false => Reason::NoSlot,
            };
            return refuse(writer, &asked, reason).await;
        }
    }
    asked.keep_alive = keep_alive;

    let meter = Rc::new(Meter::new(Rc::clone(&tenant.account), tenant.cpu_budget_ns));
    if tenant.placed.tenant.compat == Compat::Fastedge {
        forwarded::put(&mut head.headers, reader.fd(), &core.geo.borrow());
    }
    core.added.borrow().to_request(&mut head.headers);
    let notes = Rc::new(Notes::default());
    let inbound = Rc::new(Inbound::default());
    let handler = match (programs, &tenant.origin) {
        (Programs::Guest(program), _) => Handler::Guest(program),
        (Programs::Filters(filters), Some(origin)) => Handler::Origin(Way {
            origin: Rc::clone(origin),
            facts: facts(core, &filters, reader),
            filters,
            client: reader.peer(),
        }),
        (Programs::Filters(_), None) => {
            return refuse(writer, &asked, Reason::ComponentRejected).await;
        }
    };
    // What is passed on takes as long as it takes, once its answer has begun.
    let is_passed_on = tenant.origin.is_some();
    let expect_continue = head.expect_continue;
    let (respond, response) = oneshot::channel();
    let call = Invocation {
        context: GuestContext {
            grants,
            meter: Rc::clone(&meter),
            request,
            sink: Rc::clone(&tenant.log) as _,
            notes: Rc::clone(&notes),
            outbound: tenant.outbound(),
            services: tenant.services(),
            shared: tenant.origin.as_ref().map(|_| Rc::clone(&tenant.shared)),
        },
        request: guest_request(head, &inbound),
        respond,
    };
    // An answer that is there as a whole is kept until it is sent, and its place with it.
    let _place = has_whole.then(|| Rc::clone(&admitted));
    let progress = Progress {
        notes: Rc::clone(&notes),
        ..Progress::default()
    };
    let mut guest = Some(Metered::new(
        Rc::clone(&meter),
        run(handler, call, admitted),
    ));
    let mut pump = pin!(pump(
        reader,
        decoder,
        &inbound,
        asked.timeout,
        core.profile.body_chunk_bytes,
    ));
    let mut pumping = true;
    let mut wall = None;
    let mut answer = pin!(answer(
        core,
        writer,
        &mut asked,
        response,
        &inbound,
        expect_continue,
        &progress
    ));
    let (sent, reason) = poll_fn(|cx| {
        poll_guest(&mut guest, &progress, cx);
        if pumping && let Poll::Ready(result) = pump.as_mut().poll(cx) {
            pumping = false;
            if let Err(reason) = result {
                progress.stop(reason);
            }
        }
        if let Poll::Ready(result) = answer.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if is_passed_on && guest.is_none() {
            return Poll::Pending;
        }
        let deadline = wall.get_or_insert_with(|| {
            Box::pin(monoio::time::sleep_until((started + tenant.wall()).into()))
        });
        if deadline.as_mut().poll(cx).is_ready() {
            progress.stop(Reason::WallExhausted);
            guest = None;
            return answer.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await;

    if let Some(detail) = progress.detail.take()
        && (reason.is_some() || !notes.has_exited_well())
    {
        tenant.log.fault(request, reason, &detail);
    }
    match guest {
        Some(guest) if sent.is_some_and(|sent| sent.broken.is_none()) => {
            inbound.fail(Error::ConnectionTerminated);
            core.detach(tenant, request, guest, started + tenant.wall(), pass);
        }
        _ => core.settle(tenant, pass, reason),
    }
    Outcome {
        sent,
        reason,
        cpu_ns: meter.used_ns(),
        fuel: meter.fuel_used(),
        diag: notes.take_diag(),
    }
}

/// What is known of a request's client, where filters may ask.
fn facts<T>(core: &Core, filters: &[T], reader: &Reader) -> BTreeMap<String, String> {
    match reader.peer() {
        Some(client) if !filters.is_empty() => core.geo.borrow().facts(client),
        _ => BTreeMap::new(),
    }
}

/// Who answers.
enum Handler {
    Guest(Rc<Program>),
    Origin(Way),
}

/// The guest's whole life; it holds its place until it is gone.
async fn run(
    handler: Handler,
    call: Invocation<RequestBody>,
    admitted: Rc<Admitted>,
) -> Result<(), Failure> {
    let result = match handler {
        Handler::Guest(program) => invoke(&program, call).await,
        // On the heap, so that the future of a guest is not as large.
        Handler::Origin(way) => Box::pin(pass_on(way, call)).await,
    };
    drop(admitted);
    result
}

fn poll_guest<F>(guest: &mut Option<Metered<F>>, progress: &Progress, cx: &mut Context<'_>)
where
    F: Future<Output = Result<(), Failure>>,
{
    let Some(running) = guest else { return };
    if let Poll::Ready(result) = Pin::new(running).poll(cx) {
        *guest = None;
        progress.guest_done.set(true);
        if let Err(failure) = result {
            progress.stop(failure.reason);
            progress.detail.replace(Some(failure.detail));
        }
    }
}

/// Waits for the guest's response and sends it; or sends what there is to say instead.
async fn answer(
    core: &Core,
    writer: &mut Writer,
    asked: &mut Asked,
    mut response: oneshot::Receiver<Result<Response, wasmtime::Error>>,
    inbound: &Inbound,
    mut expect_continue: bool,
    progress: &Progress,
) -> (Option<Sent>, Option<Reason>) {
    let reason = loop {
        let event = next_event(&mut response, inbound, expect_continue, progress).await;
        match or_empty(event, &mut response, asked.compat, progress) {
            Event::Continue => {
                expect_continue = false;
                writer.out.extend_from_slice(codec::CONTINUE_100);
                if writer.flush(asked.timeout).await.is_err() {
                    break Reason::ClientGone;
                }
            }
            Event::Stopped(reason) => break reason,
            Event::Response(mut response) => {
                core.added.borrow().to_response(response.headers_mut());
                asked.keep_alive &= !core.draining.get();
                let begun = Cell::new(None);
                let expecting = expect_continue.then_some(inbound);
                let send = outbound::send(writer, response, asked, expecting, &begun);
                let result = stoppable(pin!(send), progress).await;
                match (result, begun.get()) {
                    (Ok(Ok(sent)), _) => return (Some(sent), sent.broken),
                    (Ok(Err(reason)) | Err(reason), None) => break reason,
                    // The head is out: all that is left is to end the connection.
                    (Ok(Err(reason)) | Err(reason), Some(sent)) => {
                        let broken = Some(reason);
                        return (Some(Sent { broken, ..sent }), broken);
                    }
                }
            }
        }
    };
    // As in [`outbound::send`].
    asked.keep_alive &= !expect_continue && !core.draining.get();
    let outcome = refuse(writer, asked, reason).await;
    (outcome.sent, outcome.reason)
}

/// FastEdge answers for a program that ends itself with exit code 0 and has given no answer: with 200 and an
/// empty body.
fn or_empty(
    event: Event,
    response: &mut oneshot::Receiver<Result<Response, wasmtime::Error>>,
    compat: Compat,
    progress: &Progress,
) -> Event {
    let is_empty = matches!(event, Event::Stopped(Reason::Exited))
        && compat == Compat::Fastedge
        && progress.notes.has_exited_well()
        && response.try_recv().is_err();
    if !is_empty {
        return event;
    }
    progress.stop.take();
    Event::Response(empty_response())
}

enum Event {
    Response(Response),
    Continue,
    Stopped(Reason),
}

async fn next_event(
    response: &mut oneshot::Receiver<Result<Response, wasmtime::Error>>,
    inbound: &Inbound,
    expect_continue: bool,
    progress: &Progress,
) -> Event {
    poll_fn(|cx| {
        if let Some(reason) = progress.stop.get() {
            return Poll::Ready(Event::Stopped(reason));
        }
        // Before the response: a guest may answer first and then read, and once its head is out
        // nobody can tell the client to send the body (RFC 9110 §10.1.1).
        if expect_continue && inbound.wanted() {
            return Poll::Ready(Event::Continue);
        }
        match Pin::new(&mut *response).poll(cx) {
            Poll::Ready(Ok(Ok(response))) => return Poll::Ready(Event::Response(response)),
            Poll::Ready(Ok(Err(error))) => {
                progress.detail.replace(Some(format!("{error:#}")));
                return Poll::Ready(Event::Stopped(Reason::BadResponse));
            }
            Poll::Ready(Err(oneshot::Canceled)) if progress.guest_done.get() => {
                return Poll::Ready(Event::Stopped(Reason::NoResponse));
            }
            Poll::Ready(Err(oneshot::Canceled)) | Poll::Pending => {}
        }
        Poll::Pending
    })
    .await
}

/// Runs `send` until it is done or the request is stopped.
async fn stoppable<F: Future>(
    mut send: Pin<&mut F>,
    progress: &Progress,
) -> Result<F::Output, Reason> {
    poll_fn(|cx| {
        // Before anything else: the body of a guest that trapped looks like one that ended.
        match progress.stop.get() {
            Some(reason) => Poll::Ready(Err(reason)),
            None => send.as_mut().poll(cx).map(Ok),
        }
    })
    .await
}

/// Answers with a fault instead of a guest's response.
pub async fn refuse(writer: &mut Writer, asked: &Asked, refusal: impl Into<Refusal>) -> Outcome {
    let refusal = Refusal {
        compat: asked.compat,
        ..refusal.into()
    };
    let reason = refusal.reason;
    let mut outcome = Outcome {
        sent: None,
        reason: Some(reason),
        cpu_ns: 0,
        fuel: None,
        diag: None,
    };
    if reason == Reason::ClientGone {
        return outcome;
    }
    let keep_alive = asked.keep_alive && reason.fault() != crate::fault::Fault::Client;
    let head_only = asked.method == http::Method::HEAD;
    codec::encode_fault(
        &mut writer.out,
        refusal,
        asked.version,
        keep_alive,
        head_only,
        &asked.date,
    );
    if writer.flush(asked.timeout).await.is_ok() {
        outcome.sent = Some(Sent {
            status: refusal.status(),
            bytes: 0,
            keep_alive,
            until_close: false,
            broken: None,
        });
    }
    outcome
}

/// The request as the guest sees it.
fn guest_request(head: RequestHead, inbound: &Rc<Inbound>) -> http::Request<RequestBody> {
    let length = match head.body {
        BodyLength::None => Some(0),
        BodyLength::Length(length) => Some(length),
        BodyLength::Chunked => None,
    };
    let mut request = http::Request::new(RequestBody::new(Rc::clone(inbound), length));
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.headers_mut() = head.headers;
    request
}

/// How long a detached guest may still run.
pub async fn finish_detached<F>(guest: Metered<F>, deadline: Instant) -> Option<Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let left = deadline.saturating_duration_since(Instant::now());
    match monoio::time::timeout(left.max(Duration::from_millis(1)), guest).await {
        Ok(result) => result.err(),
        Err(_) => Some(Failure {
            reason: Reason::WallExhausted,
            detail: "still running after its response was sent".into(),
        }),
    }
}
