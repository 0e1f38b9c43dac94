//! Core profiles: everything one worker is tuned to, as data (`tuning/profiles/*.toml`).

use serde::{Deserialize, Serialize};

use super::limits::{
    FLAVOURS, HEAD_BYTES_MAX, MEMORIES_PER_COMPONENT, MEMORY_PROTECTION_KEYS_MAX,
    STACKS_PER_CONCURRENT,
};
use super::stripes;

/// What one worker is tuned to. Read from a profile file; every value there carries its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Instances that can be alive at once in one worker: the pool's slots.
    pub slots: u32,
    /// Requests that run guests at once in one worker; below `slots`, so the pool never runs out.
    pub running_max: usize,
    /// Largest linear memory of any instance, in MiB; tenants' `memory_mib` may not exceed it.
    pub memory_mib_max: u64,
    /// Address space reserved for a linear memory, in MiB. 4096 removes bounds checks.
    pub memory_reservation_mib: u64,
    /// Guard region after each linear memory, in KiB.
    pub memory_guard_kib: u64,
    /// Protection keys that keep neighbouring memories apart, so that they can lie closer; 0: none.
    /// See [`stripes`](super::stripes).
    pub memory_protection_keys: u32,
    /// Dirty bytes of a linear memory that are reset in place instead of given back, in KiB.
    pub memory_keep_resident_kib: u64,
    /// The same for tables, in KiB.
    pub table_keep_resident_kib: u64,
    /// Find dirty pages with `PAGEMAP_SCAN` (Linux 6.7) where the process cannot swap.
    pub pagemap_scan: bool,
    /// Unused slots kept warm for the modules that used them last.
    pub warm_slots: u32,
    /// Slots given back to the kernel in one batch.
    pub decommit_batch: usize,
    /// Stack of the guest, in KiB.
    pub wasm_stack_kib: usize,
    /// Stack that a guest call runs on, host frames included, in KiB; above `wasm_stack_kib`.
    pub async_stack_kib: usize,
    /// Longest time between two ring turns, in microseconds: the slice.
    pub slice_us: u64,
    /// Period of the epoch ticker, in microseconds; at most half of `slice_us`.
    pub tick_us: u64,
    /// One step of the clocks that guests see, in microseconds; 0 is exact.
    pub clock_us: u64,
    /// Submission entries of the ring.
    pub ring_entries: u32,
    /// Bytes of a connection's read buffer at first; it grows up to the head limit.
    pub read_buffer_bytes: usize,
    /// Response bytes gathered before a write, and the most read ahead of a guest's request body.
    pub body_chunk_bytes: usize,
}

/// One key of a profile file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it counts; `switch` for true or false.
    pub unit: &'static str,
    /// Smallest value accepted.
    pub min: u64,
    /// Largest value accepted.
    pub max: u64,
    /// What it is, in one line.
    pub meaning: &'static str,
}

/// The unit of a key that is true or false.
const SWITCH: &str = "switch";

impl Key {
    /// Whether the key is true or false and not a number.
    pub fn is_switch(&self) -> bool {
        self.unit == SWITCH
    }

    /// Accepted values, in words.
    pub fn range(&self) -> String {
        if self.is_switch() {
            return "true or false".to_owned();
        }
        format!("{} to {} {}", self.min, self.max, self.unit)
    }
}

const fn key(
    name: &'static str,
    unit: &'static str,
    min: u64,
    max: u64,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        unit,
        min,
        max,
        meaning,
    }
}

