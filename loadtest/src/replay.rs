//! Recorded access logs, to be sent again: JSON lines, or the combined log format.
//!
//! ```text
//! {"time": 1764000000.125, "host": "a.test", "method": "GET", "path": "/x"}
//! 203.0.113.9 - - [27/Nov/2026:12:00:00 +0000] "GET /x HTTP/1.1" 200 512
//! ```
//!
//! Of JSON, `time` (seconds since 1970, fractions count), `host`, `method` and `path` or `target` are
//! read, and other keys ignored; so a log of `skep serve` is read as it is. The combined format names
//! no host and counts whole seconds: its requests go to `localhost`, spread evenly over each second.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

use crate::limits;
use crate::scenario::validate;
use crate::scenario::{Body, Expect, ReplayEntry, Request};

/// A log that was read.
#[derive(Debug, Default)]
pub struct Log {
    /// In order of time.
    pub entries: Vec<ReplayEntry>,
    /// Its hosts.
    pub hosts: Vec<Box<str>>,
    /// Its methods and paths.
    pub requests: Vec<Request>,
}

#[derive(Deserialize)]
struct Line {
    time: f64,
    host: Option<String>,
    method: Option<String>,
    #[serde(alias = "target")]
    path: Option<String>,
}

impl Line {
    /// Whether it is a request that this harness would write: what was malformed then is not sent again.
    fn can_be_sent(&self) -> bool {
        let or = |text: &Option<String>, right: fn(&str) -> bool| text.as_deref().is_none_or(right);
        or(&self.host, validate::is_token)
            && or(&self.method, validate::is_token)
            && or(&self.path, validate::is_path)
    }
}

/// Reads a log.
///
/// # Errors
/// A sentence naming file and line: unreadable, no request in it, or more than the harness keeps.
pub fn read(path: &Path) -> Result<Log, String> {
    let shown = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    let mut lines = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let at = index + 1;
        let line = line.map_err(|error| format!("{shown}:{at}: {error}"))?;
        if line.trim().is_empty() {
            continue;
        }
        if lines.len() == limits::REPLAY_LINES_MAX {
            return Err(format!(
                "{shown}: more than {} lines; cut it",
                limits::REPLAY_LINES_MAX
            ));
        }
        let parsed = if line.starts_with('{') {
            json(&line)
        } else {
            combined(&line)
        };
        match parsed {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => {}
            Err(why) => return Err(format!("{shown}:{at}: {why}")),
        }
    }
    spread_whole_seconds(&mut lines);
    lines.sort_by(|a, b| a.time.total_cmp(&b.time));
    let log = collect(&lines)?;
    if log.entries.is_empty() {
        return Err(format!(
            "{shown}: no request in it; one JSON object or combined log line each"
        ));
    }
    Ok(log)
}

/// A line that is JSON but no request, such as a program's output, is none.
fn json(line: &str) -> Result<Option<Line>, String> {
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let path = value.get("path").or(value.get("target"));
    if path.and_then(serde_json::Value::as_str).is_none() {
        return Ok(None);
    }
    serde_json::from_value(value)
        .map(Some)
        .map_err(|error| format!("{error}; a request has time, host, method and path"))
}

fn combined(line: &str) -> Result<Option<Line>, String> {
    let wrong = || "neither JSON nor a combined log line".to_owned();
    let (_, rest) = line.split_once('[').ok_or_else(wrong)?;
    let (date, rest) = rest.split_once(']').ok_or_else(wrong)?;
    let request = rest.split('"').nth(1).ok_or_else(wrong)?;
    let mut words = request.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !path.starts_with('/') {
        // What was no request then is none now.
        return Ok(None);
    }
    Ok(Some(Line {
        time: clf_time(date)
            .ok_or_else(|| format!("\"{date}\" is no time such as 27/Nov/2026:12:00:00 +0000"))?,
        host: None,
        method: Some(method.to_owned()),
        path: Some(path.to_owned()),
    }))
}

/// Seconds since 1970 of `27/Nov/2026:12:00:00 +0100`.
fn clf_time(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (date, zone) = text.split_once(' ')?;
    let mut parts = date.split(['/', ':']);
    let day: i64 = parts.next()?.parse().ok()?;
    let month_name = parts.next()?;
    let month = 1 + MONTHS.iter().position(|month| *month == month_name)? as i64;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = 0;
    for _ in 0..3 {
        clock = clock * 60 + parts.next()?.parse::<i64>().ok()?;
    }
    let zone: i64 = zone.parse().ok()?;
    let offset = (zone / 100 * 60 + zone % 100) * 60;
    // Days of the civil calendar, counted from March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468;
    Some((days * 86_400 + clock - offset) as f64)
}

