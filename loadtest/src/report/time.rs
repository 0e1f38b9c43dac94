//! Everything along time, one plot above the other on the same time axis.

use super::axis::Axis;
use super::phases::{Bands, total_s};
use super::plot::{Line, Plot, path};
use super::series::{Keep, thin, width_s};
use super::text::length;
use crate::limits::{REPORT_POPULATIONS_MAX, REPORT_SERIES_POINTS_MAX};
use crate::results::{Population, Results, Second, ServerSample};

/// The plots along time.
pub(super) fn section(results: &Results) -> String {
    let width = width_s(total_s(results), REPORT_SERIES_POINTS_MAX);
    let stage = Stage {
        bands: Bands::new(results),
        width_s: width,
    };
    let populations = drawn(results);
    let mut out = String::from("<section id=\"time\"><h2>Along time</h2>");
    if width > 1.0 {
        out += &format!(
            "<p>Each point stands for {}: the mean of rates and CPU, the largest of everything else.</p>",
            length(width)
        );
    }
    out += &stage.rate(populations);
    for (index, population) in populations.iter().enumerate() {
        out += &stage.latency(index, population, &latency_axis(populations));
    }
    out += &stage.counts(populations, "Errors", "errors/s", Keep::Largest, |second| {
        second.errors
    });
    out += &stage.counts(
        populations,
        "In flight",
        "requests under way",
        Keep::Largest,
        |second| second.in_flight,
    );
    out += &stage.server(&results.server);
    out + &stage.bands.actions + "</section>\n"
}

/// The populations that are drawn.
pub(super) fn drawn(results: &Results) -> &[Population] {
    let many = results.populations.len().min(REPORT_POPULATIONS_MAX);
    &results.populations[..many]
}

/// What all the plots share.
struct Stage {
    bands: Bands,
    width_s: f64,
}

impl Stage {
    fn rate(&self, populations: &[Population]) -> String {
        let mut lines = Vec::new();
        let mut max: f64 = 0.0;
        let mut series = Vec::new();
        for (index, population) in populations.iter().enumerate() {
            for intended in [true, false] {
                let points = self.points(population, Keep::Mean, |second| {
                    let value = if intended {
                        second.intended
                    } else {
                        second.succeeded
                    };
                    Some(value as f64)
                });
                max = points.iter().map(|point| point.1).fold(max, f64::max);
                series.push((index, intended, points));
            }
        }
        let y = Axis::linear(max);
        for (index, intended, points) in &series {
            let name = &populations[*index].name;
            let (what, word) = if *intended {
                ("halo", "intended")
            } else {
                ("thin", "succeeded")
            };
            let label = if *intended { "" } else { name.as_str() };
            let class = format!("p{index} {what}");
            lines.push(self.line(class, format!("{name} {word}"), points, &y, label, 1.5));
        }
        self.plot(
            "t-rate",
            "",
            "Rate",
            "requests/s",
            "wide and pale: intended; thin: succeeded",
            &y,
            &lines,
            150,
        )
    }

    fn latency(&self, index: usize, population: &Population, y: &Axis) -> String {
        let lines: Vec<Line> = [("p99.9", "q999"), ("p99", "q99"), ("p50", "q50")]
            .into_iter()
            .map(|(name, class)| {
                let points = self.points(population, Keep::Largest, |second| {
                    let value = match class {
                        "q999" => second.p999_ms,
                        "q99" => second.p99_ms,
                        _ => second.p50_ms,
                    };
                    Some(value).filter(|value| *value > 0.0)
                });
                let class = format!("p{index} {class}");
                self.line(class, name.to_owned(), &points, y, name, 1.5)
            })
            .collect();
        self.plot(
            &format!("t-latency-{index}"),
            &format!("p{index}"),
            &format!("Latency of {}", population.name),
            "ms",
            "successes, from the intended start",
            y,
            &lines,
            130,
        )
    }

    fn counts(
        &self,
        populations: &[Population],
        title: &str,
        unit: &str,
        keep: Keep,
        of: fn(&Second) -> u64,
    ) -> String {
        let series: Vec<Vec<(f64, f64)>> = populations
            .iter()
            .map(|population| self.points(population, keep, |second| Some(of(second) as f64)))
            .collect();
        let y = Axis::linear(largest(series.iter().flatten()));
        let lines: Vec<Line> = populations
            .iter()
            .zip(&series)
            .enumerate()
            .map(|(index, (population, points))| {
                let name = &population.name;
                self.line(
                    format!("p{index} dash"),
                    name.clone(),
                    points,
                    &y,
                    name,
                    1.5,
                )
            })
            .collect();
        let id = format!("t-{}", title.to_lowercase().replace(' ', "-"));
        self.plot(&id, "", title, unit, "", &y, &lines, 90)
    }

