//! One test for each upstream advisory that touches what skep is made of, or that shows that skep
//! has no such surface. A test is named after its advisories: `rustsec_2026_0088_…`,
//! `ghsa_jxcf_…`; `wasmtime_48_…` is for fixes of the 48.0 line that have no id of their own.
//!
//! ```text
//! file            advisories                                                          shown with
//! pool            RUSTSEC-2026-0088 (GHSA-6wgr), -0114 (GHSA-p8xm), -0222 (GHSA-hgjw),
//!                 -0223 (GHSA-2hw9), GHSA-7qmx                                        a worker's engine
//! codegen         RUSTSEC-2026-0006 (GHSA-vc8c), -0087 (GHSA-qqfj), GHSA-q8hx,
//!                 br_table and data segments of 48.0.x                                a worker's engine
//! components      RUSTSEC-2025-0112, 2026-0085 (GHSA-m758), -0091 (GHSA-394w),
//!                 -0092 (GHSA-jxhv), -0093 (GHSA-hx6p)                                a worker's engine
//! host            RUSTSEC-2026-0020 (GHSA-852m), -0021 (GHSA-243v), -0022 (GHSA-xjhv),
//!                 GHSA-x84v, GHSA-jxcf, lengths, request targets, timeouts and
//!                 check_write of 48.0.x                                               `skep serve`
//! absent          RUSTSEC-2025-0046 and 2026-0182 (fd_renumber), 2025-0118 (GHSA-hc7m),
//!                 2026-0086/-0089/-0094/-0095 (Winch: GHSA-xx5w, f984, q49f, m9w2),
//!                 -0090 (GHSA-hfr4), -0096 (GHSA-jhxm), -0149, -0188, GHSA-vqjp, 2r75,
//!                 4ch3, c2f5 (filesystem), UDP and settime of 48.0.x; h2, quinn-proto,
//!                 rustls-webpki                                                       what is not there
//! ```
//!
//! Sources: <https://rustsec.org/advisories/>, <https://github.com/bytecodealliance/wasmtime/security/advisories>,
//! and the release notes of Wasmtime 48.0.1 to 48.0.8.

#![allow(
    clippy::type_complexity,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is the report"
)]

#[path = "advisories/absent.rs"]
mod absent;
#[path = "advisories/codegen.rs"]
mod codegen;
mod common;
#[path = "advisories/components.rs"]
mod components;
#[path = "advisories/host.rs"]
mod host;
#[path = "advisories/pool.rs"]
mod pool;
#[path = "advisories/worker.rs"]
mod worker;
