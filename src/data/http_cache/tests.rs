//! The file against a list that forgets, and the thread with files of every kind.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::file::{Cache, open_file};
use super::*;

const TENANT: &str = "a";
const ROOM: u64 = 1 << 30;

fn object(value: u8, accept: Option<&str>, tags: &[&str], sent_ns: u64, bytes: usize) -> Object {
    Object {
        status: 200,
        fields: vec![("x-value".to_owned(), ByteBuf::from([value]))],
        times: Times {
            lifetime_ms: 1,
            stale_while_revalidate_ms: 2,
            stale_if_error_ms: 3,
            initial_age_ms: 4,
            no_cache: false,
            must_revalidate: true,
            forbids_max_stale: false,
        },
        selection: Selection {
            names: vec!["accept".to_owned()],
            values: vec![accept.map(|value| ByteBuf::from(value.as_bytes()))],
        },
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        received_ms: 1,
        sent_ns,
        body: vec![ByteBuf::from(vec![value; bytes])],
    }
}

fn temporary() -> File {
    tempfile::tempfile().unwrap()
}

/// The file with two tenants that have room.
fn open(file: &File, bytes_max: u64) -> Cache {
    let mut cache = Cache::open(file, bytes_max).unwrap();
    for tenant in ["a", "b"] {
        within(&mut cache, |cache, at| cache.own(at, tenant, 1, ROOM));
    }
    cache
}

/// Closed well, and opened again.
fn reopened(mut cache: Cache, file: &File) -> Cache {
    within(&mut cache, |cache, at| cache.set_whole(at));
    drop(cache);
    open(file, ROOM)
}

#[test]
fn what_a_process_had_that_was_killed_is_gone() {
    let file = temporary();
    let mut cache = open(&file, ROOM);
    keep(&mut cache, TENANT, "u", &object(1, None, &["t"], 1, 10));
    drop(cache);
    let mut cache = open(&file, ROOM);
    assert!(values(&mut cache, TENANT, "u").is_empty());
    assert_eq!((cache.rows().unwrap(), cache.bytes(TENANT)), ([0; 4], 0));
}

/// Does something in a transaction of its own.
fn within<T>(
    cache: &mut Cache,
    work: impl FnOnce(&mut Cache, &redb::WriteTransaction) -> Result<T, redb::Error>,
) -> T {
    let at = cache.begin().unwrap();
    let result = work(cache, &at).unwrap();
    at.commit().unwrap();
    result
}

fn keep(cache: &mut Cache, tenant: &str, url: &str, object: &Object) {
    within(cache, |cache, at| cache.keep(at, tenant, url, object));
}

/// The values of the answers for a URL, the youngest first.
fn values(cache: &mut Cache, tenant: &str, url: &str) -> Vec<u8> {
    within(cache, |cache, at| {
        let found = cache.find(at, tenant, url)?;
        let objects = found.variants.iter().map(|(number, _)| {
            let object = cache.fetch(at, tenant, url, *number)?;
            Ok(object.map_or(0, |object| object.fields[0].1[0]))
        });
        let values: Vec<u8> = objects.collect::<Result<_, redb::Error>>()?;
        assert_eq!(found.only.is_some(), values.len() == 1);
        Ok(values)
    })
}

#[test]
fn what_is_kept_is_there_when_the_file_is_opened_again() {
    let file = temporary();
    let mut cache = open(&file, ROOM);
    let kept = object(1, Some("de"), &["t"], 5, 100);
    keep(&mut cache, TENANT, "u", &kept);
    let bytes = cache.bytes(TENANT);
    let mut cache = reopened(cache, &file);
    assert_eq!(cache.bytes(TENANT), bytes);
    let found = within(&mut cache, |cache, at| cache.find(at, TENANT, "u"));
    assert_eq!(found.only.as_deref(), Some(&kept));
    // Numbers go on where they were.
    keep(&mut cache, TENANT, "u", &object(2, Some("en"), &[], 6, 1));
    assert_eq!(values(&mut cache, TENANT, "u"), [2, 1]);
}

