//! Responses as they arrive: where one ends, and what its status is.
//!
//! ```text
//!   Head ──► Length(n) ──► done          content-length
//!        ├─► Chunks ─────► done          chunked
//!        ├─► UntilClose ─► done          neither, and the server closes
//!        └─► done                        HEAD, 204, 304, content-length: 0
//! ```
//!
//! RFC 9112 §6.3. A response is read as strictly as needed to find its end: what a harness should be
//! strict about is the server's answer, and the check phase looks at that.

use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A response that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Where the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunks(Chunk),
    UntilClose,
    Done,
}

/// Where the reader is in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In a chunk's size; the digits so far.
    Size(u64, bool),
    /// After the size, until the line's end.
    Extension(u64),
    /// After the CR of a size line.
    SizeEnd(u64),
    Data(u64),
    /// After the data: CR, LF.
    DataEnd(u8),
    /// In the trailer section; whether the line is still empty.
    Trailer(bool),
    /// After a CR there; whether the line was empty.
    TrailerEnd(bool),
}

/// Headers and body, kept for the check phase only.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// At most `limits::CHECK_BODY_BYTES_MAX`.
    pub body: Vec<u8>,
}

/// Reads one response after the other.
#[derive(Debug)]
pub struct Response {
    state: State,
    /// Bytes of a head that came in pieces.
    head: Vec<u8>,
    /// Status; 0 before the head is read.
    pub status: u16,
    /// Bytes of the body so far.
    pub body_bytes: u64,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
    to_head: bool,
    kept: Option<Kept>,
}

impl Response {
    /// A reader that waits for a response.
    pub fn new() -> Self {
        Self {
            state: State::Done,
            head: Vec::new(),
            status: 0,
            body_bytes: 0,
            keep_alive: true,
            to_head: false,
            kept: None,
        }
    }

    /// Begins the next response; `to_head` when it answers a HEAD request.
    pub fn begin(&mut self, to_head: bool) {
        self.state = State::Head;
        self.head.clear();
        self.status = 0;
        self.body_bytes = 0;
        self.keep_alive = true;
        self.to_head = to_head;
    }

    /// Keeps headers and body from now on.
    pub fn keep(&mut self) {
        self.kept = Some(Kept::default());
    }

    /// What was kept.
    pub fn kept(&mut self) -> Kept {
        self.kept.take().unwrap_or_default()
    }

    /// Whether any of it has arrived.
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.head.is_empty()
    }

    /// Reads more of it; true when it is complete. Bytes after its end are malformed: nothing was asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, Malformed> {
        while self.state == State::Head && !bytes.is_empty() {
            bytes = self.head(bytes)?;
        }
        match self.state {
            State::Head => Ok(false),
            State::Done if bytes.is_empty() => Ok(true),
            State::Done => Err(Malformed("bytes after the response's end")),
            State::UntilClose => {
                self.body(bytes);
                Ok(false)
            }
            State::Length(left) => {
                if bytes.len() as u64 > left {
                    return Err(Malformed("more bytes than content-length"));
                }
                self.body(bytes);
                let left = left - bytes.len() as u64;
                self.state = if left == 0 {
                    State::Done
                } else {
                    State::Length(left)
                };
                Ok(left == 0)
            }
            State::Chunks(chunk) => self.chunks(chunk, bytes),
        }
    }

    /// The connection was closed; true when that ends the response.
    pub fn closed(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
            return true;
        }
        false
    }

    fn body(&mut self, bytes: &[u8]) {
        self.body_bytes += bytes.len() as u64;
        if let Some(kept) = &mut self.kept {
            let room = crate::limits::CHECK_BODY_BYTES_MAX - kept.body.len();
            kept.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    /// Reads a head; what is left of `bytes` after it. Copies only heads that come in pieces.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if self.head.is_empty() {
            return match self.parse(bytes)? {
                Some(length) => Ok(&bytes[length..]),
                None => {
                    self.head.extend_from_slice(bytes);
                    Ok(&[])
                }
            };
        }
        let before = self.head.len();
        if before + bytes.len() > HEAD_BYTES_MAX {
            return Err(Malformed("a head of more than 64 KiB"));
        }
        let mut head = std::mem::take(&mut self.head);
        head.extend_from_slice(bytes);
        match self.parse(&head)? {
            Some(length) => Ok(&bytes[length - before..]),
            None => {
                self.head = head;
                Ok(&[])
            }
        }
    }

    /// Parses a head at the start of `bytes`; its length, or none when it is not complete.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed("no HTTP/1.1 response head")),
        };
        let status = head.code.unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            // An interim response: the head of the final one follows.
            return Ok(Some(length));
        }
        self.status = status;
        self.keep_alive = head.version == Some(1);
        let mut content_length = None;
        let mut chunked = false;
        for header in head.headers.iter() {
            let name = header.name;
            if name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(header.value).ok();
                content_length = text.and_then(|text| text.trim().parse::<u64>().ok());
                if content_length.is_none() {
                    return Err(Malformed("content-length is no number"));
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = ends_with_token(header.value, b"chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                if has_token(header.value, b"close") {
                    self.keep_alive = false;
                } else if has_token(header.value, b"keep-alive") {
                    self.keep_alive = true;
                }
            }
            if let Some(kept) = &mut self.kept {
                let value = String::from_utf8_lossy(header.value).into_owned();
                kept.headers.push((name.to_ascii_lowercase(), value));
            }
        }
        self.state = if self.to_head || status == 204 || status == 304 {
            State::Done
        } else if chunked {
            State::Chunks(Chunk::Size(0, false))
        } else {
            match content_length {
                Some(0) => State::Done,
                Some(length) => State::Length(length),
                None => {
                    self.keep_alive = false;
                    State::UntilClose
                }
            }
        };
        Ok(Some(length))
    }

    fn chunks(&mut self, mut chunk: Chunk, mut bytes: &[u8]) -> Result<bool, Malformed> {
        const WRONG: Malformed = Malformed("chunked body is not well-formed");
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Chunk::Data(left) = chunk {
                let take = (bytes.len() as u64).min(left) as usize;
                self.body(&bytes[..take]);
                bytes = &bytes[take..];
                let left = left - take as u64;
                chunk = if left == 0 {
                    Chunk::DataEnd(b'\r')
                } else {
                    Chunk::Data(left)
                };
                continue;
            }
            bytes = rest;
            chunk = match (chunk, byte) {
                (Chunk::Size(size, true), b'\r') => Chunk::SizeEnd(size),
                (Chunk::Size(size, true), b';' | b' ' | b'\t') => Chunk::Extension(size),
                (Chunk::Size(size, _), digit) => {
                    let digit = (digit as char).to_digit(16).ok_or(WRONG)?;
                    let size = size
                        .checked_mul(16)
                        .and_then(|size| size.checked_add(digit.into()));
                    Chunk::Size(size.ok_or(WRONG)?, true)
                }
                (Chunk::Extension(size), b'\r') => Chunk::SizeEnd(size),
                (Chunk::Extension(size), _) => Chunk::Extension(size),
                (Chunk::SizeEnd(0), b'\n') => Chunk::Trailer(true),
                (Chunk::SizeEnd(size), b'\n') => Chunk::Data(size),
                (Chunk::DataEnd(b'\r'), b'\r') => Chunk::DataEnd(b'\n'),
                (Chunk::DataEnd(b'\n'), b'\n') => Chunk::Size(0, false),
                (Chunk::Trailer(empty), b'\r') => Chunk::TrailerEnd(empty),
                (Chunk::Trailer(_), _) => Chunk::Trailer(false),
                (Chunk::TrailerEnd(false), b'\n') => Chunk::Trailer(true),
                (Chunk::TrailerEnd(true), b'\n') => {
                    self.state = State::Done;
                    return if bytes.is_empty() {
                        Ok(true)
                    } else {
                        Err(Malformed("bytes after the response's end"))
                    };
                }
                _ => return Err(WRONG),
            };
        }
        self.state = State::Chunks(chunk);
        Ok(false)
    }
}

