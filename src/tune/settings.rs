//! Host settings as data: `tuning/host/*.toml`, or a directory of one's own.
//!
//! ```text
//! [[setting]]
//! id = "somaxconn"
//! path = "/proc/sys/net/core/somaxconn"      or boot = "isolcpus", or limit = "open_files"
//! at_least = 4096                            or value = "…", any_of = ["…"], rule = "…"
//! why = "…"  source = "…"  cost = "…"  undo = "…"
//! ```
//!
//! A path may hold `{cpu}`, `{worker}`, `{nic}`, `{rx}`, `{tx}` or `{irq}`: it then stands for a
//! file of every CPU, every worker's CPU, every card, queue or interrupt.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::rules::Rule;
use crate::config::limits::TUNE_SETTINGS_MAX;
use crate::config::{Errors, Report, read_shape, read_text};

/// The built-in files, in the order in which their settings are applied.
const BUILT_IN: &[(&str, &str)] = &[
    ("memory", include_str!("../../tuning/host/memory.toml")),
    ("network", include_str!("../../tuning/host/network.toml")),
    (
        "interrupts",
        include_str!("../../tuning/host/interrupts.toml"),
    ),
    ("limits", include_str!("../../tuning/host/limits.toml")),
    // SMT comes last: switching it off takes CPUs away that others name.
    (
        "processor",
        include_str!("../../tuning/host/processor.toml"),
    ),
];

/// What a path may hold.
pub(super) const PLACEHOLDERS: &[&str] = &["{cpu}", "{worker}", "{nic}", "{rx}", "{tx}", "{irq}"];

/// One setting.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its unique name.
    pub id: String,
    /// The file it was read from, without `.toml`.
    pub subject: String,
    /// What is set.
    pub target: Target,
    /// To what.
    pub wanted: Wanted,
    /// Whether it is for everybody.
    pub audience: Audience,
    /// What it is good for.
    pub why: String,
    /// Where that is said or measured.
    pub source: String,
    /// What it costs.
    pub cost: String,
    /// How to undo it by hand.
    pub undo: String,
    /// Why its file may be missing.
    pub absent: Option<String>,
}

/// What a setting sets.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A file of the kernel.
    File {
        /// Its path, with placeholders.
        pattern: String,
        /// How its content is read.
        format: Format,
    },
    /// An argument of the kernel's command line with a list of CPUs: takes a reboot.
    Boot(String),
    /// A limit of skep's processes: takes a restart of the service.
    Limit(Resource),
}

/// How a file's content is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Words; how much space is between them does not matter.
    #[default]
    Words,
    /// `always [madvise] never`: the word in brackets counts, a word is written.
    Choice,
    /// A list of CPUs: `0-3,8`.
    List,
    /// A mask of CPUs: `ff`.
    Mask,
}

/// A limit of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// RLIMIT_NOFILE.
    OpenFiles,
    /// RLIMIT_MEMLOCK, in bytes.
    LockedMemory,
}

/// What a setting should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Exactly this.
    Value(String),
    /// This number or a larger one.
    AtLeast(u64),
    /// One of these; the first is written.
    AnyOf(Vec<String>),
    /// What a rule computes.
    Rule(Rule),
}

/// Who a setting is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Audience {
    /// Everybody.
    All,
    /// Those who have one of these profiles, and those who name it. Empty: only these.
    Profiles(Vec<String>),
}

/// The settings of a host, in the order in which they are applied.
#[derive(Debug)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// The built-in ones, or those of every `.toml` file of a directory, in the order of names.
    ///
    /// # Errors
    /// Everything wrong with the files, with their lines.
    pub fn load(dir: Option<&Path>) -> Result<Settings, Errors> {
        let files = match dir {
            Some(dir) => files_of(dir)?,
            None => BUILT_IN.iter().map(built_in).collect(),
        };
        let mut settings: Vec<Setting> = Vec::new();
        for (path, text) in files {
            let mut report = Report::new(&path, &text);
            let file = read_shape::<File>(&mut report, &text);
            let subject = path.file_stem().unwrap_or_default().to_string_lossy();
            for raw in file.iter().flat_map(|file| &file.setting) {
                check(&mut report, raw, &subject, &mut settings);
            }
            report.finish(())?;
        }
        Ok(Settings(settings))
    }

    /// Each, in the order in which they are applied.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// Refuses ids that no setting has.
    ///
    /// # Errors
    /// One line with the flag, the id and those that exist.
    pub fn know(&self, flag: &str, ids: &[String]) -> Result<(), Errors> {
        let unknown = |id: &&String| self.iter().all(|setting| setting.id != **id);
        match ids.iter().find(unknown) {
            None => Ok(()),
            Some(id) => {
                let known: Vec<_> = self.iter().map(|setting| setting.id.as_str()).collect();
                let right = format!("one of {}", known.join(", "));
                Err(Errors::flag(flag, "no such setting", id, right))
            }
        }
    }
}

