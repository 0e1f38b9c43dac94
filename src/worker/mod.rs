//! One worker: one thread, one core, one ring, one pool of instances.
//!
//! ```text
//! control ──► tenants, listeners, drain       accept ──► connection ──► exchange ──► guest
//! broker  ──► artifacts                      mailbox ──►     │
//! log     ◄── lines                                          └──► another worker's mailbox
//! ```

mod added;
mod admission;
pub mod connection;
pub mod core;
mod data;
pub mod egress;
mod exchange;
mod forwarded;
mod http_cache;
mod inbound;
mod json;
mod local;
pub mod log;
mod outbound;
mod process;
mod proxy;
mod quarantine;
pub mod runtime;
pub mod semaphore;
mod slots;
mod split;
mod stream;
mod table;
mod tenant;
mod tenant_log;
mod tls;

pub use added::Added;
pub use local::{Reloader, run_app};
pub use process::main;
