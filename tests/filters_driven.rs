//! Filters as both SDKs build them, driven as a worker drives them; there is no proxy between.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use skep::config::{Compat, Profile};
use skep::data::{Ask, Given, Refused};
use skep::engine::settings::compile_component;
use skep::engine::{Engines, Meter, Program};
use skep::fault::Reason;
use skep::guest::filter::{Exchange, Filter, Phase, Verdict};
use skep::guest::{
    Answered, Context, Failure, Grants, LineSink, Notes, Outbound, RequestId, RequestIds, Services,
    Stream,
};
use wasmtime_wasi_http::{RequestOptions, WasiBody};

fn program(name: &str) -> Program {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/guests/{name}.wasm"));
    let bytes = std::fs::read(path).expect("a guest: run tests/guests/build");
    let profile = Profile::find("local", Path::new("")).unwrap();
    let (flavour, artifact) = compile_component(&bytes, &profile).unwrap();
    assert!(flavour.is_filter());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), artifact).unwrap();
    let engines = Engines::new(profile, true, |_| {});
    let program = engines.load(flavour, file.as_file().as_fd()).unwrap();
    assert!(program.is_filter());
    program
}

#[derive(Default)]
struct Log(RefCell<Vec<String>>);

impl LineSink for Log {
    fn line(&self, _: RequestId, stream: Stream, line: &[u8]) {
        let line = format!("{}: {}", stream.name(), String::from_utf8_lossy(line));
        self.0.borrow_mut().push(line);
    }

    fn dropped(&self, _: RequestId, _: usize) {}
}

/// A secret `key`, and nothing else.
struct Secret;

impl Services for Secret {
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Result<Given, Refused>>>> {
        let given = match ask {
            Ask::Secret { name, .. } if name == "key" => Ok(Given::Value(Some(b"s3cret".to_vec()))),
            Ask::Secret { .. } => Ok(Given::Value(None)),
            _ => Err(Refused::NotGranted),
        };
        Box::pin(std::future::ready(given))
    }
}

struct Others;

