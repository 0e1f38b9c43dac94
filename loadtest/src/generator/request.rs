//! Requests as bytes: a template made once, filled in for each request.

use std::io::Write as _;

use rand::{Rng, RngExt as _};

use crate::scenario::{Body, Request};

/// A piece of a request head.
#[derive(Debug)]
enum Piece {
    Bytes(Box<[u8]>),
    Host,
    Number,
    Random,
    BodyLength,
}

/// One shape of request, ready to be written.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    body: Body,
    /// Whether a response to it has no body whatever its head says.
    pub is_head: bool,
}

impl Template {
    /// Of this shape.
    pub fn new(request: &Request) -> Self {
        let mut pieces = Vec::new();
        let mut bytes = format!("{} ", request.method).into_bytes();
        let mut rest = request.path.as_str();
        while let Some(start) = rest.find('{') {
            let piece = if rest[start..].starts_with("{n}") {
                (Piece::Number, 3)
            } else if rest[start..].starts_with("{random}") {
                (Piece::Random, 8)
            } else {
                bytes.extend_from_slice(rest[..=start].as_bytes());
                rest = &rest[start + 1..];
                continue;
            };
            bytes.extend_from_slice(rest[..start].as_bytes());
            pieces.push(Piece::Bytes(std::mem::take(&mut bytes).into()));
            pieces.push(piece.0);
            rest = &rest[start + piece.1..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        pieces.push(Piece::Bytes(std::mem::take(&mut bytes).into()));
        pieces.push(Piece::Host);
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in &request.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if request.body != Body::Empty {
            bytes.extend_from_slice(b"content-length: ");
            pieces.push(Piece::Bytes(std::mem::take(&mut bytes).into()));
            pieces.push(Piece::BodyLength);
            bytes.extend_from_slice(b"\r\n");
        }
        pieces.push(Piece::Bytes(bytes.into()));
        Self {
            pieces,
            body: request.body.clone(),
            is_head: request.method == "HEAD",
        }
    }

    /// Writes one request for `host`, the `number`-th, and returns how many bytes of filler follow.
    /// `last` asks the server to close the connection after it.
    pub fn write(
        &self,
        into: &mut Vec<u8>,
        host: &str,
        number: u32,
        last: bool,
        random: &mut impl Rng,
    ) -> usize {
        let filler = match self.body {
            Body::Filler(min, max) => random.random_range(min..=max),
            _ => 0,
        };
        into.clear();
        for piece in &self.pieces {
            // Writing to memory does not fail.
            let _ = match piece {
                Piece::Bytes(bytes) => into.write_all(bytes),
                Piece::Host => into.write_all(host.as_bytes()),
                Piece::Number => write!(into, "{number}"),
                Piece::Random => write!(into, "{}", random.random::<u32>()),
                Piece::BodyLength => match &self.body {
                    Body::Text(text) => write!(into, "{}", text.len()),
                    _ => write!(into, "{filler}"),
                },
            };
        }
        if last {
            into.extend_from_slice(b"connection: close\r\n");
        }
        into.extend_from_slice(b"\r\n");
        if let Body::Text(text) = &self.body {
            into.extend_from_slice(text.as_bytes());
        }
        filler
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Expect;
    use rand::SeedableRng as _;
    use rand::rngs::SmallRng;

    fn written(path: &str, body: Body, last: bool) -> (String, usize) {
        let request = Request {
            name: String::new(),
            weight: 1.0,
            method: "PUT".to_owned(),
            path: path.to_owned(),
            headers: vec![("accept".to_owned(), "*/*".to_owned())],
            body,
            expect: Expect {
                statuses: vec![200],
                body_bytes: None,
                headers: Vec::new(),
                body: None,
                body_contains: None,
            },
            pace: None,
        };
        let mut bytes = Vec::new();
        let mut random = SmallRng::seed_from_u64(1);
        let filler = Template::new(&request).write(&mut bytes, "a.test", 7, last, &mut random);
        (String::from_utf8(bytes).unwrap(), filler)
    }

    #[test]
    fn heads_are_filled_in() {
        assert_eq!(
            written("/x/{n}?{y}", Body::Empty, false),
            (
                "PUT /x/7?{y} HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\n\r\n".to_owned(),
                0
            )
        );
        assert_eq!(
            written("/", Body::Text("abc".to_owned()), true).0,
            "PUT / HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"
        );
    }

    #[test]
    fn filler_is_announced_with_the_length_that_follows() {
        let (text, filler) = written("/{random}", Body::Filler(10, 20), false);
        assert!((10..=20).contains(&filler));
        assert!(
            text.contains(&format!("content-length: {filler}\r\n")),
            "{text}"
        );
        let path = text.split(' ').nth(1).unwrap();
        assert!(path[1..].parse::<u32>().is_ok(), "{path}");
    }
}
