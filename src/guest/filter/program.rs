//! A filter's module, linked, and what of its exports the host calls.

use wasmtime::{
    Engine, ExternType, Instance, InstancePre, Linker, Module, Store, TypedFunc, ValType,
    WasmParams, WasmResults, format_err,
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
    /// In the order of [`Phase::ALL`].
    phases: [bool; 4],
    /// What allocates for the host.
    allocate: &'static str,
    /// What is called first.
    initialize: Option<&'static str>,
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
        let has = |name: &&str| module.get_export(name).is_some();
        let allocate = ALLOCATE.into_iter().find(has);
        Ok(Self {
            pre: linker.instantiate_pre(module)?,
            phases: Phase::ALL.map(|phase| has(&phase.export())),
            allocate: allocate.ok_or_else(|| {
                format_err!("a filter exports one of proxy_on_memory_allocate and malloc")
            })?,
            initialize: INITIALIZE.into_iter().find(has),
        })
    }

    /// Whether it has something to do in this phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.phases[phase as usize]
    }

    /// Makes an instance and finds its functions.
    pub(super) async fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let exports = Exports {
            initialize: optional(&instance, store, self.initialize.unwrap_or_default())?,
            context_create: optional(&instance, store, "proxy_on_context_create")?,
            vm_start: optional(&instance, store, "proxy_on_vm_start")?,
            configure: optional(&instance, store, "proxy_on_configure")?,
            phases: [
                optional(&instance, store, Phase::RequestHeaders.export())?,
                optional(&instance, store, Phase::RequestBody.export())?,
                optional(&instance, store, Phase::ResponseHeaders.export())?,
                optional(&instance, store, Phase::ResponseBody.export())?,
            ],
            call_response: optional(&instance, store, "proxy_on_http_call_response")?,
            done: optional(&instance, store, "proxy_on_done")?,
            log: optional(&instance, store, "proxy_on_log")?,
            delete: optional(&instance, store, "proxy_on_delete")?,
        };
        let memory = instance.get_memory(&mut *store, "memory");
        let allocate = optional(&instance, store, self.allocate)?;
        let active = store.data_mut().filter();
        (active.memory, active.allocate) = (memory, allocate);
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

fn optional<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &str,
) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
    match instance.get_func(&mut *store, name) {
        Some(func) => Ok(Some(func.typed(&*store)?)),
        None => Ok(None),
    }
}

/// Of a phase: the context, how many fields or bytes there are, whether nothing follows; an action.
type Hook = TypedFunc<(u32, u32, u32), u32>;

/// The context, the call's token, how many fields, bytes and trailers its answer has.
type Callback = TypedFunc<(u32, u32, u32, u32, u32), ()>;

/// The functions of an instance that the host calls.
pub(super) struct Exports {
    pub(super) initialize: Option<TypedFunc<(), ()>>,
    pub(super) context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub(super) vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub(super) configure: Option<TypedFunc<(u32, u32), u32>>,
    /// In the order of [`Phase::ALL`].
    pub(super) phases: [Option<Hook>; 4],
    pub(super) call_response: Option<Callback>,
    pub(super) done: Option<TypedFunc<u32, u32>>,
    pub(super) log: Option<TypedFunc<u32, ()>>,
    pub(super) delete: Option<TypedFunc<u32, ()>>,
}
