//! What is refused, and with which reason: the smuggling table.

use super::parse;
use crate::fault::Reason::{self, *};

fn check(table: &[(&str, Reason)]) {
    for (input, reason) in table {
        assert_eq!(parse(input).map(|head| head.raw), Err(*reason), "{input:?}");
    }
}

/// Puts `fields` into an otherwise valid HTTP/1.1 head.
fn check_fields(table: &[(&str, Reason)]) {
    for (fields, reason) in table {
        check(&[(
            &format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"),
            *reason,
        )]);
    }
}

#[test]
fn request_lines() {
    check(&[
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", MalformedRequest),
        ("GET /\r\n", MalformedRequest),
        ("GET / \r\n\r\n", MalformedRequest),
        ("GET\r\n\r\n", MalformedRequest),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTP/+1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET / JUNK\r\n\r\n", MalformedRequest),
        (
            "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
            MalformedRequest,
        ),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /#top HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        (
            "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            MalformedRequest,
        ),
        ("\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
        ("\u{16}\u{3}\u{1}\u{2}", MalformedRequest),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            MethodNotImplemented,
        ),
        (
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            MethodNotImplemented,
        ),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n",
            MethodNotImplemented,
        ),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionNotSupported),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", VersionNotSupported),
        ("GET / HTTP/0.9\r\n\r\n", VersionNotSupported),
        ("GET / HTTP/3.1\r\n", VersionNotSupported),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionNotSupported),
    ]);
}

#[test]
fn field_lines() {
    check_fields(&[
        ("X: a\nY: b", MalformedRequest),
        ("X: a\rY: b", MalformedRequest),
        ("X: a\r\r\nY: b", MalformedRequest),
        ("X: a\n\r\n", MalformedRequest),
        ("X: a\r\n folded", MalformedRequest),
        ("X: a\r\n\tfolded", MalformedRequest),
        ("X: a\r\n \r\nY: b", MalformedRequest),
        ("X : a", MalformedRequest),
        ("X\t: a", MalformedRequest),
        (" X: a", MalformedRequest),
        ("X", MalformedRequest),
        (": a", MalformedRequest),
        ("X Y: a", MalformedRequest),
        ("X(: a", MalformedRequest),
        ("X\0: a", MalformedRequest),
        ("X\u{fc}: a", MalformedRequest),
        ("X: a\0b", MalformedRequest),
        ("X: a\u{b}b", MalformedRequest),
        ("X: a\u{1b}b", MalformedRequest),
        ("X: a\u{7f}b", MalformedRequest),
        ("Content-Length : 5", MalformedRequest),
        ("Transfer-Encoding\u{b}: chunked", MalformedRequest),
    ]);
    check(&[
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", MalformedRequest),
        (
            "GET / HTTP/1.1\r\n\tX: b\r\nHost: a\r\n\r\n",
            MalformedRequest,
        ),
    ]);
}

#[test]
fn content_length() {
    check_fields(&[
        ("Content-Length:", ConflictingFraming),
        ("Content-Length: +5", ConflictingFraming),
        ("Content-Length: -5", ConflictingFraming),
        ("Content-Length: -0", ConflictingFraming),
        ("Content-Length: 5,5", ConflictingFraming),
        ("Content-Length: 5, 6", ConflictingFraming),
        ("Content-Length: 5 5", ConflictingFraming),
        ("Content-Length: 0x5", ConflictingFraming),
        ("Content-Length: 5a", ConflictingFraming),
        ("Content-Length: 5.0", ConflictingFraming),
        ("Content-Length: \"5\"", ConflictingFraming),
        ("Content-Length: \u{665}", ConflictingFraming),
        ("Content-Length: 18446744073709551616", ConflictingFraming),
        (
            "Content-Length: 99999999999999999999999",
            ConflictingFraming,
        ),
        ("Content-Length: 5\r\nContent-Length: 5", ConflictingFraming),
        ("Content-Length: 5\r\nContent-Length: 6", ConflictingFraming),
        ("Content-Length: 5\r\ncontent-length: 0", ConflictingFraming),
        ("Content-Length: 1001", BodyTooLarge),
        ("Content-Length: 18446744073709551615", BodyTooLarge),
    ]);
}

#[test]
fn transfer_encoding() {
    check_fields(&[
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            ConflictingFraming,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            ConflictingFraming,
        ),
        (
            "Content-Length: 0\r\nTransfer-Encoding: gzip",
            ConflictingFraming,
        ),
        ("Transfer-Encoding: chunked, chunked", ConflictingFraming),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ConflictingFraming,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            ConflictingFraming,
        ),
        ("Transfer-Encoding: chunked, gzip", ConflictingFraming),
        ("Transfer-Encoding: chunked,", ConflictingFraming),
        ("Transfer-Encoding: ,chunked", ConflictingFraming),
        ("Transfer-Encoding:", ConflictingFraming),
        ("Transfer-Encoding: \"chunked\"", ConflictingFraming),
        ("Transfer-Encoding: chunked;q=1", ConflictingFraming),
        ("Transfer-Encoding: chun ked", ConflictingFraming),
        ("Transfer-Encoding: \u{fc}chunked", ConflictingFraming),
        ("Transfer-Encoding: identity", UnknownTransferCoding),
        ("Transfer-Encoding: xchunked", UnknownTransferCoding),
        ("Transfer-Encoding: gzip, chunked", UnknownTransferCoding),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: identity, chunked",
            UnknownTransferCoding,
        ),
        ("Transfer-Encoding: \u{b}chunked", MalformedRequest),
        ("Transfer-Encoding:\r\n chunked", MalformedRequest),
    ]);
    check(&[
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            ConflictingFraming,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            ConflictingFraming,
        ),
    ]);
}

#[test]
fn host() {
    check(&[
        ("GET / HTTP/1.1\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", BadHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BadHost),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", BadHost),
        ("GET / HTTP/1.1\r\nHost: \u{fc}.example\r\n\r\n", BadHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", BadHost),
        (
            "GET http://a/ HTTP/1.1\r\nHost: b\r\nHost: b\r\n\r\n",
            BadHost,
        ),
        ("GET http://a/ HTTP/1.1\r\nHost: b@c\r\n\r\n", BadHost),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadHost),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", BadHost),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", BadHost),
        ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", BadHost),
        ("GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n", BadHost),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Misdirected),
        ("GET HTTPS://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Misdirected),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", MalformedRequest),
    ]);
}

#[test]
fn connection_and_expect() {
    check_fields(&[
        ("Connection: host", MalformedRequest),
        ("Connection: close, Content-Length", MalformedRequest),
        ("Connection: Authorization", MalformedRequest),
        ("Connection: X-Forwarded-For", MalformedRequest),
        (
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
            MalformedRequest,
        ),
        ("Connection: cookie", MalformedRequest),
        ("Connection: clo se", MalformedRequest),
        ("Connection: close;q=1", MalformedRequest),
        (
            "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q",
            MalformedRequest,
        ),
        ("Expect: 200-ok", ExpectationFailed),
        ("Expect:", ExpectationFailed),
        ("Expect: 100-continue, x", ExpectationFailed),
        ("Expect: 100-continue\r\nExpect: x", ExpectationFailed),
    ]);
}
