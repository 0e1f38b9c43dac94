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

use super::rules::Rule;
use super::setting_file;
use crate::config::{CpuSet, Errors, Report, read_text};

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
    /// Exactly these CPUs.
    Cpus(CpuSet),
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
            let subject = path.file_stem().unwrap_or_default().to_string_lossy();
            setting_file::read(&mut report, &text, &subject, &mut settings);
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

#[cfg(test)]
mod tests {
    use super::*;

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
