//! Memories that protection keys keep apart. These tests need an Intel processor with them:
//! `tests/qemu/run` boots a machine that has one and runs them there.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

mod common;

use std::fs;
use std::path::Path;

use common::{Tenant, TestHost};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use skep::config::Profile;
use skep::control::Flavour;
use skep::engine::settings;
use wasmtime::component::{Component, Instance, Linker, WasmList};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};

/// Keys of the profile `striped`.
const KEYS: u64 = 15;

/// Two guests: each has an image of its own at the start of its memory.
fn guest(word: &str) -> String {
    assert_eq!(word.len(), 4);
    include_str!("../src/engine/stripes/neighbour.wat")
        .replace("\"mine\")\n    (func", &format!("\"{word}\")\n    (func"))
}

fn striped(slots: u32) -> Profile {
    Profile {
        slots,
        warm_slots: slots,
        running_max: slots as usize / 2,
        ..Profile::find("striped", Path::new("")).unwrap()
    }
}

fn engine(profile: &Profile) -> wasmtime::Result<Engine> {
    Engine::new(&settings::worker(Flavour::P2, profile, false))
}

fn load(engine: &Engine, profile: &Profile, word: &str) -> Component {
    let bytes = wat::parse_str(guest(word)).unwrap();
    let (_, artifact) = settings::compile_component(&bytes, profile).unwrap();
    // From a file, as workers do: its pages are the image.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), artifact).unwrap();
    // SAFETY: it was compiled just now, and nobody changes it.
    unsafe { Component::deserialize_file(engine, file.path()) }.unwrap()
}

struct Running {
    store: Store<()>,
    instance: Instance,
    base: usize,
}

fn run(engine: &Engine, component: &Component, word: &str) -> Running {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1 << 40);
    let instance = Linker::new(engine)
        .instantiate(&mut store, component)
        .unwrap();
    let mine = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut store, "mine");
    let (mine,) = mine.unwrap().call(&mut store, ()).unwrap();
    let mine = mine.as_le_slice(&store);
    assert_eq!(mine, word.as_bytes());
    let base = mine.as_ptr() as usize - 16;
    Running {
        store,
        instance,
        base,
    }
}

/// The protection key of the mapping that holds an address.
fn key_of(address: usize) -> u32 {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|it| it.split_once('-'));
        let parse = |hex| usize::from_str_radix(hex, 16).ok();
        if let Some((Some(start), Some(end))) = range.map(|(a, b)| (parse(a), parse(b))) {
            inside = (start..end).contains(&address);
        } else if inside && let Some(key) = line.strip_prefix("ProtectionKey:") {
            return key.trim().parse().unwrap();
        }
    }
    panic!("{address:#x} has no protection key");
}

/// Wasmtime before 48 mapped images without the slot's key: a fresh mapping has key 0, which every
/// guest may touch (<https://github.com/bytecodealliance/wasmtime/pull/14076>).
#[test]
#[ignore = "needs protection keys: tests/qemu/run"]
fn wasmtime_14076_images_keep_their_key_in_recycled_slots() {
    let profile = striped(64);
    let engine = engine(&profile).unwrap();
    let [one, other] = ["once", "more"].map(|word| (load(&engine, &profile, word), word));
    // Every slot is used by one program, then by the other, then by the first again.
    for (component, word) in [&one, &other, &one] {
        let mut running: Vec<Running> = Vec::new();
        for _ in 0..profile.slots {
            running.push(run(&engine, component, word));
        }
        running.sort_by_key(|it| it.base);
        let keys: Vec<u32> = running.iter().map(|it| key_of(it.base)).collect();
        assert!(!keys.contains(&0), "{word}: {keys:?}");
        let bases: Vec<usize> = running.iter().map(|it| it.base).collect();
        let mut within_reach = 0;
        for (index, it) in running.iter_mut().enumerate() {
            // The nearest memory above; the one 15 above has the same key and is out of reach.
            let Some(above) = bases.get(index + 1) else {
                continue;
            };
            assert_ne!(keys[index], keys[index + 1], "{word}: {keys:?}");
            let Ok(distance) = u32::try_from(above - it.base) else {
                continue;
            };
            within_reach += 1;
            let read = it
                .instance
                .get_typed_func::<(u32,), (u32,)>(&mut it.store, "read");
            let error = read
                .unwrap()
                .call(&mut it.store, (distance + 16,))
                .unwrap_err();
            assert_eq!(
                error.downcast_ref(),
                Some(&Trap::MemoryOutOfBounds),
                "{word}"
            );
        }
        assert!(within_reach > profile.slots / 2, "{within_reach}");
    }
}

