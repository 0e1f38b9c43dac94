//! Tests of the artifact store on a real directory.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::store::{Store, StoreError};
use super::tag::Refusal;
use crate::control::Flavour;

fn artifact(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A store that holds `one` and `two`.
fn filled() -> (tempfile::TempDir, PathBuf, Store) {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("deep/artifacts");
    let store = Store::open(&dir).unwrap();
    store
        .put("one", Flavour::P2, &mut artifact("first"))
        .unwrap();
    store
        .put("two", Flavour::P3, &mut artifact("second"))
        .unwrap();
    (temp, dir, store)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn rewrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn what_is_put_is_got_and_survives_a_restart() {
    let (_temp, dir, store) = filled();
    drop(store);
    let store = Store::open(&dir).unwrap();
    for (name, flavour, text) in [
        ("one", Flavour::P2, "first"),
        ("two", Flavour::P3, "second"),
    ] {
        let (found, mut file) = store.get(name).unwrap().unwrap();
        assert_eq!(found, flavour);
        let mut bytes = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, text);
        assert!(file.write_all(b"x").is_err(), "the descriptor is read-only");
    }
    assert!(store.get("three").unwrap().is_none());
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("key")), 0o600);
    assert_eq!(mode(&dir.join("one.cwasm")), 0o444);
    let names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 5, "nothing unfinished is left: {names:?}");
}

#[test]
fn what_was_tampered_with_is_refused() {
    type Tamper = fn(&Path);
    let cases: [(&str, Tamper); 11] = [
        ("flipped", |dir| rewrite(&dir.join("one.cwasm"), b"fjrst")),
        ("truncated", |dir| rewrite(&dir.join("one.cwasm"), b"firs")),
        ("emptied", |dir| rewrite(&dir.join("one.cwasm"), b"")),
        ("extended", |dir| rewrite(&dir.join("one.cwasm"), b"first!")),
        ("artifact swapped", |dir| {
            fs::rename(dir.join("two.cwasm"), dir.join("one.cwasm")).unwrap();
        }),
        ("both swapped", |dir| {
            fs::rename(dir.join("two.cwasm"), dir.join("one.cwasm")).unwrap();
            fs::rename(dir.join("two.tag"), dir.join("one.tag")).unwrap();
        }),
        ("no tag", |dir| {
            fs::remove_file(dir.join("one.tag")).unwrap()
        }),
        ("tag without end", |dir| {
            rewrite(&dir.join("one.tag"), &[b'x'; 4096])
        }),
        ("writable", |dir| {
            fs::set_permissions(dir.join("one.cwasm"), Permissions::from_mode(0o600)).unwrap();
        }),
        ("a second name", |dir| {
            fs::hard_link(dir.join("one.cwasm"), dir.join("other")).unwrap();
        }),
        ("a link", |dir| {
            fs::rename(dir.join("one.cwasm"), dir.join("elsewhere")).unwrap();
            symlink(dir.join("elsewhere"), dir.join("one.cwasm")).unwrap();
        }),
    ];
    for (what, tamper) in cases {
        let (_temp, dir, store) = filled();
        tamper(&dir);
        let result = store.get("one");
        assert!(result.is_err(), "{what}: {result:?}");
        store.remove("one");
        assert!(store.get("one").unwrap().is_none(), "{what}: removed");
        store
            .put("one", Flavour::P2, &mut artifact("first"))
            .unwrap();
        assert!(store.get("one").unwrap().is_some(), "{what}: made again");
    }
}

#[test]
fn another_key_refuses_everything() {
    let (_temp, dir, store) = filled();
    drop(store);
    fs::remove_file(dir.join("key")).unwrap();
    let store = Store::open(&dir).unwrap();
    for name in ["one", "two"] {
        assert!(matches!(store.get(name), Err(Refusal::Mismatch)), "{name}");
    }
}

#[test]
fn a_directory_or_key_that_is_not_safe_is_refused() {
    let (_temp, dir, store) = filled();
    drop(store);
    fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(
        Store::open(&dir),
        Err(StoreError::Shared { mode: 0o750, .. })
    ));
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap();
    for bad in [0, 31, 33] {
        fs::write(dir.join("key"), vec![1; bad]).unwrap();
        assert!(
            matches!(Store::open(&dir), Err(StoreError::Key { .. })),
            "{bad} bytes"
        );
    }
}

#[test]
fn the_largest_size_is_kept_to_and_what_is_in_use_stays() {
    let (_temp, dir, store) = filled();
    store
        .put("new", Flavour::P2, &mut artifact("third"))
        .unwrap();
    for (name, age) in [("one", 300), ("two", 200), ("new", 100)] {
        let file = File::open(dir.join(format!("{name}.cwasm"))).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age))
            .unwrap();
    }
    let in_use = HashSet::from(["one".to_owned()]);
    assert_eq!(store.sweep(&in_use, 16).unwrap(), 0, "16 bytes: 5 + 6 + 5");
    assert_eq!(store.sweep(&in_use, 15).unwrap(), 1);
    assert!(
        store.get("two").unwrap().is_none(),
        "used longest ago of those not in use"
    );
    assert_eq!(store.sweep(&in_use, 0).unwrap(), 1);
    assert!(store.get("one").unwrap().is_some());
}
