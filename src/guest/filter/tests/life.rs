//! A filter from its start to its end, and what it changes in between.

use super::*;

/// Imports and texts for what follows: a field's name at 100, its value at 120.
const FIELDS: &str = r#"
    (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (data (i32.const 100) "x-new")
    (data (i32.const 110) "x-two")
    (data (i32.const 120) "value")
    (data (i32.const 130) "absent")
    (data (i32.const 140) ":path/c?d")
"#;

fn changed(compat: Compat, phase: Phase, body: &str) -> (Exchange, Vec<u8>) {
    let (context, _) = context(grants(compat));
    let mut exchange = exchange();
    let text = format!("{FIELDS} {COMMON} {}", hook(phase, body));
    let (verdict, memory) = run(&text, phase, &context, &mut exchange);
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    (exchange, memory)
}

fn values(map: &http::HeaderMap, name: &str) -> Vec<String> {
    let values = map.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

#[test]
fn fields_are_added_replaced_and_taken_away() {
    let body = r#"
        (i32.store (i32.const 0)
            (call $add (i32.const 0) (i32.const 100) (i32.const 5) (i32.const 120) (i32.const 5)))
        (i32.store (i32.const 4)
            (call $replace (i32.const 0) (i32.const 140) (i32.const 5) (i32.const 145) (i32.const 4)))
        (i32.store (i32.const 8) (call $remove (i32.const 0) (i32.const 110) (i32.const 5)))
        (i32.store (i32.const 12) (call $remove (i32.const 0) (i32.const 140) (i32.const 5)))
        (i32.store (i32.const 16)
            (call $add (i32.const 2) (i32.const 100) (i32.const 5) (i32.const 120) (i32.const 5)))
        (i32.store (i32.const 20)
            (call $add (i32.const 0) (i32.const 100) (i32.const 6) (i32.const 120) (i32.const 5)))
    "#;
    for (compat, two) in [(Compat::None, vec![]), (Compat::Fastedge, vec![""])] {
        let (exchange, memory) = changed(compat, Phase::RequestHeaders, body);
        let statuses: Vec<_> = (0..6).map(|at| number(&memory, 4 * at)).collect();
        assert_eq!(statuses, [0, 0, 0, 2, 2, 2]);
        assert_eq!(values(&exchange.request_headers, "x-new"), ["value"]);
        assert_eq!(values(&exchange.request_headers, "x-two"), two);
        assert_eq!(exchange.path, "/c?d");
        assert!(!exchange.response_headers.contains_key("x-new"));
    }
}

/// At Gcore a field that is not there reads as an empty one.
#[test]
fn a_field_is_read_as_each_world_has_it() {
    let body = r#"
        (i32.store (i32.const 0)
            (call $get (i32.const 0) (i32.const 110) (i32.const 5) (i32.const 4) (i32.const 8)))
        (i32.store (i32.const 16)
            (call $get (i32.const 0) (i32.const 130) (i32.const 6) (i32.const 20) (i32.const 24)))
        (memory.copy (i32.const 200) (i32.load (i32.const 4)) (i32.load (i32.const 8)))
    "#;
    let expected: [(Compat, &[u8], u32, bool); 2] = [
        (Compat::None, b"1,2", 1, false),
        (Compat::Fastedge, b"1", 0, true),
    ];
    for (compat, value, absent, has_address) in expected {
        let (_, memory) = changed(compat, Phase::ResponseHeaders, body);
        assert_eq!(
            (number(&memory, 0), number(&memory, 8)),
            (0, value.len() as u32)
        );
        assert_eq!(&memory[200..200 + value.len()], value);
        let address = number(&memory, 20) != 0;
        assert_eq!(
            (number(&memory, 16), address),
            (absent, has_address),
            "{compat:?}"
        );
        assert_eq!(number(&memory, 24), 0);
    }
}

#[test]
fn pairs_begin_with_what_is_no_field_elsewhere() {
    let body = r#"
        (i32.store (i32.const 0) (call $pairs (i32.const 2) (i32.const 4) (i32.const 8)))
        (memory.copy (i32.const 200) (i32.load (i32.const 4)) (i32.load (i32.const 8)))
    "#;
    let (_, memory) = changed(Compat::None, Phase::ResponseHeaders, body);
    let pairs = &memory[200..200 + number(&memory, 8) as usize];
    let expected: Vec<(&[u8], &[u8])> = vec![(b":status", b"200"), (b"server", b"origin")];
    assert_eq!(wire::parse_pairs(pairs), Some(expected));
    // In a request there is no answer yet.
    let (_, memory) = changed(Compat::None, Phase::RequestHeaders, body);
    assert_eq!((number(&memory, 0), number(&memory, 8)), (0, 4));
}

/// Each function of a life writes down its number.
#[test]
fn functions_are_called_in_their_order() {
    let mut text = String::from(COMMON);
    text += "(global $at (mut i32) (i32.const 0))
        (func $note (param i32)
            (i32.store8 (global.get $at) (local.get 0))
            (global.set $at (i32.add (global.get $at) (i32.const 1))))";
    let functions: [(&str, &str, u8); 8] = [
        ("_initialize", "", 1),
        ("proxy_on_context_create", "(param i32 i32)", 2),
        ("proxy_on_vm_start", "(param i32 i32) (result i32)", 3),
        ("proxy_on_configure", "(param i32 i32) (result i32)", 4),
        (
            "proxy_on_request_headers",
            "(param i32 i32 i32) (result i32)",
            5,
        ),
        ("proxy_on_done", "(param i32) (result i32)", 6),
        ("proxy_on_log", "(param i32)", 7),
        ("proxy_on_delete", "(param i32)", 8),
    ];
    for (name, kind, number) in functions {
        let result = match (kind.contains("result"), number) {
            (true, 5) => "(i32.const 0)",
            (true, _) => "(i32.const 1)",
            (false, _) => "",
        };
        text += &format!(
            r#"(func (export "{name}") {kind} (call $note (i32.const {number})) {result})"#
        );
    }
    let program = program(&text);
    for (compat, end) in [(Compat::None, &[6, 7, 8][..]), (Compat::Fastedge, &[6, 8])] {
        let (context, _) = context(grants(compat));
        now(async {
            let mut filter = Filter::start(&program, &context).await.unwrap();
            assert!(filter.has(Phase::RequestHeaders) && !filter.has(Phase::ResponseBody));
            let mut exchange = exchange();
            for phase in Phase::ALL {
                let verdict = filter.run(phase, &mut exchange, true).await;
                assert!(matches!(verdict, Ok(Verdict::Continue)));
            }
            assert_eq!(exchange.path, "/a?b", "it is given back");
            filter.end().await.unwrap();
            let memory = filter.active().memory.unwrap();
            let written = &memory.data(&filter.account.store)[..10];
            let expected = [&[1, 2, 3, 4, 2, 5], end, &[0; 4]].concat();
            assert_eq!(written, &expected[..10]);
        });
    }
}

#[test]
fn a_filter_can_refuse_to_start() {
    for (name, said) in [
        ("proxy_on_vm_start", "refused to start"),
        ("proxy_on_configure", "refused its configuration"),
    ] {
        let function =
            format!(r#"(func (export "{name}") (param i32 i32) (result i32) (i32.const 0))"#);
        let (context, _) = context(grants(Compat::None));
        let text = format!("{COMMON} {function}");
        let (refused, _) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason, Reason::ComponentRejected);
        assert!(refused.detail.contains(said), "{}", refused.detail);
    }
}

#[test]
fn its_configuration_is_the_tenants_as_json() {
    let text = format!(
        r#"(import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
        {COMMON}
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.store (i32.const 0) (local.get 1))
            (drop (call $bytes (i32.const 7) (i32.const 0) (i32.const -1) (i32.const 4) (i32.const 8)))
            (memory.copy (i32.const 200) (i32.load (i32.const 4)) (i32.load (i32.const 8)))
            (i32.const 1))"#
    );
    for (config, expected) in [
        (vec![], ""),
        (vec![("b", "2"), ("a", "\"1\"")], r#"{"a":"\"1\"","b":"2"}"#),
    ] {
        let mut grants = grants(Compat::None);
        let pairs = config.into_iter();
        grants.config = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        let (context, _) = context(grants);
        let (_, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
        // It has no hook: it was read all the same.
        let size = expected.len();
        assert_eq!(
            (number(&memory, 0), number(&memory, 8)),
            (size as u32, size as u32)
        );
        assert_eq!(&memory[200..200 + size], expected.as_bytes());
    }
}

const ANSWER: &str = r#"
    (import "env" "proxy_send_local_response"
        (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
    (data (i32.const 100) "\01\00\00\00\01\00\00\00\02\00\00\00a\00bc\00")
    (data (i32.const 130) "body")
"#;

#[test]
fn a_filter_answers_and_closes() {
    let pause = |body: &str| {
        format!(
            r#"{ANSWER} {COMMON} (func (export "proxy_on_request_headers")
                (param i32 i32 i32) (result i32) {body} (i32.const 1))"#
        )
    };
    let (context, _) = context(grants(Compat::None));
    let phase = Phase::RequestHeaders;
    let answer = "(drop (call $answer (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 130)
        (i32.const 4) (i32.const 100) (i32.const 17) (i32.const -1)))";
    let (verdict, _) = run(&pause(answer), phase, &context, &mut exchange());
    let Ok(Verdict::Answer(answer)) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["a"], "bc");
    assert_eq!(answer.body(), "body");
    let (verdict, _) = run(
        &pause("(drop (call $close (i32.const 0)))"),
        phase,
        &context,
        &mut exchange(),
    );
    assert!(matches!(verdict, Ok(Verdict::Close)), "{verdict:?}");
    // No final status; fields that are none: it is told, and goes on.
    for (status, size) in [(100, 17), (0, 17), (70_000, 17), (1_000, 17), (200, 16)] {
        let bad = format!(
            "(i32.store (i32.const 0) (call $answer (i32.const {status}) (i32.const 0) (i32.const 0)
                (i32.const 130) (i32.const 4) (i32.const 100) (i32.const {size}) (i32.const -1)))"
        );
        let text = format!("{ANSWER} {COMMON} {}", hook(phase, &bad));
        let (verdict, memory) = run(&text, phase, &context, &mut exchange());
        assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
        assert_eq!(number(&memory, 0), 2, "{status} {size}");
    }
}

