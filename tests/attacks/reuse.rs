//! Reading what another tenant left behind: secrets planted in an instance, its slot recycled, searched for.

use std::thread;

use crate::arena::{self, Stage};
use crate::case::{Case, Program, Threat, run};
use crate::made::component;

pub const THREAT: Threat = Threat {
    name: "reuse",
    cases: CASES,
    // As few slots as there may be, so that every one is used again at once.
    lines: &[("workers", "profile = \"few.toml\"")],
};

const LARGE: crate::case::Limits = &[("cpu_ms", 5_000), ("wall_ms", 20_000), ("memory_mib", 96)];

const CASES: &[Case] = &[
    run(
        "search",
        "the same program of the same tenant, one request after the other",
        search,
        "200; nothing found",
    )
    .with(LARGE),
    run(
        "search-all-slots",
        "secrets in every slot at once, then searches in every slot",
        search_all_slots,
        "200; nothing found",
    )
    .with(LARGE),
    Case {
        name: "search-bare",
        what: "another program, without a data segment, searches memory, table and globals",
        answer: "502 no_response (500 trapped if it found something)",
        limits: LARGE,
        program: Program::Made(bare_search),
        attack: crate::case::Attack::Run(search_bare),
    },
    run(
        "after-traps",
        "secrets of instances that trapped or were stopped",
        after_traps,
        "200; nothing found",
    )
    .with(&[("cpu_ms", 300)]),
    run(
        "response-buffers",
        "a short body after a long one of another connection",
        response_buffers,
        "200; its own bytes",
    ),
];

#[test]
fn reuse() {
    arena::run(&THREAT);
}

/// Slots of the profile `few.toml`.
const SLOTS: usize = 16;

fn check_nothing_found(stage: &Stage<'_>, authority: &str) {
    let text = stage
        .host
        .get(authority, "/search?mib=32&hold=20")
        .expect(200)
        .text();
    assert!(text.ends_with(" found 0\n"), "{text}");
    let pages: usize = text["pages ".len()..]
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(pages >= 512, "memory was grown: {text}");
}

fn plant(stage: &Stage<'_>, path: &str) {
    let text = stage.host.get("search.test", path).expect(200).text();
    assert!(text.starts_with("planted "), "{text}");
}

fn search(stage: &Stage<'_>) {
    // The search finds what is there.
    let found = stage.host.get(&stage.authority(), "/plant-search");
    assert_eq!(found.expect(200).text(), "all\n");
    plant(stage, "/plant?mib=8");
    check_nothing_found(stage, &stage.authority());
}

fn search_all_slots(stage: &Stage<'_>) {
    at_once(|| plant(stage, "/plant?mib=4&hold=50"));
    at_once(|| check_nothing_found(stage, &stage.authority()));
}

/// As many as fill the pool beside the victim and the other attacker.
fn at_once(one: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 0..SLOTS / 2 - 2 {
            scope.spawn(&one);
        }
    });
}

fn search_bare(stage: &Stage<'_>) {
    plant(stage, "/plant?mib=8");
    let response = stage.host.get(&stage.authority(), "/");
    stage.check(&response, "502 no_response");
}

/// Grows memory by 32 MiB and its table by 50,000; traps unless all of it is empty.
fn bare_search() -> Vec<u8> {
    let module = r#"
        (memory 1) (table 10 funcref) (global $g (mut i64) (i64.const 0))
        (func (export "handle") (param i32 i32)
            (local $at i32) (local $zero i64)
            (if (i64.ne (local.get $zero) (i64.const 0)) (then unreachable))
            (if (i64.ne (global.get $g) (i64.const 0)) (then unreachable))
            (if (i32.eq (memory.grow (i32.const 512)) (i32.const -1)) (then unreachable))
            (loop $words
                (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then unreachable))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $words (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
            (if (i32.eq (table.grow 0 (ref.null func) (i32.const 50000)) (i32.const -1)) (then unreachable))
            (local.set $at (i32.const 0))
            (loop $elements
                (if (i32.eqz (ref.is_null (table.get 0 (local.get $at)))) (then unreachable))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $elements (i32.lt_u (local.get $at) (table.size 0))))
            ;; What the next one would find.
            (global.set $g (i64.const 7))
            (memory.fill (i32.const 0) (i32.const 83) (i32.const 33554432))
            (table.fill 0 (i32.const 0) (ref.func $f) (i32.const 50000)))
        (func $f) (elem declare func $f)"#;
    component("", module, "", "", "")
}

fn after_traps(stage: &Stage<'_>) {
    for end in ["trap", "spin"] {
        let answer = stage
            .host
            .get(&stage.authority(), &format!("/plant?mib=8&then={end}"));
        stage.check(&answer, "500 trapped or 504 cpu_exhausted");
        check_nothing_found(stage, "search.test");
    }
}

fn response_buffers(stage: &Stage<'_>) {
    // A head and a body of which the connection's buffers are full, then one that fills little of them.
    let long = "s".repeat(7_000);
    let _ = stage.host.get(&stage.authority(), &format!("/{long}"));
    let mut client = stage.send(stage.head("GET /status?code=204") + "\r\n");
    let bytes = {
        client.finish_sending();
        client.read_to_end()
    };
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.starts_with("HTTP/1.1 204 ") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
    assert!(!text.contains("sss"), "{text}");
}
