//! One worker's calls, answered in whatever order they are done.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Refused;
use super::frame::{self, Call, Reply};
use super::keeper::{Keeper, Who};
use crate::config::limits;

/// Answers who is at the other end, until it is gone.
///
/// # Errors
/// What it says is no call.
pub(super) async fn serve(keeper: Rc<Keeper>, stream: UnixStream, who: Who) -> io::Result<()> {
    let (mut read, write) = stream.into_split();
    let (replies, to_write) = mpsc::channel(limits::DATA_REPLIES_WAITING_MAX);
    tokio::task::spawn_local(write_all(write, to_write));
    let places = Arc::new(Semaphore::new(limits::DATA_CALLS_PER_WORKER_MAX));
    let room = Arc::new(Semaphore::new(limits::DATA_KIB_PER_WORKER_MAX));
    let mut buf = BytesMut::with_capacity(limits::DATA_READ_BYTES);
    loop {
        loop {
            let before = buf.len();
            let Some(call) = frame::decode::<Call>(&mut buf)? else {
                break;
            };
            // A worker that reads no answers is not listened to, nor one whose calls are too large together.
            let kib = ((before - buf.len()) / 1_024 + 1) as u32;
            let held = (
                Arc::clone(&places).acquire_owned().await,
                Arc::clone(&room).acquire_many_owned(kib).await,
            );
            let (keeper, replies) = (Rc::clone(&keeper), replies.clone());
            tokio::task::spawn_local(async move {
                let mut turn = None;
                let given = keeper.answer(who, &call.tenant, call.ask, &mut turn).await;
                let reply = Reply { id: call.id, given };
                // It fails when the worker is gone.
                let _ = replies.send((reply, turn)).await;
                drop(held);
            });
        }
        buf.reserve(limits::DATA_READ_BYTES);
        if read.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
    }
}

/// A tenant's turn, which ends when its answer is written.
type Turn = Option<OwnedSemaphorePermit>;

async fn write_all(mut write: OwnedWriteHalf, mut replies: mpsc::Receiver<(Reply, Turn)>) {
    let mut out = Vec::new();
    let mut turns: Vec<Turn> = Vec::new();
    while let Some((reply, turn)) = replies.recv().await {
        put(&reply, &mut out);
        turns.push(turn);
        // What is there goes out in one write.
        while out.len() < limits::DATA_READ_BYTES
            && let Ok((reply, turn)) = replies.try_recv()
        {
            put(&reply, &mut out);
            turns.push(turn);
        }
        if write.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
        turns.clear();
        out.shrink_to(limits::DATA_READ_BYTES);
    }
}

fn put(reply: &Reply, out: &mut Vec<u8>) {
    if frame::encode(reply, out).is_err() {
        let given = Err(Refused::Failed("the answer is too long".to_owned()));
        // As short as this is never too long.
        let _ = frame::encode(
            &Reply {
                id: reply.id,
                given,
            },
            out,
        );
    }
}
