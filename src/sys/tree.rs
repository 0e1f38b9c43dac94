//! Files below one directory, and nothing outside it.
//!
//! Every path is resolved by the kernel with `RESOLVE_BENEATH` (openat2(2), Linux 5.6): a symbolic
//! link or a `..` that leads out of the directory, and an absolute link, end in an error, without a
//! moment between looking and opening. Files are never created.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};

/// An open directory that stands for the root of a system.
#[derive(Debug)]
pub struct Tree {
    dir: OwnedFd,
    path: PathBuf,
}

impl Tree {
    /// Opens the directory itself, wherever it is.
    ///
    /// # Errors
    /// When it is none, or may not be read.
    pub fn open(path: &Path) -> io::Result<Tree> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = nix::fcntl::open(path, flags, Mode::empty())?;
        let path = path.to_owned();
        Ok(Tree { dir, path })
    }

    /// The directory as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file of at most `bytes_max` bytes; a `/` in front is the directory itself.
    ///
    /// # Errors
    /// When there is none below the directory, it is no regular file, is longer, or the kernel
    /// refuses.
    pub fn read(&self, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        // Without O_NONBLOCK opening a pipe would wait for its other end.
        let file = self.file(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            let text = format!("longer than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(bytes)
    }

    /// As [`Tree::read`], for a file of text.
    ///
    /// # Errors
    /// Those, and bytes that are no UTF-8.
    pub fn text(&self, name: &str, bytes_max: usize) -> io::Result<String> {
        let bytes = self.read(name, bytes_max)?;
        let text = String::from_utf8(bytes);
        text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not text"))
    }

    /// Replaces the content of a file that exists, in one write(2): what the kernel's files ask for.
    ///
    /// # Errors
    /// As [`Tree::read`]; and when the kernel does not take the value.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_TRUNC;
        self.file(name, flags)?.write_all(bytes)
    }

    /// Whether a file is the kernel's own: it lies in procfs or sysfs, and what is written to it is
    /// not what is read from it.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn is_kernels(&self, name: &str) -> io::Result<bool> {
        let file = self.file(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        let kind = fstatfs(&file)?.filesystem_type();
        Ok(kind == PROC_SUPER_MAGIC || kind == SYSFS_MAGIC)
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// When there is none below the directory, or it may not be read.
    pub fn names(&self, name: &str) -> io::Result<Vec<String>> {
        let dir = self.resolve(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::from_fd(dir)? {
            let entry = entry?;
            // A name that is no text is none that the kernel gives.
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether there is such a directory below this one.
    pub fn has_dir(&self, name: &str) -> bool {
        self.resolve(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
            .is_ok()
    }

    fn file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let fd = self.resolve(name, flags)?;
        let kind = SFlag::from_bits_truncate(fstat(fd.as_fd())?.st_mode) & SFlag::S_IFMT;
        match kind == SFlag::S_IFREG {
            true => Ok(File::from(fd)),
            false => Err(io::Error::other("not a regular file")),
        }
    }

    fn resolve(&self, name: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let name = match name.trim_start_matches('/') {
            "" => ".",
            name => name,
        };
        let opened = openat2(self.dir.as_fd(), name, how);
        opened.map_err(|error| match error {
            Errno::EXDEV => {
                let text = format!("a link leads out of {}", self.path.display());
                io::Error::new(io::ErrorKind::CrossesDevices, text)
            }
            error => error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_reached() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(outer.path().join("secret"), "outside").unwrap();
        fs::write(root.join("a/file"), "inside").unwrap();
        symlink("../file", root.join("a/b/inside")).unwrap();
        symlink("../../../secret", root.join("a/b/relative")).unwrap();
        symlink(outer.path().join("secret"), root.join("a/absolute")).unwrap();
        symlink("../..", root.join("a/up")).unwrap();

        let tree = Tree::open(&root).unwrap();
        for name in ["a/file", "/a/file", "a/b/inside", "a/b/../file"] {
            assert_eq!(tree.read(name, 6).unwrap(), b"inside", "{name}");
        }
        for name in [
            "../secret",
            "a/../../secret",
            "a/b/relative",
            "a/absolute",
            "a/up/secret",
        ] {
            let read = tree.read(name, 100).unwrap_err();
            assert!(read.to_string().contains("leads out of"), "{name}: {read}");
            assert!(tree.write(name, b"x").is_err(), "{name}");
        }
        assert_eq!(fs::read(outer.path().join("secret")).unwrap(), b"outside");
    }

    #[test]
    fn only_regular_files_of_limited_length_are_read_and_none_is_made() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "12345").unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        assert_eq!(tree.text("file", 5).unwrap(), "12345");
        assert!(tree.read("file", 4).is_err());
        assert!(tree.read("pipe", 4).is_err());
        assert!(tree.read("", 4).is_err());
        assert!(tree.write("new", b"1").is_err());
        assert!(!tree.is_kernels("file").unwrap());
        assert_eq!(tree.names("/").unwrap(), ["file", "pipe"]);
    }

    #[test]
    fn the_kernels_files_are_known() {
        let tree = Tree::open(Path::new("/")).unwrap();
        assert!(tree.is_kernels("/proc/sys/kernel/ostype").unwrap());
        assert!(tree.is_kernels("/proc/self/limits").unwrap());
    }
}
