//! Tests of rows that are damaged, and of files that cannot be opened.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

#[test]
fn damaged_rows_are_an_answer() {
    let row = |key: &str| tables::key_row("a/b", key).unwrap();
    let member = tables::member_row(0, b"m");
    let block = tables::block_row(1, 0, 0);
    let ours = |table: &str| {
        Err(KvError::Unavailable(format!(
            "the store's file: a row of {table} is damaged"
        )))
    };
    let short: Option<&[u8]> = Some(b"short");
    type Tampered<'a> = (usize, &'a [u8], Option<&'a [u8]>);
    let queries: &[(Tampered, Query, &str)] = &[
        ((0, &row("value"), short), exists("value"), "keys"),
        ((0, &row("set"), Some(b"")), range("set", 0.0, 1.0), "keys"),
        (
            (0, &row("filter"), Some(&[2; 28])),
            may_contain("filter", "i"),
            "keys",
        ),
        ((0, &row("\u{7f}"), short), exists("\u{7f}"), "keys"),
        ((0, b"\0\x03a/b\xff", Some(b"")), scan("*"), "keys"),
        (
            (0, b"\0\x03a/b\xff", Some(b"")),
            Query::List { cursor: None },
            "keys",
        ),
        ((1, &row("value"), None), get("value"), "values"),
        ((2, &member, short), scan_members("set", "*"), "members"),
        (
            (3, &[0, 0, 0, 0, 0, 0, 0, 0, 0x80], short),
            range("set", f64::NEG_INFINITY, 1.0),
            "scores",
        ),
        ((4, &block, short), may_contain("filter", "i"), "blocks"),
    ];
    for (tampered, asked, table) in queries {
        let (store, _) = new();
        kinds(&store);
        tamper(&store, tampered.0, tampered.1, tampered.2);
        assert_eq!(query(&store, asked.clone()), ours(table), "{asked:?}");
    }
    let changes: &[(Tampered, Change, &str)] = &[
        ((0, &row("value"), short), set("value", "2"), "keys"),
        ((0, &row("value"), short), delete("value"), "keys"),
        ((1, &row("value"), None), increment("value", 1), "values"),
        ((1, &row("value"), None), swap("value", None, "2"), "values"),
        (
            (2, &member, short),
            add_members("set", &[("m", 2.0)]),
            "members",
        ),
        ((4, &block, short), add_items("filter", &["j"]), "blocks"),
        ((6, b"a/b", short), set("value", "2"), "usage"),
        ((6, b"a/b", Some(&[0; 16])), delete("value"), "usage"),
    ];
    for (tampered, made, table) in changes {
        let (store, _) = new();
        kinds(&store);
        tamper(&store, tampered.0, tampered.1, tampered.2);
        let (good, quota) = (set("k", "v"), PLENTY);
        // It fails alone.
        let answers = store
            .apply(&[("c/d", quota, &good), ("a/b", quota, made)])
            .unwrap();
        assert_eq!(answers, [DONE, ours(table)], "{made:?}");
        assert_eq!(store.query("c/d", &get("k")), value("v"));
    }
    let (store, _) = new();
    tamper(&store, 6, b"a/b", short);
    let ours: Result<Answer, _> = ours("usage");
    assert_eq!(store.usage("a/b").map(|_| Answer::Done), ours);
}

#[test]
fn there_is_one_user_of_a_file() {
    let dir = TempDir::new().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let path = dir.path().join(FILE);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = |dir: &Path| Embedded::open(dir).map(drop).unwrap_err().to_string();
    let shown = path.display();
    let busy = format!("key-value store {shown} is open in another process");
    assert_eq!(said(dir.path()), busy);
    change(&store, set("k", "v")).unwrap();
    drop(store);
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(query(&store, get("k")), value("v"));
    // No more than the file is left behind.
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(FILE);
    let said = |dir: &Path| Embedded::open(dir).map(drop).unwrap_err().to_string();
    let shown = path.display().to_string();

    std::fs::write(&path, "another file").unwrap();
    let damaged = said(dir.path());
    assert!(damaged.starts_with(&format!("key-value store {shown} is damaged, or is none: ")));
    std::fs::write(&path, "").unwrap();
    let empty = said(dir.path());
    assert!(empty.starts_with(&format!("key-value store {shown} is damaged, or is none: ")));
    std::fs::remove_file(&path).unwrap();

    symlink("elsewhere", &path).unwrap();
    let link = said(dir.path());
    assert!(
        link.starts_with(&format!("key-value store {shown}: Too many levels")),
        "{link}"
    );
    std::fs::remove_file(&path).unwrap();

    let nowhere = said(&dir.path().join("no"));
    assert!(
        nowhere.contains("kv.redb: No such file or directory"),
        "{nowhere}"
    );

    let store = Embedded::open(dir.path()).unwrap();
    tamper(&store, 7, tables::VERSION, Some(&2u64.to_le_bytes()));
    drop(store);
    let later = format!("key-value store {shown} has layout 2, and this host reads layout 1");
    assert_eq!(said(dir.path()), later);
    for said in [damaged, empty, link, nowhere, later] {
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
