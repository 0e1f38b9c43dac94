//! Results as a run of a minute leaves them: three populations, four phases, a server that is
//! killed in the third. Made of numbers that look random and are the same every time.

use std::collections::BTreeMap;

use skep_load::fingerprint::Fingerprint;
use skep_load::histogram::Latency;
use skep_load::preflight::{Finding, Severity};
use skep_load::results::{
    Generator, Heat, Isolation, Objective, Phase, PhaseFigures, PhaseKind, Population, Results,
    SCHEMA, Second, ServerSample, Tenant, Validity,
};

/// When the server is killed, and when it answers again.
const DOWN_S: std::ops::Range<f64> = 30.0..31.4;

/// One population in figures.
struct Shape {
    name: &'static str,
    arrival: &'static str,
    rate: f64,
    tenants: usize,
    median_ms: f64,
    active_s: std::ops::Range<f64>,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "victims",
        arrival: "poisson, 400/s",
        rate: 400.0,
        tenants: 200,
        median_ms: 0.42,
        active_s: 0.0..60.0,
    },
    Shape {
        name: "steady",
        arrival: "constant, 120/s",
        rate: 120.0,
        tenants: 24,
        median_ms: 1.1,
        active_s: 0.0..60.0,
    },
    Shape {
        name: "noise",
        arrival: "spike, 900/s",
        rate: 900.0,
        tenants: 3,
        median_ms: 6.0,
        active_s: 25.0..45.0,
    },
];

/// The results of that run.
pub fn results() -> Results {
    let mut dice = Dice(0x5eed_1234);
    let phases = phases();
    let populations: Vec<Population> = SHAPES
        .iter()
        .map(|shape| population(shape, &phases, &mut dice))
        .collect();
    let objectives = objectives(&populations);
    Results {
        cut: None,
        schema: SCHEMA,
        tool_version: "0.1.0".to_owned(),
        scenario: "noisy-neighbour".to_owned(),
        about: "Do quiet tenants notice when another one floods the host, and when a worker dies?"
            .to_owned(),
        scenario_text:
            "name = \"noisy-neighbour\"\n\n[[phases]]\nname = \"warm-up\"\nseconds = 5\n".to_owned(),
        command: [
            "skep-load",
            "run",
            "scenarios/noisy-neighbour.toml",
            "--cores",
            "1",
        ]
        .map(str::to_owned)
        .to_vec(),
        started_unix_s: 1_772_368_496,
        duration_s: 60.0,
        seed: 42,
        target: "127.0.0.1:8080".to_owned(),
        fingerprint: Fingerprint {
            cpu: "Example CPU 9000 @ 2.50GHz".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "6.12.0".to_owned(),
            hypervisor: Some("KVM".to_owned()),
            governor: None,
            smt: Some(false),
            mitigations: vec![("spectre_v2".to_owned(), "Mitigation: Retpolines".to_owned())],
        },
        preflight: vec![Finding {
            id: "load".to_owned(),
            severity: Severity::Warning,
            found: "load average 0.9 on 2 cores before the run".to_owned(),
            remedy: "stop what else runs: `ps -eo pcpu,comm --sort -pcpu | head`".to_owned(),
        }],
        forced: false,
        validity: Validity {
            valid: true,
            reasons: Vec::new(),
        },
        generators: vec![generator(&mut dice)],
        server: server(&mut dice),
        isolation: isolation(&populations),
        objectives,
        phases,
        populations,
    }
}

fn phases() -> Vec<Phase> {
    let phase = |name: &str, kind, start_s, end_s, actions: &[&str]| Phase {
        name: name.to_owned(),
        kind,
        start_s,
        end_s,
        actions: actions.iter().map(|it| (*it).to_owned()).collect(),
    };
    vec![
        phase("warm-up", PhaseKind::WarmUp, 0.0, 5.0, &[]),
        phase("measure", PhaseKind::Measure, 5.0, 25.0, &[]),
        phase(
            "disturb",
            PhaseKind::Disturb,
            25.0,
            45.0,
            &[
                "30.00 s: killed pid 4711 (worker 0)",
                "38.00 s: ran `deploy victim-7`: exit status 0",
            ],
        ),
        phase("recover", PhaseKind::Recover, 45.0, 60.0, &[]),
    ]
}

/// How much slower the server is at a moment; `steady` is on another worker.
fn slowness(at_s: f64, steady: bool) -> f64 {
    match at_s {
        _ if steady => 1.0 + f64::from(u8::from((25.0..45.0).contains(&at_s))) * 0.3,
        at if (25.0..45.0).contains(&at) => 3.2,
        at if (45.0..47.0).contains(&at) => 3.2 - (at - 45.0) * 1.1,
        _ => 1.0,
    }
}

