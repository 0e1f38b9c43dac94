//! Sending a response.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::{OutputStream, StreamError};

/// The pattern repeats after this many bytes: a prime, so that a piece lost or repeated shows.
const PATTERN_BYTES: usize = 251;

/// Sends a whole response of text.
pub fn text(out: ResponseOutparam, status: u16, text: &str) {
    let length = text.len().to_string();
    let body = start(
        out,
        status,
        &[("content-type", "text/plain"), ("content-length", &length)],
    );
    if write(&body, text.as_bytes()).is_ok() {
        let _ = OutgoingBody::finish(body, None);
    }
}

/// Sends the head; the body is to be written and finished. Where the host refuses the headers or the status, it is a 500
/// whose header `x-refused` says which.
pub fn start(out: ResponseOutparam, status: u16, headers: &[(&str, &str)]) -> OutgoingBody {
    let list: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    let response = Fields::from_list(&list).map_or_else(
        |_| refused("headers"),
        |fields| {
            let response = OutgoingResponse::new(fields);
            if response.set_status_code(status).is_ok() {
                response
            } else {
                refused("status")
            }
        },
    );
    let body = response.body().expect("the first body of a response");
    ResponseOutparam::set(out, Ok(response));
    body
}

fn refused(what: &str) -> OutgoingResponse {
    let fields = Fields::from_list(&[("x-refused".to_owned(), what.as_bytes().to_vec())]);
    let response = OutgoingResponse::new(fields.expect("a header that may be sent"));
    response
        .set_status_code(500)
        .expect("a status that may be sent");
    response
}

/// Writes bytes to a body that has no stream open.
pub fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    write_to(&body.write().expect("the first stream of a body"), bytes)
}

/// Writes bytes, as many at a time as the stream takes, waiting where it takes none.
pub fn write_to(stream: &OutputStream, mut bytes: &[u8]) -> Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = stream.check_write()?;
        if room == 0 {
            stream.subscribe().block();
            continue;
        }
        let (now, later) = bytes.split_at(bytes.len().min(room.try_into().unwrap_or(usize::MAX)));
        stream.write(now)?;
        bytes = later;
    }
    Ok(())
}

/// Writes `total` bytes of the pattern, `chunk` at a time, and finishes. Stops early when the client has gone.
pub fn pattern(body: OutgoingBody, total: u64, chunk: usize) {
    let bytes: Vec<u8> = (0..chunk + PATTERN_BYTES)
        .map(|at| (at % PATTERN_BYTES) as u8)
        .collect();
    let stream = body.write().expect("the first stream of a body");
    let mut sent = 0;
    while sent < total {
        let phase = (sent % PATTERN_BYTES as u64) as usize;
        let length = chunk.min((total - sent).try_into().unwrap_or(usize::MAX));
        if write_to(&stream, &bytes[phase..phase + length]).is_err() {
            return;
        }
        sent += length as u64;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
