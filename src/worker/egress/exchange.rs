//! One request of a guest to others, and its answer.
//!
//! ```text
//! connection ─┬─► head, body ──────────────────────────────►┐ (goes on while the answer comes)
//!             └─► answer's head ─► guest ─► body, frame by frame ─► pool, if both are complete
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_channel::oneshot;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Uri, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use monoio::net::TcpStream;
use rustls::pki_types::ServerName;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::pool::Connection;
use super::{Client, Patience, Places, Terms, error};
use crate::config::{Destination, Scheme, limits};
use crate::control::Dial;
use crate::guest::Answered;
use crate::http::{
    self as codec, AnswerHead, AnswerLength, BodyDecoder, BodyLength, Chunk, RequestFraming,
};
use crate::worker::inbound::{Inbound, RequestBody};
use crate::worker::outbound::{Gathered, gather};
use crate::worker::runtime::within;
use crate::worker::stream::{Gone, Reader, Writer, secure, split};
use crate::worker::tls::Tls;

/// Sends a request and passes the answer on; ends when nobody wants it any more. Its places are taken
/// until then.
pub(super) async fn exchange(
    client: Rc<Client>,
    request: http::Request<WasiBody>,
    terms: Terms,
    respond: oneshot::Sender<Answered>,
    _places: Places,
) {
    let (parts, body) = request.into_parts();
    let mut respond = Some(respond);
    let to = match terms.to {
        Some(to) => Ok(to),
        None => destination(&parts).and_then(with_host),
    };
    let result = match to {
        Err(code) => Err(code),
        Ok((destination, host)) => {
            let call = Call {
                client: &client,
                parts,
                destination,
                host,
                patience: terms.patience,
                bytes_left: &terms.bytes_left,
            };
            call.run(body, &mut respond).await
        }
    };
    if let (Err(code), Some(respond)) = (result, respond.take()) {
        // Whoever asked may be gone.
        let _ = respond.send(Err(code));
    }
}

/// Where a request goes.
fn destination(parts: &Parts) -> Result<Destination, ErrorCode> {
    let invalid = || ErrorCode::HttpRequestUriInvalid;
    let scheme = match parts.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(ErrorCode::HttpProtocolError),
    };
    let authority = parts.uri.authority().ok_or_else(invalid)?;
    // What stands before an `@` would be a credential in a place for none.
    if authority.as_str().contains('@') || parts.method == Method::CONNECT {
        return Err(invalid());
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host.len() > limits::HOST_BYTES_MAX {
        return Err(invalid());
    }
    let said = authority.as_str().strip_prefix(authority.host());
    let port = match (said, authority.port_u16()) {
        (Some(""), None) => scheme.default_port(),
        (_, Some(port @ 1..)) => port,
        _ => return Err(invalid()),
    };
    Ok(Destination { scheme, host, port })
}

/// A destination, and the `Host` of its own.
fn with_host(to: Destination) -> Result<(Rc<Destination>, HeaderValue), ErrorCode> {
    let host = HeaderValue::try_from(to.authority());
    let host = host.map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    Ok((Rc::new(to), host))
}

/// The target in origin-form, or in asterisk-form where it is one (RFC 9112 §3.2).
fn target<'u>(method: &Method, uri: &'u Uri) -> Cow<'u, str> {
    match uri.path_and_query().map_or("/", |target| target.as_str()) {
        target if target.starts_with('/') => target.into(),
        "*" if method == Method::OPTIONS => "*".into(),
        query => format!("/{query}").into(),
    }
}

/// No body.
fn nothing() -> WasiBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request under way.
struct Call<'c> {
    client: &'c Rc<Client>,
    parts: Parts,
    destination: Rc<Destination>,
    host: HeaderValue,
    patience: Patience,
    bytes_left: &'c Cell<u64>,
}

/// Takes the answer, once; `None` afterwards.
type Respond = Option<oneshot::Sender<Answered>>;

