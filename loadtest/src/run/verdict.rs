//! Whether objectives are met, how well tenants are isolated, and whether any of it may be believed.

use crate::histogram::Latency;
use crate::limits::LATENESS_P99_MS_MAX;
use crate::results::{
    Isolation, Objective, Phase, PhaseFigures, PhaseKind, Population, Results, ServerSample,
};
use crate::scenario::objective::{self, Metric};
use crate::scenario::{self, Scenario};

/// A closed-loop generator that is this busy measures itself.
const BUSY_MAX: f64 = 0.98;

/// Fills in isolation, objectives and validity from what is already there.
pub fn judge(scenario: &Scenario, results: &mut Results) {
    results.isolation = isolation(results);
    results.objectives = scenario
        .populations
        .iter()
        .flat_map(|population| {
            population
                .objectives
                .iter()
                .map(|objective| (&population.name, objective))
        })
        .map(|(population, objective)| evaluate(results, population, objective))
        .collect();
    let mut reasons: Vec<String> = results.cut.clone().into_iter().collect();
    reasons.extend(generator_faults(scenario, results));
    for phase in &results.phases {
        let failed = phase
            .actions
            .iter()
            .filter(|action| action.contains("FAILED"));
        reasons.extend(failed.map(|action| {
            format!(
                "an action of phase \"{}\" did not happen: {action}",
                phase.name
            )
        }));
    }
    results.validity.valid = reasons.is_empty();
    results.validity.reasons = reasons;
}

fn generator_faults(scenario: &Scenario, results: &Results) -> Vec<String> {
    let mut reasons = Vec::new();
    for generator in &results.generators {
        let name = generator.core.map_or("the generator".to_owned(), |core| {
            format!("the generator on core {core}")
        });
        let p99 = generator.lateness.percentile_ms(99.0);
        if p99 > LATENESS_P99_MS_MAX {
            reasons.push(format!(
                "{name} came late to its own schedule: p99 {p99:.3} ms, at most {LATENESS_P99_MS_MAX} ms; give it more cores (--cores) or a lower rate"
            ));
        }
        for (phase, busy) in scenario.phases.iter().zip(&generator.busy_by_phase) {
            if phase.kind != PhaseKind::WarmUp && is_closed(scenario, phase) && *busy > BUSY_MAX {
                reasons.push(format!(
                    "{name} was busy {:.0} % of phase \"{}\": it, and not the server, was the limit; give it more cores (--cores)",
                    busy * 100.0,
                    phase.name
                ));
            }
        }
    }
    reasons
}

/// Whether everything in a phase is sent as fast as it is answered.
fn is_closed(scenario: &Scenario, phase: &scenario::Phase) -> bool {
    let mut active = phase.active.iter();
    active.all(|index| !scenario.populations[*index].arrival.is_open())
}

/// The 99th percentile of successes, or of all requests, whichever is worse: who is never answered is
/// not quick.
fn p99_ms(figures: &PhaseFigures) -> f64 {
    let mut all = figures.latency.clone();
    all.add(&figures.failed);
    all.percentile_ms(99.0)
        .max(figures.latency.percentile_ms(99.0))
}

fn figures<'a>(population: &'a Population, phase: &'a str) -> Option<&'a PhaseFigures> {
    population
        .phases
        .iter()
        .find(|figures| figures.phase == phase)
}

fn of_kind(phases: &[Phase], kind: PhaseKind) -> impl Iterator<Item = &Phase> {
    phases.iter().filter(move |phase| phase.kind == kind)
}

/// Every population that was there before and during a disturbance.
fn isolation(results: &Results) -> Vec<Isolation> {
    let mut rows = Vec::new();
    for population in &results.populations {
        let Some(baseline) = of_kind(&results.phases, PhaseKind::Measure).find_map(|phase| {
            figures(population, &phase.name).filter(|figures| figures.latency.count() > 0)
        }) else {
            continue;
        };
        for disturbed in of_kind(&results.phases, PhaseKind::Disturb) {
            let Some(figures) =
                figures(population, &disturbed.name).filter(|figures| figures.latency.count() > 0)
            else {
                continue;
            };
            let before = p99_ms(baseline);
            let during = p99_ms(figures);
            rows.push(Isolation {
                population: population.name.clone(),
                baseline: baseline.phase.clone(),
                disturbed: disturbed.name.clone(),
                baseline_p50_ms: baseline.latency.percentile_ms(50.0),
                baseline_p99_ms: before,
                disturbed_p50_ms: figures.latency.percentile_ms(50.0),
                disturbed_p99_ms: during,
                ratio: if before > 0.0 { during / before } else { 0.0 },
                disturbed_error_share: figures.errors_total() as f64 / figures.intended as f64,
            });
        }
    }
    rows
}

fn evaluate(results: &Results, name: &str, objective: &objective::Objective) -> Objective {
    let phases: Vec<&Phase> = match &objective.phase {
        Some(phase) => results
            .phases
            .iter()
            .filter(|known| known.name == *phase)
            .collect(),
        None => of_kind(&results.phases, objective.kind()).collect(),
    };
    let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    let population = results
        .populations
        .iter()
        .find(|population| population.name == name);
    let measured =
        population.and_then(|population| measure(results, population, &phases, objective.metric));
    Objective {
        text: objective.text.clone(),
        population: name.to_owned(),
        phase: names.join(", "),
        measured,
        met: measured.is_some_and(|measured| objective.met_by(measured)),
    }
}

