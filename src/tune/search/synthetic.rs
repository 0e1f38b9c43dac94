//! Whole searches over a made-up score function, where it is known what is best.
//!
//! ```text
//! score = 1000 × product of the planted effects × drift × noise
//! ```

use super::candidate::tests::change;
use super::candidate::{Candidate, Change};
use super::evidence::{Evidence, Machine, SCHEMA, Standing, Verdict};
use super::objective::Objective;
use super::plan::Plan;
use super::random::Random;
use super::session::{Session, Stop, Witness};
use super::space::{Space, SpaceKey};
use super::trial::{Bench, Effort, Measured, Missed};
use super::{Found, stages};

/// A bench whose scores are made up.
struct Synthetic {
    /// Changes by name, and what each multiplies the score by.
    planted: Vec<(&'static str, f64)>,
    /// Standard deviation of the score's logarithm.
    noise: f64,
    random: Random,
    /// Measurements so far, and what each of them multiplies the next one by.
    measured: i32,
    drift: f64,
    /// Candidates that fail, and how often.
    failing: Vec<(&'static str, usize)>,
    /// Candidates that are none.
    refused: Vec<&'static str>,
}

impl Synthetic {
    fn new(seed: u64, noise: f64, planted: &[(&'static str, f64)]) -> Synthetic {
        Synthetic {
            planted: planted.to_vec(),
            noise,
            random: Random::new(seed ^ 0xabcd),
            measured: 0,
            drift: 1.0,
            failing: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// About normal: a sum of twelve even ones.
    fn normal(&mut self) -> f64 {
        let even = |random: &mut Random| (random.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| even(&mut self.random)).sum::<f64>() - 6.0
    }
}

impl Bench for Synthetic {
    fn prepare(&mut self, candidate: &Candidate) -> Result<(), String> {
        match self.refused.contains(&candidate.label("").as_str()) {
            true => Err("makes no profile".to_owned()),
            false => Ok(()),
        }
    }

    fn measure(
        &mut self,
        candidate: &Candidate,
        effort: &Effort,
        _: u64,
    ) -> Result<Measured, Missed> {
        let label = candidate.label("base");
        for (name, times) in &mut self.failing {
            if *name == label && *times > 0 {
                *times -= 1;
                return Err(Missed::Failed("the server does not start".to_owned()));
            }
        }
        let effects = candidate.changes.iter().map(|change| {
            let name = change.to_string();
            let planted = self.planted.iter().find(|(planted, _)| *planted == name);
            planted.map_or(1.0, |(_, effect)| *effect)
        });
        let effect: f64 = effects.product();
        self.measured += 1;
        // Twice as long has √2 less noise.
        let noise = self.noise * self.normal() / (effort.stretch * 4.0).sqrt();
        let score = 1000.0 * effect * self.drift.powi(self.measured) * noise.exp();
        Ok(Measured {
            score,
            at_bound: false,
        })
    }
}

/// Keeps what is said.
#[derive(Default)]
struct Told {
    text: String,
    kept: usize,
}

impl Witness for Told {
    fn say(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn keep(&mut self, _: &Evidence) -> Result<(), String> {
        self.kept += 1;
        Ok(())
    }
}

/// Twelve keys with two values each.
fn changes() -> Vec<Change> {
    let keys = "abcdefghijkl".chars();
    keys.flat_map(|key| [1, 2].map(|value| change(&key.to_string(), value)))
        .collect()
}

fn evidence(objective: &str, seed: u32) -> Evidence {
    let key = SpaceKey {
        name: "all".to_owned(),
        changes: changes(),
        why: String::new(),
    };
    Evidence {
        schema: SCHEMA,
        version: "",
        command: Vec::new(),
        started: String::new(),
        machine: Machine::default(),
        scenario: "s.toml".into(),
        objective: objective.to_owned(),
        base: "base".to_owned(),
        seed,
        space: Space {
            file: "space.toml".into(),
            keys: vec![key],
        },
        not_tried: Vec::new(),
        trials: Vec::new(),
        rounds: Vec::new(),
        held_out: None,
        verdict: Verdict::Unfinished,
        ending: String::new(),
    }
}

struct Searched {
    found: Result<Found, Stop>,
    evidence: Evidence,
    told: Told,
}

impl Searched {
    fn beats(&self) -> bool {
        matches!(&self.found, Ok(Some((_, Some(held_out)))) if held_out.beats)
    }

    fn winner(&self) -> &str {
        match &self.found {
            Ok(Some((row, _))) => &row.label,
            _ => "",
        }
    }
}

fn search(mut bench: Synthetic, objective: &str, seed: u32, most: Option<usize>) -> Searched {
    let objective = Objective::parse(objective).unwrap();
    let mut told = Told::default();
    let evidence = evidence(&objective.text, seed);
    let mut session = Session::new(&mut bench, &mut told, &objective, evidence);
    let found = stages(&mut session, most, &Plan::new(false));
    let Session { evidence, .. } = session;
    Searched {
        found,
        evidence,
        told,
    }
}

const MIN: &str = "min cpu_us_per_request";

#[test]
fn without_noise_the_planted_best_is_found_with_its_size() {
    let planted = [("b=2", 0.9), ("e=1", 0.95), ("b=1", 1.1)];
    let searched = search(Synthetic::new(1, 0.0, &planted), MIN, 1, None);
    assert_eq!(searched.winner(), "b=2 e=1");
    let Ok(Some((row, Some(held_out)))) = &searched.found else {
        panic!("{:?}", searched.found);
    };
    assert!(held_out.beats && held_out.pairs.len() == 10);
    for ratio in [row.ratio, held_out.ratio.ratio, held_out.ratio.high] {
        assert!((ratio - 0.9 * 0.95).abs() < 1e-6, "{ratio}");
    }
    let first = &searched.evidence.rounds[0];
    assert_eq!(
        (first.rows.len(), first.joined.as_slice()),
        (24, &["b=2 e=1".to_owned()][..])
    );
    assert!(
        first
            .dropped
            .starts_with("dropped 12 of 24: the worse half, 1.000 of base's")
    );
    let sizes: Vec<_> = searched
        .evidence
        .rounds
        .iter()
        .map(|it| it.rows.len())
        .collect();
    assert_eq!(sizes, [24, 13, 7, 4, 2]);
    assert_eq!(searched.told.kept, 5);
}

#[test]
fn larger_scores_are_better_where_a_maximum_is_wanted() {
    let planted = [("b=2", 0.8), ("e=1", 1.3)];
    let max = "max rate with p99_ms <= 5";
    let searched = search(Synthetic::new(1, 0.0, &planted), max, 1, None);
    assert!(searched.beats());
    assert_eq!(searched.winner(), "e=1");
}

#[test]
fn a_gain_of_a_capacity_below_its_resolution_is_not_called_better() {
    let planted = [("e=1", 1.03)];
    let max = "max rate with p99_ms <= 5";
    let searched = search(Synthetic::new(1, 0.0, &planted), max, 1, None);
    let first = &searched.evidence.rounds[0].rows[0];
    assert_eq!(
        (first.label.as_str(), first.standing),
        ("e=1", Standing::WithinNoise)
    );
}

#[test]
fn the_planted_best_is_found_through_noise_and_drift() {
    let planted = [("b=2", 0.92), ("e=1", 0.95), ("h=1", 1.2)];
    let found = (0..10).filter(|&seed| {
        let mut bench = Synthetic::new(seed.into(), 0.01, &planted);
        bench.drift = 1.0005;
        let searched = search(bench, MIN, seed, None);
        searched.beats() && searched.winner().contains("b=2")
    });
    let found = found.count();
    assert!(found >= 9, "{found} of 10");
}

#[test]
fn where_nothing_is_planted_nothing_beats_the_base() {
    let silent = (0..10).filter(|&seed| {
        let bench = Synthetic::new(u64::from(seed) + 100, 0.02, &[]);
        !search(bench, MIN, seed, None).beats()
    });
    let silent = silent.count();
    assert!(silent >= 9, "{silent} of 10");
}

#[test]
fn a_candidate_that_fails_once_goes_on_and_twice_is_dropped() {
    let mut bench = Synthetic::new(1, 0.0, &[("b=2", 0.9), ("e=1", 0.8)]);
    bench.failing = vec![("b=2", 1), ("e=1", 2)];
    bench.refused = vec!["c=1"];
    let searched = search(bench, MIN, 1, None);
    assert_eq!(searched.winner(), "b=2");
    let first = &searched.evidence.rounds[0];
    assert_eq!(first.failed, ["e=1"]);
    assert!(
        first.dropped.ends_with("dropped 1 that failed twice: e=1"),
        "{}",
        first.dropped
    );
    let failed = searched
        .evidence
        .trials
        .iter()
        .filter(|it| it.failed.is_some());
    assert_eq!(failed.count(), 3);
    assert_eq!(searched.evidence.not_tried[0].candidate, "c=1");
}

#[test]
fn without_the_control_the_search_ends() {
    let mut bench = Synthetic::new(1, 0.0, &[]);
    bench.failing = vec![("base", 2)];
    match search(bench, MIN, 1, None).found {
        Err(Stop::Failed(line)) => assert!(line.starts_with("base failed twice, and"), "{line}"),
        found => panic!("{found:?}"),
    }
}

#[test]
fn the_order_is_shuffled_with_the_control_throughout() {
    let searched = search(Synthetic::new(1, 0.0, &[]), MIN, 1, None);
    let first: Vec<_> = searched
        .evidence
        .trials
        .iter()
        .filter(|trial| trial.stage == "round 1")
        .map(|trial| trial.candidate.as_str())
        .collect();
    assert_eq!(first.len(), 24 + 6);
    assert_eq!((first[0], first[29]), ("base", "base"));
    let gaps = first.split(|name| *name == "base").map(<[_]>::len);
    assert!(gaps.max() <= Some(5), "{first:?}");
    let tried: Vec<_> = first.into_iter().filter(|name| *name != "base").collect();
    let labels: Vec<_> = changes().iter().map(ToString::to_string).collect();
    assert_ne!(tried, labels);
    let other = search(Synthetic::new(1, 0.0, &[]), MIN, 1, None);
    let seeds = |it: &Searched| {
        it.evidence
            .trials
            .iter()
            .map(|it| it.seed)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        seeds(&other),
        seeds(&searched),
        "the same search again is the same"
    );
}

#[test]
fn a_few_candidates_are_chosen_at_random() {
    let searched = search(Synthetic::new(1, 0.0, &[]), MIN, 1, Some(3));
    assert_eq!(searched.evidence.rounds[0].rows.len(), 3);
    assert_eq!(searched.evidence.not_tried.len(), 21);
    assert!(!searched.beats());
}
