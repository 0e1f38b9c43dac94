//! Filters written by hand, driven as the worker does.

mod junk;
mod life;
mod outside;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use super::*;
use crate::config::Profile;
use crate::engine::settings::compile_counting;
use crate::engine::{Engines, Meter};
use crate::guest::{Grants, LineSink, Notes, RequestId, RequestIds, Stream};

/// What every filter here has: a memory of one page, whose second half it allocates from, one behind
/// the other.
const COMMON: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 32768))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get $size))))
"#;

/// A filter of this text.
fn program(text: &str) -> Program {
    counting(text, false).unwrap()
}

fn counting(text: &str, fuel: bool) -> Result<Program, String> {
    let module = format!("(module {text})");
    let bytes = wat::parse_str(&module).map_err(|error| error.to_string())?;
    load(&bytes, fuel)
}

fn load(bytes: &[u8], fuel: bool) -> Result<Program, String> {
    let profile = Profile::find("local", Path::new("")).unwrap();
    let (flavour, artifact) = compile_counting(bytes, &profile, fuel)?;
    assert!(flavour.is_filter() && flavour.counts_fuel() == fuel);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), artifact).unwrap();
    let engines = Engines::new(profile, true, |_| {});
    engines
        .load(flavour, file.as_file().as_fd())
        .map_err(|error| error.to_string())
}

/// Log lines.
#[derive(Default)]
pub(super) struct Seen(RefCell<Vec<String>>);

impl LineSink for Seen {
    fn line(&self, _: RequestId, stream: Stream, line: &[u8]) {
        let line = format!("{} {}", stream.name(), String::from_utf8_lossy(line));
        self.0.borrow_mut().push(line);
    }

    fn dropped(&self, _: RequestId, bytes: usize) {
        self.0.borrow_mut().push(format!("dropped {bytes}"));
    }
}

fn grants(compat: Compat) -> Grants {
    Grants {
        env: BTreeMap::from([("NAME".to_owned(), "value".to_owned())]),
        config: BTreeMap::new(),
        stores: vec!["shop".to_owned()],
        compat,
        memory_bytes: 1 << 20,
        table_elements: 100,
        fuel: 1_000_000,
        handles: 16,
        hostcall_bytes: 128 << 10,
        whole_body_bytes: 1 << 10,
        log_line_bytes: 1 << 10,
        log_bytes_per_request: 4 << 10,
        subrequests: 3,
    }
}

/// A context, and what is logged in it.
fn context(grants: Grants) -> (Context, Rc<Seen>) {
    let seen = Rc::new(Seen::default());
    let context = Context {
        grants: Arc::new(grants),
        meter: Rc::new(Meter::new(Rc::default(), 10_000_000_000)),
        sink: Rc::clone(&seen) as _,
        notes: Rc::new(Notes::default()),
        outbound: None,
        services: None,
        shared: Some(Rc::default()),
        request: RequestIds::default().next(),
    };
    (context, seen)
}

/// Nothing here waits: a future that is pending so often never ends.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = TaskContext::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
    panic!("it does not end");
}

fn exchange() -> Exchange {
    Exchange {
        scheme: "https".into(),
        authority: "shop.example".into(),
        path: "/a?b".into(),
        upstream: "origin.example".into(),
        request_headers: headers(&[("accept", "text/html"), ("x-two", "1"), ("x-two", "2")]),
        response_headers: headers(&[("server", "origin")]),
        ..Exchange::default()
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> http::HeaderMap {
    let mut map = http::HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, value.parse().unwrap());
    }
    map
}

/// Runs one phase of a filter from start to finish; what it wrote into its memory's first bytes, too.
fn run(text: &str, phase: Phase, context: &Context, exchange: &mut Exchange) -> (Outcome, Vec<u8>) {
    let program = program(text);
    now(async {
        let mut filter = match Filter::start(&program, context).await {
            Ok(filter) => filter,
            Err(failure) => return (Err(failure), Vec::new()),
        };
        let verdict = filter.run(phase, exchange, true).await;
        let memory = filter.active().memory.unwrap();
        let written = memory.data(&filter.account.store)[..4096].to_vec();
        if verdict.is_ok() {
            filter.finish().await.unwrap();
        }
        (verdict, written)
    })
}

type Outcome = Result<Verdict, Failure>;

/// A number that a filter wrote.
fn number(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
}

/// A hook that does this and goes on.
fn hook(phase: Phase, body: &str) -> String {
    let name = phase.export();
    format!(
        r#"(func (export "{name}") (param $context i32) (param $size i32) (param $end i32) (result i32)
            {body} (i32.const 0))"#
    )
}
