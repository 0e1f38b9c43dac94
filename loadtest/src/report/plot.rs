//! One plot: a frame of HTML around an SVG that stretches.
//!
//! ```text
//!   figcaption   what, unit, note
//!         strip  phase names, numbers of actions
//!   y     ┌─────────────────────┐ end
//!   names │ svg, 1000 × 1000,   │ names
//!         │ stretched to fit    │
//!         └─────────────────────┘
//!           x names
//! ```
//!
//! The names are HTML and not SVG text, so that they keep their size on any screen while the plot
//! takes the width that there is. Lines do not scale (`vector-effect`).

use super::axis::Axis;
use super::text::escape;

/// Both sides of a plot's own coordinates.
pub(super) const SIDE: f64 = 1000.0;

/// Height of a line of text in pixels, below which names at the end of lines would overlap.
const NAME_PX: f64 = 13.0;

/// One line of a plot.
pub(super) struct Line {
    /// Its CSS classes: whose it is, and what it shows.
    pub(super) class: String,
    /// Its name in the read-out.
    pub(super) name: String,
    /// Its SVG path, from [`path`].
    pub(super) path: String,
    /// Its name beside its end; none when empty.
    pub(super) label: String,
    /// Where it ends from the bottom, 0 to 1; without an end there is no name.
    pub(super) end: Option<f64>,
}

/// A plot. Texts are escaped here.
pub(super) struct Plot<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    /// CSS classes of the figure.
    pub(super) class: &'a str,
    /// What is drawn.
    pub(super) title: &'a str,
    /// In which unit.
    pub(super) unit: &'a str,
    /// A remark beside the title.
    pub(super) note: &'a str,
    /// What is to be seen, for who cannot see it.
    pub(super) about: &'a str,
    /// Left to right.
    pub(super) x: &'a Axis,
    /// Bottom to top.
    pub(super) y: &'a Axis,
    /// SVG behind the lines.
    pub(super) back: &'a str,
    /// HTML in the strip above the plot.
    pub(super) strip: &'a str,
    /// The lines, later ones on top.
    pub(super) lines: &'a [Line],
    /// Height of the plot itself.
    pub(super) height_px: u32,
}

impl Plot<'_> {
    /// The figure.
    pub(super) fn html(&self) -> String {
        let id = self.id;
        let caption = caption(self.title, self.unit, self.note);
        let names_y = names_y(self.y);
        let names_x = names_x(self.x);
        let ends = ends(self.lines, f64::from(self.height_px));
        let svg = self.svg();
        format!(
            "<figure class=\"plot {class}\" id=\"{id}\" style=\"--h:{height}px\">{caption}\
             <div class=\"frame\"><div class=\"strip\">{strip}</div>\
             <div class=\"y\" aria-hidden=\"true\">{names_y}</div>\
             <div class=\"area\">{svg}</div>\
             <div class=\"ends\" aria-hidden=\"true\">{ends}</div>\
             <div class=\"x\" aria-hidden=\"true\">{names_x}</div></div></figure>\n",
            class = self.class,
            height = self.height_px,
            strip = self.strip,
        )
    }

    fn svg(&self) -> String {
        let id = self.id;
        let lines: String = self.lines.iter().map(Line::svg).collect();
        format!(
            "<svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\" data-x=\"{x}\" data-y=\"{y}\" data-unit=\"{unit}\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{about}</desc>\
             {back}{grid}{lines}</svg>",
            x = self.x.scale.attribute(),
            y = self.y.scale.attribute(),
            unit = escape(self.unit),
            title = escape(self.title),
            about = escape(self.about),
            back = self.back,
            grid = grid(self.x, self.y),
        )
    }
}

impl Line {
    fn svg(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        format!(
            "<path class=\"line {}\" data-n=\"{}\" d=\"{}\"/>",
            self.class,
            escape(&self.name),
            self.path
        )
    }
}

/// The title line of a figure.
pub(super) fn caption(title: &str, unit: &str, note: &str) -> String {
    let mut out = format!("<figcaption><b>{}</b>", escape(title));
    if !unit.is_empty() {
        out += &format!(" <span class=\"unit\">{}</span>", escape(unit));
    }
    if !note.is_empty() {
        out += &format!(" <span class=\"note\">{}</span>", escape(note));
    }
    out + "</figcaption>"
}

