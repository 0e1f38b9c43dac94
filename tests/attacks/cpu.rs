//! Taking the core: computing without end where a host could fail to stop it.

use crate::arena::{self, Stage};
use crate::case::{Case, Threat, get, made, run};
use crate::made::{component, handler, with_realloc};

pub const THREAT: Threat = Threat {
    name: "cpu",
    cases: CASES,
    lines: &[],
};

const STOPPED: &str = "504 cpu_exhausted";

const CASES: &[Case] = &[
    get("spin", "/spin", STOPPED),
    get("spin-0-3", "/spin", STOPPED).of("service3"),
    get("fill", "/fill?mib=64", STOPPED),
    get("copy", "/copy?mib=64", STOPPED),
    get("cache-misses", "/chase?mib=64", STOPPED),
    run(
        "spin-after-answer",
        "answers, then computes for ever",
        spin_after_answer,
        "200, then cpu_exhausted in the log",
    ),
    get("spin-after-head", "/head-spin", "200 cut"),
    made(
        "spin-in-start",
        "a start function that loops",
        || handler("(func $s (loop (br 0))) (start $s)", ""),
        STOPPED,
    ),
    made(
        "spin-in-realloc",
        "a realloc that loops while the host writes a list",
        || with_realloc("(loop (br 0)) unreachable"),
        STOPPED,
    ),
    made(
        "spin-in-post-return",
        "a post-return that loops",
        spin_in_post_return,
        STOPPED,
    ),
    made(
        "tail-calls",
        "functions that call each other in tail position",
        || {
            handler(
                "(func $a (param i32) (return_call $b (local.get 0)))
            (func $b (param i32) (return_call $a (local.get 0)))",
                "(return_call $a (i32.const 0))",
            )
        },
        STOPPED,
    ),
    made(
        "straight-fills",
        "memory.fill of 64 MiB, 40 times in a row, again and again",
        || {
            let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864))";
            handler("(memory 1025)", &again(fill, 40))
        },
        STOPPED,
    ),
    made(
        "straight-copies",
        "the same with memory.copy",
        || {
            let copy = "(memory.copy (i32.const 0) (i32.const 1) (i32.const 67108864))";
            handler("(memory 1025)", &again(copy, 40))
        },
        STOPPED,
    ),
    made(
        "table-fills",
        "table.fill of 90,000 elements, 100 times in a row, again and again",
        || {
            let fill = "(table.fill 0 (i32.const 0) (ref.null func) (i32.const 90000))";
            handler("(table 90000 funcref)", &again(fill, 100))
        },
        STOPPED,
    ),
    made(
        "table-copies",
        "table.copy of 89,999 elements, 100 times in a row, again and again",
        || {
            let copy = "(table.copy 0 0 (i32.const 0) (i32.const 1) (i32.const 89999))";
            handler("(table 90000 funcref)", &again(copy, 100))
        },
        STOPPED,
    ),
    made(
        "table-inits",
        "table.init of 90,000 elements, 100 times in a row, again and again",
        || {
            let init = "(table.init 0 (i32.const 0) (i32.const 0) (i32.const 90000))";
            let elements = format!(
                "(table 90000 funcref) (func $f) (elem func {})",
                "$f ".repeat(90_000)
            );
            handler(&elements, &again(init, 100))
        },
        STOPPED,
    ),
    made(
        "wide-calls",
        "calls in a straight line, each of which calls 40 times, 5 levels deep",
        wide_calls,
        STOPPED,
    ),
    made(
        "constant-globals",
        "20,000 globals of 100 additions each, at every instantiation",
        || constant_globals(20_000),
        "502 component_rejected",
    ),
    made(
        "constant-globals-most",
        "2,400 of them",
        || constant_globals(2_400),
        "502 no_response",
    ),
    made(
        "many-segments",
        "2,000 element segments whose place is not known before",
        many_segments,
        "502 component_rejected",
    ),
];

#[test]
fn cpu() {
    arena::run(&THREAT);
}

/// So often in a row, without a loop or a call in between; and that for ever.
fn again(what: &str, times: usize) -> String {
    format!("(loop {} (br 0))", what.repeat(times))
}

/// The answer stands; what comes after it has a budget all the same.
fn spin_after_answer(stage: &Stage<'_>) {
    let mark = stage.host.log_mark();
    let response = stage.host.get(&stage.authority(), "/answer-spin");
    assert_eq!(response.expect(200).text(), "answered\n");
    stage.host.wait_for_log_after(mark, |line| {
        line["kind"] == "fault" && line["tenant"] == stage.name && line["reason"] == "cpu_exhausted"
    });
}

fn spin_in_post_return() -> Vec<u8> {
    component(
        "",
        r#"(func (export "handle") (param i32 i32)) (func (export "after") (loop (br 0)))"#,
        "",
        r#"(post-return (core func $i "after"))"#,
        "",
    )
}

/// No loop anywhere: 40 to the power of 6 calls.
fn wide_calls() -> Vec<u8> {
    let mut functions = String::from("(global $g (mut i32) (i32.const 0))");
    functions.push_str("(func $f0 (global.set $g (i32.add (global.get $g) (i32.const 1))))");
    for level in 1..=6 {
        let calls = format!("(call $f{})", level - 1).repeat(40);
        functions.push_str(&format!("(func $f{level} {calls})"));
    }
    handler(&functions, "(call $f6)")
}

/// Constant expressions are computed by the host, and no tick interrupts it.
fn constant_globals(count: usize) -> Vec<u8> {
    let mut globals = String::from("(import \"a\" \"g\" (global $g i32))");
    let sum = format!("(global.get $g) {}", "(global.get $g) i32.add ".repeat(100));
    for _ in 0..count {
        globals.push_str(&format!("(global i32 {sum})"));
    }
    globals.push_str(r#"(func (export "handle") (param i32 i32))"#);
    with_global(&globals)
}

fn many_segments() -> Vec<u8> {
    let mut module =
        String::from("(import \"a\" \"g\" (global $g i32)) (table 1000 funcref) (func $f)");
    for _ in 0..2_000 {
        module.push_str(&format!(
            "(elem (global.get $g) func {})",
            "$f ".repeat(999)
        ));
    }
    module.push_str(r#"(func (export "handle") (param i32 i32))"#);
    with_global(&module)
}

fn with_global(module: &str) -> Vec<u8> {
    component(
        r#"(core module $a (global (export "g") i32 (i32.const 1))) (core instance $a (instantiate $a))"#,
        module,
        r#"(with "a" (instance $a))"#,
        "",
        "",
    )
}
