//! The report: well-formed, self-contained, safe against what it quotes, and shown by a browser.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // in a test, a panic is the report

mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::sample;
use quick_xml::Reader;
use quick_xml::events::Event;
use skep_load::report::page;
use skep_load::results::{Results, Validity};

/// What breaks out of text, out of an attribute, and out of a script.
const HOSTILE: &str =
    "\"'><script>document.title='stolen'</script><img src=x onerror=alert(1)>]]>&\0";

/// Sample results with something hostile in every text that comes from outside.
fn hostile() -> Results {
    let mut json = serde_json::to_value(sample::results()).unwrap();
    replace(&mut json, "");
    serde_json::from_value(json).unwrap()
}

/// Adds [`HOSTILE`] to every string but those with a fixed set of values, and to every name of a
/// kind of error.
fn replace(value: &mut serde_json::Value, key: &str) {
    match value {
        serde_json::Value::String(_) if ["kind", "severity", "hdr"].contains(&key) => {}
        serde_json::Value::String(text) => text.push_str(HOSTILE),
        serde_json::Value::Array(all) => all.iter_mut().for_each(|it| replace(it, key)),
        serde_json::Value::Object(all) => {
            if key == "errors" {
                let kinds = std::mem::take(all).into_iter();
                all.extend(kinds.map(|(kind, many)| (format!("{kind}{HOSTILE}"), many)));
            }
            all.iter_mut().for_each(|(key, it)| replace(it, key));
        }
        _ => {}
    }
}

/// Every tag closed, every attribute quoted and there once; the elements and attributes by name.
fn elements(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut reader = Reader::from_str(html);
    let mut elements = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => {
                let attributes = tag.attributes().map(|attribute| {
                    let attribute = attribute.expect("an attribute is well-formed");
                    let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
                    (name, String::from_utf8_lossy(&attribute.value).into_owned())
                });
                let attributes = attributes.collect();
                let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
                elements.push((name, attributes));
            }
            Ok(Event::Eof) => return elements,
            Ok(_) => {}
            Err(error) => {
                let at = reader.error_position() as usize;
                let around = html.get(at.saturating_sub(80)..(at + 80).min(html.len()));
                panic!("{error} at {at}: {around:?}");
            }
        }
    }
}

#[test]
fn the_page_is_well_formed_and_asks_nobody_for_anything() {
    for results in [sample::results(), hostile()] {
        let html = page(&results);
        for (name, attributes) in elements(&html) {
            for (attribute, value) in attributes {
                let loads = [
                    "src",
                    "href",
                    "xlink:href",
                    "action",
                    "data",
                    "poster",
                    "srcset",
                ];
                let inside = value.starts_with('#') || value.starts_with("data:");
                assert!(
                    !loads.contains(&attribute.as_str()) || inside,
                    "{name} {attribute}={value}"
                );
                assert!(!attribute.starts_with("on"), "{name} {attribute}={value}");
            }
        }
        for loads in ["@import", "url(", "fetch(", "XMLHttpRequest", "import("] {
            assert!(!html.contains(loads), "{loads}");
        }
    }
}

#[test]
fn what_comes_from_outside_stays_text() {
    let count = |results: &Results, tag: &str| {
        let elements = elements(&page(results));
        elements.iter().filter(|(name, _)| name == tag).count()
    };
    let hostile = hostile();
    assert_eq!(count(&hostile, "script"), 1);
    assert_eq!(count(&hostile, "img"), 0);
    assert!(!page(&hostile).contains('\0'));
}

#[test]
fn a_minute_of_three_populations_is_small() {
    let bytes = page(&sample::results()).len();
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn a_week_is_thinned_out() {
    let mut results = sample::results();
    results.duration_s = 604_800.0;
    let last = results.phases.last_mut().unwrap();
    last.end_s = 604_800.0;
    for population in &mut results.populations {
        let pattern = population.seconds.clone();
        population.seconds = (0..604_800_usize)
            .map(|second| {
                let mut own = pattern[second % pattern.len()].clone();
                own.second = second as u64;
                own
            })
            .collect();
    }
    let html = page(&results);
    assert!(html.len() < 500_000, "{} bytes", html.len());
    assert!(html.contains("Each point stands for 16 min 48 s"));
}

#[test]
fn the_least_that_can_be_is_still_a_page() {
    let mut results = sample::results();
    results.populations.clear();
    results.phases.clear();
    results.server.clear();
    results.isolation.clear();
    results.objectives.clear();
    results.generators.clear();
    results.preflight.clear();
    results.duration_s = 0.0;
    results.validity = Validity {
        valid: false,
        reasons: vec!["no server answered".to_owned()],
    };
    let html = page(&results);
    elements(&html);
    for text in ["INVALID", "no server answered", "No objectives"] {
        assert!(html.contains(text), "{text}");
    }
    let mut results = sample::results();
    for population in &mut results.populations {
        population.phases.clear();
        population.seconds.clear();
        population.heat.p99_ms.clear();
    }
    elements(&page(&results));
}

fn skep_load(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep-load"));
    command.arg("report").args(arguments).output().unwrap()
}

#[test]
fn the_command_writes_the_page_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (json, html) = (
        directory.path().join("r.json"),
        directory.path().join("r.html"),
    );
    let results = sample::results();
    fs::write(&json, serde_json::to_vec(&results).unwrap()).unwrap();
    let output = skep_load(&[&json, Path::new("-o"), &html]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("r.html: "));
    assert_eq!(fs::read_to_string(&html).unwrap(), page(&results));
}

