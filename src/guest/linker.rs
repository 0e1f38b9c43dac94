//! The two linkers: which implementation answers each import.
//!
//! The stock implementations are linked first and ours shadow some of them: those that would need
//! tokio, clocks, which are exact there, and streams and pollables, which must not cause the lazily made parts of [`State`] to
//! be made.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock as clock_p2, wall_clock as wall_p2};
use wasmtime_wasi::p3::bindings::clocks::{monotonic_clock as clock_p3, system_clock as wall_p3};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::{WasiHttp, p2 as http_p2, p3 as http_p3};
use wasmtime_wasi_io::bindings::wasi::io;

use super::State;
use super::clocks::Clocks;
use super::egress::{link_name_lookup, link_outgoing_handler};
use super::{fastedge, host_memory, keyvalue};

struct Streams;

impl HasData for Streams {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links everything that a WASI 0.2 component may import.
///
/// # Errors
/// When an interface cannot be defined, which is a mistake in this function.
pub fn link_p2(l: &mut Linker<State>) -> wasmtime::Result<()> {
    l.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_async(l)?;
    io::error::add_to_linker::<_, Streams>(l, State::table)?;
    io::poll::add_to_linker::<_, Streams>(l, State::table)?;
    io::streams::add_to_linker::<_, Streams>(l, State::table)?;
    clock_p2::add_to_linker::<_, Clocks>(l, State::clock)?;
    wall_p2::add_to_linker::<_, Clocks>(l, State::clock)?;

    let options = http_p2::bindings::LinkOptions::default();
    http_p2::bindings::http::types::add_to_linker::<_, WasiHttp>(
        l,
        &(&options).into(),
        State::http,
    )?;
    host_memory::link_p2(l)?;
    link_outgoing_handler(l)?;
    link_name_lookup(l)?;
    wasmtime_wasi_config::add_to_linker(l, State::config)?;
    keyvalue::link(l)?;
    fastedge::link(l)
}

/// Links everything that a WASI 0.3 component may import: 0.3 itself, and 0.2 for the parts of
/// language runtimes that still use it.
///
/// # Errors
/// When an interface cannot be defined, which is a mistake in this function.
pub fn link_p3(l: &mut Linker<State>) -> wasmtime::Result<()> {
    link_p2(l)?;
    wasmtime_wasi::p3::add_to_linker(l)?;
    clock_p3::add_to_linker::<_, Clocks>(l, State::clock)?;
    wall_p3::add_to_linker::<_, Clocks>(l, State::clock)?;
    http_p3::add_to_linker(l)?;
    host_memory::link_p3(l)
}
