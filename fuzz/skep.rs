//! skep without its engine: the modules that fuzz targets need, from skep's own sources.
//!
//! A target says `skep::http::…` and means the same whether it is fuzzed with this library or its
//! corpus is replayed with the real one (`tests/fuzz_corpus.rs`).

#![allow(
    dead_code,
    unused_imports,
    reason = "a target uses a part of each module"
)]

#[path = "../src/broker"]
pub mod broker {
    pub mod tag;
}
#[path = "../src/config/mod.rs"]
pub mod config;
#[path = "../src/control/mod.rs"]
pub mod control;
#[path = "../src/engine"]
pub mod engine {
    pub mod inspect;
}
#[path = "../src/fault/mod.rs"]
pub mod fault;
#[path = "../src/geo/mod.rs"]
pub mod geo;
#[path = "../src/http/mod.rs"]
pub mod http;
#[path = "../src/isolation"]
pub mod isolation {
    mod layer;

    pub use layer::{Layer, Report, State};
}
#[path = "../src/sys"]
pub mod sys {
    pub mod channel;
    pub mod pkeys;
    pub mod sealed;

    pub use channel::Channel;
}
