//! What a guest sees of the host: stock WASI and `wasi:http`, with the pieces replaced that need
//! a tokio runtime.
//!
//! | interface | implementation |
//! |---|---|
//! | `wasi:http/types` | stock; what keeps something in the host is [`host_memory`]: charged to the request |
//! | `wasi:http/outgoing-handler`, `client` | [`egress`]: the worker's client, or `HTTP-request-denied` |
//! | `wasi:clocks` | [`clocks`]: coarse, and waits on the worker's timers |
//! | `wasi:cli/stdout`, `stderr` | [`stdio`]: the tenant's log |
//! | `wasi:random`, `environment`, `exit`, … | stock |
//! | `wasi:sockets/ip-name-lookup@0.2` | [`egress`]: `permanent-resolver-failure` |
//! | `wasi:filesystem`, `wasi:sockets` | stock, with nothing opened and every address denied |

pub mod clocks;
mod egress;
mod host_memory;
mod invoke;
mod linker;
mod stdio;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use send_wrapper::SendWrapper;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::config::{Limits, limits};
use crate::engine::{Allowance, Meter};
use crate::scheduler;

pub use egress::{Answered, Outbound};
pub use invoke::{Failure, Invocation, Responder, Response, invoke};
pub use linker::{link_p2, link_p3};
pub use stdio::{LineSink, Stream};

/// Host resources of a small request: room for them is made at once and not by growing.
const RESOURCES_USUAL: usize = 16;

/// What every request of one tenant has in common.
#[derive(Debug)]
pub struct Grants {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
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
    /// Longest log line, in bytes.
    pub log_line_bytes: usize,
    /// Bytes of log that one request may write.
    pub log_bytes_per_request: usize,
    /// Requests that one request may send to others.
    pub subrequests: usize,
}

impl Grants {
    /// What a tenant's configuration grants.
    pub fn of(env: &BTreeMap<String, String>, limits: &Limits) -> Self {
        Self {
            env: env.clone(),
            memory_bytes: (limits.memory_mib as usize) << 20,
            table_elements: limits.table_elements,
            fuel: limits.fuel,
            handles: limits.handles,
            hostcall_bytes: limits.hostcall_bytes,
            log_line_bytes: limits.log_line_bytes,
            log_bytes_per_request: limits.log_bytes_per_request,
            subrequests: limits.subrequests,
        }
    }
}

/// The data of one request's store.
pub struct State {
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: egress::Hooks,
    host_memory: host_memory::Allowance,
    allowance: Allowance,
    meter: SendWrapper<Rc<Meter>>,
    grants: Arc<Grants>,
    output: stdio::Output,
    wall: clocks::Frozen,
    /// Made when the guest first asks for something of it: most requests never do, and seeding
    /// its random generators costs more than the whole of a small request's host calls.
    wasi: Option<Box<WasiCtx>>,
}

impl State {
    /// The state of a new request.
    pub fn new(
        grants: Arc<Grants>,
        meter: Rc<Meter>,
        sink: Rc<dyn LineSink>,
        outbound: Option<Rc<dyn Outbound>>,
    ) -> Self {
        let mut table = ResourceTable::with_capacity(RESOURCES_USUAL);
        table.set_max_capacity(grants.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(limits::FIELDS_BYTES);
        Self {
            table,
            http,
            hooks: egress::Hooks::new(outbound, grants.subrequests),
            host_memory: host_memory::Allowance::default(),
            allowance: Allowance::new(grants.memory_bytes, grants.table_elements),
            meter: SendWrapper::new(meter),
            output: stdio::Output::new(sink, grants.log_line_bytes, grants.log_bytes_per_request),
            wall: clocks::Frozen::default(),
            grants,
            wasi: None,
        }
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
