//! Giving one worker its artifacts.
//!
//! What waits for a worker is kept by tenant, so that a worker that reads slowly costs one entry
//! per tenant; the artifact is opened when it is its turn, so that at most one descriptor is open
//! per worker.

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use super::Event;
use super::prepare::{Artifact, blocking};
use super::store::Store;
use crate::control::ArtifactMessage;
use crate::sys::{AsyncChannel, report};

/// What a worker is to be told about one tenant.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// The tenant's name.
    pub(super) tenant: String,
    /// The generation of its component.
    pub(super) generation: u64,
    /// Its artifact, or why there is none.
    pub(super) outcome: Result<Artifact, String>,
}

/// The deliveries that wait for one worker, the newest for each tenant, in order of arrival.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<(VecDeque<String>, HashMap<String, Delivery>)>,
    filled: Notify,
}

impl Queue {
    fn push(&self, delivery: Delivery) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (order, deliveries) = &mut *waiting;
        let tenant = delivery.tenant.clone();
        if deliveries.insert(tenant.clone(), delivery).is_none() {
            order.push_back(tenant);
        }
        self.filled.notify_one();
    }

    async fn pop(&self) -> Delivery {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let (order, deliveries) = &mut *waiting;
                if let Some(delivery) = order.pop_front().and_then(|name| deliveries.remove(&name))
                {
                    return delivery;
                }
            }
            self.filled.notified().await;
        }
    }
}

/// One worker, as long as its channel lives. Dropping it ends the deliveries.
#[derive(Debug)]
pub(super) struct Courier {
    queue: Arc<Queue>,
    task: AbortHandle,
}

impl Courier {
    /// Starts delivering over `channel`; artifacts of `store` that turn out damaged are reported to
    /// `events` as lost by that workshop.
    pub(super) fn start(
        channel: AsyncChannel,
        store: Arc<Store>,
        workshop: usize,
        events: mpsc::Sender<Event>,
    ) -> Courier {
        let queue = Arc::new(Queue::default());
        let task = tokio::spawn(run(queue.clone(), channel, store, workshop, events));
        let task = task.abort_handle();
        Courier { queue, task }
    }

    /// Delivers after what waits already.
    pub(super) fn deliver(&self, delivery: Delivery) {
        self.queue.push(delivery);
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Delivers until the worker is gone.
async fn run(
    queue: Arc<Queue>,
    channel: AsyncChannel,
    store: Arc<Store>,
    workshop: usize,
    events: mpsc::Sender<Event>,
) {
    loop {
        let Delivery {
            tenant,
            generation,
            outcome,
        } = queue.pop().await;
        let sent = match outcome {
            Err(reason) => {
                let message = ArtifactMessage::Rejected {
                    tenant,
                    generation,
                    reason,
                };
                channel.send(&message, &[]).await
            }
            Ok(Artifact { name, flavour }) => {
                let (opener, wanted) = (store.clone(), name.clone());
                let why = match blocking(move || opener.get(&wanted)).await {
                    Ok(Ok(Some((_, file)))) => {
                        let digest = name;
                        let message = ArtifactMessage::Ready {
                            tenant,
                            generation,
                            flavour,
                            digest,
                        };
                        if channel.send(&message, &[file.as_fd()]).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    Ok(Ok(None)) => "it is gone".to_owned(),
                    Ok(Err(refusal)) => refusal.to_string(),
                    Err(error) => error,
                };
                report::line(format_args!("artifact refused: {name}: {why}; recompiling"));
                store.remove(&name);
                let lost = Event::Lost {
                    tenant,
                    generation,
                    workshop,
                };
                events.send(lost).await.map_err(std::io::Error::other)
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
