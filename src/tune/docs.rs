//! Writes the tables of `docs/TUNING.md` from the settings that are used.

use std::fmt::Write;

use super::settings::{Audience, Setting, Settings, Target, Wanted};
use super::show::takes;
use crate::config::Errors;

/// Everything around the tables.
const TEXT: &str = include_str!("docs/tuning.md");
/// Where the tables go.
const TABLES: &str = "<!-- tables -->\n";

/// The whole document.
///
/// # Errors
/// When a built-in file is broken.
pub fn markdown() -> Result<String, Errors> {
    let settings = Settings::load(None)?;
    let mut tables = String::new();
    let mut subject = "";
    for setting in settings.iter() {
        if setting.subject != subject {
            subject = &setting.subject;
            let _ = write!(
                tables,
                "\n### `tuning/host/{subject}.toml`\n\n\
                 | setting | what | wanted | for | why | cost | undo |\n|---|---|---|---|---|---|---|\n"
            );
        }
        let _ = writeln!(tables, "{}", row(setting));
    }
    Ok(TEXT.replace(TABLES, tables.trim_start()))
}

fn row(setting: &Setting) -> String {
    let what = match &setting.target {
        Target::File { pattern, .. } => format!("`{pattern}`"),
        Target::Boot(argument) => format!("kernel argument `{argument}`"),
        Target::Limit(resource) => format!("`{}`", resource.directive()),
    };
    let wanted = match &setting.wanted {
        Wanted::Value(value) => format!("`{value}`"),
        Wanted::AtLeast(least) => format!("at least {least}"),
        Wanted::Cpus(cpus) => format!("CPUs {cpus}"),
        Wanted::AnyOf(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(" or ")
        }
        Wanted::Rule(rule) => rule.in_words().to_owned(),
    };
    let audience = match &setting.audience {
        Audience::All => "all".to_owned(),
        Audience::Profiles(profiles) if profiles.is_empty() => "`--with`".to_owned(),
        Audience::Profiles(profiles) => format!("`{}`, `--with`", profiles.join("`, `")),
    };
    let when = match &setting.target {
        Target::File { .. } => String::new(),
        target => format!(" In effect {}.", takes(target)),
    };
    format!(
        "| `{}` | {what} | {wanted} | {audience} | {} ({}) | {}{when} | {} |",
        setting.id, setting.why, setting.source, setting.cost, setting.undo
    )
}
