//! Answers the value of the environment variable `NAME`: shows which tenant a request was routed to.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct TenantName;

wasip2::http::proxy::export!(TenantName);

impl Guest for TenantName {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let name = std::env::var("NAME").unwrap_or_else(|_| "NAME is not set".to_owned());
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first body of a response");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first stream of a body");
        for piece in name.as_bytes().chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                return;
            }
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}
