//! The tenants of `skep demo`, built into the binary.

use std::io;
use std::net::SocketAddr;

use tempfile::TempDir;

/// Name and component of each.
const COMPONENTS: [(&str, &[u8]); 4] = [
    ("hello", include_bytes!("../demo/hello.wasm")),
    ("echo", include_bytes!("../demo/echo.wasm")),
    ("spin", include_bytes!("../demo/spin.wasm")),
    ("trap", include_bytes!("../demo/trap.wasm")),
];

/// What to try on each, and what it shows.
const CURL: [(&str, &str, &str); 4] = [
    ("hello", "", "an instance of its own for every request"),
    (
        "echo",
        " --data-binary @README.md",
        "streams the body back as it arrives",
    ),
    ("spin", "", "computes for ever: stopped by its CPU budget"),
    ("trap", "", "traps: answered, counted, forgotten"),
];

/// Writes the components into a directory that goes when it is dropped.
///
/// # Errors
/// When the temporary directory cannot be written to.
pub fn unpack() -> io::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("skep-demo-").tempdir()?;
    for (name, bytes) in COMPONENTS {
        std::fs::write(dir.path().join(name).with_extension("wasm"), bytes)?;
    }
    Ok(dir)
}

/// Prints a line to try for each tenant.
pub fn print_curl_lines(address: SocketAddr) {
    for (name, arguments, shows) in CURL {
        println!("curl -i{arguments} -H 'Host: {name}.localhost' http://{address}/   # {shows}");
    }
}
