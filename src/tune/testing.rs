//! What the tests of this room share.

use std::fs;

use tempfile::TempDir;

use crate::sys::tree::Tree;

/// A directory with these files, as a root.
pub(super) fn tree_of(files: &[(&str, &str)]) -> (TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let tree = Tree::open(dir.path()).unwrap();
    (dir, tree)
}
