//! The invariants of the codec, tried on inputs made by mutating valid ones with a fixed seed.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::LIMITS;
use crate::fault::Reason;
use crate::http::{
    BodyDecoder, BodyLength, Chunk, Parsed, Peek, RequestHead, parse_request, peek_host,
};

const ROUNDS: usize = if cfg!(debug_assertions) {
    30_000
} else {
    1_000_000
};

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'t, T: ?Sized>(&mut self, choices: &[&'t T]) -> &'t T {
        choices[self.below(choices.len())]
    }
}

/// Pieces that heads and bodies are made of, valid and not.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"POST http://B.example:80/x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /z HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\nHost: [::1]:8080\r\n\r\nabc",
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;e=1\r\nhello\r\n1f\r\n0123456789012345678901234567890\r\n0\r\nDigest: x\r\n\r\n",
    b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b"\0", b"#", b"\x7f", b"\xff", b"0", b"5", b"ffff", b";",
    b"Host: b\r\n", b"Host: u@c\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Connection: close, x\r\n", b"Connection: host\r\n", b"Expect: 100-continue\r\n",
    b"HTTP/1.1", b"HTTP/2.0", b"http://", b"https://", b"*", b"OPTIONS ", b"CONNECT ", b"/", b"?", b"@", b"0\r\n\r\n",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

/// One or two whole messages with up to four changes.
fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(&PIECES[..4]).to_vec();
    if random.below(3) == 0 {
        bytes.extend_from_slice(random.pick(&PIECES[..4]));
    }
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = bytes.len().min(at + random.below(4));
        let piece = random.pick(PIECES).to_vec();
        bytes.splice(at..end, piece);
    }
    bytes
}

/// What a connection's bytes mean: its requests, and how reading them ended.
#[derive(PartialEq, Debug, Default)]
struct Meaning {
    requests: Vec<(String, Vec<u8>, Option<HeaderMap>)>,
    refused: Option<Reason>,
}

/// A connection that is read to its end, the way the connection loop does it.
#[derive(Default)]
struct Connection {
    buf: BytesMut,
    body: Option<BodyDecoder>,
    meaning: Meaning,
}

impl Connection {
    fn receive(&mut self, segment: &[u8]) {
        self.buf.extend_from_slice(segment);
        while self.meaning.refused.is_none() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(reason) => self.meaning.refused = Some(reason),
            }
        }
    }

    fn step(&mut self) -> Result<bool, Reason> {
        let Some(body) = &mut self.body else {
            let Parsed::Complete(head) = parse_request(&mut self.buf, &LIMITS)? else {
                return Ok(false);
            };
            self.body = Some(BodyDecoder::new(head.body, LIMITS.body_bytes_max));
            self.meaning
                .requests
                .push((format!("{head:?}"), Vec::new(), None));
            return Ok(true);
        };
        let request = self.meaning.requests.last_mut().unwrap();
        match body.decode(&mut self.buf)? {
            Chunk::NeedMore => return Ok(false),
            Chunk::Data(data) => {
                assert!(!data.is_empty());
                request.1.extend_from_slice(&data);
            }
            Chunk::End(trailers) => {
                request.2 = Some(trailers);
                self.body = None;
            }
        }
        Ok(true)
    }
}

#[test]
fn segments_do_not_change_the_meaning() {
    let mut random = Random(0x5eed);
    let mut outcomes = [0; 2];
    for _ in 0..ROUNDS {
        let bytes = input(&mut random);
        let mut whole = Connection::default();
        whole.receive(&bytes);

        let mut cut = Connection::default();
        let segment_max = [1, 3, 40][random.below(3)];
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (segment, after) = rest.split_at(rest.len().min(1 + random.below(segment_max)));
            cut.receive(segment);
            rest = after;
        }
        assert_eq!(cut.meaning, whole.meaning, "{}", bytes.escape_ascii());
        outcomes[usize::from(whole.meaning.refused.is_some())] += 1;
    }
    assert!(
        outcomes.iter().all(|&count| count > ROUNDS / 10),
        "one-sided: {outcomes:?}"
    );
}

fn check_agreement(bytes: &[u8]) -> Result<Option<RequestHead>, Reason> {
    let mut buf = BytesMut::from(bytes);
    let parsed = parse_request(&mut buf, &LIMITS);
    let peeked = peek_host(bytes, &LIMITS);
    match (parsed, peeked) {
        (Ok(Parsed::Partial), Ok(Peek::Partial)) => {
            assert_eq!(buf, bytes);
            Ok(None)
        }
        (Ok(Parsed::Complete(head)), Ok(Peek::Host(host))) => {
            assert_eq!(head.host, host);
            assert_eq!([&head.raw[..], &buf[..]].concat(), bytes);
            Ok(Some(head))
        }
        (Err(parsed), Err(peeked)) => {
            assert_eq!(parsed, peeked, "{}", bytes.escape_ascii());
            Err(parsed)
        }
        (parsed, peeked) => panic!("{parsed:?} but {peeked:?}: {}", bytes.escape_ascii()),
    }
}

#[test]
fn peeking_agrees_with_parsing() {
    let mut random = Random(0xbee5);
    for _ in 0..ROUNDS {
        let bytes = input(&mut random);
        let cut = random.below(bytes.len() + 1);
        let _ = check_agreement(&bytes);
        let _ = check_agreement(&bytes[..cut]);
    }
}

/// Each byte value in each place: the scan, httparse and the `http` types must draw the same lines.
#[test]
fn every_byte_in_every_place() {
    let head = b"GET http://a:80/b?c HTTP/1.1\r\nHost: d:80\r\nConnection: e\r\nf: g\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for at in 0..head.len() {
        for byte in 0..=255 {
            let mut bytes = head.to_vec();
            bytes[at] = byte;
            let _ = check_agreement(&bytes);
            bytes.insert(at, head[at]);
            let _ = check_agreement(&bytes);
        }
    }
}

/// What is accepted says the same when it is written again from its parsed form.
#[test]
fn an_accepted_head_survives_being_written_again() {
    let mut random = Random(0xcafe);
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let Ok(Some(head)) = check_agreement(&input(&mut random)) else {
            continue;
        };
        let Ok(Some(again)) = check_agreement(&write(&head)) else {
            panic!("refused: {head:?}")
        };
        assert_eq!(
            (&again.method, &again.uri, &again.host),
            (&head.method, &head.uri, &head.host)
        );
        assert_eq!((&again.headers, again.body), (&head.headers, head.body));
        accepted += 1;
    }
    assert!(accepted > ROUNDS / 10, "{accepted}");
}

fn write(head: &RequestHead) -> Bytes {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", head.method, head.uri).into_bytes();
    if head.authority.is_none() {
        bytes.splice(bytes.len() - 3.., *b"0\r\n");
    }
    for (name, value) in &head.headers {
        bytes.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    if head.body == BodyLength::Chunked {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}
