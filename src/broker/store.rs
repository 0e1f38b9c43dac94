//! Compiled artifacts on disk, by name.
//!
//! ```text
//! DIR (0700)/ key (0600) · NAME.cwasm (0444) · NAME.tag (0444) · .new-… (being written)
//! NAME = BLAKE3(component ‖ engine settings): equal names are equal code
//! ```
//!
//! An artifact is opened once, checked on that descriptor ([`tag`](super::tag)) and handed out as
//! that descriptor: what was verified is what is mapped, and all workers share its pages. What
//! fails a check is never handed out. Files appear by `rename`, after their bytes are on disk; the
//! tag comes last.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use super::tag::{Key, Refusal, TAG_BYTES_MAX, make_tag, verify_artifact};
use crate::config::limits;
use crate::control::Flavour;

/// All artifacts of a directory together, in bytes; above it those used longest ago and by no
/// tenant go. 16 GiB is the artifacts of 500 large Python components.
pub const STORE_BYTES_MAX: u64 = 16 << 30;

/// An unfinished file that is older than this belongs to nobody any more.
const UNFINISHED_AGE: Duration = Duration::from_secs(3600);

/// Prefix of files that are being written.
const UNFINISHED: &str = ".new-";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something in the file system.
    #[error("artifacts directory {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Somebody else could write to it.
    #[error(
        "artifacts directory {path}: mode {mode:o} and owner {owner} let others in; \
         `chmod 700` it, or configure artifacts.dir to one that is yours alone"
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// The key file is not a key.
    #[error("artifacts key {path} is damaged: remove it, and artifacts are compiled again")]
    Key {
        /// The file.
        path: PathBuf,
    },
}

/// Nobody writes a finished file, and whoever is given it by descriptor may read it: a worker has
/// another user. The directory keeps everyone else out.
const MODE: u32 = 0o444;

/// A directory of artifacts.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    key: Key,
}

impl Store {
    /// Opens the directory, and makes it and its key when they are not there.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(at(dir))?;
        let meta = fs::metadata(dir).map_err(at(dir))?;
        if meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            let (mode, owner) = (meta.mode() & 0o7777, meta.uid());
            return Err(StoreError::Shared {
                path: dir.to_owned(),
                mode,
                owner,
            });
        }
        let path = dir.join("key");
        let key = match read_key(&path).map_err(at(&path))? {
            Some(key) => key,
            None => {
                make_key(dir, &path).map_err(at(&path))?;
                read_key(&path).map_err(at(&path))?.unwrap_or_default()
            }
        };
        let Ok(key) = Key::try_from(key) else {
            return Err(StoreError::Key { path });
        };
        Ok(Store {
            dir: dir.to_owned(),
            key,
        })
    }

    /// The artifact of that name, verified, as the read-only descriptor that was verified; `None`
    /// when there is none.
    pub fn get(&self, name: &str) -> Result<Option<(Flavour, File)>, Refusal> {
        let Some(mut file) = open_nofollow(&self.path(name, "cwasm"))? else {
            return Ok(None);
        };
        check(&file, limits::ARTIFACT_BYTES_MAX)?;
        let Some(tag_file) = open_nofollow(&self.path(name, "tag"))? else {
            return Err(Refusal::Untagged);
        };
        check(&tag_file, TAG_BYTES_MAX)?;
        let mut tag = String::new();
        tag_file.take(TAG_BYTES_MAX).read_to_string(&mut tag)?;
        let flavour = verify_artifact(&self.key, name, &tag, &mut file)?;
        // Used now: the last to go when the directory is too large. Not worth failing for.
        let _ = futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW);
        Ok(Some((flavour, file)))
    }

    /// Keeps `artifact`, read from its start, under that name.
    pub fn put(&self, name: &str, flavour: Flavour, artifact: &mut File) -> io::Result<()> {
        artifact.rewind()?;
        let mut file = Unfinished::create(&self.dir)?;
        let copied = Tee {
            from: artifact,
            to: &mut file.file,
        };
        let tag = make_tag(&self.key, name, flavour, copied)?;
        file.finish(&self.path(name, "cwasm"))?;
        let mut file = Unfinished::create(&self.dir)?;
        file.file.write_all(tag.as_bytes())?;
        file.finish(&self.path(name, "tag"))?;
        File::open(&self.dir)?.sync_all()
    }

    /// Takes an artifact away. Workers that mapped it keep it.
    pub fn remove(&self, name: &str) {
        for extension in ["tag", "cwasm"] {
            // Gone already, or the next `put` replaces it.
            let _ = fs::remove_file(self.path(name, extension));
        }
    }

    /// Removes unfinished files of earlier runs, and while there are more than `bytes_max`,
    /// artifacts that are not `in_use`, those used longest ago first. Says how many artifacts went.
    pub fn sweep(&self, in_use: &HashSet<String>, bytes_max: u64) -> io::Result<usize> {
        let now = SystemTime::now();
        let mut artifacts = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let (Some(file), Ok(meta)) = (file_name.to_str(), entry.metadata()) else {
                continue;
            };
            let used = meta.modified().unwrap_or(now);
            if file.starts_with(UNFINISHED) {
                if now
                    .duration_since(used)
                    .is_ok_and(|age| age > UNFINISHED_AGE)
                {
                    let _ = fs::remove_file(entry.path());
                }
            } else if let Some(name) = file.strip_suffix(".cwasm") {
                artifacts.push((used, meta.len(), name.to_owned()));
            }
        }
        artifacts.sort_unstable();
        let mut total: u64 = artifacts.iter().map(|(_, bytes, _)| bytes).sum();
        let mut removed = 0;
        for (_, bytes, name) in artifacts {
            if total <= bytes_max {
                break;
            }
            if !in_use.contains(&name) {
                self.remove(&name);
                total -= bytes;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{name}.{extension}"))
    }
}

