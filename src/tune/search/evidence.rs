//! What a search leaves behind beside the profile: everything that was tried, as JSON.
//!
//! ```text
//! Evidence
//! ├── command, machine, objective, base, seed     what was searched for, and where
//! ├── space, not_tried[]                          what could be tried, and what was not, with why
//! ├── trials[]                                    every measurement: score, or why there is none
//! ├── rounds[]                                    control with its noise, every candidate, who was kept
//! ├── held_out                                    the winner against the base, pair by pair
//! └── verdict, ending                             beats, does not beat, or unfinished
//! ```

use std::path::PathBuf;

use serde::Serialize;

use super::candidate::Candidate;
use super::space::Space;
use super::statistics::{Control, Interval};
use super::trial::Effort;

/// The version of this document's shape.
pub const SCHEMA: u32 = 1;

/// Everything about one search.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of skep.
    pub version: &'static str,
    /// The command line.
    pub command: Vec<String>,
    /// When it began, as HTTP writes dates.
    pub started: String,
    /// The machine.
    pub machine: Machine,
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The objective as written.
    pub objective: String,
    /// The base profile.
    pub base: String,
    /// What the random numbers begin with.
    pub seed: u32,
    /// What could be tried.
    pub space: Space,
    /// What was not tried.
    pub not_tried: Vec<NotTried>,
    /// Every trial, in order of time.
    pub trials: Vec<Trial>,
    /// Every round that was finished.
    pub rounds: Vec<Round>,
    /// The winner against the base.
    pub held_out: Option<HeldOut>,
    /// What came of it.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub ending: String,
}

/// The machine that a search ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The CPU's own name.
    pub cpu: String,
    /// CPUs online.
    pub cpus: usize,
    /// Memory in all, in KiB.
    pub memory_kib: u64,
    /// The kernel's release.
    pub kernel: String,
}

/// A candidate that was not tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NotTried {
    /// Its changes.
    pub candidate: String,
    /// Why not.
    pub reason: String,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// `round 1`, or `held-out run`.
    pub stage: String,
    /// The candidate's changes, or the base's name.
    pub candidate: String,
    /// What its random numbers began with.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// The score.
    pub score: Option<f64>,
    /// Why there is none.
    pub failed: Option<String>,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// From 1.
    pub number: usize,
    /// How thoroughly it measured.
    pub effort: Effort,
    /// The base's scores.
    pub control_scores: Vec<f64>,
    /// Their mean and noise.
    pub control: Control,
    /// The candidates that have a score, the best first.
    pub rows: Vec<Row>,
    /// Candidates that failed twice.
    pub failed: Vec<String>,
    /// Combinations that join the next round.
    pub joined: Vec<String>,
    /// What was dropped and why, in a sentence.
    pub dropped: String,
}

/// One candidate in one round.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub label: String,
    /// What it changes.
    pub candidate: Candidate,
    /// Its score.
    pub score: f64,
    /// The score over the control's.
    pub ratio: f64,
    /// What that says.
    pub standing: Standing,
    /// Whether it goes on.
    pub kept: bool,
}

/// What a ratio says in view of the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Better by more than the noise.
    Better,
    /// Not told apart from the base.
    WithinNoise,
    /// Worse by more than the noise.
    Worse,
}

impl Standing {
    /// For a table.
    pub fn in_words(self) -> &'static str {
        match self {
            Standing::Better => "better",
            Standing::WithinNoise => "within the noise",
            Standing::Worse => "worse",
        }
    }
}

/// The winner against the base, with other seeds and in alternation.
#[derive(Clone, Debug, Serialize)]
pub struct HeldOut {
    /// The winner.
    pub candidate: String,
    /// How thoroughly it was measured.
    pub effort: Effort,
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// The winner's score over the base's, with its 95 % confidence interval.
    pub ratio: Interval,
    /// Whether all of the interval is on the better side.
    pub beats: bool,
}

/// One pair of a held-out run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// What the random numbers of both began with.
    pub seed: u64,
    /// The base's score.
    pub base: f64,
    /// The winner's.
    pub candidate: f64,
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The winner beats the base.
    Beats,
    /// Nothing was found that does.
    DoesNotBeat,
    /// It ended before that was known.
    Unfinished,
}
