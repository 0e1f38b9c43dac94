//! What a call to the host's data adds to a request.
//!
//! ```text
//!   core 0                core 1            any core
//!   skep's worker ◄────── this program
//!        └─ get ──────────────────────────► data process
//! ```
//!
//! One request at a time on one connection, the kinds in turn: a guest that answers by itself, the same after
//! it has got a value of 100 bytes from its store, and from its cache. `cargo bench --bench stores -- --help`.

#[path = "../harness/mod.rs"]
mod harness;

use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::harness::machine::{self, Machine};
use crate::harness::one_by_one::{times, wait_for};
use crate::harness::record::{self, Table};
use crate::harness::server::Server;
use crate::harness::skep::Site;
use crate::harness::stats::{Spread, quantile};
use crate::harness::{free_port, guest};

/// Calls to the host's data: the worker on core 0, the client on core 1.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds, each with all three kinds.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Requests of each kind in one round.
    #[arg(long, default_value_t = 4_000)]
    requests: usize,
    /// Where the record goes instead of benches/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Medians of one round, in microseconds, and the CPU time of all of the server's processes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    alone_us: f64,
    store_us: f64,
    cache_us: f64,
    alone_cpu_us: f64,
    store_cpu_us: f64,
    cache_cpu_us: f64,
}

const STORES: &str =
    "kv = [{ name = \"S\", shared = \"s\" }, { name = \"default\", shared = \"s\" }]";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    machine::warn_if_busy();
    harness::take_client_core()?;
    let mut site = Site::new("balanced", "off")?;
    site.line(STORES);
    site.tenant_at("probe", &guest("hello")?);
    site.tenant_at("writer", &guest("keyvalue")?);
    site.tenant_at("reader", &guest("fastedge")?);
    let port = free_port()?;
    site.configure(port)?;
    let server = Server::start(site.command(), port, "probe.test", site.messages()?)?;
    let ask =
        |tenant: &str, path: &str| format!("GET {path} HTTP/1.1\r\nhost: {tenant}.test\r\n\r\n");
    let value = "v".repeat(100);
    wait_for(
        server.address,
        &ask("writer", &format!("/set?key=k&value={value}")),
        "ok\n",
    )?;
    wait_for(
        server.address,
        &ask("reader", &format!("/cache?op=set&key=k&value={value}")),
        "ok\n",
    )?;
    let alone = ask("reader", "/dictionary?key=none");
    let store = ask("reader", "/kv?store=S&op=get&key=k");
    let cache = ask("reader", "/cache?op=get&key=k");
    wait_for(server.address, &store, &format!("some {value}\n"))?;
    wait_for(server.address, &cache, &format!("some {value}\n"))?;
    let mut rounds = Vec::new();
    for index in 0..arguments.rounds {
        let measure = |request: &str| -> anyhow::Result<(f64, f64)> {
            let before_ns = server.cpu_ns();
            let times = times(server.address, request, arguments.requests)?;
            let cpu_us = (server.cpu_ns() - before_ns) as f64 / 1_000.0;
            Ok((quantile(&times, 0.5), cpu_us / arguments.requests as f64))
        };
        let (alone, store, cache) = (measure(&alone)?, measure(&store)?, measure(&cache)?);
        let round = Round {
            alone_us: alone.0,
            store_us: store.0,
            cache_us: cache.0,
            alone_cpu_us: alone.1,
            store_cpu_us: store.1,
            cache_cpu_us: cache.1,
        };
        let added = round.store_us - round.alone_us;
        eprintln!("round {}: a get adds {added:.0} µs", index + 1);
        rounds.push(round);
    }
    let dir = arguments.out.as_deref();
    record::keep("stores", &machine, &report(&rounds), &rounds, dir)
}

fn report(rounds: &[Round]) -> String {
    let mut table = Table::new(1, &["p50", "µs", "server CPU µs"]);
    let spread = |of: fn(&Round) -> f64| format!("{:.0}", Spread::of(rounds.iter().map(of)));
    let rows = [
        (
            "a guest that answers by itself",
            spread(|it| it.alone_us),
            spread(|it| it.alone_cpu_us),
        ),
        (
            "the same, after a get from its store",
            spread(|it| it.store_us),
            spread(|it| it.store_cpu_us),
        ),
        (
            "the same, after a get from its cache",
            spread(|it| it.cache_us),
            spread(|it| it.cache_cpu_us),
        ),
        (
            "what a get from a store adds",
            spread(|it| it.store_us - it.alone_us),
            spread(|it| it.store_cpu_us - it.alone_cpu_us),
        ),
        (
            "what a get from the cache adds",
            spread(|it| it.cache_us - it.alone_us),
            spread(|it| it.cache_cpu_us - it.alone_cpu_us),
        ),
    ];
    for (what, time, cpu) in rows {
        table.row(vec![what.to_owned(), time, cpu]);
    }
    table.markdown()
        + "\nMedian (smallest–largest) of the rounds' medians; one request at a time.\n"
}
