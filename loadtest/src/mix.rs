//! Which host and which shape the next request has.

use rand::{Rng, RngExt as _};
use rand_distr::Distribution as _;
use rand_distr::weighted::WeightedAliasIndex;

use crate::scenario::Weights;

/// Chooses among things with weights.
#[derive(Debug)]
pub enum Picker {
    /// There is one.
    Only,
    /// Each equally likely.
    Uniform(u32),
    /// One after the other; generators take turns.
    Turns {
        /// The next one.
        next: u64,
        /// Number of generators.
        step: u64,
        /// Number of things.
        count: u64,
    },
    /// By weight, in constant time (Walker's alias method).
    Weighted(Box<WeightedAliasIndex<f64>>),
}

impl Picker {
    /// Of generator `index` of `of`, among `count` things.
    ///
    /// # Errors
    /// A sentence, when weights are negative, all zero or not numbers.
    pub fn new(weights: &Weights, count: usize, index: usize, of: usize) -> Result<Self, String> {
        if count <= 1 {
            return Ok(Self::Only);
        }
        match weights {
            Weights::Uniform => Ok(Self::Uniform(u32::try_from(count).unwrap_or(u32::MAX))),
            Weights::RoundRobin => Ok(Self::Turns {
                next: index as u64,
                step: of as u64,
                count: count as u64,
            }),
            Weights::Zipf(exponent) => Self::weighted(
                (1..=count)
                    .map(|rank| (rank as f64).powf(-exponent))
                    .collect(),
            ),
            Weights::Explicit(weights) => Self::weighted(weights.clone()),
        }
    }

    /// By these weights.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn weighted(weights: Vec<f64>) -> Result<Self, String> {
        if weights.len() <= 1 {
            return Ok(Self::Only);
        }
        WeightedAliasIndex::new(weights)
            .map(|index| Self::Weighted(Box::new(index)))
            .map_err(|_| "weights have to be 0 or more, and not all 0".to_owned())
    }

    /// The next one, from 0.
    pub fn pick(&mut self, random: &mut impl Rng) -> u32 {
        match self {
            Self::Only => 0,
            Self::Uniform(count) => random.random_range(0..*count),
            Self::Turns { next, step, count } => {
                let picked = *next % *count;
                *next += *step;
                picked as u32
            }
            Self::Weighted(index) => index.sample(random) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    fn counts(weights: &Weights, count: usize, draws: usize) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(3);
        let mut picker = Picker::new(weights, count, 0, 1).unwrap();
        let mut counts = vec![0; count];
        for _ in 0..draws {
            counts[picker.pick(&mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn turns_visit_everything_equally_and_generators_interleave() {
        assert_eq!(counts(&Weights::RoundRobin, 7, 70), [10; 7]);
        let mut random = StdRng::seed_from_u64(3);
        let mut second = Picker::new(&Weights::RoundRobin, 5, 1, 2).unwrap();
        let picked: Vec<u32> = (0..5).map(|_| second.pick(&mut random)).collect();
        assert_eq!(picked, [1, 3, 0, 2, 4]);
    }

    #[test]
    fn zipf_falls_as_its_exponent_says() {
        let counts = counts(&Weights::Zipf(1.0), 100, 200_000);
        let ratio = counts[0] as f64 / counts[9] as f64;
        assert!((ratio / 10.0 - 1.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn explicit_weights_are_kept() {
        let counts = counts(&Weights::Explicit(vec![3.0, 0.0, 1.0]), 3, 40_000);
        assert_eq!(counts[1], 0);
        assert!(
            (counts[0] as f64 / counts[2] as f64 / 3.0 - 1.0).abs() < 0.1,
            "{counts:?}"
        );
    }

    #[test]
    fn impossible_weights_are_refused() {
        for weights in [vec![0.0, 0.0], vec![-1.0, 2.0], vec![f64::NAN, 1.0]] {
            assert!(Picker::new(&Weights::Explicit(weights), 2, 0, 1).is_err());
        }
        assert!(matches!(
            Picker::new(&Weights::Zipf(1.0), 1, 0, 1),
            Ok(Picker::Only)
        ));
    }
}