/// Why a request was not answered.
enum Failed {
    /// The connection was kept alive and is gone, before a byte of the answer came.
    Stale,
    /// Nobody wants the answer any more.
    Unwanted,
    /// For good.
    Code(ErrorCode),
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl Call<'_> {
    /// Sends the request. A connection that was kept alive may have been closed meanwhile: then once
    /// more on a new one, where that does no harm (RFC 9110 §9.2.2).
    async fn run(&self, body: WasiBody, respond: &mut Respond) -> Result<(), ErrorCode> {
        let repeatable = self.parts.method.is_idempotent() && body.is_end_stream();
        let mut body = body;
        if let Some(connection) = self.client.pool.take(&self.destination) {
            // One that is sent again is none.
            let once = std::mem::replace(&mut body, nothing());
            match self.converse(connection, once, respond).await {
                Err(Failed::Stale) if repeatable => {}
                result => return settle(result),
            }
        }
        // On the heap, so that the future of a request on a kept connection is not as large.
        let connected = wanted(respond, Box::pin(self.connect()).as_mut()).await;
        let Some(connection) = connected else {
            return Ok(());
        };
        settle(self.converse(connection?, body, respond).await)
    }

    async fn connect(&self) -> Result<Connection, ErrorCode> {
        let connect = async {
            let Destination { scheme, host, port } = (*self.destination).clone();
            let dial = Dial {
                id: 0,
                tenant: self.client.caller.clone(),
                scheme,
                host,
                port,
                timeout_ms: self.patience.connect.as_millis() as u64,
            };
            let fd = self.client.network.dialler.dial(dial).await;
            let fd = fd.map_err(error::dial)?;
            let stream = TcpStream::from_std(std::net::TcpStream::from(fd));
            let stream = stream.map_err(|_| ErrorCode::DestinationUnavailable)?;
            let (reader, writer) = split(stream, BytesMut::new());
            match self.destination.scheme {
                Scheme::Http => Ok(Connection { reader, writer }),
                Scheme::Https => self.secure(reader, writer).await,
            }
        };
        let connected = within(self.patience.connect, connect).await;
        connected.unwrap_or(Err(ErrorCode::ConnectionTimeout))
    }

