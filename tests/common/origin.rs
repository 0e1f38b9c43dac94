//! A server that guests send requests to: each path behaves in its own way.
//!
//! ```text
//!   /hello      5 bytes                       /never       reads on, and answers never
//!   /head       the head that it got          /stalls      half of a body, then nothing
//!   /echo       the body that it got          /cut         half of a body, then the end
//!   /count      which request of its          /drop        the end instead of an answer
//!               connection this is            /garbage     no HTTP
//!   /chunked    3 chunks and a trailer        /two-lengths framing that is not clear
//!   /close      until the connection ends     /redirect    302 to /hello
//!   /big        1 MiB, with its length        /big-chunked 1 MiB without
//!   /not-modified  304, with the length of what it stands for
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server on a free port, for as long as the process lives.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// The certificate that it shows, in PEM.
    pem: Option<String>,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Origin {
    /// Plain HTTP.
    pub fn start() -> Self {
        Self::serve(None, None)
    }

    /// One that reads requests and closes their connections, whatever they ask for.
    pub fn dropping() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::accept(listener, None, |mut stream| {
            request(&mut stream, &mut Vec::new());
        })
    }

    /// One that has these files as well: path, content type, content.
    pub fn of_files(files: &[(&str, &str, &[u8])]) -> Self {
        let file = |(path, kind, content): &(&str, &str, &[u8])| {
            let length = content.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
            );
            ((*path).to_owned(), [head.as_bytes(), content].concat())
        };
        let files: Arc<Vec<(String, Vec<u8>)>> = Arc::new(files.iter().map(file).collect());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::accept(listener, None, move |mut stream| {
            let mut buffer = Vec::new();
            while let Some((head, body)) = request(&mut stream, &mut buffer) {
                let path = head.split(' ').nth(1).unwrap_or_default();
                let file = files.iter().find(|(known, _)| known == path);
                let goes_on = match file {
                    Some((_, answer)) => stream.write_all(answer).is_ok(),
                    None => answer(&mut stream, &head, &body, 1),
                };
                if !goes_on {
                    return;
                }
            }
        })
    }

    /// HTTPS, with a certificate of its own for these names and addresses.
    pub fn start_tls(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
            .expect("a key that fits");
        Self::serve(Some(Arc::new(config)), Some(made.cert.pem()))
    }

    fn serve(tls: Option<Arc<ServerConfig>>, pem: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::accept(listener, pem, move |stream| converse(stream, tls.clone()))
    }

    fn accept(
        listener: TcpListener,
        pem: Option<String>,
        serve: impl Fn(TcpStream) + Clone + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let connections: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let serve = serve.clone();
                std::thread::spawn(move || serve(stream));
            }
        });
        Self {
            address,
            connections,
            pem,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it was asked for.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Its certificate as a file.
    pub fn ca_file(&self, dir: &tempfile::TempDir) -> PathBuf {
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, self.pem.as_deref().expect("an origin with TLS")).expect("a file");
        path
    }
}

fn converse(stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let connection = ServerConnection::new(config).expect("a configuration that fits");
            Box::new(StreamOwned::new(connection, stream))
        }
    };
    let mut buffer = Vec::new();
    let mut count = 0;
    while let Some((head, body)) = request(&mut stream, &mut buffer) {
        count += 1;
        if !answer(&mut stream, &head, &body, count) {
            return;
        }
    }
}

/// The next request: its head as text, its body.
fn request(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, buffer)?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let lower = head.to_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let line = loop {
                if let Some(at) = find(buffer, b"\r\n") {
                    break at;
                }
                more(stream, buffer)?;
            };
            let size = std::str::from_utf8(&buffer[..line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            buffer.drain(..line + 2);
            while buffer.len() < size + 2 {
                more(stream, buffer)?;
            }
            body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                return Some((head, body));
            }
        }
    }
    let length = lower.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
    let length = length.unwrap_or(0);
    while buffer.len() < length {
        more(stream, buffer)?;
    }
    body.extend(buffer.drain(..length));
    Some((head, body))
}

fn more(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece) {
        Ok(length @ 1..) => {
            buffer.extend_from_slice(&piece[..length]);
            Some(())
        }
        Ok(0) | Err(_) => None,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Whether another request may follow.
fn answer(stream: &mut dyn Stream, head: &str, body: &[u8], count: usize) -> bool {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let whole = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
    let (out, goes_on) = match path {
        "/hello" => (whole(b"hello"), true),
        "/head" => (whole(head.as_bytes()), true),
        "/echo" => (whole(body), true),
        "/count" => (whole(count.to_string().as_bytes()), true),
        "/big" => (whole(&vec![b'x'; 1 << 20]), true),
        "/big-chunked" => {
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n";
            (
                [&head[..], &vec![b'x'; 1 << 20], b"\r\n0\r\n\r\n"].concat(),
                true,
            )
        }
        "/chunked" => {
            let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n\
                        2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\nx-t: 1\r\n\r\n";
            (text.into(), true)
        }
        "/redirect" => (
            b"HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\n\r\n".to_vec(),
            true,
        ),
        "/not-modified" => {
            let text = "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\netag: \"x\"\r\n\r\n";
            (text.into(), true)
        }
        "/close" => (b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec(), false),
        "/cut" => (HALF.to_vec(), false),
        "/garbage" => (b"no HTTP at all\r\n\r\n".to_vec(), false),
        "/two-lengths" => {
            let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!";
            (text.into(), false)
        }
        "/stalls" => (HALF.to_vec(), true),
        "/never" => (Vec::new(), true),
        _ => (Vec::new(), false),
    };
    let sent = stream.write_all(&out).and_then(|()| stream.flush());
    sent.is_ok() && goes_on
}
