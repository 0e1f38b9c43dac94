//! What is purged, and that it does not come back.

use super::*;

const MINUTE: (&str, &str) = ("cache-control", "max-age=60, stale-while-revalidate=60");

#[test]
fn purges_by_url_prefix_tag_and_all() {
    for (what, expected, left) in [
        (
            Purge::Url("https://a.test/a"),
            2,
            &["https://a.test/a/b", "https://b.test/a"][..],
        ),
        (
            Purge::Url("https://a.test/"),
            0,
            &["https://a.test/a", "https://a.test/a/b", "https://b.test/a"],
        ),
        (Purge::Prefix("https://a.test/a"), 3, &["https://b.test/a"]),
        (
            Purge::Prefix("https://a.test/a/"),
            1,
            &["https://a.test/a", "https://b.test/a"],
        ),
        (Purge::Tag("t1"), 3, &["https://b.test/a"]),
        (Purge::Tag("t2"), 2, &["https://a.test/a"]),
        (
            Purge::Tag("t"),
            0,
            &["https://a.test/a", "https://a.test/a/b", "https://b.test/a"],
        ),
        (Purge::All, 4, &[]),
    ] {
        for how in [How::Remove, How::MakeStale] {
            let bench = Bench::new();
            for (url, request, tags) in [
                ("https://a.test/a", &[("accept", "1")][..], "t1"),
                ("https://a.test/a", &[("accept", "2")], "t1, x"),
                ("https://a.test/a/b", &[], "t1,t2"),
                ("https://b.test/a", &[], "t2"),
            ] {
                let response = [MINUTE, ("vary", "accept"), ("cache-tag", tags)];
                assert!(bench.store_at(url, request, &response, url, 0));
            }
            let count = bench.tenant.purge(what, how, bench.at(10_000));
            assert_eq!(count, expected, "{what:?}");
            assert_eq!(bench.tenant.counters().purged, expected);
            for (url, accept) in [
                ("https://a.test/a", "1"),
                ("https://a.test/a/b", ""),
                ("https://b.test/a", ""),
            ] {
                let fields = [("accept", accept)];
                let fields = if accept.is_empty() {
                    &[][..]
                } else {
                    &fields[..]
                };
                let found = kind(&bench.tenant.lookup(&get(url, fields), bench.at(10_000)));
                let purged = if how == How::Remove {
                    "miss"
                } else {
                    "stale+fill"
                };
                let expected = if left.contains(&url) { "fresh" } else { purged };
                assert_eq!(found, expected, "{what:?} {how:?} {url}");
            }
            bench.tenant.0.check(true);
        }
    }
}

/// A purge while a response is on its way: the client has it, the cache has not.
#[test]
fn what_is_purged_while_it_comes_is_not_stored() {
    let purges = [
        (Purge::Url(URL), true),
        (Purge::Prefix("https://a.test"), true),
        (Purge::Tag("t"), true),
        (Purge::All, true),
        (Purge::Url("https://a.test/y"), false),
        (Purge::Prefix("https://b"), false),
        (Purge::Tag("u"), false),
    ];
    for (what, is_meant) in purges {
        for is_before_head in [true, false] {
            for how in [How::Remove, How::MakeStale] {
                let bench = Bench::new();
                let fill = fill(bench.look(&[], 0));
                let now = bench.at(1);
                let purge = || bench.tenant.purge(what, how, now);
                if is_before_head {
                    assert_eq!(purge(), 0);
                    let joins = kind(&bench.look(&[], 1)) == "wait";
                    // Its tags are not known yet.
                    assert_eq!(
                        joins,
                        !is_meant || matches!(what, Purge::Tag(_)),
                        "{what:?}"
                    );
                }
                let response = [MINUTE, ("surrogate-key", "s t")];
                let outcome = fill.answered(head(200, &response), now.instant, now);
                let Outcome::Store(mut answer, mut writer) = outcome else {
                    panic!()
                };
                if !is_before_head {
                    assert_eq!(purge(), 0);
                }
                assert_eq!(
                    kind(&bench.look(&[], 1)) == "miss",
                    is_meant,
                    "nobody joins it any more"
                );
                writer.push(&Bytes::from_static(b"old"));
                assert_eq!(writer.finish(), !is_meant, "{what:?} {is_before_head}");
                assert_eq!(text(&mut answer), "old");
                assert_eq!(kind(&bench.look(&[], 1)) == "miss", is_meant);
                bench.idle();
            }
        }
    }
}

