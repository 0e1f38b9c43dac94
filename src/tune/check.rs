//! Compares a host with its settings, and changes nothing.

use std::io;

use serde::Serialize;

use super::places::{Of, Place, places};
use super::rules::{Context, Want};
use super::settings::{Audience, Format, Resource, Setting, Settings, Target};
use super::value;
use crate::config::CpuSet;
use crate::config::limits::{TUNE_FILE_BYTES_MAX, TUNE_VALUE_BYTES_MAX};
use crate::sys::tree::Tree;

/// How a setting or one of its files stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As wanted.
    Ok,
    /// Otherwise: `apply` would change it.
    Differs,
    /// Otherwise, and only a person can change it: it takes a reboot or a restart of the service.
    Advice,
    /// This kernel or machine does not have it.
    Impossible,
    /// Not asked for here.
    Skipped,
}

impl Verdict {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Differs => "differs",
            Verdict::Advice => "advice",
            Verdict::Impossible => "impossible",
            Verdict::Skipped => "skipped",
        }
    }
}

/// One file, argument or limit.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The file's path; or the argument's or limit's name.
    pub place: String,
    /// What it holds; absent when that cannot be read.
    pub current: Option<String>,
    /// What it should hold; absent when nothing is wanted of it.
    pub wanted: Option<String>,
    /// How it stands.
    pub verdict: Verdict,
    /// Why, where that needs words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What `apply` would write.
    #[serde(skip)]
    pub change: Option<Change>,
}

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The file's exact content before.
    pub before: String,
    /// The value, without a line's end.
    pub value: String,
}

/// One setting with everything that was found.
#[derive(Clone, Debug)]
pub struct Checked<'a> {
    /// The setting.
    pub setting: &'a Setting,
    /// One for each of its places; never empty.
    pub findings: Vec<Finding>,
}

impl Checked<'_> {
    /// How the setting stands: as the worst of its places.
    pub fn verdict(&self) -> Verdict {
        const WORST_FIRST: [Verdict; 5] = [
            Verdict::Differs,
            Verdict::Advice,
            Verdict::Impossible,
            Verdict::Skipped,
            Verdict::Ok,
        ];
        let has = |verdict: &Verdict| self.findings.iter().any(|it| it.verdict == *verdict);
        WORST_FIRST.into_iter().find(has).unwrap_or(Verdict::Ok)
    }
}

/// Settings that were named on the command line.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// Wanted, whoever they are for.
    pub with: Vec<String>,
    /// Not wanted.
    pub without: Vec<String>,
}

/// Compares every setting.
pub fn check<'a>(
    tree: &Tree,
    context: Context<'_>,
    settings: &'a Settings,
    named: &Named,
) -> Vec<Checked<'a>> {
    let checker = Checker { tree, context };
    let checked = |setting: &'a Setting| {
        let mut findings = checker.setting(setting);
        if let Some(note) = left_out(setting, &context.needs.profile, named) {
            for finding in &mut findings {
                finding.verdict = Verdict::Skipped;
                finding.note.clone_from(&note);
                finding.change = None;
            }
        }
        Checked { setting, findings }
    };
    settings.iter().map(checked).collect()
}

/// Why a setting is not asked for.
fn left_out(setting: &Setting, profile: &str, named: &Named) -> Option<String> {
    let id = &setting.id;
    if named.without.contains(id) {
        return Some("--without".to_owned());
    }
    match &setting.audience {
        Audience::Profiles(profiles)
            if !named.with.contains(id) && !profiles.iter().any(|it| it == profile) =>
        {
            let for_whom = match profiles.is_empty() {
                true => String::new(),
                false => format!("for profile {}; else ", profiles.join(", ")),
            };
            Some(format!("{for_whom}with `--with {id}`"))
        }
        _ => None,
    }
}

struct Checker<'a> {
    tree: &'a Tree,
    context: Context<'a>,
}

