//! Reads core profiles: built-in ones by name, others by path, each checked key by key.
//!
//! A profile may set everything, or `extends` another and set what differs:
//!
//! ```text
//! mine.toml ──extends──► latency ──extends──► balanced      the nearest file wins, key by key
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::{Spanned, Table, Value};

use super::errors::{Errors, Report};
use super::limits::{CONFIG_FILE_BYTES_MAX, PROFILE_EXTENDS_MAX};
use super::profile::{KEYS, Key, Profile, RELATIONS, Relation};
use super::shape;

/// The built-in profiles: name and text.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "balanced",
        include_str!("../../tuning/profiles/balanced.toml"),
    ),
    (
        "latency",
        include_str!("../../tuning/profiles/latency.toml"),
    ),
    (
        "throughput",
        include_str!("../../tuning/profiles/throughput.toml"),
    ),
    (
        "density",
        include_str!("../../tuning/profiles/density.toml"),
    ),
    (
        "striped",
        include_str!("../../tuning/profiles/striped.toml"),
    ),
    (
        "paranoid",
        include_str!("../../tuning/profiles/paranoid.toml"),
    ),
    ("local", include_str!("../../tuning/profiles/local.toml")),
];

/// One file of a chain, read.
struct Layer {
    /// What it is called in messages.
    file: PathBuf,
    /// The same for every way to write its path.
    identity: PathBuf,
    text: String,
    values: BTreeMap<Spanned<String>, Spanned<Value>>,
}

impl Profile {
    /// Names of the built-in profiles, the default first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Finds a built-in profile by name, or reads the file at a path.
    ///
    /// What holds a `/` or ends in `.toml` is a path, relative to `dir`.
    ///
    /// # Errors
    /// Everything wrong with the profile, with the lines of its file; or that there is none.
    pub fn find(name_or_path: &str, dir: &Path) -> Result<Profile, Errors> {
        let mut chain = Vec::new();
        collect(name_or_path, dir, &mut chain)?;
        let merged = merge(&chain)?;
        relate(&chain, merged)
    }

    /// Whether `name_or_path` is a path: it holds a `/` or ends in `.toml`.
    pub(crate) fn is_path(name_or_path: &str) -> bool {
        is_path(name_or_path)
    }

    /// Whether `name_or_path` is neither a built-in name nor a path.
    pub(super) fn is_unknown_name(name_or_path: &str) -> bool {
        !is_path(name_or_path) && Profile::names().all(|name| name != name_or_path)
    }

    /// Why the file at a path cannot be opened; `None` for a name, or when it can.
    pub(super) fn unopenable(name_or_path: &str, dir: &Path) -> Option<String> {
        if !is_path(name_or_path) {
            return None;
        }
        let error = std::fs::metadata(dir.join(name_or_path)).err()?;
        Some(format!("cannot open the file: {error}"))
    }

    /// The names as a message lists them.
    pub(super) fn names_in_words() -> String {
        let names: Vec<_> = Profile::names().collect();
        format!("one of {}, or the path of a .toml file", names.join(", "))
    }
}

fn is_path(name_or_path: &str) -> bool {
    name_or_path.contains('/') || name_or_path.ends_with(".toml")
}

/// Reads the chain of files, the nearest first.
fn collect(name_or_path: &str, dir: &Path, chain: &mut Vec<Layer>) -> Result<(), Errors> {
    let (file, text) = open(name_or_path, dir)?;
    let identity = identity(&file);
    let mut report = Report::new(&file, &text);
    let values = shape::read(&mut report, &text).unwrap_or_default();
    let extends = check_keys(&mut report, &values);
    let dir = file.parent().unwrap_or(dir).to_owned();
    if let Some((base, span)) = &extends
        && let Some((wrong, right)) = bad_base(base, &dir, &identity, chain)
    {
        report.value(span.clone(), "extends", wrong, right);
    }
    report.finish(())?;
    chain.push(Layer {
        file,
        identity,
        text,
        values,
    });
    check_length(chain)?;
    match extends {
        Some((base, _)) => collect(&base, &dir, chain),
        None => Ok(()),
    }
}

/// Why the file `extending`, which `chain` led to, cannot extend `base`; and what it could.
fn bad_base(base: &str, dir: &Path, extending: &Path, chain: &[Layer]) -> Option<(String, String)> {
    if Profile::is_unknown_name(base) {
        return Some(("no such profile".into(), Profile::names_in_words()));
    }
    if let Some(wrong) = Profile::unopenable(base, dir) {
        return Some((wrong, Profile::names_in_words()));
    }
    // Built-in profiles extend each other by name only, and in no circle.
    let identity = is_path(base).then(|| identity(&dir.join(base)));
    if identity.as_deref() == Some(extending) {
        let right = "another profile, or no `extends` and every key";
        return Some(("the profile extends itself".into(), right.into()));
    }
    if chain
        .iter()
        .any(|layer| Some(&layer.identity) == identity.as_ref())
    {
        let right = "a profile that does not lead back to this one";
        return Some(("a circle: that file extends this one".into(), right.into()));
    }
    None
}

/// Complains about a chain at its first file, the one that was asked for.
fn check_length(chain: &[Layer]) -> Result<(), Errors> {
    let Some(first) = chain.first().filter(|_| chain.len() > PROFILE_EXTENDS_MAX) else {
        return Ok(());
    };
    let mut report = Report::new(&first.file, &first.text);
    let mut values = first.values.iter();
    let extends = values.find(|(name, _)| name.get_ref() == "extends");
    let span = extends.map_or(0..0, |(_, value)| value.span());
    let wrong = "the chain of profiles is too long";
    let right = format!("at most {PROFILE_EXTENDS_MAX} files that extend each other");
    report.value(span, "extends", wrong, right);
    report.finish(())
}

