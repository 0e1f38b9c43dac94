//! The body of a request that may be sent more than once.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use send_wrapper::SendWrapper;
use wasmtime_wasi_http::{Error, WasiBody};

/// A body that outlives an attempt to send it: what no server has seen of it can go to the next one.
#[derive(Clone)]
pub struct Upload(SendWrapper<Rc<Shared>>);

struct Shared {
    body: RefCell<WasiBody>,
    /// Some of it was taken, or its end was seen.
    is_touched: Cell<bool>,
    was_empty: bool,
}

impl Upload {
    /// For a body that nothing was read of.
    pub fn new(body: WasiBody) -> Self {
        Self(SendWrapper::new(Rc::new(Shared {
            was_empty: body.is_end_stream(),
            body: RefCell::new(body),
            is_touched: Cell::new(false),
        })))
    }

    /// Whether nothing was sent: a body is looked at only once there is a connection.
    pub fn is_untouched(&self) -> bool {
        !self.0.is_touched.get()
    }

    /// Whether there never was any.
    pub fn was_empty(&self) -> bool {
        self.0.was_empty
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.is_touched.set(true);
        Pin::new(&mut *self.0.body.borrow_mut()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body.borrow().size_hint()
    }
}