impl Checker<'_> {
    fn setting(&self, setting: &Setting) -> Vec<Finding> {
        match &setting.target {
            Target::File { pattern, format } => {
                match places(pattern, self.context.topology, self.context.layout) {
                    Ok(places) => places
                        .into_iter()
                        .map(|place| self.file(setting, place, *format))
                        .collect(),
                    Err(note) => vec![nowhere(pattern, note)],
                }
            }
            Target::Boot(argument) => vec![self.boot(setting, argument)],
            Target::Limit(resource) => vec![self.limit(setting, *resource)],
        }
    }

    fn file(&self, setting: &Setting, place: Place, format: Format) -> Finding {
        let read = self.tree.text(&place.path, TUNE_VALUE_BYTES_MAX);
        let mut finding = Finding {
            place: place.path,
            current: read.as_ref().ok().map(|text| value::current(text, format)),
            wanted: None,
            verdict: Verdict::Ok,
            note: String::new(),
            change: None,
        };
        let want = match self.context.want(setting, place.of) {
            Ok(want) => want,
            Err(note) => return finding.with(Verdict::Skipped, note),
        };
        finding.wanted = Some(value::in_words(&want));
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                let note = unreadable(&error, setting.absent.as_deref());
                return finding.with(Verdict::Impossible, note);
            }
        };
        match value::holds(&text, format, &want) {
            Ok(true) => finding,
            Err(note) => finding.with(Verdict::Impossible, note),
            Ok(false) => {
                finding.change = Some(Change {
                    before: text,
                    value: value::written(&want, format),
                });
                finding.with(Verdict::Differs, String::new())
            }
        }
    }

    fn boot(&self, setting: &Setting, argument: &str) -> Finding {
        let now = boot_cpus(&self.context.topology.command_line, argument);
        let finding = Finding {
            place: argument.to_owned(),
            current: Some(now.clone().unwrap_or_else(|| "not given".to_owned())),
            wanted: None,
            verdict: Verdict::Ok,
            note: String::new(),
            change: None,
        };
        let want = self.context.want(setting, Of::Host);
        self.advice(finding, want, now.as_deref().unwrap_or_default(), |text| {
            format!("add `{argument}={text}` to the kernel's command line and reboot")
        })
    }

    fn limit(&self, setting: &Setting, resource: Resource) -> Finding {
        let name = resource.name();
        let now = self.hard_limit(name);
        let mut finding = Finding {
            place: name.to_owned(),
            current: now.as_ref().ok().cloned(),
            wanted: None,
            verdict: Verdict::Ok,
            note: String::new(),
            change: None,
        };
        let want = self.context.want(setting, Of::Host);
        match now {
            Ok(now) => self.advice(finding, want, &now, |text| {
                let directive = resource.directive();
                format!("this command's limit; give the service `{directive}={text}`")
            }),
            Err(error) => {
                finding.wanted = want.ok().map(|want| value::in_words(&want));
                finding.with(Verdict::Impossible, format!("/proc/self/limits: {error}"))
            }
        }
    }

    fn advice(
        &self,
        mut finding: Finding,
        want: Result<Want, String>,
        now: &str,
        say: impl FnOnce(String) -> String,
    ) -> Finding {
        let format = match want {
            Ok(Want::Cpus(_)) => Format::List,
            _ => Format::Words,
        };
        let want = match want {
            Ok(want) => want,
            Err(note) => return finding.with(Verdict::Skipped, note),
        };
        finding.wanted = Some(value::in_words(&want));
        match value::holds(now, format, &want) {
            Ok(true) => finding,
            _ => finding.with(Verdict::Advice, say(value::written(&want, format))),
        }
    }

    /// The hard limit of this process: skep raises its soft one to that itself.
    fn hard_limit(&self, name: &str) -> io::Result<String> {
        let text = self.tree.text("/proc/self/limits", TUNE_FILE_BYTES_MAX)?;
        let mut lines = text.lines();
        let values = lines.find_map(|line| line.strip_prefix(name));
        let hard = values.and_then(|values| values.split_whitespace().nth(1));
        let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("no line {name}"));
        hard.map(str::to_owned).ok_or_else(missing)
    }
}

impl Finding {
    fn with(mut self, verdict: Verdict, note: String) -> Finding {
        self.verdict = verdict;
        self.note = note;
        self
    }
}

impl Resource {
    /// Its line in /proc/self/limits.
    pub(super) fn name(self) -> &'static str {
        match self {
            Resource::OpenFiles => "Max open files",
            Resource::LockedMemory => "Max locked memory",
        }
    }

    /// Its key in a systemd unit.
    pub(super) fn directive(self) -> &'static str {
        match self {
            Resource::OpenFiles => "LimitNOFILE",
            Resource::LockedMemory => "LimitMEMLOCK",
        }
    }
}

fn nowhere(pattern: &str, note: String) -> Finding {
    Finding {
        place: pattern.to_owned(),
        current: None,
        wanted: None,
        verdict: Verdict::Impossible,
        note,
        change: None,
    }
}

fn unreadable(error: &io::Error, absent: Option<&str>) -> String {
    match (error.kind(), absent) {
        (io::ErrorKind::NotFound, Some(absent)) => format!("does not exist: {absent}"),
        (io::ErrorKind::NotFound, None) => "does not exist".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The CPUs of an argument of the kernel's command line, without the words that `isolcpus` may
/// have in front of them (Documentation/admin-guide/kernel-parameters.txt). The last one counts.
fn boot_cpus(command_line: &str, argument: &str) -> Option<String> {
    let arguments = command_line.split_whitespace();
    // What follows `--` is init's.
    let mut arguments = arguments
        .take_while(|word| *word != "--")
        .collect::<Vec<_>>();
    arguments.reverse();
    let list = arguments.iter().find_map(|word| {
        let (name, list) = word.split_once('=')?;
        (name == argument).then_some(list)
    })?;
    let is_word = |part: &&str| part.starts_with(|c: char| c.is_ascii_alphabetic());
    let numbers: Vec<_> = list.split(',').skip_while(is_word).collect();
    let list = numbers.join(",");
    Some(CpuSet::from_list(&list).map_or(list, |cpus| cpus.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_kernel() {
        let cases = [
            ("quiet isolcpus=1-3", Some("1-3")),
            ("isolcpus=managed_irq,domain,1-3,5", Some("1-3,5")),
            ("isolcpus=1 isolcpus=2", Some("2")),
            ("isolcpus=3,2", Some("2-3")),
            ("isolcpus=N-x", Some("")),
            ("isolcpus=1-x", Some("1-x")),
            ("quiet -- isolcpus=1", None),
            ("notisolcpus=1", None),
            ("isolcpus", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(boot_cpus(line, "isolcpus"), expected, "{line}");
        }
    }
}
