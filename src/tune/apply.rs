//! Writes settings and puts back what was there.

use std::io;

use nix::unistd::geteuid;

use super::check::{Checked, Finding, Verdict};
use super::journal::{Entry, Journal};
use super::rules::Want;
use super::settings::{Format, Target};
use super::value;
use crate::config::limits::TUNE_VALUE_BYTES_MAX;
use crate::sys::tree::Tree;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines about what was done.
    pub done: Vec<String>,
    /// One line for everything that failed.
    pub failed: Vec<String>,
}

/// Writes everything that differs, after the journal has what was there.
///
/// What fails is said and does not stop the rest.
///
/// # Errors
/// When the journal cannot be written: then nothing was changed.
pub fn apply(
    tree: &Tree,
    checked: &[Checked<'_>],
    journal: &mut Journal,
) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let differing = checked.iter().filter(|it| it.verdict() == Verdict::Differs);
    for it in differing.clone() {
        for (finding, change) in changes(it) {
            journal.note(Entry {
                id: it.setting.id.clone(),
                path: finding.place.clone(),
                before: change.before.clone(),
                word: value::chosen(&change.before),
                wrote: change.value.clone(),
            });
        }
    }
    if differing.clone().next().is_none() {
        outcome.done.push("nothing to change".to_owned());
        return Ok(outcome);
    }
    journal.save()?;
    for it in differing {
        let mut changed = 0;
        let mut last = String::new();
        for (finding, change) in changes(it) {
            match set(tree, it, finding, &change.value) {
                Ok(()) => {
                    changed += 1;
                    let before = finding.current.as_deref().unwrap_or_default();
                    last = format!("{} -> {}", value::shorten(before), change.value);
                }
                Err(why) => {
                    let id = &it.setting.id;
                    outcome
                        .failed
                        .push(format!("{id}: {}: {why}", finding.place));
                }
            }
        }
        let id = &it.setting.id;
        match changed {
            0 => {}
            1 => outcome.done.push(format!("changed {id}: {last}")),
            count => outcome.done.push(format!("changed {id}: {count} files")),
        }
    }
    let kept = journal.path();
    let line = format!("what was there before is kept in {}", kept.display());
    outcome.done.push(line);
    Ok(outcome)
}

fn changes<'a>(
    checked: &'a Checked<'_>,
) -> impl Iterator<Item = (&'a Finding, &'a super::check::Change)> {
    let findings = checked.findings.iter();
    findings.filter_map(|finding| Some((finding, finding.change.as_ref()?)))
}

/// Writes one value and looks whether it is there.
fn set(tree: &Tree, checked: &Checked<'_>, finding: &Finding, value: &str) -> Result<(), String> {
    let written = tree.write(&finding.place, format!("{value}\n").as_bytes());
    written.map_err(|error| refused(value, &error))?;
    let text = tree.text(&finding.place, TUNE_VALUE_BYTES_MAX);
    let text = text.map_err(|error| format!("cannot be read back: {error}"))?;
    let Target::File { format, .. } = checked.setting.target else {
        return Ok(());
    };
    let want = match format {
        Format::Words | Format::Choice => Want::AnyOf(vec![value.to_owned()]),
        Format::List | Format::Mask => finding.cpus(format),
    };
    match value::holds(&text, format, &want) {
        Ok(true) => Ok(()),
        _ => {
            let now = value::current(&text, format);
            Err(format!(
                "{value} was taken, but it holds {}",
                value::shorten(&now)
            ))
        }
    }
}

impl Finding {
    /// The CPUs that a change writes.
    fn cpus(&self, format: Format) -> Want {
        let value = self.change.as_ref().map(|change| change.value.as_str());
        let value = value.unwrap_or_default();
        let cpus = match format {
            Format::Mask => crate::config::CpuSet::from_mask(value),
            _ => crate::config::CpuSet::from_list(value),
        };
        Want::Cpus(cpus.unwrap_or_default())
    }
}

/// Why a value was not taken, with what helps.
fn refused(value: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied if geteuid().is_root() => " (the kernel lets nobody)",
        io::ErrorKind::PermissionDenied => " (run as root)",
        io::ErrorKind::ReadOnlyFilesystem => " (a container's view of the kernel: run on the host)",
        io::ErrorKind::InvalidInput => " (the kernel does not know this value here)",
        _ => "",
    };
    format!("cannot be set to {value}: {error}{hint}")
}

/// Puts back what every file of the journal held, the last change first. Entries of files that
/// could not be put back stay in the journal.
pub fn revert(tree: &Tree, journal: &mut Journal) -> Outcome {
    let mut outcome = Outcome::default();
    let mut left = Vec::new();
    for entry in journal.entries.iter().rev() {
        match put_back(tree, entry) {
            Ok(None) => {}
            Ok(Some(line)) => outcome.done.push(line),
            Err(why) => {
                outcome
                    .failed
                    .push(format!("{}: {}: {why}", entry.id, entry.path));
                left.push(entry.clone());
            }
        }
    }
    left.reverse();
    journal.entries = left;
    outcome
}

/// Puts one file back; what to say of it, if it was changed at all.
fn put_back(tree: &Tree, entry: &Entry) -> Result<Option<String>, String> {
    let read = || tree.text(&entry.path, TUNE_VALUE_BYTES_MAX);
    let now = read().map_err(|error| format!("cannot be read: {error}"))?;
    if now == entry.before {
        return Ok(None);
    }
    let kernels = tree.is_kernels(&entry.path);
    let kernels = kernels.map_err(|error| format!("cannot be read: {error}"))?;
    // The kernel takes a word of its choice; any other file gets its bytes.
    let bytes = match &entry.word {
        Some(word) if kernels => format!("{word}\n"),
        _ => entry.before.clone(),
    };
    let written = tree.write(&entry.path, bytes.as_bytes());
    written.map_err(|error| refused(bytes.trim_end(), &error))?;
    let after = read().map_err(|error| format!("cannot be read back: {error}"))?;
    if after != entry.before {
        let (after, before) = (after.trim_end(), entry.before.trim_end());
        return Err(format!("holds {after} instead of {before}"));
    }
    let (id, path) = (&entry.id, &entry.path);
    Ok(Some(match is_ours(&now, &entry.wrote) {
        true => format!("put back {id}: {path}"),
        false => format!(
            "put back {id}: {path} (meanwhile it held {})",
            now.trim_end()
        ),
    }))
}

/// Whether a file holds what was written, in whichever form the kernel shows it.
fn is_ours(now: &str, wrote: &str) -> bool {
    let forms = [Format::Words, Format::Choice, Format::List, Format::Mask];
    let mut forms = forms.into_iter();
    forms.any(|format| value::current(now, format) == value::current(wrote, format))
}
