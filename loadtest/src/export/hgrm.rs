//! The percentile distribution as `outputPercentileDistribution` of HdrHistogram prints it.
//!
//! Column widths, digits and the two last forms of a line are those of the Java library
//! (`AbstractHistogram.java`), with five steps per half distance as its log processor takes.

use std::io::{self, Write};

use crate::histogram::Latency;

/// Recorded are nanoseconds, shown are milliseconds.
const NS_PER_MS: f64 = 1e6;

/// Steps while the distance to 100 % halves once.
const STEPS_PER_HALF: u32 = 5;

/// Slots of a histogram of three significant digits, within each power of two.
const SUB_BUCKETS: u32 = 2048;

/// Writes one histogram.
pub(super) fn write(latency: &Latency, out: &mut impl Write) -> io::Result<()> {
    let histogram = latency.inner();
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in histogram.iter_quantiles(STEPS_PER_HALF) {
        total += step.count_since_last_iteration();
        let value_ms = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value_ms:12.3} {quantile:.12} {total:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
        histogram.mean() / NS_PER_MS,
        histogram.stdev() / NS_PER_MS
    )?;
    writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        histogram.max() as f64 / NS_PER_MS,
        histogram.len()
    )?;
    writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {SUB_BUCKETS:12}]",
        histogram.buckets()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_a_distribution_without_lines() {
        let mut text = Vec::new();
        write(&Latency::new(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(
            lines[3],
            "#[Max     =        0.000, Total count    =            0]"
        );
    }
}
