//! The profile that a search ends with: what differs from the base, each value with its measured
//! reason, and on top how it was found.

use std::fmt::Write;
use std::path::Path;

use toml::Value;

use super::candidate::Candidate;
use super::evidence::{Evidence, HeldOut};
use super::objective::Objective;
use super::report;
use super::session::Stop;
use crate::config::Profile;

/// The base as candidates and the profile name it: a built-in name stays, a path becomes absolute.
///
/// # Errors
/// When there is no such file, or its path is no UTF-8, which TOML wants.
pub fn base(named: &str) -> Result<String, Stop> {
    if !Profile::is_path(named) {
        return Ok(named.to_owned());
    }
    let path = std::fs::canonicalize(named);
    let path = path.map_err(|error| Stop::Wrong(format!("--base: {named}: {error}")))?;
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Stop::Wrong("--base: its directory's name is no UTF-8, which TOML wants".to_owned())
    })
}

/// The base as a profile in `dir` names it: by a path that starts there, where that leads to it, so
/// that both can be moved together.
fn extended(base: &str, dir: &Path) -> String {
    let dir = std::fs::canonicalize(dir);
    let below = dir.ok().and_then(|dir| {
        let below = Path::new(base).strip_prefix(dir).ok()?;
        Some(format!("./{}", below.to_str()?))
    });
    below.unwrap_or_else(|| base.to_owned())
}

/// The file's text. `base` is what [`base`] made of it, and `dir` where the file goes.
pub fn text(
    evidence: &Evidence,
    objective: &Objective,
    winner: &Candidate,
    held_out: &HeldOut,
    (base, dir): (&str, &Path),
) -> String {
    let mut out = String::new();
    let name = &evidence.base;
    let title = format!("Found by `skep tune search`: beats {name} on its own objective.");
    comment(&mut out, &title);
    out.push_str("#\n");
    let result = report::held_out_result(held_out, name, objective.direction());
    for (what, text) in [
        ("objective", evidence.objective.clone()),
        ("scenario", evidence.scenario.display().to_string()),
        ("machine", report::machine(&evidence.machine)),
        ("date", evidence.started.clone()),
        ("command", command(&evidence.command)),
        ("held out", result),
    ] {
        comment(&mut out, &format!("{what:<10} {text}"));
    }
    let _ = writeln!(out, "extends = {}", Value::from(extended(base, dir)));
    for change in &winner.changes {
        let label = change.to_string();
        out.push('\n');
        comment(&mut out, &report::alone(evidence, &label, objective.unit()));
        let _ = writeln!(out, "{} = {}", change.main.key, change.main.value);
        for along in &change.along {
            let main = &change.main.key;
            let _ = writeln!(out, "{} = {} # moves with {main}", along.key, along.value);
        }
    }
    out
}

/// One line, whatever the text holds.
fn comment(out: &mut String, text: &str) {
    let line: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let _ = writeln!(out, "# {}", line.trim_end());
}

/// A command line that can be pasted.
fn command(words: &[String]) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./=:,".contains(letter);
    let quoted =
        words
            .iter()
            .skip(1)
            .map(|word| match !word.is_empty() && word.chars().all(plain) {
                true => word.clone(),
                false => format!("'{}'", word.replace('\'', "'\\''")),
            });
    let words: Vec<_> = std::iter::once("skep".to_owned()).chain(quoted).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_from_where_the_profile_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir(root.join("sub")).unwrap();
        let file = root.join("sub/base.toml");
        std::fs::write(&file, "").unwrap();
        let base = base(file.to_str().unwrap()).unwrap();
        assert_eq!(extended(&base, &root), "./sub/base.toml");
        assert_eq!(extended(&base, &root.join("sub")), "./base.toml");
        assert_eq!(extended(&base, Path::new("/usr")), base);
        assert_eq!(extended("balanced", &root), "balanced");
        assert!(matches!(super::base("./nowhere.toml"), Err(Stop::Wrong(_))));
    }

    #[test]
    fn command_lines_are_quoted_and_comments_are_one_line() {
        let words = ["/x/skep", "tune", "--objective", "min p99_ms", "it's"].map(str::to_owned);
        assert_eq!(
            command(&words),
            "skep tune --objective 'min p99_ms' 'it'\\''s'"
        );
        let mut out = String::new();
        comment(&mut out, "a\nslots = 1");
        assert_eq!(out, "# a slots = 1\n");
    }
}
