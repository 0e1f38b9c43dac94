//! Connections to Redis: made by the egress process, for this one has no network.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::kv::redis::{Dialling, Redis, Server};
use crate::config::{RedisServer, Scheme, limits};
use crate::control::{DATA_CALLER, Dial, Dialled};
use crate::sys::{AsyncChannel, Channel};

/// The servers that tenants' stores are on: one connection to each.
#[derive(Default)]
pub(super) struct Servers {
    dialler: Rc<Dialler>,
    known: RefCell<FxHashMap<RedisServer, Rc<Redis>>>,
}

impl Servers {
    /// The server, of whose stores all share one connection.
    pub(super) fn of(&self, server: RedisServer) -> Rc<Redis> {
        let mut known = self.known.borrow_mut();
        // What nobody has a store on any more is let go.
        known.retain(|_, redis| Rc::strong_count(redis) > 1);
        if let Some(redis) = known.get(&server) {
            return Rc::clone(redis);
        }
        let login = Server {
            username: server.username.clone(),
            password: server.password.clone(),
            db: server.db,
            prefix: server.prefix.clone(),
            raw: server.raw,
        };
        let (dialler, address) = (Rc::clone(&self.dialler), server.clone());
        let dial = move || -> Dialling {
            let (dialler, address) = (Rc::clone(&dialler), address.clone());
            Box::pin(async move { dialler.dial(&address.host, address.port).await })
        };
        let redis = Rc::new(Redis::new(login, Rc::new(dial)));
        known.insert(server, Rc::clone(&redis));
        redis
    }

    /// Connections come over this channel from now on, until it ends. To be awaited in a task.
    pub(super) async fn listen(&self, channel: Channel) -> io::Result<()> {
        self.dialler.listen(channel).await
    }
}

type Answer = io::Result<TcpStream>;

#[derive(Default)]
struct Dialler {
    channel: RefCell<Option<Rc<AsyncChannel>>>,
    waiting: RefCell<FxHashMap<u64, oneshot::Sender<Answer>>>,
    calls: Cell<u64>,
}

impl Dialler {
    async fn listen(&self, channel: Channel) -> io::Result<()> {
        let channel = Rc::new(AsyncChannel::new(channel)?);
        self.channel.replace(Some(Rc::clone(&channel)));
        // Those who waited for another one's answers get none.
        self.waiting.take();
        while let Some((answer, mut fds)) = channel.recv::<Dialled>().await? {
            let waiting = self.waiting.borrow_mut().remove(&answer.id);
            let connected = match (answer.outcome, fds.pop()) {
                (Ok(()), Some(fd)) => stream(fd),
                (Ok(()), None) => Err(io::Error::other("no descriptor came")),
                (Err(error), _) => Err(io::Error::other(format!("{error:?}"))),
            };
            if let Some(waiting) = waiting {
                // Whoever asked may be gone.
                let _ = waiting.send(connected);
            }
        }
        Ok(())
    }

    async fn dial(&self, host: &str, port: u16) -> Answer {
        let gone = || io::Error::other("nobody connects at the moment");
        let channel = self.channel.borrow().clone().ok_or_else(gone)?;
        let id = self.calls.get();
        self.calls.set(id + 1);
        let dial = Dial {
            id,
            tenant: DATA_CALLER.to_owned(),
            scheme: Scheme::Http,
            host: host.to_owned(),
            port,
            timeout_ms: limits::KV_REDIS_CONNECT_MS,
        };
        let (send, receive) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, send);
        let result = match channel.send(&dial, &[]).await {
            Ok(()) => receive.await.unwrap_or_else(|_| Err(gone())),
            Err(error) => Err(error),
        };
        self.waiting.borrow_mut().remove(&id);
        result
    }
}

fn stream(fd: OwnedFd) -> Answer {
    let stream = std::net::TcpStream::from(fd);
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    TcpStream::from_std(stream)
}
