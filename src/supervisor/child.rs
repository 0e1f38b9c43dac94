//! One child process as the supervisor sees it: its channel, and what is still to be said to it.
//!
//! The supervisor never waits for a child: what its channel has no room for stays in the outbox
//! until the child reads. A child that lets its outbox grow is killed, and starts afresh.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::limits;
use crate::sys::channel::{self, Channel};
use crate::sys::clock::monotonic_ns;
use crate::sys::process::Spawn;

/// Most messages that wait for one child: a reload can send each tenant once, and this is a few.
const OUTBOX_MESSAGES_MAX: usize = 4 * (limits::TENANTS_MAX + 256);

/// Messages taken from one child in one turn, so that one that floods does not hold the others up.
const INBOX_BATCH: usize = 64;

/// A message on its way, with what it needs alive.
#[derive(Clone, Debug)]
pub(super) struct Message {
    bytes: Rc<[u8]>,
    fds: Vec<Rc<OwnedFd>>,
}

impl Message {
    /// Encodes a message once for any number of children. `InvalidInput` when it is above the limit
    /// of a channel.
    pub(super) fn new<M: Serialize>(message: &M, fds: Vec<Rc<OwnedFd>>) -> io::Result<Message> {
        let bytes = channel::encode(message)?;
        if bytes.len() > channel::MESSAGE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "it is {} bytes as a message, above the limit of {}",
                    bytes.len(),
                    channel::MESSAGE_BYTES_MAX
                ),
            ));
        }
        Ok(Message {
            bytes: bytes.into(),
            fds,
        })
    }
}

/// A running child. Killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    channel: Channel,
    outbox: VecDeque<Message>,
    started_ns: u64,
    /// It said `Ready`.
    pub(super) ready: bool,
    /// It has said that nothing is in flight any more.
    pub(super) drained: bool,
    /// It was told to stop.
    pub(super) stopped: bool,
    /// `Commit`s it was sent and did not answer yet.
    pub(super) uncommitted: usize,
    /// Nothing more will be heard from it.
    ended: bool,
    /// When it is killed if it is still there.
    kill_ns: Option<u64>,
}

impl Child {
    /// Starts `skep SUBCOMMAND` with its control channel.
    pub(super) fn start(subcommand: &str, stdout: bool) -> io::Result<Child> {
        let (ours, theirs) = Channel::pair()?;
        let spawn = Spawn {
            subcommand,
            fds: &[theirs.as_fd()],
            limits: &[],
            nice: 0,
            stdout,
            stderr: true,
        };
        Ok(Child {
            process: spawn.start()?,
            channel: ours,
            outbox: VecDeque::new(),
            started_ns: monotonic_ns(),
            ready: false,
            drained: false,
            stopped: false,
            uncommitted: 0,
            ended: false,
            kill_ns: None,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How long ago it was started, in milliseconds.
    pub(super) fn lived_ms(&self) -> u64 {
        (monotonic_ns() - self.started_ns) / 1_000_000
    }

    /// Says `message` after everything said before.
    pub(super) fn say(&mut self, message: Message) {
        self.outbox.push_back(message);
    }

    /// Sends what the channel has room for.
    pub(super) fn flush(&mut self) {
        while let Some(message) = self.outbox.front() {
            let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(|fd| fd.as_fd()).collect();
            match self.channel.try_send_bytes(&message.bytes, &fds) {
                Ok(()) => {
                    self.outbox.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.outbox.clear();
                    self.kill_after_ms(limits::KILL_GRACE_MS);
                }
            }
        }
        if self.outbox.len() > OUTBOX_MESSAGES_MAX {
            self.outbox.clear();
            self.kill();
        }
    }

    /// Whether anything waits for room in the channel.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What it said since the last time. Descriptors beside messages are not wanted and closed.
    pub(super) fn hear<M: DeserializeOwned>(&mut self) -> Vec<M> {
        let mut heard = Vec::new();
        while !self.ended && heard.len() < INBOX_BATCH {
            match self.channel.try_recv::<M>() {
                Ok(Some((message, _))) => heard.push(message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // No worker that is in its senses says such a thing.
                    self.ended = true;
                    self.kill();
                }
                Ok(None) | Err(_) => {
                    // Most likely it is about to exit (a reset is an end with messages unread).
                    self.ended = true;
                    self.kill_after_ms(limits::KILL_GRACE_MS);
                }
            }
        }
        heard
    }

    /// Whether anything can still be heard from it.
    pub(super) fn is_open(&self) -> bool {
        !self.ended
    }

    /// Kills it then, if it is still there; an earlier time that was set before stays.
    pub(super) fn kill_after_ms(&mut self, ms: u64) {
        let at = monotonic_ns() + ms * 1_000_000;
        self.kill_ns = Some(self.kill_ns.map_or(at, |before| before.min(at)));
    }

    /// When [`Self::kill_if_due`] wants to be called: the time set, or the end of its start-up.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        let start = self.started_ns + limits::WORKER_START_MS * 1_000_000;
        if self.ready {
            self.kill_ns
        } else {
            Some(self.kill_ns.map_or(start, |at| at.min(start)))
        }
    }

    /// Kills it when its time is over; says whether it did.
    pub(super) fn kill_if_due(&mut self, now_ns: u64) -> bool {
        let due = self.deadline_ns().is_some_and(|at| at <= now_ns);
        if due {
            // Once: its death is on the way.
            (self.ready, self.kill_ns) = (true, None);
            self.kill();
        }
        due
    }

    /// Sends SIGKILL.
    pub(super) fn kill(&mut self) {
        // It fails only for a process that was reaped.
        let _ = self.process.kill();
    }

    /// How it ended, if it did.
    pub(super) fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}
