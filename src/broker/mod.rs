//! The process that has time: it makes artifacts and writes logs, so that no worker waits for a
//! disk.
//!
//! ```text
//!              supervisor
//!                  │ tenants, workers
//!          ┌───────▼────────┐ prepare   ┌──────────┐ spawn  ┌─────────────┐
//!          │ one task: who  ├──────────►│ preparer ├───────►│ compile-job │
//!          │ has which      │◄──────────┤  store   │        └─────────────┘
//!          │ artifact       │ Event     └──────────┘
//!          └──┬─────────────┘
//!             │ Delivery            courier per worker ──Ready + descriptor──► worker
//!             └────────────────────►
//!                                   log reader per worker ◄──lines── worker
//! ```
//!
//! One tokio thread, and a few that may block: reading components, verifying artifacts, waiting for
//! a job.

#![forbid(unsafe_code)]

pub mod component;
mod deliver;
mod lanes;
mod logs;
pub mod prepare;
mod scan;
pub mod store;
#[cfg(test)]
mod store_tests;
pub mod tag;
mod tenant_files;
mod tenants;
mod workshops;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;

use self::logs::Logs;
use self::prepare::Artifact;
use self::tenants::Tenants;
use self::workshops::Workshops;
use crate::control::{FromBroker, ToBroker};
use crate::isolation;
use crate::sys::{AsyncChannel, Channel, process, report};

/// Threads that may block at once: two that name components, one per job, and some that verify.
const BLOCKING_THREADS_MAX: usize = 8;

/// Events that wait for the main task; their senders wait when it is full.
const EVENTS_MAX: usize = 64;

/// Most time to write out what the workers' log channels hold, in milliseconds; below the
/// supervisor's patience.
const FINISH_MS: u64 = 2_000;

/// What tasks tell the main one.
#[derive(Debug)]
enum Event {
    /// The artifact of a tenant for the workers of one workshop is there, or could not be made.
    Prepared {
        tenant: String,
        generation: u64,
        workshop: usize,
        outcome: Result<Artifact, String>,
    },
    /// An artifact that was there is damaged, and was removed.
    Lost {
        tenant: String,
        generation: u64,
        workshop: usize,
    },
}

/// Why the broker ended.
#[derive(Debug, thiserror::Error)]
enum BrokerError {
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("expected {expected} from the supervisor")]
    Protocol { expected: &'static str },
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("the profile makes no engine: {0}")]
    Engine(String),
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> BrokerError {
    move |source| BrokerError::System { what, source }
}

/// Runs the broker for the supervisor that started this process.
pub fn run() -> ExitCode {
    match run_to_stop() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("broker: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run_to_stop() -> Result<(), BrokerError> {
    let control = Channel::from_fd(process::inherited(0).map_err(system("control channel"))?);
    process::set_name("skep-broker").map_err(system("naming the process"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(system("starting tokio"))?;
    let result = runtime.block_on(serve(control));
    // A compile job in progress is killed with this process.
    runtime.shutdown_background();
    result
}

async fn serve(control: Channel) -> Result<(), BrokerError> {
    let control = AsyncChannel::new(control).map_err(system("control channel"))?;
    let first = control
        .recv::<ToBroker>()
        .await
        .map_err(system("control channel"))?;
    let (artifacts_dir, log_file, tenant_logs, profiles, require) = match first {
        Some((
            ToBroker::Start {
                artifacts_dir,
                log_file,
                log_dir,
                profiles,
                require,
            },
            _,
        )) => (artifacts_dir, log_file, log_dir, profiles, require),
        None => return Ok(()),
        Some(_) => return Err(BrokerError::Protocol { expected: "Start" }),
    };
    let workshops = Workshops::open(&artifacts_dir, profiles)?;
    // Before the first thread is started.
    let log_dir = log_file.as_deref().and_then(Path::parent);
    let tenants_dir = tenant_logs.as_ref().map(|place| place.dir.as_path());
    tenants_dir
        .map_or(Ok(()), tenant_files::make)
        .map_err(system("opening the log"))?;
    let kept: Vec<PathBuf> = [Some(artifacts_dir.as_path()), log_dir, tenants_dir]
        .into_iter()
        .flatten()
        .map(Path::to_owned)
        .collect();
    let layers = isolation::broker::lockdown(&kept, &require).map_err(system("locking down"))?;
    control
        .send(&FromBroker::Isolated(layers), &[])
        .await
        .map_err(system("control channel"))?;
    let logs = Logs::open(log_file, tenant_logs).map_err(system("opening the log"))?;
    let (events_in, events) = mpsc::channel(EVENTS_MAX);
    let tenants = Tenants::new(workshops, events_in);
    control
        .send(&FromBroker::Ready, &[])
        .await
        .map_err(system("control channel"))?;
    Broker {
        control,
        tenants,
        logs,
    }
    .run(events)
    .await
}

struct Broker {
    control: AsyncChannel,
    tenants: Tenants,
    logs: Logs,
}

impl Broker {
    async fn run(mut self, mut events: mpsc::Receiver<Event>) -> Result<(), BrokerError> {
        loop {
            tokio::select! {
                // Tenants first: an event about one that was just removed is then known to be late.
                biased;
                message = self.control.recv::<ToBroker>() => {
                    match message.map_err(system("control channel"))? {
                        None | Some((ToBroker::Stop, _)) => break,
                        Some((message, fds)) => self.obey(message, fds).await?,
                    }
                }
                Some(event) = events.recv() => {
                    if let Some((tenant, error)) = self.tenants.event(event) {
                        let prepared = FromBroker::Prepared { tenant, error };
                        self.control.send(&prepared, &[]).await.map_err(system("control channel"))?;
                    }
                }
            }
        }
        if tokio::time::timeout(Duration::from_millis(FINISH_MS), self.logs.finish())
            .await
            .is_err()
        {
            report::line(format_args!("broker: log lines were left unwritten"));
        }
        Ok(())
    }

    async fn obey(
        &mut self,
        message: ToBroker,
        fds: Vec<std::os::fd::OwnedFd>,
    ) -> Result<(), BrokerError> {
        match message {
            ToBroker::Tenant(placed) => {
                self.logs.names.add(&placed.tenant.name);
                self.tenants.set(*placed);
            }
            ToBroker::Remove { name } => {
                self.logs.names.remove(&name);
                self.tenants.remove(&name);
            }
            ToBroker::Worker { index } => {
                let mut channels = fds
                    .into_iter()
                    .map(|fd| AsyncChannel::new(Channel::from_fd(fd)));
                let (Some(artifacts), Some(log)) = (channels.next(), channels.next()) else {
                    return Err(BrokerError::Protocol {
                        expected: "two channels with Worker",
                    });
                };
                self.logs
                    .read(log.map_err(system("a worker's log channel"))?);
                let artifacts = artifacts.map_err(system("a worker's channel"))?;
                self.tenants.worker(index, artifacts);
            }
            ToBroker::Retired { index } => self.tenants.retire(index),
            ToBroker::Front => {
                let log = fds.into_iter().next().ok_or(BrokerError::Protocol {
                    expected: "a channel with Front",
                })?;
                let log = AsyncChannel::new(Channel::from_fd(log));
                self.logs
                    .read(log.map_err(system("the front's log channel"))?);
            }
            ToBroker::ReopenLog => self.logs.reopen().await,
            ToBroker::Start { .. } => {
                return Err(BrokerError::Protocol {
                    expected: "one Start",
                });
            }
            ToBroker::Stop => {} // ends the loop before it gets here
        }
        Ok(())
    }
}