/// Every key of a profile file, in the order of [`Profile`]'s fields.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("slots", "slots", 16, 1_000_000, "Instances alive at once in one worker."),
    key("running_max", "requests", 1, 999_999, "Requests that run guests at once in one worker."),
    key("memory_mib_max", "MiB", 1, 4_096, "Largest linear memory of any instance."),
    key("memory_reservation_mib", "MiB", 1, 4_096, "Address space reserved for a linear memory; 4096 removes bounds checks."),
    key("memory_guard_kib", "KiB", 64, 1 << 20, "Guard region after each linear memory."),
    key("memory_protection_keys", "keys", 0, MEMORY_PROTECTION_KEYS_MAX, "Protection keys that keep neighbouring memories apart, so that they can lie closer; 0: none. Needs an Intel processor with PKU."),
    key("memory_keep_resident_kib", "KiB", 0, 1 << 20, "Dirty bytes of a linear memory that are reset in place."),
    key("table_keep_resident_kib", "KiB", 0, 1 << 20, "The same for tables."),
    key("pagemap_scan", SWITCH, 0, 1, "Find dirty pages with PAGEMAP_SCAN (Linux 6.7) where the process cannot swap."),
    key("warm_slots", "slots", 0, 1_000_000, "Unused slots kept warm for the modules that used them last."),
    key("decommit_batch", "slots", 1, 1_024, "Slots given back to the kernel in one batch."),
    key("wasm_stack_kib", "KiB", 64, 8_192, "Stack of the guest."),
    key("async_stack_kib", "KiB", 320, 16_384, "Stack that a guest call runs on, host frames included."),
    key("slice_us", "µs", 100, 10_000, "Longest time between two ring turns."),
    key("tick_us", "µs", 50, 5_000, "Period of the epoch ticker."),
    key("clock_us", "µs", 0, 10_000, "One step of the clocks that guests see; 0 is exact."),
    key("ring_entries", "entries", 64, 32_768, "Submission entries of the ring."),
    key("read_buffer_bytes", "bytes", 1_024, 65_536, "A connection's read buffer at first; it grows up to the head limit."),
    key("body_chunk_bytes", "bytes", 4_096, 1 << 20, "Response bytes gathered before a write, and the most read ahead of a guest's body."),
];

/// What must hold between values.
pub(super) struct Relation {
    /// The keys it is about; the first that a file sets is named in the error.
    pub(super) keys: &'static [&'static str],
    /// Whether it holds.
    pub(super) holds: fn(&Profile) -> bool,
    /// What is wrong when it does not.
    pub(super) wrong: &'static str,
    /// What would be right.
    pub(super) right: &'static str,
}

/// Address space that a position-independent program finds in one piece on x86-64, less some
/// room: 86 TiB measured.
const ADDRESS_SPACE_MIB: u64 = 80 << 20;

/// Host frames above a guest's stack: overflowing them would end the process.
const HOST_STACK_KIB: usize = 256;

const PAGE_KIB: u64 = 4;

