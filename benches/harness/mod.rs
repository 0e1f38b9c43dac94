//! What the benches that start servers have in common: the machine, the servers, the runs' records.
//!
//! ```text
//!   core 0: the server, all of its processes        core 1: this program, then wrk
//! ```

// Each bench uses its own part of this.
#![allow(dead_code)]

pub mod machine;
pub mod one_by_one;
pub mod record;
pub mod server;
pub mod skep;
pub mod stats;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The core that servers run on.
pub const SERVER_CORE: usize = 0;

/// The core that clients run on.
pub const CLIENT_CORE: usize = 1;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A guest program.
///
/// # Errors
/// When it was not built, with the command that builds it.
pub fn guest(name: &str) -> anyhow::Result<PathBuf> {
    let path = root()
        .join("target/guests")
        .join(name)
        .with_extension("wasm");
    if !path.is_file() {
        bail!("{} is missing: run tests/guests/build", path.display());
    }
    Ok(path)
}

/// The bytes of a component with a custom section at its end, so that its digest is its own.
pub fn distinct(component: &[u8], index: usize) -> Vec<u8> {
    let payload = format!("bench-{index:08}");
    let mut bytes = component.to_vec();
    // Section 0, its length, the length of its name, the name; all below 128, one byte each.
    bytes.extend([0, payload.len() as u8 + 1, payload.len() as u8]);
    bytes.extend(payload.bytes());
    bytes
}

/// Pins this program to the client's core.
///
/// # Errors
/// On a machine with one core.
pub fn take_client_core() -> anyhow::Result<()> {
    ::skep::sys::affinity::pin_to(CLIENT_CORE)
        .with_context(|| format!("core {CLIENT_CORE} is needed for the client"))
}

/// A port that was free a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
