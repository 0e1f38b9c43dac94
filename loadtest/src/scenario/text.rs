//! Reading a scenario file: variables, and errors that name the line.
//!
//! `${name}` stands for a variable, `${name:-text}` for one with a default. `$${` is a plain `${`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::limits::SCENARIO_BYTES_MAX;

/// Why a scenario cannot be run: one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Wrong(pub Vec<String>);

impl Wrong {
    /// One complaint.
    pub fn one(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }
}

/// Reads a file of at most [`SCENARIO_BYTES_MAX`].
///
/// # Errors
/// One line, when it cannot be read or is too large.
pub fn read(path: &Path) -> Result<String, Wrong> {
    let shown = path.display();
    let length = std::fs::metadata(path)
        .map_err(|error| Wrong::one(format!("{shown}: {error}")))?
        .len();
    if length > SCENARIO_BYTES_MAX {
        return Err(Wrong::one(format!(
            "{shown}: {length} bytes; a scenario has at most {SCENARIO_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| Wrong::one(format!("{shown}: {error}")))
}

/// Puts variables in place.
///
/// # Errors
/// One line for every variable that has neither a value nor a default, and for an unclosed `${`.
pub fn substitute(
    file: &str,
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let at = format!("{file}:{}", index + 1);
        let mut rest = line;
        while let Some(start) = rest.find("${") {
            if start > 0 && rest.as_bytes()[start - 1] == b'$' {
                out.push_str(&rest[..start]);
                out.push('{');
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else {
                wrong.push(format!("{at}: \"${{\" has no closing \"}}\""));
                rest = "";
                break;
            };
            let inner = &rest[start + 2..start + length];
            let (name, default) = match inner.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (inner, None),
            };
            match variables.get(name).map(String::as_str).or(default) {
                Some(value) => out.push_str(value),
                None => wrong.push(format!(
                    "{at}: variable \"{name}\" has no value; give one with --set {name}=VALUE"
                )),
            }
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
    }
    if wrong.is_empty() {
        Ok(out)
    } else {
        Err(Wrong(wrong))
    }
}

/// Parses TOML; an error names file and line and fits on one line.
///
/// # Errors
/// One line.
pub fn parse<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, Wrong> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or_else(
            || file.to_owned(),
            |span| format!("{file}:{}", line_of(text, span.start)),
        );
        Wrong::one(format!("{at}: {}", error.message().replace('\n', "; ")))
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_defaults_are_put_in_place() {
        let variables = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("x = ${a}\n", Ok("x = 1\n")),
            ("x = ${b:-2}${a}", Ok("x = 21")),
            ("x = ${b:-}", Ok("x = ")),
            ("$${a} $a", Ok("${a} $a")),
            (
                "\nx = ${b}",
                Err("f:2: variable \"b\" has no value; give one with --set b=VALUE"),
            ),
            ("x = ${b", Err("f:1: \"${\" has no closing \"}\"")),
        ] {
            let got = substitute("f", text, &variables).map_err(|wrong| wrong.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn an_error_names_its_line() {
        let wrong = parse::<super::super::raw::Scenario>("s.toml", "name = \"a\"\nspeed = 1\n")
            .unwrap_err();
        let text = wrong.to_string();
        assert!(
            text.starts_with("s.toml:2: unknown field `speed`"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
