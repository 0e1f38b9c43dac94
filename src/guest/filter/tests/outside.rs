//! What a filter reaches outside of its request: calls, data, output, clocks.

use std::cell::Cell;

use http_body_util::BodyExt;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{RequestOptions, WasiBody};

use super::*;
use crate::data::kv::{Answer, Query};
use crate::data::{Ask, CacheAsk, Given, Refused};
use crate::guest::fastedge::handler::full;
use crate::guest::{Answered, Outbound, Services};

/// Answers every call with its number, or not at all.
#[derive(Default)]
struct Others {
    asked: RefCell<Vec<String>>,
    is_down: Cell<bool>,
}

impl Outbound for Others {
    fn send(
        &self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Answered>>> {
        let timeout = options.and_then(|options| options.first_byte_timeout);
        let (parts, body) = request.into_parts();
        let body = now(body.collect()).unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body);
        self.asked
            .borrow_mut()
            .push(format!("{} {} {body} {timeout:?}", parts.method, parts.uri));
        let answer = format!("answer {}", self.asked.borrow().len());
        let is_down = self.is_down.get();
        Box::pin(async move {
            if is_down {
                return Err(ErrorCode::ConnectionRefused);
            }
            let mut response = http::Response::new(full(Some(answer.into_bytes())));
            response
                .headers_mut()
                .insert("x-from", "others".parse().unwrap());
            Ok(response)
        })
    }
}

/// Calls once for each time that its hook runs, three times at the most; counts hooks at 0, callbacks at
/// 4; the callback's numbers are at 8, the last answer's body at 200.
fn caller(in_callback: &str) -> String {
    format!(
        r#"
        (import "env" "proxy_http_call"
            (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
        {COMMON}
        (data (i32.const 100) "api.example")
        (data (i32.const 120) "body")
        (func $increment (param i32)
            (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1))))
        (func $out
            (i32.store (i32.const 40)
                (call $call (i32.const 100) (i32.const 11) (i32.const 0) (i32.const 0) (i32.const 120)
                    (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 250) (i32.const 44))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
            (call $increment (i32.const 0))
            (if (i32.gt_u (i32.load (i32.const 0)) (i32.const 2)) (then (return (i32.const 0))))
            (call $out)
            (i32.const 1))
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
            (call $increment (i32.const 4))
            (i32.store (i32.const 8) (local.get 1))
            (i32.store (i32.const 12) (local.get 2))
            (i32.store (i32.const 16) (local.get 3))
            (drop (call $bytes (i32.const 4) (i32.const 0) (i32.const -1) (i32.const 20) (i32.const 24)))
            (memory.copy (i32.const 200) (i32.load (i32.const 20)) (i32.load (i32.const 24)))
            {in_callback})"#
    )
}

