//! A load harness that knows tenants. See `docs/LOADTEST.md`.
#![deny(unsafe_code)]

pub mod capacity;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod cores;
pub mod export;
pub mod fingerprint;
pub mod generator;
pub mod histogram;
pub mod kernel_files;
pub mod limits;
pub mod mix;
pub mod preflight;
pub mod processes;
pub mod recorder;
pub mod replay;
pub mod report;
pub mod results;
pub mod run;
pub mod sampler;
pub mod scenario;
pub mod schedule;
pub mod sys;
