//! One log file for each tenant, beside the host's log: `[log] dir`.
//!
//! ```text
//! dir/shop.log      lines of the tenant `shop`, the newest last
//! dir/shop.log.1    what was there before it was as large as it may be
//! dir/shop.log.2    … `keep` of them; the oldest is removed
//! ```
//!
//! Lines that name a tenant are copied there, as they are. Only tenants of the configuration have files:
//! a worker that was taken over can forge a line, and not a file's name. `skep logs` reads what is here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use crate::config::{LogDir, limits};

/// The names that have files: written by the broker's main task, read by the writer.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    /// A tenant is there.
    pub(super) fn add(&self, name: &str) {
        self.with(|names| names.insert(name.to_owned()));
    }

    /// A tenant is gone: what its last requests still say is in the host's log alone.
    pub(super) fn remove(&self, name: &str) {
        self.with(|names| names.remove(name));
    }

    fn has(&self, name: &str) -> bool {
        self.with(|names| names.contains(name))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        // A set that somebody panicked over is still a set.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The files of all tenants; few of them are open.
#[derive(Debug)]
pub(super) struct TenantFiles {
    place: LogDir,
    names: Names,
    open: BTreeMap<String, Open>,
    /// Counts writes: says which file was not written to for longest.
    writes: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    last_write: u64,
}

/// The part of a line that says whose it is.
#[derive(Deserialize)]
struct Named<'a> {
    // A name has no character that JSON escapes.
    #[serde(borrow, default)]
    tenant: Option<&'a str>,
}

impl TenantFiles {
    pub(super) fn new(place: LogDir, names: Names) -> Self {
        Self {
            place,
            names,
            open: BTreeMap::new(),
            writes: 0,
        }
    }

    /// Writes those of `lines` that are a tenant's; says how many could not be.
    pub(super) fn write(&mut self, lines: &[u8]) -> usize {
        let mut of_tenant: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if let Ok(Named { tenant: Some(name) }) = serde_json::from_slice(line) {
                of_tenant.entry(name).or_default().push(line);
            }
        }
        of_tenant.retain(|name, _| self.names.has(name));
        let mut lost = 0;
        for (name, lines) in of_tenant {
            if self.append(name, &lines).is_err() {
                self.open.remove(name);
                lost += lines.len();
            }
        }
        lost
    }

    fn append(&mut self, name: &str, lines: &[&[u8]]) -> io::Result<()> {
        let rotate_bytes = self.place.rotate_bytes;
        let mut block = Vec::new();
        for line in lines {
            let open = self.opened(name)?;
            let bytes = open.bytes + block.len() as u64;
            if bytes > 0 && bytes + line.len() as u64 > rotate_bytes {
                open.write(&mut block)?;
                self.rotate(name)?;
            }
            block.extend_from_slice(line);
        }
        self.opened(name)?.write(&mut block)
    }

    /// The tenant's file, opened where it is not; then the one that was idle for longest is closed.
    fn opened(&mut self, name: &str) -> io::Result<&mut Open> {
        self.writes += 1;
        if !self.open.contains_key(name) {
            if self.open.len() >= limits::LOG_TENANT_FILES_OPEN {
                let idle = self.open.iter().min_by_key(|(_, open)| open.last_write);
                if let Some(idle) = idle.map(|(name, _)| name.clone()) {
                    self.open.remove(&idle);
                }
            }
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(self.place.current(name))?;
            let bytes = file.metadata()?.len();
            let opened = Open {
                file,
                bytes,
                last_write: 0,
            };
            self.open.insert(name.to_owned(), opened);
        }
        let open = self.open.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        open.last_write = self.writes;
        Ok(open)
    }

    /// Every file of the tenant gets the next number; what is over `keep` is overwritten.
    fn rotate(&mut self, name: &str) -> io::Result<()> {
        self.open.remove(name);
        for number in (0..self.place.keep).rev() {
            let moved = fs::rename(
                self.place.numbered(name, number),
                self.place.numbered(name, number + 1),
            );
            match moved {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.place.keep == 0 {
            fs::remove_file(self.place.current(name))?;
        }
        Ok(())
    }

    /// Opens every file again before its next write: somebody may have moved it.
    pub(super) fn reopen(&mut self) {
        self.open.clear();
    }
}

impl Open {
    fn write(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        self.file.write_all(block)?;
        self.bytes += block.len() as u64;
        block.clear();
        Ok(())
    }
}

/// Makes the directory where it is not there; its parent has to be.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o750).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(dir, &error)),
        _ if dir.is_dir() => Ok(()),
        _ => Err(named(dir, &io::ErrorKind::NotADirectory.into())),
    }
}

