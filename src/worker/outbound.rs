//! A guest's response on its way to the client.
//!
//! Whatever of the body is there when the head is about to be written goes out with it, in one
//! write. When that is all of it, its length is known: no chunking, whatever the guest declared.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::Body;
use wasmtime_wasi_http::WasiBody;

use crate::config::Compat;
use crate::fault::Reason;
use crate::guest::Response;
use crate::http::{self as codec, ResponseFraming, Version};
use crate::worker::inbound::Inbound;
use crate::worker::stream::{Gone, Writer};

/// What the request says about how to answer it.
#[derive(Debug)]
pub struct Asked {
    /// Whose host's answers its faults have.
    pub compat: Compat,
    /// The request's method: HEAD has no body.
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// Whether the client wants the connection to stay open.
    pub keep_alive: bool,
    /// The date to send.
    pub date: [u8; 29],
    /// Body bytes gathered before a write.
    pub gather_bytes: usize,
    /// The longest wait for the client to take bytes.
    pub timeout: Duration,
}

/// How far an answer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The status that was sent.
    pub status: StatusCode,
    /// Body bytes that were sent.
    pub bytes: u64,
    /// Whether the connection can serve another request.
    pub keep_alive: bool,
    /// Whether the end of the connection is the end of the body.
    pub until_close: bool,
    /// What went wrong after the head was sent.
    pub broken: Option<Reason>,
}

/// How a round of gathering body frames ended.
pub(super) enum Gathered {
    /// The guest has not written more yet.
    Waiting,
    /// There is enough for a write.
    Full,
    /// The body is complete.
    Ended(Option<HeaderMap>),
    /// The guest gave the body up.
    Aborted,
}

/// Takes the frames that are there, up to `limit` bytes.
pub(super) fn gather(
    body: &mut WasiBody,
    cx: &mut Context<'_>,
    frames: &mut Vec<Bytes>,
    limit: usize,
) -> Gathered {
    let mut bytes = frames.iter().map(Bytes::len).sum::<usize>();
    while bytes < limit {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => return Gathered::Waiting,
            Poll::Ready(None) => return Gathered::Ended(None),
            Poll::Ready(Some(Err(_))) => return Gathered::Aborted,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    bytes += data.len();
                    frames.push(data);
                }
                Err(frame) => return Gathered::Ended(frame.into_trailers().ok()),
            },
        }
    }
    Gathered::Full
}

/// Sends a guest's response. `begun` says how far it got, for whoever drops the future midway; it is
/// `None` until the head goes out.
///
/// `expecting` is the request's body when its client waits for `100 Continue`. Where the response's
/// body is made from it, the client is told now: once the head is out, nobody can. A client that was
/// never told may send its body all the same or leave it out: what follows the answer could be
/// either, so the connection is not used again (RFC 9110 §10.1.1).
///
/// # Errors
/// [`Reason::BadResponse`] when nothing was sent because the response cannot be; everything that
/// goes wrong later is in [`Sent::broken`].
pub async fn send(
    writer: &mut Writer,
    response: Response,
    asked: &Asked,
    expecting: Option<&Inbound>,
    begun: &Cell<Option<Sent>>,
) -> Result<Sent, Reason> {
    let (parts, mut body) = response.into_parts();
    if parts.status.is_informational() {
        return Err(Reason::BadResponse);
    }
    let declared = declared_length(&parts.headers)?;
    let mut frames = Vec::new();
    let first =
        poll_fn(|cx| Poll::Ready(gather(&mut body, cx, &mut frames, asked.gather_bytes))).await;
    let gathered = frames.iter().map(|f| f.len() as u64).sum::<u64>();
    let known = match &first {
        Gathered::Aborted => return Err(Reason::BadResponse),
        Gathered::Ended(_) if asked.method == Method::HEAD => declared.or(Some(gathered)),
        // What it says of a length is about another answer (RFC 9110 §8.6).
        Gathered::Ended(_) if has_no_body(parts.status) => None,
        Gathered::Ended(None) => {
            if declared.is_some_and(|declared| declared != gathered) {
                return Err(Reason::BadResponse);
            }
            Some(gathered)
        }
        // Trailers need chunks.
        Gathered::Ended(Some(_)) => None,
        Gathered::Waiting | Gathered::Full => declared,
    };
    let wanted = expecting.is_some_and(Inbound::wanted);
    if wanted {
        writer.out.extend_from_slice(codec::CONTINUE_100);
    }
    if asked.method != Method::HEAD && declared.is_some_and(|declared| declared < gathered) {
        return Err(Reason::BadResponse);
    }
    let (framing, keep_alive) = codec::choose_framing(
        asked.version,
        &asked.method,
        parts.status,
        known,
        asked.keep_alive && (wanted || expecting.is_none()),
    );
    codec::encode_head(
        &mut writer.out,
        asked.version,
        parts.status,
        &parts.headers,
        framing,
        keep_alive,
        &asked.date,
    );
    let until_close = framing == ResponseFraming::UntilClose;
    begun.set(Some(Sent {
        status: parts.status,
        bytes: 0,
        keep_alive: false,
        until_close,
        broken: None,
    }));
    let mut out = BodyWriter {
        writer,
        framing,
        dropped: !framing.has_body(),
        sent: 0,
        begun,
        timeout: asked.timeout,
    };
    let broken = out
        .body(first, frames, &mut body, asked.gather_bytes)
        .await
        .err();
    Ok(Sent {
        status: parts.status,
        bytes: out.sent,
        keep_alive: keep_alive && broken.is_none(),
        until_close,
        broken,
    })
}

