//! Candidates: the base profile with one change, or with several.
//!
//! ```text
//! singles        a=1   a=2   b=1   c=1          every change of the space alone
//! better alone          a=2   b=1   c=1         one value a key, the best
//! combinations   a=2+b=1  a=2+c=1  b=1+c=1  a=2+b=1+c=1
//! ```

use std::fmt;

use serde::Serialize;
use toml::Value;

/// A key of a profile with a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// One key set to one value, with the keys that move along.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The key that is tried.
    pub main: Setting,
    /// What has to move with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub along: Vec<Setting>,
}

impl Change {
    /// The key that is tried, then what moves along.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        std::iter::once(&self.main).chain(&self.along)
    }

    /// Whether both set the same key.
    fn meets(&self, other: &Change) -> bool {
        let mut mine = self.settings();
        mine.any(|it| other.settings().any(|its| its.key == it.key))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.main.fmt(f)
    }
}

/// A profile that is tried: the base with these changes. Without any it is the base itself, the
/// control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// What differs from the base; no two of them set the same key.
    pub changes: Vec<Change>,
}

impl Candidate {
    /// The base itself.
    pub fn control() -> Candidate {
        Candidate {
            changes: Vec::new(),
        }
    }

    /// The base with one change.
    pub fn single(change: &Change) -> Candidate {
        Candidate {
            changes: vec![change.clone()],
        }
    }

    /// Whether it is the base itself.
    pub fn is_control(&self) -> bool {
        self.changes.is_empty()
    }

    /// What it is called in tables: `slice_us=500 warm_slots=128`, or the base's name.
    pub fn label(&self, base: &str) -> String {
        if self.is_control() {
            return base.to_owned();
        }
        let changes: Vec<_> = self.changes.iter().map(Change::to_string).collect();
        changes.join(" ")
    }

    /// Its profile file, which extends `base`.
    pub fn profile(&self, base: &str) -> String {
        let mut text = format!("extends = {}\n", Value::from(base));
        for setting in self.changes.iter().flat_map(Change::settings) {
            text.push_str(&format!("{} = {}\n", setting.key, setting.value));
        }
        text
    }
}

/// Pairs, and all together, of changes that are better alone; the best first, and at most `max` of
/// them. Of changes that set the same key only the first takes part.
pub fn combinations(better: &[Change], max: usize) -> Vec<Candidate> {
    let mut parts: Vec<&Change> = Vec::new();
    for change in better {
        if parts.len() < max && !parts.iter().any(|part| part.meets(change)) {
            parts.push(change);
        }
    }
    let mut found = Vec::new();
    for (index, first) in parts.iter().enumerate() {
        for second in &parts[index + 1..] {
            found.push(Candidate {
                changes: vec![(*first).clone(), (*second).clone()],
            });
        }
    }
    if parts.len() > 2 {
        found.push(Candidate {
            changes: parts.into_iter().cloned().collect(),
        });
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn change(key: &str, value: i64) -> Change {
        Change {
            main: Setting {
                key: key.to_owned(),
                value: value.into(),
            },
            along: Vec::new(),
        }
    }

    #[test]
    fn combinations_are_pairs_and_all_with_one_value_a_key() {
        let [a1, a2, b, c, d] = [("a", 1), ("a", 2), ("b", 1), ("c", 1), ("d", 1)]
            .map(|(key, value)| change(key, value));
        let labels = |better: &[Change], max| {
            let found = combinations(better, max);
            found.iter().map(|it| it.label("")).collect::<Vec<_>>()
        };
        assert!(labels(&[], 6).is_empty());
        assert!(labels(std::slice::from_ref(&a1), 6).is_empty());
        assert!(labels(&[a1.clone(), a2.clone()], 6).is_empty());
        assert_eq!(labels(&[a2.clone(), b.clone()], 6), ["a=2 b=1"]);
        assert_eq!(
            labels(&[a2.clone(), a1.clone(), b.clone(), c.clone()], 6),
            ["a=2 b=1", "a=2 c=1", "b=1 c=1", "a=2 b=1 c=1"]
        );
        let four = [a1, b, c, d];
        assert_eq!(labels(&four, 6).len(), 6 + 1);
        assert_eq!(labels(&four, 3).len(), 3 + 1);
    }

    #[test]
    fn what_moves_along_is_the_same_key_too() {
        let mut slice = change("slice_us", 500);
        slice.along.push(change("tick_us", 250).main);
        let better = [slice.clone(), change("tick_us", 100), change("slots", 64)];
        let found = combinations(&better, 6);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].profile("balanced"),
            "extends = \"balanced\"\nslice_us = 500\ntick_us = 250\nslots = 64\n"
        );
        assert_eq!(found[0].label("balanced"), "slice_us=500 slots=64");
        assert_eq!(Candidate::control().label("balanced"), "balanced");
    }
}
