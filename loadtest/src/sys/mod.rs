//! The only home of `unsafe`: the ring that generators talk to the kernel through.
#![allow(unsafe_code)]

pub mod ring;
