//! What a search says while it goes on: a line a trial, a table a round, a sentence at the end.

use std::fmt::Write;

use super::evidence::{Evidence, HeldOut, Machine, NotTried, Round, Row, Standing, Trial};
use super::objective::Direction;
use super::plan::Plan;
use super::trial::Effort;

/// Names above this do not widen a table.
const LABEL_MAX: usize = 48;

/// A score with as many digits as are of use.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Before everything; `candidates` of `all` are tried.
pub fn search(evidence: &Evidence, candidates: usize, all: usize) -> String {
    let chosen = match candidates < all {
        true => format!(", chosen at random out of {all}"),
        false => String::new(),
    };
    let (objective, base) = (&evidence.objective, &evidence.base);
    let machine = machine(&evidence.machine);
    format!(
        "{objective}\non {machine}\ncandidates that differ from {base} in one change: \
         {candidates}{chosen}"
    )
}

/// What makes no candidate, and why: a line each.
pub fn not_tried(list: &[NotTried]) -> String {
    let lines = list
        .iter()
        .map(|it| format!("\nnot tried: {}: {}", it.candidate, it.reason));
    lines.collect()
}

/// Before a round.
pub fn opening(
    number: usize,
    candidates: usize,
    trials: usize,
    effort: &Effort,
    base: &str,
) -> String {
    let controls = trials - candidates;
    let word = if candidates == 1 {
        "candidate"
    } else {
        "candidates"
    };
    format!(
        "\nround {number}: {candidates} {word}, {base} {controls} times between them; {} of the \
         scenario's length",
        effort.stretch
    )
}

/// After a trial.
pub fn trial(trial: &Trial, (number, of): (usize, usize)) -> String {
    let Trial {
        stage, candidate, ..
    } = trial;
    let outcome = match (trial.score, &trial.failed) {
        (Some(score), _) => self::number(score),
        (None, Some(reason)) => format!("failed: {reason}"),
        (None, None) => "failed".to_owned(),
    };
    format!("{stage} {number:>3}/{of:<3}  {candidate:<34} {outcome}")
}

/// After a round: the table, and what was dropped.
pub fn round(round: &Round, base: &str) -> String {
    let labels = round.rows.iter().map(|row| row.label.chars().count());
    let width = labels.chain([base.chars().count()]).max().unwrap_or(0);
    let width = width.clamp(20, LABEL_MAX);
    let mut out = String::from("\n");
    line(
        &mut out,
        format_args!("  {:<width$}  {:>10}  {:>6}", "candidate", "score", "ratio"),
    );
    let score = number(round.control.score);
    line(
        &mut out,
        format_args!(
            "  {base:<width$}  {score:>10}  {:>6}  control, noise ± {:.1} %",
            "1.000",
            round.control.noise_percent()
        ),
    );
    for row in &round.rows {
        let (label, score) = (&row.label, number(row.score));
        let kept = if row.kept { "" } else { ", dropped" };
        line(
            &mut out,
            format_args!(
                "  {label:<width$}  {score:>10}  {:>6.3}  {}{kept}",
                row.ratio,
                row.standing.in_words()
            ),
        );
    }
    out.push_str(&round.dropped);
    out
}

/// What a round dropped and why, in a sentence.
pub fn dropped(round: &Round, base: &str) -> String {
    let (kept, dropped): (Vec<_>, Vec<_>) = round.rows.iter().partition(|row| row.kept);
    let mut parts = Vec::new();
    match (kept.last(), dropped.first()) {
        (Some(_), Some(best)) => {
            let clear = dropped
                .iter()
                .filter(|row| row.standing == Standing::Worse)
                .count();
            parts.push(format!(
                "dropped {} of {}: the worse half, {:.3} of {base}'s score and worse, {clear} of \
                 them by more than the noise",
                dropped.len(),
                round.rows.len(),
                best.ratio
            ));
        }
        (Some(_), None) => parts.push("dropped none: only one is left".to_owned()),
        (None, _) => {}
    }
    if !round.failed.is_empty() {
        let failed = round.failed.join(", ");
        parts.push(format!(
            "dropped {} that failed twice: {failed}",
            round.failed.len()
        ));
    }
    if !round.joined.is_empty() {
        let count = round.joined.len();
        parts.push(format!(
            "{count} combinations of changes that are better alone join"
        ));
    }
    parts.join("; ")
}

/// Before the held-out run.
pub fn held_out(label: &str, base: &str, plan: &Plan) -> String {
    format!(
        "\nheld-out run: {label} against {base}, {} pairs with other seeds; {} of the scenario's \
         length",
        plan.pairs, plan.held_out.stretch
    )
}

/// What the held-out run measured: `0.942 of balanced's score, 95 % interval 0.931 to 0.953, 10
/// pairs, lower is better`.
pub fn held_out_result(held_out: &HeldOut, base: &str, direction: Direction) -> String {
    let ratio = &held_out.ratio;
    format!(
        "{:.3} of {base}'s score, 95 % interval {:.3} to {:.3}, {} pairs, {}",
        ratio.ratio,
        ratio.low,
        ratio.high,
        held_out.pairs.len(),
        direction.in_words()
    )
}

/// What came of it, in a sentence.
pub fn ending(
    evidence: &Evidence,
    direction: Direction,
    found: Option<&(Row, Option<HeldOut>)>,
) -> String {
    const NOTHING: &str = "no profile is written";
    let base = &evidence.base;
    match found {
        None => format!("nothing beats {base}: every candidate failed; {NOTHING}"),
        Some((best, Some(held_out))) => {
            let result = held_out_result(held_out, base, direction);
            match held_out.beats {
                true => format!("{} beats {base}: {result}", best.label),
                false => format!("{} does not beat {base}: {result}; {NOTHING}", best.label),
            }
        }
        Some((best, None)) if direction.advantage(best.ratio.ln()) > 0.0 => format!(
            "{} does not beat {base}: it failed twice in the held-out run; {NOTHING}",
            best.label
        ),
        Some((best, None)) => format!(
            "nothing beats {base}: the best of the last round, {}, has {:.3} of its score ({}); \
             {NOTHING}",
            best.label,
            best.ratio,
            direction.in_words()
        ),
    }
}

/// The measured effect of one change alone, from the last round it was in.
pub fn alone(evidence: &Evidence, label: &str, unit: &str) -> String {
    let mut rounds = evidence.rounds.iter().rev();
    let found = rounds.find_map(|round| {
        let row = round.rows.iter().find(|row| row.label == label)?;
        Some((round, row))
    });
    match found {
        Some((round, row)) => format!(
            "alone {:.3} of {}'s {unit}: {} against {} in round {}, noise ± {:.1} %: {}",
            row.ratio,
            evidence.base,
            number(row.score),
            number(round.control.score),
            round.number,
            round.control.noise_percent(),
            row.standing.in_words()
        ),
        None => "not measured alone".to_owned(),
    }
}

/// A machine in one line.
pub fn machine(machine: &Machine) -> String {
    format!(
        "{}, {} CPUs, {} MiB, Linux {}",
        machine.cpu,
        machine.cpus,
        machine.memory_kib >> 10,
        machine.kernel
    )
}

/// Writing to a `String` cannot fail; this keeps the results out of sight.
fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(arguments);
    out.push('\n');
}
