//! One run from beginning to end.
//!
//! ```text
//!   scenario ─► server (its own, or one that runs) ─► preflight ─► check phase ─► generators ─► results
//!                                                                       │
//!                               actions, /proc samples, live view ◄─────┘ along the way
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};

use crate::fingerprint::Fingerprint;
use crate::generator::{self, Job};
use crate::limits;
use crate::preflight::{self, Finding, Severity};
use crate::recorder::Recorder;
use crate::results::{self, Results, ServerSample, Validity};
use crate::sampler::Sampler;
use crate::scenario::Scenario;
use actions::Actions;
use live::Live;
use server::Server;

mod actions;
mod check;
mod live;
mod server;
mod summary;
mod verdict;

/// How often the run's clock is looked at: the exactness of actions and of samples at phase ends.
const TURN: Duration = Duration::from_millis(20);

/// Between the generators' creation and the first request.
const HEAD_START: Duration = Duration::from_millis(200);

/// Seconds in a row without one success, in which every failure is a refused connection, after which
/// the run is given up.
const REFUSED_SECONDS_MAX: u32 = 5;

/// How a run is done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Cores of the generators, one each; none is one generator that is not pinned.
    pub cores: Vec<usize>,
    /// The server's process, when it runs on this machine.
    pub server_pid: Option<u32>,
    /// Start the scenario's own server.
    pub start: bool,
    /// Go on although preflight refuses.
    pub force: bool,
    /// Leave the check phase out.
    pub unchecked: bool,
    /// Show nothing while it runs.
    pub quiet: bool,
    /// The command line, for the record.
    pub command: Vec<String>,
}

/// A server that is ready to be loaded.
#[derive(Debug)]
pub struct Prepared {
    server: Option<Server>,
    pid: Option<u32>,
}

/// Starts the scenario's own server, when that is wanted, with its files in `work`, and checks that it
/// answers right.
///
/// # Errors
/// When the server does not start, or it answers wrong.
pub fn prepare(
    scenario: &Scenario,
    options: &Options,
    work: &Path,
    interrupted: &AtomicBool,
) -> anyhow::Result<Prepared> {
    let server = match (&scenario.server, options.start) {
        (Some(server), true) => Some(Server::start(server, scenario.target, work, interrupted)?),
        (None, true) => {
            bail!("the scenario has no [server] to start; leave out --start, or add one")
        }
        _ => None,
    };
    if !options.unchecked {
        let patience = if server.is_some() {
            limits::CHECK_PATIENCE_S
        } else {
            0
        };
        check::check(scenario, Duration::from_secs(patience), interrupted).map_err(|wrong| {
            let log = server
                .as_ref()
                .map(|server| format!("\n  server: {}", server.last_lines()))
                .unwrap_or_default();
            anyhow::anyhow!("the server answers wrong:\n  {}{log}", wrong.join("\n  "))
        })?;
    }
    let pid = server.as_ref().map(Server::pid).or(options.server_pid);
    Ok(Prepared { server, pid })
}

/// Runs a scenario against a server that is ready.
///
/// # Errors
/// When preflight refuses, or a generator cannot run. A run that began ends with results, valid or not.
pub fn measure(
    scenario: &Scenario,
    options: &Options,
    prepared: &Prepared,
    interrupted: &Arc<AtomicBool>,
) -> anyhow::Result<Results> {
    let findings = look(scenario, options, prepared.pid);
    refuse(&findings, options.force)?;
    let mut results = load(scenario, options, prepared.pid, interrupted)?;
    results.forced = findings
        .iter()
        .any(|finding| finding.severity == Severity::Refusal);
    results.preflight = findings;
    if let (false, Some(server)) = (results.validity.valid, &prepared.server)
        && results
            .validity
            .reasons
            .iter()
            .any(|reason| reason.contains("server"))
    {
        eprintln!(
            "skep-load: the server's last lines:\n  {}",
            server.last_lines()
        );
    }
    Ok(results)
}

fn look(scenario: &Scenario, options: &Options, server_pid: Option<u32>) -> Vec<Finding> {
    let plan = preflight::Plan {
        generator_cores: options.cores.clone(),
        server_pid,
        connections: scenario.connections(),
        connects_per_s: scenario.connects_per_s(),
        ..preflight::Plan::new(scenario.target)
    };
    preflight::look(Path::new("/"), &plan)
}

