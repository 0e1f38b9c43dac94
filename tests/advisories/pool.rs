//! Instances one after the other in one slot, and engines beside each other in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use skep::control::Flavour::{P2, P3};
use wasmtime::component::Linker;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::worker::{PROFILES, Worker, core};

const PAGE_BYTES: u32 = 65_536;

/// Fills memory and table to the given page and element, with what is easy to find.
const PLANTER: &str = r#"
    (memory 1) (table 1 funcref) (func $secret) (elem declare func $secret)
    (func (export "plant") (param i32) (result i32)
        (drop (memory.grow (i32.sub (local.get 0) (memory.size))))
        (memory.fill (i32.const 0) (i32.const 0x5a) (i32.mul (memory.size) (i32.const 65536)))
        (drop (table.grow (ref.func $secret) (i32.const 9999)))
        (memory.size))"#;

/// A program that looks for what others left: in a memory and a table declared like this.
fn searcher(memory: &str) -> String {
    let module = format!(
        r#"{memory} (table 100 20000 funcref)
        (func (export "grow") (param i32) (result i32)
            (drop (table.grow (ref.null func) (i32.const 9000)))
            (memory.grow (local.get 0)))
        (func (export "size") (param i32) (result i32) (memory.size))
        (func (export "bytes") (param $end i32) (result i32) (local $at i32) (local $found i32)
            (loop $next
                (local.set $found (i32.add (local.get $found)
                    (i64.ne (i64.const 0) (i64.load (local.get $at)))))
                (br_if $next (i32.lt_u
                    (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                    (local.get $end))))
            (local.get $found))
        (func (export "functions") (param i32) (result i32) (local $at i32) (local $found i32)
            (loop $next
                (local.set $found (i32.add (local.get $found)
                    (i32.eqz (ref.is_null (table.get (local.get $at))))))
                (br_if $next (i32.lt_u
                    (local.tee $at (i32.add (local.get $at) (i32.const 1)))
                    (table.size))))
            (local.get $found))
        (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))"#
    );
    core(&module, &["grow", "size", "bytes", "functions", "peek"])
}

#[test]
fn rustsec_2026_0088_ghsa_6wgr_nothing_of_an_instance_is_left_to_the_next() {
    for profile in PROFILES {
        for flavour in [P2, P3] {
            let worker = Worker::new(profile, flavour);
            let planter = worker.load(&core(PLANTER, &["plant"]));
            // Smaller, larger, bounded, with an image of its own and without any memory.
            for memory in [
                "(memory 1)",
                "(memory 1 1)",
                "(memory 0)",
                "(memory 40)",
                r#"(memory 2) (data (i32.const 65536) "\00")"#,
            ] {
                let searcher = worker.load(&searcher(memory));
                for planted in [3, 40] {
                    let after = || {
                        let mut before = worker.start(&planter).unwrap();
                        assert_eq!(before.number("plant", planted), planted);
                        drop(before);
                        worker.start(&searcher).unwrap()
                    };
                    let what = format!("{profile} {flavour:?} {memory} after {planted} pages");
                    let pages = after().number("size", 0);
                    let end = pages * PAGE_BYTES;
                    for past in [end, end + 7, 4 * PAGE_BYTES + end, 1 << 30, u32::MAX] {
                        let trap = after().trap("peek", past);
                        assert_eq!(trap, Trap::MemoryOutOfBounds, "{what}: {past}");
                    }
                    let mut after = after();
                    if pages > 0 {
                        assert_eq!(after.number("bytes", end), 0, "{what}");
                    }
                    // What it grows into is empty, too.
                    if after.number("grow", 50) != u32::MAX {
                        assert_eq!(after.number("bytes", end + 50 * PAGE_BYTES), 0, "{what}");
                    }
                    assert_eq!(after.number("functions", 0), 0, "{what}");
                }
            }
        }
    }
}

