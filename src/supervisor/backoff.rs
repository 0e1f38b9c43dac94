//! How long a process that died waits before it is started again.
//!
//! ```text
//! died after      1 s      1 s      1 s             70 s
//! waits          50 ms   100 ms   200 ms … 5 s     50 ms
//! ```

use crate::config::limits;

/// The deaths in a row of one process.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// Counts a death after `lived_ms`, and says how many milliseconds to wait.
    pub(super) fn after_death(&mut self, lived_ms: u64) -> u64 {
        if lived_ms >= limits::WORKER_RESTART_RESET_MS {
            self.deaths = 0;
        }
        let factor = 1u64.checked_shl(self.deaths).unwrap_or(u64::MAX);
        self.deaths = self.deaths.saturating_add(1);
        limits::WORKER_RESTART_MIN_MS
            .saturating_mul(factor)
            .min(limits::WORKER_RESTART_MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_over_after_a_long_life() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| backoff.after_death(1)).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        for _ in 0..100 {
            assert_eq!(backoff.after_death(1), limits::WORKER_RESTART_MAX_MS);
        }
        assert_eq!(backoff.after_death(limits::WORKER_RESTART_RESET_MS), 50);
    }
}
