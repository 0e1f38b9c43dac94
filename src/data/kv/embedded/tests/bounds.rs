//! Tests of pages and scans, and of what bounds an answer.

use super::*;

#[test]
fn lists() {
    let (store, _) = new();
    let most = limits::KEYS_PER_PAGE_MAX;
    let names: Vec<_> = (0..2 * most + 1)
        .map(|number| format!("{number:05}"))
        .collect();
    let all = names.iter().map(|name| (name.clone(), vec![])).collect();
    change(&store, Change::Set(all)).unwrap();
    change(&store, add_members("set", &[("m", 1.0)])).unwrap();
    let page = |cursor: Option<&str>| {
        let cursor = cursor.map(text);
        match query(&store, Query::List { cursor }) {
            Ok(Answer::Page(keys, cursor)) => (keys, cursor),
            other => panic!("{other:?}"),
        }
    };
    let (first, cursor) = page(None);
    assert_eq!(first, names[..most]);
    let (second, cursor) = page(cursor.as_deref());
    assert_eq!(second, names[most..2 * most]);
    let (third, cursor) = page(cursor.as_deref());
    assert_eq!(
        (third, cursor),
        (vec![names[2 * most].clone(), text("set")], None)
    );
    // A cursor is whatever text it is.
    assert_eq!(page(Some("z")), (vec![], None));
    assert_eq!(page(Some("\u{10ffff}")), (vec![], None));
    assert_eq!(page(Some("01999x")).0[0], "02000");
    assert_eq!(page(Some("\0")).0.len(), most);
    assert_eq!(page(Some("")).0.len(), most);
    // Exactly full: there is no next one.
    change(&store, Change::Delete(names[most..].to_vec())).unwrap();
    change(&store, delete("set")).unwrap();
    assert_eq!(page(None), (names[..most].to_vec(), None));
    change(&store, Change::Delete(names)).unwrap();
    assert_eq!(page(None), (vec![], None));
}

#[test]
fn scans() {
    let (store, _) = new();
    for key in [
        "", "a", "a1", "a2", "b", "ab", "a*", "é", "user:1", "user:2", "user",
    ] {
        change(&store, set(key, "")).unwrap();
    }
    change(&store, add_members("user:set", &[("m", 1.0)])).unwrap();
    let cases: &[(&str, &[&str])] = &[
        (
            "*",
            &[
                "", "a", "a*", "a1", "a2", "ab", "b", "user", "user:1", "user:2", "user:set", "é",
            ],
        ),
        ("user:*", &["user:1", "user:2", "user:set"]),
        ("user", &["user"]),
        ("user:?", &["user:1", "user:2"]),
        ("a[0-9]", &["a1", "a2"]),
        ("a\\*", &["a*"]),
        ("*2", &["a2", "user:2"]),
        ("", &[""]),
        ("no*", &[]),
        ("??", &["a*", "a1", "a2", "ab", "é"]),
    ];
    for (pattern, expected) in cases {
        assert_eq!(query(&store, scan(pattern)), keys(expected), "{pattern}");
    }
}

#[test]
fn answers_are_bounded() {
    let (store, _) = new();
    let most = limits::KV_ANSWER_BYTES_MAX as usize;
    let too_large = Err(KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX));
    change(&store, set("k", vec![1; most / 2])).unwrap();
    change(&store, set("one", "1")).unwrap();
    let ask = |keys: &[&str]| {
        query(
            &store,
            Query::Get(keys.iter().map(|key| text(key)).collect()),
        )
    };
    assert!(ask(&["k", "k"]).is_ok());
    assert_eq!(ask(&["k", "k", "one"]), too_large);

    let member = vec![2; most / 4 - 8];
    let members = (0..5).map(|number| ([&[number], &member[1..]].concat(), f64::from(number)));
    let members: Vec<_> = members.collect();
    change(
        &store,
        Change::AddMembers {
            key: text("z"),
            members,
        },
    )
    .unwrap();
    assert!(query(&store, range("z", 1.0, 4.0)).is_ok());
    assert_eq!(query(&store, range("z", 0.0, 4.0)), too_large);
    assert_eq!(query(&store, scan_members("z", "*")), too_large);

    // A page ends where it is full; a scan is all or nothing.
    let long: Vec<_> = (0..5)
        .map(|number| format!("{number}").repeat(most / 4))
        .collect();
    let all = long.iter().map(|key| (key.clone(), vec![])).collect();
    change_of(&store, "c/d", PLENTY, Change::Set(all)).unwrap();
    let page = store.query("c/d", &Query::List { cursor: None });
    assert_eq!(
        page,
        Ok(Answer::Page(long[..4].to_vec(), Some(long[3].clone())))
    );
    let cursor = Some(long[3].clone());
    let page = store.query("c/d", &Query::List { cursor });
    assert_eq!(page, Ok(Answer::Page(long[4..].to_vec(), None)));
    assert_eq!(store.query("c/d", &scan("*")), too_large);
    assert_eq!(store.query("c/d", &scan("3*")), keys(&[&long[3]]));
}

#[test]
fn a_query_looks_at_so_many_rows_at_most() {
    let (store, _) = new();
    let most = limits::KV_SCAN_ROWS_MAX;
    let all = (0..most)
        .map(|number| (format!("k{number:06}"), vec![]))
        .collect();
    change(&store, Change::Set(all)).unwrap();
    assert_eq!(query(&store, scan("k*7x")), keys(&[]));
    assert_eq!(query(&store, scan("?000007")), keys(&["k000007"]));
    change(&store, set("last", "")).unwrap();
    let why = |of: &str, remedy: &str| {
        let why = format!("more than {most} {of} would have to be looked at: {remedy} is needed");
        Err(KvError::Unavailable(why))
    };
    assert_eq!(
        query(&store, scan("*7x")),
        why("keys", "a longer literal prefix")
    );
    assert_eq!(query(&store, scan("k*7x")), keys(&[]));

    let members = (0..=most)
        .map(|number| (number.to_string().into_bytes(), 1.0))
        .collect();
    change(
        &store,
        Change::AddMembers {
            key: text("z"),
            members,
        },
    )
    .unwrap();
    let of_scores = why("members", "a narrower range of scores");
    assert_eq!(query(&store, range("z", 1.0, 1.0)), of_scores);
    let of_members = why("members", "a longer literal prefix");
    assert_eq!(query(&store, scan_members("z", "*x")), of_members);
    assert_eq!(query(&store, scan_members("z", "77*x")), self::members(&[]));
}

#[test]
fn a_query_takes_so_many_steps_at_most() {
    let (store, _) = new();
    let long = "a".repeat(60_000);
    let keys = (0..2)
        .map(|number| (format!("{long}{number}"), vec![]))
        .collect();
    change(&store, Change::Set(keys)).unwrap();
    let costly = query(&store, scan(&format!("*{}b", "a".repeat(20_000))));
    let most = limits::KV_SCAN_STEPS_MAX;
    let why =
        format!("matching keys takes more than {most} steps: a pattern with fewer stars is needed");
    assert_eq!(costly, Err(KvError::Unavailable(why)));
    assert_eq!(query(&store, scan("*x*")), self::keys(&[]));
}
