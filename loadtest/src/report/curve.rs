//! Latency by percentile: per population, one line per phase, and dashed what a tool would show
//! that measures from sending and so omits what a stalled server hides.

use super::axis::Axis;
use super::phases::kind_class;
use super::plot::{Line, Plot, path};
use super::text::number;
use super::time::drawn;
use crate::histogram::Latency;
use crate::limits::{REPORT_CURVE_POINTS_MAX, REPORT_CURVES_MAX};
use crate::results::{PhaseFigures, PhaseKind, Population, Results};

const INTRODUCTION: &str = "<p>Solid: latency from the moment a request was due. Dashed: the same \
requests from the moment they were sent (service time). Where the two part, the server kept requests \
waiting that a closed-loop tool would not have sent: coordinated omission.</p>";

/// The curves of every population.
pub(super) fn section(results: &Results) -> String {
    let populations = drawn(results);
    let y = shared_axis(populations);
    let panels: String = populations
        .iter()
        .enumerate()
        .map(|(index, population)| panel(index, population, results, &y))
        .collect();
    format!(
        "<section id=\"percentiles\"><h2>Latency by percentile</h2>{INTRODUCTION}\
         <div class=\"panels\">{panels}</div></section>\n"
    )
}

fn panel(index: usize, population: &Population, results: &Results, y: &Axis) -> String {
    let x = Axis::percentiles();
    let mut lines = Vec::new();
    for (figures, class) in curves(population, results) {
        for (latency, dash, suffix) in [
            (&figures.service, " service", " service time"),
            (&figures.latency, "", ""),
        ] {
            let points = points(latency);
            lines.push(Line {
                class: format!("{class}{dash}"),
                name: format!("{}{suffix}", figures.phase),
                path: path(&points, &x, y, f64::INFINITY),
                label: if dash.is_empty() {
                    figures.phase.clone()
                } else {
                    String::new()
                },
                end: points.last().map(|point| y.scale.at(point.1)),
            });
        }
    }
    Plot {
        id: &format!("curve-{index}"),
        class: &format!("p{index}"),
        title: &population.name,
        unit: "ms by percentile",
        note: &omission(population).unwrap_or_default(),
        about: "One line per phase; the summary table has p50, p90, p99, p99.9 and the largest.",
        x: &x,
        y,
        back: "",
        strip: "",
        lines: &lines,
        height_px: 240,
    }
    .html()
}

/// The phases that are drawn, quiet ones first so that the others lie above them, with the class
/// that colours them: the second phase of a kind looks different from the first.
fn curves<'a>(population: &'a Population, results: &Results) -> Vec<(&'a PhaseFigures, String)> {
    let mut seen: Vec<PhaseKind> = Vec::new();
    let mut all = Vec::new();
    for phase in &results.phases {
        let earlier = seen.iter().filter(|kind| **kind == phase.kind).count();
        seen.push(phase.kind);
        let own = population.phases.iter().find(|own| own.phase == phase.name);
        if let Some(figures) = own.filter(|figures| figures.latency.count() > 0) {
            let class = kind_class(phase.kind);
            let again = if earlier % 2 == 1 { " again" } else { "" };
            all.push((rank(phase.kind), figures, format!("{class}{again}")));
        }
    }
    all.sort_by_key(|(rank, _, _)| *rank);
    let least = all.len().saturating_sub(REPORT_CURVES_MAX);
    let kept = all.into_iter().skip(least);
    kept.map(|(_, figures, class)| (figures, class)).collect()
}

fn rank(kind: PhaseKind) -> u8 {
    match kind {
        PhaseKind::WarmUp => 0,
        PhaseKind::Recover => 1,
        PhaseKind::Measure => 2,
        PhaseKind::Disturb => 3,
    }
}

/// Latency by `1 / (1 - p)`, as far as there are enough requests for the percentile to mean one of
/// them. Points on a level stretch are left out.
fn points(latency: &Latency) -> Vec<(f64, f64)> {
    let last = (REPORT_CURVE_POINTS_MAX - 1) as f64;
    let all: Vec<(f64, f64)> = (0..REPORT_CURVE_POINTS_MAX)
        .map(|index| 10_f64.powf(4.0 * index as f64 / last))
        .take_while(|tail| *tail <= latency.count() as f64)
        .map(|tail| (tail, latency.percentile_ms(100.0 * (1.0 - 1.0 / tail))))
        .collect();
    let level = |index: usize| {
        let before = index.checked_sub(1).and_then(|before| all.get(before));
        let value = all[index].1;
        before.is_some_and(|it| it.1 == value) && all.get(index + 1).is_some_and(|it| it.1 == value)
    };
    let bends = (0..all.len()).filter(|index| !level(*index));
    bends.map(|index| all[index]).collect()
}

fn shared_axis(populations: &[Population]) -> Axis {
    let figures = populations.iter().flat_map(|population| &population.phases);
    let (mut min, mut max) = (f64::INFINITY, 0.0_f64);
    for latency in figures.flat_map(|figures| [&figures.latency, &figures.service]) {
        if latency.count() > 0 {
            min = min.min(latency.percentile_ms(0.0));
            max = max.max(latency.percentile_ms(99.99));
        }
    }
    Axis::log(min, max)
}

/// The phase in which service time hides most of the 99th percentile, in words; none when it hides
/// less than a tenth everywhere.
fn omission(population: &Population) -> Option<String> {
    let worst = population
        .phases
        .iter()
        .map(|figures| {
            let latency = figures.latency.percentile_ms(99.0);
            (figures, latency, figures.service.percentile_ms(99.0))
        })
        .filter(|(_, latency, service)| *service > 0.0 && *latency > service * 1.1)
        .max_by(|one, other| (one.1 / one.2).total_cmp(&(other.1 / other.2)))?;
    let (figures, latency, service) = worst;
    Some(format!(
        "p99 in {}: {} ms, of which service time shows {}",
        figures.phase,
        number(latency),
        number(service)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_its_requests_do() {
        let mut latency = Latency::new();
        for index in 1..=1_000_u64 {
            latency.record(index * 1_000_000);
        }
        let points = points(&latency);
        let last = points.last().unwrap();
        assert!(points.len() <= REPORT_CURVE_POINTS_MAX);
        assert!(last.0 <= 1_000.0 && last.0 > 900.0, "{last:?}");
        assert!((last.1 - 999.0).abs() < 2.0, "{last:?}");
        assert!(
            points
                .iter()
                .zip(points.iter().skip(1))
                .all(|(one, next)| one.1 <= next.1)
        );
    }

    #[test]
    fn a_level_stretch_has_its_ends_only() {
        let mut latency = Latency::new();
        for _ in 0..100_000 {
            latency.record(5_000_000);
        }
        // The 0th percentile is the lower end of its bucket, so it stands for itself.
        assert!(points(&latency).len() <= 3);
        assert!(points(&Latency::new()).is_empty());
    }
}
