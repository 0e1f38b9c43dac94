//! One file of settings: read as TOML, then checked entry by entry.

use serde::Deserialize;
use toml::Spanned;

use super::rules::Rule;
use super::settings::{Audience, Format, Resource, Setting, Target, Wanted};
use crate::config::limits::TUNE_SETTINGS_MAX;
use crate::config::{CpuSet, Report, read_shape};

/// What a path may hold.
const PLACEHOLDERS: &[&str] = &["{cpu}", "{worker}", "{nic}", "{rx}", "{tx}", "{irq}"];

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    setting: Vec<Spanned<Raw>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: String,
    path: Option<Spanned<String>>,
    boot: Option<String>,
    limit: Option<Resource>,
    #[serde(default)]
    format: Format,
    value: Option<String>,
    at_least: Option<u64>,
    any_of: Option<Vec<String>>,
    rule: Option<Rule>,
    only_for: Option<Vec<String>>,
    why: String,
    source: String,
    cost: String,
    undo: String,
    absent: Option<String>,
}

/// Adds the settings of one file; everything wrong with it is in `report`.
pub(super) fn read(
    report: &mut Report<'_>,
    text: &str,
    subject: &str,
    settings: &mut Vec<Setting>,
) {
    let file = read_shape::<File>(report, text);
    // A key that was cut out is not missed a second time.
    let file = file.filter(|_| report.is_clean());
    for raw in file.iter().flat_map(|file| &file.setting) {
        check(report, raw, subject, settings);
    }
}

/// Turns one entry into a setting, or says what is wrong with it.
fn check(report: &mut Report<'_>, raw: &Spanned<Raw>, subject: &str, settings: &mut Vec<Setting>) {
    let (span, raw) = (raw.span(), raw.get_ref());
    let key = |name: &str| format!("setting.{}{name}", raw.id);
    if settings.iter().any(|setting| setting.id == raw.id) {
        report.place(Some(span.clone()), key(""), "defined twice", "each id once");
    }
    if settings.len() == TUNE_SETTINGS_MAX {
        let right = format!("at most {TUNE_SETTINGS_MAX} in all");
        report.place(Some(span), key(""), "one setting too many", right);
        return;
    }
    let mut unclear = |wrong, right| report.place(Some(span.clone()), key(""), wrong, right);
    let target = raw.target();
    if target.is_none() {
        unclear("not clear what is set", "exactly one of path, boot, limit");
    }
    let wanted = raw.wanted();
    if wanted.is_none() {
        let right = "exactly one of value, at_least, any_of (with a word in it), rule";
        unclear("not clear what is wanted", right);
    }
    if let Some(path) = &raw.path
        && let Err((wrong, right)) = check_path(path.get_ref())
    {
        report.value(path.span(), key(".path"), wrong, right);
    }
    let (Some(target), Some(wanted)) = (target, wanted) else {
        return;
    };
    if let Some(right) = misfit(&target, &wanted) {
        let wrong = "what is wanted does not fit what is set";
        report.place(Some(span), key(""), wrong, right);
    }
    settings.push(Setting {
        id: raw.id.clone(),
        subject: subject.to_owned(),
        target,
        wanted,
        audience: match &raw.only_for {
            None => Audience::All,
            Some(profiles) => Audience::Profiles(profiles.clone()),
        },
        why: raw.why.clone(),
        source: raw.source.clone(),
        cost: raw.cost.clone(),
        undo: raw.undo.clone(),
        absent: raw.absent.clone(),
    });
}

impl Raw {
    fn target(&self) -> Option<Target> {
        match (&self.path, &self.boot, self.limit) {
            (Some(path), None, None) => Some(Target::File {
                pattern: path.get_ref().clone(),
                format: self.format,
            }),
            (None, Some(argument), None) => Some(Target::Boot(argument.clone())),
            (None, None, Some(resource)) => Some(Target::Limit(resource)),
            _ => None,
        }
    }

    fn wanted(&self) -> Option<Wanted> {
        match (&self.value, self.at_least, &self.any_of, self.rule) {
            (Some(value), None, None, None) => {
                let cpus = match self.format {
                    Format::List => CpuSet::from_list(value),
                    Format::Mask => CpuSet::from_mask(value),
                    Format::Words | Format::Choice => None,
                };
                Some(cpus.map_or_else(|| Wanted::Value(value.clone()), Wanted::Cpus))
            }
            (None, Some(least), None, None) => Some(Wanted::AtLeast(least)),
            (None, None, Some(words), None) if !words.is_empty() => {
                Some(Wanted::AnyOf(words.clone()))
            }
            (None, None, None, Some(rule)) => Some(Wanted::Rule(rule)),
            _ => None,
        }
    }
}

/// What is wrong with a path, and what would be right.
fn check_path(path: &str) -> Result<(), (&'static str, String)> {
    if !path.starts_with("/proc/") && !path.starts_with("/sys/") {
        return Err((
            "not a file of the kernel",
            "a path below /proc or /sys".to_owned(),
        ));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(("leads upwards", "a path without `..`".to_owned()));
    }
    let mut rest = path.to_owned();
    for placeholder in PLACEHOLDERS {
        rest = rest.replace(placeholder, "");
    }
    if rest.contains(['{', '}']) {
        let right = format!("known: {}", PLACEHOLDERS.join(", "));
        return Err(("unknown placeholder", right));
    }
    let kinds = PLACEHOLDERS.iter().filter(|it| path.contains(**it)).count();
    let queue_of_nic = path.contains("{nic}") && (path.contains("{rx}") || path.contains("{tx}"));
    match (kinds, queue_of_nic) {
        (0 | 1, _) if path.contains("{rx}") || path.contains("{tx}") => Err((
            "a queue of no card",
            "{nic} in front of {rx} or {tx}".to_owned(),
        )),
        (0 | 1, _) | (2, true) => Ok(()),
        _ => Err((
            "too many placeholders",
            "one, or {nic} with {rx} or {tx}".to_owned(),
        )),
    }
}