    async fn secure(&self, reader: Reader, writer: Writer) -> Result<Connection, ErrorCode> {
        let host = &self.destination.host;
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => {
                ServerName::try_from(host.clone()).map_err(|_| ErrorCode::HttpRequestUriInvalid)?
            }
        };
        let tls = self
            .client
            .tls_config()
            .and_then(|config| Tls::new(config, name))
            .map_err(|_| ErrorCode::TlsProtocolError)?;
        let (reader, writer) = secure(reader, writer, tls)
            .await
            .map_err(|failed| error::tls(&failed))?;
        Ok(Connection { reader, writer })
    }

    /// One request and its answer on a connection, which is kept if another can follow.
    async fn converse(
        &self,
        connection: Connection,
        body: WasiBody,
        respond: &mut Respond,
    ) -> Result<(), Failed> {
        let Connection {
            mut reader,
            mut writer,
        } = connection;
        let (answer, is_complete) = {
            let mut upload = Uploading {
                future: pin!(self.upload(&mut writer, body)),
                result: None,
            };
            let answer = self.head(&mut reader, &mut upload, respond).await?;
            let inbound = Rc::new(Inbound::default());
            self.respond(&answer, &inbound, respond)?;
            let mut download = pin!(self.download(&mut reader, answer.body, &inbound));
            let is_complete = poll_fn(|cx| {
                // A guest that is gone has not finished its request: that is seen first.
                let downloaded = download.as_mut().poll(cx);
                if downloaded.is_pending()
                    && let Some(code) = upload.poll(cx)
                {
                    inbound.fail(code.into());
                    return Poll::Ready(false);
                }
                downloaded
            });
            (answer.keep_alive, is_complete.await && upload.is_sent())
        };
        if answer && is_complete && reader.is_read_up() {
            let connection = Connection { reader, writer };
            self.client.pool.put(&self.destination, connection);
        }
        Ok(())
    }

    /// Waits for the head of the answer, sending meanwhile.
    async fn head<F>(
        &self,
        reader: &mut Reader,
        upload: &mut Uploading<'_, F>,
        respond: &mut Respond,
    ) -> Result<AnswerHead, Failed>
    where
        F: Future<Output = Result<(), Option<ErrorCode>>>,
    {
        let mut head = pin!(read_head(reader, &self.parts.method));
        let mut timer = None;
        let waiting = poll_fn(|cx| {
            if let Some(code) = upload.poll(cx) {
                return Poll::Ready(Err(code.into()));
            }
            if let Poll::Ready(head) = head.as_mut().poll(cx) {
                return Poll::Ready(head);
            }
            if !upload.is_over() {
                return Poll::Pending;
            }
            let first_byte = || Box::pin(monoio::time::sleep(self.patience.first_byte));
            let timer = timer.get_or_insert_with(first_byte).as_mut();
            let timed_out = |()| Err(ErrorCode::ConnectionReadTimeout.into());
            timer.poll(cx).map(timed_out)
        });
        wanted(respond, pin!(waiting))
            .await
            .unwrap_or(Err(Failed::Unwanted))
    }

    /// Gives the guest the answer, whose body is still to come.
    fn respond(
        &self,
        answer: &AnswerHead,
        inbound: &Rc<Inbound>,
        respond: &mut Respond,
    ) -> Result<(), Failed> {
        let length = match answer.body {
            AnswerLength::Marked(BodyLength::None) => Some(0),
            AnswerLength::Marked(BodyLength::Length(length)) => Some(length),
            AnswerLength::Marked(BodyLength::Chunked) | AnswerLength::UntilClose => None,
        };
        if length.is_some_and(|length| length > self.bytes_left.get()) {
            return Err(ErrorCode::HttpResponseBodySize(length).into());
        }
        let body = RequestBody::new(Rc::clone(inbound), length);
        let mut response = http::Response::new(body.boxed_unsync());
        *response.status_mut() = answer.status;
        // Values of their own: those of the answer keep the whole buffer that it was read into.
        for (name, value) in &answer.headers {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                response.headers_mut().append(name.clone(), value);
            }
        }
        let respond = respond.take().ok_or(Failed::Unwanted)?;
        respond.send(Ok(response)).map_err(|_| Failed::Unwanted)
    }

    /// Moves the answer's body to the guest, as it asks for it; whether all of it was taken and marked,
    /// so that another answer can follow.
    async fn download(&self, reader: &mut Reader, length: AnswerLength, inbound: &Inbound) -> bool {
        let mut decoder = match length {
            AnswerLength::UntilClose => None,
            AnswerLength::Marked(length) => Some(BodyDecoder::new(length, self.bytes_left.get())),
        };
        let is_over =
            |decoder: &Option<BodyDecoder>| decoder.as_ref().is_some_and(BodyDecoder::is_end);
        while !is_over(&decoder) && inbound.demand().await {
            let mut abandoned = pin!(inbound.abandoned());
            let mut frame = pin!(self.frame(reader, decoder.as_mut()));
            let frame = poll_fn(|cx| match frame.as_mut().poll(cx) {
                Poll::Pending => abandoned.as_mut().poll(cx).map(|()| None),
                ready => ready.map(Some),
            });
            match frame.await {
                None => return false,
                Some(Ok(Some(frame))) => inbound.push(frame),
                Some(Ok(None)) => break,
                Some(Err(code)) => {
                    inbound.fail(code.into());
                    return false;
                }
            }
        }
        inbound.end();
        is_over(&decoder)
    }

    /// The next frame of the answer's body; `None` at its end. A body without a decoder ends with the
    /// connection.
    async fn frame(
        &self,
        reader: &mut Reader,
        mut decoder: Option<&mut BodyDecoder>,
    ) -> Result<Option<Frame<Bytes>>, ErrorCode> {
        loop {
            let chunk = match &mut decoder {
                Some(decoder) => decoder.decode(&mut reader.buf).map_err(error::body)?,
                None if reader.buf.is_empty() => Chunk::NeedMore,
                None => Chunk::Data(reader.buf.split().freeze()),
            };
            match chunk {
                Chunk::Data(data) => {
                    let spent = spend(self.bytes_left, data.len());
                    spent.ok_or(ErrorCode::HttpResponseBodySize(None))?;
                    return Ok(Some(Frame::data(data)));
                }
                Chunk::End(trailers) if trailers.is_empty() => return Ok(None),
                Chunk::End(trailers) => return Ok(Some(Frame::trailers(trailers))),
                Chunk::NeedMore => {}
            }
            let fill = reader.fill(limits::EGRESS_READ_BYTES);
            match within(self.patience.between_bytes, fill).await {
                None => return Err(ErrorCode::ConnectionReadTimeout),
                Some(Ok(0)) if decoder.is_none() => return Ok(None),
                Some(Ok(0) | Err(_)) => return Err(ErrorCode::HttpResponseIncomplete),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Sends head and body. `Err(None)`: the other side takes no more, and may have said why. Whoever
    /// makes the body learns then that nobody wants it.
    async fn upload(
        &self,
        writer: &mut Writer,
        mut body: WasiBody,
    ) -> Result<(), Option<ErrorCode>> {
        let body = &mut body;
        let wrong_size = |bytes| Some(ErrorCode::HttpRequestBodySize(Some(bytes)));
        let mut frames = Vec::new();
        let mut round =
            poll_fn(|cx| Poll::Ready(gather(body, cx, &mut frames, GATHER_BYTES))).await;
        let gathered = frames.iter().map(|frame| frame.len() as u64).sum();
        let declared = self.parts.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse().ok());
        let known = match &round {
            Gathered::Ended(None) => Some(gathered),
            // Trailers need chunks.
            Gathered::Ended(Some(_)) => None,
            Gathered::Waiting | Gathered::Full | Gathered::Aborted => declared,
        };
        if known.is_some() && declared.is_some() && known != declared {
            return Err(wrong_size(gathered));
        }
        let framing = codec::request_framing(&self.parts.method, known);
        codec::encode_request(
            &mut writer.out,
            &self.parts.method,
            &target(&self.parts.method, &self.parts.uri),
            self.host.as_bytes(),
            &self.parts.headers,
            framing,
        );
        let mut sent = 0;
        loop {
            // Guests write nothing at all, too: a frame without bytes is no chunk and no body.
            for frame in frames.drain(..).filter(|frame| !frame.is_empty()) {
                sent += frame.len() as u64;
                spend(self.bytes_left, frame.len()).ok_or_else(|| wrong_size(sent))?;
                match framing {
                    RequestFraming::Chunked => codec::encode_chunk(&mut writer.out, &frame),
                    RequestFraming::Length(length) if sent <= length => {
                        writer.out.extend_from_slice(&frame);
                    }
                    _ => return Err(wrong_size(sent)),
                }
            }
            match &round {
                Gathered::Aborted => {
                    let why = "the program gave its request's body up".to_owned();
                    return Err(Some(ErrorCode::InternalError(Some(why))));
                }
                Gathered::Ended(trailers) => {
                    match framing {
                        RequestFraming::Chunked => {
                            codec::encode_last_chunk(&mut writer.out, trailers.as_ref());
                        }
                        RequestFraming::Length(length) if sent != length => {
                            return Err(wrong_size(sent));
                        }
                        _ => {}
                    }
                    return self.flush(writer).await;
                }
                Gathered::Waiting | Gathered::Full => self.flush(writer).await?,
            }
            round = poll_fn(|cx| {
                let round = gather(body, cx, &mut frames, GATHER_BYTES);
                match matches!(round, Gathered::Waiting) && frames.is_empty() {
                    true => Poll::Pending,
                    false => Poll::Ready(round),
                }
            })
            .await;
        }
    }

    async fn flush(&self, writer: &mut Writer) -> Result<(), Option<ErrorCode>> {
        let flushed = writer.flush(self.patience.between_bytes).await;
        flushed.map_err(|gone| match gone {
            Gone::Closed => None,
            Gone::TimedOut => Some(ErrorCode::ConnectionWriteTimeout),
        })
    }
}

/// Body bytes gathered before a write.
const GATHER_BYTES: usize = limits::GUEST_BODY_CHUNK_BYTES;

/// A request's body on its way, polled beside its answer.
struct Uploading<'u, F> {
    future: Pin<&'u mut F>,
    result: Option<Result<(), Option<ErrorCode>>>,
}

