//! Made-up results.

use std::collections::BTreeMap;

use skep_load::fingerprint::Fingerprint;
use skep_load::histogram::Latency;
use skep_load::results::{
    Heat, Phase, PhaseFigures, PhaseKind, Population, Results, SCHEMA, Second, Validity,
};

/// Length of each phase, in seconds.
pub const PHASE_S: u64 = 20;

/// A run of two phases, `warm-up` and `measure`, without populations.
pub fn run() -> Results {
    let phase = |name: &str, kind, start_s: u64| Phase {
        name: name.into(),
        kind,
        start_s: start_s as f64,
        end_s: (start_s + PHASE_S) as f64,
        actions: Vec::new(),
    };
    Results {
        cut: None,
        schema: SCHEMA,
        tool_version: "0.1.0".into(),
        scenario: "hello".into(),
        about: String::new(),
        scenario_text: "name = \"hello\"\n".into(),
        command: Vec::new(),
        started_unix_s: 1_800_000_000,
        duration_s: 40.0,
        seed: 1,
        target: "127.0.0.1:8080".into(),
        fingerprint: Fingerprint {
            cpu: "Test CPU".into(),
            cores: 4,
            memory_bytes: 8 << 30,
            kernel: "6.12.0".into(),
            ..Fingerprint::default()
        },
        preflight: Vec::new(),
        forced: false,
        validity: Validity {
            valid: true,
            reasons: Vec::new(),
        },
        generators: Vec::new(),
        phases: vec![
            phase("warm-up", PhaseKind::WarmUp, 0),
            phase("measure", PhaseKind::Measure, PHASE_S),
        ],
        populations: Vec::new(),
        server: Vec::new(),
        isolation: Vec::new(),
        objectives: Vec::new(),
    }
}

/// A population whose every phase and second saw `latencies_ns`, each once.
pub fn population(name: &str, latencies_ns: &[u64]) -> Population {
    let mut latency = Latency::new();
    for &nanoseconds in latencies_ns {
        latency.record(nanoseconds);
    }
    let count = latencies_ns.len() as u64;
    let figures = |phase: &str| PhaseFigures {
        fairness: None,
        phase: phase.into(),
        intended: count * PHASE_S,
        succeeded: count * PHASE_S,
        errors: BTreeMap::new(),
        statuses: BTreeMap::from([(200, count * PHASE_S)]),
        latency: latency.clone(),
        service: latency.clone(),
        failed: Latency::new(),
        bytes_in: 0,
        bytes_out: 0,
        connects: 1,
        seconds: PHASE_S as f64,
    };
    let second = |second| Second {
        second,
        intended: count,
        succeeded: count,
        errors: 0,
        in_flight: 0,
        p50_ms: latency.percentile_ms(50.0),
        p99_ms: latency.percentile_ms(99.0),
        p999_ms: latency.percentile_ms(99.9),
        max_ms: latency.max_ms(),
    };
    Population {
        name: name.into(),
        tenants_total: 1,
        arrival: "constant".into(),
        phases: vec![figures("warm-up"), figures("measure")],
        seconds: (0..2 * PHASE_S).map(second).collect(),
        tenants: Vec::new(),
        heat: Heat::default(),
        fairness: None,
    }
}
