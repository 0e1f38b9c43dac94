//! Stripes: memories that lie closer because protection keys keep them apart.
//!
//! Compiled code checks no bounds, so that a guest reaches 4 GiB and a guard beyond its memory's
//! start. Without keys nothing else may lie there; with them, memories of other keys may, for a
//! guest runs with its own key alone and a touch of any other faults (ColorGuard, Narayan et al.,
//! ASPLOS 2025; Wasmtime's `memory_pool.rs`):
//!
//! ```text
//! guarded   │memory 0│ nothing, to the end of 4 GiB and the guard            │memory 1│ nothing …
//! striped   │memory 0│memory 1│memory 2│ … │memory 14│memory 15│ …
//!            key 1    key 2    key 3         key 15    key 1
//!            └──────────── 4 GiB and the guard ───────┘
//! ```
//!
//! A request's memories are all of one key; requests take the keys in turn.

use super::Profile;
use crate::sys::pkeys;

/// What a 32-bit address reaches, in MiB: the only reservation that stripes make smaller.
pub(super) const REACH_MIB: u64 = 4096;

impl Profile {
    /// Memories that share the reach of one: as many as there are keys, but no more than keep
    /// memories of `memory_mib_max` apart. 1 without keys.
    pub fn stripes(&self) -> u64 {
        match u64::from(self.memory_protection_keys) {
            0 | 1 => 1,
            keys => keys
                .min(self.reach_kib().div_ceil(self.memory_mib_max << 10))
                .min(self.memories()),
        }
    }

    /// Address space from one memory's start to the next one's, in KiB, in whole pages.
    pub fn memory_slot_kib(&self) -> u64 {
        let share = self.reach_kib().div_ceil(self.stripes());
        share.next_multiple_of(4).max(self.memory_mib_max << 10)
    }

    /// What a guest reaches from its memory's start, in KiB.
    fn reach_kib(&self) -> u64 {
        (self.memory_reservation_mib << 10) + self.memory_guard_kib
    }

    /// Whether any request finds a key with as many free memories as a component may have, whatever
    /// keys the others have: of each, all but one may be taken.
    pub(super) fn has_room_in_some_stripe(&self) -> bool {
        let keys = self.memory_protection_keys as usize;
        keys == 0 || self.running_max + self.decommit_batch + keys <= self.slots as usize
    }

    /// Mappings of memories that were never used: the kernel keeps neighbours of different keys
    /// apart. Without keys they are one mapping.
    pub(super) fn mappings_of_idle_stripes(&self) -> u64 {
        match self.stripes() {
            1 => 0,
            // The mapping behind a used memory is among those of a used slot.
            _ => self.memories() - u64::from(self.slots),
        }
    }

    /// Whether there are the protection keys that this profile wants.
    ///
    /// # Errors
    /// One line: what is missing, and what would help.
    pub fn check_protection_keys(&self) -> Result<(), String> {
        let wanted = self.memory_protection_keys;
        if wanted == 0 {
            return Ok(());
        }
        pkeys::check(wanted).map_err(|missing| {
            format!(
                "its profile has memory_protection_keys = {wanted}, but {missing}; choose a profile \
                 without them: balanced, or density for as many slots"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn profile(memory_mib_max: u64, memory_protection_keys: u32) -> Profile {
        Profile {
            memory_mib_max,
            memory_protection_keys,
            ..Profile::find("balanced", Path::new("")).unwrap()
        }
    }

    #[test]
    fn slots_are_those_of_wasmtime() {
        // (memory_mib_max, keys) -> (stripes, slot in KiB); measured slot: 275.2 MiB.
        let cases = [
            ((512, 0), (1, 4128 << 10)),
            ((256, 15), (15, 281_808)),
            ((128, 15), (15, 281_808)),
            ((512, 15), (9, 512 << 10)),
            ((128, 2), (2, 2064 << 10)),
        ];
        for ((memory, keys), expected) in cases {
            let profile = profile(memory, keys);
            assert_eq!(
                (profile.stripes(), profile.memory_slot_kib()),
                expected,
                "{memory} MiB, {keys} keys"
            );
        }
    }

    #[test]
    fn a_skewed_choice_of_keys_leaves_room() {
        let mut profile = profile(256, 15);
        (profile.slots, profile.running_max, profile.decommit_batch) = (100, 84, 1);
        assert!(profile.has_room_in_some_stripe());
        profile.running_max += 1;
        assert!(!profile.has_room_in_some_stripe());
        profile.memory_protection_keys = 0;
        assert!(profile.has_room_in_some_stripe());
    }
}