/// What would fit, where the two do not.
fn misfit(target: &Target, wanted: &Wanted) -> Option<String> {
    let placeholder = match target {
        Target::File { pattern, .. } => Some(pattern.as_str()),
        Target::Boot(_) | Target::Limit(_) => None,
    };
    match (target, wanted) {
        (_, Wanted::Rule(rule)) => rule.misfit(target, placeholder),
        (Target::Boot(_), _) => Some("rule, for a kernel argument".to_owned()),
        (Target::Limit(_), Wanted::AtLeast(_)) => None,
        (Target::Limit(_), _) => Some("at_least or rule, for a limit".to_owned()),
        (Target::File { format, .. }, wanted) => match (format, wanted) {
            (Format::List | Format::Mask, Wanted::Cpus(_)) => None,
            (Format::List, _) => Some("a list of CPUs, 0-3,8, or a rule".to_owned()),
            (Format::Mask, _) => Some("a mask of CPUs, 10f, or a rule".to_owned()),
            (Format::Choice, Wanted::AtLeast(_)) => {
                Some("at_least only with numbers (format words)".to_owned())
            }
            (Format::Words | Format::Choice, _) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    const GOOD: &str = "[[setting]]\nid = 'a'\npath = '/proc/sys/a'\nvalue = '1'\nwhy = ''\nsource = ''\ncost = ''\nundo = ''\n";

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), text).unwrap();
        let name = format!("{}/", dir.path().display());
        Settings::load(Some(dir.path())).map_err(|errors| errors.to_string().replace(&name, ""))
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (
                "value = '1'",
                "valu = '1'",
                "a.toml:4: setting.a.valu: unknown key; known here: id,",
            ),
            (
                "value = '1'",
                "",
                "a.toml:1: setting.a: not clear what is wanted; exactly one of value,",
            ),
            (
                "value = '1'",
                "value = '1'\nat_least = 2",
                "a.toml:1: setting.a: not clear what is wanted",
            ),
            (
                "value = '1'",
                "any_of = []",
                "a.toml:1: setting.a: not clear what is wanted",
            ),
            (
                "value = '1'",
                "rule = 'guess'",
                "a.toml:4: setting.a.rule: unknown value (got 'guess'); max_map_count,",
            ),
            (
                "value = '1'",
                "rule = 'queue_cpu'",
                "a.toml:1: setting.a: what is wanted does not fit what is set; {irq}",
            ),
            (
                "value = '1'",
                "value = '0-'\nformat = 'list'",
                "a.toml:1: setting.a: what is wanted does not fit what is set; a list of CPUs",
            ),
            (
                "value = '1'",
                "any_of = ['1']\nformat = 'mask'",
                "a.toml:1: setting.a: what is wanted does not fit what is set; a mask of CPUs",
            ),
            (
                "value = '1'",
                "at_least = 1\nformat = 'mask'",
                "a.toml:1: setting.a: what is wanted does not fit",
            ),
            (
                "value = '1'",
                "value = 1",
                "a.toml:4: setting.a.value: wrong type (got 1); a string",
            ),
            (
                "path = '/proc/sys/a'",
                "",
                "a.toml:1: setting.a: not clear what is set; exactly one of path, boot, limit",
            ),
            (
                "path = '/proc/sys/a'",
                "boot = 'a'",
                "a.toml:1: setting.a: what is wanted does not fit what is set; rule,",
            ),
            (
                "/proc/sys/a",
                "/etc/passwd",
                "a.toml:3: setting.a.path: not a file of the kernel (got '/etc/passwd'); a path below /proc or /sys",
            ),
            (
                "/proc/sys/a",
                "/proc/../etc/a",
                "a.toml:3: setting.a.path: leads upwards",
            ),
            (
                "/proc/sys/a",
                "/sys/{disk}",
                "a.toml:3: setting.a.path: unknown placeholder (got '/sys/{disk}'); known: {cpu},",
            ),
            (
                "/proc/sys/a",
                "/sys/{rx}",
                "a.toml:3: setting.a.path: a queue of no card",
            ),
            (
                "/proc/sys/a",
                "/sys/{cpu}/{nic}",
                "a.toml:3: setting.a.path: too many placeholders",
            ),
            (
                "why = ''",
                "",
                "a.toml:1: setting.a: missing key why; add it",
            ),
            (
                "undo = ''",
                "undo = ''\n[[setting]]\nid = 'a'\npath = '/sys/b'\nvalue = ''\nwhy = ''\nsource = ''\ncost = ''\nundo = ''",
                "a.toml:9: setting.a: defined twice; each id once",
            ),
            (
                "[[setting]]",
                "[[settings]]",
                "a.toml:1: settings: unknown key; known here: setting",
            ),
        ];
        assert!(load(GOOD).is_ok());
        for (from, to, expected) in cases {
            let text = GOOD.replacen(from, to, 1);
            let error = load(&text).err().unwrap_or_default();
            assert!(error.starts_with(expected), "{to}: {error}");
        }
    }

    #[test]
    fn at_most_so_many() {
        let many = |count| (0..count).map(|id| GOOD.replacen("'a'", &format!("'a{id}'"), 1));
        assert!(load(&many(TUNE_SETTINGS_MAX).collect::<String>()).is_ok());
        let error = load(&many(TUNE_SETTINGS_MAX + 1).collect::<String>()).unwrap_err();
        assert!(
            error.contains("one setting too many; at most 256"),
            "{error}"
        );
    }
}