/// Requests of one whole second are spread over it; otherwise all would be due at once.
fn spread_whole_seconds(lines: &mut [Line]) {
    if lines.iter().any(|line| line.time.fract() != 0.0) {
        return;
    }
    let mut counts: HashMap<u64, (u32, u32)> = HashMap::new();
    for line in lines.iter() {
        counts.entry(line.time as u64).or_default().0 += 1;
    }
    for line in lines {
        let (all, seen) = counts.entry(line.time as u64).or_default();
        line.time += f64::from(*seen) / f64::from(*all);
        *seen += 1;
    }
}

fn collect(lines: &[Line]) -> Result<Log, String> {
    let mut log = Log::default();
    let mut hosts: HashMap<&str, u32> = HashMap::new();
    let mut requests: HashMap<(&str, &str), u16> = HashMap::new();
    let first = lines.first().map_or(0.0, |line| line.time);
    for line in lines.iter().filter(|line| line.can_be_sent()) {
        let host = line.host.as_deref().unwrap_or("localhost");
        let host = *hosts.entry(host).or_insert_with(|| {
            log.hosts.push(host.into());
            log.hosts.len() as u32 - 1
        });
        let method = line.method.as_deref().unwrap_or("GET");
        let path = line.path.as_deref().unwrap_or("/");
        let known = requests.len();
        let request = match requests.entry((method, path)) {
            std::collections::hash_map::Entry::Occupied(entry) => *entry.get(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let index = u16::try_from(known)
                    .map_err(|_| "more than 65,536 different paths; cut the log".to_owned())?;
                log.requests.push(request_of(method, path));
                *entry.insert(index)
            }
        };
        log.entries.push(ReplayEntry {
            at_ns: ((line.time - first) * 1e9) as u64,
            host,
            request,
        });
    }
    Ok(log)
}

/// A log does not say which status is right: any but the server's own errors is.
fn request_of(method: &str, path: &str) -> Request {
    Request {
        name: format!("{method} {path}"),
        weight: 1.0,
        method: method.to_owned(),
        path: path.replace('{', "%7B"),
        headers: Vec::new(),
        body: Body::Empty,
        expect: Expect {
            statuses: (200..500).collect(),
            body_bytes: None,
            headers: Vec::new(),
            body: None,
            body_contains: None,
        },
        pace: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Log, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn json_lines_keep_their_times_and_hosts() {
        let log = of("{\"time\":10.5,\"host\":\"b.test\",\"method\":\"GET\",\"path\":\"/1\",\"status\":200}\n\
            {\"kind\":\"output\",\"time\":10.2,\"text\":\"hi\"}\n\
            {\"time\":10.25,\"host\":\"a.test\",\"method\":\"POST\",\"target\":\"/2\"}\n").unwrap();
        assert_eq!(log.hosts, ["a.test".into(), "b.test".into()]);
        let times: Vec<(u64, u32)> = log
            .entries
            .iter()
            .map(|entry| (entry.at_ns, entry.host))
            .collect();
        assert_eq!(times, [(0, 0), (250_000_000, 1)]);
        assert_eq!(log.requests[0].method, "POST");
    }

    #[test]
    fn combined_lines_are_spread_over_their_second() {
        let line = |second: u32| {
            format!(
                "1.2.3.4 - - [27/Nov/2026:12:00:{second:02} +0100] \"GET /a HTTP/1.1\" 200 5 \"-\" \"x\"\n"
            )
        };
        let log = of(&format!("{}{}{}", line(0), line(0), line(1))).unwrap();
        let times: Vec<u64> = log.entries.iter().map(|entry| entry.at_ns).collect();
        assert_eq!(times, [0, 500_000_000, 1_000_000_000]);
    }

    #[test]
    fn times_of_the_combined_format() {
        for (text, expected) in [
            ("01/Jan/1970:00:00:00 +0000", Some(0.0)),
            ("29/Feb/2024:12:34:56 +0000", Some(1_709_210_096.0)),
            ("27/Nov/2026:12:00:00 +0100", Some(1_795_777_200.0)),
            ("27/Nov/2026:12:00:00 -0530", Some(1_795_800_600.0)),
            ("27/Nix/2026:12:00:00 +0000", None),
            ("yesterday", None),
        ] {
            assert_eq!(clf_time(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_log_names_its_line() {
        for (text, part) in [
            ("", "no request in it"),
            ("\n\nhello", ":3: neither JSON nor"),
            ("{\"time\":\"x\",\"path\":\"/\"}", ":1: invalid type"),
            ("{", ":1: not JSON"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
