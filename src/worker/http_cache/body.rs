//! Bodies of answers: of what is stored, or of what is still on its way.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::reader::Reader;

/// The origin's answer broke off: the client's must not look complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin's answer ended before its body was complete")
    }
}

impl std::error::Error for Aborted {}

/// The body of an [`Answer`](super::Answer), in pieces that are shared with the cache.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Empty,
    Stored {
        chunks: Rc<[Bytes]>,
        /// The next one.
        at: usize,
        /// Of it, and of those after it.
        skip: u64,
        left: u64,
    },
    Growing(Reader),
}

impl Body {
    pub(super) fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// The bytes from the first up to and without the second.
    pub(super) fn stored(chunks: &Rc<[Bytes]>, from: u64, to: u64) -> Self {
        Self(Kind::Stored {
            chunks: Rc::clone(chunks),
            at: 0,
            skip: from,
            left: to - from,
        })
    }

    pub(super) fn growing(reader: Reader) -> Self {
        Self(Kind::Growing(reader))
    }

    /// The next piece, which is not empty; `None` at the end. Woken when there is more.
    ///
    /// # Errors
    /// [`Aborted`]: what was read is not all of it.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Stored {
                chunks,
                at,
                skip,
                left,
            } => {
                while let Some(chunk) = chunks.get(*at).filter(|_| *left > 0) {
                    *at += 1;
                    let length = chunk.len() as u64;
                    if *skip >= length {
                        *skip -= length;
                        continue;
                    }
                    // Both are within this chunk, so they fit.
                    let from = usize::try_from(*skip).unwrap_or(chunk.len());
                    let to = usize::try_from(*skip + *left)
                        .map_or(chunk.len(), |to| to.min(chunk.len()));
                    *skip = 0;
                    *left -= (to - from) as u64;
                    return Poll::Ready(Some(Ok(chunk.slice(from..to))));
                }
                Poll::Ready(None)
            }
            Kind::Growing(reader) => reader.poll_chunk(cx),
        }
    }

    /// Whether all of it is here, so that reading never waits.
    pub fn is_complete(&self) -> bool {
        match &self.0 {
            Kind::Empty | Kind::Stored { .. } => true,
            Kind::Growing(reader) => reader.is_complete(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn parts_of_chunks() {
        let chunks: Rc<[Bytes]> = ["abc", "d", "", "efgh"].map(Bytes::from).into();
        let whole = "abcdefgh";
        for from in 0..=8 {
            for to in from..=8 {
                let mut body = Body::stored(&chunks, from, to);
                let mut found = Vec::new();
                let mut cx = Context::from_waker(Waker::noop());
                while let Poll::Ready(Some(chunk)) = body.poll_chunk(&mut cx) {
                    let chunk = chunk.unwrap();
                    assert!(!chunk.is_empty());
                    found.extend_from_slice(&chunk);
                }
                let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
                assert_eq!(found, whole.as_bytes()[from..to]);
            }
        }
    }
}
