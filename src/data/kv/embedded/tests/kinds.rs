//! Tests of what each kind of key answers, and of what becomes of it.

use super::*;

#[test]
fn values() {
    let (store, _) = new();
    assert_eq!(query(&store, get("k")), Ok(Answer::Values(vec![None])));
    assert_eq!(query(&store, exists("k")), Ok(Answer::Bool(false)));
    assert_eq!(change(&store, set("k", "one")), DONE);
    assert_eq!(query(&store, get("k")), value("one"));
    assert_eq!(query(&store, exists("k")), Ok(Answer::Bool(true)));
    assert_eq!(change(&store, set("k", "")), DONE);
    assert_eq!(query(&store, get("k")), value(""));
    assert_eq!(query(&store, Query::Get(vec![])), NO_VALUE);
    // Several at once; of a key that comes twice the later, and any text is a key.
    let several = [
        ("", "empty"),
        ("k", "1"),
        ("k", "2"),
        ("n\0n", "nul"),
        ("ü", "\0"),
    ];
    let several = several.map(|(key, value)| (text(key), value.as_bytes().to_vec()));
    assert_eq!(change(&store, Change::Set(several.to_vec())), DONE);
    let asked = ["k", "no", "", "n\0n", "ü", "k"].map(text).to_vec();
    let expected = [
        Some("2"),
        None,
        Some("empty"),
        Some("nul"),
        Some("\0"),
        Some("2"),
    ];
    let expected = expected.map(|value| value.map(|value| value.as_bytes().to_vec()));
    assert_eq!(
        query(&store, Query::Get(asked)),
        Ok(Answer::Values(expected.to_vec()))
    );
    let gone = ["k", "no", "k"].map(text).to_vec();
    assert_eq!(change(&store, Change::Delete(gone)), DONE);
    assert_eq!(query(&store, exists("k")), Ok(Answer::Bool(false)));
    assert_eq!(change(&store, Change::Set(vec![])), DONE);
    check_whole(&store);
}

#[test]
fn numbers() {
    let (store, _) = new();
    let cases = [
        (None, 5, Ok(5)),
        (Some("0"), 1, Ok(1)),
        (Some("-7"), 7, Ok(0)),
        (Some("10"), -20, Ok(-10)),
        (Some("9223372036854775806"), 1, Ok(i64::MAX)),
        (Some("-9223372036854775808"), 0, Ok(i64::MIN)),
        (Some("9223372036854775807"), 1, Err(KvError::NotAnInteger)),
        (Some("-9223372036854775808"), -1, Err(KvError::NotAnInteger)),
        (Some("9223372036854775808"), -1, Err(KvError::NotAnInteger)),
        (Some(""), 1, Err(KvError::NotAnInteger)),
        (Some("-"), 1, Err(KvError::NotAnInteger)),
        (Some("-0"), 1, Err(KvError::NotAnInteger)),
        (Some("+1"), 1, Err(KvError::NotAnInteger)),
        (Some("01"), 1, Err(KvError::NotAnInteger)),
        (Some(" 1"), 1, Err(KvError::NotAnInteger)),
        (Some("1 "), 1, Err(KvError::NotAnInteger)),
        (Some("1.0"), 1, Err(KvError::NotAnInteger)),
        (Some("1e3"), 1, Err(KvError::NotAnInteger)),
        (Some("0x1"), 1, Err(KvError::NotAnInteger)),
        (Some("--1"), 1, Err(KvError::NotAnInteger)),
        (Some("١"), 1, Err(KvError::NotAnInteger)),
    ];
    for (before, delta, expected) in cases {
        change(&store, delete("n")).unwrap();
        if let Some(before) = before {
            change(&store, set("n", before)).unwrap();
        }
        let result = change(&store, increment("n", delta));
        assert_eq!(
            result,
            expected.clone().map(Answer::Count),
            "{before:?} + {delta}"
        );
        let held = match expected {
            Ok(number) => value(&number.to_string()),
            Err(_) => value(before.unwrap_or_default()),
        };
        assert_eq!(query(&store, get("n")), held, "{before:?} + {delta}");
    }
}

#[test]
fn swaps() {
    let (store, _) = new();
    let yes = Ok(Answer::Bool(true));
    let no = Ok(Answer::Bool(false));
    assert_eq!(change(&store, swap("k", Some(""), "x")), no);
    assert_eq!(change(&store, swap("k", None, "one")), yes);
    assert_eq!(change(&store, swap("k", None, "two")), no);
    assert_eq!(change(&store, swap("k", Some("two"), "two")), no);
    assert_eq!(query(&store, get("k")), value("one"));
    assert_eq!(change(&store, swap("k", Some("one"), "two")), yes);
    assert_eq!(change(&store, swap("k", Some("two"), "two")), yes);
    assert_eq!(query(&store, get("k")), value("two"));
}

