//! Attacks: guests and clients that mean harm, by threat. Each has to be answered as `README.md` says, and
//! while it lasts, a victim on the same core has to be served.
//!
//! ```text
//!   attacker ─┐                         ┌─ its answer, or how its connection ended
//!   attacker ─┼─► one worker, one core ─┤
//!   victim   ─┘                         └─ 200, every time, in time
//! ```
//!
//! `CASE=spin` runs one case. [`arena`] says what is checked of the host after each attack, and of its log.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "../common/mod.rs"]
mod common;

mod arena;
mod case;
mod made;
mod victim;

mod answers;
mod clients;
mod clocks;
mod components;
mod cpu;
mod hostcalls;
mod logs;
mod memory;
mod pool;
mod reuse;
mod smuggling;
mod traps;

use case::Threat;

/// Every threat, in the order of the table.
const THREATS: &[&Threat] = &[
    &cpu::THREAT,
    &memory::THREAT,
    &hostcalls::THREAT,
    &logs::THREAT,
    &traps::THREAT,
    &answers::THREAT,
    &components::THREAT,
    &reuse::THREAT,
    &pool::THREAT,
    &clients::THREAT,
    &clocks::THREAT,
];

/// Fewer would not be a corpus.
const CASES_MIN: usize = 60;

#[test]
fn there_are_enough_cases_and_each_has_a_name_of_its_own() {
    let names: Vec<_> = THREATS
        .iter()
        .flat_map(|threat| threat.cases.iter().map(|case| case.name))
        .collect();
    eprintln!(
        "attacks: {} cases of {} threats",
        names.len(),
        THREATS.len()
    );
    assert!(names.len() >= CASES_MIN, "{}", names.len());
    for threat in THREATS {
        let mut names: Vec<_> = threat.cases.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), threat.cases.len(), "{}", threat.name);
    }
}

/// `SKEP_BLESS=1` writes the table.
#[test]
fn the_readme_lists_every_case_with_its_answer() {
    let mut table = String::from("| threat | case | attack | answer |\n|---|---|---|---|\n");
    for threat in THREATS {
        for case in threat.cases {
            table.push_str(&format!(
                "| {} | `{}` | {} | {} |\n",
                threat.name, case.name, case.what, case.answer
            ));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attacks/README.md");
    let text = std::fs::read_to_string(path).expect("README.md");
    let (prose, listed) = text.split_once("| threat |").expect("a table");
    if std::env::var_os("SKEP_BLESS").is_some() {
        std::fs::write(path, format!("{prose}{table}")).expect("writing README.md");
        return;
    }
    assert_eq!(
        format!("| threat |{listed}"),
        table,
        "SKEP_BLESS=1 writes it"
    );
}
