//! What a reader wants to know first: may the figures be believed, and were the objectives met.

use super::text::{count, escape, length, number, utc};
use crate::preflight::Severity;
use crate::results::Results;

/// Title, verdict and what was run.
pub(super) fn header(results: &Results) -> String {
    let populations: String = results
        .populations
        .iter()
        .map(|population| {
            format!(
                "<li><b>{}</b> {} · {} {}</li>",
                escape(&population.name),
                escape(&population.arrival),
                count(population.tenants_total as u64),
                plural(population.tenants_total, "tenant")
            )
        })
        .collect();
    format!(
        "<header><p class=\"kicker\">skep-load {version} · scenario</p><h1>{scenario}</h1>\
         <p class=\"about\">{about}</p>{verdict}<dl class=\"facts\">{facts}</dl>\
         <ul class=\"populations\">{populations}</ul></header>\n",
        version = escape(&results.tool_version),
        scenario = escape(&results.scenario),
        about = escape(&results.about),
        verdict = verdict(results),
        facts = facts(results),
    )
}

fn verdict(results: &Results) -> String {
    let validity = if results.validity.valid {
        "<div class=\"tile good\"><b>✓ Valid</b><span>The generators kept their schedule.</span></div>"
            .to_owned()
    } else {
        let reasons = results.validity.reasons.iter();
        let reasons: String = reasons
            .map(|reason| format!("<li>{}</li>", escape(reason)))
            .collect();
        format!(
            "<div class=\"tile bad wide\"><b>✗ INVALID</b><span>Do not use these figures:</span>\
             <ul>{reasons}</ul></div>"
        )
    };
    format!(
        "<div class=\"verdict\">{validity}{objectives}{forced}</div>",
        objectives = objectives_tile(results),
        forced = forced_tile(results),
    )
}

fn objectives_tile(results: &Results) -> String {
    let all = results.objectives.len();
    let met = results.objectives.iter().filter(|it| it.met).count();
    let (class, mark) = match (all, met) {
        (0, _) => ("plain", ""),
        (all, met) if met == all => ("good", "✓ "),
        _ => ("bad", "✗ "),
    };
    let text = if all == 0 {
        "No objectives".to_owned()
    } else {
        format!("{mark}{met} of {all}")
    };
    let missed = match (all, all - met) {
        (0, _) => "The scenario promises nothing.".to_owned(),
        (_, 0) => format!("{} met", plural(all, "objective")),
        (_, missed) => format!("objectives met, {missed} missed"),
    };
    format!("<div class=\"tile {class}\"><b>{text}</b><span>{missed}</span></div>")
}

fn forced_tile(results: &Results) -> String {
    let refusals = results
        .preflight
        .iter()
        .filter(|finding| finding.severity == Severity::Refusal)
        .count();
    let warnings = results.preflight.len() - refusals;
    if results.forced {
        return format!(
            "<div class=\"tile warn\"><b>! Forced</b><span>Started although preflight refused it \
             ({refusals} {}).</span></div>",
            plural(refusals, "reason")
        );
    }
    let (class, text) = match warnings {
        0 => ("good", "nothing found".to_owned()),
        _ => (
            "plain",
            format!("{warnings} {}, none serious", plural(warnings, "warning")),
        ),
    };
    format!("<div class=\"tile {class}\"><b>Not forced</b><span>Preflight: {text}.</span></div>")
}

fn facts(results: &Results) -> String {
    [
        ("Target", escape(&results.target)),
        ("Started", utc(results.started_unix_s)),
        ("Length", length(results.duration_s)),
        ("Seed", results.seed.to_string()),
        (
            "Machine",
            escape(&format!(
                "{} cores, {}",
                results.fingerprint.cores, results.fingerprint.cpu
            )),
        ),
    ]
    .into_iter()
    .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
    .collect()
}

/// What was promised, and what was measured.
pub(super) fn objectives(results: &Results) -> String {
    if results.objectives.is_empty() {
        return String::new();
    }
    let rows: String = results
        .objectives
        .iter()
        .map(|objective| {
            let (class, mark) = if objective.met {
                ("good", "✓ met")
            } else {
                ("bad", "✗ missed")
            };
            let measured = objective
                .measured
                .map_or("nothing to measure".to_owned(), number);
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td class=\"n\">{measured}</td>\
                 <td class=\"{class}\">{mark}</td></tr>",
                escape(&objective.text),
                escape(&objective.population),
                escape(&objective.phase)
            )
        })
        .collect();
    format!(
        "<section id=\"objectives\"><h2>Objectives</h2><div class=\"scroll\"><table>\
         <thead><tr><th>Objective</th><th>Population</th><th>Phase</th><th class=\"n\">Measured</th>\
         <th>Met</th></tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )
}

/// A noun for a number of things.
pub(super) fn plural(many: usize, noun: &str) -> String {
    if many == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}
