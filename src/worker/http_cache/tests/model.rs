//! Storage: random operations of several tenants, each held against plain maps that evict nothing.
//!
//! After every operation each cache holds what its map holds, less what was evicted, and no more bytes than
//! it may; what is found is what was stored last.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Operation {
    /// Stores so many bytes for a URL and a language.
    Store(u8, u8, usize),
    Find(u8, u8),
    Purge(u8),
    PurgePrefix(u8),
    PurgeTag(u8),
    PurgeAll,
    Resize(u64),
    ResizeWorker(u64),
    Wait(u64),
}

fn operation() -> impl Strategy<Value = (usize, Operation)> {
    let size = prop_oneof![
        Just(0_usize),
        1_usize..200,
        1_000_usize..4_000,
        Just(60_000)
    ];
    let operation = prop_oneof![
        30 => (0_u8..40, 0_u8..3, size).prop_map(|(url, lang, size)| Operation::Store(url, lang, size)),
        30 => (0_u8..40, 0_u8..3).prop_map(|(url, lang)| Operation::Find(url, lang)),
        4 => (0_u8..40).prop_map(Operation::Purge),
        2 => (0_u8..4).prop_map(Operation::PurgePrefix),
        2 => (0_u8..5).prop_map(Operation::PurgeTag),
        1 => Just(Operation::PurgeAll),
        1 => (0_u64..80_000).prop_map(Operation::Resize),
        1 => (20_000_u64..200_000).prop_map(Operation::ResizeWorker),
        6 => (0_u64..40).prop_map(Operation::Wait),
    ];
    (0_usize..3, operation)
}

/// By URL and language: the body, when it was stored.
type Model = BTreeMap<(u8, u8), (String, u64)>;

const LIFETIME_S: u64 = 60;

fn url(number: u8) -> String {
    format!("https://a.test/{}/{number}", number % 4)
}

fn run(operations: &[(usize, Operation)]) {
    let bench = Bench::new();
    bench.worker.set_bytes_max(150_000);
    let settings = |bytes_max| Settings {
        bytes_max,
        object_bytes_max: 50_000,
        ..SETTINGS
    };
    let mut tenants: Vec<(Tenant, Model, u64)> = (0..3)
        .map(|_| (bench.worker.tenant(settings(80_000)), Model::new(), 80_000))
        .collect();
    let (mut now_s, mut count) = (0, 0_u64);
    let mut worker_bytes_max = 150_000;
    for (at, operation) in operations {
        let now = bench.at(now_s * 1_000);
        let (tenant, model, bytes_max) = &mut tenants[*at];
        match operation {
            Operation::Store(number, lang, size) => {
                count += 1;
                let body = format!("{count}:{}", "x".repeat(*size));
                let (url, lang) = (url(*number), lang.to_string());
                let fields = [
                    ("accept-language", lang.as_str()),
                    ("cache-control", "no-cache"),
                ];
                let lookup = tenant.lookup(&get(&url, &fields), now);
                if *bytes_max == 0 {
                    assert_eq!(kind(&lookup), "pass no-cache");
                    continue;
                }
                if kind(&lookup) == "pass hit-for-miss" {
                    continue; // it was too large before
                }
                let tag = (number % 5).to_string();
                let control = format!("max-age={LIFETIME_S}");
                let response = [
                    ("cache-control", control.as_str()),
                    ("vary", "accept-language"),
                    ("cache-tag", &tag),
                    ("etag", "\"a\""),
                ];
                let Outcome::Store(mut answer, mut writer) =
                    fill(lookup).answered(head(200, &response), now.instant, now)
                else {
                    panic!()
                };
                let mut read = String::new();
                for piece in body.as_bytes().chunks(700) {
                    writer.push(&Bytes::copy_from_slice(piece));
                    let Poll::Ready(Some(Ok(piece))) = answer
                        .body
                        .poll_chunk(&mut Context::from_waker(Waker::noop()))
                    else {
                        panic!()
                    };
                    read.push_str(std::str::from_utf8(&piece).unwrap());
                }
                assert_eq!(read, body, "its client has all of it, stored or not");
                if writer.finish() {
                    assert!(body.len() <= 50_000);
                    model.insert((*number, lang.parse().unwrap()), (body, now_s));
                }
            }
            Operation::Find(number, lang) => {
                let language = lang.to_string();
                let fields = [("accept-language", language.as_str())];
                let lookup = tenant.lookup(&get(&url(*number), &fields), now);
                let known = model.get(&(*number, *lang));
                match lookup {
                    Lookup::Fresh(mut answer) => {
                        let (body, stored_s) = known.unwrap();
                        assert!(now_s < stored_s + LIFETIME_S);
                        assert_eq!(answer.headers["age"], (now_s - stored_s).to_string());
                        assert_eq!(&text(&mut answer), body);
                    }
                    Lookup::Revalidate(_) => assert!(now_s >= known.unwrap().1 + LIFETIME_S),
                    Lookup::Miss(_)
                    | Lookup::Pass(PassReason::HitForMiss | PassReason::NoCache) => {
                        model.remove(&(*number, *lang));
                    }
                    other => panic!("{}", kind(&other)),
                }
            }
            Operation::Purge(number) => {
                let count = tenant.purge(Purge::Url(&url(*number)), How::Remove, now);
                let before = model.len();
                model.retain(|(other, _), _| other != number);
                assert!(count <= (before - model.len()) as u64);
            }
            Operation::PurgePrefix(directory) => {
                let prefix = format!("https://a.test/{directory}/");
                tenant.purge(Purge::Prefix(&prefix), How::Remove, now);
                model.retain(|(number, _), _| number % 4 != *directory);
            }
            Operation::PurgeTag(tag) => {
                tenant.purge(Purge::Tag(&tag.to_string()), How::Remove, now);
                model.retain(|(number, _), _| number % 5 != *tag);
            }
            Operation::PurgeAll => {
                assert_eq!(
                    tenant.counters().entries,
                    tenant.purge(Purge::All, How::Remove, now)
                );
                model.clear();
            }
            Operation::Resize(bytes) => {
                // No cache at all, now and then.
                *bytes_max = bytes.saturating_sub(2_000);
                tenant.set(settings(*bytes_max));
            }
            Operation::ResizeWorker(bytes) => {
                worker_bytes_max = *bytes;
                bench.worker.set_bytes_max(*bytes);
            }
            Operation::Wait(seconds) => now_s += seconds,
        }
        let mut bytes = 0;
        for (tenant, model, bytes_max) in &tenants {
            tenant.0.check(true);
            let counters = tenant.counters();
            assert!(counters.bytes <= *bytes_max && counters.entries <= model.len() as u64);
            bytes += counters.bytes;
        }
        assert_eq!(bench.worker.bytes(), bytes);
        assert!(bytes <= worker_bytes_max);
    }
    drop(tenants);
    assert_eq!(bench.worker.bytes(), bench.tenant.counters().bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn storage_is_a_map_that_forgets(operations in prop::collection::vec(operation(), 1..300)) {
        run(&operations);
    }
}

#[test]
fn the_bytes_of_a_response_are_those_of_its_parts() {
    let bench = Bench::new();
    assert!(bench.store(
        &[("a", "123")],
        &[
            ("cache-control", "max-age=60"),
            ("vary", "a"),
            ("cache-tag", "tag")
        ],
        "body",
        0
    ));
    let fields = [
        ("cache-control", "max-age=60"),
        ("vary", "a"),
        ("cache-tag", "tag"),
        ("date", DATE),
    ];
    let fields: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len() + 256)
        .sum();
    let selection = 3 + size_of::<(http::HeaderName, Option<Box<[u8]>>)>();
    let expected = URL.len() + 1_024 + fields + selection + (3 + 128) + (4 + 64);
    assert_eq!(bench.tenant.counters().bytes, expected as u64);
    assert_eq!(bench.worker.bytes(), expected as u64);
}

