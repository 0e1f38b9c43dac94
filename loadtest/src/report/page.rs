//! The page: its sections in order, its style and its script, in one file that asks for nothing.

use super::text::{count, escape};
use super::{curve, heat, isolation, machine, summary, tenants, time, verdict};
use crate::limits::REPORT_POPULATIONS_MAX;
use crate::results::Results;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One self-contained HTML page, well-formed XML too. Whatever comes from outside is escaped.
pub fn page(results: &Results) -> String {
    let sections = [
        verdict::header(results),
        verdict::objectives(results),
        summary::section(results),
        switches(results),
        curve::section(results),
        time::section(results),
        isolation::section(results),
        heat::section(results),
        tenants::section(results),
        machine::generators(results),
        machine::section(results),
    ];
    // The icon is empty so that the browser does not ask a server for one.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/><link rel=\"icon\" href=\"data:,\"/>\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n{body}</main>\
         <div id=\"tip\" hidden=\"hidden\"></div>\n<script>\n//<![CDATA[\n{SCRIPT}//]]>\n</script></body></html>\n",
        title = escape(&format!("{}: load report", results.scenario)),
        body = sections.concat()
    )
}

/// A box per population that shows or hides it in every plot, by style alone.
fn switches(results: &Results) -> String {
    let drawn = time::drawn(results);
    if drawn.len() < 2 {
        return String::new();
    }
    let boxes: String = drawn
        .iter()
        .enumerate()
        .map(|(index, population)| {
            format!(
                "<label><input type=\"checkbox\" id=\"show-{index}\" checked=\"checked\"/>\
                 <svg class=\"swatch\" viewBox=\"0 0 28 10\" aria-hidden=\"true\"><path class=\"line p{index} dash\" d=\"M0 5L28 5\"/></svg>\
                 {}</label>",
                escape(&population.name)
            )
        })
        .collect();
    let all = results.populations.len();
    let rest = if all > REPORT_POPULATIONS_MAX {
        format!(
            "<span>the first {REPORT_POPULATIONS_MAX} of {} populations are drawn</span>",
            count(all as u64)
        )
    } else {
        String::new()
    };
    format!("<fieldset id=\"switches\"><legend>Show</legend>{boxes}{rest}</fieldset>\n")
}
