//! What a guest can learn from its clocks and timers.

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::http::types::ResponseOutparam;

use crate::reply;
use crate::request::Target;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
const NS_PER_US: u64 = 1_000;

/// The times that a clock told.
#[derive(Default)]
struct Told {
    distinct: u64,
    last: u64,
    /// The greatest common divisor of all.
    unit: u64,
}

impl Told {
    fn note(&mut self, ns: u64) {
        if ns != self.last {
            self.distinct += 1;
            self.last = ns;
            self.unit = gcd(self.unit, ns);
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn wall_ns(time: wall_clock::Datetime) -> u64 {
    time.seconds * NS_PER_S + u64::from(time.nanoseconds)
}

/// Reads both clocks again and again: their resolutions, how many times each told, and the unit of those.
pub fn ticks(target: &Target, out: ResponseOutparam) {
    let end = monotonic_clock::now() + target.number("ms", 1) * NS_PER_MS;
    let (mut monotonic, mut wall, mut reads) = (Told::default(), Told::default(), 0_u64);
    while monotonic.last < end {
        monotonic.note(monotonic_clock::now());
        wall.note(wall_ns(wall_clock::now()));
        reads += 1;
    }
    let resolutions = (monotonic_clock::resolution(), wall_ns(wall_clock::resolution()));
    reply::text(
        out,
        200,
        &format!(
            "resolution {} {}\nmonotonic {} {}\nwall {} {}\nreads {reads}\n",
            resolutions.0, resolutions.1, monotonic.distinct, monotonic.unit, wall.distinct, wall.unit
        ),
    );
}

/// Waits for a duration and for an instant in turn; tells how often its clock said that it was too early.
pub fn naps(target: &Target, out: ResponseOutparam) {
    let nap = target.number("us", 1) * NS_PER_US;
    let mut early = 0;
    for turn in 0..target.number("n", 1) {
        let end = monotonic_clock::now() + nap;
        if turn % 2 == 0 {
            monotonic_clock::subscribe_duration(nap).block();
        } else {
            monotonic_clock::subscribe_instant(end).block();
        }
        early += u64::from(monotonic_clock::now() < end);
    }
    reply::text(out, 200, &format!("early {early}\n"));
}
