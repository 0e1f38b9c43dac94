//! Takes the core: computing without end, in the ways that a host could fail to stop.

use core::arch::wasm32;
use std::hint::black_box;

use crate::{Attack, Left, reply};

const MIB: usize = 1 << 20;

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/spin" => spin(),
        "/recurse" => reply::text(attack.out, &format!("{}\n", deeper(1))),
        "/fill" => fill(attack.number("mib", 64) as usize * MIB),
        "/copy" => copy(attack.number("mib", 64) as usize * MIB),
        "/chase" => chase(attack.number("mib", 64) as usize * MIB),
        "/answer-spin" => {
            reply::text(attack.out, "answered\n");
            spin()
        }
        "/trap" => wasm32::unreachable(),
        "/panic" => panic!("the attacker panics"),
        "/exit" => std::process::exit(attack.number("code", 1) as i32),
        "/no-answer" => {}
        _ => return Some(attack),
    }
    None
}

pub fn spin() -> ! {
    loop {
        black_box(0);
    }
}

#[inline(never)]
#[expect(
    unconditional_recursion,
    reason = "the stack's limit is what is attacked"
)]
fn deeper(depth: u64) -> u64 {
    deeper(depth + 1).rotate_left(7) ^ depth
}

/// One `memory.fill` after the other: a single instruction each, as long as they get.
fn fill(bytes: usize) -> ! {
    let mut block = vec![0_u8; bytes];
    let mut value = 0_u8;
    loop {
        value = value.wrapping_add(1);
        black_box(&mut block[..]).fill(value);
    }
}

/// The same with `memory.copy` of overlapping ranges.
fn copy(bytes: usize) -> ! {
    let mut block = vec![1_u8; bytes];
    loop {
        black_box(&mut block[..]).copy_within(1.., 0);
    }
}

/// Touches a page per step, so that every step misses every cache.
fn chase(bytes: usize) -> ! {
    let mut block = vec![0_u8; bytes];
    let mut at = 0;
    loop {
        at = (at + 4096 + 64) % bytes;
        let byte = &mut black_box(&mut block[..])[at];
        *byte = byte.wrapping_add(1);
    }
}
