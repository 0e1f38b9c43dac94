//! Against `redis-server` itself, and against servers that do what it never would.

mod bounded;
mod faults;
mod filters;
mod scans;
mod server;

use std::rc::Rc;
use std::time::Duration;

use self::server::Instance;
use super::*;

/// More than anything here needs.
const QUOTA: Quota = Quota {
    keys: u64::MAX,
    bytes: u64::MAX,
};

/// The namespace where it does not matter which.
const SPACE: &str = "acme/main";

/// Runs a test as the process does: on one thread, in a local set.
fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Enough for a machine that is busy with something else. What is tested is not how long it takes.
const PATIENT: Times = Times {
    connect: Duration::from_secs(20),
    answer: Duration::from_secs(20),
    scan: Duration::from_secs(60),
    ..Times::LIMITS
};

/// Takes its time.
fn patient(server: Server, dial: Rc<dyn Dial>) -> Redis {
    Redis::with_times(server, dial, PATIENT)
}

/// The keys of a server that is reached without a password.
fn keys_of(instance: &Instance) -> Redis {
    patient(Server::default(), server::dial(instance.port).0)
}

/// The beginning of what may be long.
fn shown(what: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    text.truncate(text.floor_char_boundary(500));
    text
}

/// Makes changes, each of which succeeds.
async fn change(redis: &Redis, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        let changed = redis.change(SPACE, QUOTA, &change).await;
        assert!(changed.is_ok(), "{}: {changed:?}", shown(&change));
    }
}

/// Asks one by one.
async fn check(
    redis: &Redis,
    expected: impl IntoIterator<Item = (Query, Result<Answer, KvError>)>,
) {
    for (query, expected) in expected {
        let found = redis.query(SPACE, &query).await;
        assert!(found == expected, "{}: {}", shown(&query), shown(&found));
    }
}

/// The same for changes, whose outcome may be an error.
async fn check_changes(
    redis: &Redis,
    expected: impl IntoIterator<Item = (Change, Result<Answer, KvError>)>,
) {
    for (change, expected) in expected {
        let changed = redis.change(SPACE, QUOTA, &change).await;
        assert!(changed == expected, "{}: {changed:?}", shown(&change));
    }
}

fn set(pairs: &[(&str, &[u8])]) -> Change {
    Change::Set(
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_vec()))
            .collect(),
    )
}

fn add(key: &str, members: &[(&str, f64)]) -> Change {
    Change::AddMembers {
        key: key.into(),
        members: scored(members),
    }
}

fn get(keys: &[&str]) -> Query {
    Query::Get(strings(keys))
}

fn range(key: &str, min: f64, max: f64) -> Query {
    Query::RangeByScore {
        key: key.into(),
        min,
        max,
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn scored(members: &[(&str, f64)]) -> Vec<Scored> {
    members
        .iter()
        .map(|(member, score)| (member.as_bytes().to_vec(), *score))
        .collect()
}

fn values(values: &[Option<&[u8]>]) -> Result<Answer, KvError> {
    Ok(Answer::Values(
        values
            .iter()
            .map(|value| value.map(<[u8]>::to_vec))
            .collect(),
    ))
}

fn members(members: &[(&str, f64)]) -> Result<Answer, KvError> {
    Ok(Answer::Members(scored(members)))
}

#[test]
fn values_are_set_and_found_and_deleted() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let binary: Vec<u8> = (0..=255).collect();
        check(
            &redis,
            [
                (get(&[]), values(&[])),
                (get(&["a"]), values(&[None])),
                (get(&["a", "b"]), values(&[None, None])),
                (Query::Exists("a".into()), Ok(Answer::Bool(false))),
            ],
        )
        .await;
        change(
            &redis,
            [
                set(&[]),
                set(&[("a", b"1"), ("", b""), ("b\r\n$", &binary), ("a", b"2")]),
                add("z", &[("m", 1.0)]),
            ],
        )
        .await;
        check(
            &redis,
            [
                (get(&["a"]), values(&[Some(b"2")])),
                (
                    get(&["b\r\n$", "none", "", "a", "a"]),
                    values(&[Some(&binary), None, Some(b""), Some(b"2"), Some(b"2")]),
                ),
                (Query::Exists("a".into()), Ok(Answer::Bool(true))),
                (Query::Exists("z".into()), Ok(Answer::Bool(true))),
            ],
        )
        .await;
        // Whatever kind they were of before.
        change(&redis, [set(&[("z", b"now a value")])]).await;
        change(
            &redis,
            [
                Change::Delete(vec![]),
                Change::Delete(strings(&["a", "z", "none"])),
            ],
        )
        .await;
        check(
            &redis,
            [(get(&["a", "z", ""]), values(&[None, None, Some(b"")]))],
        )
        .await;
    });
}

