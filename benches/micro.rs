//! A request's parts in process, without network.
//!
//! `cargo bench --bench micro`; what each figure is stands in `benches/README.md`.

#![allow(clippy::expect_used)] // a bench that cannot go on says so and stops

mod in_process;

use std::hint::black_box;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_channel::oneshot;
use skep::control::Handover;
use skep::engine::settings;
use skep::guest::{Response, State, link_p2};
use skep::http::{DateCache, HeadLimits, ResponseFraming, Version, encode_head, parse_request};
use skep::sys::channel::Channel;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use in_process::{Tenant, artifact, drain, engines, finished, guest, profile, program, request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Slots of the pool: as in the default profile.
const SLOTS: u32 = 2000;

/// What a worker does for a request: state, store, instance, call, answer, drop.
fn whole(c: &mut Criterion) {
    let profile = profile("balanced", SLOTS);
    let engines = engines(&profile);
    let program = program(&engines, &guest("hello"), &profile);
    let tenant = Tenant::new();
    let mut group = c.benchmark_group("request");
    group.bench_function("hello", |b| b.iter(|| tenant.request(&program)));

    // Tenants in turn: each has its own code and its own warm slots.
    let component = std::fs::read(guest("hello")).expect("the guest is readable");
    let many: Vec<_> = (0..1000)
        .map(|_| {
            let (flavour, file) = artifact(&component, &profile);
            Rc::new(engines.load(flavour, file.as_fd()).expect("it loads"))
        })
        .collect();
    let mut turn = many.iter().cycle();
    group.bench_function("hello, 1000 tenants in turn", |b| {
        b.iter(|| tenant.request(turn.next().expect("it cycles")));
    });
    group.finish();
}

/// The same request on an engine of this bench, cut into its parts.
struct Parts {
    engine: Engine,
    pre: ProxyPre<State>,
    tenant: Tenant,
}

/// Time spent in each part.
#[derive(Default)]
struct Spent {
    store: Duration,
    instantiate: Duration,
    call: Duration,
    drop: Duration,
}

/// One part of what was spent.
type Share = fn(&Spent) -> Duration;

type Answer = oneshot::Receiver<Result<Response, wasmtime::Error>>;

impl Parts {
    fn new() -> Self {
        let profile = profile("balanced", SLOTS);
        let bytes = std::fs::read(guest("hello")).expect("the guest is readable");
        let (flavour, artifact) =
            settings::compile_component(&bytes, &profile).expect("the guest compiles");
        let config = settings::worker(flavour, &profile, false);
        let engine = Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        link_p2(&mut linker).expect("it links");
        // SAFETY: the artifact was compiled a moment ago, in this process.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(&engine, artifact) }.expect("it loads");
        let pre = linker.instantiate_pre(&component).expect("it links");
        let pre = ProxyPre::new(pre).expect("a proxy");
        Self {
            engine,
            pre,
            tenant: Tenant::new(),
        }
    }

    /// As in `guest::invoke`.
    fn store(&self) -> Store<State> {
        let mut store = Store::new(&self.engine, self.tenant.state());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(wasmtime::UpdateDeadline::Continue(1)));
        store.set_hostcall_fuel(self.tenant.grants.hostcall_bytes);
        store.set_max_component_handles(self.tenant.grants.handles);
        store
    }

    fn call(store: &mut Store<State>, proxy: &Proxy) -> Answer {
        let (respond, response) = oneshot::channel();
        let mut http = store.data_mut().http();
        let request = http
            .new_incoming_request(Scheme::Http, request())
            .expect("a request");
        let out = store
            .data_mut()
            .http()
            .new_response_outparam_from_callback(move |response| {
                let _ = respond.send(response.map_err(Into::into));
            })
            .expect("an out-parameter");
        let handler = proxy.wasi_http_incoming_handler();
        finished(handler.call_handle(&mut *store, request, out)).expect("the guest answers");
        response
    }

    fn request(&self, spent: &mut Spent) {
        let start = Instant::now();
        let mut store = self.store();
        let stored = Instant::now();
        let proxy = finished(self.pre.instantiate_async(&mut store)).expect("an instance");
        let instantiated = Instant::now();
        let answer = Self::call(&mut store, &proxy);
        let called = Instant::now();
        drop(store);
        let dropped = Instant::now();
        collect(answer);
        spent.store += stored - start;
        spent.instantiate += instantiated - stored;
        spent.call += called - instantiated;
        spent.drop += dropped - called;
    }
}

