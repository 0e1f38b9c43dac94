//! Executes `unreachable` as soon as a request arrives.

#![no_std]

extern crate scratch;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Trap;

wasip2::http::proxy::export!(Trap);

impl Guest for Trap {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {
        core::arch::wasm32::unreachable()
    }
}
