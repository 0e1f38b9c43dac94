//! The longest operations of a guest that no tick interrupts, at the default limits.
//!
//! Compiled code looks at the epoch at loops and calls. One instruction that works on a whole memory
//! is neither, and so is one host call: while it runs, nothing else on its core does. The memory limit
//! bounds it; this says by how much.
//!
//! ```text
//!   cargo bench --bench unpreemptible
//! ```

#![allow(clippy::expect_used)] // a bench that cannot go on says so and stops

use std::time::Duration;

use skep::config::limits;
use skep::sys::clock::thread_cpu_ns;
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store,
};

/// How often each is measured; the median and the worst are told.
const ROUNDS: usize = 15;
const MEMORY_BYTES: u64 = limits::MEMORY_MIB.default << 20;
const PAGES: u64 = MEMORY_BYTES >> 16;
const HALF: u64 = MEMORY_BYTES / 2;
const ELEMENTS: u64 = limits::TABLE_ELEMENTS.default;
const HOSTCALL_BYTES: u64 = limits::HOSTCALL_BYTES.default;

/// Memories as in the default profile, in a pool of a few.
fn engine() -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(4)
        .max_memory_size(MEMORY_BYTES as usize)
        .table_elements(ELEMENTS as usize)
        .linear_memory_keep_resident(4 << 20);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).expect("an engine")
}

/// CPU time, so that what else runs on the machine does not count.
fn since(started_ns: u64) -> Duration {
    Duration::from_nanos(thread_cpu_ns() - started_ns)
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

/// One operation: its name, what the module declares, what comes before it, and itself.
struct Operation {
    name: String,
    declares: String,
    before: String,
    body: String,
}

fn operations() -> Vec<Operation> {
    let mib = MEMORY_BYTES >> 20;
    let memory = format!("(memory {PAGES})");
    let fill = |start: u64, bytes: u64| {
        format!("(memory.fill (i32.const {start}) (i32.const 1) (i32.const {bytes}))")
    };
    let copy = format!("(memory.copy (i32.const {HALF}) (i32.const 0) (i32.const {HALF}))");
    let table = format!("(table {ELEMENTS} funcref) (func $f) (elem declare func $f)");
    let table_fill = format!("(table.fill (i32.const 0) (ref.func $f) (i32.const {ELEMENTS}))");
    let table_copy = format!(
        "(table.copy (i32.const {0}) (i32.const 0) (i32.const {0}))",
        ELEMENTS / 2
    );
    let one = |name: String, declares: &str, before: String, body: String| Operation {
        name,
        declares: declares.to_owned(),
        before,
        body,
    };
    vec![
        one(
            format!("memory.fill of {mib} MiB, untouched"),
            &memory,
            String::new(),
            fill(0, MEMORY_BYTES),
        ),
        one(
            format!("memory.fill of {mib} MiB, touched before"),
            &memory,
            fill(0, MEMORY_BYTES),
            fill(0, MEMORY_BYTES),
        ),
        one(
            format!("memory.copy of {} MiB, untouched", mib / 2),
            &memory,
            String::new(),
            copy.clone(),
        ),
        one(
            format!("memory.copy of {} MiB, touched before", mib / 2),
            &memory,
            fill(0, MEMORY_BYTES),
            copy,
        ),
        one(
            format!("memory.grow by {mib} MiB"),
            "(memory 0)",
            String::new(),
            format!("(drop (memory.grow (i32.const {PAGES})))"),
        ),
        one(
            format!("table.fill of {ELEMENTS} elements"),
            &table,
            String::new(),
            table_fill.clone(),
        ),
        one(
            format!("table.copy of {} elements", ELEMENTS / 2),
            &table,
            table_fill,
            table_copy,
        ),
        one(
            format!("table.grow by {ELEMENTS} elements"),
            "(table 0 funcref)",
            String::new(),
            format!("(drop (table.grow (ref.null func) (i32.const {ELEMENTS})))"),
        ),
    ]
}

/// Times of the operation, each in a fresh instance, and of the instance's end.
fn measure(engine: &Engine, operation: &Operation) -> (Vec<Duration>, Vec<Duration>) {
    let Operation {
        declares,
        before,
        body,
        ..
    } = operation;
    let text = format!(
        r#"(module {declares} (func (export "before") {before}) (func (export "op") {body}))"#
    );
    let module = Module::new(engine, wat(&text)).expect("a valid module");
    let rounds = (0..ROUNDS).map(|_| {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("a slot");
        let mut call = |name| {
            let function = instance.get_typed_func::<(), ()>(&mut store, name);
            let function = function.expect("it is exported");
            let started = thread_cpu_ns();
            function.call(&mut store, ()).expect("it ends");
            since(started)
        };
        call("before");
        let took = call("op");
        let started = thread_cpu_ns();
        drop(store);
        (took, since(started))
    });
    rounds.unzip()
}

/// Times of a host call that copies as much as it may out of the guest.
fn host_call(engine: &Engine) -> Vec<Duration> {
    let pages = (HOSTCALL_BYTES >> 16) + 1;
    let text = format!(
        r#"(component
            (import "take" (func $take (param "bytes" (list u8))))
            (core module $memory (memory (export "memory") {pages}))
            (core instance $memory (instantiate $memory))
            (core func $take (canon lower (func $take) (memory (core memory $memory "memory"))))
            (core module $m
                (import "" "take" (func $take (param i32 i32)))
                (func (export "op") (call $take (i32.const 0) (i32.const {HOSTCALL_BYTES}))))
            (core instance $i (instantiate $m
                (with "" (instance (export "take" (func $take))))))
            (func (export "op") (canon lift (core func $i "op"))))"#
    );
    let component = Component::new(engine, wat(&text)).expect("a valid component");
    let mut linker = Linker::<()>::new(engine);
    let take = linker.root().func_wrap("take", |_, (bytes,): (Vec<u8>,)| {
        std::hint::black_box(bytes);
        Ok(())
    });
    take.expect("a host function");
    let rounds = (0..ROUNDS).map(|_| {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(HOSTCALL_BYTES as usize);
        let instance = linker.instantiate(&mut store, &component).expect("a slot");
        let function = instance.get_typed_func::<(), ()>(&mut store, "op");
        let function = function.expect("it is exported");
        let started = thread_cpu_ns();
        function.call(&mut store, ()).expect("it ends");
        since(started)
    });
    rounds.collect()
}

fn row(name: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("| {name} | {:.2} | {:.2} |", ms(median), ms(worst));
}

fn main() {
    let engine = engine();
    println!("| operation | median, ms | worst of {ROUNDS}, ms |\n|---|--:|--:|");
    let mut ends = Vec::new();
    for operation in operations() {
        let (took, end) = measure(&engine, &operation);
        row(&operation.name, took);
        ends.push(end);
    }
    let mib = HOSTCALL_BYTES >> 20;
    row(
        &format!("a host call that copies {mib} MiB"),
        host_call(&engine),
    );
    let end = ends.swap_remove(0);
    row("the end of an instance, its whole memory touched", end);
}