fn population(shape: &Shape, phases: &[Phase], dice: &mut Dice) -> Population {
    let mut figures: BTreeMap<usize, PhaseFigures> = BTreeMap::new();
    let mut seconds: Vec<(Second, Latency)> = Vec::new();
    let mut tenants: Vec<(Tenant, Latency)> = Vec::new();
    for index in 0..shape.tenants {
        let host = format!("{}-{index}.example", shape.name);
        tenants.push((tenant(host), Latency::new()));
    }
    let rows = shape.tenants.min(40);
    let mut cells = vec![vec![Latency::new(); 60]; rows];
    let mut cell_errors = vec![vec![0_u32; 60]; rows];
    for second in shape.active_s.start as u64..shape.active_s.end as u64 {
        seconds.push((empty_second(second), Latency::new()));
    }
    let steady = shape.name == "steady";
    let requests = ((shape.active_s.end - shape.active_s.start) * shape.rate) as u64;
    for index in 0..requests {
        let at_s = shape.active_s.start + index as f64 / shape.rate;
        let who = (dice.uniform().powi(3) * shape.tenants as f64) as usize;
        let row = who * rows / shape.tenants;
        let phase = phases.iter().position(|it| it.end_s > at_s).unwrap();
        let own = figures
            .entry(phase)
            .or_insert_with(|| empty_figures(&phases[phase]));
        let place = (at_s - shape.active_s.start) as usize;
        let service_ms = shape.median_ms * slowness(at_s, steady) * dice.log_normal(0.45);
        let waits_s = if DOWN_S.contains(&at_s) && !steady {
            DOWN_S.end - at_s
        } else {
            0.0
        };
        own.intended += 1;
        seconds[place].0.intended += 1;
        tenants[who].0.intended += 1;
        let refused = waits_s > 0.0 && dice.uniform() < 0.3;
        if refused || (slowness(at_s, steady) > 3.0 && dice.uniform() < 0.002) {
            let kind = if refused { "reset" } else { "status" };
            *own.errors.entry(kind.to_owned()).or_default() += 1;
            if !refused {
                *own.statuses.entry(503).or_default() += 1;
            }
            own.failed.record((service_ms * 1e6) as u64);
            seconds[place].0.errors += 1;
            tenants[who].0.errors += 1;
            cell_errors[row][at_s as usize] += 1;
            continue;
        }
        let latency_ns = ((service_ms + waits_s * 1e3) * 1e6) as u64;
        own.succeeded += 1;
        *own.statuses.entry(200).or_default() += 1;
        own.latency.record(latency_ns);
        own.service.record((service_ms * 1e6) as u64);
        let end = ((at_s - shape.active_s.start) + waits_s) as usize;
        let end = end.min(seconds.len() - 1);
        seconds[end].0.succeeded += 1;
        seconds[end].1.record(latency_ns);
        tenants[who].0.succeeded += 1;
        tenants[who].1.record(latency_ns);
        cells[row][at_s as usize].record(latency_ns);
    }
    Population {
        name: shape.name.to_owned(),
        tenants_total: shape.tenants,
        arrival: shape.arrival.to_owned(),
        phases: figures.into_values().collect(),
        seconds: seconds.into_iter().map(finish_second).collect(),
        tenants: tenants.into_iter().map(finish_tenant).collect(),
        heat: heat(shape, &cells, cell_errors),
        fairness: Some(0.998_7),
    }
}

fn empty_figures(phase: &Phase) -> PhaseFigures {
    PhaseFigures {
        fairness: Some(1.0),
        phase: phase.name.clone(),
        intended: 0,
        succeeded: 0,
        errors: BTreeMap::new(),
        statuses: BTreeMap::new(),
        latency: Latency::new(),
        service: Latency::new(),
        failed: Latency::new(),
        bytes_in: 0,
        bytes_out: 0,
        connects: 8,
        seconds: phase.end_s - phase.start_s,
    }
}

fn empty_second(second: u64) -> Second {
    Second {
        second,
        intended: 0,
        succeeded: 0,
        errors: 0,
        in_flight: 0,
        p50_ms: 0.0,
        p99_ms: 0.0,
        p999_ms: 0.0,
        max_ms: 0.0,
    }
}

