//! Going through many keys and members.

use std::collections::BTreeSet;

use super::server::{Instance, dial, fake};
use super::*;

/// Sets so many keys, named by `name`.
async fn fill(redis: &Redis, space: &str, count: usize, name: impl Fn(usize) -> String) {
    let keys: Vec<_> = (0..count).map(|i| (name(i), b"v".to_vec())).collect();
    for pairs in keys.chunks(10_000) {
        redis
            .change(space, QUOTA, &Change::Set(pairs.to_vec()))
            .await
            .unwrap();
    }
}

fn scan(pattern: &str) -> Query {
    Query::Scan {
        pattern: pattern.into(),
    }
}

/// All pages, and how many they were.
async fn pages(redis: &Redis) -> (Vec<String>, usize) {
    let (mut keys, mut count, mut cursor) = (Vec::new(), 0, None);
    loop {
        let answer = redis.query(SPACE, &Query::List { cursor }).await.unwrap();
        let Answer::Page(page, next) = answer else {
            panic!("{answer:?}");
        };
        assert!(page.len() <= limits::KEYS_PER_PAGE_MAX);
        keys.extend(page);
        count += 1;
        match next {
            Some(next) => cursor = Some(next),
            None => return (keys, count),
        }
    }
}

#[test]
fn pages_have_every_key_once_and_no_more_than_they_may() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        assert_eq!(pages(&redis).await, (vec![], 1));
        fill(&redis, SPACE, 12_345, |i| format!("key:{i}")).await;
        fill(&redis, "another", 5_000, |i| format!("key:{i}")).await;
        let (mut keys, count) = pages(&redis).await;
        keys.sort();
        let mut expected: Vec<_> = (0..12_345).map(|i| format!("key:{i}")).collect();
        expected.sort();
        assert!(keys == expected, "{} keys", keys.len());
        assert!(count < 30, "{count} pages");
        for junk in ["", "x", "-1", "1.5", "18446744073709551616", ":", ":a"] {
            let cursor = Some(junk.to_owned());
            check(
                &redis,
                [(Query::List { cursor }, Ok(Answer::Page(vec![], None)))],
            )
            .await;
        }
    });
}

#[test]
fn a_step_with_more_keys_than_a_page_has_is_given_in_parts() {
    run(async {
        let max = limits::KEYS_PER_PAGE_MAX;
        let step = |next: u64, keys: std::ops::Range<usize>| {
            let mut text = format!(
                "*2\r\n${}\r\n{next}\r\n*{}\r\n",
                next.to_string().len(),
                keys.len()
            );
            for key in keys {
                text += &format!("$15\r\nacme/main:{key:05}\r\n");
            }
            text.into_bytes()
        };
        let port =
            fake(
                move |command| match (&command[0][..], command.get(1).map(Vec::as_slice)) {
                    (b"SCAN", Some(b"0")) => Some(step(7, 0..3)),
                    // As after many deletions: one step goes through two pages and a half.
                    (b"SCAN", Some(b"7")) => Some(step(9, 3..3 + 2 * max + max / 2)),
                    (b"SCAN", Some(b"9")) => Some(step(0, 1..2)),
                    _ => Some(b"+PONG\r\n".to_vec()),
                },
            )
            .await;
        let redis = patient(Server::default(), dial(port).0);
        let (keys, count) = pages(&redis).await;
        assert_eq!(count, 4);
        let distinct: BTreeSet<_> = keys.iter().cloned().collect();
        let expected: BTreeSet<_> = (0..3 + 2 * max + max / 2)
            .map(|key| format!("{key:05}"))
            .collect();
        assert!(distinct == expected);
    });
}

#[test]
fn a_scan_finds_what_matches_sorted_and_once() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let named = [
            "a",
            "ab",
            "abc",
            "b",
            "*",
            "a*",
            "[a]",
            "é",
            "",
            ":",
            "acme/main:a",
        ];
        change(&redis, [set(&named.map(|key| (key, &b"v"[..])))]).await;
        // No text is no key to us, and a key of another namespace is none of ours.
        let redis_raw = patient(
            Server {
                raw: true,
                ..Server::default()
            },
            dial(instance.port).0,
        );
        change(
            &redis_raw,
            [set(&[("acme/mainb:a", b"v"), ("xacme/main:a", b"v")])],
        )
        .await;
        instance.say(&[
            "EVAL",
            "redis.call('SET', 'acme/main:' .. string.char(255), 'v')",
            "0",
        ]);
        for (pattern, expected) in [
            (
                "*",
                vec![
                    "",
                    "*",
                    ":",
                    "[a]",
                    "a",
                    "a*",
                    "ab",
                    "abc",
                    "acme/main:a",
                    "b",
                    "é",
                ],
            ),
            ("a*", vec!["a", "a*", "ab", "abc", "acme/main:a"]),
            ("a?", vec!["a*", "ab"]),
            ("a\\*", vec!["a*"]),
            ("[ab]", vec!["a", "b"]),
            ("[^a]", vec!["*", ":", "b"]),
            ("\\[a\\]", vec!["[a]"]),
            ("", vec![""]),
            ("[a", vec!["a"]),
            ("none", vec![]),
        ] {
            check(
                &redis,
                [(scan(pattern), Ok(Answer::Keys(strings(&expected))))],
            )
            .await;
        }
    });
}

