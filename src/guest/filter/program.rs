//! A filter's module, linked, and what of its exports the host calls.

use std::rc::Rc;

use wasmtime::{
    Engine, Extern, ExternType, Instance, InstancePre, Linker, Module, ModuleExport, Store,
    TypedFunc, ValType, WasmParams, WasmResults, format_err,
};

use super::exchange::Phase;
use super::host;
use crate::guest::State;

/// Links everything that a filter may import.
///
/// # Errors
/// When a function cannot be defined, which is a mistake in this module.
pub fn link_filters(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    host::link(&mut linker)?;
    super::wasi::link(&mut linker)?;
    Ok(linker)
}

/// A filter, ready to be instantiated.
pub struct FilterPre {
    pre: InstancePre<State>,
    functions: Rc<Functions>,
}

/// What allocates for the host, the first of them that there is: Rust's, AssemblyScript's.
const ALLOCATE: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

/// What makes an instance ready, the first of them that there is.
const INITIALIZE: [&str; 2] = ["_initialize", "_start"];

/// Every function that the host calls: how many numbers (`i32`) it takes, and how many it gives.
const SIGNATURES: [(&str, usize, usize); 16] = [
    ("proxy_on_memory_allocate", 1, 1),
    ("malloc", 1, 1),
    ("_initialize", 0, 0),
    ("_start", 0, 0),
    ("proxy_on_context_create", 2, 0),
    ("proxy_on_vm_start", 2, 1),
    ("proxy_on_configure", 2, 1),
    ("proxy_on_request_headers", 3, 1),
    ("proxy_on_request_body", 3, 1),
    ("proxy_on_response_headers", 3, 1),
    ("proxy_on_response_body", 3, 1),
    ("proxy_on_http_call_response", 5, 0),
    ("proxy_on_done", 1, 1),
    ("proxy_on_log", 1, 0),
    ("proxy_on_delete", 1, 0),
    ("proxy_on_tick", 1, 0),
];

impl FilterPre {
    /// Links a module.
    ///
    /// # Errors
    /// An import that there is none for, and exports that are not as the ABI has them.
    pub fn new(linker: &Linker<State>, module: &Module) -> wasmtime::Result<Self> {
        match module.get_export("memory") {
            Some(ExternType::Memory(memory)) if !memory.is_shared() && !memory.is_64() => {}
            _ => return Err(format_err!("a filter exports its `memory`, of 32 bits")),
        }
        for (name, params, results) in SIGNATURES {
            check(module, name, params, results)?;
        }
        Ok(Self {
            pre: linker.instantiate_pre(module)?,
            functions: Rc::new(Functions::of(module)?),
        })
    }

    /// Whether it has something to do in this phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.functions.phases[phase as usize].is_some()
    }

    /// Makes an instance, whose functions are looked up as they are called.
    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let exports = Exports {
            instance,
            functions: Rc::clone(&self.functions),
        };
        let memory = instance.get_module_export(&mut *store, &self.functions.memory);
        let allocate = exports.get(store, &Some(self.functions.allocate))?;
        let active = store.data_mut().filter();
        (active.memory, active.allocate) = (memory.and_then(Extern::into_memory), allocate);
        Ok(exports)
    }
}

fn check(module: &Module, name: &str, params: usize, results: usize) -> wasmtime::Result<()> {
    let Some(export) = module.get_export(name) else {
        return Ok(());
    };
    let numbers = |mut types: Vec<ValType>, count: usize| {
        types.retain(|it| matches!(it, ValType::I32));
        types.len() == count
    };
    match export {
        ExternType::Func(func)
            if func.params().len() == params
                && func.results().len() == results
                && numbers(func.params().collect(), params)
                && numbers(func.results().collect(), results) =>
        {
            Ok(())
        }
        other => Err(format_err!(
            "a filter's `{name}` takes {params} numbers (i32) and gives {results}; here it is {other:?}"
        )),
    }
}

/// Where a module has a function of this signature, if it has.
type Place = Option<ModuleExport>;

/// What a filter's module exports, of what the host calls: found once, so that no instance looks for
/// names.
struct Functions {
    memory: ModuleExport,
    allocate: ModuleExport,
    initialize: Place,
    context_create: Place,
    vm_start: Place,
    configure: Place,
    /// In the order of [`Phase::ALL`].
    phases: [Place; 4],
    call_response: Place,
    done: Place,
    log: Place,
    delete: Place,
}