#[test]
fn of_two_for_the_same_requests_the_last_stays() {
    let mut cache = open(&temporary(), ROOM);
    for (value, accept, expected) in [
        (1, Some("de"), &[1][..]),
        (2, Some("de"), &[2]),
        (4, None, &[4, 2]),
        (5, Some("en"), &[5, 4, 2]),
        (6, None, &[6, 5, 2]),
    ] {
        keep(&mut cache, TENANT, "u", &object(value, accept, &[], 1, 10));
        assert_eq!(values(&mut cache, TENANT, "u"), expected);
    }
    for value in 0..50 {
        let accept = format!("x{value}");
        keep(
            &mut cache,
            TENANT,
            "v",
            &object(value, Some(&accept), &[], 1, 1),
        );
    }
    let many = values(&mut cache, TENANT, "v");
    assert_eq!(many.len(), limits::HTTP_CACHE_VARIANTS_MAX);
    assert_eq!(many[0], 49);
}

#[test]
fn tenants_have_nothing_in_common() {
    let mut cache = open(&temporary(), ROOM);
    keep(&mut cache, "a", "u", &object(1, None, &["t"], 1, 1));
    keep(&mut cache, "b", "u", &object(2, None, &["t"], 1, 1));
    let number = within(&mut cache, |cache, at| cache.find(at, "a", "u")).variants[0].0;
    let fetch = |cache: &mut Cache, tenant: &str, url: &str| {
        within(cache, |cache, at| cache.fetch(at, tenant, url, number))
    };
    assert!(fetch(&mut cache, "a", "u").is_some());
    assert_eq!(fetch(&mut cache, "b", "u"), None);
    assert_eq!(fetch(&mut cache, "a", "v"), None, "of another URL");
    for which in [
        Which::Tag("t".into()),
        Which::Prefix(String::new()),
        Which::All,
    ] {
        within(&mut cache, |cache, at| cache.forget(at, "a", &which));
        assert!(values(&mut cache, "a", "u").is_empty());
        assert_eq!(values(&mut cache, "b", "u"), [2]);
    }
}

#[test]
fn another_origin_begins_with_nothing() {
    let file = temporary();
    let mut cache = open(&file, ROOM);
    within(&mut cache, |cache, at| cache.own(at, TENANT, 1, ROOM));
    keep(&mut cache, TENANT, "u", &object(1, None, &[], 1, 1));
    within(&mut cache, |cache, at| cache.own(at, TENANT, 1, ROOM));
    assert_eq!(values(&mut cache, TENANT, "u"), [1]);
    let mut cache = reopened(cache, &file);
    within(&mut cache, |cache, at| cache.own(at, TENANT, 2, ROOM));
    assert!(values(&mut cache, TENANT, "u").is_empty());
    assert_eq!(cache.rows().unwrap(), [0; 4]);
}

#[test]
fn the_oldest_gives_way_and_of_all_tenants_the_largest() {
    let mut cache = open(&temporary(), 100_000);
    within(&mut cache, |cache, at| cache.own(at, "a", 1, 50_000));
    for value in 0..20 {
        keep(
            &mut cache,
            "a",
            &format!("u{value}"),
            &object(value, None, &[], 1, 9_000),
        );
        assert!(cache.bytes("a") <= 50_000);
    }
    assert_eq!(values(&mut cache, "a", "u19"), [19]);
    assert!(values(&mut cache, "a", "u14").is_empty());
    // One that never fits leaves the others alone.
    keep(&mut cache, "a", "large", &object(1, None, &[], 1, 60_000));
    assert!(values(&mut cache, "a", "large").is_empty());
    assert_eq!(values(&mut cache, "a", "u19"), [19]);
    for value in 0..9 {
        keep(
            &mut cache,
            "b",
            &format!("u{value}"),
            &object(value, None, &[], 1, 9_000),
        );
        assert!(cache.bytes("a") + cache.bytes("b") <= 100_000);
    }
    assert_eq!(values(&mut cache, "b", "u8"), [8]);
    assert!(cache.bytes("a") > 30_000, "it gave only what it had more");
    within(&mut cache, |cache, at| cache.own(at, "a", 1, 0));
    assert_eq!(cache.bytes("a"), 0);
}

