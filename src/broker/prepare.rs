//! From a component's file to its artifact in the store.
//!
//! ```text
//! name the content ─► one at a time per name ─► in the store? ─yes──────────────────────► done
//!  (a few at once)                                │ no, or refused
//!                                                 ▼
//!                    wait for a lane ─► snapshot, same name? ─► compile ─► put ────────► done
//!                       ▲    ▲              └ no: with the new name again │ │
//!                       │    └──── out of the quick lane's time: slow ────┘ │
//!                       └───────── killed by the host: once more, later ────┘
//! ```
//!
//! Dropping [`Preparer::prepare`] leaves the queue; a job that runs is finished and its artifact
//! kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::component::{artifact_name, snapshot};
use super::lanes::{Lane, Lanes};
use super::scan;
use super::store::Store;
use crate::compiler::{CompileError, JobLimits, compile_in_child};
use crate::config::{Profile, limits};
use crate::control::Flavour;
use crate::sys::report;

/// Components named at once: enough to keep a disk busy, few enough to leave the workers' cores
/// alone.
const NAMING_MAX: usize = 2;

/// How long a job that the host killed waits for its second try.
const KILLED_RETRY: Duration = Duration::from_millis(limits::COMPILE_KILLED_RETRY_MS);

/// How often a component may change between being named and being compiled.
const CHANGES_MAX: usize = 3;

/// An artifact that was in the store and intact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its name in the store.
    pub name: String,
    /// Which engine loads it.
    pub flavour: Flavour,
}

/// What artifacts for one kind of engine are made with.
#[derive(Debug)]
pub struct Workshop {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// What the workers are tuned to that run them; of several whose code is the same, any.
    pub profile: Profile,
    /// Names the engine settings; part of an artifact's name.
    pub compatibility: String,
}

/// What came of one attempt to make an artifact.
enum Made {
    Artifact(Artifact),
    /// The file's content has another name by now.
    Changed(String),
}

/// Why an attempt made none.
enum Failed {
    /// The compile job; what to do next depends on how.
    Job(CompileError),
    /// Anything else, in one line.
    Other(String),
}

impl From<Failed> for String {
    fn from(failed: Failed) -> String {
        match failed {
            Failed::Job(error) => error.to_string(),
            Failed::Other(reason) => reason,
        }
    }
}

impl Workshop {
    /// The component's artifact and the verified descriptor of it: from the store if it is there,
    /// else compiled now. Blocking; for `skep run` and `skep compile`. The error is one line.
    pub fn obtain(&self, component: &Path) -> Result<(Artifact, File), String> {
        let mut name = artifact_name(component, &self.compatibility).map_err(unreadable)?;
        for _ in 0..CHANGES_MAX {
            match self.make(component, &name, false, Lane::Slow)? {
                Made::Changed(new) => name = new,
                Made::Artifact(artifact) => {
                    let (_, file) = self
                        .store
                        .get(&artifact.name)
                        .map_err(|refusal| refusal.to_string())?
                        .ok_or("its artifact vanished")?;
                    return Ok((artifact, file));
                }
            }
        }
        Err(restless())
    }

    /// Names the engine settings of code that counts fuel, or of code that does not.
    fn settings(&self, fuel: bool) -> Cow<'_, str> {
        match fuel {
            true => format!("{} fuel", self.compatibility).into(),
            false => self.compatibility.as_str().into(),
        }
    }

    /// The flavour of an intact artifact of that name; one that is not intact is removed.
    fn find(&self, name: &str) -> Option<Artifact> {
        match self.store.get(name) {
            Ok(found) => found.map(|(flavour, _)| Artifact {
                name: name.to_owned(),
                flavour,
            }),
            Err(refusal) => {
                report::line(format_args!(
                    "artifact refused: {name}: {refusal}; recompiling"
                ));
                self.store.remove(name);
                None
            }
        }
    }

    /// Compiles the component, within what a lane allows, unless its artifact is there.
    fn make(&self, component: &Path, name: &str, fuel: bool, lane: Lane) -> Result<Made, Failed> {
        let other = |reason: String| Failed::Other(reason);
        if let Some(artifact) = self.find(name) {
            return Ok(Made::Artifact(artifact));
        }
        let read = snapshot(component, &self.settings(fuel));
        let (bytes, current) = read.map_err(|error| other(unreadable(error)))?;
        if current != name {
            return Ok(Made::Changed(current));
        }
        let bytes = File::from(bytes);
        let limits = match lane {
            Lane::Quick => JobLimits::quick(),
            Lane::Slow => {
                let meta = bytes.metadata().map_err(|error| other(unreadable(error)))?;
                JobLimits::for_component(meta.len())
            }
        };
        let bytes = std::os::fd::AsFd::as_fd(&bytes);
        let (flavour, code) =
            compile_in_child(bytes, &self.profile, fuel, &limits).map_err(Failed::Job)?;
        let mut code = File::from(code);
        scan::check(&code).map_err(other)?;
        self.store
            .put(name, flavour, &mut code)
            .map_err(|error| other(format!("its artifact cannot be stored: {error}")))?;
        Ok(Made::Artifact(Artifact {
            name: name.to_owned(),
            flavour,
        }))
    }
}

