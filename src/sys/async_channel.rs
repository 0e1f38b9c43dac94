//! A [`Channel`] for tokio tasks.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use super::channel::{self, Channel};

/// One end of a channel, waited for by tasks of the current runtime. The channel inside never
/// changes.
#[derive(Debug)]
pub struct AsyncChannel(AsyncFd<Channel>);

impl AsyncChannel {
    /// Registers `channel` with the current runtime.
    pub fn new(channel: Channel) -> io::Result<AsyncChannel> {
        // SAFETY: a `Channel` owns one descriptor, which is open and the same as long as it lives,
        // and nothing here replaces it or gives it out.
        Ok(AsyncChannel(unsafe { AsyncFd::register(channel) }?))
    }

    /// Sends `message`, once there is room. Errors as [`Channel::send`].
    pub async fn send<M: Serialize>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = channel::encode(message)?;
        loop {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|channel| channel.get_ref().try_send_bytes(&bytes, fds)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// The next message; `None` at the end of the stream. Errors as [`Channel::recv`].
    pub async fn recv<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|channel| channel.get_ref().try_recv()) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// The next datagram's bytes, into `buf`; `false` at the end of the stream.
    pub async fn recv_bytes(&self, buf: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|channel| channel.get_ref().try_recv_bytes(buf)) {
                Ok(result) => return result.map(|received| received.is_some()),
                Err(_would_block) => {}
            }
        }
    }
}
