//! How much each population suffered from each disturbance: a table, and a picture whose bars are
//! as long as the ratio.

use super::axis::Axis;
use super::plot::{SIDE, caption, coordinate, names_x};
use super::text::{escape, number, percent};
use crate::results::{Isolation, Results};

/// The isolation section; empty when nothing was disturbed.
pub(super) fn section(results: &Results) -> String {
    if results.isolation.is_empty() {
        return String::new();
    }
    format!(
        "<section id=\"isolation\"><h2>Isolation</h2><p>The isolation ratio is the p99 while disturbed \
         over the p99 before; 1 is perfect isolation.</p>{}{}</section>\n",
        picture(results),
        table(results)
    )
}

fn table(results: &Results) -> String {
    let rows: String = results.isolation.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr><th>Population</th><th>Baseline</th><th>Disturbed</th>\
         <th class=\"n\">p50 ms</th><th class=\"n\">p50 disturbed</th><th class=\"n\">p99 ms</th>\
         <th class=\"n\">p99 disturbed</th><th class=\"n\">Ratio</th><th class=\"n\">Errors</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

fn row(isolation: &Isolation) -> String {
    let numbers: String = [
        isolation.baseline_p50_ms,
        isolation.disturbed_p50_ms,
        isolation.baseline_p99_ms,
        isolation.disturbed_p99_ms,
    ]
    .into_iter()
    .map(|value| format!("<td class=\"n\">{}</td>", number(value)))
    .collect();
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td>{numbers}<td class=\"n\"><b>{}</b></td><td class=\"n\">{}</td></tr>",
        escape(&isolation.population),
        escape(&isolation.baseline),
        escape(&isolation.disturbed),
        number(isolation.ratio),
        percent(isolation.disturbed_error_share)
    )
}

fn picture(results: &Results) -> String {
    let ends = || {
        let all = results.isolation.iter();
        let ends = all.flat_map(|it| [it.baseline_p99_ms, it.disturbed_p99_ms]);
        ends.filter(|value| *value > 0.0)
    };
    let axis = Axis::log(
        ends().fold(f64::INFINITY, f64::min),
        ends().fold(0.0, f64::max),
    );
    let grid: String = axis
        .ticks
        .iter()
        .map(|tick| format!("M{} 0V1000", coordinate(tick.at * SIDE)))
        .collect();
    let rows: String = results
        .isolation
        .iter()
        .map(|isolation| bar(isolation, results, &axis, &grid))
        .collect();
    format!(
        "<figure class=\"bars\">{}<div class=\"rows\">{rows}<span></span><div class=\"x\" aria-hidden=\"true\">{}</div>\
         <span></span></div></figure>",
        caption("p99", "ms", "ring: undisturbed, dot: disturbed"),
        names_x(&axis)
    )
}

fn bar(isolation: &Isolation, results: &Results, axis: &Axis, grid: &str) -> String {
    let index = results
        .populations
        .iter()
        .position(|population| population.name == isolation.population)
        .unwrap_or_default();
    let name = escape(&isolation.population);
    let pair = format!(
        "{} → {}",
        escape(&isolation.baseline),
        escape(&isolation.disturbed)
    );
    let place = |value: f64| coordinate(axis.scale.at(value) * SIDE);
    let (from, to) = (
        place(isolation.baseline_p99_ms),
        place(isolation.disturbed_p99_ms),
    );
    format!(
        "<div class=\"who\" title=\"{name}, {pair}\"><b>{name}</b><small>{pair}</small></div>\
         <svg class=\"p{index}\" viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\">\
         <title>{name}, {pair}: p99 from {before} to {after} ms</title><path class=\"grid\" d=\"{grid}\"/>\
         <path class=\"bar\" d=\"M{from} 500L{to} 500\"/><path class=\"dot\" d=\"M{to} 500h0\"/>\
         <path class=\"dot\" d=\"M{from} 500h0\"/><path class=\"hole\" d=\"M{from} 500h0\"/></svg>\
         <div class=\"what\"><b>× {ratio}</b><small>{errors} errors</small></div>",
        before = number(isolation.baseline_p99_ms),
        after = number(isolation.disturbed_p99_ms),
        ratio = number(isolation.ratio),
        errors = percent(isolation.disturbed_error_share)
    )
}
