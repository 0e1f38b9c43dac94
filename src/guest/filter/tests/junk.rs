//! Every function with every kind of nonsense: a guest's numbers are a status at most, never a fault.

use std::collections::BTreeSet;
use std::fmt::Write;

use wasmtime::{Engine, ExternType, Store, ValType};

use super::*;
use crate::control::Flavour;
use crate::engine::settings::worker;

/// A function's module, name, parameters, and whether it returns.
type Function = (String, String, Vec<ValType>, bool);

/// All that can be imported.
fn functions() -> Vec<Function> {
    let profile = Profile::find("local", Path::new("")).unwrap();
    let engine = Engine::new(&worker(Flavour::P2, &profile, true)).unwrap();
    let linker = link_filters(&engine).unwrap();
    let (context, _) = context(grants(Compat::None));
    let mut store = Store::new(&engine, State::new(context));
    let all: Vec<_> = linker
        .iter(&mut store)
        .map(|(module, name, item)| (module.to_owned(), name.to_owned(), item))
        .collect();
    all.into_iter()
        .map(|(module, name, item)| match item.ty(&store) {
            ExternType::Func(func) => {
                let returns = func.results().len() == 1;
                (module, name, func.params().collect(), returns)
            }
            other => panic!("{name} is {other:?}"),
        })
        .collect()
}

/// A filter that calls each with the same number everywhere, and writes down what it returns.
fn calling(functions: &[Function], number: u32) -> String {
    let (mut imports, mut calls) = (String::new(), String::new());
    for (at, (module, name, parameters, _)) in functions.iter().enumerate() {
        let kind = |it: &ValType| it.to_string();
        let kinds: Vec<_> = parameters.iter().map(kind).collect();
        let _ = write!(
            imports,
            r#"(import "{module}" "{name}" (func $f{at} (param {}) (result i32)))"#,
            kinds.join(" ")
        );
        let arguments = kinds.iter().map(|kind| match &**kind {
            "i32" => format!("(i32.const {number})"),
            "i64" => format!("(i64.const {number})"),
            _ => format!("(f64.const {number})"),
        });
        let arguments: String = arguments.collect();
        let _ = write!(
            calls,
            "(i32.store (i32.const {}) (call $f{at} {arguments}))",
            1024 + 4 * at
        );
    }
    let hook = hook(Phase::ResponseBody, &calls);
    format!("{imports} {COMMON} {hook}")
}

/// What the functions return for a number that is all of their arguments.
fn answers(number_of_all: u32) -> Vec<(String, u32)> {
    // What ends the guest is tested by itself.
    let functions: Vec<_> = functions().into_iter().filter(|it| it.3).collect();
    assert!(functions.len() > 90, "{}", functions.len());
    let (context, _) = context(grants(Compat::None));
    let text = calling(&functions, number_of_all);
    let (verdict, memory) = run(&text, Phase::ResponseBody, &context, &mut exchange());
    assert!(verdict.is_ok(), "{number_of_all:#x}: {verdict:?}");
    let status = |at: usize| number(&memory, 1024 + 4 * at);
    let names = functions.into_iter().enumerate();
    names
        .map(|(at, (_, name, ..))| (name, status(at)))
        .collect()
}

#[test]
fn pointers_and_lengths_outside_of_memory_are_a_status() {
    // Beyond the end, at its last byte, around the edge of the numbers.
    for number in [
        0xffff_ffff,
        0xffff_fff0,
        0x8000_0000,
        0x7fff_ffff,
        0x1_0000,
        0xffff,
    ] {
        let done: BTreeSet<_> = answers(number)
            .into_iter()
            .filter(|(_, status)| *status == 0)
            .map(|(name, _)| name)
            .collect();
        // Those do not look at their arguments.
        let expected = [
            "args_get",
            "proxy_clear_route_cache",
            "proxy_done",
            "proxy_set_tick_period_milliseconds",
            "sched_yield",
        ];
        let expected: BTreeSet<_> = expected.map(str::to_owned).into();
        assert_eq!(done, expected, "{number:#x}");
    }
}

#[test]
fn small_numbers_are_arguments_like_others() {
    for number in [0, 1, 2, 3, 8, 100] {
        for (name, status) in answers(number) {
            assert!(status <= 76, "{name}({number}): {status}");
        }
    }
}

/// Each more would take one more stack.
#[test]
fn an_allocator_that_asks_the_host_for_memory_is_told_no() {
    let text = r#"
        (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 512) "request.method")
        (func (export "proxy_abi_version_0_2_1"))
        (func $ask (result i32)
            (call $get (i32.const 512) (i32.const 14) (i32.const 16) (i32.const 20)))
        (func (export "malloc") (param i32) (result i32)
            (i32.store (i32.const 0) (call $ask))
            (i32.const 4096))
    "#;
    let hook = hook(
        Phase::RequestHeaders,
        "(i32.store (i32.const 4) (call $ask))",
    );
    let (context, _) = context(grants(Compat::None));
    let text = format!("{text} {hook}");
    let (verdict, memory) = run(&text, Phase::RequestHeaders, &context, &mut exchange());
    assert!(matches!(verdict, Ok(Verdict::Continue)), "{verdict:?}");
    assert_eq!(number(&memory, 0), status::Status::InternalFailure as u32);
    assert_eq!(
        [4, 16, 20].map(|at| number(&memory, at)),
        [0, 4096, 3],
        "the first one had its answer"
    );
}

#[test]
fn what_a_filter_must_export_is_said_before_it_runs() {
    let common = r#"(func (export "proxy_abi_version_0_2_1"))"#;
    let memory = r#"(memory (export "memory") 1)"#;
    let malloc = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;
    let cases = [
        (String::new(), "exports its `memory`"),
        (memory.to_owned(), "proxy_on_memory_allocate and malloc"),
        (
            format!(
                r#"{memory} {malloc} (func (export "proxy_on_request_headers") (param i32 i32))"#
            ),
            "`proxy_on_request_headers` takes 3 numbers",
        ),
        (
            format!(r#"(import "env" "proxy_no_such" (func)) {memory} {malloc}"#),
            "proxy_no_such",
        ),
        (
            format!(r#"(import "env" "proxy_log" (func (param i64))) {memory} {malloc}"#),
            "proxy_log",
        ),
    ];
    for (text, expected) in cases {
        let refused = counting(&format!("{text} {common}"), false).err();
        let refused = refused.unwrap_or_else(|| panic!("{text} is a filter"));
        assert!(refused.contains(expected), "{refused}");
        assert!(!refused.contains('\n'), "{refused}");
    }
}