#[test]
fn what_is_purged_while_it_is_asked_about_is_not_stored_again() {
    for what in [Purge::Url(URL), Purge::Tag("t"), Purge::All] {
        for control in ["max-age=10", "no-cache"] {
            let bench = Bench::new();
            let response = [
                ("cache-control", control),
                ("etag", "\"a\""),
                ("surrogate-key", "t"),
            ];
            assert!(bench.store(&[], &response, "old", 0));
            let fill = fill(bench.look(&[], 10_000));
            let now = bench.at(10_000);
            assert_eq!(bench.tenant.purge(what, How::Remove, now), 1);
            // It says that it has other tags now.
            let outcome = fill.answered(head(304, &[("surrogate-key", "u")]), now.instant, now);
            let Outcome::Stored(mut answer) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(text(&mut answer), "old");
            assert_eq!(bench.tenant.counters().entries, 0);
            bench.idle();
        }
    }
}

#[test]
fn too_many_tags_purged_meanwhile_are_all_tags() {
    let bench = Bench::new();
    let fill = fill(bench.look(&[], 0));
    for number in 0..65 {
        bench
            .tenant
            .purge(Purge::Tag(&number.to_string()), How::Remove, bench.at(0));
    }
    let now = bench.at(1);
    let outcome = fill.answered(head(200, &[MINUTE]), now.instant, now);
    let Outcome::Store(_, writer) = outcome else {
        panic!()
    };
    assert!(!writer.finish());
}

#[test]
fn unsafe_requests_invalidate() {
    for (method, status, response, expected) in [
        ("POST", 200, &[][..], "x"),
        ("DELETE", 204, &[], "x"),
        ("PUT", 303, &[("location", "/y")], "xy"),
        (
            "POST",
            201,
            &[("location", "https://a.test/y"), ("content-location", "z")],
            "xyz",
        ),
        ("POST", 201, &[("location", "https://b.test/y")], "x"),
        ("POST", 404, &[("location", "/y")], ""),
        ("POST", 500, &[], ""),
        ("OPTIONS", 200, &[], ""),
        ("GET", 200, &[("location", "/y")], ""),
        ("PURGE", 200, &[], "x"),
    ] {
        let bench = Bench::new();
        for name in ["x", "y", "z"] {
            assert!(bench.store_at(&format!("https://a.test/{name}"), &[], &[MINUTE], name, 0));
        }
        assert!(bench.store_at("https://b.test/y", &[], &[MINUTE], "b", 0));
        let (method, status) = (
            method.parse().unwrap(),
            StatusCode::from_u16(status).unwrap(),
        );
        let count = bench
            .tenant
            .invalidate(&method, URL, status, &headers(response), bench.at(1));
        assert_eq!(count, expected.len() as u64, "{method} {response:?}");
        for name in ["x", "y", "z"] {
            let lookup = bench
                .tenant
                .lookup(&get(&format!("https://a.test/{name}"), &[]), bench.at(1));
            assert_eq!(
                kind(&lookup) == "miss",
                expected.contains(name),
                "{method} {name}"
            );
        }
    }
}

#[test]
fn tenants_are_strangers() {
    let bench = Bench::new();
    let other = bench.worker.tenant(SETTINGS);
    assert!(bench.store(&[], &[MINUTE], "mine", 0));
    assert_eq!(kind(&other.lookup(&get(URL, &[]), bench.at(0))), "miss");
    assert_eq!(other.purge(Purge::All, How::Remove, bench.at(0)), 0);
    assert_eq!(kind(&bench.look(&[], 0)), "fresh");
}
