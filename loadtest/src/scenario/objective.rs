//! Objectives: `METRIC OP NUMBER [in PHASE]`, such as `p99_ms <= 5` or `errors == 0 in recover`.

use std::fmt;

use crate::results::PhaseKind;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// A percentile of latency in thousandths (99_900 = p99.9), milliseconds.
    Percentile(u32),
    /// The largest latency, milliseconds.
    Max,
    /// The mean latency, milliseconds.
    Mean,
    /// Requests that failed.
    Errors,
    /// Requests that failed over requests due, 0 to 1.
    ErrorShare,
    /// Successes a second.
    Rate,
    /// Successes over requests due, 0 to 1.
    SuccessShare,
    /// p99 of the disturbed phase over p99 of the undisturbed one.
    IsolationRatio,
    /// Jain's index over tenants.
    Fairness,
    /// CPU time of the server's processes over all requests of the phase, microseconds.
    CpuPerRequest,
}

/// Every metric by name.
const METRICS: &[(&str, Metric)] = &[
    ("p50_ms", Metric::Percentile(50_000)),
    ("p75_ms", Metric::Percentile(75_000)),
    ("p90_ms", Metric::Percentile(90_000)),
    ("p95_ms", Metric::Percentile(95_000)),
    ("p99_ms", Metric::Percentile(99_000)),
    ("p999_ms", Metric::Percentile(99_900)),
    ("p9999_ms", Metric::Percentile(99_990)),
    ("max_ms", Metric::Max),
    ("mean_ms", Metric::Mean),
    ("errors", Metric::Errors),
    ("error_share", Metric::ErrorShare),
    ("rate", Metric::Rate),
    ("success_share", Metric::SuccessShare),
    ("isolation_ratio", Metric::IsolationRatio),
    ("fairness", Metric::Fairness),
    ("cpu_us_per_request", Metric::CpuPerRequest),
];

/// How a measured value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
}

const COMPARISONS: &[(&str, Comparison)] = &[
    ("<=", Comparison::AtMost),
    ("<", Comparison::Below),
    (">=", Comparison::AtLeast),
    (">", Comparison::Above),
    ("==", Comparison::Equal),
];

/// One objective of a population.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// As written.
    pub text: String,
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub bound: f64,
    /// In which phase; none is every `measure` phase (every `disturb` phase for the isolation ratio).
    pub phase: Option<String>,
}

impl Objective {
    /// Reads one.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (metric, comparison, bound, phase) = match words[..] {
            [metric, comparison, bound] => (metric, comparison, bound, None),
            [metric, comparison, bound, "in", phase] => (metric, comparison, bound, Some(phase)),
            _ => {
                return Err(format!(
                    "\"{text}\" is no objective; write METRIC OP NUMBER [in PHASE], such as \"p99_ms <= 5 in measure\""
                ));
            }
        };
        let metric = lookup(METRICS, metric, text, "metric")?;
        let comparison = lookup(COMPARISONS, comparison, text, "comparison")?;
        let bound: f64 = bound
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite())
            .ok_or_else(|| format!("\"{text}\": \"{bound}\" is no number"))?;
        Ok(Self {
            text: text.to_owned(),
            metric,
            comparison,
            bound,
            phase: phase.map(str::to_owned),
        })
    }

    /// The kind of phase that it is about when it names none.
    pub fn kind(&self) -> PhaseKind {
        match self.metric {
            Metric::IsolationRatio => PhaseKind::Disturb,
            _ => PhaseKind::Measure,
        }
    }

    /// Whether a measured value meets it.
    pub fn met_by(&self, measured: f64) -> bool {
        match self.comparison {
            Comparison::AtMost => measured <= self.bound,
            Comparison::Below => measured < self.bound,
            Comparison::AtLeast => measured >= self.bound,
            Comparison::Above => measured > self.bound,
            Comparison::Equal => measured == self.bound,
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn lookup<T: Copy>(table: &[(&str, T)], word: &str, text: &str, what: &str) -> Result<T, String> {
    table
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            format!(
                "\"{text}\": unknown {what} \"{word}\"; one of {}",
                names.join(", ")
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_read_as_written() {
        let objective = Objective::parse("p99_ms <= 5 in measure").unwrap();
        assert_eq!(objective.metric, Metric::Percentile(99_000));
        assert_eq!(objective.phase.as_deref(), Some("measure"));
        assert!(objective.met_by(5.0) && !objective.met_by(5.001));
        assert!(Objective::parse("errors == 0").unwrap().met_by(0.0));
        assert!(!Objective::parse("rate > 10").unwrap().met_by(10.0));
        assert!(Objective::parse("rate >= 10").unwrap().met_by(10.0));
        assert!(!Objective::parse("max_ms < 1").unwrap().met_by(1.0));
    }

    #[test]
    fn what_is_no_objective_says_what_would_be() {
        for (text, part) in [
            ("p99_ms", "METRIC OP NUMBER"),
            ("p98_ms <= 5", "unknown metric \"p98_ms\"; one of p50_ms"),
            ("p99_ms = 5", "unknown comparison \"=\"; one of <="),
            ("p99_ms <= five", "\"five\" is no number"),
            ("p99_ms <= NaN", "\"NaN\" is no number"),
            ("p99_ms <= 5 during measure", "METRIC OP NUMBER"),
        ] {
            let error = Objective::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
