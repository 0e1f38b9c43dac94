//! A raw HTTP/1.1 client: sends exactly the bytes that it is given, and reads what comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// One response. An interim one (1xx) is a response of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in their order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The decoded body; empty where a caller took it piece by piece.
    pub body: Vec<u8>,
    /// The chunked body's trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The first field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `x-skep-reason`, or nothing.
    pub fn reason(&self) -> &str {
        self.header("x-skep-reason").unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// A connection to a host.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Received and not consumed yet.
    buf: Vec<u8>,
}

impl Client {
    /// Connects; reads and writes give up after [`PATIENCE`].
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("connecting to the host");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self {
            stream,
            buf: Vec::new(),
        }
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("sending to the host");
    }

    /// The same where the host may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends no more; reads on.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a GET and reads the response.
    #[track_caller]
    pub fn get(&mut self, host: &str, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        self.read_response()
    }

    /// Sends a POST with `Content-Length` and reads the response.
    #[track_caller]
    pub fn post(&mut self, host: &str, path: &str, body: &[u8]) -> Response {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n"
        ));
        self.send(body);
        self.read_response()
    }

    /// Reads one response with its body.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.try_read_response().expect("reading a response")
    }

    /// The same where the connection may end early: an error of kind `UnexpectedEof`.
    pub fn try_read_response(&mut self) -> io::Result<Response> {
        let mut body = Vec::new();
        let mut response = self.read_head()?;
        self.read_body(&mut response, |piece| body.extend_from_slice(piece))?;
        response.body = body;
        Ok(response)
    }

    /// Reads a response that has no body whatever its header says: that of a HEAD.
    #[track_caller]
    pub fn read_response_to_head(&mut self) -> Response {
        self.read_head().expect("reading a response")
    }

    /// Reads a response's head only.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let line = self.read_line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| invalid(format!("no status line: {line:?}")))?;
        Ok(Response {
            status,
            headers: self.read_fields()?,
            ..Response::default()
        })
    }

    /// Reads the body that a head announced, piece by piece; sets the trailers.
    pub fn read_body(
        &mut self,
        response: &mut Response,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let length = response.header("content-length").map(str::parse::<u64>);
        if matches!(response.status, 100..200 | 204 | 304) {
            return Ok(());
        }
        if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.read_line()?;
                let size = u64::from_str_radix(&line, 16)
                    .map_err(|_| invalid(format!("no chunk size: {line:?}")))?;
                if size == 0 {
                    response.trailers = self.read_fields()?;
                    return Ok(());
                }
                self.read_exactly(size, &mut each)?;
                let end = self.read_line()?;
                if !end.is_empty() {
                    return Err(invalid(format!("after a chunk: {end:?}")));
                }
            }
        }
        match length {
            Some(Ok(length)) => self.read_exactly(length, &mut each),
            Some(Err(error)) => Err(invalid(format!("content-length: {error}"))),
            None => loop {
                each(&self.buf);
                self.buf.clear();
                if self.fill()? == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// Everything until the host closes, as it comes. A reset counts as the end.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the host does not close: {error}"),
            }
        }
        std::mem::take(&mut self.buf)
    }

    /// Fails the test unless the host closes now, without another byte.
    #[track_caller]
    pub fn expect_close(&mut self) {
        let rest = self.read_to_end();
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty(), "before the close: {rest:?}");
    }

    fn fill(&mut self) -> io::Result<usize> {
        let start = self.buf.len();
        self.buf.resize(start + 64 * 1024, 0);
        let read = self.stream.read(&mut self.buf[start..]);
        self.buf
            .truncate(start + read.as_ref().copied().unwrap_or(0));
        read
    }

    fn fill_more(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// One line without its end, which has to be CR LF.
    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buf.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buf.drain(..=end).collect();
                return match line.strip_suffix(b"\r\n") {
                    Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
                    None => Err(invalid(format!("a line without CR: {line:?}"))),
                };
            }
            self.fill_more()?;
        }
    }

    fn read_fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(": ")
                .ok_or_else(|| invalid(format!("no field: {line:?}")))?;
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn read_exactly(&mut self, mut left: u64, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.buf.is_empty() {
                self.fill_more()?;
            }
            let now = self.buf.len().min(left.try_into().unwrap_or(usize::MAX));
            each(&self.buf[..now]);
            self.buf.drain(..now);
            left -= now as u64;
        }
        Ok(())
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