#[test]
fn sorted_sets() {
    let (store, _) = new();
    let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
    assert_eq!(query(&store, range("z", low, high)), members(&[]));
    assert_eq!(query(&store, scan_members("z", "*")), members(&[]));
    // No members make no set.
    assert_eq!(change(&store, add_members("z", &[])), DONE);
    assert_eq!(query(&store, exists("z")), Ok(Answer::Bool(false)));

    let some = [
        ("b", 1.0),
        ("a", 1.0),
        ("low", low),
        ("high", high),
        ("z", -0.0),
        ("y", 0.0),
    ];
    assert_eq!(change(&store, add_members("z", &some)), DONE);
    let all = [
        ("low", low),
        ("y", 0.0),
        ("z", 0.0),
        ("a", 1.0),
        ("b", 1.0),
        ("high", high),
    ];
    assert_eq!(query(&store, range("z", low, high)), members(&all));
    assert_eq!(query(&store, scan_members("z", "*")), members(&all));
    assert_eq!(query(&store, range("z", -0.0, 1.0)), members(&all[1..5]));
    assert_eq!(query(&store, range("z", 0.0, -0.0)), members(&all[1..3]));
    assert_eq!(query(&store, range("z", high, high)), members(&all[5..]));
    assert_eq!(query(&store, range("z", low, low)), members(&all[..1]));
    assert_eq!(query(&store, range("z", 1.0, 0.0)), members(&[]));
    assert_eq!(query(&store, range("z", 0.1, 0.9)), members(&[]));

    // A score is replaced; of a member that comes twice the later counts.
    let again = [("b", 9.0), ("b", 5.0), ("z", -2.0), ("", 5.0)];
    assert_eq!(change(&store, add_members("z", &again)), DONE);
    let all = [("z", -2.0), ("y", 0.0), ("a", 1.0), ("", 5.0), ("b", 5.0)];
    assert_eq!(query(&store, range("z", -9.0, 9.0)), members(&all));
    assert_eq!(
        query(&store, scan_members("z", "[a-c]")),
        members(&[("a", 1.0), ("b", 5.0)])
    );
    assert_eq!(
        query(&store, scan_members("z", "l*")),
        members(&[("low", low)])
    );
    check_whole(&store);

    // What is no number changes nothing, and is asked for in vain.
    let nan = [("new", 1.0), ("a", f64::NAN)];
    assert_eq!(
        change(&store, add_members("z", &nan)),
        Err(KvError::NotAScore)
    );
    assert_eq!(query(&store, range("z", -9.0, 9.0)), members(&all));
    assert_eq!(
        query(&store, range("z", f64::NAN, 1.0)),
        Err(KvError::NotAScore)
    );
    assert_eq!(
        query(&store, range("no", 1.0, f64::NAN)),
        Err(KvError::NotAScore)
    );
}

#[test]
fn scores_are_in_order() {
    let (store, _) = new();
    let scores = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1e9,
        -1.000_000_1,
        -1.0,
        -f64::MIN_POSITIVE,
        -5e-324,
        0.0,
        5e-324,
        f64::MIN_POSITIVE,
        1.0,
        1.000_000_1,
        1e9,
        f64::MAX,
        f64::INFINITY,
    ];
    let all: Vec<_> = scores
        .iter()
        .map(|score| (score.to_string(), *score))
        .collect();
    let mut shown: Vec<_> = all
        .iter()
        .map(|(member, score)| (member.as_str(), *score))
        .collect();
    shown.reverse();
    change(&store, add_members("z", &shown)).unwrap();
    shown.reverse();
    for (first, min) in scores.iter().enumerate() {
        for (last, max) in scores.iter().enumerate() {
            let expected = shown.get(first..=last).unwrap_or_default();
            assert_eq!(
                query(&store, range("z", *min, *max)),
                members(expected),
                "{min} to {max}"
            );
        }
    }
}

#[test]
fn members_may_be_any_bytes() {
    let (store, _) = new();
    let any: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0xff], vec![0xff], vec![0xff, 0xff]];
    let mut members: Vec<_> = any.into_iter().map(|member| (member, 1.0)).collect();
    let key = text("z");
    change(
        &store,
        Change::AddMembers {
            key,
            members: members.clone(),
        },
    )
    .unwrap();
    let all = Ok(Answer::Members(members.clone()));
    assert_eq!(query(&store, range("z", 1.0, 1.0)), all);
    members.remove(0);
    assert_eq!(
        query(&store, scan_members("z", "?*")),
        Ok(Answer::Members(members))
    );
    check_whole(&store);
}