#[test]
fn what_one_kind_is_asked_as_another_is_of_the_wrong_type() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let filter = Change::AddItems {
            key: "f".into(),
            items: vec![b"item".to_vec()],
        };
        change(
            &redis,
            [set(&[("v", b"1")]), add("z", &[("m", 1.0)]), filter],
        )
        .await;
        let wrong = Err(KvError::WrongType);
        for key in ["z", "f"] {
            let swap = |expected| Change::Swap {
                key: key.into(),
                expected,
                value: vec![],
            };
            check(
                &redis,
                [
                    (get(&[key]), wrong.clone()),
                    (get(&["v", key]), wrong.clone()),
                ],
            )
            .await;
            let increment = Change::Increment {
                key: key.into(),
                delta: 1,
            };
            check_changes(
                &redis,
                [
                    (increment, wrong.clone()),
                    (swap(None), wrong.clone()),
                    (swap(Some(b"1".to_vec())), wrong.clone()),
                ],
            )
            .await;
        }
        for key in ["v", "f"] {
            let scan = Query::ScanMembers {
                key: key.into(),
                pattern: "*".into(),
            };
            check(
                &redis,
                [(range(key, 0.0, 1.0), wrong.clone()), (scan, wrong.clone())],
            )
            .await;
            for members in [&[][..], &[("m", 1.0)]] {
                check_changes(&redis, [(add(key, members), wrong.clone())]).await;
            }
        }
        for key in ["v", "z"] {
            let has = Query::MayContain {
                key: key.into(),
                item: vec![],
            };
            check(&redis, [(has, wrong.clone())]).await;
            for items in [vec![], vec![vec![]]] {
                let put = Change::AddItems {
                    key: key.into(),
                    items,
                };
                check_changes(&redis, [(put, wrong.clone())]).await;
            }
        }
    });
}

#[test]
fn a_number_is_incremented_within_64_bits() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let (max, min) = (i64::MAX.to_string(), i64::MIN.to_string());
        change(
            &redis,
            [
                set(&[
                    ("max", max.as_bytes()),
                    ("min", min.as_bytes()),
                    ("plus", b"+1"),
                ]),
                set(&[
                    ("space", b" 1"),
                    ("empty", b""),
                    ("word", b"one"),
                    ("float", b"1.0"),
                ]),
            ],
        )
        .await;
        let not = Err(KvError::NotAnInteger);
        for (key, delta, expected) in [
            ("n", 5, Ok(5)),
            ("n", -7, Ok(-2)),
            ("n", 0, Ok(-2)),
            ("max", -1, Ok(i64::MAX - 1)),
            ("max", 1, Ok(i64::MAX)),
            ("max", 1, not.clone()),
            ("min", -1, not.clone()),
            ("min", i64::MAX, Ok(-1)),
            ("new", i64::MIN, Ok(i64::MIN)),
            ("plus", 1, not.clone()),
            ("space", 1, not.clone()),
            ("empty", 1, not.clone()),
            ("word", 1, not.clone()),
            ("float", 1, not.clone()),
        ] {
            let key = key.into();
            let increment = Change::Increment { key, delta };
            check_changes(&redis, [(increment, expected.map(Answer::Count))]).await;
        }
        check(
            &redis,
            [(get(&["n", "word"]), values(&[Some(b"-2"), Some(b"one")]))],
        )
        .await;
    });
}

#[test]
fn a_value_is_swapped_only_for_the_expected_one() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        for (expected, value, done) in [
            (Some("a"), "b", false),
            (Some(""), "b", false),
            (None, "a", true),
            (None, "b", false),
            (Some("b"), "c", false),
            (Some("a"), "", true),
            (None, "b", false),
            (Some(""), "\r\n\0", true),
            (Some("\r\n\0"), "end", true),
        ] {
            let swap = Change::Swap {
                key: "k".into(),
                expected: expected.map(|text| text.as_bytes().to_vec()),
                value: value.into(),
            };
            check_changes(&redis, [(swap, Ok(Answer::Bool(done)))]).await;
        }
        check(&redis, [(get(&["k"]), values(&[Some(b"end")]))]).await;
    });
}

