//! What the figures were measured with and on: generators, preflight, machine, command, scenario.

use super::text::{bytes, count, escape, first, number, percent};
use crate::limits::{LATENESS_P99_MS_MAX, REPORT_TEXT_BYTES_MAX};
use crate::preflight::Severity;
use crate::results::{Generator, Results};

/// How late the generators were, and what that means.
pub(super) fn generators(results: &Results) -> String {
    let rows: String = results.generators.iter().map(generator).collect();
    format!(
        "<section id=\"generators\"><h2>Generators</h2><p>Lateness is from when a request was due until its \
         generator came to it. It is the harness's own part of every latency above. A p99 above {limit} ms \
         means that the generator and not the server was the bottleneck, and makes the run invalid. Busy is \
         CPU time over wall time: near 100 %, give it more cores or a lower rate.</p>\
         <div class=\"scroll\"><table><thead><tr><th>Core</th><th class=\"n\">Busy</th><th></th>\
         <th class=\"n\">Requests</th><th class=\"n\">Late p50 ms</th><th class=\"n\">p99 ms</th>\
         <th class=\"n\">max ms</th></tr></thead><tbody>{rows}</tbody></table></div></section>\n",
        limit = number(LATENESS_P99_MS_MAX)
    )
}

fn generator(generator: &Generator) -> String {
    let core = generator
        .core
        .map_or("not pinned".to_owned(), |core| core.to_string());
    let busy = generator.busy.clamp(0.0, 1.0);
    let p99 = generator.lateness.percentile_ms(99.0);
    let class = if p99 > LATENESS_P99_MS_MAX {
        "n bad"
    } else {
        "n"
    };
    format!(
        "<tr><td>{core}</td><td class=\"n\">{}</td><td><span class=\"gauge\"><i style=\"width:{:.1}%\"></i></span>\
         </td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"{class}\">{}</td><td class=\"n\">{}</td></tr>",
        percent(busy),
        busy * 100.0,
        count(generator.lateness.count()),
        number(generator.lateness.percentile_ms(50.0)),
        number(p99),
        number(generator.lateness.max_ms())
    )
}

/// What could have spoiled the measurement, and where it was made.
pub(super) fn section(results: &Results) -> String {
    format!(
        "<section id=\"preflight\"><h2>Preflight</h2>{}</section>\n\
         <section id=\"machine\"><h2>Machine</h2>{}</section>\n\
         <section id=\"command\"><h2>Command</h2><pre>{}</pre><details><summary>Scenario <code>{}</code></summary>\
         <pre>{}</pre></details></section>\n",
        findings(results),
        fingerprint(results),
        shown(&command(&results.command)),
        escape(&results.scenario),
        shown(&results.scenario_text)
    )
}

fn findings(results: &Results) -> String {
    if results.preflight.is_empty() {
        return "<p class=\"good\">✓ Nothing that would spoil the measurement was found.</p>"
            .to_owned();
    }
    let rows: String = results
        .preflight
        .iter()
        .map(|finding| {
            let (class, severity) = match finding.severity {
                Severity::Warning => ("warn", "! warning"),
                Severity::Refusal => ("bad", "✗ refusal"),
            };
            format!(
                "<tr><td class=\"{class}\">{severity}</td><td><code>{}</code></td><td class=\"wrap\">{}</td>\
                 <td class=\"wrap\">{}</td></tr>",
                escape(&finding.id),
                escape(&finding.found),
                escape(&finding.remedy)
            )
        })
        .collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr><th></th><th>Check</th><th>Found</th><th>Remedy</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

fn fingerprint(results: &Results) -> String {
    let machine = &results.fingerprint;
    let unknown = || "not known".to_owned();
    let smt = machine
        .smt
        .map(|active| if active { "active" } else { "off" });
    let mut facts = vec![
        ("CPU", machine.cpu.clone()),
        ("Cores", machine.cores.to_string()),
        ("Memory", bytes(machine.memory_bytes)),
        ("Kernel", machine.kernel.clone()),
        (
            "Hypervisor",
            machine.hypervisor.clone().unwrap_or("none".to_owned()),
        ),
        ("Governor", machine.governor.clone().unwrap_or_else(unknown)),
        ("SMT", smt.map_or_else(unknown, str::to_owned)),
    ];
    for (name, state) in &machine.mitigations {
        facts.push((name, state.clone()));
    }
    let rows: String = facts
        .iter()
        .map(|(name, value)| {
            format!(
                "<div><dt>{}</dt><dd>{}</dd></div>",
                escape(name),
                escape(value)
            )
        })
        .collect();
    format!("<dl class=\"facts\">{rows}</dl>")
}

/// A text from a file, as much of it as is shown.
fn shown(text: &str) -> String {
    let (shown, cut) = first(text, REPORT_TEXT_BYTES_MAX);
    let mut out = escape(shown);
    if cut {
        out += &format!(
            "\n… {} bytes more",
            count((text.len() - shown.len()) as u64)
        );
    }
    out
}

/// A command as it can be typed again: words with anything special in them are quoted.
fn command(words: &[String]) -> String {
    let plain = |word: &&String| {
        !word.is_empty()
            && word
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || "-_./:=,+@%".contains(it))
    };
    let quoted: Vec<String> = words
        .iter()
        .map(|word| {
            if plain(&word) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
        })
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again() {
        let words = ["skep-load", "run", "a b.toml", "it's", "", "rate=200"];
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(
            command(&words),
            r"skep-load run 'a b.toml' 'it'\''s' '' rate=200"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = "<".repeat(REPORT_TEXT_BYTES_MAX + 5);
        assert!(shown(&text).ends_with("&lt;\n… 5 bytes more"));
        assert_eq!(shown("a & b"), "a &amp; b");
    }
}
