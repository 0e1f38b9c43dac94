//! What is tried: `tuning/search/space.toml`, or a file like it, checked against a profile's keys.
//!
//! ```text
//! [[key]]
//! name = "slice_us"
//! values = [500, 2000]
//! with = { tick_us = [250, 1000] }     moves along: one value for each of `values`
//! why = "…"
//!                 └──► slice_us=500 (tick_us=250),  slice_us=2000 (tick_us=1000)
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Spanned, Value};

use super::candidate::{Change, Setting};
use crate::config::limits::TUNE_SEARCH_CANDIDATES_MAX;
use crate::config::profile::{KEYS, Key};
use crate::config::{Errors, Report, read_shape, read_text};

/// The built-in space: its name in messages, and its text.
const BUILT_IN: (&str, &str) = (
    "tuning/search/space.toml",
    include_str!("../../../tuning/search/space.toml"),
);

/// Every change that is tried.
#[derive(Clone, Debug, Serialize)]
pub struct Space {
    /// The file.
    pub file: PathBuf,
    /// Its keys, in its order.
    pub keys: Vec<SpaceKey>,
}

/// One key of a space.
#[derive(Clone, Debug, Serialize)]
pub struct SpaceKey {
    /// Its name.
    pub name: String,
    /// One change for each of its values.
    pub changes: Vec<Change>,
    /// Why it is worth trying.
    pub why: String,
}

impl Space {
    /// The built-in space, or that of a file.
    ///
    /// # Errors
    /// Everything wrong with it, with the lines of its file.
    pub fn load(file: Option<&Path>) -> Result<Space, Errors> {
        match file {
            Some(path) => Space::read(path, &read_text(path)?),
            None => Space::read(Path::new(BUILT_IN.0), BUILT_IN.1),
        }
    }

    fn read(path: &Path, text: &str) -> Result<Space, Errors> {
        let mut report = Report::new(path, text);
        let raw = read_shape::<File>(&mut report, text);
        let mut keys: Vec<SpaceKey> = Vec::new();
        for raw in raw.iter().flat_map(|file| &file.key) {
            let key = check(&mut report, raw.get_ref());
            if keys.iter().any(|known| known.name == key.name) {
                let at = Some(raw.span());
                report.place(at, path_of(&key.name, ""), "named twice", "each key once");
            }
            keys.push(key);
        }
        let count: usize = keys.iter().map(|key| key.changes.len()).sum();
        if keys.is_empty() && report.is_clean() {
            let right = "a [[key]] with name, values and why";
            report.place(None, "", "nothing to try", right);
        }
        if count > TUNE_SEARCH_CANDIDATES_MAX {
            let wrong = format!("{count} values in all");
            let right = format!("at most {TUNE_SEARCH_CANDIDATES_MAX}");
            report.place(None, "", wrong, right);
        }
        report.finish(Space {
            file: path.to_owned(),
            keys,
        })
    }

    /// Every change, in the order of the file.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.keys.iter().flat_map(|key| &key.changes)
    }
}

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: Vec<Spanned<Raw>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    values: Spanned<Vec<Spanned<Value>>>,
    #[serde(default)]
    with: BTreeMap<Spanned<String>, Spanned<Vec<Spanned<Value>>>>,
    why: String,
}

fn path_of(name: &str, below: &str) -> String {
    format!("key.{name}{below}")
}

/// Turns one entry into changes, and says what is wrong with it.
fn check(report: &mut Report<'_>, raw: &Raw) -> SpaceKey {
    let name = raw.name.get_ref();
    check_values(report, name, "", &raw.name, &raw.values);
    let count = raw.values.get_ref().len();
    if count == 0 {
        let right = "at least one value";
        report.value(raw.values.span(), path_of(name, ".values"), "empty", right);
    }
    for (other, values) in &raw.with {
        let below = format!(".with.{}", other.get_ref());
        check_values(report, name, &below, other, values);
        if count > 0 && values.get_ref().len() != count {
            let right = format!("{count} values, one for each of `values`");
            report.value(values.span(), path_of(name, &below), "does not fit", right);
        }
        if other.get_ref() == name {
            let right = "other keys, which move along";
            let at = Some(other.span());
            report.place(at, path_of(name, &below), "moves with itself", right);
        }
    }
    let changes = raw.values.get_ref().iter().enumerate();
    SpaceKey {
        name: name.clone(),
        changes: changes
            .map(|(index, value)| Change {
                main: setting(name, value),
                along: raw
                    .with
                    .iter()
                    .filter_map(|(key, values)| {
                        let value = values.get_ref().get(index)?;
                        Some(setting(key.get_ref(), value))
                    })
                    .collect(),
            })
            .collect(),
        why: raw.why.clone(),
    }
}

