//! A small HTTP/1.1 server that does what its paths say, on a free port, one thread a connection.
//!
//! `/ok` answers, `/stall` answers but not while the server is stalled, `/nap` takes 4 ms of the one
//! place there is, `/host` echoes the host, and `/500`, `/close`, `/reset`, `/garbage`, `/silence` are
//! what they are called.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests by host.
    pub hosts: BTreeMap<String, u64>,
    /// Bytes of request bodies.
    pub body_bytes: u64,
    /// Connections.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    stalled: Mutex<bool>,
    unstalled: Condvar,
    place: Mutex<()>,
    ended: AtomicBool,
}

/// The server; it ends with this value.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                shared.seen.lock().unwrap().connections += 1;
                std::thread::spawn(move || serve(&stream.unwrap(), &shared));
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Answers nothing while `stalled`.
    pub fn stall(&self, stalled: bool) {
        *self.shared.stalled.lock().unwrap() = stalled;
        self.shared.unstalled.notify_all();
    }

    pub fn requests(&self) -> u64 {
        self.shared.seen.lock().unwrap().hosts.values().sum()
    }

    pub fn seen<T>(&self, of: impl Fn(&Seen) -> T) -> T {
        of(&self.shared.seen.lock().unwrap())
    }

    /// Stops listening: every further connection is refused.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stall(false);
        self.end();
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        {
            let mut seen = shared.seen.lock().unwrap();
            *seen.hosts.entry(request.host.clone()).or_default() += 1;
            seen.body_bytes += request.body.len() as u64;
        }
        let answer = match request.path.as_str() {
            "/500" => "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno".to_owned(),
            "/garbage" => "this is no HTTP\r\n\r\n".to_owned(),
            "/close" => {
                let _ = (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhal");
                return;
            }
            "/reset" => {
                socket2::SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                return;
            }
            "/silence" => {
                std::thread::sleep(Duration::from_secs(5));
                return;
            }
            "/nap" => {
                let _place = shared.place.lock().unwrap();
                std::thread::sleep(Duration::from_millis(4));
                ok("ok")
            }
            "/stall" => {
                let stalled = shared.stalled.lock().unwrap();
                drop(
                    shared
                        .unstalled
                        .wait_while(stalled, |stalled| *stalled)
                        .unwrap(),
                );
                ok("ok")
            }
            "/chunked" => {
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    .to_owned()
            }
            "/host" => ok(&request.host),
            _ => ok("ok"),
        };
        if (&*stream).write_all(answer.as_bytes()).is_err() || request.close {
            return;
        }
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nx-test: yes\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

struct Request {
    path: String,
    host: String,
    body: Vec<u8>,
    close: bool,
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut host, mut length, mut close) = (String::new(), 0, false);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ")?;
        match name {
            "host" => host = value.to_owned(),
            "content-length" => length = value.parse().ok()?,
            "connection" => close = value == "close",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        path,
        host,
        body,
        close,
    })
}
