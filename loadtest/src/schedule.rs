//! When requests are due: arrival times from a rate that may change with time.
//!
//! The k-th request is due when the expected number of requests reaches S_k:
//!
//! ```text
//!   Λ(t) = ∫ rate dt                due_k = Λ⁻¹(S_k)
//!   constant   S_k = k + offset     evenly spaced at every moment's rate
//!   poisson    S_k = S_(k-1) + Exp(1)
//! ```
//!
//! which holds for any rate (Çinlar 1975, inversion of a non-homogeneous Poisson process). Rates are
//! straight lines between points, so Λ is a parabola by pieces and its inverse exact. The schedule is
//! absolute: a late request never moves the next.

use std::fmt;

use rand::{Rng, RngExt as _};

/// A population's rate along one phase, in requests a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The same throughout.
    Flat(f64),
    /// From one to another, evenly.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// Equal parts of the phase at one rate each.
    Steps(Vec<f64>),
    /// `base`, but `peak` for a while.
    Spike {
        /// Outside of the spike.
        base: f64,
        /// In the spike.
        peak: f64,
        /// When it starts, in seconds of the phase.
        at_s: f64,
        /// How long it lasts, in seconds.
        for_s: f64,
    },
}

impl Shape {
    /// Every rate that it names.
    pub fn rates(&self) -> Vec<f64> {
        match self {
            Self::Flat(rate) => vec![*rate],
            Self::Ramp { from, to } => vec![*from, *to],
            Self::Steps(steps) => steps.clone(),
            Self::Spike { base, peak, .. } => vec![*base, *peak],
        }
    }

    /// The same, `factor` times as high.
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Flat(rate) => Self::Flat(rate * factor),
            Self::Ramp { from, to } => Self::Ramp {
                from: from * factor,
                to: to * factor,
            },
            Self::Steps(steps) => Self::Steps(steps.iter().map(|rate| rate * factor).collect()),
            Self::Spike {
                base,
                peak,
                at_s,
                for_s,
            } => Self::Spike {
                base: base * factor,
                peak: peak * factor,
                at_s: *at_s,
                for_s: *for_s,
            },
        }
    }

    /// Straight pieces over a phase from `start_s`, `seconds` long.
    fn pieces(&self, start_s: f64, seconds: f64, into: &mut Vec<Piece>) {
        let mut piece = |from_s: f64, to_s: f64, from: f64, to: f64| {
            let (from_s, to_s) = (from_s.clamp(0.0, seconds), to_s.clamp(0.0, seconds));
            if to_s > from_s {
                into.push(Piece {
                    start_s: start_s + from_s,
                    end_s: start_s + to_s,
                    from,
                    to,
                });
            }
        };
        match self {
            Self::Flat(rate) => piece(0.0, seconds, *rate, *rate),
            Self::Ramp { from, to } => piece(0.0, seconds, *from, *to),
            Self::Steps(steps) => {
                let each = seconds / steps.len() as f64;
                for (index, rate) in steps.iter().enumerate() {
                    let start = each * index as f64;
                    piece(start, start + each, *rate, *rate);
                }
            }
            Self::Spike {
                base,
                peak,
                at_s,
                for_s,
            } => {
                piece(0.0, *at_s, *base, *base);
                piece(*at_s, at_s + for_s, *peak, *peak);
                piece(at_s + for_s, seconds, *base, *base);
            }
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat(rate) => write!(f, "{rate}/s"),
            Self::Ramp { from, to } => write!(f, "{from} to {to}/s"),
            Self::Steps(steps) => {
                let steps: Vec<String> = steps.iter().map(f64::to_string).collect();
                write!(f, "steps of {}/s", steps.join(", "))
            }
            Self::Spike {
                base,
                peak,
                at_s,
                for_s,
            } => write!(f, "{base}/s, {peak}/s from {at_s} s for {for_s} s"),
        }
    }
}

/// A straight piece of the rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start_s: f64,
    end_s: f64,
    from: f64,
    to: f64,
}

impl Piece {
    /// Expected requests in it.
    fn total(&self) -> f64 {
        (self.from + self.to) / 2.0 * (self.end_s - self.start_s)
    }

    /// When `expected` requests of it are due, in seconds of the run.
    fn time_of(&self, expected: f64) -> f64 {
        if expected <= 0.0 {
            // Of a rate that starts at 0 the root below would be 0 / 0.
            return self.start_s;
        }
        let slope = (self.to - self.from) / (self.end_s - self.start_s);
        // Of the two forms of the quadratic's root, this one divides by no difference.
        let root = (self.from * self.from + 2.0 * slope * expected)
            .max(0.0)
            .sqrt();
        let seconds = 2.0 * expected / (self.from + root);
        (self.start_s + seconds).min(self.end_s)
    }
}

/// How requests are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Even,
    /// At random.
    Random,
}

/// One generator's share of a population's arrivals: an endless supply of due times that ends with
/// the last phase.
#[derive(Debug)]
pub struct Arrivals {
    pieces: Vec<Piece>,
    spacing: Spacing,
    /// Piece that `reached` is in.
    piece: usize,
    /// Λ at that piece's start.
    before: f64,
    /// S_k.
    reached: f64,
}

