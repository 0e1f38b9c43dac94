//! The phases of a run behind its plots: shaded bands, names above them, numbered actions.

use super::axis::Axis;
use super::plot::{SIDE, coordinate};
use super::text::{escape, number};
use crate::results::{Phase, PhaseKind, Results};

/// Actions nearer to each other than this share of the width have one mark.
const MARK_WIDTH: f64 = 0.05;

/// The phases on a time axis.
pub(super) struct Bands {
    /// The shared time axis.
    pub(super) axis: Axis,
    /// SVG behind the lines.
    pub(super) svg: String,
    /// HTML above the plot.
    pub(super) strip: String,
    /// What was done to the server, as a list with the numbers of the marks.
    pub(super) actions: String,
}

impl Bands {
    /// The phases of a run.
    pub(super) fn new(results: &Results) -> Self {
        let axis = Axis::time(total_s(results));
        let actions = actions(&results.phases);
        let mut svg = String::new();
        let mut strip = String::new();
        for (index, phase) in results.phases.iter().enumerate() {
            let (from, to) = (axis.scale.at(phase.start_s), axis.scale.at(phase.end_s));
            let kind = kind_class(phase.kind);
            let (left, width) = (coordinate(from * SIDE), coordinate((to - from) * SIDE));
            svg += &format!(
                "<rect class=\"band {kind}\" x=\"{left}\" y=\"0\" width=\"{width}\" height=\"1000\"/>"
            );
            if index > 0 {
                svg += &format!("<path class=\"edge\" d=\"M{left} 0V1000\"/>");
            }
            let name = escape(&phase.name);
            strip += &format!(
                "<span class=\"phase {kind}\" style=\"left:{}%;width:{}%\" title=\"{name}\">{name}</span>",
                coordinate(from * 100.0),
                coordinate((to - from) * 100.0)
            );
        }
        for (at, names) in marks(&actions, &axis) {
            let left = coordinate(at * SIDE);
            svg += &format!("<path class=\"act\" d=\"M{left} 0V1000\"/>");
            let left = coordinate(at * 100.0);
            strip += &format!("<span class=\"mark\" style=\"left:{left}%\">{names}</span>");
        }
        Self {
            axis,
            svg,
            strip,
            actions: list(&actions),
        }
    }
}

/// The length of the time axis.
pub(super) fn total_s(results: &Results) -> f64 {
    let ends = results.phases.iter().map(|phase| phase.end_s);
    ends.fold(results.duration_s, f64::max)
}

/// The CSS class of a kind of phase.
pub(super) fn kind_class(kind: PhaseKind) -> &'static str {
    match kind {
        PhaseKind::WarmUp => "k-warm-up",
        PhaseKind::Measure => "k-measure",
        PhaseKind::Disturb => "k-disturb",
        PhaseKind::Recover => "k-recover",
    }
}

/// What was done, and when on the run's clock.
struct Action<'a> {
    at_s: f64,
    phase: &'a str,
    text: &'a str,
}

fn actions(phases: &[Phase]) -> Vec<Action<'_>> {
    let mut all: Vec<Action<'_>> = phases
        .iter()
        .flat_map(|phase| {
            phase.actions.iter().map(|text| Action {
                at_s: at_s(text, phase),
                phase: &phase.name,
                text,
            })
        })
        .collect();
    all.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    all
}

/// When an action was done: `2.00 s: killed pid 4711` says it on the run's clock, or on the phase's
/// when the run's clock would put it outside the phase; one that says nothing began with its phase.
fn at_s(text: &str, phase: &Phase) -> f64 {
    let said = text
        .split_once(" s:")
        .and_then(|(seconds, _)| seconds.trim().parse::<f64>().ok())
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    match said {
        Some(at) if at >= phase.start_s => at,
        Some(after) => phase.start_s + after,
        None => phase.start_s,
    }
}

/// Places of the marks with their numbers; near ones share a mark.
fn marks(actions: &[Action<'_>], axis: &Axis) -> Vec<(f64, String)> {
    let mut marks: Vec<(f64, usize, usize)> = Vec::new();
    for (index, action) in actions.iter().enumerate() {
        let at = axis.scale.at(action.at_s);
        match marks.last_mut() {
            Some(last) if at - last.0 < MARK_WIDTH => last.2 = index + 1,
            _ => marks.push((at, index + 1, index + 1)),
        }
    }
    let named = marks.into_iter().map(|(at, first, last)| {
        let name = if first == last {
            first.to_string()
        } else {
            format!("{first}–{last}")
        };
        (at, name)
    });
    named.collect()
}

fn list(actions: &[Action<'_>]) -> String {
    if actions.is_empty() {
        return String::new();
    }
    let items: String = actions
        .iter()
        .map(|action| {
            let text = action.text.split_once(" s:").map_or(action.text, |it| it.1);
            format!(
                "<li><b>{} s</b>, in {}: {}</li>",
                number(action.at_s),
                escape(action.phase),
                escape(text.trim())
            )
        })
        .collect();
    format!(
        "<p class=\"tight\">Done to the server, numbered as above the plots:</p><ol class=\"actions\">{items}</ol>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(actions: &[&str]) -> Phase {
        Phase {
            name: "disturb".to_owned(),
            kind: PhaseKind::Disturb,
            start_s: 30.0,
            end_s: 60.0,
            actions: actions.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn an_action_stands_where_it_was_done() {
        let phase = phase(&[]);
        for (text, expected) in [
            ("40.50 s: killed pid 4711", 40.5),
            ("2.00 s: killed pid 4711", 32.0),
            ("killed pid 4711", 30.0),
            ("-1 s: odd", 30.0),
            ("NaN s: odd", 30.0),
        ] {
            assert_eq!(at_s(text, &phase), expected, "{text}");
        }
    }

    #[test]
    fn near_actions_share_a_mark() {
        let phases = [phase(&["55.00 s: c", "30.00 s: a", "31.00 s: b"])];
        let marks = marks(&actions(&phases), &Axis::time(60.0));
        let names: Vec<&str> = marks.iter().map(|mark| mark.1.as_str()).collect();
        assert_eq!(names, ["1–2", "3"]);
    }
}
