//! How much is measured: little of many candidates first, more of few later.
//!
//! ```text
//! round       1      2      3      4 …
//! candidates  40     20+c   ~13    7 …     halved
//! length      0.25   0.5    1      2       doubled
//! ```

use super::trial::Effort;
use crate::config::limits::{TUNE_SEARCH_PAIRS, TUNE_SEARCH_PAIRS_QUICK, TUNE_SEARCH_ROUNDS_MAX};

/// Rounds with `--quick`.
const ROUNDS_QUICK: usize = 3;

/// How often the control is measured in a round: at least so often that its spread is known.
const CONTROLS: std::ops::RangeInclusive<usize> = 4..=8;

/// A plan for a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How thoroughly each round measures; as many rounds as there are.
    pub rounds: Vec<Effort>,
    /// How thoroughly the winner is measured.
    pub held_out: Effort,
    /// Pairs of the held-out run.
    pub pairs: usize,
}

impl Plan {
    /// The ordinary plan, or one that only shows that everything works and finds large effects.
    pub fn new(quick: bool) -> Plan {
        let effort = |stretch, within, trials| Effort {
            stretch,
            within,
            trials,
        };
        if quick {
            let round = |round: usize| effort(0.1 * doubled(round), 10.0, 1);
            return Plan {
                rounds: (0..ROUNDS_QUICK).map(round).collect(),
                held_out: effort(0.2, 5.0, 1),
                pairs: TUNE_SEARCH_PAIRS_QUICK,
            };
        }
        let round = |round: usize| {
            let (within, trials) = match round {
                0 => (10.0, 1),
                1 | 2 => (5.0, 3),
                _ => (2.0, 5),
            };
            effort((0.25 * doubled(round)).min(2.0), within, trials)
        };
        Plan {
            rounds: (0..TUNE_SEARCH_ROUNDS_MAX).map(round).collect(),
            held_out: effort(1.0, 2.0, 3),
            pairs: TUNE_SEARCH_PAIRS,
        }
    }

    /// How often the control is measured beside this many candidates.
    pub fn controls(candidates: usize) -> usize {
        (candidates / 4).clamp(*CONTROLS.start(), *CONTROLS.end())
    }
}

fn doubled(times: usize) -> f64 {
    f64::powi(2.0, times as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_measures_at_least_as_long_and_as_exactly() {
        for plan in [Plan::new(false), Plan::new(true)] {
            assert!(plan.pairs >= 5 && plan.rounds.len() <= TUNE_SEARCH_ROUNDS_MAX);
            assert!(plan.rounds.is_sorted_by(|a, b| a.stretch <= b.stretch
                && a.within >= b.within
                && a.trials <= b.trials));
        }
    }

    #[test]
    fn the_control_is_measured_often_enough_to_know_its_spread() {
        let controls = [1, 16, 24, 128].map(Plan::controls);
        assert_eq!(controls, [4, 4, 6, 8]);
    }
}
