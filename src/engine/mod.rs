//! Wasmtime as skep uses it: settings per flavour, pools, artifacts, budgets.
//!
//! ```text
//! core module ─adapt─► component
//! component ─inspect─► flavour ─compile (compiler process)─► artifact
//! artifact ─map─► Component ─pre-instantiate─► Program ─instantiate, call, drop─► one request
//! ```
//!
//! One flavour is one [`wasmtime::Engine`] with a pool of its own, made when the first tenant
//! needs it. A worker's engines have no compiler: they only load artifacts.

mod adapt;
mod artifact;
pub mod inspect;
mod limiter;
pub mod meter;
mod pool;
pub mod settings;
mod stripes;

pub use artifact::ArtifactError;
pub use limiter::Allowance;
pub use meter::Meter;
pub(crate) use pool::Stacks;
pub use pool::{Engines, Program, Proxy};
pub use stripes::{Neighbours, Unproved};
