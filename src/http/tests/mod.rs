//! Tests by subject: what is refused, what is accepted, bodies, responses, and the invariants.

mod accepted;
mod bodies;
mod invariants;
mod limits;
mod refused;
mod responses;

use bytes::BytesMut;

use super::{HeadLimits, Parsed, RequestHead, parse_request};
use crate::fault::Reason;

/// Small enough to reach in a test.
const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1024,
    target_bytes_max: 128,
    headers_max: 8,
    body_bytes_max: 1000,
};

/// Parses a head that is all of `input` and complete if it is valid.
fn parse(input: &str) -> Result<RequestHead, Reason> {
    match parse_request(&mut BytesMut::from(input), &LIMITS)? {
        Parsed::Complete(head) => Ok(head),
        Parsed::Partial => panic!("incomplete: {input:?}"),
    }
}
