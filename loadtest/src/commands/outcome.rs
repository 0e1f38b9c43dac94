//! A run's outcome as text.

use std::fmt::Write as _;

use crate::compare;
use crate::results::{PhaseFigures, Results};

/// The outcome, for people.
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = write(results, &mut out);
    out
}

fn write(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "{}  {:.1} s against {}\n",
        results.scenario, results.duration_s, results.target
    )?;
    writeln!(
        out,
        "{:<14} {:<12} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}  errors",
        "population", "phase", "rate/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
    )?;
    for population in &results.populations {
        for figures in &population.phases {
            writeln!(
                out,
                "{:<14} {:<12} {:>10.1} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3}  {}",
                population.name,
                figures.phase,
                figures.rate(),
                figures.latency.percentile_ms(50.0),
                figures.latency.percentile_ms(90.0),
                figures.latency.percentile_ms(99.0),
                figures.latency.percentile_ms(99.9),
                figures.latency.max_ms(),
                errors(figures),
            )?;
        }
    }
    if let Some(last) = results.server.last() {
        let first = &results.server[0];
        writeln!(
            out,
            "\nserver         {:.2} s of CPU in {:.1} s, {:.0} MiB resident, {} processes",
            last.cpu_s - first.cpu_s,
            last.at_s - first.at_s,
            last.rss_bytes as f64 / 1024.0 / 1024.0,
            last.processes
        )?;
    }
    for generator in &results.generators {
        let core = generator
            .core
            .map_or("any core".to_owned(), |core| format!("core {core}"));
        writeln!(
            out,
            "generator      {core}: {:.0} % busy, late by {:.3} ms (p99), {:.3} ms at most",
            generator.busy * 100.0,
            generator.lateness.percentile_ms(99.0),
            generator.lateness.max_ms()
        )?;
    }
    for row in &results.isolation {
        writeln!(
            out,
            "isolation      {}: p99 {:.3} ms in {}, {:.3} ms in {}: ratio {:.2}, {:.2} % errors",
            row.population,
            row.baseline_p99_ms,
            row.baseline,
            row.disturbed_p99_ms,
            row.disturbed,
            row.ratio,
            row.disturbed_error_share * 100.0
        )?;
    }
    for objective in &results.objectives {
        let mark = if objective.met { "met   " } else { "MISSED" };
        let measured = objective
            .measured
            .map_or("nothing was measured".to_owned(), |value| {
                format!("{value:.3}")
            });
        writeln!(
            out,
            "objective      {mark} {} {} ({}): {measured}",
            objective.population, objective.text, objective.phase
        )?;
    }
    for finding in &results.preflight {
        writeln!(
            out,
            "preflight      {}: {}; {}",
            finding.id, finding.found, finding.remedy
        )?;
    }
    if results.forced {
        writeln!(out, "forced         preflight refused this run")?;
    }
    for reason in &results.validity.reasons {
        writeln!(out, "INVALID        {reason}")?;
    }
    Ok(())
}

fn errors(figures: &PhaseFigures) -> String {
    if figures.errors.is_empty() {
        return "0".to_owned();
    }
    let mut kinds: Vec<String> = figures
        .errors
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let statuses: Vec<String> = figures
        .statuses
        .iter()
        .map(|(status, count)| format!("{count} x {status}"))
        .collect();
    if figures.errors.contains_key("status") {
        kinds.push(format!("({})", statuses.join(", ")));
    }
    kinds.join(", ")
}

/// Compares with a baseline and prints how; whether it is no worse than allowed.
pub fn against(baseline: &Results, results: &Results, percent: f64) -> bool {
    let against = compare::against_baseline(baseline, results, percent);
    print!("\n{}", against.text());
    against.failures.is_empty()
}
