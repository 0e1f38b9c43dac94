//! What the integration tests share: the real binary as a host, and a raw HTTP/1.1 client.
//!
//! ```text
//! test ── TestHost::builder()… .start() ──► skep serve --config DIR/skep.toml
//!   │                                          │ stdout: ready line, JSON log lines
//!   └── Client (bytes out, responses in) ──────┘ stderr: operator lines
//! ```
//!
//! ```ignore
//! let host = TestHost::builder()
//!     .tenant(Tenant::new("a", "kitchen").host("a.test").limit("cpu_ms", 50))
//!     .start();
//! assert_eq!(host.get("a.test", "/twice").text(), "1\n");
//! ```
//!
//! Nothing here sleeps to be right: every wait is for a condition, and ends with a panic that shows
//! what the host said when [`PATIENCE`] is over.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file uses a part of this"
)]

mod client;
mod component;
mod config;
mod host;
pub mod mmdb;
mod names;
mod origin;
mod process;
mod redis;

use std::time::Duration;

pub use client::{Client, Response};
pub use component::{component, core_module, service, two_stacks, written};
pub use config::{Builder, Tenant, guest};
pub use host::TestHost;
pub use mmdb::database;
pub use names::Names;
pub use origin::Origin;
pub use process::{
    core_wait_ns, cores, cpu_ns, holds, memory_kib, open_files, pin_thread, reset_memory_peak,
    socket_inode,
};
pub use redis::Redis;

/// Longest wait for something that has to happen: generous, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);
