//! Taking memory, tables, instances and handles, and the host's memory behind them.

use crate::arena;
use crate::case::{Case, Threat, get, made};
use crate::made::{component, handler, with_realloc, with_realloc_and};

pub const THREAT: Threat = Threat {
    name: "memory",
    cases: CASES,
    lines: &[],
};

const NO_MEMORY: &str = "507 memory_exhausted";
const REJECTED: &str = "502 component_rejected";

const CASES: &[Case] = &[
    get("alloc", "/alloc", NO_MEMORY).with(&[("memory_mib", 32), ("cpu_ms", 2_000)]),
    get("alloc-small", "/alloc-small", NO_MEMORY).with(&[("memory_mib", 16), ("cpu_ms", 2_000)]),
    get("grow", "/grow", "504 cpu_exhausted"),
    get("grow-all", "/grow-all", "200").with(&[("cpu_ms", 2_000)]),
    made(
        "grow-in-start",
        "a start function that grows memory for ever",
        || {
            handler(
                "(memory 1) (func $s (loop (drop (memory.grow (i32.const 64))) (br 0))) (start $s)",
                "",
            )
        },
        "504 cpu_exhausted",
    ),
    made(
        "grow-by-all",
        "memory.grow of 4 GiB at once",
        || {
            handler(
                "(memory 1)",
                "(drop (memory.grow (i32.const 65535))) unreachable",
            )
        },
        NO_MEMORY,
    ),
    made(
        "grow-and-fail",
        "a memory at its limit that is grown again and again",
        || {
            handler(
                "(memory 1)",
                "(loop (drop (memory.grow (i32.const 65535))) (br 0))",
            )
        },
        "504 cpu_exhausted",
    ),
    made(
        "memory-at-start",
        "a memory above the tenant's limit",
        || handler("(memory 1600)", ""),
        NO_MEMORY,
    ),
    made(
        "memory-too-large",
        "a memory above the profile's largest",
        || handler("(memory 65536)", ""),
        REJECTED,
    ),
    made(
        "memories",
        "five memories",
        || handler(&"(memory 1)".repeat(5), ""),
        REJECTED,
    ),
    made(
        "memories-of-two",
        "two modules with a memory of 60 MiB each",
        || {
            let other = "(core module $other (memory 960)) (core instance (instantiate $other))";
            component(
                other,
                r#"(memory 960) (func (export "handle") (param i32 i32))"#,
                "",
                "",
                "",
            )
        },
        NO_MEMORY,
    ),
    made(
        "memory64",
        "a 64-bit memory",
        || handler("(memory i64 1)", ""),
        REJECTED,
    ),
    made(
        "memory-shared",
        "a memory for several threads",
        || handler("(memory 1 1 shared)", ""),
        REJECTED,
    ),
    made(
        "table-growth",
        "table.grow for ever",
        || {
            handler(
                "(table 1 funcref)",
                "(loop (drop (table.grow 0 (ref.null func) (i32.const 100))) (br 0))",
            )
        },
        "504 cpu_exhausted",
    ),
    made(
        "table-growth-trap",
        "table.grow above the limit, then a trap",
        || {
            handler(
                "(table 1 funcref)",
                "(drop (table.grow 0 (ref.null func) (i32.const 99000000))) unreachable",
            )
        },
        "500 resource_exhausted",
    ),
    made(
        "table-elements",
        "tables above the tenant's limit",
        || handler(&"(table 60000 funcref)".repeat(2), ""),
        "500 resource_exhausted",
    ),
    made(
        "table-too-large",
        "a table of 10,000,000 elements",
        || handler("(table 10000000 funcref)", ""),
        REJECTED,
    ),
    made(
        "tables",
        "twenty tables",
        || handler(&"(table 1 funcref)".repeat(20), ""),
        REJECTED,
    ),
    made(
        "instances",
        "thirty core instances",
        || {
            let handle = r#"(func (export "handle") (param i32 i32))"#;
            component(
                "",
                handle,
                "",
                "",
                &"(core instance (instantiate $m))".repeat(30),
            )
        },
        REJECTED,
    ),
    get("fields", "/fields", "500 resource_exhausted"),
    get("pollables", "/pollables", "500 resource_exhausted"),
    get("outgoing-requests", "/requests", "500 resource_exhausted"),
    get("methods", "/methods", "500 resource_exhausted"),
    get("bodies", "/bodies", "500 resource_exhausted"),
    get("outgoing-responses", "/responses", "500 resource_exhausted"),
    get("request-options", "/options", "500 resource_exhausted"),
    get("fields-clones", "/clones", "500 resource_exhausted").with(&[("handles", 256)]),
    get("fields-clones-held", "/clones-held?n=200&ms=100", "200"),
    get("fields-append", "/append", "500 resource_exhausted"),
    get(
        "fields-append-empty",
        "/append-empty",
        "500 resource_exhausted",
    ),
    get(
        "fields-value",
        "/big-value?n=1000000",
        "500 resource_exhausted",
    ),
    get(
        "hostcall-bytes",
        "/big-value?n=9000000",
        "500 resource_exhausted",
    )
    .with(&[("cpu_ms", 2_000)]),
    made(
        "realloc-grows",
        "a realloc that grows memory for ever",
        || with_realloc("(loop (drop (memory.grow (i32.const 1))) (br 0)) unreachable"),
        "504 cpu_exhausted",
    ),
    made(
        "realloc-huge",
        "a list of 1 GiB from the host",
        || with_realloc_and("(i32.const 0)", "(i64.const 1073741824)"),
        "500 trapped",
    ),
];

#[test]
fn memory() {
    arena::run(&THREAT);
}
