//! What is wrong with a configuration: every problem, one line each.
//!
//! ```text
//! skep.toml:14: tenant.hello.limits.cpu_ms: out of range (got 0); 1 to 600000 ms
//! file      line key                        wrong          value  what would be right
//! ```

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::limits::CONFIG_ERRORS_MAX;

/// Longest quotation of a value, in characters.
const QUOTED_MAX: usize = 60;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it; empty for command-line flags.
    pub file: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The key's path or the flag; empty when the file as a whole is wrong.
    pub key: String,
    /// What is wrong.
    pub wrong: String,
    /// The value as written.
    pub got: Option<String>,
    /// What would be right.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLine(f);
        if !self.file.as_os_str().is_empty() {
            write!(line, "{}:", self.file.display())?;
            if let Some(number) = self.line {
                write!(line, "{number}:")?;
            }
            line.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(line, "{}: ", self.key)?;
        }
        line.write_str(&self.wrong)?;
        if let Some(got) = &self.got {
            write!(line, " (got {got})")?;
        }
        write!(line, "; {}", self.right)
    }
}

/// Writes control characters as escapes: paths and keys may have line ends in them.
struct OneLine<'f, 'a>(&'f mut fmt::Formatter<'a>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            self.0.write_str(plain)?;
            write!(self.0, "{}", part[plain.len()..].escape_default())?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in file order; displayed one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(Vec<Problem>);

impl Errors {
    /// The problems; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }

    /// One problem of a command-line flag.
    pub(crate) fn flag(
        key: &str,
        wrong: impl Into<String>,
        got: impl fmt::Display,
        right: impl Into<String>,
    ) -> Errors {
        Errors(vec![Problem {
            file: PathBuf::new(),
            line: None,
            key: key.to_owned(),
            wrong: wrong.into(),
            got: Some(got.to_string()),
            right: right.into(),
        }])
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.0
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(CONFIG_ERRORS_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(CONFIG_ERRORS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n{more} more; correct these first"),
        }
    }
}

impl std::error::Error for Errors {}

/// Collects the problems of one file.
pub(crate) struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    /// An empty report about `file`, which holds `text`.
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Report<'a> {
        Report {
            file,
            text,
            problems: Vec::new(),
        }
    }

    /// A value is wrong; it is quoted as written.
    pub(crate) fn value(
        &mut self,
        span: Range<usize>,
        key: impl Into<String>,
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) {
        let got = self.text.get(span.clone()).map(quote);
        self.push(Some(span), key.into(), wrong.into(), got, right.into());
    }

    /// Something is wrong at a place, with no value to quote.
    pub(crate) fn place(
        &mut self,
        span: Option<Range<usize>>,
        key: impl Into<String>,
        wrong: impl Into<String>,
        right: impl Into<String>,
    ) {
        self.push(span, key.into(), wrong.into(), None, right.into());
    }

    fn push(
        &mut self,
        span: Option<Range<usize>>,
        key: String,
        wrong: String,
        got: Option<String>,
        right: String,
    ) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: span.map(|span| self.line(span.start)),
            key,
            wrong,
            got,
            right,
        });
    }

    /// Takes over the problems of another file.
    pub(crate) fn extend(&mut self, errors: Errors) {
        self.problems.extend(errors.into_problems());
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset);
        let before = before.unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether something was already said about this key.
    pub(crate) fn mentions(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// `Ok` when nothing is wrong.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<T, Errors> {
        if self.problems.is_empty() {
            return Ok(value);
        }
        self.problems
            .sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        Err(Errors(self.problems))
    }
}

/// The first line of a value, shortened.
fn quote(value: &str) -> String {
    let first = value.lines().next().unwrap_or_default();
    if first.len() == value.len() && first.chars().count() <= QUOTED_MAX {
        return first.to_owned();
    }
    let start: String = first.chars().take(QUOTED_MAX).collect();
    format!("{start}…")
}
