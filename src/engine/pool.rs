//! A worker's engines, one per flavour, and the programs loaded into them.

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, EngineWeak, Linker as CoreLinker};
use wasmtime_wasi_http::{p2, p3};

use super::artifact::{self, ArtifactError};
use super::inspect;
use super::settings::{self, one_line};
use super::stripes::{self, Neighbours};
use crate::config::Profile;
use crate::control::Flavour;
use crate::guest::{AppPre, FilterPre, Phase, State, link_filters, link_p2, link_p3};

/// One flavour's engine with its pool and linker.
struct Loaded {
    engine: Engine,
    linker: Linker<State>,
    /// Made when the first filter is loaded.
    filters: OnceCell<CoreLinker<State>>,
}

/// The engines of one worker. Each is made when the first program of its flavour is loaded,
/// because a pool reserves its address space at once.
pub struct Engines {
    profile: Profile,
    can_swap: bool,
    p2: OnceCell<Loaded>,
    p3: OnceCell<Loaded>,
    fuel: OnceCell<Loaded>,
    neighbours: Option<Neighbours>,
    made: Box<dyn Fn(EngineWeak)>,
}

/// A tenant's component or filter, ready to be instantiated.
pub struct Program {
    pub(crate) engine: Engine,
    pub(crate) proxy: Proxy,
    /// Stripes of the engine's pool.
    pub(crate) stripes: u64,
    /// Whether its code counts fuel, and stops without any.
    pub(crate) counts_fuel: bool,
    /// The stacks that a request may need.
    pub(crate) stacks: Stacks,
}

/// The stacks that a request of a program may need at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stacks {
    /// One.
    One,
    /// Two, in an engine where every request may: what completes while the guest blocks has its own.
    Two,
    /// Two, beside programs that need one: a filter allocates on a second one, while the first is in a
    /// host call.
    Filter,
}

impl Program {
    /// Whether its answers have whole bodies, which the host keeps until they are sent.
    pub fn answers_whole(&self) -> bool {
        matches!(self.proxy, Proxy::FastEdge(_))
    }

    /// Whether it is a filter, which has no answers of its own.
    pub fn is_filter(&self) -> bool {
        matches!(self.proxy, Proxy::Filter(_))
    }

    /// Whether it is a filter that has something to do in this phase.
    pub fn filter_has(&self, phase: Phase) -> bool {
        match &self.proxy {
            Proxy::Filter(pre) => pre.has(phase),
            _ => false,
        }
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Program")
    }
}

/// The handler a program exports, or that it is a filter.
pub enum Proxy {
    /// `wasi:http/incoming-handler@0.2`.
    P2(p2::bindings::ProxyPre<State>),
    /// `wasi:http/handler@0.3`.
    P3(p3::bindings::ServicePre<State>),
    /// `gcore:fastedge/http-handler`, where there is none of the others.
    FastEdge(AppPre<State>),
    /// proxy-wasm.
    Filter(FilterPre),
}

impl Engines {
    /// Engines for this profile; `made` is told of each one when it is made, so that its epoch
    /// gets ticked. `can_swap`: see [`settings::worker`].
    pub fn new(profile: Profile, can_swap: bool, made: impl Fn(EngineWeak) + 'static) -> Self {
        Self {
            profile,
            can_swap,
            p2: OnceCell::new(),
            p3: OnceCell::new(),
            fuel: OnceCell::new(),
            neighbours: None,
            made: Box::new(made),
        }
    }

