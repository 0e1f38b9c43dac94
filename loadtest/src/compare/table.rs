//! A comparison as people see it.

use super::{Comparison, Group, Row, Verdict};

/// Warnings first, then a table a scenario, then what the intervals mean.
pub(super) fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    for warning in &comparison.warnings {
        text += &format!("WARNING: {}\n", warning.text);
    }
    for group in &comparison.groups {
        text += &of_group(group);
    }
    let shown = comparison
        .groups
        .iter()
        .flat_map(|group| &group.rows)
        .filter(|row| row.change.is_some())
        .count();
    if shown > 0 {
        text += &format!(
            "\n[…] holds the change 95 times in 100: of {shown} figures that did not change, {:.0} would \
             look as if they had.\n",
            (shown as f64 / 20.0).ceil()
        );
    }
    text
}

fn of_group(group: &Group) -> String {
    let mut text = String::new();
    for warning in &group.warnings {
        let severity = if warning.incomparable {
            "WARNING: "
        } else {
            "note: "
        };
        text += &format!("{severity}{}\n", warning.text);
    }
    text += &format!("\n{}: {}\n", group.scenario, group.explained);
    let mut heading = None;
    for row in &group.rows {
        let of = row.population.as_deref().unwrap_or("server");
        if heading != Some((&row.phase, of)) {
            text += &format!("\n  {} · {of}\n", row.phase);
            heading = Some((&row.phase, of));
        }
        text += &format!(
            "    {:<15}{:>12} → {:<12}{:<34}{}\n",
            row.metric.name(),
            number(row.before),
            number(row.after),
            change(row),
            verdict(row.verdict)
        );
    }
    text
}

/// What failed, or that nothing did; nothing when nothing was asked.
pub(super) fn failures(failures: Option<&[String]>) -> String {
    match failures {
        None => String::new(),
        Some([]) => "passed: nothing is worse by more than allowed\n".to_owned(),
        Some(some) => some
            .iter()
            .map(|failure| format!("FAILED: {failure}\n"))
            .collect(),
    }
}

/// `+3.1 % [+1.0 … +5.2]`.
pub(super) fn change(row: &Row) -> String {
    let Some(change) = row.change else {
        return "–".to_owned();
    };
    let unit = if row.metric.in_points() {
        "points"
    } else {
        "%"
    };
    format!(
        "{} {unit} [{} … {}]",
        signed(change.estimate),
        signed(change.low),
        signed(change.high)
    )
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::NoDifferenceShown => "no difference shown",
        Verdict::CannotTell => "cannot tell",
    }
}

/// Percent to a tenth, small ones to a thousandth, large ones to a whole.
fn signed(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => if value > 0.0 { "+∞" } else { "-∞" }.to_owned(),
        size if size >= 100.0 => format!("{value:+.0}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:+.1}"),
        _ => format!("{value:+.3}"),
    }
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 10_000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.3}"),
    }
}
