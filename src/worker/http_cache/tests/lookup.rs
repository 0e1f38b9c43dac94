//! One client after the other.

use super::*;

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn a_response_is_served_until_it_is_stale_and_then_asked_about() {
    let bench = Bench::new();
    assert_eq!(kind(&bench.look(&[], 0)), "miss");
    assert!(bench.store(
        &[],
        &[MINUTE, ("etag", "\"a\""), ("content-type", "x/y")],
        "body",
        0
    ));
    let mut hit = answer(bench.look(&[], 59_999));
    assert_eq!((hit.status, hit.length), (StatusCode::OK, Some(4)));
    let expected = [
        MINUTE,
        ("etag", "\"a\""),
        ("content-type", "x/y"),
        ("date", DATE),
        ("age", "59"),
        ("accept-ranges", "bytes"),
    ];
    assert_eq!(hit.headers, headers(&expected));
    assert_eq!(hit.cache_status.value("skep").unwrap(), "skep; hit; ttl=1");
    assert_eq!(text(&mut hit), "body");
    let lookup = bench.look(&[("if-none-match", "\"mine\"")], 60_000);
    assert_eq!(kind(&lookup), "revalidate");
    let fill = fill(lookup);
    assert_eq!(
        fill.origin_headers(),
        headers(&[("if-none-match", "\"a\"")])
    );
    let now = bench.at(60_500);
    let outcome = fill.answered(
        head(304, &[("etag", "\"a\""), ("x-new", "1")]),
        bench.at(60_000).instant,
        now,
    );
    let Outcome::Stored(mut refreshed) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        refreshed.cache_status.value("skep").unwrap(),
        "skep; fwd=stale; fwd-status=304; ttl=60; stored"
    );
    assert_eq!(text(&mut refreshed), "body");
    assert!(
        !refreshed.headers.contains_key("age"),
        "the origin confirmed it just now"
    );
    assert_eq!(refreshed.headers["date"], "Sun, 06 Nov 1994 08:50:37 GMT");
    bench.idle();
}

#[test]
fn a_304_begins_a_new_life() {
    let bench = Bench::new();
    assert!(bench.store(&[], &[MINUTE, ("etag", "\"a\""), ("age", "30")], "body", 0));
    let now = bench.at(30_000);
    let late = "Sun, 06 Nov 1994 08:50:07 GMT";
    let fields = &[
        ("etag", "\"a\""),
        ("date", late),
        ("x-new", "1"),
        ("set-cookie", "a=b"),
    ];
    let outcome = fill(bench.look(&[], 30_000)).answered(head(304, fields), now.instant, now);
    let Outcome::Stored(refreshed) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        !refreshed.headers.contains_key("age"),
        "the origin confirmed it just now"
    );
    assert!(!refreshed.headers.contains_key("set-cookie"));
    let mut hit = answer(bench.look(&[], 89_000));
    assert_eq!(
        (hit.headers["age"].clone(), hit.headers["x-new"].clone()),
        ("59".parse().unwrap(), "1".parse().unwrap())
    );
    assert_eq!(text(&mut hit), "body");
    assert_eq!(kind(&bench.look(&[], 90_000)), "revalidate");
    let counters = bench.tenant.counters();
    assert_eq!(
        (counters.revalidated, counters.hits, counters.entries),
        (1, 1, 1)
    );
    bench.idle();
}