#[test]
fn members_are_found_by_their_exact_scores() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let all = [
            ("low", low),
            ("huge-", -f64::MAX),
            ("big-", -1.5e300),
            ("third", 1.0 / 3.0),
            ("a", 0.1 + 0.2),
            ("b", 0.1 + 0.2),
            ("tiny", f64::from_bits(1)),
            ("2^53", 9_007_199_254_740_993.0),
            ("huge", f64::MAX),
            ("high", high),
        ];
        let mut sorted = all;
        sorted.sort_by(|left, right| left.1.total_cmp(&right.1).then(left.0.cmp(right.0)));
        change(
            &redis,
            [
                add("z", &[]),
                add("z", &all),
                add("z", &[("third", 1.0 / 3.0)]),
            ],
        )
        .await;
        let above = f64::from_bits((0.1_f64 + 0.2).to_bits() + 1);
        check(
            &redis,
            [
                (range("z", low, high), members(&sorted)),
                (range("z", high, low), members(&[])),
                (range("z", high, high), members(&[("high", high)])),
                (
                    range("z", 0.3, 0.1 + 0.2),
                    members(&[("a", 0.1 + 0.2), ("b", 0.1 + 0.2)]),
                ),
                (range("z", above, 0.5), members(&[("third", 1.0 / 3.0)])),
                (
                    range("z", -0.0, 1e-300),
                    members(&[("tiny", f64::from_bits(1))]),
                ),
                (range("none", low, high), members(&[])),
                (range("z", f64::NAN, high), Err(KvError::NotAScore)),
                (range("z", low, f64::NAN), Err(KvError::NotAScore)),
            ],
        )
        .await;
        // None of a change with a bad score happens.
        let bad = add("z", &[("new", 1.0), ("bad", f64::NAN)]);
        check_changes(&redis, [(bad, Err(KvError::NotAScore))]).await;
        check(&redis, [(range("z", 1.0, 1.0), members(&[]))]).await;
        // The last score counts.
        change(&redis, [add("z", &[("a", 7.0), ("a", 8.0)])]).await;
        check(&redis, [(range("z", 7.0, 8.0), members(&[("a", 8.0)]))]).await;
    });
}

#[test]
fn namespaces_never_meet() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let spaces = [
            "a", "a:b", "a%3Ab", "a*", "*", "?", "[a]", "[^a]", "a\\", "\\*", "a/b", "/b", "", ":",
        ];
        for space in spaces {
            let pairs = ["b", "b:c", "c", ":c"].map(|key| (key.to_owned(), space.into()));
            redis
                .change(space, QUOTA, &Change::Set(pairs.to_vec()))
                .await
                .unwrap();
        }
        for space in spaces {
            let ours = Some(space.as_bytes());
            let found = redis.query(space, &get(&["b", "b:c", "c", ":c"])).await;
            assert_eq!(found, values(&[ours; 4]), "{space}");
            let whole = Query::Scan {
                pattern: "*".into(),
            };
            let keys = redis.query(space, &whole).await;
            assert_eq!(
                keys,
                Ok(Answer::Keys(strings(&[":c", "b", "b:c", "c"]))),
                "{space}"
            );
            let listed = redis.query(space, &Query::List { cursor: None }).await;
            let page = Answer::Page(strings(&[":c", "b", "b:c", "c"]), None);
            assert_eq!(listed, Ok(page), "{space}");
        }
        redis
            .change("a*", QUOTA, &Change::Delete(strings(&["b", "c"])))
            .await
            .unwrap();
        let found = redis.query("a", &get(&["b", "c"])).await;
        assert_eq!(found, values(&[Some(b"a"), Some(b"a")]));
    });
}

