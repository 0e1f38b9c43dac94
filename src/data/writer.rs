//! The thread that changes the embedded store: what waits while a commit is under way is the next one.
//!
//! ```text
//! calls ─► queue ─► as many as there are ─► one commit ─► their answers
//! ```

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::kv::embedded::Embedded;
use super::kv::{Answer, Change, KvError, Quota};
use crate::config::limits;
use crate::sys::thread;

type Changed = Result<Answer, KvError>;

struct Pending {
    namespace: String,
    quota: Quota,
    change: Change,
    done: oneshot::Sender<Changed>,
}

/// Gives changes to the thread.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::Sender<Pending>);

impl Writer {
    /// Starts the thread, which ends with the last `Writer`.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn start(embedded: Arc<Embedded>) -> io::Result<Self> {
        let (send, mut receive) = mpsc::channel(limits::KV_CHANGES_WAITING_MAX);
        thread::start("skep-kv", move || {
            let mut batch: Vec<Pending> = Vec::new();
            while receive.blocking_recv_many(&mut batch, limits::KV_CHANGES_PER_COMMIT) > 0 {
                commit(&embedded, std::mem::take(&mut batch));
            }
        })?;
        Ok(Self(send))
    }

    /// Makes a change; when this returns, it is durable.
    ///
    /// # Errors
    /// See [`KvError`].
    pub async fn change(&self, namespace: &str, quota: Quota, change: Change) -> Changed {
        let (done, changed) = oneshot::channel();
        let namespace = namespace.to_owned();
        let pending = Pending {
            namespace,
            quota,
            change,
            done,
        };
        let busy = |_| KvError::Unavailable("too many changes wait for the disk".to_owned());
        self.0.try_send(pending).map_err(busy)?;
        let gone = |_| KvError::Unavailable("the store has failed".to_owned());
        changed.await.map_err(gone)?
    }
}

fn commit(embedded: &Embedded, batch: Vec<Pending>) {
    let changes: Vec<_> = batch
        .iter()
        .map(|it| (it.namespace.as_str(), it.quota, &it.change))
        .collect();
    // Whoever asked may be gone: the change has happened all the same.
    match embedded.apply(&changes) {
        Ok(answers) => {
            for (pending, answer) in batch.into_iter().zip(answers) {
                let _ = pending.done.send(answer);
            }
        }
        Err(error) => {
            for pending in batch {
                let _ = pending.done.send(Err(error.clone()));
            }
        }
    }
}
