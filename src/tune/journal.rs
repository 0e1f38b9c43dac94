//! What files held before they were changed: written and synced before the first change.
//!
//! ```text
//! apply    read ─► journal (tmp, fsync, rename, fsync of the directory) ─► write ─► read back
//! revert   journal ─► write what was there, last one first ─► remove the journal
//! ```
//!
//! One JSON file. It names the root that it is about, and carries a digest: a journal that was cut
//! or edited is refused as a whole. An entry's first `before` stays, however often settings are
//! applied. Text is kept exactly; what is no text is never changed, so there is nothing else to keep.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::limits::TUNE_JOURNAL_BYTES_MAX;

/// The format's number.
const VERSION: u32 = 1;
/// The journal's name in its directory.
const NAME: &str = "journal.json";

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The setting that changed it first.
    pub id: String,
    /// Its path, from the root.
    pub path: String,
    /// Its exact content before.
    pub before: String,
    /// What the kernel wants written to have that again, where it is not the content itself: the
    /// word that was in brackets.
    pub word: Option<String>,
    /// What was written last.
    pub wrote: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    root: PathBuf,
    digest: String,
    entries: Vec<Entry>,
}

/// The journal of one root, locked while this lives.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    root: PathBuf,
    /// Changed files, in the order in which they were.
    pub entries: Vec<Entry>,
    /// The directory, open: the lock is on it.
    lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if it is not there, about `root`, an absolute path.
    ///
    /// # Errors
    /// One line: the directory cannot be made or is locked; the journal is damaged or about another
    /// root.
    pub fn open(dir: &Path, root: &Path) -> Result<Journal, String> {
        let told = |what: &str, error: io::Error| format!("{}: {what}: {error}", dir.display());
        fs::create_dir_all(dir).map_err(|error| told("cannot be made", error))?;
        let lock = File::open(dir).map_err(|error| told("cannot be opened", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(format!("{}: another `skep tune` is at work", dir.display()));
            }
            Err(fs::TryLockError::Error(error)) => return Err(told("cannot be locked", error)),
        }
        let path = dir.join(NAME);
        let entries = match read(&path) {
            Ok(bytes) => parse(&path, &bytes, root)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: cannot be read: {error}", path.display())),
        };
        Ok(Journal {
            dir: dir.to_owned(),
            root: root.to_owned(),
            entries,
            lock,
        })
    }

    /// Whether there may be a journal in `dir`: where it cannot be told, opening it will say why.
    pub fn lies_in(dir: &Path) -> bool {
        let looked = dir.join(NAME).symlink_metadata();
        !looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    /// Notes a change that is about to be made. What a file held before the first one stays.
    pub fn note(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|it| it.path == entry.path) {
            Some(known) => known.wrote = entry.wrote,
            None => self.entries.push(entry),
        }
    }

    /// Puts the journal on the disk: when this returns, a power cut does not lose it.
    ///
    /// # Errors
    /// One line; then the old journal is still there.
    pub fn save(&self) -> Result<(), String> {
        let path = self.path();
        let told = |error: io::Error| format!("{}: cannot be written: {error}", path.display());
        let stored = Stored {
            version: VERSION,
            root: self.root.clone(),
            digest: digest(&self.root, &self.entries),
            entries: self.entries.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| told(error.into()))?;
        if bytes.len() > TUNE_JOURNAL_BYTES_MAX {
            return Err(format!(
                "{}: would be longer than {TUNE_JOURNAL_BYTES_MAX} bytes",
                path.display()
            ));
        }
        self.replace(&bytes).map_err(told)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.path()).map_err(|error| error.error)?;
        self.lock.sync_all()
    }

    /// Removes the journal: nothing is changed any more.
    ///
    /// # Errors
    /// One line.
    pub fn remove(self) -> Result<(), String> {
        let path = self.path();
        let removed = fs::remove_file(&path).and_then(|()| self.lock.sync_all());
        removed.map_err(|error| format!("{}: cannot be removed: {error}", path.display()))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(TUNE_JOURNAL_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8], root: &Path) -> Result<Vec<Entry>, String> {
    let damaged = |what: &str| {
        format!(
            "{}: damaged ({what}); put values back by hand from what it still says, then remove it",
            path.display()
        )
    };
    if bytes.len() > TUNE_JOURNAL_BYTES_MAX {
        return Err(damaged("too long"));
    }
    let stored: Stored =
        serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
    if stored.version != VERSION {
        return Err(format!(
            "{}: version {}; this skep knows version {VERSION}",
            path.display(),
            stored.version
        ));
    }
    if stored.digest != digest(&stored.root, &stored.entries) {
        return Err(damaged("its digest is not that of its entries"));
    }
    if stored.root != root {
        return Err(format!(
            "{}: is about {}, not about {}; name another directory with --state",
            path.display(),
            stored.root.display(),
            root.display()
        ));
    }
    Ok(stored.entries)
}

