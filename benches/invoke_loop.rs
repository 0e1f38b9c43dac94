//! N requests in process and nothing else: what a profiler looks at.
//!
//! `cargo bench --bench invoke_loop` says the time of a request; for instruction counts see
//! `benches/README.md`. Arguments: `REQUESTS GUEST SLOTS PROFILE`, each may be left out.

#![allow(clippy::panic)] // a bench that cannot go on says so and stops

mod in_process;

use std::rc::Rc;
use std::time::Instant;

use in_process::{Tenant, engines, guest, profile, program};
use skep::engine::Program;
use skep::sys::clock::thread_cpu_ns;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let word =
        |index: usize, default: &str| words.get(index).map_or(default, |word| word).to_owned();
    let number = |text: String| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let (requests, name) = (number(word(0, "200000")), word(1, "hello"));
    let profile = profile(&word(3, "balanced"), number(word(2, "2000")));
    let engines = engines(&profile);
    let program = program(&engines, &guest(&name), &profile);
    let tenant = Tenant::new();
    let bytes = tenant.request(&program);
    measured(&tenant, &program, requests, bytes);
}

/// A function of its own, so that a profiler can begin to count at it.
#[inline(never)]
fn measured(tenant: &Tenant, program: &Rc<Program>, requests: u32, bytes: usize) {
    let (start, start_cpu_ns) = (Instant::now(), thread_cpu_ns());
    for _ in 0..requests {
        assert_eq!(tenant.request(program), bytes, "every answer is the same");
    }
    let each = |ns: u128| ns / u128::from(requests.max(1));
    let wall_ns = each(start.elapsed().as_nanos());
    // On a busy machine the CPU time is the better figure.
    let cpu_ns = each(u128::from(thread_cpu_ns() - start_cpu_ns));
    println!("{requests} requests: {wall_ns} ns each, {cpu_ns} ns of CPU, {bytes} body bytes");
}
