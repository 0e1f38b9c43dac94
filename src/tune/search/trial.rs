//! One trial: a server with a candidate's profile, loaded by `skep-load`, and the score of it.
//!
//! ```text
//! candidate ──► candidate-7.toml ──► skep-load … --set profile=candidate-7.toml --stretch 0.5 --seed …
//!                                          │
//!               score, or why there is none ◄── its JSON; its complaint where there is no JSON
//! ```

use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use super::objective::{Objective, Score, measured};

/// How thoroughly a trial is done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effort {
    /// Times the scenario's own length.
    pub stretch: f64,
    /// How exactly a capacity is found, in percent.
    pub within: f64,
    /// Runs of one point of a search for a capacity, at most.
    pub trials: u32,
}

impl Effort {
    /// How finely it tells scores apart, as a logarithm of a ratio: a capacity is only known within
    /// its bracket.
    pub fn resolution(&self, score: &Score) -> f64 {
        match score {
            Score::Rate | Score::Variable { .. } => (1.0 + self.within / 100.0).ln(),
            Score::Metric(_) => 0.0,
        }
    }
}

/// What a trial measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The score; above 0.
    pub score: f64,
    /// Whether it is only the largest value that was allowed.
    pub at_bound: bool,
}

/// Why a trial has no score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It failed, which says something about this candidate, or about the moment.
    Failed(String),
    /// `skep-load` refuses the scenario or the objective: no trial can be done.
    Wrong(String),
    /// A signal asked to end.
    Interrupted,
}

/// Where candidates are tried.
pub trait Bench {
    /// Makes a candidate ready.
    ///
    /// # Errors
    /// Why it need not, or cannot, be tried.
    fn prepare(&mut self, candidate: &Candidate) -> Result<(), String>;

    /// Does one trial of a candidate that is ready.
    ///
    /// # Errors
    /// Why there is no score.
    fn measure(
        &mut self,
        candidate: &Candidate,
        effort: &Effort,
        seed: u64,
    ) -> Result<Measured, Missed>;
}

/// The part of `skep-load capacity --json` that is read.
#[derive(Debug, Deserialize)]
struct Capacity {
    best: Option<f64>,
    missed: Option<f64>,
    rate: Option<f64>,
    points: Vec<Point>,
}

#[derive(Debug, Deserialize)]
struct Point {
    value: f64,
    trials: Vec<PointTrial>,
}

#[derive(Debug, Deserialize)]
struct PointTrial {
    met: bool,
    valid: bool,
}

/// The part of the results of `skep-load run` that is read.
#[derive(Debug, Deserialize)]
struct Run {
    validity: Validity,
    objectives: Vec<RunObjective>,
}

