//! What a process takes from itself before it touches anything that a stranger sent.
//!
//! Each kind of process has one `lockdown()`, called once its descriptors are in hand. The order is
//! fixed, because most steps need what a later one takes away:
//!
//! ```text
//!  namespaces ─► empty root ─► Landlock ─► capabilities ─► start threads and the ring
//!     ─► ring opcodes ─► resource limits ─► not dumpable ─► seccomp (every thread)
//! ```
//!
//! A layer that this host does not give is named with its reason, and the others still apply
//! ([`Report`]); a layer that `isolation.require` names must be there, or the process does not start.
//! There is no eBPF program: seccomp filters are classic BPF, everything else is a kernel primitive.

#![forbid(unsafe_code)]

pub mod broker;
pub mod compile_job;
mod confine;
pub mod data;
pub mod doctor;
pub mod egress;
pub mod front;
mod landlock;
mod layer;
mod seccomp;
pub mod supervisor;
pub mod worker;

pub use layer::{Layer, Report, State};
