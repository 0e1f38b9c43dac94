//! Asks the clocks what they tell: the finer they are, the more of its neighbours a guest sees.

use std::collections::BTreeSet;

use wasip2::clocks::{monotonic_clock, wall_clock};

use crate::{Attack, Left, reply};

pub fn run(attack: Attack) -> Left {
    match attack.path() {
        "/clock-steps" => {
            let text = monotonic(attack.number("n", 2_000));
            reply::text(attack.out, &text);
        }
        "/wall-steps" => {
            let text = wall(attack.number("n", 100));
            reply::text(attack.out, &text);
        }
        _ => return Some(attack),
    }
    None
}

/// The resolution that the clock says it has, and every time it showed, in ns.
fn monotonic(reads: u64) -> String {
    let seen: BTreeSet<u64> = (0..reads).map(|_| monotonic_clock::now()).collect();
    let seen: Vec<_> = seen.iter().map(u64::to_string).collect();
    format!("{}\n{}\n", monotonic_clock::resolution(), seen.join(" "))
}

/// The same for the wall clock, in ns since 1970.
fn wall(reads: u64) -> String {
    let ns =
        |time: wall_clock::Datetime| time.seconds * 1_000_000_000 + u64::from(time.nanoseconds);
    let seen: BTreeSet<u64> = (0..reads).map(|_| ns(wall_clock::now())).collect();
    let seen: Vec<_> = seen.iter().map(u64::to_string).collect();
    format!("{}\n{}\n", ns(wall_clock::resolution()), seen.join(" "))
}
