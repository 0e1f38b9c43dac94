//! The worker's end of the channel to the process that connects for it.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use futures_channel::oneshot;
use rustc_hash::FxHashMap;

use crate::control::{Dial, DialError, Dialled};
use crate::sys::channel::Channel;
use crate::worker::runtime::Watched;

type Answer = Result<OwnedFd, DialError>;

/// Asks for connections. Of one worker, whatever process answers.
#[derive(Debug, Default)]
pub struct Dialler {
    channel: RefCell<Option<Rc<Channel>>>,
    waiting: RefCell<FxHashMap<u64, oneshot::Sender<Answer>>>,
    calls: Cell<u64>,
}

impl Dialler {
    /// Asks over `channel` from now on, until it ends. To be awaited in a task of its own.
    ///
    /// # Errors
    /// When the channel cannot be watched.
    pub async fn listen(&self, channel: OwnedFd) -> anyhow::Result<()> {
        let watched = Watched::new(channel.try_clone()?)?;
        let channel = Rc::new(Channel::from_fd(channel));
        self.channel.replace(Some(Rc::clone(&channel)));
        self.fail_all();
        let result = self.answers(&watched, &channel).await;
        let mut current = self.channel.borrow_mut();
        // Another one may have come meanwhile, with calls of its own.
        if current.as_ref().is_some_and(|it| Rc::ptr_eq(it, &channel)) {
            *current = None;
            drop(current);
            self.fail_all();
        }
        result
    }

    async fn answers(&self, watched: &Watched, channel: &Channel) -> anyhow::Result<()> {
        loop {
            watched.readable().await?;
            loop {
                match channel.try_recv::<Dialled>() {
                    Ok(None) => return Ok(()),
                    Ok(Some((answer, mut fds))) => {
                        let waiting = self.waiting.borrow_mut().remove(&answer.id);
                        let outcome = answer.outcome.and_then(|()| {
                            let fd = fds.pop();
                            fd.ok_or_else(|| DialError::Failed("no descriptor came".to_owned()))
                        });
                        if let Some(waiting) = waiting {
                            // Whoever asked may be gone; the connection is then closed.
                            let _ = waiting.send(outcome);
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        // Descriptors ran out, most likely; whoever waits for it is told in time.
                        tracing::warn!("a connection was lost: {error}");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn fail_all(&self) {
        // Dropping a sender is an answer, too.
        drop(self.waiting.take());
    }

    /// A connection, as a tenant asked for it. `dial.id` is set here.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn dial(&self, mut dial: Dial) -> Answer {
        let gone = || DialError::Failed("nobody connects at the moment".to_owned());
        let channel = self.channel.borrow().clone().ok_or_else(gone)?;
        dial.id = self.calls.get();
        self.calls.set(dial.id + 1);
        let (send, receive) = oneshot::channel();
        channel.try_send(&dial, &[]).map_err(|_| DialError::Busy)?;
        self.waiting.borrow_mut().insert(dial.id, send);
        let waiting = Forget(self, dial.id);
        let answer = receive.await.unwrap_or_else(|_| Err(gone()));
        drop(waiting);
        answer
    }
}

/// Whoever waits no more is forgotten.
struct Forget<'d>(&'d Dialler, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}
