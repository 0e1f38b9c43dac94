//! `skep run --dotenv`: the files that `fastedge-run` reads, by its names.
//!
//! | file | what a line `NAME=VALUE` is |
//! |---|---|
//! | `.env` | by its prefix, `FASTEDGE_VAR_ENV_`, `_SECRET_`, `_REQ_HEADER_`, `_RSP_HEADER_` or `FASTEDGE_VAR_KV_STORE`; without one an environment variable |
//! | `.env.variables` | an environment variable |
//! | `.env.secrets` | a secret |
//! | `.env.req_headers`, `.env.rsp_headers` | a field of every request, of every answer |
//! | `.env.kv_stores` | a store, as in `--kv` |
//!
//! Flags come before `.env`, and that before the other files. A file that is not there says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Begins every name that says its kind; only `.env` may have such.
const PREFIX: &str = "FASTEDGE_VAR_";

/// What the files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dotenv {
    pub(super) env: BTreeMap<String, String>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) request_fields: BTreeMap<String, String>,
    pub(super) response_fields: BTreeMap<String, String>,
    pub(super) stores: BTreeMap<String, String>,
}

impl Dotenv {
    /// Reads the files of a directory.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut said = Self::default();
        for (name, value) in lines(&dir.join(".env"))? {
            said.add(name, value);
        }
        for (file, kind) in [
            (".env.variables", &mut said.env),
            (".env.secrets", &mut said.secrets),
            (".env.req_headers", &mut said.request_fields),
            (".env.rsp_headers", &mut said.response_fields),
            (".env.kv_stores", &mut said.stores),
        ] {
            for (name, value) in lines(&dir.join(file))? {
                if !name.starts_with(PREFIX) {
                    kind.entry(name).or_insert(value);
                }
            }
        }
        Ok(said)
    }

    /// One line of `.env`.
    fn add(&mut self, name: String, value: String) {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            self.env.insert(name, value);
            return;
        };
        if let Some(store) = rest.strip_prefix("KV_STORE") {
            // `FASTEDGE_VAR_KV_STORE=NAME=redis://…`, or with the name in the name.
            match (store.trim_start_matches('_'), value.split_once('=')) {
                ("", Some((store, place))) => self.stores.insert(store.into(), place.into()),
                ("", None) => None,
                (store, _) => self.stores.insert(store.to_owned(), value),
            };
            return;
        }
        let kinds = [
            ("ENV_", &mut self.env),
            ("SECRET_", &mut self.secrets),
            ("REQ_HEADER_", &mut self.request_fields),
            ("RSP_HEADER_", &mut self.response_fields),
        ];
        for (prefix, kind) in kinds {
            if let Some(name) = rest.strip_prefix(prefix) {
                kind.insert(name.to_owned(), value);
                return;
            }
        }
    }
}

/// The pairs of a file, the last of a name last.
fn lines(path: &Path) -> io::Result<Vec<(String, String)>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(pair).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            let text = format!("{}: {error}", path.display());
            Err(io::Error::new(error.kind(), text))
        }
    }
}

fn pair(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    // A comment before the equals sign: the whole line is one.
    if name.contains('#') {
        return None;
    }
    Some((unquoted(name).to_owned(), value_of(value).to_owned()))
}

/// A value without its comment. In quotes a `#` is text; `fastedge-run` ends the value there, too.
fn value_of(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        let Some(inner) = text.strip_prefix(quote) else {
            continue;
        };
        // The first quote that nothing but a comment follows: text may have quotes in it.
        let end = inner.match_indices(quote).find(|(at, _)| {
            let rest = inner[at + 1..].trim_start();
            rest.is_empty() || rest.starts_with('#')
        });
        if let Some((end, _)) = end {
            return &inner[..end];
        }
    }
    let uncommented = text.split_once('#').map_or(text, |(value, _)| value);
    unquoted(uncommented)
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_pairs() {
        let cases = [
            ("KEY=value", Some(("KEY", "value"))),
            ("  KEY = value  # a comment", Some(("KEY", "value"))),
            ("KEY==value", Some(("KEY", "=value"))),
            ("KEY=\"with spaces\"", Some(("KEY", "with spaces"))),
            ("'KEY'='value'", Some(("KEY", "value"))),
            (
                "KEY=\"some \"edge\" case with = and `quotes`\"",
                Some(("KEY", "some \"edge\" case with = and `quotes`")),
            ),
            ("KEY=va#lue", Some(("KEY", "va"))),
            ("KEY=\"va#lue\"", Some(("KEY", "va#lue"))),
            ("KEY='va#lue' # \"a\" comment", Some(("KEY", "va#lue"))),
            (
                "KEY=\"# not a comment\"#one",
                Some(("KEY", "# not a comment")),
            ),
            ("KEY=\"no end", Some(("KEY", "no end"))),
            ("KEY=", Some(("KEY", ""))),
            ("KEY=\"\"", Some(("KEY", ""))),
            ("# KEY=value", None),
            ("no # KEY=value", None),
            ("nothing", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(pair(line), expected, "{line}");
        }
    }

    #[test]
    fn files_are_of_a_kind_and_dot_env_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(Dotenv::read(dir.path()).unwrap(), Dotenv::default());
        write(
            ".env",
            "A=1\nFASTEDGE_VAR_ENV_B=2\nFASTEDGE_VAR_SECRET_S=3\nFASTEDGE_VAR_REQ_HEADER_X-A=4\n\
             FASTEDGE_VAR_RSP_HEADER_X-B=5\nFASTEDGE_VAR_KV_STORE=one=redis://a\n\
             FASTEDGE_VAR_KV_STORE_two=redis://b\nFASTEDGE_VAR_OTHER_C=6\n",
        );
        write(
            ".env.variables",
            "A=from variables\nC=7\nFASTEDGE_VAR_ENV_D=8\n",
        );
        write(".env.secrets", "T=9\n");
        write(".env.req_headers", "x-c=10\n");
        write(".env.rsp_headers", "x-d=11\n");
        write(".env.kv_stores", "three=redis://c\n");
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let expected = Dotenv {
            env: map(&[("A", "1"), ("B", "2"), ("C", "7")]),
            secrets: map(&[("S", "3"), ("T", "9")]),
            request_fields: map(&[("X-A", "4"), ("x-c", "10")]),
            response_fields: map(&[("X-B", "5"), ("x-d", "11")]),
            stores: map(&[
                ("one", "redis://a"),
                ("three", "redis://c"),
                ("two", "redis://b"),
            ]),
        };
        assert_eq!(Dotenv::read(dir.path()).unwrap(), expected);
    }
}
