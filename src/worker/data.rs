//! The worker's end of the stream to the process that keeps data.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_channel::oneshot;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
use monoio::net::UnixStream;
use rustc_hash::FxHashMap;

use crate::config::limits;
use crate::data::frame::{self, Call, Reply};
use crate::data::{Ask, Given, Refused};
use crate::guest::Services;
use crate::worker::runtime::within;

type Answer = Result<Given, Refused>;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_millis(limits::DATA_CALL_MS);

/// Asks for data. Of one worker, whatever process answers.
#[derive(Debug, Default)]
pub struct Link {
    /// Counts the streams; nothing is asked while there is none.
    stream: Cell<u64>,
    is_open: Cell<bool>,
    waiting: RefCell<FxHashMap<u64, oneshot::Sender<Answer>>>,
    calls: Cell<u64>,
    out: RefCell<Vec<u8>>,
    writer: RefCell<Option<Waker>>,
}

impl Link {
    /// Asks over `stream` from now on, until it ends. To be awaited in a task of its own.
    ///
    /// # Errors
    /// When the stream cannot be used, or says what is no answer.
    pub async fn listen(self: Rc<Self>, stream: OwnedFd) -> anyhow::Result<()> {
        let stream = std::os::unix::net::UnixStream::from(stream);
        stream.set_nonblocking(true)?;
        let (mut read, write) = UnixStream::from_std(stream)?.into_split();
        let number = self.stream.get() + 1;
        self.stream.set(number);
        self.is_open.set(true);
        self.forget_all();
        // Whoever wrote to the stream before.
        self.wake_writer();
        monoio::spawn(Rc::clone(&self).write_all(write, number));
        let result = self.answers(&mut read).await;
        // Another one may have come meanwhile, with calls of its own.
        if self.stream.get() == number {
            self.is_open.set(false);
            self.stream.set(number + 1);
            self.forget_all();
            self.wake_writer();
        }
        Ok(result?)
    }

    async fn answers(&self, read: &mut impl AsyncReadRent) -> io::Result<()> {
        let mut buf = BytesMut::new();
        let mut piece = Vec::with_capacity(limits::DATA_READ_BYTES);
        loop {
            let (result, filled) = read.read(piece).await;
            if result? == 0 {
                return Ok(());
            }
            buf.extend_from_slice(&filled);
            piece = filled;
            piece.clear();
            while let Some(reply) = frame::decode::<Reply>(&mut buf)? {
                let waiting = self.waiting.borrow_mut().remove(&reply.id);
                if let Some(waiting) = waiting {
                    // Whoever asked may be gone.
                    let _ = waiting.send(reply.given);
                }
            }
            if buf.is_empty() {
                buf = BytesMut::new(); // a large answer's room is given back
            }
        }
    }

    /// Writes what is asked, until there is another stream or none.
    async fn write_all(self: Rc<Self>, mut write: impl AsyncWriteRentExt, number: u64) {
        loop {
            let bytes = poll_fn(|cx| {
                if self.stream.get() != number {
                    return Poll::Ready(None);
                }
                let mut out = self.out.borrow_mut();
                if out.is_empty() {
                    self.writer.replace(Some(cx.waker().clone()));
                    return Poll::Pending;
                }
                Poll::Ready(Some(std::mem::take(&mut *out)))
            })
            .await;
            let Some(bytes) = bytes else { return };
            let (result, _) = write.write_all(bytes).await;
            if result.is_err() {
                return; // reading says so, too
            }
        }
    }

    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn forget_all(&self) {
        self.out.borrow_mut().clear();
        // Dropping a sender is an answer, too.
        drop(self.waiting.take());
    }

    /// Puts a call behind those before it; its number, and what becomes of it.
    fn send(&self, tenant: String, ask: Ask) -> Result<(u64, oneshot::Receiver<Answer>), Refused> {
        let busy = || Refused::Failed("too much is asked of the host's data at once".to_owned());
        if !self.is_open.get() {
            return Err(gone());
        }
        if self.waiting.borrow().len() >= limits::DATA_CALLS_PER_WORKER_MAX
            || self.out.borrow().len() > limits::DATA_QUEUED_BYTES_MAX
        {
            return Err(busy());
        }
        let id = self.calls.get();
        self.calls.set(id + 1);
        let call = Call { id, tenant, ask };
        if frame::encode(&call, &mut self.out.borrow_mut()).is_err() {
            return Err(Refused::TooLarge {
                what: "a call".to_owned(),
                max: limits::DATA_MESSAGE_BYTES_MAX as u64,
                unit: "bytes".to_owned(),
            });
        }
        self.wake_writer();
        let (send, receive) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, send);
        Ok((id, receive))
    }

    /// Waits for an answer.
    async fn answer(&self, (id, receive): (u64, oneshot::Receiver<Answer>)) -> Answer {
        let _waiting = Forget(self, id);
        match within(PATIENCE, receive).await {
            Some(Ok(answer)) => answer,
            Some(Err(oneshot::Canceled)) => Err(gone()),
            None => {
                let late = format!("no answer within {} ms", PATIENCE.as_millis());
                Err(Refused::Failed(late))
            }
        }
    }
}

fn gone() -> Refused {
    Refused::Failed("nobody keeps data at the moment".to_owned())
}

/// Whoever waits no more is forgotten.
struct Forget<'l>(&'l Link, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}

/// What one tenant's guests ask.
pub struct Client {
    link: Rc<Link>,
    tenant: String,
}

impl Client {
    /// Of this tenant.
    pub fn new(link: &Rc<Link>, tenant: &str) -> Rc<Self> {
        Rc::new(Self {
            link: Rc::clone(link),
            tenant: tenant.to_owned(),
        })
    }
}

impl Client {
    /// Of calls of all tenants that are not written yet.
    pub fn queued_bytes(&self) -> usize {
        self.link.out.borrow().len()
    }

    /// Asks at once, before anything that is asked later; what is given is the answer.
    pub fn begin(&self, ask: Ask) -> impl Future<Output = Answer> + use<> {
        let link = Rc::clone(&self.link);
        let sent = link.send(self.tenant.clone(), ask);
        async move { link.answer(sent?).await }
    }
}

impl Services for Client {
    fn ask(&self, ask: Ask) -> Pin<Box<dyn Future<Output = Answer>>> {
        let (link, tenant) = (Rc::clone(&self.link), self.tenant.clone());
        Box::pin(async move { link.answer(link.send(tenant, ask)?).await })
    }
}
