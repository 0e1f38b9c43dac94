//! What a terminal shows while a run goes on: one line for the time, one for each population.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recorder::{SecondCounts, SecondReport};
use crate::results::Second;
use crate::scenario::Scenario;

use super::summary;

/// The live view, and the seconds that it is made from.
#[derive(Debug)]
pub struct Live {
    clock: ProgressBar,
    lines: Vec<ProgressBar>,
    /// Keeps the lines together.
    _all: MultiProgress,
    /// Seconds that not every generator has reported yet: how many have, and their counts.
    open: BTreeMap<u64, (usize, Vec<SecondCounts>)>,
    /// Complete seconds, by population.
    seconds: Vec<Vec<Second>>,
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
            open: BTreeMap::new(),
            seconds: vec![Vec::new(); scenario.populations.len()],
            names,
            generators,
        }
    }

    /// Adds one generator's second; the second, population by population, when every generator has
    /// reported it.
    pub fn add(&mut self, report: SecondReport) -> Option<Vec<SecondCounts>> {
        let number = report.second;
        let (reported, counts) = self
            .open
            .entry(number)
            .or_insert_with(|| (0, vec![SecondCounts::default(); report.populations.len()]));
        *reported += 1;
        for (mine, theirs) in counts.iter_mut().zip(&report.populations) {
            mine.add(theirs);
        }
        if *reported < self.generators {
            return None;
        }
        let (_, counts) = self.open.remove(&number)?;
        self.close(number, &counts);
        Some(counts)
    }

    /// Keeps a second's figures, and not its histograms: a run of hours would keep gigabytes of them.
    fn close(&mut self, number: u64, counts: &[SecondCounts]) {
        for (seconds, counts) in self.seconds.iter_mut().zip(counts) {
            seconds.push(summary::second(number, counts));
        }
    }

    /// Every second's figures, by population.
    pub fn seconds(&mut self) -> Vec<Vec<Second>> {
        // Those that not every generator has reported: the last, or of a generator that failed.
        for (number, (_, counts)) in std::mem::take(&mut self.open) {
            self.close(number, &counts);
        }
        std::mem::take(&mut self.seconds)
    }

    /// Shows where the run is.
    pub fn clock(&self, at: Duration, phase: &str) {
        self.clock.set_position((at.as_secs_f64() * 10.0) as u64);
        self.clock
            .set_message(format!("{:5.1} s  {phase}", at.as_secs_f64()));
    }

    /// Shows a second that is complete.
    pub fn show(&self, second: &[SecondCounts]) {
        for ((counts, line), name) in second.iter().zip(&self.lines).zip(&self.names) {
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
