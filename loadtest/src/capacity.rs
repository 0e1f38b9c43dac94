//! The highest value that still meets its objectives: doubled until it does not, then bisected.
//!
//! ```text
//!   met        ●───●───●─────●──●            doubling from the start, then halving the gap
//!   not met                     ○  ○     ○   until its ends are as close as wanted
//! ```
//!
//! One trial of a loaded server says little: a point is tried several times, and the majority decides.

use serde::{Deserialize, Serialize};

/// What one trial of a point measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Requests a second that were due.
    pub intended: f64,
    /// Successes a second.
    pub rate: f64,
    /// Latency in milliseconds, of the population with the largest.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Failures.
    pub errors: u64,
    /// Whether every objective was met.
    pub met: bool,
    /// Whether the generator kept up; a trial in which it did not counts as not met.
    pub valid: bool,
}

/// A point: a value with its trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The value.
    pub value: f64,
    /// Its trials.
    pub trials: Vec<Trial>,
}

impl Point {
    /// Whether most trials met every objective.
    pub fn met(&self) -> bool {
        self.trials
            .iter()
            .filter(|trial| trial.met && trial.valid)
            .count()
            * 2
            > self.trials.len()
    }

    /// The trial in the middle by `of`.
    pub fn median(&self, of: impl Fn(&Trial) -> f64) -> f64 {
        let mut values: Vec<f64> = self.trials.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    }
}

/// How a search is done.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Where it starts.
    pub start: f64,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Trials of a point, at most.
    pub trials: u32,
    /// The gap at which it ends, as a share: 0.05 is 5 %.
    pub within: f64,
    /// Only whole numbers are tried.
    pub whole: bool,
}

/// What a search found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The highest value that was met.
    pub best: Option<f64>,
    /// The lowest value above it that was not; none when the highest value allowed was met.
    pub missed: Option<f64>,
    /// Every point, in order of its value.
    pub points: Vec<Point>,
}

impl Search {
    /// Searches; `try_it` does one trial. What `try_it` fails with ends the search; what was found until
    /// then is there all the same.
    pub fn run<E>(
        &self,
        mut try_it: impl FnMut(f64) -> Result<Trial, E>,
    ) -> (Found, Result<(), E>) {
        let mut ended = Ok(());
        let mut points = Vec::new();
        let (mut best, mut missed): (Option<f64>, Option<f64>) = (None, None);
        let mut value = self.whole(self.start.clamp(self.low, self.high));
        loop {
            let point = match self.point(value, &mut try_it) {
                Ok(point) => point,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            if point.met() {
                best = Some(value);
            } else {
                missed = Some(value);
            }
            points.push(point);
            let next = match (best, missed) {
                (Some(best), None) if best < self.high => (best * 2.0).min(self.high),
                (None, Some(missed)) if missed > self.low => (missed / 2.0).max(self.low),
                (Some(best), Some(missed)) if missed / best > 1.0 + self.within => {
                    (best * missed).sqrt()
                }
                _ => break,
            };
            let next = self.whole(next);
            if points.iter().any(|point| point.value == next) {
                break;
            }
            value = next;
        }
        points.sort_by(|a, b| a.value.total_cmp(&b.value));
        let found = Found {
            best,
            missed,
            points,
        };
        (found, ended)
    }

    fn whole(&self, value: f64) -> f64 {
        if self.whole {
            value.round().max(1.0)
        } else {
            value
        }
    }

    /// Trials of a value, until the rest could not change the verdict.
    fn point<E>(
        &self,
        value: f64,
        try_it: &mut impl FnMut(f64) -> Result<Trial, E>,
    ) -> Result<Point, E> {
        let mut point = Point {
            value,
            trials: Vec::new(),
        };
        let (mut met, mut not) = (0, 0);
        while point.trials.len() < self.trials as usize
            && met * 2 <= self.trials
            && not * 2 <= self.trials
        {
            let trial = try_it(value)?;
            if trial.met && trial.valid {
                met += 1;
            } else {
                not += 1;
            }
            point.trials.push(trial);
        }
        Ok(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(met: bool) -> Trial {
        Trial {
            intended: 1.0,
            rate: 1.0,
            p50_ms: 1.0,
            p99_ms: 1.0,
            errors: 0,
            met,
            valid: true,
        }
    }

    fn search(limit: f64, search: Search) -> (Option<f64>, Option<f64>, usize) {
        let found = search.run(|value| Ok::<_, ()>(trial(value <= limit))).0;
        assert!(
            found.points.is_sorted_by(|a, b| a.value < b.value),
            "each value once, in order"
        );
        (found.best, found.missed, found.points.len())
    }

    const SEARCH: Search = Search {
        start: 1.0,
        low: 0.01,
        high: 1000.0,
        trials: 1,
        within: 0.05,
        whole: false,
    };

    #[test]
    fn the_limit_is_bracketed_within_the_gap() {
        for limit in [0.02, 0.5, 1.0, 3.7, 700.0] {
            let (best, missed, points) = search(limit, SEARCH);
            let (best, missed) = (best.unwrap(), missed.unwrap());
            assert!(
                best <= limit && limit < missed && missed / best <= 1.05,
                "{limit}: {best} {missed}"
            );
            assert!(points < 20, "{points}");
        }
    }

    #[test]
    fn bounds_are_kept_and_said() {
        assert_eq!(search(5000.0, SEARCH).0, Some(1000.0));
        assert_eq!(search(5000.0, SEARCH).1, None);
        assert_eq!(search(0.001, SEARCH).0, None);
        assert_eq!(search(0.001, SEARCH).1, Some(0.01));
    }

    #[test]
    fn whole_numbers_end_when_there_is_none_between() {
        let (best, missed, _) = search(
            10.0,
            Search {
                whole: true,
                within: 0.0001,
                ..SEARCH
            },
        );
        assert_eq!((best, missed), (Some(10.0), Some(11.0)));
    }

    #[test]
    fn the_majority_of_trials_decides_and_no_more_are_made_than_that_needs() {
        let mut outcomes = [true, false, true].into_iter();
        let search = Search {
            trials: 3,
            low: 1.0,
            high: 1.5,
            ..SEARCH
        };
        let point = search
            .point(1.0, &mut |_| Ok::<_, ()>(trial(outcomes.next().unwrap())))
            .unwrap();
        assert!(point.met());
        let point = search
            .point(1.0, &mut |_| Ok::<_, ()>(trial(false)))
            .unwrap();
        assert_eq!((point.met(), point.trials.len()), (false, 2));
    }

    #[test]
    fn a_trial_whose_generator_was_late_is_not_met() {
        let search = Search {
            trials: 1,
            ..SEARCH
        };
        let found = search
            .run(|value| {
                Ok::<_, ()>(Trial {
                    valid: value < 4.0,
                    ..trial(true)
                })
            })
            .0;
        assert!(found.best.unwrap() < 4.0 && found.missed.unwrap() <= 4.2);
    }
}
