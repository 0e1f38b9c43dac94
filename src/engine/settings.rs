//! How each engine flavour is configured, for the compiler and for the workers alike.
//!
//! What compiled code depends on ([`codegen`]) is set in one place for both: an artifact loads
//! only into an engine with the same values. What only the serving side has, the pool, is in
//! [`worker`].

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::config::Profile;
use crate::config::limits;
use crate::control::Flavour;
use crate::engine::adapt::adapt;
use crate::engine::inspect::{self, InspectError};

/// The settings that compiled code depends on.
fn codegen(flavour: Flavour, profile: &Profile) -> Config {
    // One engine counts fuel for both kinds of handler.
    let concurrent = flavour.engine() != Flavour::P2;
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(flavour.counts_fuel())
        .memory_reservation(profile.memory_reservation_mib << 20)
        .memory_guard_size(profile.memory_guard_kib << 10)
        // Pooled memories never move; with a constant bound, dense layouts check cheaply.
        .memory_may_move(false)
        // A sparse data segment above this size would be copied at every instantiation.
        .memory_guaranteed_dense_image_size(profile.memory_mib_max << 20)
        .max_wasm_stack(profile.wasm_stack_kib << 10)
        .async_stack_size(profile.async_stack_kib << 10)
        // Backtraces use frame pointers; registering unwind tables takes a process-wide lock.
        .native_unwind_info(false)
        .wasm_memory64(false)
        // The async machinery costs several microseconds a call: only WASI 0.3 pays for it.
        .wasm_component_model_async(concurrent)
        .concurrency_support(concurrent);
    config
}

/// The settings of a worker's engine: no compiler, pooled instances.
///
/// `can_swap` says that pages of this process may be swapped out, which rules `PAGEMAP_SCAN`
/// out: in Wasmtime 48 a page that was dirtied and then swapped out is not reset
/// (<https://github.com/bytecodealliance/wasmtime/pull/14357>).
pub fn worker(flavour: Flavour, profile: &Profile, can_swap: bool) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let slots = profile.slots;
    pool.total_memories(slots * limits::MEMORIES_PER_COMPONENT)
        .total_tables(slots * limits::TABLES_PER_COMPONENT)
        .total_stacks(profile.stacks())
        .total_core_instances(slots * limits::CORE_INSTANCES_PER_COMPONENT)
        .total_component_instances(slots)
        .max_memory_size((profile.memory_mib_max << 20) as usize)
        .table_elements(limits::POOL_TABLE_ELEMENTS)
        .max_tables_per_module(limits::POOL_TABLES_PER_MODULE)
        .max_core_instances_per_component(limits::CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(limits::MEMORIES_PER_COMPONENT)
        .max_tables_per_component(limits::TABLES_PER_COMPONENT)
        .max_unused_warm_slots(profile.warm_slots)
        .linear_memory_keep_resident((profile.memory_keep_resident_kib << 10) as usize)
        .table_keep_resident((profile.table_keep_resident_kib << 10) as usize)
        .decommit_batch_size(profile.decommit_batch)
        .pagemap_scan(if profile.pagemap_scan && !can_swap {
            Enabled::Auto
        } else {
            Enabled::No
        });
    if profile.memory_protection_keys > 0 {
        // Without keys this makes a pool without stripes, or none; `stripes` tells the first.
        pool.memory_protection_keys(Enabled::Yes)
            .max_memory_protection_keys(profile.memory_protection_keys as usize);
    }
    let mut config = codegen(flavour, profile);
    config
        .enable_compiler(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// The settings of the compiler process: no pool, Cranelift at full optimization.
fn compiler(flavour: Flavour, profile: &Profile) -> Config {
    let mut config = codegen(flavour, profile);
    config.cranelift_opt_level(OptLevel::Speed);
    config
}

/// Names everything an artifact depends on beside the component: Wasmtime, target, settings.
/// Profiles that differ in nothing that compiled code depends on have the same name.
///
/// # Errors
/// When the settings make no engine on this machine, in one line.
pub fn compatibility(profile: &Profile) -> Result<String, String> {
    let mut hasher = DefaultHasher::new();
    for flavour in Flavour::ALL {
        let engine = Engine::new(&compiler(flavour, profile)).map_err(one_line)?;
        engine.precompile_compatibility_hash().hash(&mut hasher);
    }
    // Up to this size data segments become an image in the artifact. Wasmtime leaves it out, because
    // either artifact loads.
    profile.memory_mib_max.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// Compiles a component, or a filter's core module, into the artifact of its flavour.
///
/// # Errors
/// Why it cannot be served, in one line: it is the tenant's fault.
pub fn compile_component(bytes: &[u8], profile: &Profile) -> Result<(Flavour, Vec<u8>), String> {
    compile_counting(bytes, profile, false)
}

/// The same, into code that counts fuel or not.
///
/// # Errors
/// As [`compile_component`].
pub fn compile_counting(
    bytes: &[u8],
    profile: &Profile,
    fuel: bool,
) -> Result<(Flavour, Vec<u8>), String> {
    let bytes = &*adapt(bytes)?;
    let mut flavour = inspect::flavour(bytes).map_err(|e: InspectError| e.to_string())?;
    if fuel {
        flavour = flavour.with_fuel();
    }
    let engine = Engine::new(&compiler(flavour, profile)).map_err(one_line)?;
    let artifact = match flavour.is_filter() {
        true => engine.precompile_module(bytes),
        false => engine.precompile_component(bytes),
    };
    let artifact = artifact.map_err(one_line)?;
    Ok((flavour, artifact))
}

/// An error and its causes on one line.
pub fn one_line(error: wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wasmtime::component::Component;

    use super::*;

    #[test]
    fn names_tell_profiles_apart_whose_code_differs() {
        let named = |change: fn(&mut Profile)| {
            let mut profile = Profile::find("balanced", Path::new("")).unwrap();
            change(&mut profile);
            compatibility(&profile).unwrap()
        };
        let balanced = named(|_| {});
        let different: [fn(&mut Profile); 3] = [
            |it| it.memory_reservation_mib = 2048,
            |it| it.memory_guard_kib = 64,
            |it| it.memory_mib_max = 128,
        ];
        for (index, change) in different.into_iter().enumerate() {
            assert_ne!(named(change), balanced, "{index}");
        }
        let same = |it: &mut Profile| {
            (it.slots, it.running_max, it.warm_slots) = (64, 32, 0);
            (it.slice_us, it.tick_us, it.decommit_batch) = (500, 250, 1);
            (it.memory_keep_resident_kib, it.pagemap_scan) = (0, false);
            (it.wasm_stack_kib, it.async_stack_kib) = (512, 1024);
        };
        assert_eq!(named(same), balanced);
    }

    #[test]
    fn a_worker_cannot_compile() {
        let profile = Profile::find("local", Path::new("")).unwrap();
        let component = wat::parse_str("(component)").unwrap();
        for flavour in Flavour::ALL {
            let engine = Engine::new(&worker(flavour, &profile, true)).unwrap();
            assert!(Component::new(&engine, &component).is_err(), "{flavour:?}");
            let compiler = Engine::new(&compiler(flavour, &profile)).unwrap();
            assert!(Component::new(&compiler, &component).is_ok(), "{flavour:?}");
        }
    }
}
