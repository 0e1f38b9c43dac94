//! What `export` writes, against files that other HdrHistogram tools have read.
//!
//! `golden/` was written by `export` and then read by hand with two public tools:
//!
//! * `hdr-histogram-js` 3.0.1 (npm, the HdrHistogram project's own): `HistogramLogReader` found both
//!   intervals of `victims.hlog` with their tags, times and counts, and
//!   `outputPercentileDistribution(5, 1e6)` of the second is `victims-measure.hgrm` byte for byte;
//! * `hdrhistogram` 0.10.8 (PyPI): `HistogramLogReader` found the same intervals, counts, medians
//!   and maxima. (Its percentile steps are not those of the other libraries.)
//!
//! `SKEP_LOAD_NEW_GOLDEN=1` writes them anew; then read them by hand again.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "common/runs.rs"]
mod runs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use skep_load::export;
use skep_load::histogram::Latency;
use skep_load::results::Results;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Latencies from 1 µs to 10 s, most of them short.
fn results() -> Results {
    let latencies: Vec<u64> = (0..10_000u64)
        .map(|at| 1_000 + at * 137 + if at % 500 == 0 { at * 1_000_000 } else { 0 })
        .collect();
    let mut results = runs::run();
    results.populations = vec![runs::population("victims", &latencies)];
    results
}

/// Tag, start, length and histogram of each interval.
fn intervals(log: &[u8]) -> Vec<(String, Duration, Duration, Latency)> {
    IntervalLogIterator::new(log)
        .filter_map(|entry| match entry.unwrap() {
            LogEntry::Interval(interval) => Some((
                interval.tag().unwrap().as_str().to_owned(),
                interval.start_timestamp(),
                interval.duration(),
                Latency::decode(interval.encoded_histogram()).unwrap(),
            )),
            LogEntry::StartTime(at) | LogEntry::BaseTime(at) => {
                assert_eq!(at.as_secs(), 1_800_000_000);
                None
            }
        })
        .collect()
}

#[test]
fn files_are_those_that_other_tools_have_read() {
    let directory = tempfile::tempdir().unwrap();
    let results = results();
    let written = export::write(&results, directory.path()).unwrap();
    let names: Vec<&str> = written
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "victims-warm-up.hgrm",
            "victims-measure.hgrm",
            "victims.hlog"
        ]
    );
    for name in ["victims-measure.hgrm", "victims.hlog"] {
        if std::env::var_os("SKEP_LOAD_NEW_GOLDEN").is_some() {
            std::fs::copy(directory.path().join(name), golden(name)).unwrap();
        }
    }

    let [hgrm, hlog] = ["victims-measure.hgrm", "victims.hlog"].map(|name| {
        let new = std::fs::read(directory.path().join(name)).unwrap();
        (new, std::fs::read(golden(name)).unwrap())
    });
    assert_eq!(
        String::from_utf8(hgrm.0).unwrap(),
        String::from_utf8(hgrm.1).unwrap()
    );
    // The compressed bytes may differ between versions of the compressor; what they hold may not.
    let text = String::from_utf8(hlog.0.clone()).unwrap();
    assert!(text.contains("\n#[Histogram log format version 1.3]\n#[StartTime: 1800000000.000 "));
    assert!(text.contains(
        "\n\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
    ));
    let (new, old) = (intervals(&hlog.0), intervals(&hlog.1));
    assert_eq!(new, old);
    let seconds = Duration::from_secs(runs::PHASE_S);
    let (tag, start, length, latency) = &new[1];
    assert_eq!(
        (tag.as_str(), *start, *length),
        ("victims/measure", seconds, seconds)
    );
    assert_eq!(*latency, results.populations[0].phases[1].latency);
}

#[test]
fn the_command_names_what_it_wrote_and_what_it_could_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("results.json");
    std::fs::write(&file, serde_json::to_vec(&results()).unwrap()).unwrap();
    let export = |output: &Path| {
        Command::new(env!("CARGO_BIN_EXE_skep-load"))
            .arg("export")
            .arg(&file)
            .arg("-o")
            .arg(output)
            .output()
            .unwrap()
    };
    let done = export(&directory.path().join("new/out"));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(String::from_utf8(done.stdout).unwrap().lines().count(), 3);
    let failed = export(&file);
    let message = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        message.starts_with("skep-load: cannot create "),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
}
