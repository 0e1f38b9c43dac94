//! The scenarios that come with the harness are right, and documented.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use skep_load::results::PhaseKind;
use skep_load::scenario::{self, Scenario, Settings};

fn shipped() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn load(path: &Path) -> Scenario {
    scenario::load(path, Path::new("/nowhere"), &Settings::default())
        .unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()))
}

#[test]
fn each_is_valid_brings_its_server_and_has_objectives() {
    let files = shipped();
    assert_eq!(files.len(), 10);
    for path in files {
        let scenario = load(&path);
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), scenario.name);
        assert!(
            scenario.server.is_some() && !scenario.about.is_empty(),
            "{}",
            scenario.name
        );
        assert!(
            scenario
                .populations
                .iter()
                .any(|population| !population.objectives.is_empty()),
            "{}",
            scenario.name
        );
        assert!(
            scenario
                .phases
                .iter()
                .any(|phase| phase.kind == PhaseKind::Measure),
            "{}",
            scenario.name
        );
    }
}

#[test]
fn every_host_that_is_asked_for_is_served() {
    for path in shipped() {
        let scenario = load(&path);
        let configuration = &scenario.server.as_ref().unwrap().files[0].1;
        for population in &scenario.populations {
            for host in [population.hosts.first(), population.hosts.last()] {
                let quoted = format!("\"{}\"", host.unwrap());
                assert!(
                    configuration.contains(&quoted),
                    "{}: {quoted}",
                    scenario.name
                );
            }
        }
    }
}

#[test]
fn each_is_in_the_guide_with_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("../docs/LOADTEST.md")).unwrap();
    for path in shipped() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(guide.contains(&format!("| `{name}` | ")), "{name}");
    }
}

/// The scenario of the guide is not a sketch.
#[test]
fn the_guides_scenario_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(root.join("../docs/LOADTEST.md")).unwrap();
    let text = guide
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    scenario::of_text(
        "guide",
        text,
        PathBuf::new(),
        Path::new("/nowhere"),
        &Settings::default(),
    )
    .unwrap_or_else(|wrong| panic!("{wrong}"));
}
