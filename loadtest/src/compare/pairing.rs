//! What counts as one observation: a pair of neighbouring runs, a run, or a second of a run.

use serde::Serialize;

/// How an interval was come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Before and after took turns; each pair of neighbours is one observation, given by index.
    Pairs(Vec<(usize, usize)>),
    /// Each run is one observation.
    Runs,
    /// One run each: each second is an observation, and what differs between runs stays unseen.
    Seconds,
    /// One run against several: nothing says how much the one would vary.
    Unknown,
}

impl Method {
    /// Chooses from when the runs began, in seconds since 1970.
    pub(super) fn of(before: &[u64], after: &[u64]) -> Self {
        match (before.len(), after.len()) {
            (1, 1) => Self::Seconds,
            (1, _) | (_, 1) => Self::Unknown,
            _ => pairs(before, after).map_or(Self::Runs, Self::Pairs),
        }
    }

    /// What an interval by this method covers, in a sentence or two.
    pub(super) fn explained(&self, before: usize, after: usize) -> String {
        match self {
            Self::Pairs(pairs) => format!(
                "{} pairs of runs that took turns: each pair of neighbours is one observation, \
                 which takes out what drifts slowly",
                pairs.len()
            ),
            Self::Runs => format!(
                "{before} runs before and {after} after, which did not take turns: a machine that \
                 drifted between them would look like a change"
            ),
            Self::Seconds => "one run each, percentiles as medians over its seconds: intervals cover only how the seconds of a run vary, not \
                 how runs differ from each other, which is often more; several interleaved runs say that"
                .to_owned(),
            Self::Unknown => format!(
                "{before} and {after} runs: with a single run on one side nothing can be told; \
                 several interleaved runs can"
            ),
        }
    }
}

/// Pairs of neighbours in time, when each pair holds one of both: A B A B, and A B B A as well.
fn pairs(before: &[u64], after: &[u64]) -> Option<Vec<(usize, usize)>> {
    let mut runs: Vec<(u64, bool, usize)> = Vec::new();
    runs.extend(
        before
            .iter()
            .enumerate()
            .map(|(at, &began)| (began, false, at)),
    );
    runs.extend(
        after
            .iter()
            .enumerate()
            .map(|(at, &began)| (began, true, at)),
    );
    runs.sort_unstable();
    // Two runs of the same second have no order.
    if before.len() != after.len() || runs.windows(2).any(|two| two[0].0 == two[1].0) {
        return None;
    }
    runs.chunks(2)
        .map(|two| match two {
            [(_, false, before), (_, true, after)] | [(_, true, after), (_, false, before)] => {
                Some((*before, *after))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_that_took_turns_are_pairs() {
        for (before, after, expected) in [
            (vec![1], vec![2], Method::Seconds),
            (vec![1], vec![2, 3], Method::Unknown),
            (vec![1, 3], vec![2, 4], Method::Pairs(vec![(0, 0), (1, 1)])),
            (vec![3, 1], vec![2, 4], Method::Pairs(vec![(1, 0), (0, 1)])),
            (vec![1, 4], vec![2, 3], Method::Pairs(vec![(0, 0), (1, 1)])),
            (vec![1, 2], vec![3, 4], Method::Runs),
            (vec![1, 3, 5], vec![2, 4], Method::Runs),
            (vec![1, 3], vec![1, 4], Method::Runs),
        ] {
            assert_eq!(
                Method::of(&before, &after),
                expected,
                "{before:?} {after:?}"
            );
        }
    }
}