fn finish_second((mut second, latency): (Second, Latency)) -> Second {
    second.p50_ms = latency.percentile_ms(50.0);
    second.p99_ms = latency.percentile_ms(99.0);
    second.p999_ms = latency.percentile_ms(99.9);
    second.max_ms = latency.max_ms();
    let stalled = second.second == 30 && second.errors > 0;
    second.in_flight = if stalled {
        second.intended * 7 / 10
    } else {
        second.intended / 300
    };
    second
}

fn tenant(host: String) -> Tenant {
    Tenant {
        host,
        intended: 0,
        succeeded: 0,
        errors: 0,
        p50_ms: 0.0,
        p99_ms: 0.0,
        max_ms: 0.0,
    }
}

fn finish_tenant((mut tenant, latency): (Tenant, Latency)) -> Tenant {
    tenant.p50_ms = latency.percentile_ms(50.0);
    tenant.p99_ms = latency.percentile_ms(99.0);
    tenant.max_ms = latency.max_ms();
    tenant
}

fn heat(shape: &Shape, cells: &[Vec<Latency>], errors: Vec<Vec<u32>>) -> Heat {
    let each = shape.tenants / cells.len();
    let rows = (0..cells.len()).map(|row| match each {
        1 => format!("{}-{row}.example", shape.name),
        _ => format!("hosts {}–{}", row * each, (row + 1) * each - 1),
    });
    let value = |cell: &Latency| match cell.count() {
        0 => -1.0,
        _ => cell.percentile_ms(99.0) as f32,
    };
    Heat {
        rows: rows.collect(),
        column_s: 1.0,
        p99_ms: cells
            .iter()
            .map(|row| row.iter().map(value).collect())
            .collect(),
        errors,
    }
}

fn generator(dice: &mut Dice) -> Generator {
    let mut lateness = Latency::new();
    for _ in 0..20_000 {
        lateness.record((dice.log_normal(0.8) * 9_000.0) as u64);
    }
    Generator {
        busy_by_phase: Vec::new(),
        core: Some(1),
        busy: 0.34,
        lateness,
    }
}

fn server(dice: &mut Dice) -> Vec<ServerSample> {
    let mut cpu_s = 3.0;
    let mut samples = Vec::new();
    for second in 0..=60 {
        let at_s = f64::from(second) + 0.02 * dice.uniform();
        let busy = if (26..=45).contains(&second) {
            0.93
        } else {
            0.22
        };
        cpu_s += busy + 0.04 * dice.uniform();
        let rss = 60.0 + 25.0 * slowness(at_s, false) + 2.0 * dice.uniform();
        samples.push(ServerSample {
            at_s,
            cpu_s,
            rss_bytes: (rss * 1_048_576.0) as u64,
            processes: 3,
        });
    }
    samples
}

fn isolation(populations: &[Population]) -> Vec<Isolation> {
    let of = |population: &Population, phase: &str| {
        population
            .phases
            .iter()
            .find(|it| it.phase == phase)
            .cloned()
    };
    let all = populations.iter().filter_map(|population| {
        let (quiet, loud) = (of(population, "measure")?, of(population, "disturb")?);
        let (baseline, disturbed) = (
            quiet.latency.percentile_ms(99.0),
            loud.latency.percentile_ms(99.0),
        );
        Some(Isolation {
            population: population.name.clone(),
            baseline: "measure".to_owned(),
            disturbed: "disturb".to_owned(),
            baseline_p50_ms: quiet.latency.percentile_ms(50.0),
            baseline_p99_ms: baseline,
            disturbed_p50_ms: loud.latency.percentile_ms(50.0),
            disturbed_p99_ms: disturbed,
            ratio: disturbed / baseline,
            disturbed_error_share: loud.errors_total() as f64 / loud.intended as f64,
        })
    });
    all.collect()
}

fn objectives(populations: &[Population]) -> Vec<Objective> {
    let mut all = Vec::new();
    for population in &populations[..2] {
        let quiet = &population.phases[1];
        let (p99, ratio) = (
            quiet.latency.percentile_ms(99.0),
            isolation(populations)[all.len() / 3].ratio,
        );
        for (text, phase, measured, met) in [
            ("p99_ms <= 5", "measure", p99, p99 <= 5.0),
            ("errors == 0", "measure", quiet.errors_total() as f64, true),
            ("isolation_ratio <= 2.0", "disturb", ratio, ratio <= 2.0),
        ] {
            all.push(Objective {
                text: text.to_owned(),
                population: population.name.clone(),
                phase: phase.to_owned(),
                measured: Some(measured),
                met,
            });
        }
    }
    all
}

/// Numbers that look random: xorshift64 (Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Median 1; the sum of twelve uniforms is normal enough.
    fn log_normal(&mut self, sigma: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        (normal * sigma).exp()
    }
}
