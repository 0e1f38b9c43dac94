//! The figures of every population in every phase.

use super::phases::kind_class;
use super::text::{count, escape, number};
use crate::results::{Phase, PhaseFigures, Population, Results, ServerSample};

/// Column titles; the first is text, the others are numbers but `Errors`.
const COLUMNS: &str = "<th>Phase</th><th class=\"n\">Intended</th><th class=\"n\">Succeeded</th>\
<th class=\"n\">Rate /s</th><th>Errors</th><th class=\"n\">p50</th><th class=\"n\">p90</th>\
<th class=\"n\">p99</th><th class=\"n\">p99.9</th><th class=\"n\">max ms</th>";

/// The summary table.
pub(super) fn section(results: &Results) -> String {
    let with_cpu = results.server.len() > 1;
    let (columns, note) = if with_cpu {
        (
            format!("{COLUMNS}<th class=\"n\">CPU µs</th>"),
            " CPU is the server's, per request of all populations in the phase.",
        )
    } else {
        (COLUMNS.to_owned(), "")
    };
    let groups: String = results
        .populations
        .iter()
        .enumerate()
        .map(|(index, population)| group(index, population, results, with_cpu))
        .collect();
    format!(
        "<section id=\"summary\"><h2>Summary</h2><p>Latency in milliseconds, of successes, from the \
         moment a request was due to the last byte of its response.{note}</p>\
         <div class=\"scroll\"><table class=\"summary\"><thead><tr>{columns}</tr></thead>{groups}</table></div>\
         </section>\n"
    )
}

fn group(index: usize, population: &Population, results: &Results, with_cpu: bool) -> String {
    let rows: String = results
        .phases
        .iter()
        .filter_map(|phase| {
            let own = population
                .phases
                .iter()
                .find(|own| own.phase == phase.name)?;
            let cpu = with_cpu.then(|| cpu_us(results, phase));
            Some(row(phase, own, cpu))
        })
        .collect();
    let columns = if with_cpu { 11 } else { 10 };
    format!(
        "<tbody><tr class=\"group\"><th colspan=\"{columns}\"><i class=\"key p{index}\"></i>{}</th></tr>{rows}</tbody>",
        escape(&population.name)
    )
}

fn row(phase: &Phase, own: &PhaseFigures, cpu: Option<Option<f64>>) -> String {
    let kind = kind_class(phase.kind);
    let mut out = format!(
        "<tr class=\"{kind}\"><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td>{}</td>",
        escape(&phase.name),
        count(own.intended),
        count(own.succeeded),
        number(own.rate()),
        errors(own)
    );
    for percentile in [50.0, 90.0, 99.0, 99.9] {
        let value = own.latency.percentile_ms(percentile);
        out += &cell(own.latency.count() > 0, value);
    }
    out += &cell(own.latency.count() > 0, own.latency.max_ms());
    if let Some(cpu) = cpu {
        out += &cell(cpu.is_some(), cpu.unwrap_or_default());
    }
    out + "</tr>"
}

fn cell(known: bool, value: f64) -> String {
    let text = if known {
        number(value)
    } else {
        "–".to_owned()
    };
    format!("<td class=\"n\">{text}</td>")
}

/// All errors, then each kind, then the statuses that were not successes.
fn errors(own: &PhaseFigures) -> String {
    let total = own.errors_total();
    if total == 0 {
        return "0".to_owned();
    }
    let kinds = own.errors.iter().filter(|(_, many)| **many > 0);
    let mut parts: Vec<String> = kinds
        .map(|(kind, many)| format!("{} {}", escape(kind), count(*many)))
        .collect();
    if own.errors.get("status").is_some_and(|many| *many > 0) {
        let statuses = own.statuses.iter().filter(|(status, _)| **status >= 300);
        parts.extend(statuses.map(|(status, many)| format!("{status} × {}", count(*many))));
    }
    format!(
        "<b class=\"bad\">{}</b> <small>{}</small>",
        count(total),
        parts.join(", ")
    )
}

/// The server's CPU time in a phase per request that was answered or failed in it, in microseconds.
fn cpu_us(results: &Results, phase: &Phase) -> Option<f64> {
    let used = cpu_s(&results.server, phase.end_s)? - cpu_s(&results.server, phase.start_s)?;
    let requests: u64 = results
        .populations
        .iter()
        .flat_map(|population| &population.phases)
        .filter(|own| own.phase == phase.name)
        .map(|own| own.succeeded + own.errors_total())
        .sum();
    // A sum that fell lost a process, and with it the time that it had used.
    (used >= 0.0 && requests > 0).then(|| used * 1e6 / requests as f64)
}

/// CPU time used up to a moment, between the samples around it; none when these are more than two
/// seconds away.
fn cpu_s(samples: &[ServerSample], at_s: f64) -> Option<f64> {
    let after = samples.partition_point(|sample| sample.at_s < at_s);
    let before = after.checked_sub(1).and_then(|before| samples.get(before));
    match (before, samples.get(after)) {
        (Some(one), Some(next)) => {
            let share = (at_s - one.at_s) / (next.at_s - one.at_s);
            Some(one.cpu_s + share * (next.cpu_s - one.cpu_s))
        }
        (Some(only), None) | (None, Some(only)) => {
            ((only.at_s - at_s).abs() <= 2.0).then_some(only.cpu_s)
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_between_samples() {
        let samples: Vec<ServerSample> = [(0.5, 10.0), (1.5, 11.0), (2.5, 14.0)]
            .into_iter()
            .map(|(at_s, cpu_s)| ServerSample {
                at_s,
                cpu_s,
                rss_bytes: 0,
                processes: 1,
            })
            .collect();
        for (at_s, expected) in [
            (0.0, Some(10.0)),
            (1.0, Some(10.5)),
            (2.0, Some(12.5)),
            (4.0, Some(14.0)),
            (9.0, None),
        ] {
            assert_eq!(cpu_s(&samples, at_s), expected, "{at_s}");
        }
        assert_eq!(cpu_s(&[], 1.0), None);
    }
}