fn calling(compat: Compat, in_callback: &str, is_down: bool) -> (Outcome, Vec<u8>, Vec<String>) {
    let (mut context, _) = context(grants(compat));
    let others = Rc::new(Others::default());
    others.is_down.set(is_down);
    context.outbound = Some(Rc::clone(&others) as _);
    let text = caller(in_callback);
    let (verdict, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
    let asked = others.asked.take();
    (verdict, memory, asked)
}

const CONTINUE: &str = "(drop (call $continue (i32.const 0)))";

#[test]
fn at_gcore_a_hook_is_called_again_until_it_waits_no_more() {
    let (verdict, memory, asked) = calling(Compat::Fastedge, CONTINUE, false);
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    assert_eq!((number(&memory, 0), number(&memory, 4)), (3, 2));
    let call = "GET https://api.example/ body Some(250ms)";
    assert_eq!(asked, [call, call]);
    // Its token, its fields with the status, its body.
    assert_eq!([8, 12, 16].map(|at| number(&memory, at)), [2, 2, 8]);
    assert_eq!(&memory[200..208], b"answer 2");
}

#[test]
fn elsewhere_it_goes_on_when_it_says_so() {
    let (verdict, memory, asked) = calling(Compat::None, CONTINUE, false);
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    assert_eq!(
        (number(&memory, 0), number(&memory, 4), asked.len()),
        (1, 1, 1)
    );
    // One that calls again waits again, as often as its request may.
    let (verdict, memory, asked) = calling(Compat::None, "(call $out)", false);
    let failure = verdict.unwrap_err();
    assert_eq!(failure.reason, Reason::NoResponse, "{}", failure.detail);
    assert_eq!((number(&memory, 4), asked.len()), (3, 3));
    assert_eq!(number(&memory, 40), 10, "the fourth call was refused");
    // One that does nothing waits for nothing.
    let (verdict, ..) = calling(Compat::None, "", false);
    assert!(verdict.unwrap_err().detail.contains("waits for no call"));
}

#[test]
fn a_call_that_fails_has_no_fields() {
    let (verdict, memory, _) = calling(Compat::None, CONTINUE, true);
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    assert_eq!([8, 12, 16].map(|at| number(&memory, at)), [1, 0, 0]);
}

/// Two instances of one request.
#[test]
fn calls_and_output_are_counted_over_all_instances() {
    let (mut context, seen) = context(grants(Compat::Fastedge));
    let others = Rc::new(Others::default());
    context.outbound = Some(Rc::clone(&others) as _);
    let program = program(&caller(""));
    for (status, total) in [(0, 2), (10, 3)] {
        now(async {
            let mut filter = Filter::start(&program, &context).await.unwrap();
            let _ = filter
                .run(Phase::RequestHeaders, &mut exchange(), true)
                .await;
            let memory = filter.active().memory.unwrap();
            let memory = memory.data(&filter.account.store).to_vec();
            assert_eq!(number(&memory, 40), status);
        });
        assert_eq!(others.asked.borrow().len(), total);
    }
    let log = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let line = "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 3000)))";
    let text = format!("{log} {COMMON} {}", hook(Phase::RequestHeaders, line));
    for _ in 0..2 {
        let _ = run(&text, Phase::RequestHeaders, &context, &mut exchange());
    }
    let seen = seen.0.take();
    assert!(
        seen.iter().any(|line| line.starts_with("dropped")),
        "{seen:?}"
    );
}

/// A store that holds what it was asked for.
struct Kept;

impl Services for Kept {
    fn ask(&self, ask: Ask) -> std::pin::Pin<Box<dyn Future<Output = Result<Given, Refused>>>> {
        let given = match ask {
            Ask::Secret { name, at } if name == "key" => {
                Ok(Given::Value(Some(format!("secret {at:?}").into_bytes())))
            }
            Ask::Secret { .. } => Ok(Given::Value(None)),
            Ask::Query { query, .. } => Ok(Given::Kv(match query {
                Query::Get(keys) => Answer::Values(
                    keys.into_iter()
                        .map(|key| (key == "key").then(|| b"value".to_vec()))
                        .collect(),
                ),
                Query::Scan { pattern } => Answer::Keys(vec![pattern, "b".to_owned()]),
                Query::RangeByScore { min, max, .. } => {
                    Answer::Members(vec![(b"m".to_vec(), min), (b"n".to_vec(), max)])
                }
                Query::ScanMembers { pattern, .. } => {
                    Answer::Members(vec![(pattern.into_bytes(), 2.0)])
                }
                _ => Answer::Bool(true),
            })),
            Ask::Cache(CacheAsk::Get { key }) => {
                Ok(Given::Value((key == "key").then(|| b"cached".to_vec())))
            }
            Ask::Cache(CacheAsk::Increment { delta, .. }) => Ok(Given::Count(delta)),
            Ask::Cache(CacheAsk::Expire { ttl_ms, .. }) => Ok(Given::Bool(ttl_ms == 5)),
            Ask::Cache(CacheAsk::Exists { .. }) => Ok(Given::Bool(true)),
            Ask::Cache(CacheAsk::Purge | CacheAsk::PurgePrefix { .. }) => Ok(Given::Count(7)),
            Ask::Cache(CacheAsk::Set {
                ttl_ms: Some(_), ..
            }) => Err(Refused::NotGranted),
            _ => Ok(Given::Done),
        };
        Box::pin(std::future::ready(given))
    }
}

/// One call: its import, its arguments, its status, and what it gives (bytes by way of 4 and 8, or what
/// lies at 16).
type Case<'c> = (&'c str, &'c str, &'c str, u32, Option<&'c [u8]>);

#[test]
fn what_the_host_keeps_reaches_filters_in_the_sdks_form() {
    // "key" is at 100, "no" at 104, "shop" at 108, "NAME" at 113.
    let cases: [Case<'_>; 27] = [
        (
            "proxy_secret_get",
            "iiii",
            "100 3 4 8",
            0,
            Some(b"secret None"),
        ),
        (
            "proxy_get_secret",
            "iiii",
            "100 3 4 8",
            0,
            Some(b"secret None"),
        ),
        ("proxy_secret_get", "iiii", "104 2 4 8", 1, None),
        (
            "proxy_secret_get_effective_at",
            "iiiii",
            "100 3 9 4 8",
            0,
            Some(b"secret Some(9)"),
        ),
        (
            "proxy_get_effective_at_secret",
            "iiiii",
            "100 3 9 4 8",
            0,
            Some(b"secret Some(9)"),
        ),
        (
            "proxy_dictionary_get",
            "iiii",
            "113 4 4 8",
            0,
            Some(b"value"),
        ),
        ("proxy_dictionary_get", "iiii", "104 2 4 8", 1, None),
        ("proxy_kv_store_open", "iii", "104 2 16", 2, None),
        (
            "proxy_kv_store_get",
            "iiiii",
            "0 100 3 4 8",
            0,
            Some(b"value"),
        ),
        ("proxy_kv_store_get", "iiiii", "0 104 2 4 8", 0, None),
        ("proxy_kv_store_get", "iiiii", "77 100 3 4 8", 2, None),
        (
            "proxy_kv_store_scan",
            "iiiii",
            "0 104 2 4 8",
            0,
            Some(b"\x02\0\0\0\x02\0\0\0\x01\0\0\0no\0b\0"),
        ),
        (
            "proxy_kv_store_zrange_by_score",
            "iiiffii",
            "0 100 3 1.5 inf 4 8",
            0,
            Some(b"\x02\0\0\0\x09\0\0\0\x09\0\0\0m\0\0\0\0\0\0\xf8\x3f\0n\0\0\0\0\0\0\xf0\x7f\0"),
        ),
        (
            "proxy_kv_store_zscan",
            "iiiiiii",
            "0 100 3 104 2 4 8",
            0,
            Some(b"\x01\0\0\0\x0a\0\0\0no\0\0\0\0\0\0\0\x40\0"),
        ),
        (
            "proxy_kv_store_bf_exists",
            "iiiiii",
            "0 100 3 104 2 16",
            0,
            Some(&[1, 0, 0, 0]),
        ),
        ("proxy_cache_get", "iiii", "100 3 4 8", 0, Some(b"cached")),
        ("proxy_cache_get", "iiii", "104 2 4 8", 1, None),
        ("proxy_cache_set", "iiiiI", "100 3 104 2 0", 0, None),
        ("proxy_cache_set", "iiiiI", "100 3 104 2 1", 2, None),
        ("proxy_cache_delete", "ii", "100 3", 0, None),
        (
            "proxy_cache_exists",
            "iii",
            "100 3 16",
            0,
            Some(&[1, 0, 0, 0]),
        ),
        (
            "proxy_cache_incr",
            "iiIi",
            "100 3 -2 16",
            0,
            Some(&[0xfe, 255, 255, 255, 255, 255, 255, 255]),
        ),
        (
            "proxy_cache_expire",
            "iiIi",
            "100 3 5 16",
            0,
            Some(&[1, 0, 0, 0]),
        ),
        (
            "proxy_cache_purge",
            "i",
            "16",
            0,
            Some(&[7, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "proxy_cache_purge_prefix",
            "iii",
            "100 3 16",
            0,
            Some(&[7, 0, 0, 0]),
        ),
        ("stats_set_user_diag", "ii", "100 3", 0, None),
        (
            "proxy_kv_store_open",
            "iii",
            "108 4 16",
            0,
            Some(&[1, 0, 0, 0]),
        ),
    ];
    let (mut context, _) = context(grants(Compat::Fastedge));
    context.services = Some(Rc::new(Kept));
    for (name, kinds, arguments, status, expected) in cases {
        let kind = |kind| match kind {
            'I' => "i64",
            'f' => "f64",
            _ => "i32",
        };
        let parameters: Vec<_> = kinds.chars().map(kind).collect();
        let values = parameters.iter().zip(arguments.split(' '));
        let values: String = values
            .map(|(kind, value)| format!("({kind}.const {value})"))
            .collect();
        let text = format!(
            r#"(import "env" "{name}" (func $it (param {}) (result i32)))
            (import "env" "proxy_kv_store_open" (func $open (param i32 i32 i32) (result i32)))
            (data (i32.const 100) "key\00no\00\00shop\00NAME") {COMMON} {}"#,
            parameters.join(" "),
            hook(
                Phase::RequestHeaders,
                &format!(
                    "(drop (call $open (i32.const 108) (i32.const 4) (i32.const 12)))
                    (i32.store (i32.const 0) (call $it {values}))
                    (memory.copy (i32.const 200) (i32.load (i32.const 4)) (i32.load (i32.const 8)))"
                )
            )
        );
        let (verdict, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
        assert!(
            matches!(verdict, Ok(Verdict::Continue)),
            "{name}: {verdict:?}"
        );
        assert_eq!(
            (number(&memory, 12), number(&memory, 0)),
            (0, status),
            "{name}({arguments})"
        );
        let Some(expected) = expected else {
            assert_eq!(number(&memory, 4), 0, "{name} gives nothing");
            continue;
        };
        let given = match arguments.ends_with("4 8") {
            true => &memory[200..200 + number(&memory, 8) as usize],
            false => &memory[16..16 + expected.len()],
        };
        assert_eq!(given, expected, "{name}({arguments})");
    }
    assert_eq!(context.notes.take_diag().as_deref(), Some("key"));
}

#[test]
fn shared_data_outlives_instances_and_metrics_do_not() {
    let text = format!(
        r#"
        (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_define_metric" (func $define (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
        (import "env" "proxy_get_metric" (func $metric (param i32 i32) (result i32)))
        (data (i32.const 100) "key value") {COMMON} {}"#,
        hook(
            Phase::RequestHeaders,
            "(i32.store (i32.const 0)
                (call $get (i32.const 100) (i32.const 3) (i32.const 4) (i32.const 8) (i32.const 12)))
            (i32.store (i32.const 16) (call $set (i32.const 100) (i32.const 3) (i32.const 104)
                (i32.const 5) (i32.load (i32.const 12))))
            (i32.store (i32.const 20) (call $set (i32.const 100) (i32.const 3) (i32.const 104)
                (i32.const 5) (i32.const 999)))
            (drop (call $define (i32.const 0) (i32.const 100) (i32.const 3) (i32.const 24)))
            (drop (call $define (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 28)))
            (drop (call $increment (i32.const 1) (i64.const 5)))
            (drop (call $increment (i32.const 1) (i64.const -2)))
            (i32.store (i32.const 32) (call $metric (i32.const 1) (i32.const 40)))
            (i32.store (i32.const 36) (call $metric (i32.const 2) (i32.const 48)))"
        )
    );
    let (context, _) = context(grants(Compat::None));
    for (status, cas) in [(1, 0), (0, 1), (0, 2)] {
        let (_, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
        let numbers = [0, 12, 16, 20].map(|at| number(&memory, at));
        assert_eq!(numbers, [status, cas, 0, 8]);
        let numbers = [24, 28, 32, 36, 40].map(|at| number(&memory, at));
        assert_eq!(numbers, [0, 1, 0, 1, 3]);
    }
}

#[test]
fn output_environment_and_clocks_are_those_of_every_guest() {
    let wasi = "wasi_snapshot_preview1";
    let text = format!(
        r#"
        (import "{wasi}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "{wasi}" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "{wasi}" "environ_get" (func $environ (param i32 i32) (result i32)))
        (import "{wasi}" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "{wasi}" "random_get" (func $random (param i32 i32) (result i32)))
        (import "{wasi}" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_get_current_time_nanoseconds" (func $now (param i32) (result i32)))
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (data (i32.const 100) "one\0atwo")
        (data (i32.const 120) "\64\00\00\00\04\00\00\00\68\00\00\00\03\00\00\00")
        {COMMON} {}"#,
        hook(
            Phase::RequestHeaders,
            "(i32.store (i32.const 0) (call $write (i32.const 1) (i32.const 120) (i32.const 2) (i32.const 4)))
            (i32.store (i32.const 8) (call $write (i32.const 3) (i32.const 120) (i32.const 2) (i32.const 4)))
            (drop (call $sizes (i32.const 12) (i32.const 16)))
            (drop (call $environ (i32.const 200) (i32.const 300)))
            (drop (call $time (i32.const 0) (i64.const 0) (i32.const 24)))
            (drop (call $now (i32.const 32)))
            (i32.store (i32.const 40) (call $time (i32.const 2) (i64.const 0) (i32.const 48)))
            (drop (call $random (i32.const 400) (i32.const 32)))
            (i32.store (i32.const 44) (call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (drop (call $log (i32.const 2) (i32.const 104) (i32.const 3)))
            (drop (call $log (i32.const 3) (i32.const 100) (i32.const 3)))"
        )
    );
    let (context, seen) = context(grants(Compat::None));
    let (verdict, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    assert_eq!([0, 4, 8].map(|at| number(&memory, at)), [0, 7, 8]);
    assert_eq!((number(&memory, 12), number(&memory, 16)), (1, 11));
    assert_eq!(number(&memory, 200), 300);
    assert_eq!(&memory[300..311], b"NAME=value\0");
    assert_eq!(
        memory[24..32],
        memory[32..40],
        "time stands still in a slice"
    );
    assert_ne!(memory[24..32], [0; 8]);
    assert_eq!((number(&memory, 40), number(&memory, 44)), (28, 58));
    assert_ne!(memory[400..432], [0; 32]);
    let expected = ["stdout one", "stdout twotwo", "stderr one"];
    assert_eq!(seen.0.take(), expected);
}