/// Whether answers of this status end with their head.
fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The guest's `content-length`, which the stock host has already found to be a number.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    match headers.get(header::CONTENT_LENGTH) {
        None => Ok(None),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or(Reason::BadResponse),
    }
}

struct BodyWriter<'a> {
    writer: &'a mut Writer,
    framing: ResponseFraming,
    /// The guest's body goes nowhere: the answer has none.
    dropped: bool,
    sent: u64,
    begun: &'a Cell<Option<Sent>>,
    timeout: Duration,
}

impl BodyWriter<'_> {
    async fn body(
        &mut self,
        mut gathered: Gathered,
        mut frames: Vec<Bytes>,
        body: &mut WasiBody,
        gather_bytes: usize,
    ) -> Result<(), Reason> {
        loop {
            for frame in frames.drain(..) {
                self.append(&frame)?;
            }
            match gathered {
                Gathered::Ended(trailers) => {
                    self.end(trailers.as_ref())?;
                    return self.flush().await;
                }
                Gathered::Aborted => {
                    self.flush().await?;
                    return Err(Reason::BadResponse);
                }
                Gathered::Waiting | Gathered::Full => self.flush().await?,
            }
            gathered = poll_fn(|cx| {
                let round = gather(body, cx, &mut frames, gather_bytes);
                if matches!(round, Gathered::Waiting) && frames.is_empty() {
                    Poll::Pending
                } else {
                    Poll::Ready(round)
                }
            })
            .await;
        }
    }

    fn append(&mut self, data: &[u8]) -> Result<(), Reason> {
        if self.dropped || data.is_empty() {
            return Ok(());
        }
        self.sent += data.len() as u64;
        match self.framing {
            ResponseFraming::Length(length) if self.sent > length => Err(Reason::BadResponse),
            ResponseFraming::Chunked => {
                codec::encode_chunk(&mut self.writer.out, data);
                Ok(())
            }
            _ => {
                self.writer.out.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Reason> {
        match self.framing {
            _ if self.dropped => Ok(()),
            ResponseFraming::Length(length) if self.sent != length => Err(Reason::BadResponse),
            ResponseFraming::Chunked => {
                codec::encode_last_chunk(&mut self.writer.out, trailers);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Reason> {
        self.writer
            .flush(self.timeout)
            .await
            .map_err(|gone| match gone {
                Gone::Closed => Reason::ClientGone,
                Gone::TimedOut => Reason::BodyTimeout,
            })?;
        let bytes = self.sent;
        let begun = self.begun.get();
        self.begun.set(begun.map(|sent| Sent { bytes, ..sent }));
        Ok(())
    }
}
