//! Request bodies: one decoder for the three ways in which a body can end.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunked::ChunkedDecoder;
use super::head::BodyLength;
use crate::fault::Reason;

/// The next piece of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chunk {
    /// Bytes of the body, as they arrived: never empty, and not cut where the sender's chunks were.
    Data(Bytes),
    /// The buffer holds nothing more of use; read more.
    NeedMore,
    /// The body is complete. With its trailer fields, which are empty unless it was chunked.
    End(HeaderMap),
}

/// Takes a body off the front of a connection's buffer, piece by piece.
#[derive(Debug)]
pub enum BodyDecoder {
    /// There is no body.
    Empty,
    /// Ends after a number of bytes.
    Length(LengthDecoder),
    /// Ends with the last chunk.
    Chunked(ChunkedDecoder),
}

impl BodyDecoder {
    /// Makes the decoder for a body. Chunks of more than `body_bytes_max` together are refused; a known
    /// length was checked with the head and is not checked again.
    pub fn new(length: BodyLength, body_bytes_max: u64) -> Self {
        match length {
            BodyLength::None => Self::Empty,
            BodyLength::Length(length) => Self::Length(LengthDecoder::new(length)),
            BodyLength::Chunked => Self::Chunked(ChunkedDecoder::new(body_bytes_max)),
        }
    }

    /// Takes the next piece off the front of `buf` and nothing that comes after the body.
    ///
    /// # Errors
    /// [`Reason::BadChunk`], [`Reason::BodyTooLarge`] or [`Reason::HeadTooLarge`] (trailer fields), from
    /// a chunked body only. The connection cannot be used after that.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Chunk, Reason> {
        match self {
            Self::Empty => Ok(Chunk::End(HeaderMap::new())),
            Self::Length(decoder) => Ok(decoder.decode(buf)),
            Self::Chunked(decoder) => decoder.decode(buf),
        }
    }

    /// Whether all of the body was taken off the buffer, so that the next byte is the next request's.
    pub fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Length(decoder) => decoder.is_end(),
            Self::Chunked(decoder) => decoder.is_end(),
        }
    }
}

/// Takes a body of known length off a buffer (RFC 9112 §6.2).
#[derive(Debug)]
pub struct LengthDecoder {
    left: u64,
}

impl LengthDecoder {
    /// A body of `length` bytes.
    pub fn new(length: u64) -> Self {
        Self { left: length }
    }

    /// Takes what there is of the body off the front of `buf`.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Chunk {
        match take(buf, &mut self.left) {
            Some(data) => Chunk::Data(data),
            None if self.is_end() => Chunk::End(HeaderMap::new()),
            None => Chunk::NeedMore,
        }
    }

    /// Whether all of the body was taken.
    pub fn is_end(&self) -> bool {
        self.left == 0
    }
}

/// Takes up to `left` bytes off the front of `buf` and counts them; `None` where there are none to take.
pub(super) fn take(buf: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let len = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
    if len == 0 {
        return None;
    }
    *left -= len as u64;
    Some(buf.split_to(len).freeze())
}