    fn server(&self, samples: &[ServerSample]) -> String {
        if samples.len() < 2 {
            return "<p class=\"none\">The server's CPU and memory were not sampled: its pid was not known.</p>\n".to_owned();
        }
        let cores = thin(&cores(samples), self.width_s, Keep::Mean);
        let memory: Vec<(f64, f64)> = samples
            .iter()
            .map(|sample| (sample.at_s, sample.rss_bytes as f64 / f64::from(1 << 20)))
            .collect();
        let memory = thin(&memory, self.width_s, Keep::Largest);
        let mut out = String::new();
        for (id, title, unit, points) in [
            ("t-cpu", "Server CPU", "cores", cores),
            ("t-memory", "Server memory", "MiB resident", memory),
        ] {
            let y = Axis::linear(largest(&points));
            // Samples are not exactly a second apart.
            let line = self.line("ink".to_owned(), title.to_owned(), &points, &y, "", 2.5);
            out += &self.plot(id, "", title, unit, "", &y, &[line], 90);
        }
        out
    }

    fn points(
        &self,
        population: &Population,
        keep: Keep,
        of: impl Fn(&Second) -> Option<f64>,
    ) -> Vec<(f64, f64)> {
        let points: Vec<(f64, f64)> = population
            .seconds
            .iter()
            .filter_map(|second| Some((second.second as f64 + 0.5, of(second)?)))
            .collect();
        thin(&points, self.width_s, keep)
    }

    fn line(
        &self,
        class: String,
        name: String,
        points: &[(f64, f64)],
        y: &Axis,
        label: &str,
        gap: f64,
    ) -> Line {
        Line {
            class,
            name,
            path: path(points, &self.bands.axis, y, gap * self.width_s),
            label: label.to_owned(),
            end: points.last().map(|point| y.scale.at(point.1)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a plot has that many texts")]
    fn plot(
        &self,
        id: &str,
        class: &str,
        title: &str,
        unit: &str,
        note: &str,
        y: &Axis,
        lines: &[Line],
        height_px: u32,
    ) -> String {
        Plot {
            id,
            class: &format!("time {class}"),
            title,
            unit,
            note,
            about: "Along the run's time, phases shaded. The summary table has the figures by phase.",
            x: &self.bands.axis,
            y,
            back: &self.bands.svg,
            strip: &self.bands.strip,
            lines,
            height_px,
        }
        .html()
    }
}

/// One latency axis for all populations, so that their plots compare.
fn latency_axis(populations: &[Population]) -> Axis {
    let seconds = || {
        populations
            .iter()
            .flat_map(|population| &population.seconds)
    };
    let min = seconds()
        .map(|second| second.p50_ms)
        .filter(|value| *value > 0.0)
        .fold(f64::INFINITY, f64::min);
    let max = seconds().map(|second| second.p999_ms).fold(0.0, f64::max);
    Axis::log(min, max)
}

fn largest<'a>(points: impl IntoIterator<Item = &'a (f64, f64)>) -> f64 {
    points.into_iter().map(|point| point.1).fold(0.0, f64::max)
}

/// CPU seconds per second between two samples, at the later one. A sum that fell lost a process,
/// and says nothing about that second.
fn cores(samples: &[ServerSample]) -> Vec<(f64, f64)> {
    let pairs = samples.iter().zip(samples.iter().skip(1));
    pairs
        .filter(|(one, next)| next.at_s > one.at_s && next.cpu_s >= one.cpu_s)
        .map(|(one, next)| (next.at_s, (next.cpu_s - one.cpu_s) / (next.at_s - one.at_s)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_skip_a_process_that_ended() {
        let samples: Vec<ServerSample> = [(0.0, 1.0), (1.0, 2.5), (2.0, 0.5), (4.0, 1.5)]
            .into_iter()
            .map(|(at_s, cpu_s)| ServerSample {
                at_s,
                cpu_s,
                rss_bytes: 0,
                processes: 1,
            })
            .collect();
        assert_eq!(cores(&samples), [(1.0, 1.5), (4.0, 0.5)]);
    }
}
