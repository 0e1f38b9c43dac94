//! A token bucket, kept as one number: when it will be full again.
//!
//! ```text
//!            now                    full_at
//!  ───────────┼───────────────────────┼────► time     taking moves `full_at` to the right;
//!             └── depth ──┤                           open while it is at most `depth` away
//! ```
//!
//! It is the generic cell rate algorithm (ITU-T I.371, annex A): nothing has to be refilled.

/// A bucket of CPU time, counted in the time that it takes to refill, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Takes what refills in `refill_ns`, although it may not be there: the debt is waited for.
    pub(super) fn take(&mut self, refill_ns: u64, now_ns: u64) {
        self.full_at_ns = self.full_at_ns.max(now_ns).saturating_add(refill_ns);
    }

    /// When there is something in a bucket that refills from empty in `depth_ns`. In the past: now.
    pub(super) fn opens_at(&self, depth_ns: u64) -> u64 {
        self.full_at_ns.saturating_sub(depth_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_depth_at_once_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let depth = 100;
        assert!(bucket.opens_at(depth) <= 1_000, "full to begin with");
        bucket.take(100, 1_000);
        assert_eq!(bucket.opens_at(depth), 1_000, "empty, and open");
        bucket.take(40, 1_000);
        assert_eq!(bucket.opens_at(depth), 1_040, "the debt is waited for");
        bucket.take(40, 1_040);
        assert_eq!(bucket.opens_at(depth), 1_080);
        // However long it rests, it holds no more than its depth.
        bucket.take(150, 9_000);
        assert_eq!(bucket.opens_at(depth), 9_050);
    }
}