fn built_in((name, text): &(&str, &str)) -> (PathBuf, String) {
    let path = format!("tuning/host/{name}.toml");
    (path.into(), (*text).to_owned())
}

fn files_of(dir: &Path) -> Result<Vec<(PathBuf, String)>, Errors> {
    const RIGHT: &str = "a directory with .toml files, such as tuning/host";
    let wrong = |text: String| Errors::flag("--settings", text, dir.display(), RIGHT);
    let entries = std::fs::read_dir(dir).map_err(|error| wrong(format!("cannot be read: {error}")));
    let mut paths: Vec<_> = entries?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("toml")))
        .collect();
    if paths.is_empty() {
        return Err(wrong("has no .toml file".to_owned()));
    }
    paths.sort();
    let read = |path: PathBuf| read_text(&path).map(|text| (path, text));
    paths.into_iter().map(read).collect()
}

/// A file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
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
    let target = match (&raw.path, &raw.boot, raw.limit) {
        (Some(path), None, None) => {
            if let Err((wrong, right)) = check_path(path.get_ref()) {
                report.value(path.span(), key(".path"), wrong, right);
            }
            Some(Target::File {
                pattern: path.get_ref().clone(),
                format: raw.format,
            })
        }
        (None, Some(argument), None) => Some(Target::Boot(argument.clone())),
        (None, None, Some(resource)) => Some(Target::Limit(resource)),
        _ => {
            let right = "exactly one of path, boot, limit";
            let at = Some(span.clone());
            report.place(at, key(""), "not clear what is set", right);
            None
        }
    };
    let wanted = match (&raw.value, raw.at_least, &raw.any_of, raw.rule) {
        (Some(value), None, None, None) => Some(Wanted::Value(value.clone())),
        (None, Some(least), None, None) => Some(Wanted::AtLeast(least)),
        (None, None, Some(words), None) if !words.is_empty() => Some(Wanted::AnyOf(words.clone())),
        (None, None, None, Some(rule)) => Some(Wanted::Rule(rule)),
        _ => {
            let right = "exactly one of value, at_least, any_of (with a word in it), rule";
            let at = Some(span.clone());
            report.place(at, key(""), "not clear what is wanted", right);
            None
        }
    };
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
        (Target::File { format, .. }, Wanted::AtLeast(_)) if *format != Format::Words => {
            Some("at_least only with numbers (format words)".to_owned())
        }
        (Target::File { .. }, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[setting]]\nid = 'a'\npath = '/proc/sys/a'\nvalue = '1'\nwhy = ''\nsource = ''\ncost = ''\nundo = ''\n";

    fn load(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), text).unwrap();
        let name = format!("{}/", dir.path().display());
        Settings::load(Some(dir.path())).map_err(|errors| errors.to_string().replace(&name, ""))
    }

    #[test]
    fn built_in_settings_are_right() {
        let settings = Settings::load(None).unwrap();
        assert!(settings.iter().count() >= 20);
        for setting in settings.iter() {
            for text in [&setting.why, &setting.source, &setting.cost, &setting.undo] {
                assert!(!text.is_empty(), "{}", setting.id);
                assert!(
                    !text.contains(['\n', '|']),
                    "{}: one line of a table",
                    setting.id
                );
            }
        }
        let last = settings.iter().last().map(|setting| setting.id.as_str());
        assert_eq!(last, Some("smt"), "it takes CPUs away that others name");
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
                "a.toml:1: settings[0]: unknown key; known here: setting",
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

    #[test]
    fn directories_without_files_and_unknown_ids_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let empty = Settings::load(Some(dir.path())).unwrap_err().to_string();
        assert!(empty.contains("--settings: has no .toml file"), "{empty}");
        let missing = Settings::load(Some(Path::new("/nowhere"))).unwrap_err();
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
        let settings = Settings::load(None).unwrap();
        assert!(settings.know("--with", &["smt".to_owned()]).is_ok());
        let unknown = settings.know("--with", &["smtt".to_owned()]).unwrap_err();
        assert!(
            unknown
                .to_string()
                .starts_with("--with: no such setting (got smtt); one of ")
        );
    }
}
