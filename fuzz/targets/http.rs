//! A connection's bytes: request heads and bodies.
//!
//! However the bytes are cut into segments, they mean the same; and what is accepted, httparse
//! alone reads the same way.

use bytes::BytesMut;
use http::HeaderMap;
use skep::fault::Reason;
use skep::http::{BodyDecoder, BodyLength, Chunk, HeadLimits, Parsed, RequestHead, parse_request};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1024,
    target_bytes_max: 300,
    headers_max: 20,
    body_bytes_max: 2048,
};

/// Longest input: it is read byte by byte, too.
const BYTES_MAX: usize = 4096;

pub fn run(data: &[u8]) {
    let data = &data[..data.len().min(BYTES_MAX)];
    let whole = meaning(data, usize::MAX);
    for segment in [1, 2, 7, 100] {
        assert_eq!(meaning(data, segment), whole, "in segments of {segment}");
    }
}

/// What a connection's bytes mean: its requests, and how reading them ended.
#[derive(PartialEq, Debug, Default)]
struct Meaning {
    requests: Vec<(String, Vec<u8>, Option<HeaderMap>)>,
    refused: Option<Reason>,
}

fn meaning(data: &[u8], segment: usize) -> Meaning {
    let (mut buf, mut body, mut meaning) = (BytesMut::new(), None, Meaning::default());
    for segment in data.chunks(segment.min(data.len()).max(1)) {
        buf.extend_from_slice(segment);
        loop {
            match step(&mut buf, &mut body, &mut meaning) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => {
                    meaning.refused = Some(reason);
                    return meaning;
                }
            }
        }
    }
    meaning
}

/// Whether there may be more to read in what is there.
fn step(
    buf: &mut BytesMut,
    body: &mut Option<BodyDecoder>,
    meaning: &mut Meaning,
) -> Result<bool, Reason> {
    let Some(decoder) = body else {
        let Parsed::Complete(head) = parse_request(buf, &LIMITS)? else {
            return Ok(false);
        };
        check_with_httparse(&head);
        *body = Some(BodyDecoder::new(head.body, LIMITS.body_bytes_max));
        meaning
            .requests
            .push((format!("{head:?}"), Vec::new(), None));
        return Ok(true);
    };
    let request = meaning.requests.last_mut().expect("a head before its body");
    match decoder.decode(buf)? {
        Chunk::NeedMore => return Ok(false),
        Chunk::Data(data) => {
            assert!(!data.is_empty());
            request.1.extend_from_slice(&data);
            assert!(request.1.len() as u64 <= LIMITS.body_bytes_max);
        }
        Chunk::End(trailers) => {
            request.2 = Some(trailers);
            *body = None;
        }
    }
    Ok(true)
}

/// The same head as a parser sees it that knows the grammar only.
fn check_with_httparse(head: &RequestHead) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(&head.raw).expect("what was accepted");
    assert_eq!(status, httparse::Status::Complete(head.raw.len()));
    assert_eq!(parsed.method, Some(head.method.as_str()));
    let target = parsed.path.expect("a target");
    let uri = head.uri.to_string();
    assert!(
        target == uri || target.ends_with(&uri) || uri == "/" || uri.starts_with("/?"),
        "{target:?} became {uri:?}"
    );
    let values = |name: &str| -> Vec<&[u8]> {
        let same = parsed
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        same.map(|field| field.value).collect()
    };
    for name in head.headers.keys().filter(|name| *name != "host") {
        let kept: Vec<&[u8]> = head
            .headers
            .get_all(name)
            .iter()
            .map(|it| it.as_bytes())
            .collect();
        assert_eq!(kept, values(name.as_str()), "{name}");
    }
    // Where the body ends, by the two fields that say it.
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    match head.body {
        BodyLength::Chunked => {
            assert_eq!((codings.len(), lengths.len()), (1, 0));
            assert!(codings[0].eq_ignore_ascii_case(b"chunked"));
        }
        BodyLength::Length(length) => {
            assert!(codings.is_empty() && !lengths.is_empty());
            for value in lengths {
                let text = std::str::from_utf8(value).expect("digits");
                assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
                assert_eq!(text.parse(), Ok(length));
            }
        }
        BodyLength::None => assert!(codings.is_empty() && lengths.is_empty()),
    }
}