impl<F: Future<Output = Result<(), Option<ErrorCode>>>> Uploading<'_, F> {
    /// Goes on; gives what ends the whole exchange, once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<ErrorCode> {
        if self.result.is_none()
            && let Poll::Ready(result) = self.future.as_mut().poll(cx)
        {
            self.result = Some(result);
        }
        match &mut self.result {
            Some(Err(code)) => code.take(),
            _ => None,
        }
    }

    /// Whether nothing more will be sent.
    fn is_over(&self) -> bool {
        self.result.is_some()
    }

    /// Whether everything was.
    fn is_sent(&self) -> bool {
        matches!(self.result, Some(Ok(())))
    }
}

/// Reads the head of an answer.
async fn read_head(reader: &mut Reader, method: &Method) -> Result<AnswerHead, Failed> {
    let mut is_first = true;
    loop {
        let parsed = codec::parse_answer(&mut reader.buf, method, limits::EGRESS_HEAD_BYTES_MAX);
        if let Some(head) = parsed.map_err(error::head)? {
            return Ok(head);
        }
        match reader.fill(limits::EGRESS_READ_BYTES).await {
            Ok(1..) => is_first = false,
            Ok(0) | Err(_) if is_first => return Err(Failed::Stale),
            Ok(0) | Err(_) => return Err(ErrorCode::HttpResponseIncomplete.into()),
        }
    }
}

