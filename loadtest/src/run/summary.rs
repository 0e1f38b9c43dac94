//! From counts to results.

use std::collections::BTreeMap;

use crate::limits;
use crate::recorder::{
    self, Failure, PhaseCounts, PopulationCounts, Recorder, SecondCounts, TenantCounts,
};
use crate::results::{self, PhaseKind};
use crate::scenario::{Population, Scenario};

/// One population's figures.
pub fn population(
    scenario: &Scenario,
    index: usize,
    counts: &PopulationCounts,
    seconds: Vec<results::Second>,
    lengths: &[f64],
) -> results::Population {
    let population = &scenario.populations[index];
    let measured: Vec<usize> = (0..scenario.phases.len())
        .filter(|number| scenario.phases[*number].kind == PhaseKind::Measure)
        .collect();
    let phases = scenario
        .phases
        .iter()
        .enumerate()
        .filter(|(number, phase)| {
            phase.active.contains(&index) || counts.phases[*number].intended > 0
        })
        .map(|(number, phase)| {
            figures(
                &phase.name,
                &counts.phases[number],
                fairness(&counts.shares, &[number]),
                lengths[number],
            )
        })
        .collect();
    results::Population {
        name: population.name.clone(),
        tenants_total: population.hosts.len(),
        arrival: population.arrival.describe(),
        phases,
        seconds,
        tenants: tenants(population, &counts.tenants),
        heat: heat(scenario, population, counts),
        fairness: fairness(&counts.shares, &measured),
    }
}

fn figures(
    name: &str,
    counts: &PhaseCounts,
    fairness: Option<f64>,
    seconds: f64,
) -> results::PhaseFigures {
    results::PhaseFigures {
        fairness,
        phase: name.to_owned(),
        intended: counts.intended,
        succeeded: counts.succeeded,
        errors: Failure::ALL
            .iter()
            .zip(counts.failures)
            .filter(|(_, count)| *count > 0)
            .map(|((_, name), count)| ((*name).to_owned(), count))
            .collect(),
        statuses: counts.statuses.clone(),
        latency: counts.latency.clone(),
        service: counts.service.clone(),
        failed: counts.failed.clone(),
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        connects: counts.connects,
        seconds,
    }
}

/// One second's figures.
pub fn second(number: u64, counts: &SecondCounts) -> results::Second {
    results::Second {
        second: number,
        intended: counts.intended,
        succeeded: counts.succeeded,
        errors: counts.errors,
        in_flight: counts.in_flight,
        p50_ms: counts.latency.percentile_ms(50.0),
        p99_ms: counts.latency.percentile_ms(99.0),
        p999_ms: counts.latency.percentile_ms(99.9),
        max_ms: counts.latency.max_ms(),
    }
}

fn tenant(host: &str, counts: &TenantCounts) -> results::Tenant {
    let percentile = |percentile| {
        counts
            .latency
            .as_ref()
            .and_then(|latency| latency.percentile_ms(percentile))
    };
    results::Tenant {
        host: host.to_owned(),
        intended: counts.intended,
        succeeded: counts.succeeded,
        errors: counts.errors,
        p50_ms: percentile(50.0).unwrap_or(0.0),
        p99_ms: percentile(99.0).unwrap_or(0.0),
        max_ms: counts.max_ns as f64 / 1e6,
    }
}

/// The busiest, then the worst of the rest: by errors, then by largest latency.
fn tenants(population: &Population, counts: &[TenantCounts]) -> Vec<results::Tenant> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(counts[*index].intended));
    let worst_rows = limits::TENANT_WORST_ROWS;
    let rest = order.split_off(order.len().min(limits::TENANT_ROWS_MAX - worst_rows));
    let mut worst = rest;
    worst.sort_by_key(|index| std::cmp::Reverse((counts[*index].errors, counts[*index].max_ns)));
    worst.truncate(worst_rows);
    order
        .into_iter()
        .chain(worst)
        .filter(|index| counts[*index].intended > 0)
        .map(|index| tenant(&population.hosts[index], &counts[index]))
        .collect()
}

fn heat(scenario: &Scenario, population: &Population, counts: &PopulationCounts) -> results::Heat {
    let tenants = population.hosts.len();
    let rows = counts.heat.len();
    let mut members: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for tenant in 0..tenants {
        let range = members
            .entry(recorder::row_of(tenant, tenants))
            .or_insert((tenant, tenant));
        range.1 = tenant;
    }
    let name = |row: usize| match members.get(&row) {
        Some((first, last)) if first == last => population.hosts[*first].to_string(),
        Some((first, last)) => format!("hosts {first}\u{2013}{last}"),
        None => String::new(),
    };
    results::Heat {
        rows: (0..rows).map(name).collect(),
        column_s: recorder::columns(scenario.seconds()).1,
        p99_ms: counts
            .heat
            .iter()
            .map(|row| {
                let cell = |cell: &recorder::Cell| {
                    let p99 = cell
                        .latency
                        .as_ref()
                        .and_then(|latency| latency.percentile_ms(99.0));
                    p99.map_or(-1.0, |p99| p99 as f32)
                };
                row.iter().map(cell).collect()
            })
            .collect(),
        errors: counts
            .heat
            .iter()
            .map(|row| row.iter().map(|cell| cell.errors).collect())
            .collect(),
    }
}

/// Jain's index over the share of its requests that each host got answered in these phases.
fn fairness(shares: &[Vec<(u32, u32)>], phases: &[usize]) -> Option<f64> {
    let tenants = phases.iter().map(|phase| shares[*phase].len()).max()?;
    let shares: Vec<f64> = (0..tenants)
        .map(|tenant| {
            let of = phases.iter().filter_map(|phase| shares[*phase].get(tenant));
            of.fold((0.0, 0.0), |sum, (due, answered)| {
                (sum.0 + f64::from(*due), sum.1 + f64::from(*answered))
            })
        })
        .filter(|(due, _)| *due > 0.0)
        .map(|(due, answered)| answered / due)
        .collect();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if shares.len() < 2 || squares == 0.0 {
        return None;
    }
    Some(shares.iter().sum::<f64>().powi(2) / (shares.len() as f64 * squares))
}

/// One generator's figures, for phases of these lengths.
pub fn generator(core: Option<usize>, counts: &Recorder, lengths: &[f64]) -> results::Generator {
    let busy = |waited_ns: u64, seconds: f64| match seconds > 0.0 {
        true => (1.0 - waited_ns as f64 / 1e9 / seconds).clamp(0.0, 1.0),
        false => 0.0,
    };
    let all: u64 = counts.waited_ns.iter().sum();
    results::Generator {
        core,
        busy: busy(all, lengths.iter().sum()),
        busy_by_phase: counts
            .waited_ns
            .iter()
            .zip(lengths)
            .map(|(waited, seconds)| busy(*waited, *seconds))
            .collect(),
        lateness: counts.lateness.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_jains_index() {
        let of = |shares: &[(u32, u32)]| fairness(&[Vec::new(), shares.to_vec()], &[1]);
        assert_eq!(of(&[(10, 10), (100, 100), (0, 0)]), Some(1.0));
        assert_eq!(of(&[(10, 10), (10, 0)]), Some(0.5));
        assert_eq!(of(&[(10, 10)]), None);
        assert_eq!(of(&[(10, 0), (5, 0)]), None);
        let two = [vec![(10, 10), (10, 0)], vec![(10, 0), (10, 10)]];
        assert_eq!(
            fairness(&two, &[0, 1]),
            Some(1.0),
            "over both phases it is even"
        );
    }
}
