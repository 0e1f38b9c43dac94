//! The chunked transfer coding (RFC 9112 §7.1), decoded strictly.
//!
//! ```text
//!   1a;name=value CR LF      size: up to 16 hex digits; extensions are read and dropped
//!   <26 bytes> CR LF         data: handed out as it arrives
//!   0 CR LF                  last chunk
//!   digest: … CR LF          trailer fields
//!   CR LF
//! ```
//!
//! Refused although others take it: a line that ends in a bare LF, white space around the size, a
//! size of 17 digits. Each of them was once a smuggling advisory against a parser that did.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName};
use httparse::{EMPTY_HEADER, Status};

use super::body::{Chunk, take};
use super::fields::append;
use super::names::{TrailerRule, trailer_rule};
use super::scan::{Stop, field_section_end};
use crate::config::limits::{
    CHUNK_EXTENSION_BYTES_TOTAL_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX, TRAILERS_MAX,
};
use crate::fault::Reason;

/// Digits of a chunk size: as many as fill a `u64`.
const SIZE_DIGITS_MAX: usize = 16;

/// Takes a chunked body off a buffer.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// How many bytes the chunks to come may still have.
    body_bytes_left: u64,
    /// How many bytes of extensions the chunks to come may still have.
    extension_bytes_left: usize,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    /// Before a size line.
    Size,
    /// Within a chunk's data, with this many bytes to come.
    Data(u64),
    /// Before the line end that follows the data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    /// After everything.
    End,
}

/// A chunk's first line.
struct SizeLine {
    size: u64,
    extension_bytes: usize,
    /// With its line end.
    len: usize,
}

impl ChunkedDecoder {
    /// A body whose chunks may have `body_bytes_max` bytes together.
    pub fn new(body_bytes_max: u64) -> Self {
        Self {
            state: State::Size,
            body_bytes_left: body_bytes_max,
            extension_bytes_left: CHUNK_EXTENSION_BYTES_TOTAL_MAX,
        }
    }

    /// Takes the next piece off the front of `buf`. What it leaves there until more arrives is less
    /// than [`CHUNK_LINE_BYTES_MAX`] or [`TRAILER_BYTES_MAX`].
    ///
    /// # Errors
    /// [`Reason::BadChunk`] when the coding is not valid or a trailer field would change framing or
    /// routing, [`Reason::BodyTooLarge`] as soon as a size says so, [`Reason::HeadTooLarge`] when the
    /// trailer section is over its limits.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Chunk, Reason> {
        match self.advance(buf) {
            Ok(chunk) => Ok(chunk),
            Err(Stop::Partial) => Ok(Chunk::NeedMore),
            Err(Stop::Refused(reason)) => Err(reason),
        }
    }

    /// Whether everything up to the end of the trailer section was taken.
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    fn advance(&mut self, buf: &mut BytesMut) -> Result<Chunk, Stop> {
        loop {
            match self.state {
                State::Size => {
                    let line = size_line(buf)?;
                    self.state = self.begin_chunk(&line)?;
                    buf.advance(line.len);
                }
                State::Data(mut left) => {
                    let data = take(buf, &mut left).ok_or(Stop::Partial)?;
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Chunk::Data(data));
                }
                State::DataEnd => {
                    line_end(buf)?;
                    buf.advance(2);
                    self.state = State::Size;
                }
                State::Trailers => {
                    let trailers = take_trailers(buf)?;
                    self.state = State::End;
                    return Ok(Chunk::End(trailers));
                }
                State::End => return Ok(Chunk::End(HeaderMap::new())),
            }
        }
    }

    fn begin_chunk(&mut self, line: &SizeLine) -> Result<State, Reason> {
        self.extension_bytes_left = self
            .extension_bytes_left
            .checked_sub(line.extension_bytes)
            .ok_or(Reason::BadChunk)?;
        self.body_bytes_left = self
            .body_bytes_left
            .checked_sub(line.size)
            .ok_or(Reason::BodyTooLarge)?;
        Ok(if line.size == 0 {
            State::Trailers
        } else {
            State::Data(line.size)
        })
    }
}

/// Reads `1*HEXDIG [";" extensions] CRLF` (RFC 9112 §7.1, §7.1.1).
fn size_line(buf: &[u8]) -> Result<SizeLine, Stop> {
    let (size, digits) = hex_prefix(buf)?;
    let extension_bytes = match buf[digits..] {
        [b';', ..] => extension_len(&buf[digits..], CHUNK_LINE_BYTES_MAX - digits - 2)?,
        _ => 0,
    };
    line_end(&buf[digits + extension_bytes..])?;
    Ok(SizeLine {
        size,
        extension_bytes,
        len: digits + extension_bytes + 2,
    })
}

/// Value and number of the hex digits at the front.
fn hex_prefix(buf: &[u8]) -> Result<(u64, usize), Stop> {
    let mut size = 0;
    for (digits, &byte) in buf.iter().enumerate() {
        match (byte as char).to_digit(16) {
            Some(_) if digits == SIZE_DIGITS_MAX => return Err(Reason::BadChunk.into()),
            Some(digit) => size = size << 4 | u64::from(digit),
            None if digits == 0 => return Err(Reason::BadChunk.into()),
            None => return Ok((size, digits)),
        }
    }
    Err(Stop::Partial)
}

/// Length of the extensions. Their grammar is not checked, only that they stay on their line: no
/// control bytes, so that no parser finds a line end where this one does not.
fn extension_len(buf: &[u8], bytes_max: usize) -> Result<usize, Stop> {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    match buf.iter().position(is_control) {
        Some(len) if len <= bytes_max => Ok(len),
        None if buf.len() <= bytes_max => Err(Stop::Partial),
        _ => Err(Reason::BadChunk.into()),
    }
}

/// Requires CR LF at the front.
fn line_end(buf: &[u8]) -> Result<(), Stop> {
    match buf {
        [b'\r', b'\n', ..] => Ok(()),
        [] | [b'\r'] => Err(Stop::Partial),
        _ => Err(Reason::BadChunk.into()),
    }
}

/// Takes the trailer section with its final empty line (RFC 9112 §7.1.2).
fn take_trailers(buf: &mut BytesMut) -> Result<HeaderMap, Stop> {
    let window = &buf[..buf.len().min(TRAILER_BYTES_MAX)];
    match field_section_end(window, 0) {
        Ok(end) => Ok(parse_trailers(&buf.split_to(end).freeze())?),
        Err(Stop::Partial) if buf.len() >= TRAILER_BYTES_MAX => Err(Reason::HeadTooLarge.into()),
        Err(Stop::Partial) => Err(Stop::Partial),
        Err(Stop::Refused(_)) => Err(Reason::BadChunk.into()),
    }
}

fn parse_trailers(section: &Bytes) -> Result<HeaderMap, Reason> {
    let mut trailers = HeaderMap::new();
    if section.len() == b"\r\n".len() {
        return Ok(trailers);
    }
    let mut slots = [EMPTY_HEADER; TRAILERS_MAX];
    let fields = match httparse::parse_headers(section, &mut slots) {
        Ok(Status::Complete((len, fields))) if len == section.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::HeadTooLarge),
        _ => return Err(Reason::BadChunk),
    };
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Reason::BadChunk)?;
        match trailer_rule(name.as_str()) {
            TrailerRule::Keep => {
                append(&mut trailers, name, field.value, section).map_err(|_| Reason::BadChunk)?
            }
            TrailerRule::Drop => {}
            TrailerRule::Refuse => return Err(Reason::BadChunk),
        }
    }
    Ok(trailers)
}
