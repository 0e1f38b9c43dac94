//! A token bucket: so many a second on average, so many at once.
//!
//! ```text
//!   rate / parts a second ─► ▐ level ≤ burst ▌ ─► take
//! ```
//!
//! The arithmetic is exact. What is counted is a token's 10⁹ · `parts`-th: in one nanosecond, `rate`
//! of those come in, so that the workers of one tenant together give out `rate` a second, whatever
//! their number.

#![forbid(unsafe_code)]

use std::cell::Cell;

const NS_PER_S: u128 = 1_000_000_000;

/// Tokens that come in at a fixed rate. It is full at first.
#[derive(Debug)]
pub struct TokenBucket {
    rate: u128,
    /// What a token counts.
    token: u128,
    /// The level of a full bucket.
    full: u128,
    level: Cell<u128>,
    /// When the level was that, in nanoseconds.
    at_ns: Cell<u64>,
}

impl TokenBucket {
    /// One of `parts` buckets that get `rate` tokens a second together; it holds `burst` at most.
    /// The rate is at least 1.
    pub fn new(rate: u64, parts: u64, burst: u64) -> Self {
        let token = NS_PER_S * u128::from(parts.max(1));
        let full = token * u128::from(burst);
        Self {
            rate: u128::from(rate.max(1)),
            token,
            full,
            level: Cell::new(full),
            at_ns: Cell::new(0),
        }
    }

    /// Takes this many tokens at this time, all or none.
    ///
    /// # Errors
    /// In how many nanoseconds they will be there, if nobody else takes any.
    pub fn take(&self, tokens: u64, now_ns: u64) -> Result<(), u64> {
        // A clock that is behind another reading adds nothing.
        let passed = u128::from(now_ns.saturating_sub(self.at_ns.get()));
        let level = self.full.min(self.level.get() + passed * self.rate);
        self.at_ns.set(self.at_ns.get().max(now_ns));
        let wanted = self.token * u128::from(tokens);
        match level.checked_sub(wanted) {
            Some(left) => {
                self.level.set(left);
                Ok(())
            }
            None => {
                self.level.set(level);
                let wait = (wanted - level).div_ceil(self.rate);
                Err(u64::try_from(wait).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_rate_and_never_more() {
        let bucket = TokenBucket::new(10, 1, 5);
        let start = 7 * S; // the clock began long ago
        for _ in 0..5 {
            assert_eq!(bucket.take(1, start), Ok(()));
        }
        assert_eq!(bucket.take(1, start), Err(S / 10));
        assert_eq!(bucket.take(1, start + S / 10 - 1), Err(1));
        assert_eq!(bucket.take(1, start + S / 10), Ok(()));
        // An hour of silence is worth no more than the burst.
        let later = start + 3600 * S;
        assert_eq!(bucket.take(6, later), Err(S / 10));
        assert_eq!(bucket.take(5, later), Ok(()));
        assert!(bucket.take(1, later).is_err());
        // A clock that runs back gives nothing.
        assert!(bucket.take(1, start).is_err());
        assert_eq!(bucket.take(1, later + S / 10), Ok(()));
    }

    /// Over any time, a third of 10 a second is exactly that: nothing is lost to rounding.
    #[test]
    fn parts_add_up_to_the_rate() {
        let parts: Vec<_> = (0..3).map(|_| TokenBucket::new(10, 3, 1)).collect();
        let mut taken = 0;
        for millisecond in 0..30_000_u64 {
            let now = millisecond * S / 1000;
            taken += parts.iter().filter(|it| it.take(1, now).is_ok()).count();
        }
        // 30 s and the three bursts; the last tokens come in after the last look.
        assert!((300..=303).contains(&taken), "{taken}");
    }
}