/// A path through points in the units of both axes. It breaks where the next point is more than
/// `gap` further along x.
pub(super) fn path(points: &[(f64, f64)], x: &Axis, y: &Axis, gap: f64) -> String {
    let mut out = String::new();
    for (index, &(at, value)) in points.iter().enumerate() {
        let continues = |other: f64| (at - other).abs() <= gap;
        let before = index.checked_sub(1).and_then(|before| points.get(before));
        let joined = before.is_some_and(|before| continues(before.0));
        let (px, py) = (x.scale.at(at) * SIDE, (1.0 - y.scale.at(value)) * SIDE);
        out.push(if joined { 'L' } else { 'M' });
        out += &format!("{} {}", coordinate(px), coordinate(py));
        let after = points.get(index + 1);
        if !joined && !after.is_some_and(|after| continues(after.0)) {
            // A point alone is a line of no length, which round caps make a dot.
            out += &format!("L{} {}", coordinate(px), coordinate(py));
        }
    }
    out
}

/// A coordinate with at most one decimal.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn grid(x: &Axis, y: &Axis) -> String {
    let rows = y.ticks.iter().map(|tick| {
        let at = coordinate((1.0 - tick.at) * SIDE);
        format!("M0 {at}H1000")
    });
    let columns = x.ticks.iter().map(|tick| {
        let at = coordinate(tick.at * SIDE);
        format!("M{at} 0V1000")
    });
    let rows: String = rows.collect();
    let columns: String = columns.collect();
    format!("<path class=\"grid\" d=\"{rows}{columns}\"/>")
}

fn names_y(axis: &Axis) -> String {
    let named = axis.ticks.iter().filter(|tick| !tick.label.is_empty());
    named
        .map(|tick| {
            let top = coordinate((1.0 - tick.at) * 100.0);
            format!("<span style=\"top:{top}%\">{}</span>", tick.label)
        })
        .collect()
}

/// The names under a plot.
pub(super) fn names_x(axis: &Axis) -> String {
    let named = axis.ticks.iter().filter(|tick| !tick.label.is_empty());
    named
        .map(|tick| {
            let left = coordinate(tick.at * 100.0);
            format!("<span style=\"left:{left}%\">{}</span>", tick.label)
        })
        .collect()
}

fn ends(lines: &[Line], height_px: f64) -> String {
    let mut named: Vec<(f64, &Line)> = lines
        .iter()
        .filter(|line| !line.label.is_empty())
        .filter_map(|line| Some(((1.0 - line.end?) * height_px, line)))
        .collect();
    named.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut tops: Vec<f64> = named.iter().map(|(top, _)| *top).collect();
    spread(&mut tops, NAME_PX, height_px);
    let texts = named.iter().zip(&tops).map(|((_, line), top)| {
        let name = escape(&line.label);
        format!(
            "<span class=\"{}\" style=\"top:{}px\" title=\"{name}\">{name}</span>",
            line.class,
            coordinate(*top)
        )
    });
    texts.collect()
}

/// Moves ascending places apart to at least `gap`, within 0 to `end` where there is room.
fn spread(places: &mut [f64], gap: f64, end: f64) {
    let mut lowest = 0.0;
    for place in places.iter_mut() {
        *place = place.max(lowest);
        lowest = *place + gap;
    }
    let mut highest = end;
    for place in places.iter_mut().rev() {
        *place = place.min(highest);
        highest = *place - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_breaks_at_gaps_and_shows_what_is_alone() {
        let (x, y) = (Axis::time(10.0), Axis::linear(4.0));
        let points = [(0.0, 0.0), (1.0, 4.0), (5.0, 2.0), (9.0, 1.0), (10.0, 1.0)];
        assert_eq!(
            path(&points, &x, &y, 1.5),
            "M0 1000L100 0M500 500L500 500M900 750L1000 750"
        );
        assert_eq!(path(&[], &x, &y, 1.5), "");
    }

    #[test]
    fn names_do_not_overlap_and_stay_inside() {
        let mut places = [10.0, 12.0, 13.0, 98.0, 99.0];
        spread(&mut places, 13.0, 100.0);
        assert_eq!(places, [10.0, 23.0, 36.0, 87.0, 100.0]);
    }

    #[test]
    fn every_text_is_escaped() {
        let axis = Axis::time(1.0);
        let lines = [Line {
            class: "p0".to_owned(),
            name: "<b>".to_owned(),
            path: "M0 0".to_owned(),
            label: "<i>".to_owned(),
            end: Some(0.5),
        }];
        let html = Plot {
            id: "x",
            class: "",
            title: "<t>",
            unit: "<u>",
            note: "<n>",
            about: "<a>",
            x: &axis,
            y: &axis,
            back: "",
            strip: "",
            lines: &lines,
            height_px: 100,
        }
        .html();
        for tag in ["<b>&", "<i>", "<t>", "<u>", "<n>", "<a>"] {
            assert!(!html.contains(tag) || tag == "<b>&", "{tag} in {html}");
        }
        assert!(html.contains("data-n=\"&lt;b&gt;\""));
    }
}
