//! Takes what is not its own: memory, handles, streams, and the host's memory behind them.

use core::arch::wasm32;
use std::hint::black_box;

use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, Method, OutgoingRequest, OutgoingResponse, RequestOptions};

use crate::{Attack, Left, reply};

const PAGE_BYTES: usize = 64 * 1024;
const AN_HOUR_NS: u64 = 3_600_000_000_000;

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/alloc" => hoard(|| vec![1_u8; 1 << 20]),
        "/alloc-small" => hoard(|| Box::new([1_u64; 8])),
        "/grow" => grow_for_ever(),
        "/grow-all" => {
            let pages = grow_all();
            reply::text(attack.out, &format!("mib {}\n", pages * PAGE_BYTES >> 20));
        }
        "/fields" => hoard(Fields::new),
        "/pollables" => hoard(|| monotonic_clock::subscribe_duration(AN_HOUR_NS)),
        "/requests" => hoard(|| OutgoingRequest::new(Fields::new())),
        "/methods" => {
            let name = "M".repeat(attack.number("bytes", 1 << 20) as usize);
            let held: Vec<_> = (0..attack.number("n", 1_000))
                .map(|_| with_method(&name))
                .collect();
            reply::text(attack.out, &format!("held {}\n", held.len()));
        }
        "/bodies" => hoard(with_body),
        "/responses" => hoard(|| OutgoingResponse::new(Fields::new())),
        "/options" => hoard(RequestOptions::new),
        "/clones" => clones(),
        "/clones-held" => {
            let held = clones_held(attack.number("n", 400));
            let ms = attack.number("ms", 200);
            monotonic_clock::subscribe_duration(ms * 1_000_000).block();
            reply::text(attack.out, &format!("held {}\n", held.len()));
        }
        "/append" => append(b"x", 60),
        "/append-empty" => append(b"", 0),
        "/big-value" => {
            let value = vec![b'x'; attack.number("n", 1 << 20) as usize];
            reply::field(attack.out, "x-big", &value);
        }
        _ => return Some(attack),
    }
    None
}

/// Makes one after the other and keeps them all.
fn hoard<T>(make: impl Fn() -> T) {
    let mut all = Vec::new();
    loop {
        all.push(make());
        black_box(&all);
    }
}

/// A request whose method has this name.
fn with_method(name: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    let method = Method::Other(name.to_owned());
    request.set_method(&method).expect("a token is a method");
    request
}

/// A request whose body is written to as far as the host takes it.
fn with_body() -> impl Sized {
    let request = OutgoingRequest::new(Fields::new());
    let body = request.body().expect("the first");
    let stream = body.write().expect("the first");
    while let Ok(room @ 1..) = stream.check_write() {
        let chunk = vec![b'x'; room as usize];
        if stream.write(&chunk).is_err() {
            break;
        }
    }
    (stream, body, request)
}

fn grow_for_ever() -> ! {
    loop {
        black_box(wasm32::memory_grow(0, 1));
    }
}

/// Grows until no more is given, touching every page. Says how many pages there are.
fn grow_all() -> usize {
    while wasm32::memory_grow(0, 1) != usize::MAX {
        let last = (wasm32::memory_size(0) - 1) * PAGE_BYTES;
        // SAFETY: the page was just added; nothing else is there.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(last).write_volatile(1) };
    }
    wasm32::memory_size(0)
}

/// Copies of the largest fields there can be, without end: the host's memory, not the guest's.
fn clones() {
    let fields = large_fields();
    hoard(|| own_copy(&fields));
}

/// So many of them.
fn clones_held(count: u64) -> Vec<Fields> {
    let fields = large_fields();
    (0..count).map(|_| own_copy(&fields)).collect()
}

fn large_fields() -> Fields {
    let value = vec![b'x'; 60_000];
    reply::fields(&[("x-big", &value)]).expect("fields of 60,000 bytes")
}

/// Fields share their values until one of them changes.
fn own_copy(fields: &Fields) -> Fields {
    let (name, value) = fields.entries().swap_remove(0);
    reply::fields(&[(&name, &value)]).expect("fields that were taken before")
}

/// One set of fields with ever more values.
fn append(value: &[u8], repeat: usize) {
    let fields = Fields::new();
    let value = value.repeat(repeat);
    for number in 0_u64.. {
        let _ = fields.append(&format!("x-{number}"), &value);
    }
}
