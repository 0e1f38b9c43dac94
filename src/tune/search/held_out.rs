//! The winner against the base, with seeds that no round had: the search chose it for its scores, so
//! those scores flatter it.
//!
//! ```text
//! pair        1     2     3     4     5          B base, W winner
//!            B W   W B   B W   W B   B W         who goes first alternates: drift favours nobody
//! log ratio   d1    d2    d3    d4    d5  ──►  mean ± t · s / √5
//! ```

use super::candidate::Candidate;
use super::evidence::{HeldOut, Pair};
use super::plan::Plan;
use super::report;
use super::session::{Session, Stop};
use super::statistics::Interval;

/// The stage's name on record.
const STAGE: &str = "held-out run";

/// Measures the pairs; `None` when the winner failed.
///
/// # Errors
/// When the search cannot go on.
pub fn run(
    session: &mut Session<'_>,
    winner: &Candidate,
    plan: &Plan,
) -> Result<Option<HeldOut>, Stop> {
    let base = session.evidence.base.clone();
    let label = winner.label(&base);
    let opening = report::held_out(&label, &base, plan);
    session.witness.say(&opening);
    let control = Candidate::control();
    let mut pairs = Vec::new();
    for index in 0..plan.pairs {
        let seed = session.seed();
        let mut scores = [0.0; 2];
        let order = match index % 2 {
            0 => [0, 1],
            _ => [1, 0],
        };
        for (step, which) in order.into_iter().enumerate() {
            let candidate = [&control, winner][which];
            let at = (2 * index + step + 1, 2 * plan.pairs);
            match session.trial(STAGE, at, candidate, &plan.held_out, seed)? {
                Some(score) => scores[which] = score,
                None => return Ok(None),
            }
        }
        let [base, candidate] = scores;
        pairs.push(Pair {
            seed,
            base,
            candidate,
        });
    }
    let ratios: Vec<f64> = pairs
        .iter()
        .map(|pair| (pair.candidate / pair.base).ln())
        .collect();
    let ratio = Interval::of(&ratios);
    let direction = session.objective.direction();
    // The whole interval is on the better side when both of its ends are.
    let ends = [ratio.low, ratio.high];
    let beats = ends.iter().all(|end| direction.advantage(end.ln()) > 0.0);
    Ok(Some(HeldOut {
        candidate: label,
        effort: plan.held_out,
        pairs,
        ratio,
        beats,
    }))
}