#[derive(Debug, Deserialize)]
struct Validity {
    valid: bool,
    reasons: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RunObjective {
    text: String,
    measured: Option<f64>,
    met: bool,
}

/// Reads the score out of what `skep-load` wrote; `None` when it is not its JSON.
pub fn score(objective: &Objective, json: &[u8]) -> Option<Result<Measured, String>> {
    let found = match &objective.score {
        Score::Metric(name) => run_score(name, &serde_json::from_slice(json).ok()?),
        score => capacity_score(score, &serde_json::from_slice(json).ok()?),
    };
    Some(found.and_then(|found| match found.score > 0.0 {
        true => Ok(found),
        false => Err(format!(
            "{} is {}, of which there are no ratios",
            objective.unit(),
            found.score
        )),
    }))
}

fn capacity_score(score: &Score, capacity: &Capacity) -> Result<Measured, String> {
    // What ended the search must have been the server, and not the generator.
    let end = capacity.points.iter();
    let end = end.filter(|point| Some(point.value) == capacity.missed);
    for point in end {
        let missed = point.trials.iter().filter(|it| !(it.met && it.valid));
        let (late, missed) = (
            missed.clone().filter(|it| !it.valid).count(),
            missed.count(),
        );
        if late * 2 > missed {
            return Err(format!(
                "invalid: at {} the generator was late and not the server; give it more cores \
                 (--load-cores)",
                point.value
            ));
        }
    }
    let best = match score {
        Score::Rate => capacity.rate,
        _ => capacity.best,
    };
    match best {
        Some(score) => Ok(Measured {
            score,
            at_bound: capacity.missed.is_none(),
        }),
        None => Err("an objective is missed even at the lowest value".to_owned()),
    }
}

fn run_score(metric: &str, run: &Run) -> Result<Measured, String> {
    if !run.validity.valid {
        return Err(format!("invalid: {}", run.validity.reasons.join("; ")));
    }
    let wanted = measured(metric);
    let (scores, rest): (Vec<_>, Vec<_>) = run.objectives.iter().partition(|it| it.text == wanted);
    if let Some(missed) = rest.iter().find(|it| !it.met) {
        let found = missed.measured.map(|found| format!("{found:.3}"));
        let found = found.unwrap_or_else(|| "nothing was measured".to_owned());
        return Err(format!("missed {}: {found}", missed.text));
    }
    let all: Option<Vec<f64>> = scores.iter().map(|it| it.measured).collect();
    // Of several populations the worst counts.
    let worst = all.and_then(|all| all.into_iter().reduce(f64::max));
    match worst {
        Some(score) => Ok(Measured {
            score,
            at_bound: false,
        }),
        None => Err(format!("nothing was measured as {metric}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(objective: &str, json: &str, expected: Result<(f64, bool), &str>) {
        let objective = Objective::parse(objective).unwrap();
        let found = score(&objective, json.as_bytes()).expect("JSON as expected");
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!((found.score, found.at_bound), expected),
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_capacity_is_the_servers_limit() {
        let rate = "max rate with p99_ms <= 5";
        let point = |value, trials: &str| format!("{{\"value\": {value}, \"trials\": [{trials}]}}");
        let json = |best, missed, rate, trials: &str| {
            let points = point(2.0, trials);
            format!(
                "{{\"best\": {best}, \"missed\": {missed}, \"rate\": {rate}, \"points\": [{points}], \"vary\": \"load\"}}"
            )
        };
        let slow = "{\"met\": false, \"valid\": true}";
        let late = "{\"met\": true, \"valid\": false}";
        check(rate, &json("1", "2", "700", slow), Ok((700.0, false)));
        check(
            "max tenants with p99_ms <= 1",
            &json("1", "2", "700", slow),
            Ok((1.0, false)),
        );
        check(rate, &json("1", "null", "700", slow), Ok((700.0, true)));
        check(
            rate,
            &json("null", "2", "null", slow),
            Err("an objective is missed"),
        );
        check(
            rate,
            &json("1", "2", "700", late),
            Err("invalid: at 2 the generator"),
        );
        let mostly = format!("{slow}, {slow}, {late}");
        check(rate, &json("1", "2", "700", &mostly), Ok((700.0, false)));
        check(
            rate,
            &json("1", "2", "0", slow),
            Err("requests/s is 0, of which"),
        );
    }

    #[test]
    fn a_metric_counts_when_the_run_is_valid_and_the_rest_holds() {
        let min = "min p99_ms with errors == 0";
        let json = |valid, measured: &str, met| {
            format!(
                "{{\"validity\": {{\"valid\": {valid}, \"reasons\": [\"late\"]}}, \"objectives\": [\
                 {{\"text\": \"p99_ms >= 0\", \"measured\": {measured}, \"met\": true, \"phase\": \"m\"}},\
                 {{\"text\": \"p99_ms >= 0\", \"measured\": 3.0, \"met\": true}},\
                 {{\"text\": \"errors == 0\", \"measured\": 2, \"met\": {met}}}]}}"
            )
        };
        check(min, &json(true, "2.5", true), Ok((3.0, false)));
        check(min, &json(true, "4.5", true), Ok((4.5, false)));
        check(min, &json(false, "2.5", true), Err("invalid: late"));
        check(
            min,
            &json(true, "2.5", false),
            Err("missed errors == 0: 2.000"),
        );
        check(
            min,
            &json(true, "null", true),
            Err("nothing was measured as p99_ms"),
        );
    }

    #[test]
    fn what_is_no_json_of_it_is_no_score() {
        let objective = Objective::parse("max rate with p99_ms <= 5").unwrap();
        assert_eq!(score(&objective, b"{}"), None);
        assert_eq!(score(&objective, b""), None);
    }

    #[test]
    fn only_a_capacity_has_a_resolution() {
        let effort = Effort {
            stretch: 1.0,
            within: 10.0,
            trials: 1,
        };
        assert!((effort.resolution(&Score::Rate) - 1.1_f64.ln()).abs() < 1e-9);
        assert_eq!(effort.resolution(&Score::Metric(String::new())), 0.0);
    }
}