/// Everything that must hold between values.
pub(super) const RELATIONS: &[Relation] = &[
    Relation {
        keys: &["running_max", "slots", "decommit_batch"],
        // Slots that wait in a decommit batch cannot be used.
        holds: |it| it.running_max + it.decommit_batch <= it.slots as usize,
        wrong: "the pool can run out under running requests",
        right: "running_max + decommit_batch at most slots",
    },
    Relation {
        keys: &["memory_mib_max", "memory_reservation_mib"],
        holds: |it| it.memory_mib_max <= it.memory_reservation_mib,
        wrong: "a memory would outgrow its reservation",
        right: "memory_mib_max at most memory_reservation_mib",
    },
    Relation {
        keys: &["memory_protection_keys"],
        holds: |it| it.memory_protection_keys != 1,
        wrong: "one key keeps nothing apart",
        right: "0 for none, or 2 to 15",
    },
    Relation {
        keys: &["memory_protection_keys", "memory_reservation_mib"],
        // Below it, compiled code checks bounds by itself, and a fault would prove nothing.
        holds: |it| {
            it.memory_protection_keys == 0 || it.memory_reservation_mib == stripes::REACH_MIB
        },
        wrong: "keys save room between memories that reserve 4 GiB each",
        right: "memory_reservation_mib = 4096, or memory_protection_keys = 0",
    },
    Relation {
        keys: &["memory_protection_keys", "running_max", "slots"],
        holds: |it| it.has_room_in_some_stripe(),
        wrong: "every stripe can be too full for one more request",
        right: "running_max + decommit_batch + memory_protection_keys at most slots",
    },
    Relation {
        keys: &["memory_keep_resident_kib", "memory_mib_max"],
        holds: |it| it.memory_keep_resident_kib <= it.memory_mib_max << 10,
        wrong: "keeps more than a whole memory resident",
        right: "memory_keep_resident_kib at most memory_mib_max in KiB",
    },
    Relation {
        keys: &[
            "slots",
            "memory_reservation_mib",
            "memory_guard_kib",
            "memory_protection_keys",
        ],
        holds: |it| it.reserved_mib() <= ADDRESS_SPACE_MIB,
        wrong: "the pools of all engines need more than 80 TiB of address space",
        right: "slots * 6 * (memory_reservation_mib + guard) at most 80 TiB: fewer slots, or a smaller reservation",
    },
    Relation {
        keys: &["async_stack_kib", "wasm_stack_kib"],
        holds: |it| it.wasm_stack_kib + HOST_STACK_KIB <= it.async_stack_kib,
        wrong: "no room for host frames above the guest's stack",
        right: "async_stack_kib at least wasm_stack_kib + 256",
    },
    Relation {
        keys: &["async_stack_kib"],
        holds: |it| is_pages(it.async_stack_kib as u64),
        wrong: "not whole pages",
        right: "a multiple of 4 KiB",
    },
    Relation {
        keys: &["memory_guard_kib"],
        holds: |it| is_pages(it.memory_guard_kib),
        wrong: "not whole pages",
        right: "a multiple of 4 KiB",
    },
    Relation {
        keys: &["memory_keep_resident_kib"],
        holds: |it| is_pages(it.memory_keep_resident_kib),
        wrong: "not whole pages",
        right: "a multiple of 4 KiB",
    },
    Relation {
        keys: &["table_keep_resident_kib"],
        holds: |it| is_pages(it.table_keep_resident_kib),
        wrong: "not whole pages",
        right: "a multiple of 4 KiB",
    },
    Relation {
        keys: &["tick_us", "slice_us"],
        holds: |it| it.tick_us * 2 <= it.slice_us,
        wrong: "the ticker is too slow to end a slice in time",
        right: "tick_us at most half of slice_us",
    },
    Relation {
        keys: &["ring_entries"],
        holds: |it| it.ring_entries.is_power_of_two(),
        wrong: "not a power of two",
        right: "a power of two, as io_uring_setup(2) rounds to one",
    },
    Relation {
        keys: &["read_buffer_bytes"],
        holds: |it| it.read_buffer_bytes as u64 <= HEAD_BYTES_MAX.default,
        wrong: "the first read buffer is above the default head limit",
        right: "read_buffer_bytes at most 32768",
    },
];

fn is_pages(kib: u64) -> bool {
    kib.is_multiple_of(PAGE_KIB)
}

/// Mappings of a used slot: image, heap above it, and the inaccessible rest (4 measured).
const MAPPINGS_PER_SLOT: u64 = 4;
/// Mappings of a stack: itself and its guard page.
const MAPPINGS_PER_STACK: u64 = 2;
/// Mappings of a loaded component (3.3 measured).
const MAPPINGS_PER_COMPONENT: u64 = 4;
/// Everything else a worker maps: binary, libraries, allocator arenas, ring, tables.
const MAPPINGS_OTHER: u64 = 1_024;

impl Profile {
    /// Linear memories of one engine's pool.
    pub(super) fn memories(&self) -> u64 {
        u64::from(self.slots) * u64::from(MEMORIES_PER_COMPONENT)
    }

    /// Address space of all engines' pools, in MiB.
    fn reserved_mib(&self) -> u64 {
        FLAVOURS * (self.memories() * self.memory_slot_kib()).div_ceil(1024)
    }

    /// Requests that run at once where each may need [`STACKS_PER_CONCURRENT`] stacks: there is one for
    /// each slot.
    pub fn concurrent_max(&self) -> usize {
        let stacks = (self.slots as usize).saturating_sub(self.decommit_batch);
        (stacks / STACKS_PER_CONCURRENT).clamp(1, self.running_max)
    }

    /// Filters that run at once beside programs with one stack each: their second stacks are those of the
    /// slots that nothing runs in.
    pub fn filters_max(&self) -> usize {
        self.idle_slots().max(1)
    }

