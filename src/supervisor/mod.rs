//! The process that starts, watches and restarts all others. It holds the sockets and the
//! configuration, and never reads a byte that a client or a tenant's component is made of.
//!
//! ```text
//!   SIGTERM SIGINT SIGHUP SIGCHLD
//!              │ signalfd
//!   ┌──────────▼─ one thread, one poll ────────────────────────────┐
//!   │ roster: who is served, where          host: the configuration│
//!   │ for every worker: both ends of its mailbox; all listeners    │
//!   └──┬─────────────────┬─────────────────┬───────────────────────┘
//!      │ control         │ control         │ control
//!   worker 0 ◄─mailbox─► worker 1 …      broker, egress
//!      └──artifacts, logs─┴────────────────┘
//! ```
//!
//! | event | what happens |
//! |---|---|
//! | a worker dies | it starts again after a pause, with the same listeners and mailbox: what waits in them is kept |
//! | the front dies | the same; connections whose head was not complete are lost |
//! | the broker dies | it starts again, and every worker and the front get new channels to it |
//! | the egress process dies | it starts again, and every worker gets a new channel to it; connections that were made stay |
//! | anything dies before the first `serving` line | `serve` fails: the configuration cannot work |
//! | SIGHUP | the configuration is read again; tenants change, unless the running workers cannot carry them; the rest is reported; the log file is opened again |
//! | SIGTERM, SIGINT | workers and front drain, then the broker stops; a second one kills at once |
//! | the supervisor dies | the kernel kills the others (`PR_SET_PDEATHSIG`) |

#![forbid(unsafe_code)]

mod admin;
mod backoff;
mod cells;
mod child;
mod data;
mod drain;
mod egress;
mod front;
mod geo;
mod groups;
mod messages;
mod pids;
mod placement;
mod reload;
mod roster;
mod run;
mod start;

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::Host;

/// What a host serves on, once it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where HTTP/1.1 is answered, in configured order; port 0 is replaced by the kernel's choice.
    pub http: Vec<SocketAddr>,
    /// Worker process ids, in worker order.
    pub worker_pids: Vec<u32>,
}

impl Addresses {
    /// Writes `ready http://ADDRESS` lines to standard output, for whoever started this.
    pub fn print_ready(&self) {
        use std::io::Write;
        let mut out = io::stdout().lock();
        for address in &self.http {
            // A closed standard output is no reason to stop serving.
            let _ = writeln!(out, "ready http://{address}");
        }
        let _ = out.flush();
    }
}

/// Why a host could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", listen_hint(.source))]
    Listen {
        /// The address as configured.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A process cannot be started.
    #[error("cannot start {who}: {source}")]
    Spawn {
        /// `worker 0 (core 0)` or `broker`.
        who: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A process ended before the host was served: the next one would, too.
    #[error("{who} ended while starting ({how}): its own line above says why")]
    Start {
        /// `worker 0 (core 0)` or `broker`.
        who: String,
        /// Exit code or signal.
        how: String,
    },
    /// The kernel refused something the supervisor lives on.
    #[error("supervisor: {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (another process listens there: `ss -ltnp` names it)",
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE; or listen on a higher one)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

/// Serves `host` until SIGTERM or SIGINT.
///
/// `load` reads the configuration again on SIGHUP from [`Host::source`]; its error is printed line
/// by line. `started` is called once every worker routes every tenant and accepts.
///
/// Call it on the main thread before any other thread is started: signals are blocked for this
/// thread, and children die with it.
pub fn serve(
    host: Host,
    pid_dir: Option<&Path>,
    load: impl FnMut(&Path) -> Result<Host, String>,
    started: impl FnOnce(&Addresses),
) -> Result<(), ServeError> {
    start::supervisor(host, pid_dir)?.run(load, started)
}
