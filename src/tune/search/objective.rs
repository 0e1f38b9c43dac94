//! What is searched for: one sentence that says which number counts, and what has to hold meanwhile.
//!
//! ```text
//! max rate with p99_ms <= 5, errors == 0                   skep-load capacity --objective …
//! max tenants with p99_ms <= 1 between 100 and 10000       skep-load capacity --vary tenants=100..10000 …
//! min cpu_us_per_request with p99_ms <= 5                  skep-load run --objective 'cpu_us_per_request >= 0' …
//! ```
//!
//! What an OBJ may say and which metrics there are is `skep-load`'s business: it complains itself.

use std::ffi::OsString;
use std::fmt;

/// The three sentences, as a message shows them.
pub const FORMS: &str = "write `max rate with OBJ[, OBJ]`, `max VARIABLE with OBJ[, OBJ] [between \
     LOW and HIGH]` or `min METRIC [with OBJ[, OBJ]]`, such as `max rate with p99_ms <= 5`";

/// Between what a variable is varied unless it is said.
const BETWEEN: (u64, u64) = (1, 10_000);

/// What counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Score {
    /// The highest rate at which everything holds, in successes a second.
    Rate,
    /// The largest value of a scenario's variable with which everything holds.
    Variable {
        /// Its name.
        name: String,
        /// Smallest value tried.
        low: u64,
        /// Largest value tried.
        high: u64,
    },
    /// A metric at the scenario's own load.
    Metric(String),
}

/// Which scores are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Larger ones.
    Higher,
    /// Smaller ones.
    Lower,
}

impl Direction {
    /// `log_ratio` turned so that above 0 is better.
    pub fn advantage(self, log_ratio: f64) -> f64 {
        match self {
            Direction::Higher => log_ratio,
            Direction::Lower => -log_ratio,
        }
    }

    /// For a reader of numbers.
    pub fn in_words(self) -> &'static str {
        match self {
            Direction::Higher => "higher is better",
            Direction::Lower => "lower is better",
        }
    }
}

/// An objective of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// As written.
    pub text: String,
    /// What counts.
    pub score: Score,
    /// What has to hold, each as `skep-load` reads it.
    pub holds: Vec<String>,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Objective {
    /// Reads one; `None` when it has none of the three [`FORMS`].
    pub fn parse(text: &str) -> Option<Objective> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (verb, rest) = text.split_once(' ')?;
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if !is_name(name) {
            return None;
        }
        let (rest, between) = match rest.rsplit_once(" between ") {
            Some((rest, bounds)) => (rest, Some(bounds_of(bounds)?)),
            None => (rest, None),
        };
        let holds = match rest.strip_prefix("with ") {
            Some(list) => list.split(',').map(|one| one.trim().to_owned()).collect(),
            None if rest.is_empty() => Vec::new(),
            None => return None,
        };
        if holds.iter().any(String::is_empty) {
            return None;
        }
        let name = name.to_owned();
        let score = match (verb, name.as_str(), between, holds.is_empty()) {
            ("max", "rate", None, false) => Score::Rate,
            ("max", "rate", ..) => return None,
            ("max", _, between, false) => {
                let (low, high) = between.unwrap_or(BETWEEN);
                Score::Variable { name, low, high }
            }
            ("min", _, None, _) => Score::Metric(name),
            _ => return None,
        };
        Some(Objective { text, score, holds })
    }

    /// Which scores are better.
    pub fn direction(&self) -> Direction {
        match self.score {
            Score::Rate | Score::Variable { .. } => Direction::Higher,
            Score::Metric(_) => Direction::Lower,
        }
    }

    /// What the score counts.
    pub fn unit(&self) -> &str {
        match &self.score {
            Score::Rate => "requests/s",
            Score::Variable { name, .. } | Score::Metric(name) => name,
        }
    }

    /// The subcommand of `skep-load` that measures the score.
    pub fn subcommand(&self) -> &'static str {
        match self.score {
            Score::Rate | Score::Variable { .. } => "capacity",
            Score::Metric(_) => "run",
        }
    }

    /// What has to be said to it about the objective.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<String> = Vec::new();
        match &self.score {
            Score::Rate => {}
            Score::Variable { name, low, high } => {
                words.extend(["--vary".to_owned(), format!("{name}={low}..{high}")]);
            }
            Score::Metric(name) => words.extend(["--objective".to_owned(), measured(name)]),
        }
        for one in &self.holds {
            words.extend(["--objective".to_owned(), one.clone()]);
        }
        words.into_iter().map(OsString::from).collect()
    }
}

/// The objective that always holds, so that the metric is measured.
pub fn measured(metric: &str) -> String {
    format!("{metric} >= 0")
}

fn is_name(name: &str) -> bool {
    let part = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && name.chars().all(part)
}

fn bounds_of(text: &str) -> Option<(u64, u64)> {
    let (low, high) = text.split_once(" and ")?;
    let (low, high) = (low.parse().ok()?, high.parse().ok()?);
    (0 < low && low < high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let cases = [
            (
                "max rate with p99_ms <= 5",
                "capacity --objective p99_ms <= 5",
            ),
            (
                " max  rate with p99_ms <= 5 in measure ,errors == 0",
                "capacity --objective p99_ms <= 5 in measure --objective errors == 0",
            ),
            (
                "max tenants with p99_ms <= 1 between 100 and 10000",
                "capacity --vary tenants=100..10000 --objective p99_ms <= 1",
            ),
            (
                "max tenants with p99_ms <= 1",
                "capacity --vary tenants=1..10000 --objective p99_ms <= 1",
            ),
            (
                "min cpu_us_per_request",
                "run --objective cpu_us_per_request >= 0",
            ),
            (
                "min p99_ms with errors == 0",
                "run --objective p99_ms >= 0 --objective errors == 0",
            ),
        ];
        for (text, expected) in cases {
            let objective = Objective::parse(text).unwrap_or_else(|| panic!("{text}"));
            let mut words = vec![OsString::from(objective.subcommand())];
            words.extend(objective.arguments());
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            assert_eq!(words.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn nothing_else() {
        for text in [
            "",
            "rate",
            "max rate",
            "max rate with",
            "max rate with ",
            "max rate with p99_ms <= 5,",
            "max rate with p99_ms <= 5 between 1 and 2",
            "max tenants",
            "max tenants with p99_ms <= 1 between 5 and 5",
            "max tenants with p99_ms <= 1 between 0 and 5",
            "max tenants with p99_ms <= 1 between 1 to 5",
            "max --out with p99_ms <= 1",
            "max 1 with p99_ms <= 1",
            "min",
            "min p99_ms errors == 0",
            "min p99_ms between 1 and 2",
            "most rate with p99_ms <= 5",
        ] {
            assert_eq!(Objective::parse(text), None, "{text}");
        }
    }

    #[test]
    fn better_is_above_zero() {
        assert!(Direction::Higher.advantage(0.1) > 0.0);
        assert!(Direction::Lower.advantage(-0.1) > 0.0);
    }
}
