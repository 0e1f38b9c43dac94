//! Tells circles, squares and triangles apart, with a small convolutional network that runs in the program.
//!
//! ```text
//!   POST image ──► app ──► 28×28 grey ──► model ──► {"label": "circle", …}
//!                                          ▲ model.bin
//!   shapes ──► training ───────────────────┘           cargo run --release --example train
//! ```

#[cfg(target_family = "wasm")]
mod app;
pub mod model;
#[cfg(not(target_family = "wasm"))]
pub mod shapes;
#[cfg(not(target_family = "wasm"))]
pub mod training;
