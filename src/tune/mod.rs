//! Tunes the host for skep: what it is made of, who does what on it, which settings differ.
//!
//! ```text
//! /sys, /proc ──► topology, nic ──► layout ──► rules ─┐
//!                                                     ├─► check ──► show, plan
//! tuning/host/*.toml ──► settings ──► places ─────────┘      └────► apply ──► journal ──► revert
//! ```
//!
//! `search` looks for a core profile instead, by measuring.
//!
//! Everything of the host is read and written below one directory, `/` or another (`sys::tree`), so
//! that a host can be looked at from a copy of its `/sys` and `/proc`.

#![forbid(unsafe_code)]

pub mod apply;
pub mod check;
pub mod docs;
pub mod journal;
pub mod layout;
pub mod nic;
pub mod places;
pub mod plan;
pub mod rules;
pub mod search;
mod setting_file;
pub mod settings;
pub mod show;
pub mod topology;
mod value;

#[cfg(test)]
mod testing;