/// What a future gives, unless the answer is not wanted any more before.
async fn wanted<T>(
    respond: &mut Respond,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    poll_fn(|cx| {
        if let Some(respond) = respond
            && respond.poll_canceled(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

fn settle(result: Result<(), Failed>) -> Result<(), ErrorCode> {
    match result {
        Ok(()) | Err(Failed::Unwanted) => Ok(()),
        Err(Failed::Stale) => Err(ErrorCode::ConnectionTerminated),
        Err(Failed::Code(code)) => Err(code),
    }
}

/// Takes body bytes off what is left; `None` where there are not as many.
fn spend(left: &Cell<u64>, bytes: usize) -> Option<()> {
    left.set(left.get().checked_sub(bytes as u64)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, uri: &str) -> Result<Destination, ErrorCode> {
        let request = http::Request::builder().method(method).uri(uri).body(());
        destination(&request.unwrap().into_parts().0)
    }

    #[test]
    fn where_requests_go() {
        for (uri, scheme, host, port) in [
            ("http://a.test/x", Scheme::Http, "a.test", 80),
            ("https://A.Test./x", Scheme::Https, "a.test", 443),
            ("https://a.test:8443", Scheme::Https, "a.test", 8443),
            ("http://127.0.0.1:81/", Scheme::Http, "127.0.0.1", 81),
            ("http://[::1]:81/", Scheme::Http, "::1", 81),
        ] {
            let expected = Destination {
                scheme,
                host: host.to_owned(),
                port,
            };
            assert_eq!(parse("GET", uri).ok(), Some(expected), "{uri}");
        }
        for (method, uri) in [
            ("GET", "http://user:secret@a.test/"),
            ("GET", "http://a.test:0/"),
            ("GET", "http://a.test:/"),
            ("GET", "http://a.test:99999/"),
            ("GET", "http://./"),
            ("CONNECT", "http://a.test/"),
            ("GET", "ftp://a.test/"),
        ] {
            assert!(parse(method, uri).is_err(), "{method} {uri}");
        }
    }
}