impl Default for Response {
    fn default() -> Self {
        Self::new()
    }
}

fn has_token(value: &[u8], token: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

fn ends_with_token(value: &[u8], token: &[u8]) -> bool {
    value
        .rsplit(|byte| *byte == b',')
        .next()
        .is_some_and(|part| part.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` whole and in pieces of every length: the outcome must not depend on it.
    fn check(text: &str, expected: Result<(u16, u64, bool), &str>) {
        for piece in 1..=text.len() {
            let mut response = Response::new();
            response.begin(false);
            let mut outcome = Ok(false);
            for part in text.as_bytes().chunks(piece) {
                outcome = match outcome {
                    Ok(true) => Err(Malformed("bytes after the response's end")),
                    Ok(false) => response.feed(part),
                    wrong => wrong,
                };
            }
            if outcome == Ok(false) && response.closed() {
                outcome = Ok(true);
            }
            let got = match outcome {
                Ok(true) => Ok((response.status, response.body_bytes, response.keep_alive)),
                Ok(false) => Err("not complete"),
                Err(Malformed(why)) => Err(why),
            };
            assert_eq!(got, expected, "{text:?} in pieces of {piece}");
        }
    }

    #[test]
    fn every_framing_ends_where_it_should() {
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            Ok((200, 5, true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Ok((200, 0, false)),
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, 0, true)));
        check(
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            Ok((304, 0, true)),
        );
        check("HTTP/1.1 200 OK\r\n\r\nuntil the end", Ok((200, 13, false)));
        check(
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Ok((200, 2, false)),
        );
        check(
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
            Ok((200, 2, true)),
        );
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
            Ok((201, 1, true)),
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\n",
            Ok((200, 15, true)),
        );
    }

    #[test]
    fn what_is_no_response_is_malformed() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let wrong = "chunked body is not well-formed";
        check(
            "hello, this is not HTTP at all\r\n\r\n",
            Err("no HTTP/1.1 response head"),
        );
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            Err("content-length is no number"),
        );
        check(&format!("{chunked}x\r\n"), Err(wrong));
        check(&format!("{chunked}\r\n"), Err(wrong));
        check(&format!("{chunked}3\r\nabcd"), Err(wrong));
        check(&format!("{chunked}ffffffffffffffffff\r\n"), Err(wrong));
        check(&format!("{chunked}3\r\nab"), Err("not complete"));
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
            Err("not complete"),
        );
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_an_error() {
        for text in [
            "HTTP/1.1 204 No Content\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nx",
        ] {
            let mut response = Response::new();
            response.begin(false);
            assert!(response.feed(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let mut response = Response::new();
        response.begin(true);
        assert_eq!(
            response.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
            Ok(true)
        );
    }

    #[test]
    fn the_check_phase_keeps_headers_and_body() {
        let mut response = Response::new();
        response.begin(false);
        response.keep();
        assert_eq!(
            response.feed(b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhello"),
            Ok(true)
        );
        let kept = response.kept();
        assert_eq!(kept.headers[0], ("x-a".to_owned(), "b".to_owned()));
        assert_eq!(kept.body, b"hello");
    }
}
