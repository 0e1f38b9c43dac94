//! A request body on its way from the connection to the guest, one frame at a time.
//!
//! ```text
//! socket ──► Reader ──► decoder ──► pump ──► one frame ──► guest
//!                                    ▲         wanted         │
//!                                    └────────────────────────┘
//! ```
//!
//! Nothing is read before the guest asks for it, so a slow guest slows its client down and not the
//! worker; and nobody is told `100 Continue` for a body that no guest wants.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use send_wrapper::SendWrapper;
use wasmtime_wasi_http::Error;

use crate::fault::Reason;
use crate::http::{BodyDecoder, Chunk};
use crate::worker::stream::{Gone, Reader};

/// What the guest's end and the connection's end of one body share.
#[derive(Debug, Default)]
pub struct Inbound {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    frame: Option<Frame<Bytes>>,
    ended: bool,
    failed: Option<Error>,
    wanted: bool,
    abandoned: bool,
    guest: Option<Waker>,
    pump: Option<Waker>,
}

impl State {
    fn wake_guest(&mut self) {
        if let Some(waker) = self.guest.take() {
            waker.wake();
        }
    }

    fn wake_pump(&mut self) {
        if let Some(waker) = self.pump.take() {
            waker.wake();
        }
    }
}

impl Inbound {
    /// Whether the guest has asked for the body.
    pub fn wanted(&self) -> bool {
        self.state.borrow().wanted
    }

    /// Ends the body with an error, if it has not ended.
    pub fn fail(&self, error: Error) {
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.failed = Some(error);
            state.wake_guest();
        }
    }

    /// Waits until the guest wants a frame. `false`: it never will again.
    pub(super) async fn demand(&self) -> bool {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.abandoned {
                Poll::Ready(false)
            } else if state.wanted && state.frame.is_none() {
                Poll::Ready(true)
            } else {
                state.pump = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Waits until the guest never wants a frame again.
    pub(super) async fn abandoned(&self) {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            if state.abandoned {
                return Poll::Ready(());
            }
            state.pump = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn push(&self, frame: Frame<Bytes>) {
        let mut state = self.state.borrow_mut();
        state.frame = Some(frame);
        state.wake_guest();
    }

    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        state.wake_guest();
    }
}

/// Moves the body from the connection to the guest until it ends or the guest lets go of it,
/// waiting no longer than `timeout` for the client and reading up to `read_bytes` at once.
///
/// # Errors
/// When the client breaks the rules or the connection: the request cannot go on.
pub async fn pump(
    reader: &mut Reader,
    decoder: &mut BodyDecoder,
    inbound: &Inbound,
    timeout: Duration,
    read_bytes: usize,
) -> Result<(), Reason> {
    while inbound.demand().await {
        loop {
            match decoder.decode(&mut reader.buf) {
                Ok(Chunk::Data(data)) => {
                    inbound.push(Frame::data(data));
                    break;
                }
                Ok(Chunk::End(trailers)) => {
                    if !trailers.is_empty() {
                        inbound.push(Frame::trailers(trailers));
                    }
                    inbound.end();
                    return Ok(());
                }
                Ok(Chunk::NeedMore) => {
                    if let Err(gone) = reader.fill_within(timeout, read_bytes).await {
                        inbound.fail(Error::ConnectionTerminated);
                        return Err(match gone {
                            Gone::Closed => Reason::ClientGone,
                            Gone::TimedOut => Reason::BodyTimeout,
                        });
                    }
                }
                Err(reason) => {
                    inbound.fail(Error::HttpProtocolError);
                    return Err(reason);
                }
            }
        }
    }
    Ok(())
}

/// The guest's end of a request body.
#[derive(Debug)]
pub struct RequestBody {
    inbound: SendWrapper<Rc<Inbound>>,
    length: Option<u64>,
}

impl RequestBody {
    /// A body of this length, if it is known.
    pub fn new(inbound: Rc<Inbound>, length: Option<u64>) -> Self {
        if length == Some(0) {
            inbound.end();
        }
        Self {
            inbound: SendWrapper::new(inbound),
            length,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = self.inbound.state.borrow_mut();
        if let Some(frame) = state.frame.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(error) = state.failed.take() {
            state.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        state.wanted = true;
        state.guest = Some(cx.waker().clone());
        state.wake_pump();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let state = self.inbound.state.borrow();
        state.ended && state.frame.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut state = self.inbound.state.borrow_mut();
        state.abandoned = true;
        state.wake_pump();
    }
}
