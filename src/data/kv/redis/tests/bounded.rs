//! What is passed on of what a server sends.

use std::sync::Arc;

use super::super::bounded::{Answers, Progress};
use super::limits;

/// The same is passed on, however the bytes are cut.
fn check(came: &[u8], expected: &[u8], answers: u64) {
    let cuts = (1..came.len().min(64)).map(|at| came.split_at(at));
    for (first, rest) in cuts.chain([(came, &b""[..])]) {
        let progress = Arc::new(Progress::default());
        let mut reader = Answers::new(Arc::clone(&progress));
        reader.read(first).unwrap();
        reader.read(rest).unwrap();
        assert!(
            reader.out == expected,
            "{:?}",
            String::from_utf8_lossy(&reader.out)
        );
        assert_eq!(progress.answers(), answers);
    }
}

#[test]
fn what_is_within_bounds_is_passed_on_as_it_is() {
    for (came, answers) in [
        (&b"+OK\r\n"[..], 1),
        (b"-ERR no\r\n:12\r\n", 2),
        (b"$0\r\n\r\n$-1\r\n$3\r\na\r\n\r\n", 3),
        (b"*0\r\n*-1\r\n", 2),
        (b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n", 2),
        (b"*1\r\n*1\r\n*1\r\n:1\r\n", 1),
        (b"*2\r\n:1\r\n", 0),
        (b"$5\r\nab", 0),
        (b"+O", 0),
    ] {
        let expected = match came {
            b"+O" => b"",
            came => came,
        };
        check(came, expected, answers);
    }
}

#[test]
fn an_error_is_text_whatever_it_repeats() {
    check(
        b"-ERR unknown '\xff\xfe'\r\n",
        "-ERR unknown '\u{fffd}\u{fffd}'\r\n".as_bytes(),
        1,
    );
}

#[test]
fn what_is_too_long_is_replaced_and_the_rest_stays_in_step() {
    let max = limits::KV_ANSWER_BYTES_MAX as usize;
    let string = |length: usize| {
        let mut string = format!("${length}\r\n").into_bytes();
        string.resize(string.len() + length, b'x');
        string.extend_from_slice(b"\r\n");
        string
    };
    let join = |parts: &[&[u8]]| parts.concat();
    check(&string(max), &string(max), 1);
    check(
        &join(&[&string(max + 1), b"+OK\r\n"]),
        b"-TOOLARGE\r\n+OK\r\n",
        2,
    );
    let (half, more) = (string(max / 2), string(max / 2 + 1));
    check(
        &join(&[b"*4\r\n", &half, &more, &half, b"$1\r\nx\r\n", b":1\r\n"]),
        &join(&[
            b"*4\r\n",
            &half,
            b"-TOOLARGE\r\n",
            &half,
            b"-TOOLARGE\r\n",
            b":1\r\n",
        ]),
        2,
    );
    // The next answer begins anew.
    check(
        &join(&[&string(max), &string(max)]),
        &join(&[&string(max), &string(max)]),
        2,
    );
    check(b"$18446744073709551615\r\nxxx", b"-TOOLARGE\r\n", 0);
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let long = [
        b"+",
        &[b'x'; limits::KV_REDIS_LINE_BYTES_MAX - 3][..],
        b"\r\n",
    ]
    .concat();
    check(&long, &long, 1);
    let many = format!("*{}\r\n", limits::KV_REDIS_VALUES_MAX - 1);
    check(many.as_bytes(), many.as_bytes(), 0);
    let nested = "*1\r\n".repeat(limits::KV_REDIS_LISTS_MAX);
    check(nested.as_bytes(), nested.as_bytes(), 0);
    let side_by_side = format!("*20\r\n{}", "*0\r\n".repeat(limits::KV_REDIS_LISTS_MAX));
    for came in [
        side_by_side.as_bytes(),
        format!("{nested}*1\r\n").as_bytes(),
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"\r\n",
        b"\n",
        b"+OK\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"*18446744073709551616\r\n",
        b"%1\r\n",
        &[b'+'; limits::KV_REDIS_LINE_BYTES_MAX + 1],
        format!("*{}\r\n", limits::KV_REDIS_VALUES_MAX).as_bytes(),
        format!("*2\r\n:1\r\n*{}\r\n", limits::KV_REDIS_VALUES_MAX - 2).as_bytes(),
    ] {
        let progress = Arc::new(Progress::default());
        let refused = Answers::new(Arc::clone(&progress)).read(came);
        assert!(refused.is_err(), "{:?}", String::from_utf8_lossy(came));
        assert!(progress.nonsense().is_some());
    }
}
