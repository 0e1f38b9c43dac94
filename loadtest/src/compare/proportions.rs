//! How sure the difference of two shares is, from counts alone.
//!
//! Errors count in the phase in which their request was due, and may come seconds after it ended: a
//! phase whose requests all time out has no errors in its own seconds. So the shares of a single run
//! are taken from the phase's counts, and their interval is never narrower than what counts allow.

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.96;

/// The 95 % interval of `after − before`, each a count of a total: Newcombe's hybrid score interval
/// (Newcombe 1998, method 10), which holds for shares of 0 as well.
pub(super) fn difference(before: (u64, u64), after: (u64, u64)) -> (f64, f64) {
    let ((p1, l1, u1), (p2, l2, u2)) = (wilson(before), wilson(after));
    (
        (p2 - p1) - (p2 - l2).hypot(u1 - p1),
        (p2 - p1) + (u2 - p2).hypot(p1 - l1),
    )
}

/// A share with the ends of Wilson's score interval (Wilson 1927).
fn wilson((count, total): (u64, u64)) -> (f64, f64, f64) {
    let n = total.max(1) as f64;
    let share = count as f64 / n;
    let middle = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n)
        * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n))
            .max(0.0)
            .sqrt();
    // Rounding must not put a share outside its own interval.
    (
        share,
        (middle - half).min(share),
        (middle + half).max(share),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Newcombe 1998, table II, method 10: (a) 56/70 − 48/80, (b) 9/10 − 3/10,
    /// (f) 10/10 − 0/20, (h) 0/10 − 0/20.
    #[test]
    fn the_published_examples_come_out() {
        for (after, before, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((10, 10), (0, 20), 0.6791, 1.0),
            ((0, 10), (0, 20), -0.1611, 0.2775),
        ] {
            let found = difference(before, after);
            assert!(
                (found.0 - low).abs() < 2e-4,
                "{after:?} {before:?}: {found:?}"
            );
            assert!(
                (found.1 - high).abs() < 2e-4,
                "{after:?} {before:?}: {found:?}"
            );
        }
    }

    #[test]
    fn one_error_in_a_million_is_not_shown() {
        assert!(difference((0, 1_000_000), (1, 1_000_000)).0 < 0.0);
        assert!(difference((0, 1_000_000), (20, 1_000_000)).0 > 0.0);
    }
}