fn collect(answer: Answer) {
    drain(finished(answer).expect("an answer").expect("a response"));
}

/// Each part's share of the same request. A reading of the clock, about 25 ns, is in each.
fn parts(c: &mut Criterion) {
    let parts = Parts::new();
    let mut group = c.benchmark_group("part");
    let shares: [(&str, Share); 4] = [
        ("1 state and store", |spent| spent.store),
        ("2 instantiate", |spent| spent.instantiate),
        ("3 call", |spent| spent.call),
        ("4 drop and reset", |spent| spent.drop),
    ];
    for (name, share) in shares {
        group.bench_function(name, |b| {
            b.iter_custom(|requests| {
                let mut spent = Spent::default();
                for _ in 0..requests {
                    parts.request(&mut spent);
                }
                share(&spent)
            });
        });
    }
    // What a fresh instance costs is the difference to this.
    let mut store = parts.store();
    let proxy = finished(parts.pre.instantiate_async(&mut store)).expect("an instance");
    group.bench_function("call, instance reused", |b| {
        b.iter(|| {
            store.set_hostcall_fuel(parts.tenant.grants.hostcall_bytes);
            collect(Parts::call(&mut store, &proxy));
        });
    });
    group.finish();
}

const HEAD_OF_WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";

const HEAD_OF_A_BROWSER: &[u8] =
    b"GET /articles/2026/11/how-bees-decide?utm_source=feed HTTP/1.1\r\n\
    Host: www.example.test\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=2f1c8a7be4d0497f8d1bb6c7; theme=dark; consent=essential\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=0, i\r\n\r\n";

/// Request heads in, response heads out.
fn http(c: &mut Criterion) {
    let limits = HeadLimits {
        head_bytes_max: 32 * 1024,
        target_bytes_max: 8 * 1024,
        headers_max: 100,
        body_bytes_max: u64::MAX,
    };
    let mut group = c.benchmark_group("http");
    for (name, head) in [("wrk", HEAD_OF_WRK), ("a browser", HEAD_OF_A_BROWSER)] {
        group.bench_function(format!("parse the head of {name}"), |b| {
            b.iter_batched_ref(
                || BytesMut::from(head),
                |buffer| {
                    parse_request(buffer, &limits)
                        .map(black_box)
                        .expect("it is well-formed")
                },
                BatchSize::SmallInput,
            );
        });
    }
    let mut headers = http::HeaderMap::new();
    let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(http::header::CONTENT_TYPE, text);
    let mut dates = DateCache::new(SystemTime::now());
    let date = *dates.at(SystemTime::now());
    let (status, framing) = (http::StatusCode::OK, ResponseFraming::Length(16));
    let mut out = Vec::with_capacity(1024);
    group.bench_function("encode a response with 16 bytes", |b| {
        b.iter(|| {
            out.clear();
            encode_head(
                &mut out,
                Version::Http11,
                status,
                &headers,
                framing,
                true,
                &date,
            );
            out.extend_from_slice(b"Hello from skep\n");
            black_box(out.len())
        });
    });
    group.finish();
}

/// A connection that changes workers: its frame and its descriptor through a mailbox and back out.
fn handover(c: &mut Criterion) {
    let (ours, theirs) = Channel::pair().expect("a channel");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = std::net::TcpStream::connect(listener.local_addr().expect("its address"))
        .expect("a connection");
    let (mut frame, mut received) = (Vec::new(), Vec::new());
    c.bench_function("handover/frame and socket through a mailbox", |b| {
        b.iter(|| {
            frame.clear();
            Handover {
                fronted: false,
                hops: 1,
                buffered: HEAD_OF_WRK,
            }
            .encode(&mut frame);
            ours.try_send_bytes(&frame, &[socket.as_fd()])
                .expect("there is room");
            let arrived = theirs.try_recv_bytes(&mut received).expect("it arrived");
            let (length, fds) = arrived.expect("it is no end");
            let handover = Handover::decode(&received[..length]).expect("a frame");
            assert_eq!((handover.hops, fds.len()), (1, 1));
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = whole, parts, http, handover
}
criterion_main!(benches);