#[test]
fn the_largest_tenant_gives_way() {
    let bench = Bench::new();
    bench.worker.set_bytes_max(1_000_000);
    let small = bench.worker.tenant(SETTINGS);
    let control = [("cache-control", "max-age=60")];
    let body = "x".repeat(10_000);
    let now = bench.at(0);
    let store = |tenant: &Tenant, number: usize| {
        let lookup = tenant.lookup(&get(&format!("https://a.test/{number}"), &[]), now);
        let Outcome::Store(_, mut writer) =
            fill(lookup).answered(head(200, &control), now.instant, now)
        else {
            panic!()
        };
        writer.push(&Bytes::from(body.clone()));
        assert!(writer.finish());
    };
    for number in 0..20 {
        store(&small, number);
    }
    for number in 0..500 {
        store(&bench.tenant, number);
    }
    assert_eq!(
        (small.counters().entries, small.counters().evicted),
        (20, 0)
    );
    assert!(bench.tenant.counters().evicted > 400);
    assert!(bench.worker.bytes() <= 1_000_000);
}

/// What comes for one tenant counts for all, and is not stored where there is no room for it.
#[test]
fn bodies_on_their_way_are_in_the_worker_s_bytes() {
    let bench = Bench::new();
    bench.worker.set_bytes_max(100_000);
    let other = bench.worker.tenant(SETTINGS);
    let now = bench.at(0);
    let control = [("cache-control", "max-age=60")];
    let begin = |tenant: &Tenant| match fill(tenant.lookup(&get(URL, &[]), now)).answered(
        head(200, &control),
        now.instant,
        now,
    ) {
        Outcome::Store(_, writer) => writer,
        outcome => panic!("{outcome:?}"),
    };
    let (mut one, mut two) = (begin(&bench.tenant), begin(&other));
    let chunk = Bytes::from(vec![b'x'; 60_000]);
    assert_eq!(one.push(&chunk), Demand::Storing);
    assert_eq!(two.push(&chunk), Demand::Nobody);
    assert!(bench.worker.bytes() <= 100_000);
    assert!(one.finish() && !two.finish());
    // What is stored gives way to it.
    let mut two = begin(&bench.worker.tenant(SETTINGS));
    assert_eq!(two.push(&chunk), Demand::Storing);
    assert!(two.finish());
    assert_eq!(bench.tenant.counters().evicted, 1);
}