#[test]
fn rustsec_2026_0114_ghsa_p8xm_a_huge_table_is_refused() {
    let worker = Worker::new("balanced", P2);
    // Declared: refused when it is loaded or instantiated.
    for table in ["4294967295", "2147483648", "100001", "10000001 10000001"] {
        let refused = worker
            .compile(&core(&format!("(table {table} funcref)"), &[]))
            .and_then(|artifact| worker.map(&artifact).map_err(|error| error.to_string()))
            .and_then(|loaded| worker.start(&loaded).map_err(|error| error.to_string()));
        assert!(refused.is_err(), "{table}");
    }
    let wide = worker.compile(&core("(table i64 0 10 funcref)", &[]));
    let reason = wide.unwrap_err();
    assert!(reason.contains("memory64"), "{reason}");
    // Grown: told that there is no room.
    let module = r#"(table 1 4294967295 funcref)
        (func (export "grow") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))
        (func (export "size") (param i32) (result i32) (table.size))"#;
    let mut guest = worker.run(&core(module, &["grow", "size"]));
    for elements in [u32::MAX, u32::MAX - 1, 1 << 31, 1 << 28, 100_000] {
        assert_eq!(guest.number("grow", elements), u32::MAX, "{elements}");
    }
    assert_eq!(guest.number("grow", 99_999), 1);
    assert_eq!(guest.number("size", 0), 100_000);
}

/// Calls through a table with the right type and with one of `types` others.
fn indirect(types: u32) -> String {
    let others: String = (0..types)
        .map(|n| {
            format!(
                "(type $t{n} (func (param{})))",
                " i64".repeat(n as usize + 1)
            )
        })
        .collect();
    let module = format!(
        r#"{others} (type $right (func (param i32) (result i32))) (type $wrong (func (param i64) (result i64)))
        (table 1 funcref) (elem (i32.const 0) $double)
        (func $double (type $right) (i32.mul (local.get 0) (i32.const 2)))
        (func (export "right") (param i32) (result i32)
            (call_indirect (type $right) (local.get 0) (i32.const 0)))
        (func (export "wrong") (param i32) (result i32)
            (i32.wrap_i64 (call_indirect (type $wrong) (i64.const 1) (i32.const 0))))"#
    );
    core(&module, &["right", "wrong"])
}

#[test]
fn rustsec_2026_0222_ghsa_hgjw_types_of_two_engines_are_not_mixed_up() {
    let workers = [Worker::new("balanced", P2), Worker::new("balanced", P3)];
    // Each engine numbers its types as components come and go: differently in the two.
    for round in 0..8 {
        let loaded = [(&workers[0], 1 + round), (&workers[1], 20 - round)]
            .map(|(worker, types)| (worker, worker.load(&indirect(types))));
        for (worker, component) in loaded {
            let mut guest = worker.start(&component).unwrap();
            assert_eq!(guest.number("right", 21), 42);
            assert_eq!(guest.trap("wrong", 0), Trap::BadSignature);
        }
    }
    // And neither loads what the other's settings made.
    for (one, other) in [(0, 1), (1, 0)] {
        let artifact = workers[one].compile(&indirect(1)).unwrap();
        assert!(workers[other].map(&artifact).is_err());
    }
}

