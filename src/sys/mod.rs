//! The only home of `unsafe` and of raw system calls.

pub mod affinity;
pub mod async_channel;
pub mod channel;
pub mod clock;
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
pub mod signal;
pub mod swap;
pub mod tree;

pub use async_channel::AsyncChannel;
pub use channel::Channel;