fn setting(key: &str, value: &Spanned<Value>) -> Setting {
    Setting {
        key: key.to_owned(),
        value: value.get_ref().clone(),
    }
}

/// Holds values to the range of the profile's key.
fn check_values(
    report: &mut Report<'_>,
    name: &str,
    below: &str,
    key: &Spanned<String>,
    values: &Spanned<Vec<Spanned<Value>>>,
) {
    let Some(known) = KEYS.iter().find(|known| known.name == key.get_ref()) else {
        let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        let right = format!("a key of a profile: {}", known.join(", "));
        let at = Some(key.span());
        report.place(at, path_of(name, below), "unknown key", right);
        return;
    };
    let below = match below {
        "" => ".values",
        below => below,
    };
    for value in values.get_ref() {
        if let Err(wrong) = Key::check(known, value.get_ref()) {
            report.value(value.span(), path_of(name, below), wrong, known.range());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[key]]\nname = 'slice_us'\nvalues = [500, 2000]\nwith = { tick_us = [250, 1000] }\nwhy = ''\n";

    fn read(text: &str) -> Result<Space, String> {
        Space::read(Path::new("s.toml"), text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_built_in_space_is_right() {
        let space = Space::load(None).unwrap();
        assert!(space.keys.len() >= 10);
        assert!(space.keys.iter().all(|key| !key.why.is_empty()));
    }

    #[test]
    fn values_and_what_moves_along() {
        let space = read(GOOD).unwrap();
        let labels: Vec<_> = space.changes().map(ToString::to_string).collect();
        assert_eq!(labels, ["slice_us=500", "slice_us=2000"]);
        let along: Vec<_> = space
            .changes()
            .map(|change| change.along[0].to_string())
            .collect();
        assert_eq!(along, ["tick_us=250", "tick_us=1000"]);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (
                "'slice_us'",
                "'slice'",
                "s.toml:2: key.slice: unknown key; a key of a profile: slots,",
            ),
            (
                "2000]",
                "20000]",
                "s.toml:3: key.slice_us.values: out of range (got 20000); 100 to 10000 µs",
            ),
            (
                "2000]",
                "true]",
                "s.toml:3: key.slice_us.values: wrong type (got true); 100 to",
            ),
            (
                "[500, 2000]",
                "[]",
                "s.toml:3: key.slice_us.values: empty (got []); at least",
            ),
            (
                "tick_us =",
                "tick =",
                "s.toml:4: key.slice_us.with.tick: unknown key;",
            ),
            (
                "[250, 1000]",
                "[250]",
                "s.toml:4: key.slice_us.with.tick_us: does not fit (got [250]); 2 values,",
            ),
            (
                "[250, 1000]",
                "[250, 9000]",
                "s.toml:4: key.slice_us.with.tick_us: out of range (got 9000); 50 to",
            ),
            (
                "tick_us =",
                "slice_us =",
                "s.toml:4: key.slice_us.with.slice_us: moves with itself",
            ),
            ("why = ''", "", "s.toml:1: key.slice_us: missing key why"),
            (
                "why = ''",
                "why = ''\nbecause = ''",
                "s.toml:6: key.slice_us.because: unknown key; known here: name,",
            ),
        ];
        for (from, to, expected) in cases {
            let error = read(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.starts_with(expected), "{to}: {error}");
        }
        let twice = read(&format!("{GOOD}{GOOD}")).unwrap_err();
        assert!(twice.starts_with("s.toml:6: key.slice_us: named twice"));
        assert!(read("key = []").unwrap_err().contains("nothing to try"));
    }

    #[test]
    fn at_most_so_many() {
        let many = |count: usize| {
            let values: Vec<_> = (1..=count).map(|value| value.to_string()).collect();
            let list = values.join(", ");
            read(&format!(
                "[[key]]\nname = 'warm_slots'\nvalues = [{list}]\nwhy = ''\n"
            ))
        };
        assert!(many(TUNE_SEARCH_CANDIDATES_MAX).is_ok());
        let error = many(TUNE_SEARCH_CANDIDATES_MAX + 1).unwrap_err();
        assert!(error.contains("129 values in all; at most 128"), "{error}");
    }
}
