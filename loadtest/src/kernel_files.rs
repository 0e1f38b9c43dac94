//! Reading the kernel's small text files below a root: `/` in life, a copied or made-up tree in tests.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use crate::limits::KERNEL_FILE_BYTES_MAX;

/// The text of a file below `root`, without the white space around it; none when it cannot be read.
/// At most [`KERNEL_FILE_BYTES_MAX`] are read. `path` has no leading slash.
pub fn text(root: &Path, path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(root.join(path))
        .ok()?
        .take(KERNEL_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A file that holds one number.
pub fn number<T: FromStr>(root: &Path, path: impl AsRef<Path>) -> Option<T> {
    text(root, path)?.parse().ok()
}

/// The names in a directory below `root`, sorted; empty when it cannot be read.
pub fn names(root: &Path, path: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root.join(path))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// What follows `key:` on the first line that begins so: the form of `/proc/cpuinfo`, `/proc/meminfo`
/// and `/proc/PID/status`.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

/// A field in kB, as bytes.
pub fn field_kb(text: &str, key: &str) -> Option<u64> {
    let kb: u64 = field(text, key)?.split_whitespace().next()?.parse().ok()?;
    Some(kb.saturating_mul(1024))
}

/// Made-up trees for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::path::Path;

    /// A tree that holds these files.
    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(directory.path(), path, text);
        }
        directory
    }

    /// Writes or replaces one file.
    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tskep\nVmRSS:\t    1234 kB\nVmSwap:\t       8 kB\nmodel name : A: B\n";
        assert_eq!(field(status, "Name"), Some("skep"));
        assert_eq!(field_kb(status, "VmSwap"), Some(8192));
        assert_eq!(field(status, "Vm"), None);
        assert_eq!(field(status, "model name"), Some("A: B"));
    }

    #[test]
    fn what_is_missing_is_none() {
        let tree = fake::tree(&[("a/b", " 7\n"), ("a/c", "x")]);
        assert_eq!(number::<u32>(tree.path(), "a/b"), Some(7));
        assert_eq!(number::<u32>(tree.path(), "a/c"), None);
        assert_eq!(text(tree.path(), "a/d"), None);
        assert_eq!(names(tree.path(), "a"), ["b", "c"]);
        assert!(names(tree.path(), "z").is_empty());
    }
}