    /// Slots that nothing runs in.
    fn idle_slots(&self) -> usize {
        let slots = (self.slots as usize).saturating_sub(self.decommit_batch);
        slots.saturating_sub(self.running_max)
    }

    /// Stacks of an engine's pool: one for each slot, and for each filter beside them.
    pub fn stacks(&self) -> u32 {
        self.slots + u32::from(self.idle_slots() == 0)
    }

    /// The most memory mappings that one worker has when every slot of its engines was used,
    /// without loaded components. `fuel` says whether a tenant needs the engine that counts fuel.
    pub fn mappings_max(&self, fuel: bool) -> u64 {
        let pool = u64::from(self.slots) * (MAPPINGS_PER_SLOT + MAPPINGS_PER_STACK);
        let engines = if fuel { FLAVOURS } else { FLAVOURS - 1 };
        engines * (pool + self.mappings_of_idle_stripes()) + MAPPINGS_OTHER
    }

    /// The same with this many tenants loaded: what `vm.max_map_count` has to allow.
    pub fn mappings_needed(&self, tenants: usize, fuel: bool) -> u64 {
        self.mappings_max(fuel) + tenants as u64 * MAPPINGS_PER_COMPONENT
    }

    /// Whether a worker with this many tenants stays below the kernel's `vm.max_map_count`.
    ///
    /// # Errors
    /// One line with both numbers and the command that raises the kernel's.
    pub fn check_mappings(&self, tenants: usize, fuel: bool) -> Result<(), String> {
        // Without /proc nothing is known, and mmap(2) will say so itself.
        let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        match limit.ok().and_then(|text| text.trim().parse().ok()) {
            Some(limit) => self.check_mappings_against(tenants, fuel, limit),
            None => Ok(()),
        }
    }

    fn check_mappings_against(&self, tenants: usize, fuel: bool, limit: u64) -> Result<(), String> {
        let needed = self.mappings_needed(tenants, fuel);
        if needed <= limit {
            return Ok(());
        }
        let raised = needed.next_power_of_two();
        Err(format!(
            "{} slots and {tenants} tenants need {needed} memory mappings in its worker, \
             vm.max_map_count is {limit}; run `sysctl -w vm.max_map_count={raised}`, or choose a \
             profile with fewer slots",
            self.slots
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_filter_has_a_second_stack() {
        let check = |profile: &Profile, filters: usize, stacks: u32| {
            assert_eq!(profile.filters_max(), filters, "{profile:?}");
            assert_eq!(profile.stacks(), stacks, "{profile:?}");
        };
        let mut profile = Profile::find("balanced", Path::new("")).unwrap();
        check(&profile, 499, 2_000);
        profile.running_max = 1_990;
        check(&profile, 9, 2_000);
        // Nothing is left: then there is one stack more.
        profile.running_max = 1_999;
        check(&profile, 1, 2_001);
    }

    #[test]
    fn mappings_are_refused_one_above_the_limit() {
        let profile = Profile::find("balanced", Path::new("")).unwrap();
        // The engine that counts fuel is made only for those who want it.
        for (fuel, engines, raised) in [(false, 2, 32768), (true, 3, 65536)] {
            assert_eq!(profile.mappings_max(fuel), engines * 2_000 * 6 + 1_024);
            let needed = profile.mappings_max(fuel) + 4 * 100;
            assert_eq!(profile.check_mappings_against(100, fuel, needed), Ok(()));
            let refused = profile.check_mappings_against(100, fuel, needed - 1);
            let refused = refused.unwrap_err();
            let command = format!("sysctl -w vm.max_map_count={raised}");
            assert!(refused.contains(&command), "{refused}");
        }
    }

    #[test]
    fn keys_are_the_fields() {
        let profile = Profile::find("balanced", Path::new("")).unwrap();
        let table = toml::Table::try_from(&profile).unwrap();
        let mut fields: Vec<_> = table.keys().map(String::as_str).collect();
        let mut keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        fields.sort_unstable();
        keys.sort_unstable();
        assert_eq!(fields, keys);
    }
}
