//! Reads a TOML text into a serde type and reports every error of its shape, not only the first.
//!
//! Serde stops at the first unknown key or wrong type. So the offending entry is cut out of the
//! parsed tree and reading starts again, until the rest fits:
//!
//! ```text
//! text ──parse──► tree ──serde──► T
//!                   ▲       │ error at a span
//!                   └─ cut ─┘ reported with its line and key
//! ```

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::errors::Report;
use super::limits::CONFIG_ERRORS_MAX;

/// One step down a TOML tree.
#[derive(Debug)]
enum Step {
    Key(String),
    /// An element, and its name or id if it has one.
    Element(usize, Option<String>),
}

/// Reads `text`; `None` when nothing could be read. Everything wrong is in `report`.
pub(crate) fn read<T: DeserializeOwned>(report: &mut Report<'_>, text: &str) -> Option<T> {
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    let mut said = None;
    for error in &errors {
        // After a first mistake in a line, what the parser says of its rest is a guess.
        let line = error.span().map(|span| report.line(span.start));
        if said.replace(line) != Some(line) {
            let right = "write TOML (https://toml.io)";
            report.place(error.span(), "", error.message(), right);
        }
    }
    if !errors.is_empty() {
        return None;
    }
    for _ in 0..CONFIG_ERRORS_MAX {
        let error = match T::deserialize(Deserializer::from(tree.clone())) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let path = error
            .span()
            .and_then(|span| find_in_table(tree.get_ref(), &span));
        let key = path.as_deref().map(key_of).unwrap_or_default();
        explain(report, error.span(), key, error.message());
        cut(tree.get_mut(), path.as_deref()?);
    }
    None
}

/// The innermost entry whose key or value holds `span`.
fn find_in_table(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<Step>> {
    for (key, value) in table {
        let here = Step::Key(key.get_ref().to_string());
        if let Some(below) = find_in_value(key.get_ref(), value.get_ref(), span) {
            return Some(std::iter::once(here).chain(below).collect());
        }
        if holds(&key.span(), span) || holds(&value.span(), span) {
            return Some(vec![here]);
        }
    }
    None
}

fn find_in_value(key: &str, value: &DeValue<'_>, span: &Range<usize>) -> Option<Vec<Step>> {
    let elements = match value {
        DeValue::Table(table) => return find_in_table(table, span),
        DeValue::Array(elements) => elements,
        _ => return None,
    };
    for (index, element) in elements.iter().enumerate() {
        let here = Step::Element(index, name_of(key, element));
        if let Some(below) = find_in_value(key, element.get_ref(), span) {
            return Some(std::iter::once(here).chain(below).collect());
        }
        if holds(&element.span(), span) {
            return Some(vec![here]);
        }
    }
    None
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// What an element of the list `key` calls itself.
fn name_of(key: &str, element: &Spanned<DeValue<'_>>) -> Option<String> {
    let table = element.get_ref().as_table()?;
    let name = if key == "setting" { "id" } else { "name" };
    table.get(name)?.get_ref().as_str().map(str::to_owned)
}

/// The path as it is printed: `tenant.hello.limits.cpu_ms`, `tenant[2].name`, `listen.http`.
fn key_of(path: &[Step]) -> String {
    let mut key = String::new();
    for (index, step) in path.iter().enumerate() {
        match step {
            Step::Key(name) => {
                let dot = if key.is_empty() { "" } else { "." };
                key = format!("{key}{dot}{name}");
            }
            Step::Element(_, Some(name)) if !name.is_empty() => key = format!("{key}.{name}"),
            // An element at the end is a plain value: its list is named, its value is quoted.
            Step::Element(..) if index + 1 == path.len() => {}
            Step::Element(number, _) => key = format!("{key}[{number}]"),
        }
    }
    key
}

/// Removes the entry at `path`.
fn cut(table: &mut DeTable<'_>, path: &[Step]) {
    match path {
        [Step::Key(key)] => {
            table.remove(key.as_str());
        }
        [Step::Key(key), rest @ ..] => {
            if let Some(value) = table.get_mut(key.as_str()) {
                cut_in_value(value.get_mut(), rest);
            }
        }
        _ => {}
    }
}

fn cut_in_value(value: &mut DeValue<'_>, path: &[Step]) {
    match (value, path) {
        (DeValue::Table(table), path) => cut(table, path),
        (DeValue::Array(elements), [Step::Element(index, _)]) => {
            let all = std::mem::replace(elements, DeArray::new()).into_iter();
            let kept = all.enumerate().filter(|(at, _)| at != index);
            *elements = kept.map(|(_, element)| element).collect();
        }
        (DeValue::Array(elements), [Step::Element(index, _), rest @ ..]) => {
            if let Some(element) = elements.get_mut(*index) {
                cut_in_value(element.get_mut(), rest);
            }
        }
        _ => {}
    }
}

/// Says serde's message in the form of all others.
fn explain(report: &mut Report<'_>, span: Option<Range<usize>>, key: String, message: &str) {
    let expected = message.split_once(", expected ").map(|(_, after)| after);
    let Some(at) = span.clone() else {
        report.place(None, key, message, "see docs/CONFIG.md");
        return;
    };
    // It may have a password in it.
    let is_secret = key.contains(".kv") && !message.starts_with("unknown field");
    match expected {
        _ if is_secret => {
            let right = "see docs/CONFIG.md";
            report.place(span, key, "wrong type or value", right);
        }
        Some(keys) if message.starts_with("unknown field") => {
            let right = format!("known here: {}", plain_list(keys));
            report.place(span, key, "unknown key", right);
        }
        Some(values) if message.starts_with("unknown variant") => {
            report.value(at, key, "unknown value", plain_list(values));
        }
        Some(kind) if message.starts_with("invalid type") => {
            report.value(at, key, "wrong type", kind_in_words(kind));
        }
        _ if message.starts_with("missing field") => {
            let missing = message.replace("field", "key").replace('`', "");
            report.place(span, key, missing, "add it");
        }
        _ => match message.strip_prefix("expected ") {
            Some(right) => report.value(at, key, "wrong value", right),
            None => report.value(at, key, message, "see docs/CONFIG.md"),
        },
    }
}

/// Turns serde's "one of `a`, `b`" and "`a` or `b`" into "a, b".
fn plain_list(list: &str) -> String {
    let list = list.strip_prefix("one of ").unwrap_or(list);
    list.replace("` or `", ", ").replace('`', "")
}

fn kind_in_words(kind: &str) -> String {
    match kind {
        "i64" | "u64" => "an integer",
        "f64" => "a number",
        "a sequence" => "a list: [\"…\"]",
        "a boolean" => "true or false",
        "a map" => "a table",
        kind if kind.starts_with("struct ") => "a table",
        kind => kind,
    }
    .to_owned()
}
