//! `skep run --watch`: a component that changes is served from its next request on.
//!
//! ```text
//! sources ──changed, and quiet──► --build CMD ──failed──► its output; the old program stays
//!                                      │ done
//! component ──changed, and quiet───────┴──► compile ──refused──► why; the old program stays
//!                                              └──► the next request has the new one
//! ```
//!
//! Files are looked at every [`limits::WATCH_POLL_MS`], which works on every file system; a change
//! counts when two looks find the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::config::limits;
use crate::sys::report;
use crate::worker::Reloader;

/// Directories that hold what is made of sources, or are somebody else's.
const NOT_SOURCES: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// What is watched, and what is done.
#[derive(Debug)]
pub(super) struct Watch {
    /// The component.
    pub(super) component: PathBuf,
    /// The command that makes it, for the shell.
    pub(super) build: Option<String>,
}

/// Tells two states of a file apart: inode, length, time of the last change in nanoseconds.
type Stamp = (u64, u64, i128);

/// What was seen of some files.
type Seen = BTreeMap<PathBuf, Stamp>;

impl Watch {
    /// Runs the command, if there is one; says whether it succeeded.
    pub(super) fn build(&self) -> bool {
        let Some(command) = &self.build else {
            return true;
        };
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::null());
        let why = match shell.output() {
            Ok(output) if output.status.success() => return true,
            Ok(output) => {
                for text in [output.stdout, output.stderr] {
                    eprint!("{}", String::from_utf8_lossy(&text));
                }
                output.status.to_string()
            }
            Err(error) => error.to_string(),
        };
        report::line(format_args!("--build: {command}: {why}"));
        false
    }

    /// Watches until the process ends.
    pub(super) fn run(self, reloader: &Reloader) {
        let mut sources = Sources::default();
        let mut component = stamp(&self.component);
        let mut seen = self.sources();
        loop {
            pause();
            if self.build.is_some() {
                let now = self.sources();
                if now != seen {
                    let settled = self.settled(now);
                    let mut is_due = sources.is_edited(&changed(&seen, &settled));
                    seen = settled;
                    while is_due {
                        self.build();
                        let after = self.sources();
                        is_due = sources.is_edited_meanwhile(&changed(&seen, &after));
                        seen = after;
                    }
                }
            }
            let now = stamp(&self.component);
            // While it is being replaced there is none.
            if now.is_some() && now != component {
                pause();
                if stamp(&self.component) == now {
                    component = now;
                    reload(reloader);
                }
            }
        }
    }

    /// Looks until nothing changes any more.
    fn settled(&self, mut seen: Seen) -> Seen {
        loop {
            pause();
            let now = self.sources();
            if now == seen {
                return now;
            }
            seen = now;
        }
    }

    /// The files below the current directory that may be sources.
    fn sources(&self) -> Seen {
        let mut seen = Seen::new();
        if self.build.is_some() {
            let mut left = vec![PathBuf::from(".")];
            while let Some(dir) = left.pop() {
                self.look(&dir, &mut left, &mut seen);
            }
        }
        seen
    }

    fn look(&self, dir: &Path, left: &mut Vec<PathBuf>, seen: &mut Seen) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if name.starts_with('.') || seen.len() >= limits::WATCH_FILES_MAX {
                continue;
            }
            if kind.is_dir() {
                if !NOT_SOURCES.contains(&&*name) {
                    left.push(path);
                }
            } else if !name.ends_with(".wasm")
                && let Some(stamp) = stamp(&path)
            {
                seen.insert(path, stamp);
            }
        }
    }
}

/// Which files are sources, as far as builds have shown.
///
/// A command may write files beside the sources. What changes while it runs may be its own, or may have
/// been edited meanwhile: then it runs once more, and what changes again is its own. An edit at any other
/// time says that a file is a source after all.
#[derive(Debug, Default)]
struct Sources {
    suspects: BTreeSet<PathBuf>,
    outputs: BTreeSet<PathBuf>,
}

impl Sources {
    /// Files have changed while nothing was built: whether there is something to build.
    fn is_edited(&mut self, changed: &BTreeSet<PathBuf>) -> bool {
        self.suspects.clear();
        self.outputs.retain(|path| !changed.contains(path));
        !changed.is_empty()
    }

    /// Files have changed during a build: whether there may be something to build again.
    fn is_edited_meanwhile(&mut self, changed: &BTreeSet<PathBuf>) -> bool {
        let new: BTreeSet<_> = changed.difference(&self.outputs).cloned().collect();
        if new.is_subset(&self.suspects) {
            self.outputs.extend(new);
            return false;
        }
        self.suspects.extend(new);
        true
    }
}

/// Files that are in only one of the two, or another in the second.
fn changed(before: &Seen, after: &Seen) -> BTreeSet<PathBuf> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let others = after
        .iter()
        .filter(|(path, stamp)| before.get(*path) != Some(stamp));
    gone.chain(others.map(|(path, _)| path)).cloned().collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    let changed = i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec());
    Some((data.ino(), data.len(), changed))
}

fn pause() {
    std::thread::sleep(Duration::from_millis(limits::WATCH_POLL_MS));
}

fn reload(reloader: &Reloader) {
    match reloader.reload() {
        Ok(()) => report::line(format_args!("reloaded")),
        Err(error) => report::line(format_args!("not reloaded: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_a_build_writes_is_no_source_until_somebody_edits_it() {
        let mut sources = Sources::default();
        assert!(!sources.is_edited(&paths(&[])));
        assert!(sources.is_edited(&paths(&["main.rs"])));
        // Its own output, which is not known yet; the second time it is.
        assert!(sources.is_edited_meanwhile(&paths(&["made.txt"])));
        assert!(!sources.is_edited_meanwhile(&paths(&["made.txt"])));
        // The next edit builds once.
        assert!(sources.is_edited(&paths(&["main.rs"])));
        assert!(!sources.is_edited_meanwhile(&paths(&["made.txt"])));
        // Edited during a build: built again.
        assert!(sources.is_edited(&paths(&["main.rs"])));
        assert!(sources.is_edited_meanwhile(&paths(&["main.rs", "made.txt"])));
        assert!(!sources.is_edited_meanwhile(&paths(&["made.txt"])));
        // An output that somebody edits is a source.
        assert!(sources.is_edited(&paths(&["made.txt"])));
        assert!(sources.is_edited_meanwhile(&paths(&["made.txt"])));
    }

    #[test]
    fn changes_are_new_files_gone_ones_and_others() {
        let seen = |files: &[(&str, u64)]| -> Seen {
            let files = files.iter();
            files
                .map(|(name, length)| (name.into(), (1, *length, 0)))
                .collect()
        };
        let before = seen(&[("a", 1), ("b", 1), ("c", 1)]);
        let after = seen(&[("a", 1), ("b", 2), ("d", 1)]);
        assert_eq!(changed(&before, &after), paths(&["b", "c", "d"]));
        assert_eq!(changed(&after, &after), paths(&[]));
    }
}