/// What stripes are for.
#[test]
#[ignore = "needs protection keys: tests/qemu/run"]
fn ten_times_the_slots_in_the_same_address_space() {
    const ADDRESS_SPACE_TIB: u64 = 4;
    let striped = striped(16);
    let guarded = Profile {
        memory_protection_keys: 0,
        ..striped.clone()
    };
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE_TIB << 40, hard).unwrap();
    let without = slots_that_fit(&guarded);
    let with = slots_that_fit(&striped);
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    println!(
        "slots in {ADDRESS_SPACE_TIB} TiB of address space: {without} without protection keys, \
         {with} with {KEYS}: {:.1} times as many",
        f64::from(with) / f64::from(without)
    );
    assert!(with >= 10 * without);
}

/// The most slots with which an engine can be made, to a percent.
fn slots_that_fit(profile: &Profile) -> u32 {
    let fits = |slots| {
        engine(&Profile {
            slots,
            warm_slots: slots,
            ..profile.clone()
        })
        .is_ok()
    };
    let (mut fit, mut too_many) = (16, 32);
    assert!(fits(fit));
    while fits(too_many) {
        (fit, too_many) = (too_many, 2 * too_many);
    }
    while too_many - fit > fit / 100 + 1 {
        let middle = fit.midpoint(too_many);
        if fits(middle) {
            fit = middle;
        } else {
            too_many = middle;
        }
    }
    fit
}

/// What `vm.max_map_count` has to allow.
#[test]
#[ignore = "needs protection keys: tests/qemu/run"]
fn mappings_are_no_more_than_the_profile_says() {
    let count = || {
        fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count() as u64
    };
    let profile = striped(256);
    let before = count();
    let engine = engine(&profile).unwrap();
    let component = load(&engine, &profile, "mine");
    let mut running = Vec::new();
    for _ in 0..profile.slots {
        running.push(run(&engine, &component, "mine"));
    }
    drop(running);
    let mappings = count() - before;
    // One engine of two; what the process maps besides is in `before`.
    println!("{} slots of one engine: {mappings} mappings", profile.slots);
    let said = (profile.mappings_max(false) - 1024) / 2;
    assert!(mappings <= said, "{mappings} of {said}");
    // A program whose image does not begin at its memory's start has one more in each slot.
    assert!(mappings > said * 3 / 4, "{mappings} of {said}");
}

/// Stores take the keys in turn: those that last can have all memories of one.
#[test]
#[ignore = "needs protection keys: tests/qemu/run"]
fn one_key_can_run_out_of_memories() {
    // 64 memories: four or five of each key.
    let profile = striped(32);
    let engine = engine(&profile).unwrap();
    let component = load(&engine, &profile, "mine");
    let mut lasting = Vec::new();
    let refused = loop {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1 << 40);
        match Linker::new(&engine).instantiate(&mut store, &component) {
            Ok(_) => lasting.push(store),
            Err(error) => break error,
        }
        for _ in 1..KEYS {
            run(&engine, &component, "mine");
        }
        assert!(lasting.len() < 6);
    };
    assert!(refused.is::<PoolConcurrencyLimitError>(), "{refused:#}");
    assert!(lasting.len() >= 4);
    run(&engine, &component, "mine");
}

/// A worker gives each request the next key. Requests that last can have all memories of one key;
/// another that gets this key then takes the next.
#[test]
#[ignore = "needs protection keys: tests/qemu/run"]
fn requests_that_last_may_have_all_memories_of_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("small.toml");
    // 64 memories: five of each key at most.
    let small =
        "extends = 'striped'\nslots = 32\nrunning_max = 16\nwarm_slots = 32\ndecommit_batch = 1\n";
    fs::write(&profile, small).unwrap();
    let host = TestHost::builder()
        .line("workers", &format!("profile = {profile:?}"))
        // The processor is emulated.
        .tenant(
            Tenant::new("a", "kitchen")
                .limit("cpu_ms", 10_000)
                .limit("wall_ms", 60_000),
        )
        .start();
    host.wait_for_stderr(|line| line.contains("protection keys hold: 14 of 14 reads"));
    let mut client = host.connect();
    for lasting in 1..=8 {
        let held = host.get("a.test", "/hold?ms=20000");
        assert_eq!(held.expect(200).text(), "held\n", "{lasting}");
        for _ in 1..KEYS {
            client.get("a.test", "/twice").expect(200);
        }
    }
}
