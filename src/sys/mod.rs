//! The only home of `unsafe` and of raw system calls.

pub mod affinity;
pub mod async_channel;
pub mod async_socket;
pub mod cgroup;
pub mod channel;
pub mod clock;
pub mod core_scheduling;
pub mod fd;
pub mod listen;
pub mod namespaces;
pub mod pkeys;
pub mod priority;
pub mod process;
#[cfg(feature = "red-team")]
pub mod red_team;
pub mod report;
pub mod ring;
pub mod sealed;
pub mod signal;
pub mod support;
pub mod swap;
pub mod thread;
pub mod tree;

pub use async_channel::AsyncChannel;
pub use async_socket::AsyncSocket;
pub use channel::Channel;