fn unreadable(error: std::io::Error) -> String {
    format!("its component cannot be read: {error}")
}

fn restless() -> String {
    "its component keeps changing: write it elsewhere and rename it into place".into()
}

/// Prepares many components, each content once in each workshop.
#[derive(Debug)]
pub struct Preparer {
    naming: Arc<Semaphore>,
    lanes: Lanes,
    /// Held by whoever prepares the artifact of that name.
    locks: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Default for Preparer {
    /// With the product's limits.
    fn default() -> Preparer {
        Preparer {
            naming: Arc::new(Semaphore::new(NAMING_MAX)),
            lanes: Lanes::default(),
            locks: Mutex::new(HashMap::new()),
        }
    }
}

impl Preparer {
    /// The component's artifact of a workshop, intact in the store; `fuel` says whether its code
    /// counts fuel. What it takes to make it is on the tenant's account. The error is a reason in one
    /// line.
    pub async fn prepare(
        &self,
        workshop: &Arc<Workshop>,
        tenant: &str,
        component: PathBuf,
        fuel: bool,
    ) -> Result<Artifact, String> {
        let mut name = self.name(workshop, component.clone(), fuel).await?;
        for _ in 0..CHANGES_MAX {
            let made = self.prepare_named(workshop, tenant, component.clone(), name, fuel);
            match made.await? {
                Made::Artifact(artifact) => return Ok(artifact),
                Made::Changed(new) => name = new,
            }
        }
        Err(restless())
    }

    async fn name(
        &self,
        workshop: &Arc<Workshop>,
        component: PathBuf,
        fuel: bool,
    ) -> Result<String, String> {
        let permit = self
            .naming
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let workshop = workshop.clone();
        blocking(move || {
            let _permit = permit;
            artifact_name(&component, &workshop.settings(fuel)).map_err(unreadable)
        })
        .await?
    }

    async fn prepare_named(
        &self,
        workshop: &Arc<Workshop>,
        tenant: &str,
        component: PathBuf,
        name: String,
        fuel: bool,
    ) -> Result<Made, String> {
        let lock = self.lock(&name);
        let _alone = lock.lock().await;
        let (finder, wanted) = (workshop.clone(), name.clone());
        if let Some(artifact) = blocking(move || finder.find(&wanted)).await? {
            return Ok(Made::Artifact(artifact));
        }
        let (mut lane, mut was_killed) = (first_lane(&component), false);
        loop {
            let permit = self.lanes.enter(lane, tenant).await;
            let (maker, path, wanted) = (workshop.clone(), component.clone(), name.clone());
            let made = blocking(move || {
                // Held to the end of the job, even if nobody waits for it any more.
                let _permit = permit;
                maker.make(&path, &wanted, fuel, lane)
            });
            match made.await? {
                Err(Failed::Job(error)) if lane == Lane::Quick && error.is_out_of_time() => {
                    lane = Lane::Slow;
                }
                Err(Failed::Job(error)) if error.is_of_host() && !was_killed => {
                    was_killed = true;
                    report::line(format_args!("tenant {tenant}: {error}; trying once more"));
                    tokio::time::sleep(KILLED_RETRY).await;
                }
                made => return Ok(made?),
            }
        }
    }

    fn lock(&self, name: &str) -> Arc<AsyncMutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// Where a component is compiled first.
fn first_lane(component: &Path) -> Lane {
    // One that cannot be read fails soon, in whichever lane.
    let bytes = std::fs::metadata(component).map_or(0, |file| file.len());
    if bytes <= limits::COMPILE_SMALL_BYTES {
        Lane::Quick
    } else {
        Lane::Slow
    }
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())
}