/// BLAKE3 over every field, each with its length in front.
fn digest(root: &Path, entries: &[Entry]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(root.as_os_str().as_encoded_bytes());
    for entry in entries {
        add(entry.id.as_bytes());
        add(entry.path.as_bytes());
        add(entry.before.as_bytes());
        add(entry.word.as_deref().unwrap_or_default().as_bytes());
        add(entry.wrote.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, before: &str, wrote: &str) -> Entry {
        Entry {
            id: "a".to_owned(),
            path: path.to_owned(),
            before: before.to_owned(),
            word: None,
            wrote: wrote.to_owned(),
        }
    }

    #[test]
    fn the_first_value_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), Path::new("/r")).unwrap();
        journal.note(entry("/proc/a", "1\n", "2"));
        journal.save().unwrap();
        drop(journal);
        let mut journal = Journal::open(dir.path(), Path::new("/r")).unwrap();
        journal.note(entry("/proc/a", "2\n", "3"));
        journal.note(entry("/proc/b", "", "3"));
        journal.save().unwrap();
        drop(journal);
        let journal = Journal::open(dir.path(), Path::new("/r")).unwrap();
        let expected = [entry("/proc/a", "1\n", "3"), entry("/proc/b", "", "3")];
        assert_eq!(journal.entries, expected);
        journal.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_at_once_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path(), Path::new("/r")).unwrap();
        let second = Journal::open(dir.path(), Path::new("/r")).unwrap_err();
        assert!(
            second.ends_with("another `skep tune` is at work"),
            "{second}"
        );
    }

    #[test]
    fn a_journal_that_is_not_whole_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let open = || Journal::open(dir.path(), Path::new("/r"));
        let mut journal = open().unwrap();
        journal.note(entry("/proc/a", "1\n", "2"));
        journal.save().unwrap();
        drop(journal);
        let whole = fs::read_to_string(&path).unwrap();
        let cases = [
            (String::new(), "damaged (EOF"),
            (
                whole.get(..whole.len() / 2).unwrap().to_owned(),
                "damaged (",
            ),
            (whole.replace("\"1\\n\"", "\"7\\n\""), "damaged (its digest"),
            (whole.replace("/proc/a", "/proc/b"), "damaged (its digest"),
            (whole.replace("\"/r\"", "\"/s\""), "damaged (its digest"),
            (
                whole.replace("\"version\": 1", "\"version\": 2"),
                "version 2; this skep",
            ),
            (
                whole.replace("\"word\"", "\"wort\""),
                "damaged (unknown field",
            ),
        ];
        for (text, expected) in cases {
            fs::write(&path, text).unwrap();
            let error = open().unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        fs::write(&path, whole).unwrap();
        let other = Journal::open(dir.path(), Path::new("/other")).unwrap_err();
        assert!(other.contains("is about /r, not about /other"), "{other}");
        assert!(open().is_ok());
    }

    #[test]
    fn too_long_a_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let file = File::create(&path).unwrap();
        file.set_len(TUNE_JOURNAL_BYTES_MAX as u64 + 1).unwrap();
        let error = Journal::open(dir.path(), Path::new("/r")).unwrap_err();
        assert!(error.contains("damaged (too long)"), "{error}");
    }
}
