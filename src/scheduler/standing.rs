//! Which tenants' guests are believed to be short, so that they go first.
//!
//! What a guest will use is not known before; what its tenant's guests have used is. A tenant's
//! standing is a count: one more for each request that it serves, and three quarters less for one that
//! fails or computes (for half a slice, or half a millisecond). Whoever has at least what the worker's bar asks is interactive. So
//! the first requests of a tenant wait in the fair order, and so do those of one that mostly traps or
//! computes.
//!
//! Standing can be earned to be abused: a hundred tenants that answer shortly until all of them
//! compute at once would hold up everybody else for a hundred slices. Each that computes out of turn
//! doubles the bar, so a few of them do, and the others must have earned more. Those with as much as
//! there can be have one slice each: it costs 4,096 requests.
//!
//! ```text
//!   bar  2048 ┤                             doubles each time that an interactive tenant computes,
//!          64 ┤      ▄▄                     halves every 100 ms
//!           8 ┤▄▄▄▄▄▄  ▀▀▄▄▄▄
//! ```

use std::cell::Cell;

use crate::config::limits;

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// What one tenant has earned.
#[derive(Debug, Default)]
pub(super) struct Standing(Cell<u32>);

impl Standing {
    pub(super) fn earn(&self) {
        self.0
            .set((self.0.get() + 1).min(limits::INTERACTIVE_STANDING_MAX));
    }

    pub(super) fn lose(&self) {
        self.0.set(self.0.get() / 4);
    }
}

/// What one worker asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    /// How often it was doubled, less what has worn off until `since_ns`.
    doubled: u32,
    since_ns: u64,
}

impl Bar {
    /// The highest bar is half of the best standing: who has that passes it, until it computes.
    const DOUBLED_MAX: u32 =
        (limits::INTERACTIVE_STANDING_MAX / limits::INTERACTIVE_STANDING_MIN).ilog2() - 1;

    pub(super) const fn new() -> Self {
        Self {
            doubled: 0,
            since_ns: 0,
        }
    }

    fn doubled(self, now_ns: u64) -> u32 {
        let halved = now_ns.saturating_sub(self.since_ns) / (limits::INTERACTIVE_BAR_MS * MS);
        let halved = u32::try_from(halved).unwrap_or(u32::MAX);
        self.doubled.saturating_sub(halved)
    }

    /// A tenant that had passed it has computed.
    pub(super) fn raise(&mut self, now_ns: u64) {
        let left = self.doubled(now_ns);
        let worn_off = u64::from(self.doubled - left);
        self.since_ns = match left {
            0 => now_ns,
            // What has worn off of the next halving stays so.
            _ => self.since_ns + worn_off * limits::INTERACTIVE_BAR_MS * MS,
        };
        self.doubled = (left + 1).min(Self::DOUBLED_MAX);
    }

    pub(super) fn passes(self, standing: &Standing, now_ns: u64) -> bool {
        let doubled = match self.doubled {
            0 => 0,
            _ => self.doubled(now_ns),
        };
        standing.0.get() >= limits::INTERACTIVE_STANDING_MIN << doubled
    }

    /// From when on a standing is enough, if nobody raises the bar; `None` where it never is.
    pub(super) fn passes_at(self, standing: &Standing) -> Option<u64> {
        let enough_for = (standing.0.get() / limits::INTERACTIVE_STANDING_MIN).checked_ilog2()?;
        Some(match self.doubled.saturating_sub(enough_for) {
            0 => 0,
            halvings => self.since_ns + u64::from(halvings) * limits::INTERACTIVE_BAR_MS * MS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earned(count: u32) -> Standing {
        let standing = Standing::default();
        (0..count).for_each(|_| standing.earn());
        standing
    }

    #[test]
    fn the_bar_doubles_when_it_is_betrayed_and_wears_off() {
        let mut bar = Bar::new();
        let [least, more] = [1, 4].map(|times| earned(times * limits::INTERACTIVE_STANDING_MIN));
        assert!(!bar.passes(&Standing::default(), 0));
        assert!(bar.passes(&least, 0) && bar.passes(&more, 0));
        let now_ns = 1_000 * MS;
        bar.raise(now_ns);
        assert!(!bar.passes(&least, now_ns) && bar.passes(&more, now_ns));
        bar.raise(now_ns);
        bar.raise(now_ns);
        assert!(!bar.passes(&more, now_ns));
        let after = |halvings: u64| now_ns + halvings * limits::INTERACTIVE_BAR_MS * MS;
        assert!(!bar.passes(&more, after(1) - 1) && bar.passes(&more, after(1)));
        assert!(!bar.passes(&least, after(3) - 1) && bar.passes(&least, after(3)));
        // Raising it again and again does not keep it from wearing off in between.
        bar.raise(after(3));
        bar.raise(after(3));
        bar.raise(after(4) - 1);
        assert!(!bar.passes(&more, after(4) - 1) && bar.passes(&more, after(4)));
    }

    #[test]
    fn when_a_standing_is_enough_is_known() {
        let mut bar = Bar::new();
        assert_eq!(bar.passes_at(&earned(0)), None);
        assert_eq!(bar.passes_at(&earned(1)), Some(0));
        for _ in 0..5 {
            bar.raise(3 * MS);
        }
        for count in [1, 2, 3, 7, 8, 31, 32, 4_000] {
            let standing = earned(count);
            let at_ns = bar.passes_at(&standing).expect("it has earned something");
            assert!(bar.passes(&standing, at_ns), "{count}");
            assert!(at_ns == 0 || !bar.passes(&standing, at_ns - 1), "{count}");
        }
    }

    #[test]
    fn the_best_standing_passes_the_highest_bar_once() {
        let mut bar = Bar::new();
        (0..100).for_each(|_| bar.raise(0));
        let best = earned(10 * limits::INTERACTIVE_STANDING_MAX);
        assert!(bar.passes(&best, 0));
        best.lose();
        assert!(!bar.passes(&best, 0));
    }
}