impl Functions {
    fn of(module: &Module) -> wasmtime::Result<Self> {
        let find = |name: &str| module.get_export_index(name);
        let first = |names: [&str; 2]| names.into_iter().find_map(find);
        Ok(Self {
            memory: find("memory").ok_or_else(|| format_err!("a filter exports its `memory`"))?,
            allocate: first(ALLOCATE).ok_or_else(|| {
                format_err!("a filter exports one of proxy_on_memory_allocate and malloc")
            })?,
            initialize: first(INITIALIZE),
            context_create: find("proxy_on_context_create"),
            vm_start: find("proxy_on_vm_start"),
            configure: find("proxy_on_configure"),
            phases: Phase::ALL.map(|phase| find(phase.export())),
            call_response: find("proxy_on_http_call_response"),
            done: find("proxy_on_done"),
            log: find("proxy_on_log"),
            delete: find("proxy_on_delete"),
        })
    }
}

/// The functions of an instance that the host calls. Each is looked up when it is called: most filters
/// are called for some of them only.
pub(super) struct Exports {
    instance: Instance,
    functions: Rc<Functions>,
}

impl Exports {
    fn get<P: WasmParams, R: WasmResults>(
        &self,
        store: &mut Store<State>,
        place: &Place,
    ) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
        let Some(place) = place else { return Ok(None) };
        let export = self.instance.get_module_export(&mut *store, place);
        match export.and_then(Extern::into_func) {
            Some(func) => Ok(Some(func.typed(&*store)?)),
            None => Ok(None),
        }
    }

    /// Calls a function; gives nothing where there is none.
    async fn call<P: WasmParams + Sync, R: WasmResults + Sync>(
        &self,
        store: &mut Store<State>,
        place: &Place,
        parameters: P,
    ) -> wasmtime::Result<Option<R>> {
        match self.get(store, place)? {
            Some(func) => func.call_async(store, parameters).await.map(Some),
            None => Ok(None),
        }
    }

    /// What is called first.
    pub(super) async fn initialize(&self, store: &mut Store<State>) -> wasmtime::Result<()> {
        let called = self.call::<(), ()>(store, &self.functions.initialize, ());
        called.await.map(|_| ())
    }

    /// Makes the filter's context, and then that of the request in it.
    pub(super) async fn create(
        &self,
        store: &mut Store<State>,
        context: u32,
        parent: u32,
    ) -> wasmtime::Result<()> {
        let place = &self.functions.context_create;
        let called = self.call::<(u32, u32), ()>(store, place, (context, parent));
        called.await.map(|_| ())
    }

    /// Starts the filter: of its context, how long its configuration for it is. Not 0 where it starts.
    pub(super) async fn vm_start(
        &self,
        store: &mut Store<State>,
        context: u32,
    ) -> wasmtime::Result<Option<u32>> {
        self.call(store, &self.functions.vm_start, (context, 0u32))
            .await
    }

    /// Configures it: of its context, how long its configuration is. Not 0 where it takes that.
    pub(super) async fn configure(
        &self,
        store: &mut Store<State>,
        context: u32,
        length: u32,
    ) -> wasmtime::Result<Option<u32>> {
        self.call(store, &self.functions.configure, (context, length))
            .await
    }

    /// Whether there is a hook for this phase.
    pub(super) fn has(&self, phase: Phase) -> bool {
        self.functions.phases[phase as usize].is_some()
    }

    /// Of a phase: the context, how many fields or bytes there are, whether nothing follows; an action.
    pub(super) async fn hook(
        &self,
        store: &mut Store<State>,
        phase: Phase,
        parameters: (u32, u32, u32),
    ) -> wasmtime::Result<Option<u32>> {
        self.call(store, &self.functions.phases[phase as usize], parameters)
            .await
    }

    /// The context, the call's token, how many fields, bytes and trailers its answer has.
    pub(super) async fn call_response(
        &self,
        store: &mut Store<State>,
        parameters: (u32, u32, u32, u32, u32),
    ) -> wasmtime::Result<()> {
        let place = &self.functions.call_response;
        let called = self.call::<_, ()>(store, place, parameters);
        called.await.map(|_| ())
    }

    /// The request of this context is over.
    pub(super) async fn done(
        &self,
        store: &mut Store<State>,
        context: u32,
    ) -> wasmtime::Result<()> {
        let called = self.call::<u32, u32>(store, &self.functions.done, context);
        called.await.map(|_| ())
    }

    /// It may log.
    pub(super) async fn log(&self, store: &mut Store<State>, context: u32) -> wasmtime::Result<()> {
        let called = self.call::<u32, ()>(store, &self.functions.log, context);
        called.await.map(|_| ())
    }

    /// The context is gone.
    pub(super) async fn delete(
        &self,
        store: &mut Store<State>,
        context: u32,
    ) -> wasmtime::Result<()> {
        let called = self.call::<u32, ()>(store, &self.functions.delete, context);
        called.await.map(|_| ())
    }
}
