//! What all stages of a search share: the bench, the evidence so far, random numbers, and a trial
//! that is done again once when it fails.
//!
//! ```text
//! measure ──score──► on record
//!    └─ failed ──► on record ──► measure again, another seed ──score──► on record
//!                                        └─ failed ──► on record: a candidate is dropped,
//!                                                      without the control the search ends
//! ```

use std::time::Instant;

use super::candidate::Candidate;
use super::evidence::{Evidence, Trial};
use super::objective::Objective;
use super::random::Random;
use super::report;
use super::trial::{Bench, Effort, Missed};

/// Between the seeds of two trials; a search for a capacity adds 1 for every run.
const SEEDS_OF_A_TRIAL: u64 = 1_000;
/// Between the seeds of two tries of one trial.
const SEEDS_OF_A_TRY: u64 = 500;

/// Why a search ends before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Scenario or objective is refused.
    Wrong(String),
    /// A signal asked to end.
    Interrupted,
    /// It cannot go on.
    Failed(String),
}

/// Who is told how it goes.
pub trait Witness {
    /// A line, or several, for a person.
    fn say(&mut self, text: &str);

    /// The evidence after every stage.
    ///
    /// # Errors
    /// When it cannot be kept; the search then ends.
    fn keep(&mut self, evidence: &Evidence) -> Result<(), String>;
}

/// One search under way.
pub struct Session<'a> {
    /// Where candidates are tried.
    pub bench: &'a mut dyn Bench,
    /// Who is told.
    pub witness: &'a mut dyn Witness,
    /// What is searched for.
    pub objective: &'a Objective,
    /// What is known so far.
    pub evidence: Evidence,
    /// Random order.
    pub random: Random,
    trials: u64,
}

impl<'a> Session<'a> {
    /// A search that begins.
    pub fn new(
        bench: &'a mut dyn Bench,
        witness: &'a mut dyn Witness,
        objective: &'a Objective,
        evidence: Evidence,
    ) -> Session<'a> {
        Session {
            bench,
            witness,
            objective,
            random: Random::new(evidence.seed.into()),
            evidence,
            trials: 0,
        }
    }

    /// A seed that no other trial of this search has.
    pub fn seed(&mut self) -> u64 {
        self.trials += 1;
        (u64::from(self.evidence.seed) << 32) + self.trials * SEEDS_OF_A_TRIAL
    }

    /// Measures one candidate; `None` when it failed twice.
    ///
    /// # Errors
    /// When the search cannot go on: `skep-load` refuses, a signal came, or the control failed.
    pub fn trial(
        &mut self,
        stage: &str,
        at: (usize, usize),
        candidate: &Candidate,
        effort: &Effort,
        seed: u64,
    ) -> Result<Option<f64>, Stop> {
        let mut reason = String::new();
        for seed in [seed, seed + SEEDS_OF_A_TRY] {
            match self.once(stage, at, candidate, effort, seed)? {
                Ok(score) => return Ok(Some(score)),
                Err(failed) => reason = failed,
            }
        }
        match candidate.is_control() {
            false => Ok(None),
            true => Err(Stop::Failed(format!(
                "{} failed twice, and without it nothing can be compared: {reason}",
                self.evidence.base
            ))),
        }
    }

    /// Measures once, and puts it on record.
    fn once(
        &mut self,
        stage: &str,
        at: (usize, usize),
        candidate: &Candidate,
        effort: &Effort,
        seed: u64,
    ) -> Result<Result<f64, String>, Stop> {
        let begun = Instant::now();
        let mut done = match self.bench.measure(candidate, effort, seed) {
            Ok(measured) if measured.at_bound && candidate.is_control() => Err(format!(
                "the objective is met at the largest value allowed ({}); allow a larger one",
                measured.score
            )),
            Ok(measured) => Ok(measured.score),
            Err(Missed::Failed(reason)) => Err(reason),
            Err(Missed::Wrong(line)) => return Err(Stop::Wrong(line)),
            Err(Missed::Interrupted) => return Err(Stop::Interrupted),
        };
        if let Ok(score) = done
            && !(score.is_finite() && score > 0.0)
        {
            done = Err(format!("a score of {score}, of which there are no ratios"));
        }
        let trial = Trial {
            stage: stage.to_owned(),
            candidate: candidate.label(&self.evidence.base),
            seed,
            seconds: begun.elapsed().as_secs_f64(),
            score: done.as_ref().ok().copied(),
            failed: done.as_ref().err().cloned(),
        };
        self.witness.say(&report::trial(&trial, at));
        self.evidence.trials.push(trial);
        Ok(done)
    }

    /// Hands the evidence so far to the witness.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep(&mut self) -> Result<(), Stop> {
        self.witness.keep(&self.evidence).map_err(Stop::Failed)
    }
}
