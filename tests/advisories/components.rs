//! What the canonical ABI does with values that a guest made up.

use std::fmt::Write as _;

use skep::control::Flavour::{P2, P3};
use wasmtime::component::Val;

use crate::worker::{PROFILES, Running, Worker, core};

#[test]
fn rustsec_2025_0112_host_calls_that_trap_in_canonical_built_ins() {
    // Host to guest with a string: the guest's `realloc` drops resources, traps, or answers nonsense.
    for (realloc, works) in [
        ("(i32.const 16)", true),
        // A `realloc` may not leave its component, not even for its own resources.
        (
            "(call $drop (call $new (i32.const 1))) (i32.const 16)",
            false,
        ),
        ("(call $drop (i32.const 77)) (i32.const 16)", false),
        (
            "(drop (call $rep (i32.const 4294967295))) (i32.const 16)",
            false,
        ),
        ("unreachable", false),
        ("(i32.const -1)", false),
        ("(i32.const 65535)", false),
    ] {
        let component = format!(
            r#"(type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core func $rep (canon resource.rep $r))
            (core func $drop (canon resource.drop $r))
            (core module $m
                (import "" "new" (func $new (param i32) (result i32)))
                (import "" "rep" (func $rep (param i32) (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "f") (param i32 i32) (result i32) (local.get 1)))
            (core instance $i (instantiate $m (with "" (instance
                (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
            (func (export "f") (param "s" string) (result u32)
                (canon lift (core func $i "f")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#
        );
        for flavour in [P2, P3] {
            let mut guest = Worker::new("balanced", flavour).run(&component);
            let answer = guest.call::<_, (u32,)>("f", ("four",));
            assert_eq!(answer.is_ok(), works, "{realloc}: {answer:?}");
        }
    }
}

/// A component that answers with flags whose every bit is set, and one that passes them on.
fn flags(count: usize) -> String {
    let mut names = String::new();
    for n in 0..count {
        let _ = write!(names, "\"f{n}\" ");
    }
    format!(
        r#"(component $from
            (type $flags' (flags {names}))
            (export $flags "flags" (type $flags'))
            (core module $m
                (memory (export "memory") 1)
                (func (export "flat") (result i32) (i32.const -1))
                (func (export "listed") (result i32)
                    (i32.store (i32.const 0) (i32.const 8))
                    (i32.store (i32.const 4) (i32.const 2))
                    (i64.store (i32.const 8) (i64.const -1))
                    (i32.const 0)))
            (core instance $i (instantiate $m))
            (func (export "flat") (result $flags) (canon lift (core func $i "flat")))
            (func (export "listed") (result (list $flags))
                (canon lift (core func $i "listed") (memory (core memory $i "memory")))))
        (component $to
            (import "from" (instance $from
                (type $flags' (flags {names}))
                (export "flags" (type $flags (eq $flags')))
                (export "flat" (func (result $flags)))))
            (alias export $from "flat" (func $flat))
            (core func $lowered (canon lower (func $flat)))
            (core module $m
                (import "" "flat" (func $flat (result i32)))
                (func (export "passed") (result i32) (call $flat)))
            (core instance $i (instantiate $m (with "" (instance (export "flat" (func $lowered))))))
            (func (export "passed") (result u32) (canon lift (core func $i "passed"))))
        (instance $f (instantiate $from))
        (instance $t (instantiate $to (with "from" (instance $f))))
        (alias export $f "flags" (type $flags))
        (export $out "flags" (type $flags))
        (export "flat" (func $f "flat") (func (result $out)))
        (export "listed" (func $f "listed") (func (result (list $out))))
        (export "passed" (func $t "passed"))"#
    )
}

#[test]
fn rustsec_2026_0085_ghsa_m758_flags_have_no_more_bits_than_names() {
    let worker = Worker::new("balanced", P2);
    for count in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32] {
        let component = worker.load(&flags(count));
        let all: Vec<String> = (0..count).map(|n| format!("f{n}")).collect();
        let mut guest = worker.start(&component).unwrap();
        let got = dynamic(&mut guest, "flat").expect("flags");
        assert_eq!(got, Val::Flags(all.clone()), "{count}");
        drop(guest);
        let mut guest = worker.start(&component).unwrap();
        let got = dynamic(&mut guest, "listed").expect("a list");
        let Val::List(list) = got else {
            panic!("{got:?}")
        };
        assert!(
            list.iter().all(|it| *it == Val::Flags(all.clone())),
            "{count}: {list:?}"
        );
        // From one component to another they are cut, too.
        drop(guest);
        let mut guest = worker.start(&component).unwrap();
        let (bits,) = guest.call::<_, (u32,)>("passed", ()).unwrap();
        assert_eq!(bits, u32::MAX >> (32 - count), "{count}");
    }
}

fn dynamic(guest: &mut Running, name: &str) -> wasmtime::Result<Val> {
    let function = guest.instance.get_func(&mut guest.store, name).unwrap();
    let mut results = [Val::Bool(false)];
    function.call(&mut guest.store, &[], &mut results)?;
    let [result] = results;
    Ok(result)
}

/// How a string is kept in memory.
const ENCODINGS: [&str; 3] = ["utf8", "utf16", "latin1+utf16"];

/// A component that passes the string (ptr, len) on to another one. Their encodings, what the
/// receiver's `realloc` answers, and the data that the sender has at `at`.
fn passing(from: &str, to: &str, realloc: &str, at: u32, data: &[u8]) -> String {
    let data: String = data.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(component $to
            (core module $m
                (memory (export "memory") 2 2)
                (global $at (mut i32) (i32.const 1024))
                (global $got (mut i32) (i32.const 0))
                (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
                    {realloc})
                (func (export "take") (param $ptr i32) (param $len i32) (result i32) (local $n i32) (local $sum i32)
                    ;; The bytes' sum, with their number above it. The top bit says UTF-16.
                    (local.set $n (i32.and (local.get $len) (i32.const 0x7fffffff)))
                    (if (i32.or (i32.lt_s (local.get $len) (i32.const 0)) (i32.const {wide}))
                        (then (local.set $n (i32.mul (local.get $n) (i32.const 2)))))
                    (block $end (loop $next
                        (br_if $end (i32.eqz (local.get $n)))
                        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                        (local.set $sum (i32.add (local.get $sum)
                            (i32.load8_u (i32.add (local.get $ptr) (local.get $n)))))
                        (br $next)))
                    (i32.add (local.get $sum)
                        (i32.shl (i32.and (local.get $len) (i32.const 0xfff)) (i32.const 16)))))
            (core instance $i (instantiate $m))
            (func (export "take") (param "s" string) (result u32)
                (canon lift (core func $i "take") string-encoding={to}
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
        (component $from
            (import "take" (func $take (param "s" string) (result u32)))
            (core module $libc (memory (export "memory") 1 1) (data (i32.const {at}) "{data}"))
            (core instance $libc (instantiate $libc))
            (core func $lowered (canon lower (func $take) string-encoding={from} (memory (core memory $libc "memory"))))
            (core module $m
                (import "" "take" (func $take (param i32 i32) (result i32)))
                (func (export "send") (param i32 i32) (result i32)
                    (call $take (local.get 0) (local.get 1))))
            (core instance $i (instantiate $m (with "" (instance (export "take" (func $lowered))))))
            (func (export "send") (param "ptr" u32) (param "len" u32) (result u32)
                (canon lift (core func $i "send"))))
        (instance $t (instantiate $to))
        (instance $f (instantiate $from (with "take" (func $t "take"))))
        (export "send" (func $f "send"))"#,
        wide = u32::from(to == "utf16"),
    )
}

/// Gives out memory that only moves up, aligned, and keeps what was there, as a `realloc` has to.
const HONEST: &str = r#"
    (local $new i32)
    (local.set $new (i32.and (i32.add (global.get $at) (i32.const 15)) (i32.const -16)))
    (global.set $at (i32.add (local.get $new) (local.get $size)))
    (memory.copy (local.get $new) (local.get $old)
        (select (local.get $had) (local.get $size) (i32.lt_u (local.get $had) (local.get $size))))
    (local.get $new)"#;

/// A text as a guest of that encoding has it, and its length in code units with the tag.
fn encoded(text: &str, encoding: &str) -> (Vec<u8>, u32) {
    let utf16 = || -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    match encoding {
        "utf8" => (text.as_bytes().to_vec(), text.len() as u32),
        "utf16" => (utf16(), text.encode_utf16().count() as u32),
        _ if text.chars().all(|c| c < '\u{100}') => {
            let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
            let length = bytes.len() as u32;
            (bytes, length)
        }
        _ => (utf16(), text.encode_utf16().count() as u32 | 1 << 31),
    }
}

#[test]
fn rustsec_2026_0091_0093_ghsa_394w_hx6p_strings_arrive_as_they_were_sent() {
    let worker = Worker::new("balanced", P2);
    for from in ENCODINGS {
        for to in ENCODINGS {
            for text in [
                "",
                "plain",
                "h\u{e9}llo w\u{f6}rld",
                "ab\u{e9}cd\u{20ac}",
                "\u{1f41d}",
                "a\u{1f41d}\u{20ac}z",
                "latin\u{ff} then wide \u{2603}",
            ] {
                let (data, length) = encoded(text, from);
                // To the last byte of the sender's memory, aligned.
                let at = (65_536 - data.len() as u32) & !1;
                let what = format!("{from} to {to}: {text:?}");
                let mut guest = worker.run(&passing(from, to, HONEST, at, &data));
                let (got,) = guest
                    .call::<_, (u32,)>("send", (at, length))
                    .expect("no trap");
                let (expected, units) = encoded(text, to);
                let sum: u32 = expected.iter().map(|byte| u32::from(*byte)).sum();
                assert_eq!(got, sum + ((units & 0xfff) << 16), "{what}");
            }
        }
    }
}

#[test]
fn rustsec_2026_0092_ghsa_jxhv_strings_from_nowhere_are_traps() {
    const TAG: u32 = 1 << 31;
    let worker = Worker::new("balanced", P2);
    for from in ENCODINGS {
        for to in ENCODINGS {
            let component = worker.load(&passing(from, to, HONEST, 0, b"some text here"));
            for (ptr, length) in [
                (65_535, 2),
                (65_536, 1),
                (65_537, 0),
                (0, 65_537),
                (0, TAG - 1),
                (0, TAG | 32_769),
                (0, u32::MAX),
                (u32::MAX, 1),
                (u32::MAX, u32::MAX),
                (u32::MAX - 1, 2),
            ] {
                let mut guest = worker.start(&component).unwrap();
                let answer = guest.call::<_, (u32,)>("send", (ptr, length));
                assert!(
                    answer.is_err(),
                    "{from} to {to} {ptr}+{length:#x}: {answer:?}"
                );
            }
            // Odd addresses hold no UTF-16.
            if from != "utf8" {
                for length in [1_u32, 3, TAG | 1, TAG | 3] {
                    if from == "latin1+utf16" && length & TAG == 0 {
                        continue; // Latin-1 has no alignment of its own, but the ABI wants 2
                    }
                    let mut guest = worker.start(&component).unwrap();
                    let answer = guest.call::<_, (u32,)>("send", (1, length));
                    assert!(answer.is_err(), "{from} to {to} 1+{length:#x}: {answer:?}");
                }
            }
        }
    }
}

#[test]
fn rustsec_2026_0091_0092_ghsa_394w_jxhv_a_receivers_realloc_cannot_misplace_a_string() {
    let text =
        "ascii, then \u{e9}\u{20ac}\u{1f41d}, so that each way to transcode grows and shrinks";
    let reallocs = [
        "(i32.const -1)",
        "(i32.const 131071)",
        "(i32.const 131072)",
        "(i32.sub (i32.const 131072) (i32.const 3))",
        "(i32.const -2)",
        "unreachable",
        // The first one is right, the ones that grow or shrink it are not.
        "(if (result i32) (local.get $old) (then (i32.const 131071)) (else (i32.const 0x100)))",
        "(if (result i32) (local.get $old) (then (i32.const -16)) (else (i32.const 0x100)))",
    ];
    for profile in PROFILES {
        let worker = Worker::new(profile, P2);
        for from in ENCODINGS {
            for to in ENCODINGS {
                let (data, length) = encoded(text, from);
                for realloc in reallocs {
                    let mut guest = worker.run(&passing(from, to, realloc, 16, &data));
                    let answer = guest.call::<_, (u32,)>("send", (16, length));
                    // Where nothing is grown a `realloc` that lies about growing is never asked.
                    let asked_once = realloc.contains("local.get $old") && from == to;
                    assert!(
                        answer.is_err() || asked_once,
                        "{profile} {from} to {to} {realloc}: {answer:?}"
                    );
                    drop(guest);
                    let mut next = worker.run(&core(
                        r#"(memory 1) (func (export "f") (param i32) (result i32) (i64.eqz (i64.load (local.get 0))))"#,
                        &["f"],
                    ));
                    for at in [0, 16, 0x100, 65_528] {
                        assert_eq!(next.number("f", at), 1, "nothing is left at {at}");
                    }
                }
            }
        }
    }
}
