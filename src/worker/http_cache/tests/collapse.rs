//! Many clients at once.

use super::*;

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");
const HERD: usize = 1_000;

/// So many requests that wait, polled once, each with its bell.
fn herd(
    bench: &Bench,
    fields: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<(Waiter, Arc<Bell>)> {
    let one = |number| {
        let fields = fields(number);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let Lookup::Wait(mut waiter) = bench.look(&fields, 1) else {
            panic!()
        };
        let bell = Arc::<Bell>::default();
        assert!(poll(&mut waiter, &bell).is_pending());
        (waiter, bell)
    };
    (0..HERD).map(one).collect()
}

fn same(_: usize) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// What each has become; all were woken.
fn woken(herd: Vec<(Waiter, Arc<Bell>)>) -> Vec<Lookup> {
    let lookups = herd.into_iter().map(|(mut waiter, bell)| {
        assert_eq!(bell.rings(), 1);
        match poll(&mut waiter, &bell) {
            Poll::Ready(lookup) => lookup,
            Poll::Pending => panic!("it waits"),
        }
    });
    lookups.collect()
}

fn grow(fill: Fill, response: Fields<'_>, now: Now) -> (Answer, Writer) {
    match fill.answered(head(200, response), now.instant, now) {
        Outcome::Store(answer, writer) => (answer, writer),
        other => panic!("{other:?}"),
    }
}

fn push(writer: &mut Writer, text: &'static str) -> Demand {
    writer.push(&Bytes::from_static(text.as_bytes()))
}

/// The next piece, if one is here.
fn piece(answer: &mut Answer, bell: &Arc<Bell>) -> Poll<Option<Result<Bytes, Aborted>>> {
    let waker = Waker::from(Arc::clone(bell));
    answer.body.poll_chunk(&mut Context::from_waker(&waker))
}

#[test]
fn a_herd_makes_one_request_and_reads_while_it_comes() {
    let bench = Bench::new();
    let fill = fill(bench.look(&[], 0));
    let herd = herd(&bench, same);
    let (mut first, mut writer) = grow(fill, &[MINUTE], bench.at(100));
    let bell = Arc::<Bell>::default();
    let mut answers: Vec<Answer> = woken(herd).into_iter().map(answer).collect();
    assert_eq!(
        answers[0].cache_status.value("c").unwrap(),
        "c; fwd=uri-miss; collapsed"
    );
    for answer in answers.iter_mut().chain([&mut first]) {
        assert!(piece(answer, &bell).is_pending());
    }
    assert_eq!(push(&mut writer, "one "), Demand::Storing);
    assert_eq!(bell.rings(), HERD + 1);
    for answer in answers.iter_mut().chain([&mut first]) {
        assert_eq!(
            piece(answer, &bell),
            Poll::Ready(Some(Ok(Bytes::from("one "))))
        );
        assert!(piece(answer, &bell).is_pending());
    }
    // Who comes later reads from the beginning.
    let mut late = answer(bench.look(&[], 200));
    assert_eq!(
        piece(&mut late, &bell),
        Poll::Ready(Some(Ok(Bytes::from("one "))))
    );
    push(&mut writer, "two");
    assert!(writer.finish());
    for answer in answers.iter_mut().chain([&mut first, &mut late]) {
        assert_eq!(text(answer), "two");
    }
    assert_eq!(text(&mut answer(bench.look(&[], 300))), "one two");
    let counters = bench.tenant.counters();
    assert_eq!(
        (counters.misses, counters.collapsed, counters.hits),
        (1, HERD as u64 + 1, 1)
    );
    bench.idle();
}

#[test]
fn a_herd_is_let_through_together_when_the_answer_is_not_for_all() {
    for response in [
        &[("cache-control", "private")][..],
        &[("cache-control", "no-cache"), ("etag", "\"a\"")],
    ] {
        let bench = Bench::new();
        let fill = fill(bench.look(&[], 0));
        let herd = herd(&bench, same);
        let now = bench.at(100);
        let outcome = fill.answered(head(200, response), now.instant, now);
        for lookup in woken(herd) {
            assert_eq!(kind(&lookup), "pass not-shared");
        }
        // Those who come meanwhile do not wait either, for a time.
        assert_eq!(kind(&bench.look(&[], 5_000)), "pass hit-for-miss");
        drop(outcome);
        assert_eq!(kind(&bench.look(&[], 5_100)), "miss");
    }
}

#[test]
fn a_fill_that_is_dropped_is_one_waiter_s() {
    let bench = Bench::new();
    let fill = fill(bench.look(&[], 0));
    let mut herd = herd(&bench, same);
    drop(fill);
    let rings: usize = herd.iter().map(|(_, bell)| bell.rings()).sum();
    assert_eq!(rings, 1, "not all of them");
    // The one that was woken is gone before it looks: the next is woken.
    let woken_at = herd.iter().position(|(_, bell)| bell.rings() == 1).unwrap();
    drop(herd.remove(woken_at));
    let woken_at = herd.iter().position(|(_, bell)| bell.rings() == 1).unwrap();
    let (mut waiter, bell) = herd.remove(woken_at);
    let Poll::Ready(lookup) = poll(&mut waiter, &bell) else {
        panic!()
    };
    assert_eq!(kind(&lookup), "miss");
    assert_eq!(kind(&bench.look(&[], 1)), "wait");
    let (_, writer) = grow(super::fill(lookup), &[MINUTE], bench.at(2));
    let count = woken(herd).into_iter().map(answer).count();
    assert_eq!(count, HERD - 2);
    assert!(writer.finish());
    bench.idle();
}

#[test]
fn an_orphan_is_taken_by_whoever_comes_or_is_gone() {
    let bench = Bench::new();
    drop(bench.look(&[], 0));
    bench.idle();
    let lookup = bench.look(&[], 0);
    let Lookup::Wait(waiter) = bench.look(&[], 0) else {
        panic!()
    };
    drop(lookup);
    let taken = bench.look(&[], 0);
    assert_eq!(kind(&taken), "miss");
    drop(taken);
    drop(waiter);
    bench.idle();
    assert_eq!(kind(&bench.look(&[], 0)), "miss");
}

#[test]
fn a_fill_that_fails_fails_for_all() {
    let bench = Bench::new();
    let fill = fill(bench.look(&[], 0));
    let herd = herd(&bench, same);
    assert!(fill.failed(bench.at(10)).is_none());
    assert!(woken(herd).iter().all(|lookup| kind(lookup) == "failed"));
    bench.idle();
}

#[test]
fn a_herd_shares_a_304_and_a_stand_in() {
    for status in [304, 503] {
        let bench = Bench::new();
        let control = ("cache-control", "max-age=1, stale-if-error=60");
        assert!(bench.store(&[], &[control, ("etag", "\"a\"")], "body", 0));
        let fill = fill(bench.look(&[], 5_000));
        let Lookup::Wait(mut waiter) = bench.look(&[], 5_000) else {
            panic!()
        };
        let now = bench.at(5_000);
        let outcome = fill.answered(head(status, &[]), now.instant, now);
        assert!(matches!(outcome, Outcome::Stored(_)));
        let Poll::Ready(lookup) = poll(&mut waiter, &Arc::default()) else {
            panic!()
        };
        let mut answer = answer(lookup);
        assert_eq!(answer.cache_status.forward_status.unwrap(), status);
        assert_eq!(text(&mut answer), "body");
        bench.idle();
    }
}

#[test]
fn variants_that_waited_together_part_and_collapse_again() {
    let bench = Bench::new();
    let language = |number: usize| ["de", "fr", "it"][number % 3].to_owned();
    let fill = fill(bench.look(&[("accept-language", "de")], 0));
    let herd = herd(&bench, |number| vec![("accept-language", language(number))]);
    let vary = &[MINUTE, ("vary", "accept-language")];
    let (_, mut writer) = grow(fill, vary, bench.at(10));
    push(&mut writer, "de");
    assert!(writer.finish());
    let mut fills = Vec::new();
    let mut waiters = Vec::new();
    for (number, (mut waiter, bell)) in herd.into_iter().enumerate() {
        match poll(&mut waiter, &bell) {
            Poll::Ready(Lookup::Miss(fill)) => fills.push((language(number), fill)),
            Poll::Ready(lookup) => assert_eq!(
                (text(&mut answer(lookup)), language(number)),
                ("de".into(), "de".into())
            ),
            Poll::Pending => waiters.push((number, waiter, bell)),
        }
    }
    assert_eq!(
        (fills.len(), waiters.len()),
        (2, HERD - HERD.div_ceil(3) - 2)
    );
    for (language, fill) in fills {
        let (_, mut writer) = grow(fill, vary, bench.at(20));
        writer.push(&Bytes::from(language));
        assert!(writer.finish());
    }
    for (number, mut waiter, bell) in waiters {
        assert_eq!(bell.rings(), 2);
        let Poll::Ready(lookup) = poll(&mut waiter, &bell) else {
            panic!()
        };
        assert_eq!(text(&mut answer(lookup)), language(number));
    }
    assert_eq!(bench.tenant.counters().misses, 3);
    bench.idle();
}

/// The origin varies by another field each time: nobody looks for ever.
#[test]
fn who_is_never_meant_passes_in_the_end() {
    let bench = Bench::new();
    let fields = [
        ("x-0", "me"),
        ("x-1", "me"),
        ("x-2", "me"),
        ("x-3", "me"),
        ("x-4", "me"),
    ];
    let mut filler = fill(bench.look(&[], 0));
    let Lookup::Wait(mut waiter) = bench.look(&fields, 0) else {
        panic!()
    };
    for round in 0..4 {
        let name = format!("x-{round}");
        let (_, writer) = grow(filler, &[MINUTE, ("vary", &name)], bench.at(round));
        // Somebody else is there first, who has the same in the fields that are known.
        let mine: Vec<_> = fields
            .iter()
            .take(usize::try_from(round).unwrap() + 1)
            .copied()
            .collect();
        let next = bench.look(&mine, round);
        let polled = poll(&mut waiter, &Arc::default());
        drop(writer);
        if round == 3 {
            let Poll::Ready(lookup) = polled else {
                panic!()
            };
            assert_eq!(kind(&lookup), "pass variants");
            return;
        }
        assert!(polled.is_pending(), "{round}");
        filler = fill(next);
    }
}

#[test]
fn a_body_that_breaks_off_looks_so_to_its_readers_and_is_fetched_again_for_others() {
    for declared in [None, Some(9)] {
        let bench = Bench::new();
        let fill = fill(bench.look(&[], 0));
        let Lookup::Wait(mut waiter) = bench.look(&[], 0) else {
            panic!()
        };
        let now = bench.at(1);
        let mut head = head(200, &[MINUTE]);
        head.length = declared;
        let outcome = fill.answered(head, now.instant, now);
        let Outcome::Store(mut first, mut writer) = outcome else {
            panic!()
        };
        assert_eq!(first.length, declared);
        push(&mut writer, "part");
        match declared {
            None => drop(writer),
            Some(_) => assert!(!writer.finish(), "it has another length than it said"),
        }
        let bell = Arc::default();
        assert_eq!(
            piece(&mut first, &bell),
            Poll::Ready(Some(Ok(Bytes::from("part"))))
        );
        assert_eq!(piece(&mut first, &bell), Poll::Ready(Some(Err(Aborted))));
        let Poll::Ready(lookup) = poll(&mut waiter, &bell) else {
            panic!()
        };
        assert_eq!(kind(&lookup), "miss");
        drop(lookup);
        assert_eq!(bench.tenant.counters().entries, 0);
        bench.idle();
    }
}

#[test]
fn what_is_too_large_goes_on_to_its_readers_in_a_window() {
    let bench = Bench::with(Settings {
        object_bytes_max: 500_000,
        ..SETTINGS
    });
    let chunk = Bytes::from(vec![b'x'; 100_000]);
    let fill = fill(bench.look(&[], 0));
    let Lookup::Wait(mut waiter) = bench.look(&[], 0) else {
        panic!()
    };
    let (mut fast, mut writer) = grow(fill, &[MINUTE], bench.at(1));
    let bell = Arc::<Bell>::default();
    let Poll::Ready(lookup) = poll(&mut waiter, &bell) else {
        panic!()
    };
    let mut slow = answer(lookup);
    for _ in 0..5 {
        assert_eq!(writer.push(&chunk), Demand::Storing);
    }
    assert!(bench.tenant.counters().bytes > 500_000);
    assert_eq!(writer.push(&chunk), Demand::Passing);
    assert_eq!(bench.tenant.counters().bytes, 0);
    assert_eq!(
        kind(&bench.look(&[], 2)),
        "pass hit-for-miss",
        "nobody joins"
    );
    let writer_bell = Arc::<Bell>::default();
    let waker = Waker::from(Arc::clone(&writer_bell));
    let cx = Context::from_waker(&waker);
    assert!(writer.poll_ready(&cx).is_pending());
    for _ in 0..6 {
        assert!(piece(&mut fast, &bell).is_ready());
    }
    assert!(writer.poll_ready(&cx).is_pending(), "the slow one");
    for _ in 0..3 {
        assert!(piece(&mut slow, &bell).is_ready());
    }
    assert_eq!(writer_bell.rings(), 0);
    assert!(piece(&mut slow, &bell).is_ready());
    assert_eq!(writer_bell.rings(), 1);
    assert!(writer.poll_ready(&cx).is_ready());
    drop(slow);
    assert_eq!(writer.push(&chunk), Demand::Passing);
    assert_eq!(
        piece(&mut fast, &bell),
        Poll::Ready(Some(Ok(chunk.clone())))
    );
    drop(fast);
    assert_eq!(writer.push(&chunk), Demand::Nobody);
    assert!(!writer.finish());
    bench.idle();
}

#[test]
fn what_says_that_it_is_too_large_passes_at_once() {
    let bench = Bench::with(Settings {
        object_bytes_max: 10,
        ..SETTINGS
    });
    for (length, expected) in [(10, true), (11, false)] {
        let mut head = head(200, &[MINUTE]);
        head.length = Some(length);
        let now = bench.at(0);
        let outcome = fill(bench.look(&[], 0)).answered(head, now.instant, now);
        assert_eq!(matches!(outcome, Outcome::Store(..)), expected);
    }
}

#[test]
fn fills_and_waiters_are_bounded() {
    let bench = Bench::new();
    let fills: Vec<Lookup> = (0..256)
        .map(|number| {
            bench
                .tenant
                .lookup(&get(&format!("https://a.test/{number}"), &[]), bench.at(0))
        })
        .collect();
    assert!(fills.iter().all(|lookup| kind(lookup) == "miss"));
    assert_eq!(kind(&bench.look(&[], 0)), "pass too-many-fills");
    let same = get("https://a.test/0", &[]);
    let waiters: Vec<Lookup> = (0..4_096)
        .map(|_| bench.tenant.lookup(&same, bench.at(0)))
        .collect();
    assert!(waiters.iter().all(|lookup| kind(lookup) == "wait"));
    assert_eq!(
        kind(&bench.tenant.lookup(&same, bench.at(0))),
        "pass too-many-waiters"
    );
    drop(fills);
    drop(waiters);
    bench.idle();
}

#[test]
fn a_stored_body_holds_no_buffer_of_a_connection_and_is_shared() {
    let bench = Bench::new();
    let buffer = Bytes::from(vec![b'x'; 64 << 10]);
    let (_, mut writer) = grow(fill(bench.look(&[], 0)), &[MINUTE], bench.at(0));
    writer.push(&buffer.slice(..10));
    assert!(writer.finish());
    assert!(buffer.is_unique());
    let pointer = |answer: &mut Answer| match piece(answer, &Arc::default()) {
        Poll::Ready(Some(Ok(chunk))) => chunk.as_ptr(),
        other => panic!("{other:?}"),
    };
    let (mut one, mut other) = (answer(bench.look(&[], 1)), answer(bench.look(&[], 1)));
    assert_eq!(pointer(&mut one), pointer(&mut other));
}

#[test]
fn a_client_s_condition_is_met_by_what_comes() {
    let bench = Bench::new();
    let fill = fill(bench.look(&[("if-none-match", "\"a\"")], 0));
    let Lookup::Wait(mut waiter) = bench.look(&[], 0) else {
        panic!()
    };
    let (first, mut writer) = grow(fill, &[MINUTE, ("etag", "\"a\"")], bench.at(1));
    assert_eq!(
        (first.status, first.length),
        (StatusCode::NOT_MODIFIED, None)
    );
    push(&mut writer, "body");
    assert!(writer.finish());
    let Poll::Ready(lookup) = poll(&mut waiter, &Arc::default()) else {
        panic!()
    };
    let mut other = answer(lookup);
    assert_eq!(
        (other.status, text(&mut other)),
        (StatusCode::OK, "body".to_owned())
    );
}
