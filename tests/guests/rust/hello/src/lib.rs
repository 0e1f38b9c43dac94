//! Answers `Hello from skep`: the program that benchmarks serve.
//!
//! It makes ten host calls and none of them waits: the body fits what the stream takes at once, so `write` is used, and not
//! `blocking-write-and-flush`, which would suspend the guest until the host has taken the bytes.

#![no_std]

extern crate alloc;
extern crate scratch;

use alloc::borrow::ToOwned;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

const BODY: &[u8] = b"Hello from skep\n";
const BODY_LENGTH: &[u8] = b"16";

struct Hello;

wasip2::http::proxy::export!(Hello);

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let headers = Fields::from_list(&[
            ("content-type".to_owned(), b"text/plain".to_vec()),
            ("content-length".to_owned(), BODY_LENGTH.to_vec()),
        ]);
        let Ok(headers) = headers else { return };
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        {
            let Ok(stream) = body.write() else { return };
            let written = match stream.check_write() {
                Ok(room) if room >= BODY.len() as u64 => stream.write(BODY),
                Ok(_) => stream.blocking_write_and_flush(BODY),
                Err(error) => Err(error),
            };
            if written.is_err() {
                return;
            }
        }
        let _ = OutgoingBody::finish(body, None);
    }
}