fn refuse(findings: &[Finding], force: bool) -> anyhow::Result<()> {
    let refusals: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Refusal)
        .map(|finding| format!("{}: {}; {}", finding.id, finding.found, finding.remedy))
        .collect();
    if refusals.is_empty() || force {
        return Ok(());
    }
    bail!(
        "this would measure nothing:\n  {}\n  (--force runs it anyway, and the results say so)",
        refusals.join("\n  ")
    )
}

/// The generators' part.
fn load(
    scenario: &Scenario,
    options: &Options,
    server: Option<u32>,
    interrupted: &Arc<AtomicBool>,
) -> anyhow::Result<Results> {
    let cores: Vec<Option<usize>> = if options.cores.is_empty() {
        vec![None]
    } else {
        options.cores.iter().copied().map(Some).collect()
    };
    let started_unix_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let job = Job::new(scenario.clone(), Instant::now() + HEAD_START, cores.len());
    let mut watch = Watch::new(scenario, options, server, cores.len());
    let outcomes = std::thread::scope(|scope| -> anyhow::Result<Vec<Outcome>> {
        let (tell, reports) = channel();
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(index, core)| {
                let (job, tell) = (&job, tell.clone());
                std::thread::Builder::new()
                    .name(format!("generator {index}"))
                    .spawn_scoped(scope, move || {
                        let done = generator::run(job, index, *core, &tell);
                        if done.1.is_err() {
                            // The others would wait for its share of the load to the end.
                            job.stop.store(true, Ordering::Relaxed);
                        }
                        done
                    })
            })
            .collect::<Result<_, _>>()
            .inspect_err(|_| job.stop.store(true, Ordering::Relaxed))
            .context("cannot start a generator")?;
        drop(tell);
        loop {
            match reports.recv_timeout(TURN) {
                Ok(report) => watch.second(report),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if interrupted.load(Ordering::Relaxed) {
                watch.cut("interrupted");
            }
            watch.turn(&job);
        }
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(outcome) => Ok(outcome),
                Err(_) => bail!("a generator panicked; this is a bug of skep-load"),
            })
            .collect()
    })?;
    let mut recorders = Vec::new();
    for (recorder, done) in outcomes {
        if let Err(error) = done {
            watch.cut(&format!("a generator failed: {error}"));
        }
        recorders.push(recorder);
    }
    watch.wait_for_actions();
    watch.live.finish();
    Ok(watch.results(scenario, options, &cores, recorders, started_unix_s))
}

/// What a generator counted, and how it ended.
type Outcome = (Recorder, std::io::Result<()>);

/// What is watched while generators send.
struct Watch<'a> {
    scenario: &'a Scenario,
    live: Live,
    actions: Actions,
    done: Vec<Vec<String>>,
    sampler: Option<Sampler>,
    samples: Vec<ServerSample>,
    starts: Vec<f64>,
    phase: usize,
    next_sample_s: f64,
    refused_seconds: u32,
    /// Why and when the run was cut short.
    cut: Option<(String, f64)>,
    now_s: f64,
}

impl<'a> Watch<'a> {
    fn new(
        scenario: &'a Scenario,
        options: &Options,
        server: Option<u32>,
        generators: usize,
    ) -> Self {
        Self {
            scenario,
            live: Live::new(scenario, generators, options.quiet),
            actions: Actions::new(scenario, server),
            done: vec![Vec::new(); scenario.phases.len()],
            sampler: server.map(|pid| Sampler::new(Path::new("/"), pid)),
            samples: Vec::new(),
            starts: scenario.starts(),
            phase: 0,
            next_sample_s: 0.0,
            refused_seconds: 0,
            cut: None,
            now_s: 0.0,
        }
    }

    /// Ends the run early.
    fn cut(&mut self, why: &str) {
        if self.cut.is_none() {
            self.live.say(&format!(
                "skep-load: {why} at {:.1} s; the results so far are kept",
                self.now_s
            ));
            self.cut = Some((
                format!(
                    "{why} at {:.1} s of {:.1} s",
                    self.now_s,
                    self.scenario.seconds()
                ),
                self.now_s,
            ));
        }
    }