#[test]
fn a_prefix_stands_before_every_key_and_a_raw_server_has_no_namespaces() {
    let instance = Instance::start(&[]);
    run(async {
        let (dial, _) = server::dial(instance.port);
        let server = |prefix: &str, raw, db| Server {
            prefix: prefix.into(),
            raw,
            db,
            ..Server::default()
        };
        let named = patient(server("edge[1]:", false, 0), Rc::clone(&dial));
        let raw = patient(server("", true, 0), Rc::clone(&dial));
        let part = patient(server("edge[1]:", true, 0), Rc::clone(&dial));
        let other = patient(server("", true, 5), dial);
        change(&named, [set(&[("k", b"1")])]).await;
        change(&raw, [set(&[("edge1:x", b"2")])]).await;
        change(&other, [set(&[("elsewhere", b"3")])]).await;
        let scan = |pattern: &str| Query::Scan {
            pattern: pattern.into(),
        };
        let keys = |keys: &[&str]| Ok(Answer::Keys(strings(keys)));
        check(
            &raw,
            [(scan("*"), keys(&["edge1:x", "edge[1]:acme/main:k"]))],
        )
        .await;
        check(
            &part,
            [
                (scan("*"), keys(&["acme/main:k"])),
                (scan("acme*:?"), keys(&["acme/main:k"])),
            ],
        )
        .await;
        check(
            &named,
            [
                (scan("*"), keys(&["k"])),
                (get(&["k"]), values(&[Some(b"1")])),
            ],
        )
        .await;
        check(&other, [(scan("*"), keys(&["elsewhere"]))]).await;
    });
}

#[test]
fn a_change_that_is_more_than_the_quota_by_itself_is_refused() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let quota = Quota { keys: 2, bytes: 10 };
        let swap = |value: &[u8]| Change::Swap {
            key: "k".into(),
            expected: None,
            value: value.into(),
        };
        let over = |what| Err(KvError::OverQuota(what));
        for (change, expected) in [
            (
                set(&[("a", b"1"), ("b", b"1"), ("c", b"1")]),
                over(What::Keys),
            ),
            (set(&[("a", b"1234"), ("b", b"12345")]), over(What::Bytes)),
            (set(&[("a", b"1234"), ("b", b"1234")]), Ok(Answer::Done)),
            (swap(b"1234567890"), over(What::Bytes)),
            (swap(b"123456789"), Ok(Answer::Bool(true))),
            (add("z", &[("m", 1.0), ("n", 1.0)]), over(What::Bytes)),
            (add("z", &[("m", 1.0)]), Ok(Answer::Done)),
            (
                Change::Delete(strings(&["a", "b", "c", "longer than all"])),
                Ok(Answer::Done),
            ),
        ] {
            assert_eq!(
                redis.change(SPACE, quota, &change).await,
                expected,
                "{change:?}"
            );
        }
    });
}

#[test]
fn an_answer_has_its_largest_size_and_no_byte_more() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let max = limits::KV_ANSWER_BYTES_MAX as usize;
        let whole = vec![7; max];
        let too_large = Err(KvError::TooLarge(limits::KV_ANSWER_BYTES_MAX));
        change(
            &redis,
            [set(&[
                ("whole", &whole),
                ("half", &whole[..max / 2]),
                ("one", b"1"),
            ])],
        )
        .await;
        change(
            &redis,
            [Change::Swap {
                key: "over".into(),
                expected: None,
                value: vec![7; max + 1],
            }],
        )
        .await;
        let half = Some(&whole[..max / 2]);
        check(
            &redis,
            [
                (get(&["whole"]), values(&[Some(&whole)])),
                (get(&["over"]), too_large.clone()),
                (get(&["half", "none", "half"]), values(&[half, None, half])),
                (get(&["half", "half", "one"]), too_large.clone()),
                (get(&["one", "whole", "none"]), too_large.clone()),
                (get(&["one"]), values(&[Some(b"1")])),
            ],
        )
        .await;
        // Members count with their scores, of eight bytes.
        let member = "m".repeat(max / 2 - 100);
        change(
            &redis,
            [
                add("z", &[(&member, 1.0)]),
                add("z", &[(&format!("{member}2"), 2.0)]),
            ],
        )
        .await;
        let (both, one) = (range("z", 0.0, 2.0), range("z", 2.0, 2.0));
        assert!(redis.query(SPACE, &both).await.is_ok());
        assert!(redis.query(SPACE, &one).await.is_ok());
        change(&redis, [add("z", &[(&"n".repeat(200), 1.0)])]).await;
        check(&redis, [(both, too_large.clone())]).await;
        let all = Query::ScanMembers {
            key: "z".into(),
            pattern: "*".into(),
        };
        check(&redis, [(all, too_large)]).await;
    });
}