#[test]
fn the_command_fails_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let (json, absent) = (
        directory.path().join("r.json"),
        directory.path().join("absent/r.html"),
    );
    fs::write(&json, serde_json::to_vec(&sample::results()).unwrap()).unwrap();
    let other = directory.path().join("other.json");
    fs::write(&other, "{\"schema\": 2}").unwrap();
    for (arguments, expected) in [
        ([&absent, &absent], "cannot read"),
        ([&other, &absent], "has schema 2"),
        ([&json, &absent], "cannot write"),
    ] {
        let output = skep_load(&[arguments[0], Path::new("-o"), arguments[1]]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains(expected) && error.lines().count() == 1,
            "{error}"
        );
    }
}

/// Chromium or Chrome: `$CHROMIUM`, or the first on `$PATH`.
fn chromium() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(PathBuf::from(path));
    }
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .flat_map(|name| {
            directories
                .iter()
                .map(move |directory| directory.join(name))
        })
        .find(|candidate| candidate.is_file())
}

/// Runs a headless browser on a page, with a profile of its own.
fn browse(browser: &Path, page: &Path, arguments: &[&str]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--hide-scrollbars", "--force-device-scale-factor=1"])
        .args(["--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(":CONSOLE"))
        .collect();
    assert!(
        said.is_empty(),
        "the page's console is not silent: {said:?}"
    );
    output
}

/// Width, height, and how many different colours a screenshot has.
fn colours(path: &Path) -> (u32, u32, usize) {
    let decoder = png::Decoder::new(Cursor::new(fs::read(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let each = info.color_type.samples();
    let different: std::collections::HashSet<&[u8]> = pixels.chunks_exact(each).collect();
    (info.width, info.height, different.len())
}

/// `$REPORT_SHOTS` keeps the pictures, for a person to look at.
#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = chromium() else {
        eprintln!("SKIPPED a_browser_shows_the_page: no chromium on PATH, and CHROMIUM is not set");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let shots = std::env::var_os("REPORT_SHOTS").map(PathBuf::from);
    let shots = shots.unwrap_or_else(|| directory.path().to_owned());
    for (name, results) in [("sample", sample::results()), ("hostile", hostile())] {
        let html = shots.join(format!("{name}.html"));
        fs::write(&html, page(&results)).unwrap();

        // Blink's own switch: 0 is dark, 1 is light.
        for (scheme, value) in [("light", 1), ("dark", 0)] {
            for (width, height) in [(1280, 5200), (420, 6400)] {
                let png = shots.join(format!("{name}-{scheme}-{width}.png"));
                browse(
                    &browser,
                    &html,
                    &[
                        &format!("--screenshot={}", png.display()),
                        &format!("--window-size={width},{height}"),
                        &format!("--blink-settings=preferredColorScheme={value}"),
                    ],
                );
                let (wide, high, different) = colours(&png);
                assert_eq!((wide, high), (width, height), "{}", png.display());
                assert!(different > 50, "{different} colours in {}", png.display());
            }
        }

        let dom = browse(&browser, &html, &["--dump-dom"]);
        let dom = String::from_utf8_lossy(&dom.stdout);
        for text in [
            "noisy-neighbour",
            "Valid",
            "victims",
            "p99.9",
            "Isolation",
            "killed pid 4711",
        ] {
            assert!(dom.contains(text), "{name}: {text}");
        }
        // The script ran to its end: it takes the titles of the plots away.
        assert!(!dom.contains("<title id=\"heat-2-t\">"), "{name}");
        assert!(
            !dom.contains("<title>stolen"),
            "{name}: a text from outside ran"
        );
    }
}
