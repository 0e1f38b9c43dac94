//! A load harness that knows tenants. See `docs/LOADTEST.md`.
#![deny(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod export;
pub mod fingerprint;
pub mod histogram;
pub mod limits;
pub mod preflight;
pub mod report;
pub mod results;
pub mod sampler;