/// Opens a file of the store, never through a link and never waiting for a FIFO's writer.
fn open_nofollow(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file is as [`Unfinished::finish`] left it.
fn check(file: &File, bytes_max: u64) -> Result<(), Refusal> {
    let meta = file.metadata()?;
    let refuse = |what: String| Err(Refusal::File(what));
    if !meta.is_file() {
        return refuse("it is not a regular file".into());
    }
    if meta.uid() != geteuid().as_raw() {
        return refuse(format!("user {} owns it", meta.uid()));
    }
    if meta.mode() & 0o7777 != MODE {
        let mode = meta.mode() & 0o7777;
        return refuse(format!("its mode is {mode:o}, not {MODE:o}"));
    }
    if meta.nlink() != 1 {
        return refuse(format!("it has {} names, not 1", meta.nlink()));
    }
    if meta.len() > bytes_max {
        return refuse(format!(
            "it has {} bytes, more than {bytes_max}",
            meta.len()
        ));
    }
    Ok(())
}

/// A file on its way into the store; removed when dropped before it is finished.
struct Unfinished {
    file: File,
    path: Option<PathBuf>,
}

impl Unfinished {
    fn create(dir: &Path) -> io::Result<Unfinished> {
        // Another host's broker may use the directory: in its own PID namespace, it has the same number.
        let mut number = [0; 8];
        getrandom::fill(&mut number).map_err(|error| io::Error::other(error.to_string()))?;
        let number = u64::from_ne_bytes(number);
        let path = dir.join(format!("{UNFINISHED}{number:016x}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Unfinished {
            file,
            path: Some(path),
        })
    }

    /// Puts the file on disk, read-only, then under its name.
    fn finish(mut self, name: &Path) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(MODE))?;
        self.file.sync_all()?;
        match self.path.take() {
            Some(path) => fs::rename(path, name),
            None => Ok(()),
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Yields what it reads and writes it on the way.
struct Tee<'a> {
    from: &'a mut File,
    to: &'a mut File,
}

impl Read for Tee<'_> {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(chunk)?;
        self.to.write_all(&chunk[..length])?;
        Ok(length)
    }
}

fn read_key(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_nofollow(path)? else {
        return Ok(None);
    };
    let mut key = Vec::new();
    file.take(33).read_to_end(&mut key)?;
    Ok(Some(key))
}

/// Makes a key, unless another process was first: then its key stays.
fn make_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut unfinished = Unfinished::create(dir)?;
    unfinished.file.write_all(&key)?;
    unfinished.file.sync_all()?;
    let from = unfinished.path.as_deref().unwrap_or(path);
    match fs::hard_link(from, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
