//! What is kept below: the same answer comes back, and nothing that is not so any more.

use std::cell::RefCell;

use super::super::below::{Below, Kept, Restored, is_for};
use super::*;
use crate::data::http_cache::{Object, Which};

/// Keeps what it is told, of the last answer.
#[derive(Default)]
struct Shelf {
    kept: RefCell<Vec<(String, Object)>>,
    forgotten: RefCell<Vec<Which>>,
}

impl Below for Shelf {
    fn keep(&self, url: &str, object: Object) {
        self.kept.borrow_mut().push((url.to_owned(), object));
    }

    fn forget(&self, which: Which) {
        self.forgotten.borrow_mut().push(which);
    }
}

fn bench() -> (Bench, Rc<Shelf>) {
    let (bench, shelf) = (Bench::new(), Rc::new(Shelf::default()));
    bench.tenant.set_below(Some(Rc::clone(&shelf) as _));
    (bench, shelf)
}

/// The answer of one cache, as it was kept 10 s after [`DATE`].
fn kept(request: Fields<'_>, response: Fields<'_>) -> Object {
    let (bench, shelf) = bench();
    assert!(bench.store(request, response, "body", 10_000));
    let (url, object) = shelf.kept.borrow_mut().pop().unwrap();
    assert_eq!(url, URL);
    object
}

/// A cache that has nothing looks below.
fn found(bench: &Bench, request: Fields<'_>, object: Object, ms: u64) -> Restored {
    let fill = fill(bench.look(request, ms));
    assert_eq!(fill.wanted_below().map(|url| &**url), Some(URL));
    let now = bench.at(ms);
    fill.found(Kept::new(object, now).unwrap(), now)
}

#[test]
fn an_answer_comes_back_as_it_was() {
    let fields = [
        ("cache-control", "max-age=60"),
        ("age", "5"),
        ("etag", "\"x\""),
        ("vary", "accept"),
        ("x-line", "1"),
        ("x-line", "2"),
        ("cache-tag", "t"),
    ];
    let object = kept(&[("accept", "a")], &fields);
    assert!(is_for(&object.selection, &headers(&[("accept", "a")])));
    assert!(!is_for(&object.selection, &headers(&[("accept", "b")])));
    let (bench, shelf) = bench();
    let Restored::Answer(mut answer) = found(&bench, &[("accept", "a")], object.clone(), 30_000)
    else {
        panic!("it is fresh");
    };
    // 5 s when it came, and 20 s here.
    assert_eq!(answer.headers["age"], "25");
    assert_eq!(
        answer.cache_status.value("skep").unwrap(),
        "skep; hit; ttl=35; detail=disk"
    );
    assert_eq!(text(&mut answer), "body");
    let lines: Vec<_> = answer.headers.get_all("x-line").iter().collect();
    assert_eq!(lines, ["1", "2"]);
    // From memory now, for as long as it is fresh, and purged by its tag.
    assert_eq!(kind(&bench.look(&[("accept", "a")], 64_000)), "fresh");
    assert!(shelf.kept.borrow().is_empty(), "it is there already");
    assert_eq!(
        bench
            .tenant
            .purge(Purge::Tag("t"), How::Remove, bench.at(40_000)),
        1
    );
    assert_eq!(*shelf.forgotten.borrow(), [Which::Tag("t".to_owned())]);
    bench.idle();
}

#[test]
fn those_who_wait_have_it_too() {
    let object = kept(&[], &[("cache-control", "max-age=60")]);
    let (bench, _shelf) = bench();
    let first = fill(bench.look(&[], 20_000));
    let Lookup::Wait(mut waiter) = bench.look(&[], 20_000) else {
        panic!("somebody looks already");
    };
    let bell = Arc::default();
    assert!(poll(&mut waiter, &bell).is_pending());
    let now = bench.at(20_000);
    let restored = first.found(Kept::new(object, now).unwrap(), now);
    assert!(matches!(restored, Restored::Answer(_)));
    assert_eq!(bell.rings(), 1);
    let Poll::Ready(lookup) = poll(&mut waiter, &bell) else {
        panic!("it is here");
    };
    assert_eq!(text(&mut answer(lookup)), "body");
    bench.idle();
}

