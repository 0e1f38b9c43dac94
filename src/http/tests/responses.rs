//! Responses, byte for byte.

use std::num::NonZeroUsize;

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::fault::Reason;
use crate::http::ResponseFraming::{self, *};
use crate::http::Version::{self, *};
use crate::http::{encode_chunk, encode_chunk_start, encode_fault, encode_head, encode_last_chunk};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().copied().map(field) {
        map.append(name, value);
    }
    map
}

fn head(
    version: Version,
    status: u16,
    fields: &[(&'static str, &'static str)],
    framing: ResponseFraming,
    keep_alive: bool,
) -> String {
    let mut dst = Vec::new();
    encode_head(
        &mut dst,
        version,
        StatusCode::from_u16(status).unwrap(),
        &map(fields),
        framing,
        keep_alive,
        DATE,
    );
    String::from_utf8(dst)
        .unwrap()
        .replace("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "DATE\r\n")
}

#[test]
fn heads() {
    assert_eq!(
        head(
            Http11,
            200,
            &[("content-type", "text/html")],
            Length(12),
            true
        ),
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nDATE\r\ncontent-length: 12\r\n\r\n"
    );
    assert_eq!(
        head(
            Http11,
            404,
            &[("set-cookie", "a"), ("set-cookie", "b")],
            Chunked,
            false
        ),
        "HTTP/1.1 404 Not Found\r\nset-cookie: a\r\nset-cookie: b\r\nDATE\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        head(Http10, 200, &[], Length(0), true),
        "HTTP/1.1 200 OK\r\nDATE\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        head(Http10, 200, &[], UntilClose, false),
        "HTTP/1.1 200 OK\r\nDATE\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        head(Http11, 204, &[], None, true),
        "HTTP/1.1 204 No Content\r\nDATE\r\n\r\n"
    );
    assert_eq!(
        head(Http11, 200, &[], LengthOnly(u64::MAX), true),
        "HTTP/1.1 200 OK\r\nDATE\r\ncontent-length: 18446744073709551615\r\n\r\n"
    );
    assert_eq!(
        head(Http11, 799, &[], None, true),
        "HTTP/1.1 799 \r\nDATE\r\n\r\n"
    );
}

#[test]
fn a_guest_does_not_speak_for_the_host() {
    let fields = &[
        ("content-length", "5"),
        ("transfer-encoding", "gzip"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "x"),
        ("upgrade", "h2c"),
        ("te", "x"),
        ("x-skep-fault", "host"),
        ("x-skep-reason", "internal"),
        ("x-own", "1"),
    ];
    assert_eq!(
        head(Http11, 200, fields, Chunked, true),
        "HTTP/1.1 200 OK\r\nx-own: 1\r\nDATE\r\ntransfer-encoding: chunked\r\n\r\n"
    );
}

#[test]
fn there_is_one_date() {
    assert_eq!(
        head(
            Http11,
            200,
            &[("date", "first"), ("date", "second")],
            None,
            true
        ),
        "HTTP/1.1 200 OK\r\ndate: first\r\n\r\n"
    );
}

#[test]
fn chunks() {
    let mut dst = Vec::new();
    encode_chunk(&mut dst, b"");
    assert_eq!(dst, b"");
    encode_chunk(&mut dst, b"hello, chunked world");
    encode_last_chunk(&mut dst, Option::None);
    assert_eq!(dst, b"14\r\nhello, chunked world\r\n0\r\n\r\n");
}

#[test]
fn chunk_sizes_are_hexadecimal() {
    for len in [
        1,
        9,
        10,
        15,
        16,
        255,
        256,
        4095,
        4096,
        65_536,
        0xdead_beef,
        usize::MAX >> 4,
        usize::MAX,
    ] {
        let mut dst = Vec::new();
        encode_chunk_start(&mut dst, NonZeroUsize::new(len).unwrap());
        assert_eq!(dst, format!("{len:x}\r\n").as_bytes());
    }
}

#[test]
fn trailers_are_filtered() {
    let mut dst = Vec::new();
    let trailers = map(&[
        ("digest", "a"),
        ("content-length", "5"),
        ("set-cookie", "b"),
        ("x-skep-fault", "host"),
    ]);
    encode_last_chunk(&mut dst, Some(&trailers));
    assert_eq!(dst, b"0\r\ndigest: a\r\n\r\n");
}

#[test]
fn faults() {
    let fault = |reason, version, keep_alive, head_only| {
        let mut dst = Vec::new();
        encode_fault(&mut dst, reason, version, keep_alive, head_only, DATE);
        String::from_utf8(dst).unwrap()
    };
    assert_eq!(
        fault(Reason::TenantBusy, Http11, true, false),
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n\
         x-skep-fault: tenant\r\nx-skep-reason: tenant_busy\r\nretry-after: 1\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 84\r\n\r\n\
         tenant_busy: the program already has as many requests running and waiting as it may\n"
    );
    let get = fault(Reason::BadHost, Http11, false, false);
    let head = fault(Reason::BadHost, Http11, false, true);
    assert!(get.starts_with(&head) && head.ends_with("\r\n\r\n"));
    assert!(head.contains("\r\nconnection: close\r\n"));
}

/// Read back by another parser: every fault is a response whose length is right.
#[test]
fn every_fault_is_a_valid_response() {
    for &reason in Reason::ALL {
        let mut dst = Vec::new();
        encode_fault(&mut dst, reason, Http10, true, false, DATE);
        let mut slots = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut slots);
        let head_len = response.parse(&dst).unwrap().unwrap();
        let field = |name| {
            response
                .headers
                .iter()
                .find(|header| header.name == name)
                .map(|header| header.value)
        };
        assert_eq!(response.code, Some(reason.status().as_u16()));
        assert_eq!(field("x-skep-reason"), Some(reason.code().as_bytes()));
        assert_eq!(
            field("content-length"),
            Some((dst.len() - head_len).to_string().as_bytes())
        );
        let later = matches!(reason.status().as_u16(), 503 | 429);
        assert_eq!(field("retry-after").is_some(), later);
    }
}
