//! A component's file on its way into an artifact.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::tag;
use crate::config::limits;

/// The name of the artifact that this component is compiled to under these engine settings: equal
/// names, equal code. The file is read once, a chunk at a time.
pub fn artifact_name(component: &Path, compatibility: &str) -> io::Result<String> {
    let mut file = open(component)?;
    let mut hasher = hasher(compatibility);
    copy_bounded(&mut file, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The component's bytes in a memfd that nobody can change, and their artifact's name: what is
/// compiled is what was named, whatever happens to the file meanwhile.
pub fn snapshot(component: &Path, compatibility: &str) -> io::Result<(OwnedFd, String)> {
    let mut file = open(component)?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut memory = File::from(memfd_create(c"skep-component", flags)?);
    let mut hasher = hasher(compatibility);
    copy_bounded(&mut file, |chunk| {
        hasher.update(chunk);
        memory.write_all(chunk)
    })?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
    Ok((memory.into(), hasher.finalize().to_hex().to_string()))
}

/// A hasher that has read the engine settings; the component's bytes come after.
fn hasher(compatibility: &str) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(compatibility.len() as u64).to_le_bytes());
    hasher.update(compatibility.as_bytes());
    hasher
}

fn open(component: &Path) -> io::Result<File> {
    // A FIFO would wait for its writer; it is refused below.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(component)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ))
    }
}

fn copy_bounded(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut left = limits::COMPONENT_BYTES_MAX;
    tag::copy(file, |chunk| {
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
            let most = limits::COMPONENT_BYTES_MAX;
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {most} bytes"),
            )
        })?;
        each(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_depend_on_bytes_and_settings() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "one").unwrap();
        fs::write(&c, "two").unwrap();
        let name = |path: &Path, settings| artifact_name(path, settings).unwrap();
        assert_eq!(name(&a, "s"), name(&b, "s"));
        assert_ne!(name(&a, "s"), name(&c, "s"));
        assert_ne!(name(&a, "s"), name(&a, "t"));
        assert_eq!(name(&a, "s").len(), 64);
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "before").unwrap();
        let (memory, name) = snapshot(&path, "s").unwrap();
        assert_eq!(name, artifact_name(&path, "s").unwrap());
        fs::write(&path, "after!").unwrap();
        let mut file = File::from(memory);
        assert!(file.write_all(b"x").is_err());
        let mut bytes = [0; 6];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"before");
    }

    #[test]
    fn only_regular_files_are_components() {
        assert!(artifact_name(Path::new("/dev/zero"), "s").is_err());
        assert!(artifact_name(Path::new("/nonexistent"), "s").is_err());
    }
}
