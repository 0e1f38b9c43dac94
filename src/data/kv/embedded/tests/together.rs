//! Tests of namespaces and changes beside each other, and of what they may hold.

use std::sync::mpsc;

use super::*;

#[test]
fn namespaces_never_meet() {
    let (store, _) = new();
    let namespaces = [
        "a/b", "a/b2", "a/", "a", "/b", "", "\0\u{1}", "a/b\0", "ab/",
    ];
    for namespace in namespaces {
        for key in ["", "2k", "k", "b2k"] {
            let value = format!("{namespace}|{key}");
            change_of(&store, namespace, PLENTY, set(key, value)).unwrap();
        }
    }
    for namespace in namespaces {
        let all = Ok(Answer::Keys(["", "2k", "b2k", "k"].map(text).to_vec()));
        assert_eq!(store.query(namespace, &scan("*")), all, "{namespace:?}");
        let page = Ok(Answer::Page(
            ["", "2k", "b2k", "k"].map(text).to_vec(),
            None,
        ));
        assert_eq!(
            store.query(namespace, &Query::List { cursor: None }),
            page,
            "{namespace:?}"
        );
        assert_eq!(
            store.query(namespace, &get("k")),
            value(&format!("{namespace}|k"))
        );
        assert_eq!(
            store.usage(namespace),
            Ok((4, 6 + 4 * (namespace.len() as u64 + 1) + 6))
        );
    }
    change_of(&store, "a/b", PLENTY, delete("k")).unwrap();
    assert_eq!(store.query("a/b2", &exists("k")), Ok(Answer::Bool(true)));
    check_whole(&store);
}

#[test]
fn a_change_sees_those_before_it_and_fails_alone() {
    let (store, _) = new();
    let changes = [
        set("n", "1"),
        increment("n", 1),
        add_members("n", &[("m", 1.0)]),
        increment("n", 1),
        swap("n", Some("3"), "x"),
        increment("n", 1),
        delete("n"),
        add_members("n", &[("m", 1.0)]),
        increment("n", 1),
        set("n", "7"),
        increment("n", i64::MAX),
    ];
    let mut batch: Vec<_> = changes
        .iter()
        .map(|change| ("a/b", PLENTY, change))
        .collect();
    let tight = Quota { keys: 1, bytes: 2 };
    let (one, other) = (set("k", "v"), set("l", "w"));
    batch.extend([
        ("c/d", tight, &one),
        ("c/d", tight, &other),
        ("c/d", PLENTY, &other),
    ]);
    let expected = [
        DONE,
        Ok(Answer::Count(2)),
        Err(KvError::WrongType),
        Ok(Answer::Count(3)),
        Ok(Answer::Bool(true)),
        Err(KvError::NotAnInteger),
        DONE,
        DONE,
        Err(KvError::WrongType),
        DONE,
        Err(KvError::NotAnInteger),
        DONE,
        Err(KvError::OverQuota(What::Keys)),
        DONE,
    ];
    assert_eq!(store.apply(&batch), Ok(expected.to_vec()));
    assert_eq!(query(&store, get("n")), value("7"));
    assert_eq!(store.usage("c/d"), Ok((2, 4)));
    assert_eq!(store.apply(&[]), Ok(vec![]));
    check_whole(&store);
}

#[test]
fn quotas() {
    let (store, _) = new();
    let quota = Quota { keys: 2, bytes: 30 };
    let change = |change: Change| change_of(&store, "a/b", quota, change);
    let (keys, bytes) = (
        Err(KvError::OverQuota(What::Keys)),
        Err(KvError::OverQuota(What::Bytes)),
    );
    assert_eq!(change(set("k", vec![0; 30])), bytes);
    assert_eq!(change(set("k", vec![0; 29])), DONE);
    assert_eq!(change(set("", "")), DONE);
    assert_eq!(store.usage("a/b"), Ok((2, 30)));
    assert_eq!(change(set("l", "")), keys);
    assert_eq!(change(set("", "x")), bytes);
    assert_eq!(change(set("k", vec![0; 28])), DONE);
    assert_eq!(change(increment("", 5)), Err(KvError::NotAnInteger));
    assert_eq!(change(set("", "9")), DONE);
    assert_eq!(change(increment("", 1)), bytes);
    assert_eq!(change(swap("", Some("9"), "10")), bytes);
    assert_eq!(query(&store, get("")), value("9"));
    // Several at once are one change.
    let two = vec![(text("k"), vec![]), (text("new"), vec![])];
    assert_eq!(change(Change::Set(two)), keys);
    assert_eq!(
        query(&store, get("k")),
        Ok(Answer::Values(vec![Some(vec![0; 28])]))
    );
    assert_eq!(change(delete("k")), DONE);
    // A member counts with its score, a filter with its blocks.
    assert_eq!(
        change(add_members("z", &[("m", 1.0), ("n", 2.0), ("o", 3.0)])),
        DONE
    );
    assert_eq!(store.usage("a/b"), Ok((2, 1 + 1 + 27)));
    assert_eq!(change(add_members("z", &[("", 1.0), ("m", 5.0)])), bytes);
    assert_eq!(change(add_members("z", &[("m", 5.0)])), DONE);
    assert_eq!(query(&store, range("z", 5.0, 5.0)), members(&[("m", 5.0)]));
    assert_eq!(change(delete("z")), DONE);
    assert_eq!(change(add_items("f", &["i"])), bytes);
    let large = Quota {
        keys: 2,
        bytes: 140,
    };
    assert_eq!(
        change_of(&store, "a/b", large, add_items("f", &["i"])),
        DONE
    );
    assert_eq!(store.usage("a/b"), Ok((2, 1 + 1 + 1 + 138 - 1)));
    // Over it, because it is smaller now: what takes no more is still done.
    assert_eq!(change(set("", "8")), DONE);
    assert_eq!(change(increment("", -8)), Ok(Answer::Count(0)));
    assert_eq!(change(set("", "22")), bytes);
    assert_eq!(change(delete("f")), DONE);
    let none = Quota { keys: 0, bytes: 0 };
    assert_eq!(change_of(&store, "a/b", none, delete("")), DONE);
    assert_eq!(change_of(&store, "a/b", none, set("", "")), keys);
    assert_eq!(store.usage("a/b"), Ok((0, 0)));
    check_whole(&store);
}

#[test]
fn a_query_waits_for_no_writer() {
    let (store, _) = new();
    change(&store, set("k", "before")).unwrap();
    let State::Open(database) = &*store.state.read().unwrap() else {
        panic!("the file has failed");
    };
    let transaction = database.begin_write().unwrap();
    let changed = set("k", "after");
    let mut batch = Batch::new(&transaction).unwrap();
    batch.apply("a/b", PLENTY, &changed).unwrap().unwrap();
    let (send, answer) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| send.send(query(&store, get("k"))).unwrap());
        let answer = answer.recv_timeout(Duration::from_secs(10));
        assert_eq!(answer.unwrap(), value("before"));
    });
    assert!(batch.finish().unwrap());
    transaction.commit().unwrap();
    assert_eq!(query(&store, get("k")), value("after"));
}
