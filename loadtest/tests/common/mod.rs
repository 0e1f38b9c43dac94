//! What the tests share.

pub mod sample;
