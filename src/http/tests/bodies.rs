//! Bodies: what is decoded, what is refused, and every limit.

use bytes::BytesMut;
use http::HeaderMap;

use crate::config::limits::{
    CHUNK_EXTENSION_BYTES_TOTAL_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX, TRAILERS_MAX,
};
use crate::fault::Reason::{self, BadChunk, BodyTooLarge, HeadTooLarge};
use crate::http::{BodyDecoder, BodyLength, Chunk};

const BODY_BYTES_MAX: u64 = 1 << 20;

/// Data, trailer fields and the bytes that follow, where the body is complete.
type Decoded = Option<(String, HeaderMap, String)>;

fn decode(length: BodyLength, input: &str) -> Result<Decoded, Reason> {
    let mut decoder = BodyDecoder::new(length, BODY_BYTES_MAX);
    let mut buf = BytesMut::from(input);
    let mut data = String::new();
    loop {
        match decoder.decode(&mut buf)? {
            Chunk::Data(bytes) => data.push_str(std::str::from_utf8(&bytes).unwrap()),
            Chunk::NeedMore => return Ok(None),
            Chunk::End(trailers) => {
                assert!(decoder.is_end());
                assert_eq!(decoder.decode(&mut buf), Ok(Chunk::End(HeaderMap::new())));
                return Ok(Some((
                    data,
                    trailers,
                    String::from_utf8(buf.to_vec()).unwrap(),
                )));
            }
        }
    }
}

fn chunked(input: &str) -> Result<Decoded, Reason> {
    decode(BodyLength::Chunked, input)
}

#[test]
fn ends_where_the_head_said() {
    let check = |length, input, data: &str, rest: &str| {
        let (actual, trailers, left) = decode(length, input).unwrap().unwrap();
        assert_eq!(
            (actual.as_str(), left.as_str()),
            (data, rest),
            "{length:?} {input:?}"
        );
        assert!(trailers.is_empty());
    };
    check(BodyLength::None, "next", "", "next");
    check(BodyLength::Length(0), "next", "", "next");
    check(BodyLength::Length(5), "hellonext", "hello", "next");
    check(BodyLength::Chunked, "0\r\n\r\nnext", "", "next");
    check(
        BodyLength::Chunked,
        "5\r\nhello\r\n0\r\n\r\nnext",
        "hello",
        "next",
    );
    check(
        BodyLength::Chunked,
        "2\r\nhe\r\n003\r\nllo\r\n000\r\n\r\n",
        "hello",
        "",
    );
    check(
        BodyLength::Chunked,
        "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "01234567890123456789",
        "",
    );
    check(
        BodyLength::Chunked,
        "2;a=b\r\n\r\n\r\n0;c;d=\"e\"\r\n\r\n",
        "\r\n",
        "",
    );
    check(
        BodyLength::Chunked,
        "0000000000000001\r\nx\r\n0000000000000000\r\n\r\n",
        "x",
        "",
    );
}

#[test]
fn waits_for_the_rest() {
    assert_eq!(decode(BodyLength::Length(5), "hell"), Ok(None));
    let whole = "5;x\r\nhello\r\n0\r\nDigest: x\r\n\r\n";
    for cut in 0..whole.len() {
        assert_eq!(chunked(&whole[..cut]), Ok(None), "{cut}");
    }
}

#[test]
fn is_end_only_after_the_last_byte() {
    let mut decoder = BodyDecoder::new(BodyLength::Length(2), BODY_BYTES_MAX);
    let mut buf = BytesMut::from("a");
    assert!(!decoder.is_end());
    assert!(matches!(decoder.decode(&mut buf), Ok(Chunk::Data(_))));
    assert_eq!(decoder.decode(&mut buf), Ok(Chunk::NeedMore));
    assert!(!decoder.is_end());
    buf.extend_from_slice(b"b");
    assert!(matches!(decoder.decode(&mut buf), Ok(Chunk::Data(_))));
    assert!(decoder.is_end());
}