/// Bulk operations that all trap half way, and one loop of them that does not.
const BULK: &str = r#"
    (memory 4) (table 64 funcref) (func $f) (elem $e func $f $f $f $f) (data $d "0123456789abcdef")
    (func (export "fill") (param i32) (result i32)
        (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x7fffffff)) (i32.const 0))
    (func (export "copy") (param i32) (result i32)
        (memory.copy (i32.const 0) (i32.const 200000) (i32.const 100000)) (i32.const 0))
    (func (export "init") (param i32) (result i32)
        (memory.init $d (i32.const 262140) (i32.const 0) (i32.const 16)) (i32.const 0))
    (func (export "tfill") (param i32) (result i32)
        (table.fill (i32.const 60) (ref.func $f) (i32.const 5)) (i32.const 0))
    (func (export "tcopy") (param i32) (result i32)
        (table.copy (i32.const 60) (i32.const 0) (i32.const 5)) (i32.const 0))
    (func (export "tinit") (param i32) (result i32)
        (table.init $e (i32.const 62) (i32.const 0) (i32.const 4)) (i32.const 0))
    (func (export "sum") (param i32) (result i32) (local $at i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
            (br_if $next (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 1)))
                (i32.const 262144))))
        (local.get $sum))
    (func (export "work") (param $turns i32) (result i32) (local $left i32)
        (local.set $left (local.get $turns))
        (loop $next
            (memory.fill (i32.const 0) (local.get $left) (i32.const 100000))
            (memory.copy (i32.const 100000) (i32.const 1) (i32.const 99999))
            (table.fill (i32.const 0) (ref.func $f) (i32.const 64))
            (table.copy (i32.const 1) (i32.const 0) (i32.const 63))
            (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (i32.load8_u (i32.const 150000)))"#;

#[test]
fn rustsec_2026_0223_ghsa_2hw9_a_trap_in_a_bulk_operation_writes_nothing() {
    for profile in PROFILES {
        let worker = Worker::new(profile, P2);
        let operations = ["fill", "copy", "init", "tfill", "tcopy", "tinit"];
        let component = worker.load(&core(BULK, &[&operations[..], &["sum", "work"]].concat()));
        for operation in operations {
            let mut guest = worker.start(&component).unwrap();
            let trap = guest.trap(operation, 0);
            let known = [Trap::MemoryOutOfBounds, Trap::TableOutOfBounds];
            assert!(known.contains(&trap), "{profile} {operation}: {trap}");
            drop(guest);
            // The slot's next instance is as new.
            let mut next = worker.start(&component).unwrap();
            assert_eq!(next.number("sum", 0), 0, "{profile} after {operation}");
            assert_eq!(next.number("work", 3), 1, "{profile} after {operation}");
        }
    }
}

#[test]
fn rustsec_2026_0223_ghsa_2hw9_preemption_among_bulk_operations_changes_nothing() {
    let worker = Worker::new("balanced", P2);
    let component = worker.load(&core(BULK, &["work"]));
    let engine = worker.engine.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let ticking = Arc::clone(&stop);
    let ticker = thread::spawn(move || {
        while !ticking.load(Ordering::Relaxed) {
            engine.increment_epoch();
            thread::yield_now();
        }
    });
    let mut store = Store::new(&worker.engine, 0_u64);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        Ok(UpdateDeadline::Yield(1))
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let linker = Linker::new(&worker.engine);
        let instance = linker.instantiate_async(&mut store, &component).await?;
        let work = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "work")?;
        work.call_async(&mut store, (20_000,)).await
    });
    stop.store(true, Ordering::Relaxed);
    ticker.join().unwrap();
    assert_eq!(result.unwrap(), (1,));
    assert!(*store.data() > 3, "preempted {} times", store.data());
}

#[test]
fn ghsa_7qmx_types_registered_and_dropped_by_several_threads_stay_themselves() {
    let worker = Worker::new("balanced", P2);
    let artifacts: Vec<_> = (0..6)
        .map(|n| worker.compile(&indirect(n)).unwrap())
        .collect();
    thread::scope(|scope| {
        for first in 0..3 {
            let (worker, artifacts) = (&worker, &artifacts);
            scope.spawn(move || {
                for turn in 0..60 {
                    let artifact = &artifacts[(first + turn) % artifacts.len()];
                    let component = worker.map(artifact).unwrap();
                    // One slot for three threads: who finds it taken goes on loading.
                    if let Ok(mut guest) = worker.start(&component) {
                        assert_eq!(guest.number("right", 4), 8);
                        assert_eq!(guest.trap("wrong", 0), Trap::BadSignature);
                    }
                }
            });
        }
    });
}
