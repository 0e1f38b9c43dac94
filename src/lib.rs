//! skep runs many mutually distrusting tenants' WebAssembly programs on one host.
//!
//! The map is `docs/ARCHITECTURE.md`. Dependencies point one way:
//! `cli → supervisor, worker, broker, egress, compiler, tune → accept, http, guest, engine →
//! scheduler, control, config, sys`.

#![deny(unsafe_code, missing_docs)]

pub mod accept;
pub mod broker;
pub mod cli;
pub mod commands;
pub mod compiler;
pub mod config;
pub mod control;
pub mod data;
pub mod demo;
pub mod egress;
pub mod engine;
pub mod fault;
pub mod geo;
pub mod guest;
pub mod http;
pub mod isolation;
pub mod scheduler;
pub mod supervisor;
#[allow(unsafe_code)]
pub mod sys;
pub mod templates;
pub mod token_bucket;
pub mod tune;
pub mod worker;
