//! Programs that are none, and programs that lie to the host about what they pass: refused when they are
//! deployed, when they are loaded, or at the call.

use crate::arena;
use crate::case::{Case, Threat, get, made};
use crate::made::{component, handler, with_realloc};

pub const THREAT: Threat = Threat {
    name: "components",
    cases: CASES,
    lines: &[],
};

const REJECTED: &str = "502 component_rejected";
const TRAPPED: &str = "500 trapped";
const SERVED: &str = "502 no_response";

const CASES: &[Case] = &[
    get("handle-unknown", "/abi-unknown-handle", TRAPPED),
    get("handle-negative", "/abi-negative-handle", TRAPPED),
    get("handle-zero", "/abi-zero-handle", TRAPPED),
    get("handle-dropped-twice", "/abi-dropped-twice", TRAPPED),
    get("handle-after-drop", "/abi-used-after-drop", TRAPPED),
    get("handle-of-another-type", "/abi-wrong-type", TRAPPED),
    get("name-out-of-memory", "/abi-name-far", TRAPPED),
    get("value-out-of-memory", "/abi-value-far", TRAPPED),
    get("length-huge", "/abi-length-huge", TRAPPED),
    get("result-out-of-memory", "/abi-result-far", TRAPPED),
    get("result-unaligned", "/abi-result-unaligned", TRAPPED),
    get("text-not-utf8", "/abi-not-utf8", TRAPPED),
    get("text-surrogate", "/abi-surrogate", TRAPPED),
    get("list-huge", "/abi-list-huge", TRAPPED),
    get("list-unaligned", "/abi-list-unaligned", TRAPPED),
    get("list-shared", "/abi-list-shared", "500 resource_exhausted"),
    get("discriminant", "/abi-method-unknown", TRAPPED),
    made(
        "realloc-out-of-memory",
        "a realloc that gives memory which is not there",
        || with_realloc("(i32.const -16)"),
        TRAPPED,
    ),
    made(
        "realloc-calls-out",
        "a realloc that calls the host",
        || with_realloc("(drop (call $now)) (i32.const 0)"),
        TRAPPED,
    ),
    made(
        "nesting",
        "components inside each other, 2,000 deep",
        nested,
        REJECTED,
    ),
    made(
        "deep-type",
        "a type of 1,000 levels",
        || {
            let mut types = String::from("(type $t0 (list u8))");
            for level in 1..1_000 {
                types.push_str(&format!("(type $t{level} (list $t{}))", level - 1));
            }
            component("", HANDLE, "", "", &types)
        },
        REJECTED,
    ),
    made(
        "doubling-type",
        "a type that doubles at each of 40 levels",
        || {
            let mut types = String::from("(type $t0 (tuple u8 u8))");
            for level in 1..40 {
                types.push_str(&format!("(type $t{level} (tuple $t{0} $t{0}))", level - 1));
            }
            component("", HANDLE, "", "", &types)
        },
        REJECTED,
    ),
    made(
        "wide-type",
        "a record of 20,000 fields",
        || {
            let fields: String = (0..20_000)
                .map(|field| format!("(field \"f{field}\" u8)"))
                .collect();
            component("", HANDLE, "", "", &format!("(type (record {fields}))"))
        },
        "502 no_response or 502 component_rejected",
    ),
    made(
        "unknown-import",
        "an import that no host has",
        || {
            component(
                r#"(import "evil:host/api@1.0.0" (func))"#,
                HANDLE,
                "",
                "",
                "",
            )
        },
        REJECTED,
    ),
    made(
        "wrong-import",
        "wasi:random with another type",
        || {
            let import = r#"(import "wasi:random/random@0.2.0" (instance
            (export "get-random-bytes" (func (param "len" u64) (result string)))))"#;
            component(import, HANDLE, "", "", "")
        },
        REJECTED,
    ),
    made(
        "wrong-handler",
        "a handler that takes strings",
        wrong_handler,
        TRAPPED,
    ),
    made(
        "resource-of-its-own",
        "an incoming-request of its own make",
        own_request,
        TRAPPED,
    ),
    made(
        "large-data",
        "64 MiB of data",
        || {
            handler(
                &format!(
                    "(memory 1025) (data (i32.const 0) \"{}\")",
                    "x".repeat(64 << 20)
                ),
                "",
            )
        },
        SERVED,
    ),
    made(
        "many-functions",
        "10,000 functions",
        || {
            handler(
                &"(func (param i32) (result i32) (local.get 0))".repeat(10_000),
                "",
            )
        },
        SERVED,
    ),
    made(
        "threads",
        "atomics",
        || handler("(memory 1)", "(drop (i32.atomic.load (i32.const 0)))"),
        REJECTED,
    ),
];

const HANDLE: &str = r#"(func (export "handle") (param i32 i32))"#;

#[test]
fn components() {
    arena::run(&THREAT);
}

/// Made byte by byte: the text format has a limit of its own.
fn nested() -> Vec<u8> {
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
    const COMPONENT_SECTION: u8 = 4;
    let mut inner = COMPONENT.to_vec();
    for _ in 0..2_000 {
        let mut outer = COMPONENT.to_vec();
        outer.push(COMPONENT_SECTION);
        let mut size = inner.len();
        while size >= 0x80 {
            outer.push(size as u8 | 0x80);
            size >>= 7;
        }
        outer.push(size as u8);
        outer.extend_from_slice(&inner);
        inner = outer;
    }
    inner
}

fn wrong_handler() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "handle") (param i32 i32))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (func $handle (param "request" string) (canon lift (core func $i "handle")
                (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#,
    )
    .expect("valid text")
}

/// Its handler's types have the right names, and are not the host's.
fn own_request() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (type $request' (resource (rep i32)))
            (type $out' (resource (rep i32)))
            (export $request "incoming-request" (type $request'))
            (export $out "response-outparam" (type $out'))
            (core module $m (func (export "handle") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))"#,
    )
    .expect("valid text")
}
