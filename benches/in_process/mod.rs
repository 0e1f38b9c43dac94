//! One request in process, made exactly as a worker makes it, without network and ring.

// Each bench includes this file and uses its own part of it.
#![allow(dead_code)]
#![allow(clippy::expect_used, clippy::panic)] // a bench that cannot go on says so and stops

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_channel::oneshot;
use http_body::Body;
use http_body_util::Empty;
use skep::config::Profile;
use skep::control::Flavour;
use skep::engine::meter::Metered;
use skep::engine::{Engines, Meter, Program, settings};
use skep::guest::filter::{Exchange, Filter};
use skep::guest::{
    Context as GuestContext, Grants, Invocation, LineSink, Phase, RequestId, RequestIds, Response,
    State, Stream, invoke,
};
use skep::scheduler::Account;

/// A guest of `target/guests`, or of `SKEP_GUESTS`.
pub fn guest(name: &str) -> PathBuf {
    let dir = std::env::var_os("SKEP_GUESTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests"),
        PathBuf::from,
    );
    let path = dir.join(name).with_extension("wasm");
    assert!(
        path.is_file(),
        "{} is missing: build it with tests/guests/build",
        path.display()
    );
    path
}

/// A profile by name, with `slots` slots.
pub fn profile(name: &str, slots: u32) -> Profile {
    let mut profile = Profile::find(name, Path::new("")).expect("a profile of tuning/profiles");
    profile.slots = slots;
    profile.running_max = (slots as usize - profile.decommit_batch).min(profile.running_max);
    profile.warm_slots = profile.warm_slots.min(slots);
    profile
}

/// A worker's engines without a ticker: nothing here runs for as long as a tick.
pub fn engines(profile: &Profile) -> Engines {
    Engines::new(profile.clone(), false, |_| {})
}

/// A component as an artifact in a file.
pub fn artifact(component: &[u8], profile: &Profile) -> (Flavour, File) {
    let (flavour, bytes) =
        settings::compile_component(component, profile).expect("the guest compiles");
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&bytes).expect("room for the artifact");
    (flavour, file)
}

/// A component, compiled and loaded.
pub fn program(engines: &Engines, component: &Path, profile: &Profile) -> Rc<Program> {
    let bytes = std::fs::read(component).expect("the component is readable");
    let (flavour, file) = artifact(&bytes, profile);
    Rc::new(engines.load(flavour, file.as_fd()).expect("it loads"))
}

/// What all requests of one tenant have in common.
pub struct Tenant {
    /// What its instances may do.
    pub grants: Arc<Grants>,
    sink: Rc<dyn LineSink>,
    account: Rc<Account>,
    cpu_budget_ns: u64,
}

struct NoLog;

impl LineSink for NoLog {
    fn line(&self, _: RequestId, _: Stream, _: &[u8]) {}
    fn dropped(&self, _: RequestId, _: usize) {}
}

impl Tenant {
    /// A tenant with default limits.
    pub fn new() -> Self {
        let tenant = skep::config::Tenant::default();
        Self {
            grants: Arc::new(Grants::of(&tenant)),
            sink: Rc::new(NoLog),
            account: Rc::default(),
            cpu_budget_ns: tenant.limits.cpu_ms * 1_000_000,
        }
    }

    /// The state of a new request's store.
    pub fn state(&self) -> State {
        let meter = Rc::new(Meter::new(Rc::clone(&self.account), self.cpu_budget_ns));
        State::new(self.context(&meter))
    }

    fn context(&self, meter: &Rc<Meter>) -> GuestContext {
        GuestContext {
            grants: Arc::clone(&self.grants),
            meter: Rc::clone(meter),
            request: RequestIds::default().next(),
            sink: Rc::clone(&self.sink),
            notes: Rc::default(),
            outbound: None,
            shared: None,
            services: None,
        }
    }

    /// One request: a fresh instance, called, its answer collected, dropped. Says the number of
    /// body bytes; a filter is called for the fields of a request and of its answer, and has none.
    pub fn request(&self, program: &Rc<Program>) -> usize {
        if program.filter_has(Phase::RequestHeaders) {
            self.filtered(program);
            return 0;
        }
        let meter = Rc::new(Meter::new(Rc::clone(&self.account), self.cpu_budget_ns));
        let (respond, response) = oneshot::channel();
        let call = Invocation {
            context: self.context(&meter),
            request: request(),
            respond,
        };
        let program = Rc::clone(program);
        let guest = Metered::new(meter, async move { invoke(&program, call).await });
        finished(guest).expect("the guest answers");
        let response = finished(response).expect("an answer").expect("no error");
        drain(response)
    }

    fn filtered(&self, program: &Rc<Program>) {
        let meter = Rc::new(Meter::new(Rc::clone(&self.account), self.cpu_budget_ns));
        let context = self.context(&meter);
        let program = Rc::clone(program);
        let mut exchange = Exchange {
            scheme: "http".into(),
            authority: "hello.localhost".into(),
            path: "/".into(),
            request_headers: request().into_parts().0.headers,
            ..Exchange::default()
        };
        let passed = Metered::new(meter, async move {
            let mut filter = Filter::start(&program, &context).await?;
            for phase in [Phase::RequestHeaders, Phase::ResponseHeaders] {
                filter.run(phase, &mut exchange, true).await?;
            }
            filter.finish().await
        });
        finished(passed).expect("the filter goes on");
    }
}

/// The request that `wrk` makes.
pub fn request() -> http::Request<Empty<Bytes>> {
    let mut request = http::Request::new(Empty::new());
    *request.uri_mut() = http::Uri::from_static("http://hello.localhost/");
    let host = http::HeaderValue::from_static("hello.localhost");
    request.headers_mut().insert(http::header::HOST, host);
    request
}

/// The result of a future that needs no I/O.
pub fn finished<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Reads a body to its end.
pub fn drain(response: Response) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        bytes += frame.expect("a frame").data_ref().map_or(0, Bytes::len);
    }
    bytes
}