#[test]
fn what_is_stale_is_asked_about_and_may_stand_in() {
    let fields = [
        ("cache-control", "max-age=5, stale-if-error=600"),
        ("etag", "\"x\""),
    ];
    for is_reached in [true, false] {
        let (bench, _shelf) = bench();
        let object = kept(&[], &fields);
        let Restored::Fill(fill) = found(&bench, &[], object, 60_000) else {
            panic!("it is stale");
        };
        assert_eq!(fill.origin_headers()["if-none-match"], "\"x\"");
        let now = bench.at(60_000);
        let mut answer = match is_reached {
            true => match fill.answered(head(304, &fields), now.instant, now) {
                Outcome::Stored(answer) => answer,
                other => panic!("{other:?}"),
            },
            false => fill.failed(now).expect("it stands in"),
        };
        assert_eq!(text(&mut answer), "body");
        bench.idle();
    }
}

/// What a 304 says is so below, too: the tags that a purge goes by, and for how long.
#[test]
fn a_304_is_kept_too() {
    for (fields, is_kept) in [
        (
            &[
                ("cache-control", "max-age=5"),
                ("etag", "\"x\""),
                ("cache-tag", "new"),
            ][..],
            true,
        ),
        (&[("cache-control", "max-age=5"), ("etag", "\"x\"")], true),
        (&[("cache-control", "no-cache"), ("etag", "\"x\"")], false),
        (
            &[
                ("cache-control", "no-cache"),
                ("etag", "\"x\""),
                ("cache-tag", "new"),
            ],
            true,
        ),
    ] {
        let (bench, shelf) = bench();
        let first = [fields[0], fields[1]];
        assert!(bench.store(&[], &first, "body", 0));
        shelf.kept.borrow_mut().clear();
        let now = bench.at(60_000);
        let asking = fill(bench.look(&[], 60_000));
        let answered = asking.answered(head(304, fields), now.instant, now);
        assert!(matches!(answered, Outcome::Stored(_)));
        let kept = shelf.kept.borrow();
        assert_eq!(kept.len(), usize::from(is_kept), "{fields:?}");
        if let Some((_, object)) = kept.first() {
            let tags: &[&str] = if fields.len() > 2 { &["new"] } else { &[] };
            assert_eq!(object.tags, tags);
            assert_eq!(&**object.body[0], b"body");
        }
    }
}

/// A client that wants the origin's word gets it.
#[test]
fn a_clients_wishes_count() {
    let object = kept(&[], &[("cache-control", "max-age=60"), ("etag", "\"x\"")]);
    let (bench, _shelf) = bench();
    let restored = found(&bench, &[("cache-control", "no-cache")], object, 20_000);
    assert!(matches!(restored, Restored::Fill(_)));
    drop(restored);
    assert_eq!(kind(&bench.look(&[], 20_000)), "fresh");
}

#[test]
fn what_was_purged_while_it_was_looked_for_is_nothing() {
    let purges = [
        Purge::Url(URL),
        Purge::Prefix("https://a."),
        Purge::Tag("t"),
        Purge::All,
    ];
    for what in purges {
        let object = kept(&[], &[("cache-control", "max-age=60"), ("cache-tag", "t")]);
        let (bench, _shelf) = bench();
        let fill = fill(bench.look(&[], 20_000));
        let now = bench.at(20_000);
        bench.tenant.purge(what, How::Remove, now);
        let restored = fill.found(Kept::new(object, now).unwrap(), now);
        let Restored::Fill(fill) = restored else {
            panic!("{what:?}");
        };
        assert!(!fill.origin_headers().contains_key("if-none-match"));
        drop(fill);
        assert_eq!(kind(&bench.look(&[], 20_000)), "miss", "{what:?}");
    }
}

