//! An origin's bytes: heads of answers, interim ones before them, and bodies.
//!
//! However the bytes are cut into segments, they mean the same; and what is accepted, httparse alone
//! reads the same way.

use bytes::BytesMut;
use http::Method;
use skep::http::{
    AnswerHead, AnswerLength, BadAnswer, BodyDecoder, BodyLength, Chunk, parse_answer,
};

const HEAD_BYTES_MAX: usize = 1024;
const BODY_BYTES_MAX: u64 = 2048;

/// Longest input: it is read byte by byte, too.
const BYTES_MAX: usize = 4096;

pub fn run(data: &[u8]) {
    let data = &data[..data.len().min(BYTES_MAX)];
    for method in [Method::GET, Method::HEAD] {
        let whole = meaning(data, &method, usize::MAX);
        for segment in [1, 2, 7, 100] {
            let cut = meaning(data, &method, segment);
            assert_eq!(cut, whole, "in segments of {segment}");
        }
    }
}

/// What an origin's bytes mean to whoever asked once.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    head: Option<String>,
    body: Vec<u8>,
    ended: bool,
    bad: Option<BadAnswer>,
    bad_body: bool,
}

fn meaning(data: &[u8], method: &Method, segment: usize) -> Meaning {
    let (mut buf, mut meaning) = (BytesMut::new(), Meaning::default());
    let mut body: Option<(AnswerLength, BodyDecoder)> = None;
    for segment in data.chunks(segment.min(data.len()).max(1)) {
        buf.extend_from_slice(segment);
        if body.is_none() {
            match parse_answer(&mut buf, method, HEAD_BYTES_MAX) {
                Ok(None) => continue,
                Ok(Some(head)) => {
                    check(&head, method);
                    let decoder = match head.body {
                        AnswerLength::Marked(length) => BodyDecoder::new(length, BODY_BYTES_MAX),
                        AnswerLength::UntilClose => BodyDecoder::new(BodyLength::None, 0),
                    };
                    meaning.head = Some(format!("{head:?}"));
                    body = Some((head.body, decoder));
                }
                Err(bad) => {
                    meaning.bad = Some(bad);
                    return meaning;
                }
            }
        }
        let Some((AnswerLength::Marked(_), decoder)) = &mut body else {
            meaning.body.extend_from_slice(&buf.split());
            continue;
        };
        while !meaning.ended {
            match decoder.decode(&mut buf) {
                Ok(Chunk::Data(data)) => meaning.body.extend_from_slice(&data),
                Ok(Chunk::End(_)) => meaning.ended = true,
                Ok(Chunk::NeedMore) => break,
                Err(_) => {
                    meaning.bad_body = true;
                    return meaning;
                }
            }
        }
    }
    meaning
}

fn check(head: &AnswerHead, method: &Method) {
    assert!(!head.status.is_informational(), "{head:?}");
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
        assert!(!head.headers.contains_key(name), "{head:?}");
    }
    if method == Method::HEAD {
        assert_eq!(head.body, AnswerLength::Marked(BodyLength::None));
    }
    assert!(head.body != AnswerLength::UntilClose || !head.keep_alive);
}
