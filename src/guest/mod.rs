//! What a guest sees of the host: stock WASI and `wasi:http`, with the pieces replaced that need
//! a tokio runtime.
//!
//! | interface | implementation |
//! |---|---|
//! | `wasi:http/types` | stock; what keeps something in the host is [`host_memory`]: charged to the request |
//! | `wasi:http/outgoing-handler`, `client` | [`egress`]: the worker's client, or `HTTP-request-denied` |
//! | `wasi:clocks` | [`clocks`]: coarse, and waits on the worker's timers |
//! | `wasi:cli/stdout`, `stderr` | [`stdio`]: the tenant's log |
//! | `wasi:config` | stock; the tenant's `config` |
//! | `wasi:keyvalue` | [`keyvalue`]: stores that the data process keeps |
//! | `gcore:fastedge/*` | [`fastedge`]: adapters over the same |
//! | `wasi:random`, `environment`, `exit`, … | stock |
//! | `wasi:sockets/ip-name-lookup@0.2` | [`egress`]: `permanent-resolver-failure` |
//! | proxy-wasm, WASI preview 1 | [`filter`]: core modules, not components |
//! | `wasi:filesystem`, `wasi:sockets` | stock, with nothing opened and every address denied |

pub mod clocks;
mod egress;
mod fastedge;
pub mod filter;
mod host_memory;
mod invoke;
mod keyvalue;
mod linker;
mod notes;
mod request_id;
mod services;
mod stdio;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use send_wrapper::SendWrapper;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::config::{Compat, Tenant, limits};
use crate::engine::{Allowance, Meter};
use crate::scheduler;

pub use egress::{Answered, Outbound};
pub use fastedge::{AppPre, empty_response};
pub use filter::{FilterPre, Phase, SharedData, link_filters};
pub use invoke::{Failure, Invocation, Responder, Response, invoke};
pub use linker::{link_p2, link_p3};
pub use notes::Notes;
pub use request_id::{RequestId, RequestIds};
pub use services::Services;
pub use stdio::{LineSink, Stream};

/// Host resources of a small request: room for them is made at once and not by growing.
const RESOURCES_USUAL: usize = 16;

/// What every request of one tenant has in common.
#[derive(Debug)]
pub struct Grants {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Configuration.
    pub config: BTreeMap<String, String>,
    /// Names of the stores that it may open.
    pub stores: Vec<String>,
    /// Whose host the program is made for.
    pub compat: Compat,
    /// Bytes of linear memory of one instance.
    pub memory_bytes: usize,
    /// Elements of all tables of one instance.
    pub table_elements: usize,
    /// Fuel of one request; 0 where its program does not count any.
    pub fuel: u64,
    /// Host resources alive at once in one instance.
    pub handles: usize,
    /// Bytes that one host call may copy out of the guest.
    pub hostcall_bytes: usize,
    /// Longest body that the guest has whole, in bytes.
    pub whole_body_bytes: usize,
    /// Longest log line, in bytes.
    pub log_line_bytes: usize,
    /// Bytes of log that one request may write.
    pub log_bytes_per_request: usize,
    /// Requests that one request may send to others.
    pub subrequests: usize,
}

impl Grants {
    /// What a tenant's configuration grants.
    pub fn of(tenant: &Tenant) -> Self {
        let limits = &tenant.limits;
        Self {
            env: tenant.env.clone(),
            config: tenant.config.clone(),
            stores: tenant
                .stores
                .iter()
                .map(|store| store.name.clone())
                .collect(),
            compat: tenant.compat,
            memory_bytes: (limits.memory_mib as usize) << 20,
            table_elements: limits.table_elements,
            fuel: limits.fuel,
            handles: limits.handles,
            hostcall_bytes: limits.hostcall_bytes,
            whole_body_bytes: limits.whole_body_bytes,
            log_line_bytes: limits.log_line_bytes,
            log_bytes_per_request: limits.log_bytes_per_request,
            subrequests: limits.subrequests,
        }
    }
}