#[test]
fn what_is_for_others_is_nothing() {
    let object = kept(
        &[("accept", "a")],
        &[("cache-control", "max-age=60"), ("vary", "accept")],
    );
    let (bench, _shelf) = bench();
    let restored = found(&bench, &[("accept", "b")], object, 20_000);
    assert!(matches!(restored, Restored::Fill(_)));
}

/// Whatever ends an answer in memory but its eviction ends it below.
#[test]
fn what_is_not_so_any_more_is_forgotten() {
    let keep = [("cache-control", "max-age=60"), ("etag", "\"x\"")];
    let url = || Which::Url(URL.to_owned());
    // An unsafe method.
    let (tested, shelf) = bench();
    assert!(tested.store(&[], &keep, "body", 0));
    let (now, location) = (tested.at(0), headers(&[("location", "/y")]));
    tested
        .tenant
        .invalidate(&Method::POST, URL, StatusCode::CREATED, &location, now);
    let other = Which::Url("https://a.test/y".to_owned());
    assert_eq!(*shelf.forgotten.borrow(), [url(), other]);
    // An answer that is not to be stored takes the place of one that was.
    let (tested, shelf) = bench();
    assert!(tested.store(&[], &keep, "body", 0));
    let asking = fill(tested.look(&[("cache-control", "no-cache")], 0));
    let now = tested.at(0);
    let gone = asking.answered(
        head(404, &[("cache-control", "no-store")]),
        now.instant,
        now,
    );
    assert!(matches!(gone, Outcome::Pass { .. }));
    assert_eq!(*shelf.forgotten.borrow(), [url()]);
    // One that was not found in time is superseded all the same.
    let (tested, shelf) = bench();
    let now = tested.at(0);
    let gone = fill(tested.look(&[], 0));
    let gone = gone.answered(
        head(404, &[("cache-control", "no-store")]),
        now.instant,
        now,
    );
    assert!(matches!(gone, Outcome::Pass { .. }));
    assert_eq!(*shelf.forgotten.borrow(), [url()]);
    // One that turns out too large.
    let (tested, shelf) = bench();
    let filling = fill(tested.look(&[], 0));
    let Outcome::Store(_answer, mut writer) = filling.answered(head(200, &keep), now.instant, now)
    else {
        panic!("it is to be stored");
    };
    let large = Bytes::from(vec![0; 2 << 20]);
    assert_eq!(writer.push(&large), Demand::Passing);
    drop(writer);
    assert_eq!(*shelf.forgotten.borrow(), [url()]);
    assert!(shelf.kept.borrow().is_empty());
    // One that broke off is not kept.
    let (tested, shelf) = bench();
    let filling = fill(tested.look(&[], 0));
    let now = tested.at(0);
    let Outcome::Store(answer, mut writer) = filling.answered(head(200, &keep), now.instant, now)
    else {
        panic!("it is to be stored");
    };
    writer.push(&Bytes::from_static(b"half"));
    drop((writer, answer));
    assert!(shelf.kept.borrow().is_empty());
    // One that gave way in memory stays below.
    let (tested, shelf) = bench();
    assert!(tested.store(&[], &keep, "body", 0));
    tested.tenant.set(Settings {
        bytes_max: 1,
        ..SETTINGS
    });
    assert_eq!(tested.tenant.counters().entries, 0);
    assert!(shelf.forgotten.borrow().is_empty());
}

#[test]
fn what_is_no_answer_is_refused() {
    let good = kept(&[], &[("cache-control", "max-age=60")]);
    let now = Bench::new().at(20_000);
    let with = |change: &dyn Fn(&mut Object)| {
        let mut object = good.clone();
        change(&mut object);
        Kept::new(object, now).is_some()
    };
    assert!(with(&|_| {}));
    assert!(
        !with(&|it| it.received_ms = u64::MAX / 2),
        "the clock was set back"
    );
    assert!(!with(&|it| it.status = 7));
    assert!(!with(&|it| it.fields[0].0 = "not a name".to_owned()));
    assert!(!with(
        &|it| it.fields[0].1 = serde_bytes::ByteBuf::from(b"a\nb")
    ));
    assert!(!with(&|it| it.selection.names.push("x".to_owned())));
}