/// The file without links and `..`; as it is written where there is no such file.
fn identity(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

/// The file's name for messages, and its text.
fn open(name_or_path: &str, dir: &Path) -> Result<(PathBuf, String), Errors> {
    if is_path(name_or_path) {
        let path = dir.join(name_or_path);
        let text = read_text(&path)?;
        return Ok((path, text));
    }
    match BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
        Some((name, text)) => {
            let file = format!("tuning/profiles/{name}.toml");
            Ok((file.into(), (*text).to_owned()))
        }
        None => Err(Errors::flag(
            "profile",
            "no such profile",
            name_or_path,
            Profile::names_in_words(),
        )),
    }
}

/// Reads a configuration or profile file.
pub(crate) fn read_text(path: &Path) -> Result<String, Errors> {
    let mut report = Report::new(path, "");
    let text = match std::fs::metadata(path) {
        Ok(file) if file.len() > CONFIG_FILE_BYTES_MAX => {
            let wrong = format!("the file has {} bytes", file.len());
            let right = format!("at most {CONFIG_FILE_BYTES_MAX} bytes");
            report.place(None, "", wrong, right);
            String::new()
        }
        Ok(_) => std::fs::read_to_string(path).unwrap_or_else(|error| {
            let right = "a text file that this user may read";
            report.place(None, "", format!("cannot read the file: {error}"), right);
            String::new()
        }),
        Err(error) => {
            let right = "the path of a TOML file";
            report.place(None, "", format!("cannot open the file: {error}"), right);
            String::new()
        }
    };
    report.finish(text)
}

/// Checks every key of one file by itself; returns what the file extends, and where it says so.
fn check_keys(
    report: &mut Report<'_>,
    values: &BTreeMap<Spanned<String>, Spanned<Value>>,
) -> Option<(String, Range<usize>)> {
    let mut extends = None;
    for (name, value) in values {
        let key = KEYS.iter().find(|key| key.name == name.get_ref());
        match (name.get_ref().as_str(), value.get_ref(), key) {
            ("extends", Value::String(base), _) => extends = Some((base.clone(), value.span())),
            ("extends", _, _) => {
                let right = Profile::names_in_words();
                report.value(value.span(), "extends", "wrong type", right);
            }
            (name, value_read, Some(key)) => {
                if let Err(wrong) = key.check(value_read) {
                    report.value(value.span(), name, wrong, key.range());
                }
            }
            (unknown, _, None) => {
                let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
                let right = format!("known here: extends, {}", known.join(", "));
                report.place(Some(name.span()), unknown, "unknown key", right);
            }
        }
    }
    extends
}

impl Key {
    /// Whether it may have this value; else what is wrong.
    pub(crate) fn check(&self, value: &Value) -> Result<(), &'static str> {
        match value {
            Value::Boolean(_) if self.is_switch() => Ok(()),
            Value::Integer(_) if self.is_switch() => Err("wrong type"),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) if (self.min..=self.max).contains(&number) => Ok(()),
                _ => Err("out of range"),
            },
            _ => Err("wrong type"),
        }
    }
}

/// Lays the files over each other, the nearest on top.
fn merge(chain: &[Layer]) -> Result<Profile, Errors> {
    let mut table = Table::new();
    for layer in chain.iter().rev() {
        for (name, value) in &layer.values {
            table.insert(name.get_ref().clone(), value.get_ref().clone());
        }
    }
    table.remove("extends");
    let nearest = chain.first();
    let file = nearest.map_or(Path::new(""), |layer| &layer.file);
    let mut report = Report::new(file, "");
    for key in KEYS.iter().filter(|key| !table.contains_key(key.name)) {
        let right = format!("{}, or `extends = \"balanced\"`", key.range());
        report.place(None, key.name, "missing", right);
    }
    report.finish(())?;
    table.try_into().map_err(|error: toml::de::Error| {
        Errors::flag("profile", error.message(), file.display(), "a profile")
    })
}

/// Checks what must hold between the values of a complete profile.
fn relate(chain: &[Layer], profile: Profile) -> Result<Profile, Errors> {
    let Some(first) = chain.first() else {
        return Ok(profile);
    };
    let mut errors = Report::new(&first.file, &first.text);
    for relation in RELATIONS.iter().filter(|it| !(it.holds)(&profile)) {
        let (layer, key, span) = blame(chain, relation).unwrap_or((first, "", 0..0));
        let mut report = Report::new(&layer.file, &layer.text);
        report.value(span, key, relation.wrong, relation.right);
        if let Err(found) = report.finish(()) {
            errors.extend(found);
        }
    }
    errors.finish(profile)
}

/// The nearest file that sets one of a relation's keys: that one broke it.
fn blame<'a>(
    chain: &'a [Layer],
    relation: &Relation,
) -> Option<(&'a Layer, &'static str, Range<usize>)> {
    chain.iter().find_map(|layer| {
        relation.keys.iter().find_map(|key| {
            let mut values = layer.values.iter();
            let (_, value) = values.find(|(name, _)| name.get_ref() == key)?;
            Some((layer, *key, value.span()))
        })
    })
}
