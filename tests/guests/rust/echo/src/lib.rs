//! Sends the request body back as it arrives, and the request's trailers after it.
//!
//! The bytes are spliced from one stream to the other by the host, so the guest's memory stays the same whatever the size.

#![no_std]

extern crate alloc;
extern crate scratch;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    Trailers,
};
use wasip2::io::streams::StreamError;

/// The most that one splice moves.
const SPLICE_BYTES_MAX: u64 = 64 * 1024;

/// Request headers that the response repeats.
const COPIED: [&str; 2] = ["content-type", "trailer"];

struct Echo;

wasip2::http::proxy::export!(Echo);

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let Ok(headers) = Fields::from_list(&copied(&request)) else {
            return;
        };
        let response = OutgoingResponse::new(headers);
        let (Ok(from), Ok(to)) = (request.consume(), response.body()) else {
            return;
        };
        ResponseOutparam::set(out, Ok(response));
        {
            let (Ok(source), Ok(sink)) = (from.stream(), to.write()) else {
                return;
            };
            loop {
                match sink.blocking_splice(&source, SPLICE_BYTES_MAX) {
                    Ok(_) => {}
                    Err(StreamError::Closed) => break,
                    // What is not finished, the host cuts off: the client must not take half a body for a whole one.
                    Err(StreamError::LastOperationFailed(_)) => return,
                }
            }
        }
        let _ = OutgoingBody::finish(to, trailers(from));
    }
}

fn copied(request: &IncomingRequest) -> Vec<(String, Vec<u8>)> {
    let headers = request.headers();
    let mut list = Vec::new();
    for name in COPIED {
        list.extend(
            headers
                .get(name)
                .into_iter()
                .map(|value| (name.to_owned(), value)),
        );
    }
    list
}

/// Waits for the end of the request. A copy is sent on, because what arrived is immutable and belongs to the request.
fn trailers(body: IncomingBody) -> Option<Trailers> {
    let arriving = IncomingBody::finish(body);
    arriving.subscribe().block();
    match arriving.get() {
        Some(Ok(Ok(Some(trailers)))) => Fields::from_list(&trailers.entries()).ok(),
        _ => None,
    }
}
