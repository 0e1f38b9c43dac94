//! The two halves of a connection, each with its buffer; below them TLS, where there is any.

use std::cell::OnceCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use monoio::buf::IoBufMut;
use monoio::io::{
    AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable,
};
use monoio::net::TcpStream;
use socket2::SockRef;

use crate::config::limits;
use crate::sys::fd;
use crate::worker::runtime::within;
use crate::worker::tls::Tls;

/// Why bytes do not arrive or leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The other side closed or reset the connection.
    Closed,
    /// Nothing moved for as long as was allowed.
    TimedOut,
}

/// What the other side sends.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf<TcpStream>,
    tls: Option<Rc<Tls>>,
    /// Bytes read and not yet used.
    pub buf: BytesMut,
    /// A read was given up while it ran, and bytes went with it: what comes next begins anywhere,
    /// and must never be taken for a request.
    pub torn: bool,
    /// Looked up once.
    peer: OnceCell<Option<IpAddr>>,
}

/// What the other side is sent.
#[derive(Debug)]
pub struct Writer {
    half: OwnedWriteHalf<TcpStream>,
    tls: Option<Rc<Tls>>,
    /// Bytes to be written by the next flush.
    pub out: Vec<u8>,
}

/// Splits a connection. `buf` holds bytes that were read from it before.
pub fn split(stream: TcpStream, buf: BytesMut) -> (Reader, Writer) {
    let (read, write) = stream.into_split();
    let reader = Reader {
        half: read,
        tls: None,
        buf,
        torn: false,
        peer: OnceCell::new(),
    };
    let writer = Writer {
        half: write,
        tls: None,
        out: Vec::new(),
    };
    (reader, writer)
}

/// Speaks TLS on a connection from now on: shakes hands, and gives the two halves back.
///
/// # Errors
/// When the other side is not who it should be, or is gone.
pub async fn secure(
    mut reader: Reader,
    mut writer: Writer,
    tls: Tls,
) -> io::Result<(Reader, Writer)> {
    let tls = Rc::new(tls);
    (reader.tls, writer.tls) = (Some(Rc::clone(&tls)), Some(Rc::clone(&tls)));
    while tls.is_shaking_hands() {
        writer.write_records(&tls).await?;
        if tls.is_shaking_hands() {
            match reader.read_records(&tls).await {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The other side is told why.
                    let _ = writer.write_records(&tls).await;
                    return Err(error);
                }
            }
        }
    }
    writer.write_records(&tls).await?;
    Ok((reader, writer))
}

/// Lets go of a connection that another process has taken over. Dropped one by one, the halves
/// would end it for that process too: monoio's write half shuts the socket down.
pub fn release(reader: Reader, writer: Writer) {
    // Halves of one connection: they fit.
    let _ = reader.half.reunite(writer.half);
}

impl Reader {
    /// Whether nothing has come, not even the end, of a connection on which nothing is due.
    pub fn is_quiet(&self) -> bool {
        self.is_read_up() && fd::would_block(&self.half)
    }

    /// Whether nothing is left of what was read.
    pub fn is_read_up(&self) -> bool {
        // What TLS says between two answers, it says at once; what comes later is mostly its end.
        let is_read = self.tls.as_ref().is_none_or(|tls| tls.is_quiet());
        self.buf.is_empty() && !self.torn && is_read
    }

    /// The address of whoever is at the other end.
    pub fn peer(&self) -> Option<IpAddr> {
        *self.peer.get_or_init(|| {
            let address = SockRef::from(&self.fd()).peer_addr().ok()?;
            // A client of IPv4 at a socket of IPv6 is still one of IPv4.
            Some(address.as_socket()?.ip().to_canonical())
        })
    }

    /// The connection's descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        fd::of_half(&self.half)
    }

    /// Appends what the other side sends next to the buffer, `read_bytes` at most and never more than
    /// [`limits::PIPELINED_BYTES_MAX`]. Returns the number of bytes, 0 at the end of the stream.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn fill(&mut self, read_bytes: usize) -> io::Result<usize> {
        let read_bytes = read_bytes.min(limits::PIPELINED_BYTES_MAX);
        let Some(tls) = self.tls.clone() else {
            return self.fill_plain(read_bytes).await;
        };
        loop {
            if let Some(read) = tls.take(&mut self.buf, read_bytes)? {
                return Ok(read);
            }
            self.read_records(&tls).await?;
        }
    }

    /// Reads some of what the other side sends, encrypted; how many bytes.
    async fn read_records(&mut self, tls: &Tls) -> io::Result<usize> {
        let records = Vec::with_capacity(limits::TLS_READ_BYTES);
        let (result, records) = self.half.read(records).await;
        let read = result?;
        tls.give(&records[..read])?;
        Ok(read)
    }

    async fn fill_plain(&mut self, read_bytes: usize) -> io::Result<usize> {
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
        let written = match self.tls.clone() {
            None => within(limit, self.flush_plain()).await,
            Some(tls) => {
                let sealed = tls.seal(&self.out);
                self.out.clear();
                sealed.map_err(|_| Gone::Closed)?;
                within(limit, self.write_records(&tls)).await
            }
        };
        written.ok_or(Gone::TimedOut)?.map_err(|_| Gone::Closed)
    }

    async fn flush_plain(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        let (result, mut out) = self.half.write_all(out).await;
        out.clear();
        self.out = out;
        result.map(|_| ())
    }

    /// Writes what TLS has to say.
    async fn write_records(&mut self, tls: &Tls) -> io::Result<()> {
        let records = tls.records()?;
        if records.is_empty() {
            return Ok(());
        }
        let (result, _) = self.half.write_all(records).await;
        result.map(|_| ())
    }

    /// Tells the other side that nothing more will come.
    pub async fn finish(&mut self) {
        // The connection is being given up; a client that is gone already is no news.
        let _ = self.half.shutdown().await;
    }
}