#[test]
fn members_are_scanned_in_the_order_of_their_scores() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let all: Vec<_> = (0..5_000)
            .map(|i| (format!("m{i:04}").into_bytes(), f64::from(i % 7)))
            .collect();
        for key in ["z", "small"] {
            let members = match key {
                "small" => scored(&[("b", 1.0), ("a", 1.0), ("c", -1.0), ("d", 0.0), ("e", -0.0)]),
                _ => all.clone(),
            };
            change(
                &redis,
                [Change::AddMembers {
                    key: key.into(),
                    members,
                }],
            )
            .await;
        }
        let members_of = |key: &str, pattern: &str| Query::ScanMembers {
            key: key.into(),
            pattern: pattern.into(),
        };
        let mut sorted = all;
        sorted.sort_by(|left, right| {
            left.1
                .total_cmp(&right.1)
                .then_with(|| left.0.cmp(&right.0))
        });
        let some: Vec<_> = sorted
            .iter()
            .filter(|(member, _)| member.ends_with(b"42"))
            .cloned()
            .collect();
        check(
            &redis,
            [
                (members_of("z", "*"), Ok(Answer::Members(sorted))),
                (members_of("z", "m??42"), Ok(Answer::Members(some))),
                (
                    members_of("small", "*"),
                    members(&[("c", -1.0), ("d", 0.0), ("e", -0.0), ("a", 1.0), ("b", 1.0)]),
                ),
                (
                    members_of("small", "[^a]"),
                    members(&[("c", -1.0), ("d", 0.0), ("e", -0.0), ("b", 1.0)]),
                ),
                (members_of("none", "*"), members(&[])),
            ],
        )
        .await;
    });
}

#[test]
fn no_more_keys_and_members_are_gone_through_than_may_be() {
    let instance = Instance::start(&[]);
    run(async {
        let redis = keys_of(&instance);
        let max = limits::KV_SCAN_ROWS_MAX;
        let ours = 10;
        fill(&redis, SPACE, ours, |i| i.to_string()).await;
        fill(&redis, "others", max - ours, |i| i.to_string()).await;
        let found = redis.query(SPACE, &scan("*")).await;
        assert!(
            matches!(&found, Ok(Answer::Keys(keys)) if keys.len() == ours),
            "{found:?}"
        );
        fill(&redis, "more", 2 * limits::KV_REDIS_SCAN_COUNT, |i| {
            i.to_string()
        })
        .await;
        let too_many = |what: &str| {
            Err(KvError::Unavailable(format!(
                "redis has more than {max} {what} to go through"
            )))
        };
        check(&redis, [(scan("*"), too_many("keys"))]).await;
        // Pages go on, if need be with an empty one.
        let (keys, _) = pages(&redis).await;
        assert_eq!(keys.len(), ours);

        let all: Vec<_> = (0..=max)
            .map(|i| (i.to_string().into_bytes(), 1.0))
            .collect();
        for members in all[..max].chunks(10_000) {
            let members = members.to_vec();
            change(
                &redis,
                [Change::AddMembers {
                    key: "z".into(),
                    members,
                }],
            )
            .await;
        }
        let found = redis.query(SPACE, &range("z", 1.0, 1.0)).await;
        assert!(matches!(&found, Ok(Answer::Members(found)) if found.len() == max));
        let members = all[max..].to_vec();
        change(
            &redis,
            [Change::AddMembers {
                key: "z".into(),
                members,
            }],
        )
        .await;
        check(&redis, [(range("z", 1.0, 1.0), too_many("members"))]).await;
        let keys = vec![String::new(); max + 1];
        check(&redis, [(Query::Get(keys), too_many("keys"))]).await;
    });
}

#[test]
fn a_scan_that_takes_too_long_ends_and_a_page_is_given_as_it_is() {
    run(async {
        let port = fake(|command| match &command[0][..] {
            b"SCAN" => {
                std::thread::sleep(std::time::Duration::from_millis(50));
                Some(b"*2\r\n$1\r\n1\r\n*1\r\n$11\r\nacme/main:k\r\n".to_vec())
            }
            _ => Some(b"+PONG\r\n".to_vec()),
        })
        .await;
        let redis = Redis::new(Server::default(), dial(port).0);
        let slow = KvError::Unavailable("redis did not get through within 1000 ms".into());
        let page = Answer::Page(strings(&["k"]), Some("1".into()));
        check(
            &redis,
            [
                (scan("*"), Err(slow)),
                (Query::List { cursor: None }, Ok(page)),
            ],
        )
        .await;
    });
}
