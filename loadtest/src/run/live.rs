//! What a terminal shows while a run goes on: one line for the time, one for each population.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recorder::{SecondCounts, SecondReport};
use crate::scenario::Scenario;

/// The live view, and the seconds that it is made from.
#[derive(Debug)]
pub struct Live {
    clock: ProgressBar,
    lines: Vec<ProgressBar>,
    /// Keeps the lines together.
    _all: MultiProgress,
    /// Second, then population; of every generator together.
    seconds: BTreeMap<u64, (usize, Vec<SecondCounts>)>,
    names: Vec<String>,
    generators: usize,
}

impl Live {
    /// A view on stderr; invisible when `quiet` or when stderr is no terminal.
    pub fn new(scenario: &Scenario, generators: usize, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(4)
        };
        let all = MultiProgress::with_draw_target(target);
        let clock = all.add(ProgressBar::new((scenario.seconds() * 10.0) as u64));
        // The templates are constants; a template that cannot be read leaves the default style.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            clock.set_style(style);
        }
        let names: Vec<String> = scenario
            .populations
            .iter()
            .map(|population| population.name.clone())
            .collect();
        let lines = names
            .iter()
            .map(|name| {
                let line = all.add(ProgressBar::no_length());
                if let Ok(style) = ProgressStyle::with_template("{msg}") {
                    line.set_style(style);
                }
                line.set_message(format!("{name:>12}"));
                line
            })
            .collect();
        Self {
            clock,
            lines,
            _all: all,
            seconds: BTreeMap::new(),
            names,
            generators,
        }
    }

    /// Adds one generator's second; the second's number when every generator has reported it.
    pub fn add(&mut self, report: SecondReport) -> Option<u64> {
        let (reported, counts) = self
            .seconds
            .entry(report.second)
            .or_insert_with(|| (0, vec![SecondCounts::default(); report.populations.len()]));
        *reported += 1;
        for (mine, theirs) in counts.iter_mut().zip(&report.populations) {
            mine.add(theirs);
        }
        (*reported == self.generators).then_some(report.second)
    }

    /// The second, population by population.
    pub fn second(&self, second: u64) -> &[SecondCounts] {
        self.seconds.get(&second).map_or(&[], |(_, counts)| counts)
    }

    /// Every second.
    pub fn seconds(&self) -> impl Iterator<Item = (u64, &[SecondCounts])> {
        self.seconds
            .iter()
            .map(|(second, (_, counts))| (*second, counts.as_slice()))
    }

    /// Shows where the run is.
    pub fn clock(&self, at: Duration, phase: &str) {
        self.clock.set_position((at.as_secs_f64() * 10.0) as u64);
        self.clock
            .set_message(format!("{:5.1} s  {phase}", at.as_secs_f64()));
    }

    /// Shows a second that is complete.
    pub fn show(&self, second: u64) {
        for ((counts, line), name) in self.second(second).iter().zip(&self.lines).zip(&self.names) {
            line.set_message(format!(
                "{name:>12} {:>9}/s  p50 {:>8.3}  p99 {:>8.3}  p99.9 {:>8.3} ms  errors {:>6}  in flight {:>5}",
                counts.succeeded,
                counts.latency.percentile_ms(50.0),
                counts.latency.percentile_ms(99.0),
                counts.latency.percentile_ms(99.9),
                counts.errors,
                counts.in_flight,
            ));
        }
    }

    /// A line above the view.
    pub fn say(&self, line: &str) {
        if self.clock.is_hidden() {
            eprintln!("{line}");
        } else {
            self.clock.suspend(|| eprintln!("{line}"));
        }
    }

    /// Takes the view away.
    pub fn finish(&self) {
        for line in &self.lines {
            line.finish_and_clear();
        }
        self.clock.finish_and_clear();
    }
}