/// Nothing could make it go on; of a body, there may be more.
#[test]
fn a_pause_without_anything_to_wait_for_is_a_failure() {
    for compat in [Compat::None, Compat::Fastedge] {
        for (phase, end, is_pause) in [
            (Phase::RequestHeaders, true, false),
            (Phase::ResponseHeaders, false, false),
            (Phase::RequestBody, false, true),
            (Phase::RequestBody, true, false),
        ] {
            let name = phase.export();
            let text = format!(
                r#"{COMMON} (func (export "{name}") (param i32 i32 i32) (result i32) (i32.const 1))"#
            );
            let program = program(&text);
            let (context, _) = context(grants(compat));
            let verdict = now(async {
                let mut filter = Filter::start(&program, &context).await.unwrap();
                filter.run(phase, &mut exchange(), end).await
            });
            match verdict {
                Ok(Verdict::Pause) => assert!(is_pause, "{name} {end}"),
                Err(failure) => {
                    assert!(!is_pause, "{name} {end}");
                    assert_eq!(failure.reason, Reason::NoResponse);
                    assert!(failure.detail.starts_with(name), "{}", failure.detail);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_body_is_changed_in_all_its_parts() {
    let import = r#"(import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (data (i32.const 100) "new")"#;
    let phase = Phase::ResponseBody;
    let cases = [
        ((1, 0, 0, 3), 0, "newold body"),
        ((1, 0, -1, 3), 0, "new"),
        ((1, 0, 8, 3), 0, "new"),
        ((1, 3, 0, 3), 0, "oldnew body"),
        ((1, 4, 2, 3), 0, "old newdy"),
        ((1, 999, 7, 3), 0, "old bodynew"),
        ((1, 0, 3, 0), 0, " body"),
        ((0, 0, 0, 3), 2, "old body"),
        ((7, 0, 0, 3), 2, "old body"),
    ];
    for ((buffer, start, size, length), status, expected) in cases {
        let call = format!(
            "(i32.store (i32.const 0) (call $set (i32.const {buffer}) (i32.const {start})
                (i32.const {size}) (i32.const 100) (i32.const {length})))"
        );
        let (context, _) = context(grants(Compat::None));
        let mut exchange = exchange();
        exchange.response_body = Bytes::from_static(b"old body");
        let text = format!("{import} {COMMON} {}", hook(phase, &call));
        let (_, memory) = run(&text, phase, &context, &mut exchange);
        assert_eq!(number(&memory, 0), status, "{call}");
        assert_eq!(exchange.response_body, expected, "{call}");
    }
}

/// Bodies, fields, answers and properties live in the host: each has its bound, to the byte.
#[test]
fn what_the_host_keeps_for_a_filter_is_bounded() {
    let body = r#"(import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))"#;
    let call = |length: usize| {
        format!(
            "(drop (call $set (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0) (i32.const {length})))"
        )
    };
    // Fields are a name of five bytes, and 32 more.
    let field = |length: usize| {
        format!(
            "(drop (call $replace (i32.const 2) (i32.const 100) (i32.const 5) (i32.const 0) (i32.const {length})))"
        )
    };
    let whole = grants(Compat::None).whole_body_bytes;
    let server = "server".len() + "origin".len() + 32;
    let fields = crate::config::limits::FIELDS_BYTES - server - 5 - 32;
    // Values are tabs: NUL is in no field.
    let tabs = r"(memory.fill (i32.const 1024) (i32.const 9) (i32.const 64512))";
    let field_at = |length: usize| {
        field(length).replace("(i32.const 0) (i32.const", "(i32.const 1024) (i32.const")
    };
    for (import, call, fits) in [
        (body, call(whole), true),
        (body, call(whole + 1), false),
        (
            FIELDS,
            format!("{tabs} {}", field_at(64_000.min(fields))),
            true,
        ),
        (
            FIELDS,
            format!(
                "{tabs} {}",
                field_at(64_000) + &field_at(64_000).replace("$replace", "$add")
            ),
            false,
        ),
    ] {
        let phase = Phase::ResponseBody;
        let (context, _) = context(grants(Compat::None));
        let text = format!("{import} {COMMON} {}", hook(phase, &call));
        let (verdict, _) = run(&text, phase, &context, &mut exchange());
        match verdict {
            Ok(_) => assert!(fits, "{call}"),
            Err(failure) => {
                assert!(!fits, "{}", failure.detail);
                assert_eq!(
                    failure.reason,
                    Reason::ResourceExhausted,
                    "{}",
                    failure.detail
                );
                assert!(
                    failure.detail.contains("more than the"),
                    "{}",
                    failure.detail
                );
            }
        }
    }
}

#[test]
fn fuel_and_memory_are_the_requests_over_all_of_its_instances() {
    let spin = r"(local $left i32) (local.set $left (i32.const 1000))
        (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))";
    let text = format!("{COMMON} {}", hook(Phase::RequestHeaders, spin));
    let program = counting(&text, true).unwrap();
    let mut grants = grants(Compat::None);
    grants.fuel = 9_000;
    let (context, _) = context(grants);
    let mut used = 0;
    let failure = loop {
        let failed = now(async {
            let mut filter = Filter::start(&program, &context).await?;
            filter
                .run(Phase::RequestHeaders, &mut exchange(), true)
                .await?;
            filter.finish().await
        });
        let now_used = context.meter.fuel_used().unwrap();
        assert!(now_used > used || failed.is_err(), "{now_used}");
        used = now_used;
        if let Err(failure) = failed {
            break failure;
        }
        assert!(used <= 9_000);
    };
    assert_eq!(failure.reason, Reason::FuelExhausted);
    assert!(used > 6_000, "{used}");
}

#[test]
fn traps_and_exits_are_the_filters_faults() {
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let abort = r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#;
    let aborts = "(call $abort (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 9))";
    let grow = "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))";
    for (import, body, reason) in [
        ("", "unreachable", Reason::Trapped),
        (exit, "(call $exit (i32.const 1))", Reason::Exited),
        (abort, aborts, Reason::Trapped),
        ("", grow, Reason::MemoryExhausted),
    ] {
        let (context, _) = context(grants(Compat::None));
        let mut exchange = exchange();
        let text = format!("{import} {COMMON} {}", hook(Phase::RequestHeaders, body));
        let (verdict, _) = run(&text, Phase::RequestHeaders, &context, &mut exchange);
        let failure = verdict.unwrap_err();
        assert_eq!(failure.reason, reason, "{}", failure.detail);
        assert_eq!(exchange.path, "/a?b", "it is given back all the same");
    }
    // A `_start` that ends the program has started it.
    let start = r#"(func (export "_start") (call $exit (i32.const 0)))"#;
    let text = format!(
        "{exit} {COMMON} {start} {}",
        hook(Phase::RequestHeaders, "")
    );
    let (context, _) = context(grants(Compat::None));
    let (verdict, _) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
}
