//! Time as the caller tells it: nothing here looks at a clock.

use std::time::{Duration, Instant, SystemTime};

/// One moment, by both clocks.
///
/// The wall clock is held against dates that origins write; what passes afterwards is measured by the
/// other one, which nobody sets.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By the clock that does not run back.
    pub instant: Instant,
    /// By the wall clock.
    pub wall: SystemTime,
}

impl Now {
    /// Time since a moment before; zero if it is after.
    pub(super) fn since(self, before: Instant) -> Duration {
        self.instant.saturating_duration_since(before)
    }
}
