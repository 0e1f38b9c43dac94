//! What the server says, kept within bounds before anything else reads it.
//!
//! An answer (RESP2) is a line, or a length and as many bytes, or a count and as many answers:
//!
//! ```text
//! *2\r\n  $3\r\nabc\r\n  $9000000\r\n.........\r\n      what the server sends
//! *2\r\n  $3\r\nabc\r\n  -TOOLARGE\r\n                  what is passed on
//! ```
//!
//! A string that would take an answer over `KV_ANSWER_BYTES_MAX` is dropped as it comes, and an error
//! stands in its place. So it costs no memory, and the connection stays in step for all the others that
//! use it. What is no answer at all ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answers::TOO_LARGE;
use crate::config::limits;

/// What is known of a connection beside its answers.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Answers that came to their end.
    answers: AtomicU64,
    /// Why what came is no answer.
    nonsense: OnceLock<String>,
}

impl Progress {
    /// How many answers came to their end.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Why the connection was ended, where what came was no answer.
    pub(super) fn nonsense(&self) -> Option<&str> {
        self.nonsense.get().map(String::as_str)
    }
}

/// A stream whose answers are within bounds.
pub(super) struct Bounded<S> {
    stream: S,
    chunk: Box<[u8]>,
    answers: Answers,
    /// How many bytes of [`Answers::out`] have been passed on.
    passed: usize,
}

impl<S> Bounded<S> {
    /// Takes a stream on which nothing has been said.
    pub(super) fn new(stream: S, progress: Arc<Progress>) -> Self {
        Self {
            stream,
            chunk: vec![0; limits::KV_REDIS_READ_BYTES].into_boxed_slice(),
            answers: Answers::new(progress),
            passed: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.passed == this.answers.out.len() {
            this.answers.out.clear();
            this.passed = 0;
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.answers.read(chunk.filled())?;
        }
        let rest = &this.answers.out[this.passed..];
        let now = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..now]);
        this.passed += now;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Goes through what comes, answer by answer.
pub(super) struct Answers {
    at: At,
    /// What has come of a line.
    line: Vec<u8>,
    /// Values that the answer still lacks, and those that it has, lists included.
    due: usize,
    values: usize,
    /// Lists of the answer, however they nest.
    lists: usize,
    /// Bytes of the answer's strings that were passed on.
    bytes: usize,
    /// What may be passed on.
    pub(super) out: Vec<u8>,
    progress: Arc<Progress>,
}

/// Where in an answer the next byte belongs.
enum At {
    Line,
    /// Into a string with its `\r\n`, of which so much is left.
    Kept(usize),
    /// The same, but nobody will have it.
    Dropped(usize),
}

impl Answers {
    /// None has come.
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self {
            at: At::Line,
            line: Vec::new(),
            due: 1,
            values: 0,
            lists: 0,
            bytes: 0,
            out: Vec::new(),
            progress,
        }
    }

    /// Takes what came, and puts into `out` what may be passed on of it.
    ///
    /// # Errors
    /// When it is no answer; the connection is then of no use.
    pub(super) fn read(&mut self, mut came: &[u8]) -> io::Result<()> {
        while !came.is_empty() {
            came = match self.at {
                At::Line => self.read_line(came)?,
                At::Kept(left) => {
                    let (now, rest) = came.split_at(left.min(came.len()));
                    self.out.extend_from_slice(now);
                    self.go_on(left - now.len(), At::Kept);
                    rest
                }
                At::Dropped(left) => {
                    let rest = &came[left.min(came.len())..];
                    self.go_on(left - (came.len() - rest.len()), At::Dropped);
                    rest
                }
            };
        }
        Ok(())
    }

    /// So much of a string is left.
    fn go_on(&mut self, left: usize, at: fn(usize) -> At) {
        match left {
            0 => self.end_value(),
            left => self.at = at(left),
        }
    }

    /// Takes a line, or its part, and gives what is behind it.
    fn read_line<'c>(&mut self, came: &'c [u8]) -> io::Result<&'c [u8]> {
        let end = came.iter().position(|&byte| byte == b'\n');
        let (now, rest) = came.split_at(end.map_or(came.len(), |end| end + 1));
        if self.line.len() + now.len() > limits::KV_REDIS_LINE_BYTES_MAX {
            return Err(self.nonsense("a line has no end"));
        }
        self.line.extend_from_slice(now);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line)?;
            self.line = line;
            self.line.clear();
        }
        Ok(rest)
    }

    fn end_line(&mut self, line: &[u8]) -> io::Result<()> {
        let content = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first);
        self.values += 1;
        match content {
            Some((b'+' | b'-' | b':', _)) => {
                // An error may repeat any bytes that it was sent; a reader of lines wants text.
                self.out
                    .extend_from_slice(String::from_utf8_lossy(line).as_bytes());
                self.end_value();
                Ok(())
            }
            Some((b'$', length)) => self.begin_string(line, length),
            Some((b'*', count)) => self.begin_list(line, count),
            _ => Err(self.nonsense("it does not speak RESP2")),
        }
    }

    fn begin_string(&mut self, line: &[u8], length: &[u8]) -> io::Result<()> {
        let Some(length) = self.count(length)? else {
            self.out.extend_from_slice(line);
            self.end_value();
            return Ok(());
        };
        let whole = length.saturating_add(2);
        if self.bytes.saturating_add(length) as u64 > limits::KV_ANSWER_BYTES_MAX {
            self.out
                .extend_from_slice(format!("-{TOO_LARGE}\r\n").as_bytes());
            self.at = At::Dropped(whole);
        } else {
            self.out.extend_from_slice(line);
            self.bytes += length;
            self.at = At::Kept(whole);
        }
        Ok(())
    }

    fn begin_list(&mut self, line: &[u8], count: &[u8]) -> io::Result<()> {
        let count = self.count(count)?.unwrap_or(0);
        self.due = self.due.saturating_add(count);
        self.lists += 1;
        // The list itself is among both.
        let values = self.due.saturating_add(self.values - 1);
        if values > limits::KV_REDIS_VALUES_MAX || self.lists > limits::KV_REDIS_LISTS_MAX {
            return Err(self.nonsense("an answer has more values than were asked for"));
        }
        self.out.extend_from_slice(line);
        self.end_value();
        Ok(())
    }

    /// The number behind `$` or `*`; `None` where it is -1, which stands for nothing.
    fn count(&self, digits: &[u8]) -> io::Result<Option<usize>> {
        if digits == b"-1" {
            return Ok(None);
        }
        let number = str::from_utf8(digits).ok();
        match number.and_then(|text| text.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.nonsense("a length is no number")),
        }
    }

    fn end_value(&mut self) {
        self.at = At::Line;
        self.due -= 1;
        if self.due == 0 {
            self.progress.answers.fetch_add(1, Ordering::Relaxed);
            (self.due, self.values, self.lists, self.bytes) = (1, 0, 0, 0);
        }
    }

    fn nonsense(&self, why: &str) -> io::Error {
        let why = self.progress.nonsense.get_or_init(|| why.to_owned());
        io::Error::new(io::ErrorKind::InvalidData, why.clone())
    }
}