#[test]
fn bloom_filters() {
    let (store, disk) = new();
    assert_eq!(
        query(&store, may_contain("f", "a")),
        Ok(Answer::Bool(false))
    );
    assert_eq!(change(&store, add_items("f", &[])), DONE);
    assert_eq!(query(&store, exists("f")), Ok(Answer::Bool(false)));
    let items: Vec<_> = (0..3_000).map(|number| format!("item {number}")).collect();
    for some in items.chunks(700) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        assert_eq!(change(&store, add_items("f", &some)), DONE);
    }
    drop(store);
    let store = disk.open().unwrap();
    for item in &items {
        assert_eq!(
            query(&store, may_contain("f", item)),
            Ok(Answer::Bool(true)),
            "{item}"
        );
    }
    let others = (0..3_000).map(|number| format!("other {number}"));
    let is_found = |item: &String| query(&store, may_contain("f", item)) == Ok(Answer::Bool(true));
    let wrong = others.filter(is_found).count();
    assert!(wrong <= 60, "{wrong} of 3000");
    // What is there already changes nothing.
    let usage = store.usage("a/b");
    assert_eq!(change(&store, add_items("f", &["item 1", "item 2"])), DONE);
    assert_eq!(store.usage("a/b"), usage);
    check_whole(&store);
}

#[test]
fn another_kind_is_refused() {
    let (store, _) = new();
    kinds(&store);
    for key in ["set", "filter"] {
        assert_eq!(query(&store, get(key)), Err(KvError::WrongType), "{key}");
        assert_eq!(
            change(&store, increment(key, 1)),
            Err(KvError::WrongType),
            "{key}"
        );
        assert_eq!(
            change(&store, swap(key, None, "v")),
            Err(KvError::WrongType),
            "{key}"
        );
    }
    let both = Query::Get(vec![text("value"), text("set")]);
    assert_eq!(query(&store, both), Err(KvError::WrongType));
    for key in ["value", "filter"] {
        assert_eq!(
            query(&store, range(key, 0.0, 9.0)),
            Err(KvError::WrongType),
            "{key}"
        );
        assert_eq!(
            query(&store, scan_members(key, "*")),
            Err(KvError::WrongType),
            "{key}"
        );
        for members in [&[("m", 1.0)][..], &[]] {
            let change = change(&store, add_members(key, members));
            assert_eq!(change, Err(KvError::WrongType), "{key}");
        }
    }
    for key in ["value", "set"] {
        assert_eq!(
            query(&store, may_contain(key, "i")),
            Err(KvError::WrongType),
            "{key}"
        );
        for items in [&["i"][..], &[]] {
            assert_eq!(
                change(&store, add_items(key, items)),
                Err(KvError::WrongType),
                "{key}"
            );
        }
    }
    for key in ["value", "set", "filter"] {
        assert_eq!(query(&store, exists(key)), Ok(Answer::Bool(true)), "{key}");
    }
    check_whole(&store);
}

#[test]
fn a_value_takes_the_place_of_any_kind_and_any_kind_is_deleted() {
    for end in [set as fn(&str, &'static str) -> Change, |key, _| {
        delete(key)
    }] {
        let (store, _) = new();
        kinds(&store);
        for key in ["value", "set", "filter"] {
            assert_eq!(change(&store, end(key, "new")), DONE);
            check_whole(&store);
        }
        let keys = ["value", "set", "filter"].map(text).to_vec();
        assert_eq!(change(&store, Change::Delete(keys)), DONE);
        // Nothing is left, but the counters.
        assert_eq!(rows(&store), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(store.usage("a/b"), Ok((0, 0)));
    }
}

#[test]
fn what_is_left_of_a_large_set_goes_little_by_little() {
    let (store, _) = new();
    let most = limits::KV_SWEEP_ROWS as u64;
    let names: Vec<_> = (0..3 * most).map(|number| number.to_string()).collect();
    let large: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    change(&store, add_members("z", &large)).unwrap();
    let rows_left = |store: &Embedded| rows(store)[2] + rows(store)[3];
    assert_eq!(rows_left(&store), 6 * most);
    change(&store, delete("z")).unwrap();
    assert_eq!(store.usage("a/b"), Ok((0, 0)));
    // One made meanwhile under the same name has nothing to do with it.
    change(&store, add_members("z", &[("new", 1.0)])).unwrap();
    let mut commits = 2;
    while rows(&store)[5] > 0 {
        let before = rows_left(&store);
        check_whole(&store);
        change(&store, set("other", "value")).unwrap();
        commits += 1;
        let gone = before - rows_left(&store);
        assert!(gone <= most + 5, "{gone} of {before}");
    }
    assert_eq!(commits, 6);
    assert_eq!(
        query(&store, scan_members("z", "*")),
        members(&[("new", 1.0)])
    );
    assert_eq!(rows_left(&store), 2);
}
