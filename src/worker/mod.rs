//! One worker: one thread, one core, one ring, one pool of instances.
//!
//! ```text
//! control ──► tenants, listeners, drain       accept ──► connection ──► exchange ──► guest
//! broker  ──► artifacts                      mailbox ──►     │
//! log     ◄── lines                                          └──► another worker's mailbox
//! ```

pub mod connection;
pub mod core;
mod exchange;
mod inbound;
mod json;
mod local;
pub mod log;
mod outbound;
mod process;
pub mod runtime;
pub mod semaphore;
mod stream;
mod table;
mod tenant;

pub use local::run_app;
pub use process::main;
