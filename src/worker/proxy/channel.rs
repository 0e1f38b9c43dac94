//! A body whose pieces another part of the request makes: a filter, or a copy for the cache.

use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::worker::inbound::{Inbound, RequestBody};

/// The end of a body that is written to.
pub struct BodySender(Rc<Inbound>);

/// Makes a body, and the end that it is written to.
pub fn channel() -> (BodySender, WasiBody) {
    let shared = Rc::new(Inbound::default());
    let body = RequestBody::new(Rc::clone(&shared), None);
    (BodySender(shared), body.boxed_unsync())
}

impl BodySender {
    /// Waits until the reader wants more. `false`: it never will again.
    pub async fn is_wanted(&self) -> bool {
        self.0.demand().await
    }

    /// Gives the reader a piece. Only when it is wanted, and only one at a time.
    pub fn send(&self, piece: Bytes) {
        self.0.push(Frame::data(piece));
    }

    /// Ends the body.
    pub fn end(&self, trailers: Option<HeaderMap>) {
        if let Some(trailers) = trailers {
            self.0.push(Frame::trailers(trailers));
        }
        self.0.end();
    }

    /// Ends it so that nobody takes that for its end.
    pub fn fail(&self) {
        self.0.fail(Error::ConnectionTerminated);
    }
}

/// Dropped without an end, it has failed: after an end, that changes nothing.
impl Drop for BodySender {
    fn drop(&mut self) {
        self.fail();
    }
}