#[test]
fn what_a_304_may_turn_out_to_be() {
    for (fields, expected, is_left) in [
        (&[("etag", "\"b\"")][..], "again", false),
        (
            &[("etag", "\"a\""), ("cache-control", "no-store")],
            "stored",
            false,
        ),
        (
            &[("etag", "\"a\""), ("cache-control", "private")],
            "stored",
            false,
        ),
        (&[], "stored", true),
        (&[("vary", "accept")], "stored", true),
        (&[("vary", "*")], "stored", false),
    ] {
        let bench = Bench::new();
        assert!(bench.store(&[], &[MINUTE, ("etag", "\"a\"")], "body", 0));
        let now = bench.at(60_000);
        let outcome = fill(bench.look(&[], 60_000)).answered(head(304, fields), now.instant, now);
        let found = match outcome {
            Outcome::Again(fill) => {
                assert!(fill.origin_headers().is_empty());
                let outcome = fill.answered(head(304, &[]), now.instant, now);
                assert!(
                    matches!(outcome, Outcome::Pass { .. }),
                    "nobody asked for a 304"
                );
                "again"
            }
            Outcome::Stored(mut answer) => {
                assert_eq!(text(&mut answer), "body");
                "stored"
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (found, bench.tenant.counters().entries),
            (expected, u64::from(is_left)),
            "{fields:?}"
        );
        bench.idle();
    }
}

#[test]
fn a_new_answer_replaces_the_old_one() {
    let bench = Bench::new();
    assert!(bench.store(&[], &[MINUTE, ("etag", "\"a\"")], "old", 0));
    assert!(bench.store(&[], &[MINUTE, ("etag", "\"b\"")], "new", 60_000));
    assert_eq!(text(&mut answer(bench.look(&[], 61_000))), "new");
    // One that may not be stored takes it away; an error does not.
    for (status, entries) in [(503, 1), (429, 1), (200, 0)] {
        let now = bench.at(130_000);
        let outcome = fill(bench.look(&[], 130_000)).answered(
            head(status, &[("cache-control", "no-store")]),
            now.instant,
            now,
        );
        let Outcome::Pass { cache_status, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            cache_status.value("skep").unwrap(),
            "skep; fwd=stale; detail=no-store"
        );
        assert_eq!(bench.tenant.counters().entries, entries, "{status}");
    }
    bench.idle();
}

#[test]
fn requests_that_the_cache_passes() {
    let long = format!("https://a.test/{}", "x".repeat(8 << 10));
    for (method, url, fields, expected) in [
        ("POST", URL, &[][..], "pass method"),
        ("OPTIONS", URL, &[], "pass method"),
        ("GET", URL, &[("content-length", "1")], "pass method"),
        ("GET", URL, &[("content-length", "0")], "fresh"),
        (
            "GET",
            URL,
            &[("cache-control", "no-store")],
            "pass no-store",
        ),
        ("GET", URL, &[("if-match", "\"a\"")], "pass precondition"),
        (
            "GET",
            URL,
            &[("if-unmodified-since", DATE)],
            "pass precondition",
        ),
        ("GET", &long, &[], "pass url-too-long"),
        ("HEAD", URL, &[], "fresh"),
        ("HEAD", "https://a.test/y", &[], "pass head"),
        (
            "GET",
            "https://a.test/y",
            &[("range", "bytes=0-")],
            "pass range",
        ),
        ("GET", URL, &[("range", "bytes=0-0,2-2")], "pass ranges"),
        ("GET", URL, &[("cache-control", "only-if-cached")], "fresh"),
        (
            "GET",
            "https://a.test/y",
            &[("cache-control", "only-if-cached")],
            "unavailable",
        ),
        (
            "GET",
            URL,
            &[("cache-control", "only-if-cached, no-cache")],
            "unavailable",
        ),
        ("GET", URL, &[("cache-control", "max-age=0")], "revalidate"),
        ("GET", URL, &[("pragma", "no-cache")], "revalidate"),
    ] {
        let bench = Bench::new();
        assert!(bench.store(&[], &[MINUTE], "body", 0));
        let asked = request(method.parse().unwrap(), url, fields);
        assert_eq!(
            kind(&bench.tenant.lookup(&asked, bench.at(1_000))),
            expected,
            "{method} {url} {fields:?}"
        );
    }
    let bench = Bench::with(Settings {
        client_directives: false,
        ..SETTINGS
    });
    assert!(bench.store(&[], &[MINUTE], "body", 0));
    for fields in ["no-store", "no-cache", "max-age=0", "only-if-cached"] {
        assert_eq!(
            kind(&bench.look(&[("cache-control", fields)], 1_000)),
            "fresh"
        );
    }
    let bench = Bench::with(Settings {
        bytes_max: 0,
        ..SETTINGS
    });
    assert_eq!(kind(&bench.look(&[], 0)), "pass no-cache");
}

#[test]
fn parts_conditions_and_heads_of_what_is_stored() {
    for (method, fields, status, length, body, range) in [
        ("GET", &[][..], 200, Some(8), "abcdefgh", None),
        ("HEAD", &[], 200, Some(8), "", None),
        (
            "GET",
            &[("range", "bytes=2-4")],
            206,
            Some(3),
            "cde",
            Some("bytes 2-4/8"),
        ),
        (
            "GET",
            &[("range", "bytes=-3")],
            206,
            Some(3),
            "fgh",
            Some("bytes 5-7/8"),
        ),
        (
            "GET",
            &[("range", "bytes=8-")],
            416,
            Some(0),
            "",
            Some("bytes */8"),
        ),
        ("HEAD", &[("range", "bytes=2-4")], 200, Some(8), "", None),
        (
            "GET",
            &[("range", "bytes=2-4"), ("if-range", "\"a\"")],
            206,
            Some(3),
            "cde",
            Some("bytes 2-4/8"),
        ),
        (
            "GET",
            &[("range", "bytes=2-4"), ("if-range", "\"b\"")],
            200,
            Some(8),
            "abcdefgh",
            None,
        ),
        ("GET", &[("if-none-match", "\"a\"")], 304, None, "", None),
        (
            "GET",
            &[("if-none-match", "\"a\""), ("range", "bytes=2-4")],
            304,
            None,
            "",
            None,
        ),
        ("HEAD", &[("if-none-match", "W/\"a\"")], 304, None, "", None),
        (
            "GET",
            &[("if-none-match", "\"b\"")],
            200,
            Some(8),
            "abcdefgh",
            None,
        ),
        ("GET", &[("if-modified-since", DATE)], 304, None, "", None),
    ] {
        let bench = Bench::new();
        assert!(bench.store(
            &[],
            &[MINUTE, ("etag", "\"a\""), ("x-a", "1"), ("cache-tag", "t")],
            "abcdefgh",
            0
        ));
        let asked = request(method.parse().unwrap(), URL, fields);
        let mut found = answer(bench.tenant.lookup(&asked, bench.at(5_000)));
        assert_eq!(
            (found.status.as_u16(), found.length),
            (status, length),
            "{fields:?}"
        );
        let found_range = found
            .headers
            .get("content-range")
            .map(|value| value.to_str().unwrap());
        assert_eq!(found_range, range);
        assert_eq!(
            (&found.headers["age"], &found.headers["etag"]),
            (&"5".parse().unwrap(), &"\"a\"".parse().unwrap())
        );
        assert!(!found.headers.contains_key("cache-tag"));
        assert_eq!(found.headers.contains_key("x-a"), status < 300);
        assert_eq!(text(&mut found), body);
    }
}

#[test]
fn conditions_are_for_what_succeeds() {
    let bench = Bench::new();
    let now = bench.at(0);
    let outcome = fill(bench.look(&[], 0)).answered(
        head(404, &[MINUTE, ("etag", "\"a\"")]),
        now.instant,
        now,
    );
    let Outcome::Store(_, writer) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(writer.finish());
    let found = answer(bench.look(&[("if-none-match", "*"), ("range", "bytes=0-0")], 1_000));
    assert_eq!((found.status.as_u16(), found.length), (404, Some(0)));
}

#[test]
fn variants_are_told_apart_and_bounded() {
    let bench = Bench::new();
    let vary = &[MINUTE, ("vary", "Accept-Language")];
    for language in ["de", "fr"] {
        assert!(bench.store(&[("accept-language", language)], vary, language, 0));
    }
    for language in ["de", "fr"] {
        let fields = &[("accept-language", language), ("accept", "x")];
        assert_eq!(text(&mut answer(bench.look(fields, 1))), language);
    }
    let lookup = bench.look(&[], 1);
    assert_eq!(kind(&lookup), "miss");
    let now = bench.at(1);
    let outcome = fill(lookup).answered(head(200, &[]), now.instant, now);
    let Outcome::Pass { cache_status, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(cache_status.forward, Some(Forward::VaryMiss));
    for number in 0..50 {
        let language = number.to_string();
        let later = 10_000 * (number + 1);
        assert!(bench.store(&[("accept-language", &language)], vary, &language, later));
    }
    assert_eq!(bench.tenant.counters().entries, 16);
    assert_eq!(bench.tenant.counters().evicted, 36);
    assert!(!bench.store(
        &[("accept-language", "x")],
        &[MINUTE, ("vary", "*")],
        "x",
        600_000
    ));
    bench.idle();
}

#[test]
fn stale_while_revalidate_serves_and_asks_once() {
    let bench = Bench::new();
    let fields = &[
        ("cache-control", "max-age=10, stale-while-revalidate=20"),
        ("etag", "\"a\""),
    ];
    assert!(bench.store(&[], fields, "old", 0));
    let Lookup::Stale(mut stale, Some(fill)) = bench.look(&[("range", "bytes=1-1")], 10_000) else {
        panic!()
    };
    assert_eq!(
        (text(&mut stale), stale.status.as_u16()),
        ("l".to_owned(), 206)
    );
    assert_eq!(
        stale.cache_status.value("skep").unwrap(),
        "skep; hit; ttl=0"
    );
    assert_eq!(
        fill.origin_headers(),
        headers(&[("if-none-match", "\"a\"")]),
        "the whole is asked for"
    );
    assert_eq!(kind(&bench.look(&[], 29_999)), "stale");
    let waits = bench.look(&[], 30_000);
    assert_eq!(kind(&waits), "wait", "now it has to");
    let now = bench.at(30_000);
    let outcome = fill.answered(head(200, fields), now.instant, now);
    let Outcome::Store(_, mut writer) = outcome else {
        panic!("{outcome:?}")
    };
    writer.push(&Bytes::from_static(b"new"));
    assert!(writer.finish());
    let Lookup::Wait(mut waiter) = waits else {
        panic!()
    };
    let Poll::Ready(lookup) = poll(&mut waiter, &Arc::default()) else {
        panic!()
    };
    assert_eq!(text(&mut answer(lookup)), "new");
    assert_eq!(bench.tenant.counters().stale, 2);
    bench.idle();
}

#[test]
fn a_stale_response_stands_in_for_errors() {
    for (origin, fields, at_s, expected) in [
        (Some(503), "max-age=10, stale-if-error=20", 29, Some("old")),
        (Some(500), "max-age=10, stale-if-error=20", 10, Some("old")),
        (None, "max-age=10, stale-if-error=20", 29, Some("old")),
        (None, "s-maxage=10, stale-if-error=20", 29, Some("old")),
        (Some(503), "max-age=10, stale-if-error=20", 30, None),
        (None, "max-age=10, stale-if-error=20", 30, None),
        (Some(501), "max-age=10, stale-if-error=20", 29, None),
        (Some(404), "max-age=10, stale-if-error=20", 29, None),
        (Some(503), "max-age=10", 10, None),
        (
            Some(503),
            "max-age=10, stale-if-error=20, must-revalidate",
            10,
            None,
        ),
        (
            Some(503),
            "max-age=10, stale-if-error=20, proxy-revalidate",
            10,
            None,
        ),
        (None, "max-age=10, stale-if-error=20, no-cache", 10, None),
    ] {
        let bench = Bench::new();
        assert!(bench.store(
            &[],
            &[("cache-control", fields), ("etag", "\"a\"")],
            "old",
            0
        ));
        let ms = at_s * 1_000;
        let now = bench.at(ms);
        let fill = fill(bench.look(&[], ms));
        let found = match origin {
            None => fill.failed(now),
            Some(status) => match fill.answered(head(status, &[]), now.instant, now) {
                Outcome::Stored(answer) => Some(answer),
                Outcome::Pass { .. } => None,
                other => panic!("{other:?}"),
            },
        };
        let is_served = found.is_some();
        let found = found.map(|mut answer| text(&mut answer));
        assert_eq!(found.as_deref(), expected, "{origin:?} {fields} {at_s}");
        // For a second nobody has to find out again.
        let next = kind(&bench.look(&[], ms + 999));
        assert_eq!(
            next == "stale",
            is_served && ms + 999 < 30_000,
            "{next} {fields}"
        );
        // Only the word that there is nothing takes it away.
        let later = kind(&bench.look(&[], ms + 1_000));
        let is_gone = origin == Some(404);
        assert_eq!(
            later,
            if is_gone {
                "pass hit-for-miss"
            } else {
                "revalidate"
            }
        );
        bench.idle();
    }
}

#[test]
fn what_always_has_to_be_asked_about_is_asked_by_each() {
    for control in ["no-cache", "max-age=0"] {
        let bench = Bench::new();
        assert!(bench.store(
            &[],
            &[("cache-control", control), ("etag", "\"a\"")],
            "body",
            0
        ));
        let fills = [bench.look(&[], 1), bench.look(&[], 1)].map(fill);
        for fill in fills {
            let now = bench.at(2);
            let outcome = fill.answered(head(304, &[("etag", "\"a\"")]), now.instant, now);
            let Outcome::Stored(mut answer) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(text(&mut answer), "body");
        }
        assert_eq!(bench.tenant.counters().revalidated, 2);
        bench.idle();
    }
}

#[test]
fn a_304_about_the_one_before_does_not_bring_it_back() {
    let bench = Bench::new();
    let fields = |etag| [("cache-control", "no-cache"), ("etag", etag)];
    assert!(bench.store(&[], &fields("\"a\""), "old", 0));
    let slow = fill(bench.look(&[], 1));
    assert!(bench.store(&[], &fields("\"b\""), "new", 2));
    let now = bench.at(3);
    let outcome = slow.answered(head(304, &[("etag", "\"a\"")]), now.instant, now);
    let Outcome::Stored(mut answer) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(text(&mut answer), "old", "for its own client it was good");
    assert_eq!(
        fill(bench.look(&[], 4)).origin_headers()["if-none-match"],
        "\"b\""
    );
    bench.idle();
}

/// Whose head came first is older, whenever its body is complete.
#[test]
fn what_is_older_does_not_replace_what_is_younger() {
    let bench = Bench::new();
    let fields = [("cache-control", "no-cache"), ("etag", "\"a\"")];
    assert!(bench.store(&[], &fields, "first", 0));
    let writers = [1, 2].map(|ms| (fill(bench.look(&[], ms)), bench.at(ms)));
    let [slow, fast] = writers.map(|(fill, now)| {
        let outcome = fill.answered(head(200, &fields), now.instant, now);
        let Outcome::Store(_, writer) = outcome else {
            panic!("{outcome:?}")
        };
        writer
    });
    assert!(fast.finish());
    assert!(!slow.finish());
    assert_eq!(bench.tenant.counters().entries, 1);
    bench.idle();
}

#[test]
fn a_passed_answer_still_meets_the_client_s_condition() {
    let bench = Bench::new();
    for (condition, expected) in [("\"a\"", true), ("\"b\"", false)] {
        let fill = fill(bench.look(&[("if-none-match", condition)], 0));
        assert!(fill.origin_headers().is_empty());
        let now = bench.at(0);
        let outcome = fill.answered(head(200, &[("etag", "\"a\"")]), now.instant, now);
        let Outcome::Pass { not_modified, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(not_modified, expected);
        bench.tenant.purge(Purge::All, How::Remove, now);
    }
}

#[test]
fn clocks_that_are_set_make_no_difference_later() {
    let bench = Bench::new();
    assert!(bench.store(&[], &[MINUTE, ("date", DATE)], "body", 0));
    for wall_s in [0, EPOCH_S + 1_000_000] {
        let now = Now {
            instant: bench.at(30_000).instant,
            wall: UNIX_EPOCH + Duration::from_secs(wall_s),
        };
        let hit = answer(bench.tenant.lookup(&get(URL, &[]), now));
        assert_eq!(hit.headers["age"], "30");
    }
}

#[test]
fn nothing_of_a_tenant_is_printed() {
    let bench = Bench::new();
    assert!(bench.store(&[], &[MINUTE], "body", 0));
    let debug = format!("{:?} {:?}", bench.tenant, bench.worker);
    assert!(
        !debug.contains("a.test") && !debug.contains("body"),
        "{debug}"
    );
}