/// What is done to the file, and to a list.
#[derive(Clone, Debug)]
enum Step {
    Keep(u8, u8, u8),
    Forget(Which),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let url = |number: u8| format!("u/{}", number % 4);
    let step = prop_oneof![
        6 => (any::<u8>(), 0..3_u8, 0..3_u8)
            .prop_map(|(url, accept, tag)| Step::Keep(url, accept, tag)),
        1 => any::<u8>().prop_map(move |number| Step::Forget(Which::Url(url(number)))),
        1 => (0..3_u8).prop_map(|tag| Step::Forget(Which::Tag(format!("t{tag}")))),
        1 => prop_oneof![Just("u"), Just("u/1"), Just("x")]
            .prop_map(|prefix| Step::Forget(Which::Prefix(prefix.to_owned()))),
        1 => Just(Step::Forget(Which::All)),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn as_a_list_that_forgets(steps in steps()) {
        let file = temporary();
        let mut cache = open(&file, ROOM);
        // URL, accept, tag, value; from the oldest on.
        let mut list: Vec<(String, u8, u8, u8)> = Vec::new();
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep(url, accept, tag) => {
                    let (url, value) = (format!("u/{}", url % 4), at as u8);
                    let (text, name) = (format!("{accept}"), format!("t{tag}"));
                    let kept = object(value, Some(&text), &[&name], 1, 10);
                    keep(&mut cache, TENANT, &url, &kept);
                    list.retain(|it| it.0 != url || it.1 != accept);
                    list.push((url, accept, tag, value));
                }
                Step::Forget(which) => {
                    within(&mut cache, |cache, at| cache.forget(at, TENANT, &which));
                    list.retain(|it| !match &which {
                        Which::Url(url) => it.0 == *url,
                        Which::Prefix(prefix) => it.0.starts_with(prefix),
                        Which::Tag(tag) => format!("t{}", it.2) == *tag,
                        Which::All => true,
                    });
                }
                Step::Reopen => {
                    cache = reopened(cache, &file);
                }
            }
            for url in (0..4).map(|number| format!("u/{number}")) {
                let expected = list.iter().rev().filter(|it| it.0 == url);
                let expected: Vec<u8> = expected.map(|it| it.3).collect();
                prop_assert_eq!(values(&mut cache, TENANT, &url), expected);
            }
            let rows = list.len() as u64;
            prop_assert_eq!(cache.rows().unwrap(), [rows; 4]);
            prop_assert_eq!(cache.bytes(TENANT) == 0, rows == 0);
        }
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

fn started(dir: &Path) -> Disk {
    let disk = start(dir, ROOM).unwrap().unwrap();
    disk.own(TENANT, 1, ROOM);
    disk
}

fn value(disk: &Disk, url: &str) -> Option<u8> {
    let found = now(disk.find(TENANT, url.to_owned())).unwrap();
    found.only.map(|object| object.fields[0].1[0])
}

/// Keeps what the origin was asked for at that time.
fn keep_of(disk: &Disk, url: &str, value: u8, sent_ns: u64) -> bool {
    let object = Box::new(object(value, None, &["t"], sent_ns, 10));
    now(disk.keep(TENANT, url.to_owned(), object)).unwrap()
}

fn keep_on(disk: &Disk, url: &str, value: u8) {
    assert!(keep_of(disk, url, value, monotonic_ns()));
}

#[test]
fn orders_are_done_in_their_order() {
    let dir = TempDir::new().unwrap();
    let disk = started(dir.path());
    for value_of in 1..20 {
        keep_on(&disk, "u", value_of);
        assert_eq!(value(&disk, "u"), Some(value_of));
        if value_of % 3 == 0 {
            disk.forget(TENANT, Which::Url("u".to_owned()));
            assert_eq!(value(&disk, "u"), None);
        }
    }
}

/// Whatever brings it: a slow answer, another worker.
#[test]
fn what_was_asked_for_before_it_was_forgotten_is_not_kept() {
    for (which, is_meant) in [
        (Which::Url("u".to_owned()), true),
        (Which::Url("v".to_owned()), false),
        (Which::Prefix("u".to_owned()), true),
        (Which::Prefix("v".to_owned()), false),
        (Which::Tag("t".to_owned()), true),
        (Which::Tag("x".to_owned()), false),
        (Which::All, true),
    ] {
        let dir = TempDir::new().unwrap();
        let disk = started(dir.path());
        let before = monotonic_ns();
        disk.forget("another", Which::All);
        disk.forget(TENANT, which.clone());
        assert_eq!(keep_of(&disk, "u", 1, before), !is_meant, "{which:?}");
        assert_eq!(value(&disk, "u"), (!is_meant).then_some(1));
        keep_on(&disk, "u", 2);
        assert_eq!(value(&disk, "u"), Some(2));
    }
}

/// What was to be forgotten may have been told to the process before.
#[test]
fn what_was_asked_for_before_the_start_is_not_kept() {
    let dir = TempDir::new().unwrap();
    let before = monotonic_ns();
    let disk = started(dir.path());
    assert!(!keep_of(&disk, "u", 1, before));
    keep_on(&disk, "u", 2);
}

/// What nobody remembers any more is taken to have been forgotten.
#[test]
fn a_very_slow_answer_is_not_kept() {
    let dir = TempDir::new().unwrap();
    let disk = started(dir.path());
    let before = monotonic_ns();
    for number in 0..limits::HTTP_CACHE_DISK_FORGETS_MAX + 10 {
        disk.forget(TENANT, Which::Url(format!("x{number}")));
        if number % 100 == 0 {
            value(&disk, "u"); // so that there is room in the queue
        }
    }
    assert!(!keep_of(&disk, "u", 1, before));
    keep_on(&disk, "u", 2);
}

/// Kept as far as it was said to be kept: by a process that ended well.
#[test]
fn what_was_forgotten_is_not_there_after_the_next_start() {
    let dir = TempDir::new().unwrap();
    for round in 0..3 {
        let disk = started(dir.path());
        assert_eq!(value(&disk, "old"), None);
        assert_eq!(value(&disk, "new"), (round > 0).then_some(1));
        keep_on(&disk, "old", 1);
        keep_on(&disk, "new", 1);
        disk.forget(TENANT, Which::Url("old".to_owned()));
        let busy = start(dir.path(), ROOM);
        assert!(
            busy.is_err(),
            "another process has it open, and it stays whole"
        );
        now(disk.stop());
        wait_until_free(dir.path());
    }
    assert!(start(dir.path(), 0).unwrap().is_none());
    assert!(!dir.path().join("http_cache.redb").exists());
}

/// The thread ends a moment after it said that everything is written.
fn wait_until_free(dir: &Path) {
    while let Err(error) = File::open(dir.join("http_cache.redb")).unwrap().try_lock() {
        assert!(
            matches!(error, std::fs::TryLockError::WouldBlock),
            "{error}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_is_none_begins_anew() {
    let whole = {
        let dir = TempDir::new().unwrap();
        let mut cache = open(&open_file(dir.path()).unwrap(), ROOM);
        for number in 0..50 {
            keep(
                &mut cache,
                TENANT,
                &format!("u{number}"),
                &object(1, None, &["t"], 1, 5_000),
            );
        }
        drop(cache);
        std::fs::read(dir.path().join("http_cache.redb")).unwrap()
    };
    let mut cut = whole.clone();
    cut.truncate(whole.len() / 2);
    let mut broken = whole.clone();
    for byte in broken.iter_mut().skip(64).step_by(701) {
        *byte ^= 0x55;
    }
    for text in [b"no database".to_vec(), vec![0; 100_000], cut, broken] {
        let dir = TempDir::new().unwrap();
        let mut file = open_file(dir.path()).unwrap();
        file.write_all(&text).unwrap();
        drop(file);
        let disk = started(dir.path());
        // Whatever is found of the damaged ones, the next answers are kept and found.
        for number in 0..60 {
            let _ = now(disk.find(TENANT, format!("u{number}")));
        }
        keep_on(&disk, "fresh", 9);
        assert_eq!(value(&disk, "fresh"), Some(9));
    }
}