/// What a request's guest has of its host.
#[derive(Clone)]
pub struct Context {
    /// What all of the tenant's requests have in common.
    pub grants: Arc<Grants>,
    /// The CPU account.
    pub meter: Rc<Meter>,
    /// The request, as log lines name it.
    pub request: RequestId,
    /// Where the guest's output goes.
    pub sink: Rc<dyn LineSink>,
    /// What is noted of the request.
    pub notes: Rc<Notes>,
    /// Sends its requests to others, where it may have any.
    pub outbound: Option<Rc<dyn Outbound>>,
    /// What the host keeps for the tenant, where it keeps something.
    pub services: Option<Rc<dyn Services>>,
    /// What the tenant's filters on this worker share, where it has any.
    pub shared: Option<Rc<SharedData>>,
}

/// The data of one request's store.
pub struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: egress::Hooks,
    host_memory: host_memory::Allowance,
    allowance: Allowance,
    meter: SendWrapper<Rc<Meter>>,
    notes: SendWrapper<Rc<Notes>>,
    services: Option<SendWrapper<Rc<dyn Services>>>,
    shared: Option<SendWrapper<Rc<SharedData>>>,
    /// Of a filter; made when it is first needed.
    filter: Option<Box<filter::Active>>,
    grants: Arc<Grants>,
    output: stdio::Output,
    wall: clocks::Frozen,
    /// Made when the guest first asks for it.
    config: Option<Box<WasiConfigVariables>>,
    /// Made when the guest first asks for something of it: most requests never do, and seeding
    /// its random generators costs more than the whole of a small request's host calls.
    wasi: Option<Box<WasiCtx>>,
}

impl State {
    /// The state of a new request.
    pub fn new(context: Context) -> Self {
        let Context {
            grants,
            meter,
            request,
            sink,
            notes,
            outbound,
            services,
            shared,
        } = context;
        let mut table = ResourceTable::with_capacity(RESOURCES_USUAL);
        table.set_max_capacity(grants.handles);
        // What other instances of this request have used.
        let spent = notes.spent();
        let subrequests = grants.subrequests.saturating_sub(spent.subrequests);
        let log_bytes = grants.log_bytes_per_request.saturating_sub(spent.log_bytes);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::FIELDS_BYTES);
        Self {
            table,
            http,
            hooks: egress::Hooks::new(outbound, subrequests),
            host_memory: host_memory::Allowance::default(),
            allowance: Allowance::new(grants.memory_bytes, grants.table_elements),
            meter: SendWrapper::new(meter),
            notes: SendWrapper::new(notes),
            services: services.map(SendWrapper::new),
            shared: shared.map(SendWrapper::new),
            filter: None,
            output: stdio::Output::new((sink, request), grants.log_line_bytes, log_bytes),
            wall: clocks::Frozen::default(),
            grants,
            config: None,
            wasi: None,
        }
    }

    /// What this request's instances have used, this one included.
    fn spent(&self) -> notes::Spent {
        let grants = &self.grants;
        notes::Spent {
            subrequests: grants.subrequests - self.hooks.left().min(grants.subrequests),
            log_bytes: grants
                .log_bytes_per_request
                .saturating_sub(self.output.bytes_left()),
        }
    }

    fn config(&mut self) -> WasiConfig<'_> {
        let variables = self.config.get_or_insert_with(|| {
            let pairs = self.grants.config.iter();
            Box::new(
                pairs
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            )
        });
        WasiConfig::from(&**variables)
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    fn clock(&mut self) -> clocks::Clock<'_> {
        clocks::Clock {
            slice_ns: scheduler::slice_start_ns(),
            table: &mut self.table,
            frozen: &mut self.wall,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            let mut builder = WasiCtx::builder();
            builder
                .stdout(self.output.stream(Stream::Stdout))
                .stderr(self.output.stream(Stream::Stderr))
                .max_random_size(limits::RANDOM_BYTES)
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false);
            for (name, value) in &self.grants.env {
                builder.env(name, value);
            }
            Box::new(builder.build())
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}
