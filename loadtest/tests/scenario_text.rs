//! The text of a scenario that results quote is the same wherever and whenever it was run.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use skep_load::scenario::{Settings, load};

#[test]
fn directories_are_left_out_and_other_variables_are_filled_in() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/hello.toml");
    let texts: Vec<String> = ["one", "other"]
        .iter()
        .map(|work| {
            let scenario = load(&shipped, Path::new(work), &Settings::default()).unwrap();
            let server = scenario.server.unwrap();
            assert!(server.command.contains(&format!("{work}/skep.toml")));
            scenario.text
        })
        .collect();
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].contains("\"${dir}/skep.toml\""));
    assert!(texts[0].contains("target = \"127.0.0.1:8099\""));
}
