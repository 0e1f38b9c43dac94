//! A `redis-server` for one test, and servers that are none.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Dial, Dialling};

/// A server of its own directory and port, killed when dropped.
pub struct Instance {
    child: Child,
    /// On 127.0.0.1.
    pub port: u16,
    _dir: tempfile::TempDir,
}

impl Instance {
    /// Starts one that keeps nothing, on a port that nobody uses.
    pub fn start(arguments: &[&str]) -> Self {
        for _ in 0..5 {
            let free = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            if let Some(instance) = Self::start_on(port, arguments) {
                return instance;
            }
        }
        panic!("redis-server did not start on five ports");
    }

    /// `None` if it ends at once, as it does where another has the port.
    fn start_on(port: u16, arguments: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--enable-debug-command", "yes", "--dir"]);
        command.arg(dir.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("these tests need redis-server (Debian: apt-get install redis-server): {error}")
        });
        let mut instance = Self {
            child,
            port,
            _dir: dir,
        };
        instance.answers().then_some(instance)
    }

    fn answers(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if !self.say(&["PING"]).is_empty() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer");
    }

    /// Says something on a connection of its own, and gives the first bytes of what comes back.
    pub fn say(&self, command: &[&str]) -> String {
        let Ok(mut stream) = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return String::new();
        };
        let mut text = format!("*{}\r\n", command.len());
        for word in command {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        let mut answer = [0; 1024];
        let said = stream.write_all(text.as_bytes());
        let read = said.and_then(|()| stream.read(&mut answer)).unwrap_or(0);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to a port, and counts how often.
pub fn dial(port: u16) -> (Rc<dyn Dial>, Rc<Cell<u32>>) {
    dial_to(Rc::new(Cell::new(port)))
}

/// The same for a port that may change.
pub fn dial_to(port: Rc<Cell<u16>>) -> (Rc<dyn Dial>, Rc<Cell<u32>>) {
    let dials = Rc::new(Cell::new(0));
    let count = Rc::clone(&dials);
    let dial = move || -> Dialling {
        count.set(count.get() + 1);
        let address = (Ipv4Addr::LOCALHOST, port.get());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    };
    (Rc::new(dial), dials)
}

/// A server that has a reply to each command, or none; gives its port.
pub async fn fake(reply: impl Fn(&[Vec<u8>]) -> Option<Vec<u8>> + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let reply = Rc::new(reply);
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let reply = Rc::clone(&reply);
            tokio::task::spawn_local(async move {
                let mut stream = BufReader::new(stream);
                while let Some(command) = read(&mut stream).await {
                    if let Some(reply) = reply(&command) {
                        // Nobody needs to hear it.
                        let _ = stream.write_all(&reply).await;
                    }
                }
            });
        }
    });
    port
}

/// A command; `None` at the end.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Vec<Vec<u8>>> {
    let count = number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(stream, '$').await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(word);
    }
    Some(words)
}

async fn number(stream: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.strip_prefix(kind)?.trim().parse().ok()
}
