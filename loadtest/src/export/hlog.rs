//! An interval log of compressed histograms, format 1.3: one line a phase, tagged `population/phase`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::results::{Phase, Population, Results};

/// Readers skip this line by how it begins, so it is no comment.
const LEGEND: &str =
    r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;

/// The largest value of each line is shown in milliseconds; the histograms hold nanoseconds.
const NS_PER_MS: f64 = 1e6;

/// Writes a population's log. Times are seconds since the first phase's start.
pub(super) fn write(
    results: &Results,
    population: &Population,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(results.started_unix_s);
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment(&format!(
            "[Latency in ns of {} of scenario {}, by skep-load {}]",
            population.name, results.scenario, results.tool_version
        ))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(started)
        .with_base_time(started);
    builder.begin_log_with(out, &mut serializer)?;
    writeln!(out, "{LEGEND}")?;

    // A second builder, since the crate's first one leaves no room for the legend behind the header.
    let mut lines = IntervalLogWriterBuilder::new();
    let mut log = lines
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(out, &mut serializer)?;
    for figures in &population.phases {
        let phase = results
            .phases
            .iter()
            .find(|phase| phase.name == figures.phase);
        let tag = tag(&population.name, &figures.phase);
        log.write_histogram(
            figures.latency.inner(),
            seconds(phase.map_or(0.0, |phase| phase.start_s)),
            seconds(phase.map_or(figures.seconds, length_s)),
            Tag::new(&tag),
        )?;
    }
    Ok(())
}

fn length_s(phase: &Phase) -> f64 {
    phase.end_s - phase.start_s
}

/// What is no duration counts as none.
fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

/// A comma or white space would end the tag.
fn tag(population: &str, phase: &str) -> String {
    format!("{population}/{phase}")
        .chars()
        .map(|letter| {
            if letter == ',' || letter.is_whitespace() || letter.is_control() {
                '_'
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_nothing_that_ends_them() {
        for (population, phase, expected) in [
            ("victims", "warm-up", "victims/warm-up"),
            ("a,b c", "d\r\n", "a_b_c/d__"),
        ] {
            let tag = tag(population, phase);
            assert_eq!(tag, expected);
            assert!(Tag::new(&tag).is_some());
        }
    }
}
