//! The proof that stripes hold, made before a worker serves: a guest's read of the memory beside
//! its own must fault.
//!
//! ```text
//!  instance 0   instance 1   instance 2  …  instance 14      one of each key, all alive
//!  │ "mine" │   │ "mine" │   │ "mine" │     │ "mine" │      the host reads each: they are there
//!      └─ read ─────┘└─ read ────┘ …                         each guest reads the next: it traps
//! ```
//!
//! A worker has no compiler, so a compile job makes the guest, as it makes those of tenants: what
//! is proved is the code, the pool and the switch of keys that tenants get. The job is started
//! before the engines are made: forking a process with all their mappings takes long.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;
use wasmtime::component::{Component, Linker, TypedFunc, WasmList};
use wasmtime::{Engine, Store, Trap};

use super::settings::one_line;
use crate::compiler::{CompileError, JobLimits, compile_in_child};
use crate::config::Profile;
use crate::control::Flavour;

/// The guest with either handler; both are `neighbour.wat`.
const P2: &[u8] = include_bytes!("stripes/neighbour.p2.wasm");
const P3: &[u8] = include_bytes!("stripes/neighbour.p3.wasm");

/// The guest for each engine, and whether its code counts fuel.
const GUESTS: [(&[u8], bool); 3] = [(P2, false), (P3, false), (P2, true)];

/// Where the guest's memory holds what `mine` returns.
const MINE_AT: u32 = 16;
const MINE: &[u8] = b"mine";

/// More ticks than pass while the host runs, and more fuel than the guest needs.
const NO_DEADLINE: u64 = 1 << 40;
const FUEL: u64 = 1 << 40;

/// Why stripes are not proved to hold. The worker must not serve.
#[derive(Debug, Error)]
pub enum Unproved {
    /// The guest could not be compiled.
    #[error("protection keys are not proved to hold: {0}")]
    Compile(#[from] CompileError),
    /// The kernel gave no file for the guest.
    #[error("protection keys are not proved to hold: {0}")]
    File(#[from] std::io::Error),
    /// The guest does not run as it should.
    #[error("protection keys are not proved to hold: {0}")]
    Guest(String),
    /// There are no neighbours: Wasmtime made fewer stripes than the profile says.
    #[error(
        "protection keys are not proved to hold: {found} memories are within reach of another \
         one, and {wanted} should be; choose a profile without memory_protection_keys"
    )]
    NoNeighbours {
        /// Memories within reach of the one below them.
        found: usize,
        /// Stripes, less one.
        wanted: usize,
    },
    /// They do not hold.
    #[error(
        "protection keys do not hold: a guest read the memory {bytes} bytes above its own; choose \
         a profile without memory_protection_keys"
    )]
    Open {
        /// How far away it was.
        bytes: u32,
    },
}

/// The guest's artifacts, for a worker with this profile.
#[derive(Debug)]
pub struct Neighbours(Vec<(Flavour, OwnedFd)>);

impl Neighbours {
    /// Compiles the guest for every engine.
    ///
    /// # Errors
    /// When there is no artifact.
    pub fn compile(profile: &Profile) -> Result<Neighbours, Unproved> {
        let artifact = |(bytes, fuel)| -> Result<(Flavour, OwnedFd), Unproved> {
            let memfd = memfd_create(c"skep-neighbour", MFdFlags::MFD_CLOEXEC);
            let mut component = std::fs::File::from(memfd.map_err(std::io::Error::from)?);
            component.write_all(bytes)?;
            let limits = JobLimits::quick();
            Ok(compile_in_child(component.as_fd(), profile, fuel, &limits)?)
        };
        let artifacts: Result<_, _> = GUESTS.into_iter().map(artifact).collect();
        artifacts.map(Neighbours)
    }

    /// The guest's artifact for the engine of a flavour.
    pub(super) fn artifact(&self, flavour: Flavour) -> Result<BorrowedFd<'_>, Unproved> {
        let same = |it: &&(Flavour, OwnedFd)| {
            it.0 == flavour || it.0.counts_fuel() && flavour.counts_fuel()
        };
        match self.0.iter().find(same) {
            Some((_, artifact)) => Ok(artifact.as_fd()),
            None => Err(Unproved::Guest(format!("there is none for {flavour:?}"))),
        }
    }
}

