//! One who reads the body of a flight.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::body::Aborted;
use super::flight::{Flight, Phase};

/// A place among the readers of a flight.
#[derive(Debug)]
pub(super) struct Reader {
    flight: Rc<Flight>,
    place: usize,
}

impl Reader {
    pub(super) fn new(flight: Rc<Flight>, place: usize) -> Self {
        Self { flight, place }
    }

    /// As [`Body::poll_chunk`](super::Body::poll_chunk).
    pub(super) fn poll_chunk(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        self.flight.poll_chunk(self.place, cx)
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.flight.phase(), Phase::Complete(_))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.stop_reading(self.place);
    }
}
