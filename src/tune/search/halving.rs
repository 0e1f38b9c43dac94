//! Successive halving (Jamieson & Talwalkar 2016): measure all a little, keep the better half,
//! measure those for longer, and so on until one is left.
//!
//! ```text
//! round 1   C a a a C a a a C a a a C        every change alone; C is the base, the control
//!               better half + combinations of those that beat the control
//! round 2   C a b C a b b C a a C            twice as long
//!               better half
//! round 3   C a b C b C C                    …
//! ```
//!
//! A machine's speed drifts over hours, so scores of different rounds are never compared: each is
//! divided by the control's of its own round. The control's own spread says what a ratio is worth.

use super::candidate::{Candidate, Change, combinations};
use super::evidence::{NotTried, Round, Row, Standing};
use super::plan::Plan;
use super::report;
use super::session::{Session, Stop};
use super::statistics::Control;
use super::trial::Effort;
use crate::config::limits::TUNE_SEARCH_COMBINED_MAX;

/// Halves until one is left, or the plan's rounds are over. The best of the last round; `None` when
/// every candidate failed.
///
/// # Errors
/// When the search cannot go on.
pub fn run(
    session: &mut Session<'_>,
    mut field: Vec<Candidate>,
    plan: &Plan,
) -> Result<Option<Row>, Stop> {
    let mut best = None;
    for (index, effort) in plan.rounds.iter().enumerate() {
        let mut round = measure(session, &field, index + 1, effort)?;
        let mut next = halve(&mut round.rows);
        if index == 0 && index + 1 < plan.rounds.len() {
            let joining = join(session, &round.rows);
            let base = &session.evidence.base;
            round.joined = joining.iter().map(|it| it.label(base)).collect();
            next.extend(joining);
        }
        round.dropped = report::dropped(&round, &session.evidence.base);
        session
            .witness
            .say(&report::round(&round, &session.evidence.base));
        best = round.rows.first().cloned();
        session.evidence.rounds.push(round);
        session.keep()?;
        if next.len() <= 1 {
            break;
        }
        field = next;
    }
    Ok(best)
}

/// Measures every candidate once, in random order, and the control between them.
fn measure(
    session: &mut Session<'_>,
    field: &[Candidate],
    number: usize,
    effort: &Effort,
) -> Result<Round, Stop> {
    let stage = format!("round {number}");
    let order = order(session, field);
    let base = session.evidence.base.clone();
    session.witness.say(&report::opening(
        number,
        field.len(),
        order.len(),
        effort,
        &base,
    ));
    let (mut control_scores, mut scores, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (index, candidate) in order.iter().enumerate() {
        let seed = session.seed();
        let at = (index + 1, order.len());
        match session.trial(&stage, at, candidate, effort, seed)? {
            Some(score) if candidate.is_control() => control_scores.push(score),
            Some(score) => scores.push((candidate.clone(), score)),
            None => failed.push(candidate.label(&base)),
        }
    }
    let mut control = Control::of(&control_scores);
    let resolution = effort.resolution(&session.objective.score);
    control.noise = control.noise.max(resolution);
    let direction = session.objective.direction();
    let row = |(candidate, score): (Candidate, f64)| {
        let ratio = score / control.score;
        Row {
            label: candidate.label(&base),
            candidate,
            score,
            ratio,
            standing: standing(direction.advantage(ratio.ln()), control.noise),
            kept: false,
        }
    };
    let mut rows: Vec<Row> = scores.into_iter().map(row).collect();
    let advantage = |row: &Row| direction.advantage(row.ratio.ln());
    rows.sort_by(|a, b| advantage(b).total_cmp(&advantage(a)));
    Ok(Round {
        number,
        effort: *effort,
        control_scores,
        control,
        rows,
        failed,
        joined: Vec::new(),
        dropped: String::new(),
    })
}

fn standing(advantage: f64, noise: f64) -> Standing {
    match advantage {
        it if it > noise => Standing::Better,
        it if it < -noise => Standing::Worse,
        _ => Standing::WithinNoise,
    }
}

/// Candidates in random order, the control first, last, and evenly between.
fn order(session: &mut Session<'_>, field: &[Candidate]) -> Vec<Candidate> {
    let mut shuffled = field.to_vec();
    session.random.shuffle(&mut shuffled);
    let controls = Plan::controls(field.len());
    let mut order = Vec::new();
    let mut placed = 0;
    for (index, candidate) in shuffled.into_iter().enumerate() {
        while placed * field.len() <= index * (controls - 1) && placed + 1 < controls {
            order.push(Candidate::control());
            placed += 1;
        }
        order.push(candidate);
    }
    let rest = controls.saturating_sub(placed);
    order.extend(std::iter::repeat_n(Candidate::control(), rest));
    order
}

/// Keeps the better half.
fn halve(rows: &mut [Row]) -> Vec<Candidate> {
    let half = rows.len().div_ceil(2);
    for row in &mut rows[..half] {
        row.kept = true;
    }
    let kept = rows.iter().filter(|row| row.kept);
    kept.map(|row| row.candidate.clone()).collect()
}

/// Combinations of the changes that beat the control, as far as they make a profile.
fn join(session: &mut Session<'_>, rows: &[Row]) -> Vec<Candidate> {
    let better = rows.iter().filter(|row| row.standing == Standing::Better);
    let better: Vec<Change> = better
        .flat_map(|row| row.candidate.changes.clone())
        .collect();
    ready(session, combinations(&better, TUNE_SEARCH_COMBINED_MAX))
}

/// Those of `candidates` that can be tried; why the others cannot goes on record.
pub fn ready(session: &mut Session<'_>, candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for candidate in candidates {
        match session.bench.prepare(&candidate) {
            Ok(()) => found.push(candidate),
            Err(reason) => session.evidence.not_tried.push(NotTried {
                candidate: candidate.label(&session.evidence.base),
                reason,
            }),
        }
    }
    found
}