#[test]
fn refuses_invalid_coding() {
    for (input, reason) in [
        ("\r\n", BadChunk),
        ("x\r\n", BadChunk),
        (" 5\r\n", BadChunk),
        ("5 \r\n", BadChunk),
        ("5\t;x\r\n", BadChunk),
        ("-5\r\n", BadChunk),
        ("+5\r\n", BadChunk),
        ("0x5\r\n", BadChunk),
        ("5_0\r\n", BadChunk),
        (";x\r\n", BadChunk),
        ("5\n", BadChunk),
        ("5\r\r\n", BadChunk),
        ("5\rx", BadChunk),
        ("5;x\n", BadChunk),
        ("5;x\rhello", BadChunk),
        ("5;x\0\r\n", BadChunk),
        ("5;x\u{7f}\r\n", BadChunk),
        ("00000000000000005\r\n", BadChunk),
        ("5\r\nhellox", BadChunk),
        ("5\r\nhello\n0\r\n\r\n", BadChunk),
        ("5\r\nhello\rx", BadChunk),
        ("5\r\nhello0\r\n\r\n", BadChunk),
        ("0\r\nx\n\r\n", BadChunk),
        ("0\r\n\n", BadChunk),
        ("0\r\nX : y\r\n\r\n", BadChunk),
        ("0\r\nX: y\r\n z\r\n\r\n", BadChunk),
        ("0\r\n: y\r\n\r\n", BadChunk),
        ("0\r\nX: \0\r\n\r\n", BadChunk),
        ("0\r\nContent-Length: 5\r\n\r\n", BadChunk),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", BadChunk),
        ("0\r\nHost: b\r\n\r\n", BadChunk),
        ("100001\r\n", BodyTooLarge),
        ("FFFFFFFFFFFFFFFF\r\n", BodyTooLarge),
        ("1\r\nx\r\n100000\r\n", BodyTooLarge),
        ("1\r\nx\r\nFFFFFFFFFFFFFFFF\r\n", BodyTooLarge),
    ] {
        assert_eq!(chunked(input), Err(reason), "{input:?}");
    }
}

#[test]
fn chunks_have_a_limit_together() {
    let body = |rest: u64| format!("1\r\nx\r\n{rest:x}\r\n");
    assert_eq!(chunked(&body(BODY_BYTES_MAX - 1)), Ok(None));
    assert_eq!(chunked(&body(BODY_BYTES_MAX)), Err(BodyTooLarge));
}

#[test]
fn keeps_only_the_trailer_fields_that_may_come_late() {
    let (_, trailers, _) = chunked(
        "0\r\nDigest: a\r\nAuthorization: b\r\nSet-Cookie: c\r\nConnection: close\r\nX-Forwarded-For: d\r\ngrpc-status: 0\r\n\r\n",
    )
    .unwrap()
    .unwrap();
    let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["digest", "grpc-status"]);
}

#[test]
fn a_chunk_line_has_a_limit() {
    let line = |len: usize| format!("1;{}\r\n", "x".repeat(len - 4));
    let body = |len| format!("{}x\r\n0\r\n\r\n", line(len));
    assert_eq!(line(CHUNK_LINE_BYTES_MAX).len(), CHUNK_LINE_BYTES_MAX);
    assert!(chunked(&body(CHUNK_LINE_BYTES_MAX)).unwrap().is_some());
    assert_eq!(chunked(&body(CHUNK_LINE_BYTES_MAX + 1)), Err(BadChunk));
    assert_eq!(
        chunked(&format!("1;{}", "x".repeat(CHUNK_LINE_BYTES_MAX))),
        Err(BadChunk)
    );
}

/// CVE-2023-39326 (Go): extensions of many small chunks cost more than the data they come with.
#[test]
fn chunk_extensions_of_a_body_have_a_limit() {
    let chunk = format!("1;{}\r\nx\r\n", "x".repeat(255));
    let chunks = CHUNK_EXTENSION_BYTES_TOTAL_MAX / 256;
    assert!(
        chunked(&format!("{}0\r\n\r\n", chunk.repeat(chunks)))
            .unwrap()
            .is_some()
    );
    assert_eq!(
        chunked(&format!("{}0;\r\n\r\n", chunk.repeat(chunks))),
        Err(BadChunk)
    );
}

#[test]
fn a_trailer_section_has_limits() {
    let fields = |count: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(chunked(&fields(TRAILERS_MAX)).unwrap().is_some());
    assert_eq!(chunked(&fields(TRAILERS_MAX + 1)), Err(HeadTooLarge));
    let bytes = |len: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(len - 7));
    assert!(chunked(&bytes(TRAILER_BYTES_MAX)).unwrap().is_some());
    assert_eq!(chunked(&bytes(TRAILER_BYTES_MAX + 1)), Err(HeadTooLarge));
    let unfinished = |len: usize| format!("0\r\nX: {}", "y".repeat(len - 3));
    assert_eq!(chunked(&unfinished(TRAILER_BYTES_MAX - 1)), Ok(None));
    assert_eq!(chunked(&unfinished(TRAILER_BYTES_MAX)), Err(HeadTooLarge));
}