impl Arrivals {
    /// Of generator `index` of `of`, for phases given as start and length in seconds and the rate there.
    pub fn new(phases: &[(f64, f64, Shape)], spacing: Spacing, index: usize, of: usize) -> Self {
        let mut pieces = Vec::new();
        for (start_s, seconds, shape) in phases {
            shape
                .scaled(1.0 / of as f64)
                .pieces(*start_s, *seconds, &mut pieces);
        }
        Self {
            pieces,
            spacing,
            piece: 0,
            before: 0.0,
            // Generators take turns: their evenly spaced requests interleave.
            reached: match spacing {
                Spacing::Even => (index as f64 + 0.5) / of as f64 - 1.0,
                Spacing::Random => 0.0,
            },
        }
    }

    /// When the next request is due, in nanoseconds of the run; none when there is no other.
    pub fn next(&mut self, random: &mut impl Rng) -> Option<u64> {
        self.reached += match self.spacing {
            Spacing::Even => 1.0,
            // 1 - u is never 0.
            Spacing::Random => -(1.0 - random.random::<f64>()).ln(),
        };
        loop {
            let piece = self.pieces.get(self.piece)?;
            let expected = self.reached - self.before;
            if expected < piece.total() {
                return Some((piece.time_of(expected) * 1e9) as u64);
            }
            self.before += piece.total();
            self.piece += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn all(shape: Shape, spacing: Spacing, of: usize) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(7);
        let mut times: Vec<f64> = (0..of)
            .flat_map(|index| {
                let mut arrivals = Arrivals::new(&[(1.0, 4.0, shape.clone())], spacing, index, of);
                std::iter::from_fn(|| arrivals.next(&mut random).map(|ns| ns as f64 / 1e9))
                    .collect::<Vec<_>>()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn between(times: &[f64], from: f64, to: f64) -> usize {
        times
            .iter()
            .filter(|time| (from..to).contains(*time))
            .count()
    }

    #[test]
    fn even_requests_are_evenly_spaced_however_many_generators() {
        for of in [1, 2, 3] {
            let times = all(Shape::Flat(300.0), Spacing::Even, of);
            assert_eq!(times.len(), 1200);
            for pair in times.windows(2) {
                assert!(
                    (pair[1] - pair[0] - 1.0 / 300.0).abs() < 1e-6,
                    "{of}: {pair:?}"
                );
            }
        }
    }

    #[test]
    fn a_ramp_has_the_right_number_at_every_point() {
        let times = all(
            Shape::Ramp {
                from: 0.0,
                to: 1000.0,
            },
            Spacing::Even,
            2,
        );
        assert!((1999..=2001).contains(&times.len()), "{}", times.len());
        assert!((499..=501).contains(&between(&times, 1.0, 3.0)));
        let down = all(
            Shape::Ramp {
                from: 1000.0,
                to: 0.0,
            },
            Spacing::Even,
            1,
        );
        assert!((1499..=1501).contains(&between(&down, 1.0, 3.0)));
    }

    #[test]
    fn a_request_due_at_the_very_start_of_a_ramp_is_due_then() {
        let mut random = StdRng::seed_from_u64(1);
        let ramp = Shape::Ramp {
            from: 0.0,
            to: 101.0,
        };
        let phases = [(0.0, 1.0, ramp.clone()), (1.0, 1.0, ramp)];
        let mut arrivals = Arrivals::new(&phases, Spacing::Even, 0, 1);
        let times: Vec<u64> = std::iter::from_fn(|| arrivals.next(&mut random)).collect();
        assert_eq!(times.len(), 101);
        assert!(times.is_sorted(), "{times:?}");
        assert!(
            times[50] <= 1_000_000_000 && times[51] < 1_300_000_000,
            "{:?}",
            &times[49..53]
        );
    }

    #[test]
    fn steps_and_spikes_change_at_their_time() {
        let steps = all(
            Shape::Steps(vec![100.0, 0.0, 400.0, 200.0]),
            Spacing::Even,
            1,
        );
        let counts: Vec<usize> = (1..5)
            .map(|second| between(&steps, f64::from(second), f64::from(second + 1)))
            .collect();
        assert_eq!(counts, [100, 0, 400, 200]);
        let spike = Shape::Spike {
            base: 10.0,
            peak: 1000.0,
            at_s: 1.0,
            for_s: 2.0,
        };
        let spike = all(spike, Spacing::Even, 1);
        assert_eq!(
            (
                between(&spike, 1.0, 2.0),
                between(&spike, 2.0, 4.0),
                between(&spike, 4.0, 5.0)
            ),
            (10, 2000, 10)
        );
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let times = all(Shape::Flat(5000.0), Spacing::Random, 2);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 5000.0 - 1.0).abs() < 0.03, "{mean}");
        // The exponential distribution's deviation is its mean.
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.05,
            "{}",
            variance.sqrt() / mean
        );
    }

    #[test]
    fn phases_without_the_population_are_skipped() {
        let mut random = StdRng::seed_from_u64(1);
        let phases = [(0.0, 1.0, Shape::Flat(2.0)), (5.0, 1.0, Shape::Flat(2.0))];
        let mut arrivals = Arrivals::new(&phases, Spacing::Even, 0, 1);
        let times: Vec<u64> = std::iter::from_fn(|| arrivals.next(&mut random)).collect();
        assert_eq!(
            times,
            [250_000_000, 750_000_000, 5_250_000_000, 5_750_000_000]
        );
    }
}
