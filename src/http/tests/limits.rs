//! Every limit of a head: what is at it passes, what is one above does not, complete or not.

use bytes::BytesMut;

use super::{LIMITS, parse};
use crate::fault::Reason;
use crate::http::{HeadLimits, Parsed, Peek, parse_request, peek_host};

const FRONT: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

#[test]
fn head_bytes() {
    let head = |len: usize| format!("{FRONT}X: {}\r\n\r\n", "x".repeat(len - FRONT.len() - 7));
    assert_eq!(head(LIMITS.head_bytes_max).len(), LIMITS.head_bytes_max);
    assert!(parse(&head(LIMITS.head_bytes_max)).is_ok());
    assert_eq!(
        parse(&head(LIMITS.head_bytes_max + 1)).unwrap_err(),
        Reason::HeadTooLarge
    );
}

#[test]
fn a_head_that_cannot_end_in_time_is_not_waited_for() {
    let parse_first = |len: usize| {
        let input = format!("{FRONT}X: {}", "x".repeat(2000));
        let parsed = parse_request(&mut BytesMut::from(&input.as_bytes()[..len]), &LIMITS);
        parsed.map(|parsed| matches!(parsed, Parsed::Partial))
    };
    assert_eq!(parse_first(LIMITS.head_bytes_max - 1), Ok(true));
    assert_eq!(
        parse_first(LIMITS.head_bytes_max),
        Err(Reason::HeadTooLarge)
    );
}

#[test]
fn target_bytes() {
    let target = |len: usize| format!("/{}", "x".repeat(len - 1));
    let head = |target: String| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(parse(&head(target(LIMITS.target_bytes_max))).is_ok());
    assert_eq!(
        parse(&head(target(LIMITS.target_bytes_max + 1))).unwrap_err(),
        Reason::UriTooLong
    );
    let unfinished = format!("GET {}", target(LIMITS.target_bytes_max + 1));
    assert_eq!(
        peek_host(unfinished.as_bytes(), &LIMITS),
        Err(Reason::UriTooLong)
    );
    let unfinished = format!("GET {}", target(LIMITS.target_bytes_max));
    assert_eq!(peek_host(unfinished.as_bytes(), &LIMITS), Ok(Peek::Partial));
}

#[test]
fn a_target_above_what_a_uri_can_hold_is_too_long_whatever_the_limits() {
    let limits = HeadLimits {
        head_bytes_max: 1 << 20,
        target_bytes_max: 1 << 20,
        ..LIMITS
    };
    let head = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len - 1));
    let parse = |len| parse_request(&mut BytesMut::from(head(len).as_str()), &limits).map(|_| ());
    assert_eq!(parse(65_534), Ok(()));
    assert_eq!(parse(65_535), Err(Reason::UriTooLong));
}

#[test]
fn headers() {
    let head = |count: usize| format!("{FRONT}{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(parse(&head(LIMITS.headers_max)).is_ok());
    assert_eq!(
        parse(&head(LIMITS.headers_max + 1)).unwrap_err(),
        Reason::HeadTooLarge
    );
    let limits = HeadLimits {
        headers_max: 1000,
        head_bytes_max: 1 << 16,
        ..LIMITS
    };
    let parse =
        |count| parse_request(&mut BytesMut::from(head(count).as_str()), &limits).map(|_| ());
    assert_eq!(parse(128), Ok(()));
    assert_eq!(parse(129), Err(Reason::HeadTooLarge));
}

#[test]
fn method_bytes() {
    let head = |len: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(len));
    assert!(parse(&head(32)).is_ok());
    assert_eq!(parse(&head(33)).unwrap_err(), Reason::MethodNotImplemented);
}

#[test]
fn connection_options() {
    let head = |count: usize| format!("{FRONT}Connection: close{}\r\n\r\n", ", x".repeat(count));
    assert!(parse(&head(16)).is_ok());
    assert_eq!(parse(&head(17)).unwrap_err(), Reason::MalformedRequest);
}
