//! What the host keeps for tenants: key-value stores, caches, secrets. In a process of its own, which has
//! no network and runs no guest.
//!
//! ```text
//! worker ──Call{tenant, ask}──► data: the tenant's? granted? ─┬─► cache, secrets   in memory
//!        ◄──Reply─────────────────────────────────────────────├─► embedded store   one file, one thread that writes
//!                                                             └─► Redis            connected by the egress process
//! ```
//!
//! A worker can ask for the tenants of its own cell, and gets what they were given.

#![forbid(unsafe_code)]

mod ask;
pub mod cache;
mod caches;
pub mod frame;
pub mod http_cache;
mod keeper;
pub mod kv;
mod owner;
mod process;
mod redis_link;
pub mod sealed;
pub mod secrets;
mod serve;
mod writer;

pub use ask::{Ask, CacheAsk, Given, Refused};
pub use owner::{open_regular, owner};
pub use process::{Local, run, start_thread};