/// One instance and where its memory is.
struct Neighbour {
    store: Store<()>,
    read: TypedFunc<(u32,), (u32,)>,
    base: usize,
}

/// Proves that in this engine's pool of so many stripes no memory can be read from the one below.
/// Says how many reads faulted.
pub(super) fn prove(
    engine: &Engine,
    component: &Component,
    stripes: u64,
) -> Result<usize, Unproved> {
    let guest = |error| Unproved::Guest(one_line(error));
    let mut neighbours = Vec::new();
    for _ in 0..stripes {
        neighbours.push(Neighbour::new(engine, component).map_err(guest)?);
    }
    neighbours.sort_by_key(|it| it.base);
    let above: Vec<usize> = neighbours.iter().skip(1).map(|it| it.base).collect();
    let mut faulted = 0;
    for (neighbour, above) in neighbours.iter_mut().zip(above) {
        let Ok(distance) = u32::try_from(above - neighbour.base) else {
            continue;
        };
        match neighbour.read(distance + MINE_AT) {
            Ok(_) => return Err(Unproved::Open { bytes: distance }),
            Err(error) if error.downcast_ref() == Some(&Trap::MemoryOutOfBounds) => faulted += 1,
            Err(error) => return Err(guest(error)),
        }
    }
    let wanted = neighbours.len().saturating_sub(1);
    match faulted == wanted && wanted > 0 {
        true => Ok(faulted),
        false => Err(Unproved::NoNeighbours {
            found: faulted,
            wanted,
        }),
    }
}

impl Neighbour {
    /// Makes an instance, and finds its memory by what is in it.
    fn new(engine: &Engine, component: &Component) -> wasmtime::Result<Neighbour> {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(NO_DEADLINE);
        // Refused where code counts none.
        let _ = store.set_fuel(FUEL);
        let instance = Linker::new(engine).instantiate(&mut store, component)?;
        let mine = instance.get_typed_func::<(), (WasmList<u8>,)>(&mut store, "mine")?;
        let read = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "read")?;
        let (mine,) = mine.call(&mut store, ())?;
        let mine = mine.as_le_slice(&store);
        // The host may read all memories: this one is there, and its neighbour will find it.
        if mine != MINE {
            wasmtime::bail!("its memory holds {mine:?}, and not {MINE:?}");
        }
        let base = mine.as_ptr() as usize - MINE_AT as usize;
        let mut neighbour = Neighbour { store, read, base };
        // So can the guest read its own: a read that faults elsewhere faults because of where.
        match neighbour.read(MINE_AT)? == u32::from(MINE[0]) {
            true => Ok(neighbour),
            false => wasmtime::bail!("it does not read its own memory"),
        }
    }

    fn read(&mut self, address: u32) -> wasmtime::Result<u32> {
        Ok(self.read.call(&mut self.store, (address,))?.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::settings;

    /// The guests are what their text says. `SKEP_BLESS=1` writes them.
    #[test]
    fn guests_are_their_text() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine/stripes");
        let text = std::fs::read_to_string(dir.join("neighbour.wat")).unwrap();
        let p3 = text.replace("incoming-handler@0.2.0", "handler@0.3.0");
        for (bytes, file, text) in [(P2, "p2", text), (P3, "p3", p3)] {
            let made = wat::parse_str(text).unwrap();
            if std::env::var_os("SKEP_BLESS").is_some() {
                std::fs::write(dir.join(format!("neighbour.{file}.wasm")), made).unwrap();
            } else {
                assert!(made == bytes, "{file}: run this test with SKEP_BLESS=1");
            }
        }
    }

    /// Without stripes nothing is within reach, and that is no proof.
    #[test]
    fn a_pool_without_stripes_proves_nothing() {
        let profile = Profile::find("local", Path::new("")).unwrap();
        for (bytes, fuel) in GUESTS {
            let (flavour, artifact) = settings::compile_counting(bytes, &profile, fuel).unwrap();
            let engine = Engine::new(&settings::worker(flavour, &profile, true)).unwrap();
            // SAFETY: it was compiled just now.
            #[allow(unsafe_code)]
            let component = unsafe { Component::deserialize(&engine, artifact) }.unwrap();
            assert!(matches!(
                prove(&engine, &component, 15),
                Err(Unproved::NoNeighbours {
                    found: 0,
                    wanted: 14
                })
            ));
        }
    }
}
