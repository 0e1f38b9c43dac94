//! Ending badly, in every phase of a request.

use crate::arena;
use crate::case::{Case, Threat, get, made};
use crate::made::{component, handler, with_realloc};

pub const THREAT: Threat = Threat {
    name: "traps",
    cases: CASES,
    lines: &[],
};

const TRAPPED: &str = "500 trapped";

/// Whether the head is out by then is a matter of time.
const CUT: &str = "200 cut or 500 trapped";

const CASES: &[Case] = &[
    get("unreachable", "/trap", TRAPPED),
    get("unreachable-0-3", "/trap", TRAPPED).of("service3"),
    get("panic", "/panic", TRAPPED),
    get("recursion", "/recurse", TRAPPED),
    get("exit-0", "/exit?code=0", "502 exited"),
    get("exit-255", "/exit?code=255", "502 exited"),
    get("no-answer", "/no-answer", "502 no_response"),
    get("after-head", "/head-trap", CUT),
    get("panic-after-head", "/head-panic", CUT),
    get("abort", "/abort", "200 cut or 502 bad_response"),
    get("abandon", "/abandon", "200 cut or 502 bad_response"),
    made(
        "in-start",
        "a start function that traps",
        || handler("(func $s unreachable) (start $s)", ""),
        TRAPPED,
    ),
    made(
        "in-realloc",
        "a realloc that traps",
        || with_realloc("unreachable"),
        TRAPPED,
    ),
    made(
        "in-post-return",
        "a post-return that traps",
        || {
            component(
                "",
                r#"(func (export "handle") (param i32 i32)) (func (export "after") unreachable)"#,
                "",
                r#"(post-return (core func $i "after"))"#,
                "",
            )
        },
        TRAPPED,
    ),
    made(
        "divide",
        "a division by zero",
        || {
            handler(
                "",
                "(drop (i32.div_u (i32.const 1) (local.get 0))) (drop (i32.div_u (i32.const 1) (i32.const 0)))",
            )
        },
        TRAPPED,
    ),
    made(
        "convert",
        "a number that does not fit",
        || handler("", "(drop (i32.trunc_f64_s (f64.const nan)))"),
        TRAPPED,
    ),
    made(
        "out-of-bounds",
        "reading behind memory",
        || {
            handler(
                "(memory 1)",
                "(drop (i32.load offset=4294967292 (i32.const -1)))",
            )
        },
        TRAPPED,
    ),
    made(
        "segment-out-of-bounds",
        "a data segment behind memory",
        || handler("(memory 1) (data (i32.const 65535) \"xx\")", ""),
        TRAPPED,
    ),
    made(
        "null-call",
        "calling nothing",
        || {
            handler(
                "(type $t (func)) (table 1 funcref)",
                "(call_indirect (type $t) (i32.const 0))",
            )
        },
        TRAPPED,
    ),
    made(
        "wrong-call",
        "calling a function of another type",
        || {
            handler(
                "(type $t (func (param i64))) (table 1 funcref) (func $f) (elem (i32.const 0) $f)",
                "(call_indirect (type $t) (i64.const 0) (i32.const 0))",
            )
        },
        TRAPPED,
    ),
    made(
        "deep-frames",
        "recursion with frames of 2,000 locals",
        || {
            let locals = " i64".repeat(2_000);
            let sum = (1..2_000).fold(String::new(), |sum, local| {
                format!("{sum}(local.set {local} (i64.add (local.get 0) (i64.const {local})))")
            });
            let uses = (1..2_000).fold(String::new(), |uses, local| {
                format!("{uses}(local.get {local}) i64.add ")
            });
            let body = format!(
                "(func $f (param i64) (result i64) (local{locals}) {sum}
                (call $f (i64.add (local.get 0) (i64.const 1))) {uses})"
            );
            handler(&body, "(drop (call $f (i64.const 0)))")
        },
        TRAPPED,
    ),
    made(
        "start-recursion",
        "a start function that calls itself",
        || handler("(func $s (call $s) (call $s)) (start $s)", ""),
        TRAPPED,
    ),
];

#[test]
fn traps() {
    arena::run(&THREAT);
}
