//! A guest's standard output and error: lines of the tenant's log, bounded.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use send_wrapper::SendWrapper;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::RequestId;
use crate::config::limits;

/// Which of the two streams a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As it stands in a log line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Takes a tenant's log lines.
pub trait LineSink {
    /// One line of a request, without its line feed.
    fn line(&self, request: RequestId, stream: Stream, line: &[u8]);
    /// This many bytes were dropped because the request had written its share.
    fn dropped(&self, request: RequestId, bytes: usize);
}

/// Both streams of one request.
pub(super) struct Output {
    shared: SendWrapper<Rc<Shared>>,
}

impl Output {
    pub(super) fn new(
        (sink, request): (Rc<dyn LineSink>, RequestId),
        line_bytes: usize,
        request_bytes: usize,
    ) -> Self {
        let lines = Lines {
            stdout: Vec::new(),
            stderr: Vec::new(),
            line_bytes,
            bytes_left: request_bytes,
            dropped: 0,
        };
        Self {
            shared: SendWrapper::new(Rc::new(Shared {
                sink,
                request,
                lines: RefCell::new(lines),
            })),
        }
    }

    /// Writes; what is over the limit is dropped.
    pub(super) fn write(&self, stream: Stream, bytes: &[u8]) {
        self.shared.write(stream, bytes);
    }

    /// Bytes that may still be written.
    pub(super) fn bytes_left(&self) -> usize {
        self.shared.lines.borrow().bytes_left
    }

    pub(super) fn stream(&self, stream: Stream) -> LogStream {
        LogStream {
            stream,
            shared: self.shared.clone(),
        }
    }
}

struct Shared {
    sink: Rc<dyn LineSink>,
    request: RequestId,
    lines: RefCell<Lines>,
}

/// The unfinished line of each stream, and what may still be written.
struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    line_bytes: usize,
    bytes_left: usize,
    dropped: usize,
}

impl Shared {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        let lines = &mut *self.lines.borrow_mut();
        let line = match stream {
            Stream::Stdout => &mut lines.stdout,
            Stream::Stderr => &mut lines.stderr,
        };
        let mut rest = bytes;
        while !rest.is_empty() && lines.bytes_left > 0 {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let (part, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            let taken = part.len().min(lines.bytes_left);
            lines.bytes_left -= taken;
            lines.dropped += part.len() - taken;
            let room = lines.line_bytes.saturating_sub(line.len());
            line.extend_from_slice(&part[..taken.min(room)]);
            if end.is_some() {
                self.sink.line(self.request, stream, line);
                line.clear();
                let overhead = limits::LOG_LINE_OVERHEAD_BYTES;
                lines.bytes_left = lines.bytes_left.saturating_sub(overhead);
            }
            rest = after;
        }
        lines.dropped += rest.len();
    }
}

impl Drop for Shared {
    /// A last line without a line feed is a line too.
    fn drop(&mut self) {
        let lines = self.lines.get_mut();
        for (stream, line) in [
            (Stream::Stdout, &lines.stdout),
            (Stream::Stderr, &lines.stderr),
        ] {
            if !line.is_empty() {
                self.sink.line(self.request, stream, line);
            }
        }
        if lines.dropped > 0 {
            self.sink.dropped(self.request, lines.dropped);
        }
    }
}

/// One stream, as WASI wants it. Writing never waits: what is over the limit is dropped.
pub(super) struct LogStream {
    stream: Stream,
    shared: SendWrapper<Rc<Shared>>,
}

impl LogStream {
    fn again(&self) -> Self {
        Self {
            stream: self.stream,
            shared: self.shared.clone(),
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.again())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.again())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.shared.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(limits::GUEST_STDIO_CHUNK_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let taken = &bytes[..bytes.len().min(limits::GUEST_STDIO_CHUNK_BYTES)];
        self.shared.write(self.stream, taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::RequestIds;

    #[derive(Default)]
    struct Seen(RefCell<Vec<String>>);

    impl LineSink for Seen {
        fn line(&self, _: RequestId, stream: Stream, line: &[u8]) {
            let text = format!("{} {}", stream.name(), String::from_utf8_lossy(line));
            self.0.borrow_mut().push(text);
        }

        fn dropped(&self, _: RequestId, bytes: usize) {
            self.0.borrow_mut().push(format!("dropped {bytes}"));
        }
    }

    fn written(line_bytes: usize, request_bytes: usize, writes: &[(Stream, &str)]) -> Vec<String> {
        let seen = Rc::new(Seen::default());
        let output = Output::new(
            (
                Rc::clone(&seen) as Rc<dyn LineSink>,
                RequestIds::default().next(),
            ),
            line_bytes,
            request_bytes,
        );
        for (stream, text) in writes {
            output.shared.write(*stream, text.as_bytes());
        }
        drop(output);
        seen.0.take()
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    fn lines_are_whole_bounded_and_by_stream() {
        use Stream::{Stderr, Stdout};
        let cases: [(usize, usize, &[(Stream, &str)], &[&str]); 6] = [
            (99, 999, &[(Stdout, "a\nb\n")], &["stdout a", "stdout b"]),
            (
                99,
                999,
                &[(Stdout, "a"), (Stderr, "x\n"), (Stdout, "b\n")],
                &["stderr x", "stdout ab"],
            ),
            (99, 999, &[(Stdout, "no end")], &["stdout no end"]),
            (
                3,
                999,
                &[(Stdout, "abcdef\nxy\n")],
                &["stdout abc", "stdout xy"],
            ),
            (99, 3, &[(Stdout, "abcdef")], &["stdout abc", "dropped 3"]),
            // A line costs its overhead, too.
            (
                99,
                limits::LOG_LINE_OVERHEAD_BYTES + 3,
                &[(Stdout, "ab\ncd\n")],
                &["stdout ab", "stdout c", "dropped 1"],
            ),
        ];
        for (line_bytes, request_bytes, writes, expected) in cases {
            assert_eq!(
                written(line_bytes, request_bytes, writes),
                expected,
                "{writes:?}"
            );
        }
    }
}
