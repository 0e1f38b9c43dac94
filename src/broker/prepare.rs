//! From a component's file to its artifact in the store.
//!
//! ```text
//! name the content ─► one at a time per name ─► in the store? ─yes──────────────────────► done
//!  (a few at once)                                │ no, or refused
//!                                                 ▼
//!                    wait for a compile job ─► snapshot, same name? ─► compile ─► put ─► done
//!               (COMPILE_JOBS_MAX a lane at once)    └ no: with the new name again
//! ```
//!
//! Dropping [`Preparer::prepare`] leaves the queue; a job that runs is finished and its artifact
//! kept.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::component::{artifact_name, snapshot};
use super::scan;
use super::store::Store;
use crate::compiler::{JobLimits, compile_in_child};
use crate::config::{Profile, limits};
use crate::control::Flavour;
use crate::sys::report;

/// Components named at once: enough to keep a disk busy, few enough to leave the workers' cores
/// alone.
const NAMING_MAX: usize = 2;

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

impl Workshop {
    /// The component's artifact and the verified descriptor of it: from the store if it is there,
    /// else compiled now. Blocking; for `skep run` and `skep compile`. The error is one line.
    pub fn obtain(&self, component: &Path) -> Result<(Artifact, File), String> {
        let mut name = artifact_name(component, &self.compatibility).map_err(unreadable)?;
        for _ in 0..CHANGES_MAX {
            match self.make(component, &name)? {
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

    /// Compiles the component unless its artifact is there.
    fn make(&self, component: &Path, name: &str) -> Result<Made, String> {
        if let Some(artifact) = self.find(name) {
            return Ok(Made::Artifact(artifact));
        }
        let (bytes, current) = snapshot(component, &self.compatibility).map_err(unreadable)?;
        if current != name {
            return Ok(Made::Changed(current));
        }
        let bytes = std::os::fd::AsFd::as_fd(&bytes);
        let (flavour, code) = compile_in_child(bytes, &self.profile, &JobLimits::default())
            .map_err(|error| error.to_string())?;
        let mut code = File::from(code);
        scan::check(&code)?;
        self.store
            .put(name, flavour, &mut code)
            .map_err(|error| format!("its artifact cannot be stored: {error}"))?;
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
    /// Jobs at once, for small components and for the others: a small one, compiled in a tenth of a
    /// second, does not wait behind one that takes twenty.
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Held by whoever prepares the artifact of that name.
    locks: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Default for Preparer {
    /// With the product's limits.
    fn default() -> Preparer {
        Preparer {
            naming: Arc::new(Semaphore::new(NAMING_MAX)),
            small: Arc::new(Semaphore::new(limits::COMPILE_JOBS_MAX)),
            large: Arc::new(Semaphore::new(limits::COMPILE_JOBS_MAX)),
            locks: Mutex::new(HashMap::new()),
        }
    }
}

impl Preparer {
    /// The component's artifact of a workshop, intact in the store. The error is a reason in one
    /// line.
    pub async fn prepare(
        &self,
        workshop: &Arc<Workshop>,
        component: PathBuf,
    ) -> Result<Artifact, String> {
        let mut name = self.name(workshop, component.clone()).await?;
        for _ in 0..CHANGES_MAX {
            let made = self.prepare_named(workshop, component.clone(), name);
            match made.await? {
                Made::Artifact(artifact) => return Ok(artifact),
                Made::Changed(new) => name = new,
            }
        }
        Err(restless())
    }

    async fn name(&self, workshop: &Arc<Workshop>, component: PathBuf) -> Result<String, String> {
        let permit = self
            .naming
            .clone()
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let workshop = workshop.clone();
        blocking(move || {
            let _permit = permit;
            artifact_name(&component, &workshop.compatibility).map_err(unreadable)
        })
        .await?
    }

    async fn prepare_named(
        &self,
        workshop: &Arc<Workshop>,
        component: PathBuf,
        name: String,
    ) -> Result<Made, String> {
        let lock = self.lock(&name);
        let _alone = lock.lock().await;
        let (finder, wanted) = (workshop.clone(), name.clone());
        if let Some(artifact) = blocking(move || finder.find(&wanted)).await? {
            return Ok(Made::Artifact(artifact));
        }
        let permit = self
            .lane(&component)
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let workshop = workshop.clone();
        blocking(move || {
            // Held to the end of the job, even if nobody waits for it any more.
            let _permit = permit;
            workshop.make(&component, &name)
        })
        .await?
    }

    fn lane(&self, component: &Path) -> Arc<Semaphore> {
        // One that cannot be read fails soon, in whichever lane.
        let bytes = std::fs::metadata(component).map_or(0, |file| file.len());
        let small = bytes <= limits::COMPILE_SMALL_BYTES;
        Arc::clone(if small { &self.small } else { &self.large })
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

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| error.to_string())
}
