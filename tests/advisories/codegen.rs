//! What Cranelift makes of single operators.

use std::fmt::Write as _;

use skep::control::Flavour::P2;
use wasmtime::{Trap, WasmBacktrace};

use crate::worker::{PROFILES, Worker, core};

/// Reads the last value of memory with an operator that could be joined with a wider load.
const LAST: &str = r#"
    (memory 1 1) (data (i32.const 65528) "\00\00\00\00\00\00\f0\3f")
    (func (export "copysign") (param i32) (result i32)
        (i32.trunc_sat_f64_u (f64.copysign (f64.load (local.get 0)) (f64.load (local.get 0)))))
    (func (export "copysign32") (param i32) (result i32)
        (i32.reinterpret_f32 (f32.copysign
            (f32.load (i32.add (local.get 0) (i32.const 4)))
            (f32.load (i32.add (local.get 0) (i32.const 4))))))
    (func (export "splat") (param i32) (result i32)
        (i32.trunc_sat_f64_u (f64x2.extract_lane 1 (f64x2.splat (f64.load (local.get 0))))))
    (func (export "splat-load") (param i32) (result i32)
        (i32.trunc_sat_f64_u (f64x2.extract_lane 1 (v128.load64_splat (local.get 0)))))
    (func (export "splat32") (param i32) (result i32)
        (i32.reinterpret_f32 (f32x4.extract_lane 3
            (f32x4.splat (f32.load (i32.add (local.get 0) (i32.const 4)))))))
    (func (export "neg") (param i32) (result i32)
        (i32.trunc_sat_f64_u (f64.neg (f64.neg (f64.load (local.get 0))))))"#;

/// At the end of memory the value is there, and a byte further it is a trap.
fn check_last(names: &[(&str, u32)]) {
    for profile in PROFILES {
        let worker = Worker::new(profile, P2);
        let exported: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        let component = worker.load(&core(LAST, &exported));
        for (name, value) in names {
            let mut guest = worker.start(&component).unwrap();
            assert_eq!(guest.number(name, 65_528), *value, "{profile}: {name}");
            let trap = guest.trap(name, 65_529);
            assert_eq!(trap, Trap::MemoryOutOfBounds, "{profile}: {name}");
        }
    }
}

const ONE_AS_F64_HIGH: u32 = 0x3ff0_0000;

#[test]
fn rustsec_2026_0006_ghsa_vc8c_copysign_reads_no_more_than_its_operand() {
    check_last(&[("copysign", 1), ("copysign32", ONE_AS_F64_HIGH), ("neg", 1)]);
}

#[test]
fn rustsec_2026_0087_ghsa_qqfj_splat_reads_no_more_than_its_operand() {
    check_last(&[
        ("splat", 1),
        ("splat-load", 1),
        ("splat32", ONE_AS_F64_HIGH),
    ]);
}

/// The most targets that the validator lets through (`MAX_WASM_BR_TABLE_SIZE`).
const TARGETS_MAX: usize = 65_520;

fn table(targets: usize) -> String {
    let module = format!(
        r#"(func (export "f") (param i32) (result i32)
            (block $default (block $odd (block $even
                (br_table {} $default (local.get 0)))
                (return (i32.const 20)))
                (return (i32.const 21)))
            (i32.const 22))"#,
        "$even $odd ".repeat(targets / 2)
    );
    core(&module, &["f"])
}

#[test]
fn wasmtime_48_the_longest_br_table_jumps_where_it_says() {
    let worker = Worker::new("balanced", P2);
    let mut guest = worker.run(&table(TARGETS_MAX));
    for (index, to) in [
        (0, 20),
        (1, 21),
        (32_767, 21),
        (32_768, 20),
        (65_518, 20),
        (65_519, 21),
        (65_520, 22),
        (65_536, 22),
        (u32::MAX, 22),
    ] {
        assert_eq!(guest.number("f", index), to, "{index}");
    }
    let refused = worker.compile(&table(TARGETS_MAX + 2)).unwrap_err();
    assert!(refused.contains("br_table"), "{refused}");
}

#[test]
fn wasmtime_48_many_data_segments_keep_their_bytes() {
    const SEGMENTS: u32 = 40_000;
    let mut module = String::from("(memory 1)");
    for n in 0..SEGMENTS {
        let _ = write!(
            module,
            "(data \"\\{:02x}\\{:02x}\")",
            n & 0xff,
            (n >> 8) & 0xff
        );
    }
    let probes = [0, 1, 255, 256, 32_767, 32_768, 32_769, 36_000, SEGMENTS - 1];
    for n in probes {
        let _ = write!(
            module,
            r#"(func (export "f{n}") (param i32) (result i32)
                (memory.init {n} (i32.const 4) (i32.const 0) (i32.const 2))
                (data.drop {n})
                (i32.load16_u (i32.const 4)))"#
        );
    }
    let names: Vec<String> = probes.iter().map(|n| format!("f{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let worker = Worker::new("balanced", P2);
    let component = worker.load(&core(&module, &names));
    for (n, name) in probes.into_iter().zip(&names) {
        let mut guest = worker.start(&component).unwrap();
        assert_eq!(guest.number(name, 0), n);
        // Dropped, it is empty.
        assert_eq!(guest.trap(name, 0), Trap::MemoryOutOfBounds, "{n}");
    }
}

#[test]
fn ghsa_q8hx_a_trap_behind_tail_calls_has_a_trace() {
    let module = r#"
        (func $down (param i32) (result i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (return_call $up (i32.sub (local.get 0) (i32.const 1)) (i64.const 7)))
        (func $up (param i32 i64) (result i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (return_call $down (i32.sub (local.get 0) (i32.const 1))))
        (func (export "f") (param i32) (result i32) (i32.add (i32.const 1) (call $down (local.get 0))))"#;
    let worker = Worker::new("balanced", P2);
    let component = worker.load(&core(module, &["f"]));
    for depth in [0_u32, 1, 2, 100_001] {
        let mut guest = worker.start(&component).unwrap();
        let error = guest.call::<_, (u32,)>("f", (depth,)).unwrap_err();
        let trap = error.downcast_ref::<Trap>();
        assert_eq!(trap, Some(&Trap::UnreachableCodeReached), "{error:?}");
        let trace = error.downcast_ref::<WasmBacktrace>().expect("a trace");
        assert_eq!(trace.frames().len(), 2, "{depth}: {error:?}");
    }
}