    fn turn(&mut self, job: &Job) {
        let since = Instant::now().saturating_duration_since(job.start);
        self.now_s = since.as_secs_f64();
        if since.is_zero() {
            return;
        }
        let seconds = self.scenario.seconds();
        if self.cut.is_none() {
            self.actions.due(self.now_s.min(seconds));
        }
        self.take_reports();
        let mut crossed = false;
        while self.phase + 1 < self.starts.len() && self.now_s >= self.starts[self.phase + 1] {
            self.phase += 1;
            crossed = true;
        }
        let ended = self.now_s >= seconds
            && self
                .samples
                .last()
                .is_some_and(|sample| sample.at_s < seconds);
        if crossed || ended || self.now_s >= self.next_sample_s {
            self.sample();
        }
        let phase = &self.scenario.phases[self.phase].name;
        self.live.clock(since, phase);
        if self.cut.is_some() {
            job.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Lets what was begun come to its end, while the server is still there.
    fn wait_for_actions(&mut self) {
        if self.cut.is_none() {
            self.actions.due(self.scenario.seconds());
        }
        let deadline = Instant::now() + Duration::from_secs(limits::ACTION_S + 1);
        while self.actions.under_way() > 0 && Instant::now() < deadline {
            self.take_reports();
            std::thread::sleep(TURN);
        }
        self.take_reports();
    }

    fn take_reports(&mut self) {
        for (phase, text) in self.actions.reports() {
            self.live.say(&format!("  {text}"));
            self.done[phase].push(text);
        }
    }

    fn sample(&mut self) {
        self.next_sample_s = self.now_s.floor() + 1.0;
        let Some(sampler) = &mut self.sampler else {
            return;
        };
        match sampler.sample(self.now_s) {
            Some(sample) => self.samples.push(sample),
            None => {
                self.sampler = None;
                self.cut("the server's process is gone");
            }
        }
    }

    fn second(&mut self, report: crate::recorder::SecondReport) {
        let Some(counts) = self.live.add(report) else {
            return;
        };
        self.live.show(&counts);
        let succeeded: u64 = counts.iter().map(|counts| counts.succeeded).sum();
        let errors: u64 = counts.iter().map(|counts| counts.errors).sum();
        let refused: u64 = counts.iter().map(|counts| counts.refused).sum();
        if succeeded == 0 && refused > 0 && refused == errors {
            self.refused_seconds += 1;
        } else {
            self.refused_seconds = 0;
        }
        if self.refused_seconds >= REFUSED_SECONDS_MAX {
            let target = self.scenario.target;
            self.cut(&format!(
                "{target} has refused every connection for {REFUSED_SECONDS_MAX} s"
            ));
        }
    }

    fn results(
        mut self,
        scenario: &Scenario,
        options: &Options,
        cores: &[Option<usize>],
        recorders: Vec<Recorder>,
        started_unix_s: u64,
    ) -> Results {
        self.take_reports();
        let ended_s = self.cut.as_ref().map_or(scenario.seconds(), |(_, at)| *at);
        let mut all = Recorder::new(scenario);
        for recorder in &recorders {
            all.add(recorder);
        }
        let lengths: Vec<f64> = scenario
            .phases
            .iter()
            .zip(&self.starts)
            .map(|(phase, start)| (ended_s - start).clamp(0.0, phase.seconds))
            .collect();
        let generators = recorders
            .iter()
            .zip(cores)
            .map(|(recorder, core)| summary::generator(*core, recorder, &lengths))
            .collect();
        let populations = self
            .live
            .seconds()
            .into_iter()
            .enumerate()
            .map(|(index, seconds)| {
                summary::population(scenario, index, &all.populations[index], seconds, &lengths)
            })
            .collect();
        let phases = scenario
            .phases
            .iter()
            .zip(self.starts.iter().zip(&lengths))
            .zip(self.done)
            .map(|((phase, (start, length)), actions)| results::Phase {
                name: phase.name.clone(),
                kind: phase.kind,
                start_s: *start,
                end_s: start + length,
                actions,
            })
            .collect();
        let mut results = Results {
            schema: results::SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            scenario_text: scenario.text.clone(),
            command: options.command.clone(),
            started_unix_s,
            duration_s: ended_s,
            seed: scenario.seed,
            target: scenario.target.to_string(),
            fingerprint: Fingerprint::read(Path::new("/")),
            preflight: Vec::new(),
            forced: false,
            validity: Validity {
                valid: true,
                reasons: Vec::new(),
            },
            cut: self.cut.map(|(why, _)| why),
            generators,
            phases,
            populations,
            server: self.samples,
            isolation: Vec::new(),
            objectives: Vec::new(),
        };
        verdict::judge(scenario, &mut results);
        results
    }
}
