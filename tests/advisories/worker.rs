//! A worker's engine, as `skep::engine::settings` makes it, for components written as text.

use std::fmt::Write as _;
use std::path::Path;

use skep::config::Profile;
use skep::control::Flavour;
use skep::engine::settings::{self, compile_component};
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift, Linker, Lower};
use wasmtime::{Engine, Store};

/// Profiles that differ in what compiled code and pools depend on.
pub const PROFILES: [&str; 3] = ["balanced", "density", "paranoid"];

/// A worker's engine with a pool of few slots, and the compiler that makes its artifacts.
pub struct Worker {
    pub engine: Engine,
    profile: Profile,
    flavour: Flavour,
}

impl Worker {
    /// One slot, so that each instance is in the place of the one before.
    pub fn new(profile: &str, flavour: Flavour) -> Worker {
        let mut profile = Profile::find(profile, Path::new("")).unwrap();
        (profile.slots, profile.warm_slots) = (1, 1);
        Worker::with(profile, flavour)
    }

    pub fn with(profile: Profile, flavour: Flavour) -> Worker {
        let engine = Engine::new(&settings::worker(flavour, &profile, true)).unwrap();
        Worker {
            engine,
            profile,
            flavour,
        }
    }

    /// What the compile job makes of a component, which has to export a handler.
    pub fn compile(&self, component: &str) -> Result<Vec<u8>, String> {
        let handler = match self.flavour {
            Flavour::P2 | Flavour::FuelP2 => "wasi:http/incoming-handler@0.2.0",
            Flavour::P3 | Flavour::FuelP3 => "wasi:http/handler@0.3.0",
            Flavour::Filter | Flavour::FuelFilter => return Err("a filter is no component".into()),
        };
        let text = format!(
            r#"(component {component} (instance $none) (export "{handler}" (instance $none)))"#
        );
        let bytes = wat::parse_str(&text).map_err(|error| error.to_string())?;
        let (flavour, artifact) = compile_component(&bytes, &self.profile)?;
        assert_eq!(flavour, self.flavour);
        Ok(artifact)
    }

    /// Compiles and loads.
    #[track_caller]
    pub fn load(&self, component: &str) -> Component {
        let artifact = self.compile(component).expect("a component that compiles");
        self.map(&artifact).expect("an artifact that loads")
    }

    pub fn map(&self, artifact: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the bytes come from `compile_component`, just now.
        unsafe { Component::deserialize(&self.engine, artifact) }
    }

    pub fn start(&self, component: &Component) -> wasmtime::Result<Running> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1 << 40);
        let instance = Linker::new(&self.engine).instantiate(&mut store, component)?;
        Ok(Running { store, instance })
    }

    /// A new instance of that text.
    #[track_caller]
    pub fn run(&self, component: &str) -> Running {
        let component = self.load(component);
        self.start(&component).expect("an instance")
    }
}

/// An instance in its store.
pub struct Running {
    pub store: Store<()>,
    pub instance: Instance,
}

impl Running {
    /// Calls an exported function.
    pub fn call<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        let function = self
            .instance
            .get_typed_func::<P, R>(&mut self.store, name)?;
        function.call(&mut self.store, params)
    }

    /// A function of one number to one number.
    #[track_caller]
    pub fn number(&mut self, name: &str, param: u32) -> u32 {
        let (result,) = self.call::<_, (u32,)>(name, (param,)).expect("no trap");
        result
    }

    /// The trap of such a function.
    #[track_caller]
    pub fn trap(&mut self, name: &str, param: u32) -> wasmtime::Trap {
        let error = self
            .call::<_, (u32,)>(name, (param,))
            .expect_err("it traps");
        *error.downcast_ref().expect("a trap")
    }
}

/// A core module whose functions `names`, each `(param i32) (result i32)`, are the component's.
pub fn core(module: &str, names: &[&str]) -> String {
    let mut text = format!("(core module $m {module}) (core instance $i (instantiate $m))");
    for name in names {
        let _ = write!(
            text,
            r#"(func (export "{name}") (param "n" u32) (result u32) (canon lift (core func $i "{name}")))"#
        );
    }
    text
}
