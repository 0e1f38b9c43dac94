//! Documents that are generated from the code say what the code says.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)] // in a test, a panic is the report

use std::path::Path;

fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("SKEP_BLESS").is_some() {
        std::fs::write(&path, expected).expect("docs can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is not what the code says; `SKEP_BLESS=1 cargo test --release --test docs` writes it"
    );
}

#[test]
fn tuning() {
    let text = skep::tune::docs::markdown().expect("built-in settings");
    check("TUNING.md", &text);
}

#[test]
fn faults() {
    let text = format!(
        "# What can go wrong with a request\n\n\
         An answer that no program gave has the header fields `x-skep-fault` (whose fault it was) and\n\
         `x-skep-reason` (a stable code, the same as in the access log), and a body of one line. Status 499 is\n\
         only logged, never sent. When a response's head is out already, the connection is closed instead, and\n\
         the access log has the reason.\n\n{}",
        skep::fault::table_markdown()
    );
    check("FAULTS.md", &text);
}

/// A profile that a search found is one that `serve` takes, and the one that the README shows.
#[test]
fn found_profiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let profile = skep::config::Profile::find("./tuning/found/isolation.toml", root)
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((profile.slice_us, profile.tick_us), (250, 125));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("a README");
    let text = std::fs::read_to_string(root.join("tuning/found/isolation.toml")).expect("a file");
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        assert!(readme.contains(line), "{line}");
    }
}