    /// With these, an engine's stripes are proved to hold when it is made; else it is not used.
    pub fn proved_with(mut self, neighbours: Option<Neighbours>) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// Maps an artifact and links it.
    ///
    /// # Errors
    /// When this engine cannot load it or a component's import is not provided.
    pub fn load(&self, flavour: Flavour, fd: BorrowedFd<'_>) -> Result<Program, ArtifactError> {
        let loaded = self.loaded(flavour)?;
        let unlinkable = |e| ArtifactError::Unlinkable(one_line(e));
        if flavour.is_filter() {
            let module = artifact::map_module(&loaded.engine, fd)?;
            let linker = loaded.filters().map_err(unlinkable)?;
            let pre = FilterPre::new(linker, &module).map_err(unlinkable)?;
            return Ok(self.program(loaded, flavour, Proxy::Filter(pre)));
        }
        let component = artifact::map(&loaded.engine, fd)?;
        let pre = loaded
            .linker
            .instantiate_pre(&component)
            .map_err(unlinkable)?;
        let proxy = match flavour {
            Flavour::P2 | Flavour::FuelP2 if is_fastedge(&component) => {
                Proxy::FastEdge(AppPre::new(pre).map_err(unlinkable)?)
            }
            Flavour::P2 | Flavour::FuelP2 => {
                Proxy::P2(p2::bindings::ProxyPre::new(pre).map_err(unlinkable)?)
            }
            // Filters were loaded above.
            Flavour::P3 | Flavour::FuelP3 | Flavour::Filter | Flavour::FuelFilter => {
                Proxy::P3(p3::bindings::ServicePre::new(pre).map_err(unlinkable)?)
            }
        };
        Ok(self.program(loaded, flavour, proxy))
    }

    fn program(&self, loaded: &Loaded, flavour: Flavour, proxy: Proxy) -> Program {
        Program {
            engine: loaded.engine.clone(),
            proxy,
            stripes: self.profile.stripes(),
            counts_fuel: flavour.counts_fuel(),
            stacks: match flavour {
                Flavour::P2 => Stacks::One,
                Flavour::Filter => Stacks::Filter,
                _ => Stacks::Two,
            },
        }
    }

    /// Makes the engine of a flavour now, so that the first tenant does not wait for it.
    ///
    /// # Errors
    /// When the pool cannot be reserved: the profile asks for more than the machine has.
    pub fn warm(&self, flavour: Flavour) -> Result<(), ArtifactError> {
        self.loaded(flavour).map(|_| ())
    }

    fn loaded(&self, flavour: Flavour) -> Result<&Loaded, ArtifactError> {
        let flavour = flavour.engine();
        let cell = match flavour {
            Flavour::P2 | Flavour::Filter => &self.p2,
            Flavour::P3 => &self.p3,
            Flavour::FuelP2 | Flavour::FuelP3 | Flavour::FuelFilter => &self.fuel,
        };
        if let Some(loaded) = cell.get() {
            return Ok(loaded);
        }
        let refused = |e| ArtifactError::Refused(one_line(e));
        let config = settings::worker(flavour, &self.profile, self.can_swap);
        let engine = Engine::new(&config).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        match flavour {
            Flavour::P2 => link_p2(&mut linker),
            _ => link_p3(&mut linker),
        }
        .map_err(refused)?;
        self.prove(flavour, &engine)?;
        (self.made)(engine.weak());
        Ok(cell.get_or_init(|| Loaded {
            engine,
            linker,
            filters: OnceCell::new(),
        }))
    }

    fn prove(&self, flavour: Flavour, engine: &Engine) -> Result<(), ArtifactError> {
        let Some(neighbours) = &self.neighbours else {
            return Ok(());
        };
        let component = artifact::map(engine, neighbours.artifact(flavour)?)?;
        let reads = stripes::prove(engine, &component, self.profile.stripes())?;
        tracing::info!(
            "protection keys hold: {reads} of {reads} reads of a neighbouring memory faulted \
             ({flavour:?} engine)"
        );
        Ok(())
    }
}

impl Loaded {
    fn filters(&self) -> wasmtime::Result<&CoreLinker<State>> {
        if let Some(linker) = self.filters.get() {
            return Ok(linker);
        }
        let linker = link_filters(&self.engine)?;
        Ok(self.filters.get_or_init(|| linker))
    }
}

/// Whether a component, whose flavour was found before it was compiled, has FastEdge's handler and no other.
fn is_fastedge(component: &Component) -> bool {
    let exports = component.component_type();
    let exports = exports.exports(component.engine());
    let names: Vec<&str> = exports.map(|(name, _)| name).collect();
    let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
    any(inspect::FASTEDGE_HANDLER) && !inspect::HANDLERS.iter().copied().any(any)
}
