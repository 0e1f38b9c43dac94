//! Leaves secrets in every place that an instance has, and looks for those of others.

use core::arch::wasm32;
use std::hint::black_box;

use crate::{Attack, Left, reply};

const PAGE_BYTES: usize = 64 * 1024;
const WORD_BYTES: usize = 8;

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/plant" => {
            let words = plant(attack.number("mib", 8));
            hold(&attack);
            if attack.target.ends_with("then=trap") {
                wasm32::unreachable();
            }
            if attack.target.ends_with("then=spin") {
                crate::compute::spin();
            }
            reply::text(attack.out, &format!("planted {words}\n"));
        }
        "/search" => {
            let (pages, found) = search(attack.number("mib", 32));
            hold(&attack);
            reply::text(attack.out, &format!("pages {pages} found {found}\n"));
        }
        // Shows that the search finds what is there.
        "/plant-search" => {
            let words = plant(1);
            let (_, found) = search(2);
            let all = if found >= words { "all" } else { "not all" };
            reply::text(attack.out, &format!("{all}\n"));
        }
        _ => return Some(attack),
    }
    None
}

/// Keeps the instance, so that the next request gets another slot.
fn hold(attack: &Attack) {
    let ms = attack.number("hold", 0);
    wasip2::clocks::monotonic_clock::subscribe_duration(ms * 1_000_000).block();
}

/// Made when it is needed, so that it stands in no data segment of the program.
fn secret() -> u64 {
    black_box(0x5345_4352_4554_2121_u64) ^ black_box(0x0f0f_0f0f_0f0f_0f0f)
}

/// Fills fresh pages, and frames of the stack. Says how many words it wrote.
fn plant(mib: u64) -> usize {
    let secret = secret();
    let first = wasm32::memory_grow(0, mib as usize * (1 << 20) / PAGE_BYTES);
    assert!(first != usize::MAX, "no memory to plant in");
    let (start, end) = (first * PAGE_BYTES, wasm32::memory_size(0) * PAGE_BYTES);
    for at in (start..end).step_by(WORD_BYTES) {
        // SAFETY: these pages were just added; nothing else is there.
        unsafe { std::ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(secret) };
    }
    let frame = black_box([secret; 512]);
    (end - start) / WORD_BYTES + frame.len()
}

/// Grows by so much and reads all of memory. Says how many pages there are, and how often the secret was there.
fn search(mib: u64) -> (usize, usize) {
    let secret = secret();
    let _ = wasm32::memory_grow(0, mib as usize * (1 << 20) / PAGE_BYTES);
    let pages = wasm32::memory_size(0);
    let found = (WORD_BYTES..pages * PAGE_BYTES)
        .step_by(WORD_BYTES)
        // SAFETY: all of memory is readable; what is read is only compared.
        .filter(|at| unsafe {
            std::ptr::with_exposed_provenance::<u64>(*at).read_volatile() == secret
        })
        .count();
    (pages, found)
}