impl Outbound for Others {
    fn send(
        &self,
        request: http::Request<WasiBody>,
        _: Option<RequestOptions>,
    ) -> Pin<Box<dyn Future<Output = Answered>>> {
        let text = format!("{} {}", request.method(), request.uri());
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
        let mut response = http::Response::new(body.boxed_unsync());
        *response.status_mut() = http::StatusCode::ACCEPTED;
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn context(compat: Compat) -> (Context, Rc<Log>) {
    let log = Rc::new(Log::default());
    let grants = Grants {
        env: BTreeMap::from([("NAME".to_owned(), "shop".to_owned())]),
        config: BTreeMap::from([("colour".to_owned(), "red".to_owned())]),
        stores: vec![],
        compat,
        memory_bytes: 16 << 20,
        table_elements: 10_000,
        fuel: 0,
        handles: 64,
        hostcall_bytes: 1 << 20,
        whole_body_bytes: 1 << 20,
        log_line_bytes: 1 << 10,
        log_bytes_per_request: 64 << 10,
        subrequests: 4,
    };
    let context = Context {
        grants: Arc::new(grants),
        meter: Rc::new(Meter::new(Rc::default(), 10_000_000_000)),
        sink: Rc::clone(&log) as _,
        notes: Rc::new(Notes::default()),
        outbound: Some(Rc::new(Others)),
        services: Some(Rc::new(Secret)),
        shared: Some(Rc::default()),
        request: RequestIds::default().next(),
    };
    (context, log)
}

/// Nothing here waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..1_000 {
        let mut cx = TaskContext::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("it does not end");
}

fn exchange(path: &str, fields: &[(&'static str, &str)]) -> Exchange {
    let mut exchange = Exchange {
        scheme: "https".into(),
        authority: "shop.example".into(),
        path: path.into(),
        facts: [("request.country".to_owned(), "LU".to_owned())].into(),
        ..Exchange::default()
    };
    for (name, value) in fields {
        let value = value.parse().unwrap();
        exchange.request_headers.append(*name, value);
    }
    exchange
}

/// An instance of its own for one phase, as FastEdge has it.
fn once(
    program: &Program,
    context: &Context,
    phase: Phase,
    exchange: &mut Exchange,
) -> Result<Verdict, Failure> {
    now(async {
        let mut filter = Filter::start(program, context).await?;
        let verdict = filter.run(phase, exchange, true).await?;
        filter.finish().await?;
        Ok(verdict)
    })
}

/// What it answers by itself.
fn answer(program: &Program, context: &Context, path: &str) -> (u16, String) {
    let mut exchange = exchange(path, &[("accept", "*/*")]);
    match once(program, context, Phase::RequestHeaders, &mut exchange) {
        Ok(Verdict::Answer(answer)) => {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            (answer.status().as_u16(), text)
        }
        other => panic!("{path}: {other:?}"),
    }
}

const BOTH: [Compat; 2] = [Compat::None, Compat::Fastedge];

#[test]
fn fields_of_request_and_answer() {
    let program = program("filter-headers");
    assert!(program.filter_has(Phase::RequestHeaders));
    for compat in BOTH {
        let (context, _) = context(compat);
        let mut it = exchange("/", &[("accept", "*/*")]);
        it.response_headers.insert("server", "o".parse().unwrap());
        for phase in [Phase::RequestHeaders, Phase::ResponseHeaders] {
            let verdict = once(&program, &context, phase, &mut it).unwrap();
            assert!(matches!(verdict, Verdict::Continue));
        }
        // Four pseudo-fields and one.
        assert_eq!(it.request_headers["x-filter-count"], "5");
        assert_eq!(it.response_headers["x-filter-count"], "5");
        let server = it.response_headers.get("server");
        match compat {
            Compat::None => assert_eq!(server, None),
            Compat::Fastedge => assert_eq!(server.unwrap(), ""),
        }
    }
}

#[test]
fn every_group_of_host_functions() {
    let program = program("filter");
    let (context, log) = context(Compat::Fastedge);
    let cases = [
        (
            "/properties?a=b",
            "Some(\"/properties\")\nSome(\"/properties\")\nSome(\"a=b\")\nSome(\"GET\")\n\
             Some(\"LU\")\nSome(\"set\")\nNone\n",
        ),
        (
            "/fields",
            ":method: GET\n:scheme: https\n:authority: shop.example\n:path: /fields\naccept: */*\n",
        ),
        (
            "/services",
            "Ok(Some(\"s3cret\")) Ok(None)\nSome(\"shop\")\naccess denied\nSome(AccessDenied)\n\
             Err(AccessDenied) Err(AccessDenied) Err(AccessDenied)\n",
        ),
        ("/shared", "0 Ok(()) Err(CasMismatch)\n"),
        ("/shared", "1 Ok(()) Err(CasMismatch)\n"),
        ("/metrics", "Ok(5)\n"),
        ("/refused", "Err(InternalFailure) None Err(NotFound)\n"),
        ("/log", "logged\n"),
        ("/config", r#"{"colour":"red"}"#),
    ];
    for (path, expected) in cases {
        let (status, text) = answer(&program, &context, path);
        assert_eq!((status, &*text), (200, expected), "{path}");
    }
    let lines = log.0.take();
    let expected = [
        "stdout: by standard output",
        "stdout: by the log",
        "stderr: by the log, an error",
    ];
    assert_eq!(lines, expected);
    assert_eq!(context.notes.take_diag().as_deref(), Some("services"));
}

#[test]
fn ends_of_every_kind() {
    let program = program("filter");
    for compat in BOTH {
        let (context, _) = context(compat);
        let first = |path: &str| {
            let mut exchange = exchange(path, &[]);
            let verdict = once(&program, &context, Phase::RequestHeaders, &mut exchange);
            (verdict, exchange)
        };
        assert_eq!(first("/panic").0.unwrap_err().reason, Reason::Trapped);
        assert_eq!(first("/pause").0.unwrap_err().reason, Reason::NoResponse);
        assert!(matches!(first("/close").0, Ok(Verdict::Close)));
        let (verdict, exchange) = first("/elsewhere?https://other.example/x");
        assert!(matches!(verdict, Ok(Verdict::Continue)));
        assert_eq!(exchange.reroute.as_deref(), Some("https://other.example/x"));
        // A property goes from one instance to the next.
        let (_, mut exchange) = first("/page");
        once(&program, &context, Phase::ResponseHeaders, &mut exchange).unwrap();
        assert_eq!(exchange.response_headers["x-seen"], "/page");
        let status = match compat {
            Compat::None => "[200, 0, 0, 0, 0, 0, 0, 0]",
            Compat::Fastedge => "[0, 200]",
        };
        assert_eq!(exchange.response_headers["x-status"], status);
    }
}

#[test]
fn whole_bodies_in_one_instance() {
    let program = program("filter-body");
    let (context, _) = context(Compat::None);
    let mut it = exchange("/", &[("content-length", "4")]);
    now(async {
        let mut filter = Filter::start(&program, &context).await.unwrap();
        filter
            .run(Phase::RequestHeaders, &mut it, false)
            .await
            .unwrap();
        it.request_body = Bytes::from_static(b"bo");
        let verdict = filter
            .run(Phase::RequestBody, &mut it, false)
            .await
            .unwrap();
        assert!(matches!(verdict, Verdict::Pause));
        it.request_body = Bytes::from_static(b"body");
        let verdict = filter.run(Phase::RequestBody, &mut it, true).await.unwrap();
        assert!(matches!(verdict, Verdict::Continue));
        filter
            .run(Phase::ResponseHeaders, &mut it, false)
            .await
            .unwrap();
        it.response_body = Bytes::from_static(b"answer");
        filter
            .run(Phase::ResponseBody, &mut it, true)
            .await
            .unwrap();
        filter.finish().await.unwrap();
    });
    assert_eq!(it.request_headers.get("content-length"), None);
    assert_eq!(
        (&*it.request_body, &*it.response_body),
        (&b"BODY"[..], &b"[answer]"[..])
    );
}

/// The same filter where its hook is called again and where it is not.
#[test]
fn calls_to_others() {
    let program = program("filter-call");
    for compat in BOTH {
        let (context, _) = context(compat);
        let mut it = exchange("/", &[("x-ask", "api.example:81")]);
        let verdict = once(&program, &context, Phase::RequestHeaders, &mut it).unwrap();
        assert!(matches!(verdict, Verdict::Continue), "{verdict:?}");
        assert_eq!(
            it.request_headers["x-answer"],
            "202 GET http://api.example:81/answer"
        );
    }
}

#[test]
fn a_signature_with_a_secret() {
    let program = program("filter-authorize");
    let (context, _) = context(Compat::Fastedge);
    // printf /a?b | openssl dgst -sha256 -hmac s3cret
    let good = "67f63d229dd970d98785758f9cb67a63c41f001d3d539f7cc0e424f3f074ab72";
    for (path, signature, passes) in [
        ("/a?b", good, true),
        ("/a?c", good, false),
        ("/a?b", "", false),
    ] {
        let mut it = exchange(path, &[("authorization", signature)]);
        match once(&program, &context, Phase::RequestHeaders, &mut it).unwrap() {
            Verdict::Continue => assert!(passes, "{path} {signature}"),
            Verdict::Answer(answer) => {
                assert!(!passes, "{path} {signature}");
                assert_eq!(answer.status(), 401);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn assemblyscript() {
    let program = program("filter-as");
    let (context, log) = context(Compat::Fastedge);
    let (status, text) = answer(&program, &context, "/denied");
    assert_eq!((status, &*text), (403, "denied\n"));
    let mut it = exchange("/page", &[]);
    for phase in [Phase::RequestHeaders, Phase::ResponseHeaders] {
        once(&program, &context, phase, &mut it).unwrap();
    }
    assert_eq!(it.request_headers["x-as"], "/page shop s3cret");
    assert_eq!(it.response_headers["x-as"], r#"{"colour":"red"}"#);
    let lines = log.0.take();
    assert!(
        lines.iter().any(|line| line.contains("path /page")),
        "{lines:?}"
    );
}
