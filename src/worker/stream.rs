//! The two halves of a client connection, each with its buffer.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use bytes::BytesMut;
use monoio::buf::IoBufMut;
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable,
};
use monoio::net::TcpStream;

use crate::config::limits;
use crate::sys::fd;
use crate::worker::runtime::within;

/// Why bytes do not arrive or leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client closed or reset the connection.
    Closed,
    /// Nothing moved for as long as was allowed.
    TimedOut,
}

/// What a client sends.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf<TcpStream>,
    /// Bytes read and not yet used.
    pub buf: BytesMut,
    /// A read was given up while it ran, and bytes went with it: what comes next begins anywhere,
    /// and must never be taken for a request.
    pub torn: bool,
}

/// What a client is sent.
#[derive(Debug)]
pub struct Writer {
    half: OwnedWriteHalf<TcpStream>,
    /// Bytes to be written by the next flush.
    pub out: Vec<u8>,
}

/// Splits a connection. `buf` holds bytes that were read from it before.
pub fn split(stream: TcpStream, buf: BytesMut) -> (Reader, Writer) {
    let (read, write) = stream.into_split();
    let reader = Reader {
        half: read,
        buf,
        torn: false,
    };
    let writer = Writer {
        half: write,
        out: Vec::new(),
    };
    (reader, writer)
}

/// Lets go of a connection that another process has taken over. Dropped one by one, the halves
/// would end it for that process too: monoio's write half shuts the socket down.
pub fn release(reader: Reader, writer: Writer) {
    // Halves of one connection: they fit.
    let _ = reader.half.reunite(writer.half);
}

impl Reader {
    /// The connection's descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        fd::of_half(&self.half)
    }

    /// Appends what the client sends next to the buffer, `read_bytes` at most and never more than
    /// [`limits::PIPELINED_BYTES_MAX`]. Returns the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn fill(&mut self, read_bytes: usize) -> io::Result<usize> {
        let read_bytes = read_bytes.min(limits::PIPELINED_BYTES_MAX);
        self.buf.reserve(read_bytes);
        let buf = std::mem::take(&mut self.buf);
        let (start, end) = (buf.len(), buf.len() + read_bytes);
        self.torn = true;
        let (result, slice) = self.half.read(buf.slice_mut(start..end)).await;
        self.torn = false;
        self.buf = slice.into_inner();
        result
    }

    /// Like [`Reader::fill`], within a time limit, and with the end of the stream as an error.
    ///
    /// # Errors
    /// See [`Gone`].
    pub async fn fill_within(&mut self, limit: Duration, read_bytes: usize) -> Result<(), Gone> {
        match within(limit, self.fill(read_bytes)).await {
            None => Err(Gone::TimedOut),
            Some(Ok(1..)) => Ok(()),
            Some(Ok(0) | Err(_)) => Err(Gone::Closed),
        }
    }
}

impl Writer {
    /// Writes all of `out` and empties it.
    ///
    /// # Errors
    /// See [`Gone`].
    pub async fn flush(&mut self, limit: Duration) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let (result, mut out) = within(limit, self.half.write_all(out))
            .await
            .ok_or(Gone::TimedOut)?;
        out.clear();
        self.out = out;
        result.map(|_| ()).map_err(|_| Gone::Closed)
    }

    /// Tells the client that nothing more will come.
    pub async fn finish(&mut self) {
        // The connection is being given up; a client that is gone already is no news.
        let _ = self.half.shutdown().await;
    }
}