fn named(dir: &Path, error: &io::Error) -> io::Error {
    let text = format!("log directory {}: {error}", dir.display());
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn files(rotate_bytes: u64, keep: usize, names: &[&str]) -> (tempfile::TempDir, TenantFiles) {
        let dir = tempfile::tempdir().unwrap();
        let known = Names::default();
        names.iter().for_each(|name| known.add(name));
        let place = LogDir {
            dir: dir.path().to_owned(),
            rotate_bytes,
            keep,
        };
        (dir, TenantFiles::new(place, known))
    }

    fn line(tenant: &str, number: usize) -> String {
        format!("{{\"tenant\":\"{tenant}\",\"n\":{number}}}\n")
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn each_tenant_has_its_own_lines_and_nobody_else_a_file() {
        let (dir, mut files) = files(1 << 20, 2, &["a", "b"]);
        let lines = [
            line("a", 1),
            line("b", 2),
            line("../c", 3),
            line("stranger", 4),
            "{\"kind\":\"access\",\"tenant\":null}\n".to_owned(),
            "no JSON\n".to_owned(),
            line("a", 5),
        ];
        assert_eq!(files.write(lines.concat().as_bytes()), 0);
        assert_eq!(read(dir.path().join("a.log")), line("a", 1) + &line("a", 5));
        assert_eq!(read(dir.path().join("b.log")), line("b", 2));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        files.names.remove("b");
        files.write(line("b", 6).as_bytes());
        assert_eq!(read(dir.path().join("b.log")), line("b", 2));
    }

    #[test]
    fn files_are_as_large_as_they_may_be_and_so_many() {
        let length = line("a", 1).len() as u64;
        for keep in [0, 1, 3] {
            let (dir, mut files) = files(2 * length, keep, &["a"]);
            for number in 1..10 {
                assert_eq!(files.write(line("a", number).as_bytes()), 0);
            }
            let all: Vec<_> = (0..=keep)
                .rev()
                .map(|number| read(files.place.numbered("a", number)))
                .collect();
            // Two lines in each but the last one.
            let expected: String = (9 - 2 * keep..10).map(|number| line("a", number)).collect();
            assert_eq!(all.concat(), expected, "{keep}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), keep + 1);
        }
    }

    #[test]
    fn few_are_open_and_what_cannot_be_written_is_counted() {
        let names: Vec<_> = (0..limits::LOG_TENANT_FILES_OPEN + 3)
            .map(|number| format!("t{number}"))
            .collect();
        let borrowed: Vec<_> = names.iter().map(String::as_str).collect();
        let (dir, mut files) = files(1 << 20, 1, &borrowed);
        for _ in 0..2 {
            let lines: String = names.iter().map(|name| line(name, 1)).collect();
            assert_eq!(files.write(lines.as_bytes()), 0);
            assert_eq!(files.open.len(), limits::LOG_TENANT_FILES_OPEN);
        }
        assert_eq!(read(dir.path().join("t0.log")), line("t0", 1).repeat(2));
        fs::remove_dir_all(dir.path()).unwrap();
        files.reopen();
        assert_eq!(files.write((line("t0", 1) + &line("t1", 1)).as_bytes()), 2);
    }
}
