//! The stream: going on, ending it, answering, and calls to others.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::maps::read_pairs;
use crate::guest::filter::calls::request;
use crate::guest::filter::headers;
use crate::guest::filter::memory::Guest;
use crate::guest::filter::status::{Answer, Status, TooMuch};

/// The highest number of a stream: request, response, downstream, upstream.
const STREAM_MAX: u32 = 3;

pub(super) fn continue_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    let active = guest.active();
    let is_response = active.phase.is_some_and(|phase| phase.is_response());
    match (stream, is_response) {
        (0 | 2, false) | (1 | 3, true) => active.resumed = true,
        (0..=STREAM_MAX, _) => {}
        _ => return Err(Status::BadArgument.into()),
    }
    Ok(())
}

pub(super) fn close_stream(guest: &mut Guest<'_>, stream: u32) -> Answer {
    if stream > STREAM_MAX {
        return Err(Status::BadArgument.into());
    }
    guest.active().closed = true;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_length: u32,
    body: u32,
    body_length: u32,
    pairs: u32,
    pairs_length: u32,
    grpc_status: i32,
) -> Answer {
    guest.check(details, details_length)?;
    let status = u16::try_from(status).ok().filter(|status| *status >= 200);
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or(Status::BadArgument)?;
    let max = guest.peek().grants.whole_body_bytes;
    guest.check(body, body_length)?;
    if body_length as usize > max {
        return Err(TooMuch {
            what: "the body of an answer",
            max,
            unit: "bytes",
        }
        .into());
    }
    let body = guest.read(body, body_length)?;
    let pairs = read_pairs(guest, pairs, pairs_length)?;
    let mut map = headers::parse(&pairs, |_, _| None)?;
    if grpc_status >= 0 {
        map.insert("grpc-status", HeaderValue::from(grpc_status));
    }
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = map;
    // The first one counts.
    guest.active().answer.get_or_insert(answer);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn http_call(
    guest: &mut Guest<'_>,
    upstream: u32,
    upstream_length: u32,
    pairs: u32,
    pairs_length: u32,
    body: u32,
    body_length: u32,
    trailers: u32,
    trailers_length: u32,
    timeout_ms: u32,
    token: u32,
) -> Answer {
    guest.check(token, 4)?;
    // They are not sent: who is called is told by HTTP/1.1 and a length.
    guest.check(trailers, trailers_length)?;
    let upstream = guest.name(
        upstream,
        upstream_length,
        crate::config::limits::HOST_BYTES_MAX + 6,
    )?;
    let pairs = read_pairs(guest, pairs, pairs_length)?;
    let body = guest.read(body, body_length)?;
    let state = guest.state();
    let bytes = pairs.len() + body.len();
    state
        .host_memory
        .take(bytes)
        .map_err(wasmtime::Error::new)?;
    let default = std::mem::take(&mut state.filter().exchange.upstream);
    let request = request([&upstream, &default], &pairs, body);
    state.filter().exchange.upstream = default;
    let number = state.call_out(request?, timeout_ms)?;
    guest.write_u32(token, number)
}