/// A metric over phases; none when there is nothing to measure.
fn measure(
    results: &Results,
    population: &Population,
    phases: &[&Phase],
    metric: Metric,
) -> Option<f64> {
    let parts: Vec<&PhaseFigures> = phases
        .iter()
        .filter_map(|phase| figures(population, &phase.name))
        // A phase that was not reached proves nothing.
        .filter(|part| part.intended > 0)
        .collect();
    if parts.is_empty() {
        return None;
    }
    let sum = |of: fn(&PhaseFigures) -> u64| parts.iter().map(|part| of(part)).sum::<u64>() as f64;
    let mut latency = Latency::new();
    for part in &parts {
        latency.add(&part.latency);
    }
    let intended = sum(|part| part.intended);
    let answered = (latency.count() > 0).then_some(());
    match metric {
        Metric::Percentile(thousandths) => {
            answered.map(|()| latency.percentile_ms(f64::from(thousandths) / 1000.0))
        }
        Metric::Max => answered.map(|()| latency.max_ms()),
        Metric::Mean => answered.map(|()| latency.mean_ms()),
        Metric::Errors => Some(sum(PhaseFigures::errors_total)),
        Metric::ErrorShare if intended > 0.0 => Some(sum(PhaseFigures::errors_total) / intended),
        Metric::SuccessShare if intended > 0.0 => Some(sum(|part| part.succeeded) / intended),
        Metric::ErrorShare | Metric::SuccessShare => None,
        Metric::Rate => {
            let seconds: f64 = parts.iter().map(|part| part.seconds).sum();
            (seconds > 0.0).then(|| sum(|part| part.succeeded) / seconds)
        }
        Metric::IsolationRatio => results
            .isolation
            .iter()
            .filter(|row| {
                row.population == population.name
                    && phases.iter().any(|phase| phase.name == row.disturbed)
            })
            .map(|row| row.ratio)
            .reduce(f64::max),
        Metric::Fairness if parts.len() == 1 => parts[0].fairness,
        // Over several phases the worst counts.
        Metric::Fairness => parts
            .iter()
            .filter_map(|part| part.fairness)
            .reduce(f64::min),
        Metric::CpuPerRequest => cpu_us_per_request(results, phases),
    }
}

/// CPU time of the server in these phases, over the requests of all populations in them.
fn cpu_us_per_request(results: &Results, phases: &[&Phase]) -> Option<f64> {
    let mut cpu_s = 0.0;
    let mut requests = 0;
    for phase in phases {
        cpu_s += cpu_at(&results.server, phase.end_s)? - cpu_at(&results.server, phase.start_s)?;
        requests += results
            .populations
            .iter()
            .filter_map(|population| figures(population, &phase.name))
            .map(|figures| figures.succeeded + figures.errors_total())
            .sum::<u64>();
    }
    (requests > 0).then(|| cpu_s * 1e6 / requests as f64)
}

/// CPU time used until `at_s`, between the samples around it.
fn cpu_at(samples: &[ServerSample], at_s: f64) -> Option<f64> {
    let after = samples
        .iter()
        .position(|sample| sample.at_s >= at_s)
        .unwrap_or(samples.len().checked_sub(1)?);
    let before = after.saturating_sub(1);
    let (a, b) = (&samples[before], &samples[after]);
    if b.at_s <= a.at_s || at_s >= b.at_s {
        return Some(b.cpu_s);
    }
    Some(a.cpu_s + (b.cpu_s - a.cpu_s) * (at_s - a.at_s) / (b.at_s - a.at_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_population_that_is_not_answered_is_not_isolated() {
        let mut figures = PhaseFigures {
            phase: "p".to_owned(),
            intended: 20,
            succeeded: 4,
            errors: [("timeout".to_owned(), 16)].into(),
            statuses: Default::default(),
            latency: Latency::new(),
            service: Latency::new(),
            failed: Latency::new(),
            bytes_in: 0,
            bytes_out: 0,
            connects: 0,
            fairness: None,
            seconds: 1.0,
        };
        for _ in 0..4 {
            figures.latency.record(1_000_000);
        }
        assert!((p99_ms(&figures) - 1.0).abs() < 0.01);
        for _ in 0..16 {
            figures.failed.record(500_000_000);
        }
        assert!(p99_ms(&figures) > 490.0);
        // Quick refusals do not make it better.
        figures.failed.clear();
        for _ in 0..1000 {
            figures.failed.record(1000);
        }
        assert!((p99_ms(&figures) - 1.0).abs() < 0.01);
    }

    #[test]
    fn cpu_time_is_read_between_samples() {
        let samples: Vec<ServerSample> = [(0.0, 1.0), (1.0, 2.0), (3.0, 3.0)]
            .iter()
            .map(|(at_s, cpu_s)| ServerSample {
                at_s: *at_s,
                cpu_s: *cpu_s,
                rss_bytes: 0,
                processes: 1,
            })
            .collect();
        for (at, expected) in [(-1.0, 1.0), (0.0, 1.0), (0.5, 1.5), (2.0, 2.5), (9.0, 3.0)] {
            let got = cpu_at(&samples, at).unwrap();
            assert!((got - expected).abs() < 1e-9, "{at}: {got}");
        }
        assert_eq!(cpu_at(&[], 0.0), None);
    }
}
