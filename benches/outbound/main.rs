//! What a guest's request to an origin costs beyond the origin's own time.
//!
//! ```text
//!   core 0                           core 1
//!   direct:   this program ────────► origin
//!   guest:    skep ◄──────────────── this program          a guest that answers by itself
//!   fetch:    skep ◄──────────────── this program          the same guest, which asks the origin first
//!               └──────────────────► origin
//! ```
//!
//! One request at a time, all connections kept alive, the three in turn. What the call adds is the
//! median of `fetch` less those of `guest` and `direct`: each hop between the cores is in both.
//! `cargo bench --bench outbound -- --help`.

#[path = "../harness/mod.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;

use crate::harness::machine::{self, Machine};
use crate::harness::one_by_one::{times, wait_for};
use crate::harness::record::{self, Table};
use crate::harness::server::Server;
use crate::harness::skep::Site;
use crate::harness::stats::{Spread, quantile};
use crate::harness::{CLIENT_CORE, SERVER_CORE, free_port, guest};

/// Requests of guests to others: skep on core 0, origin and client on core 1.
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

/// Medians of one round, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    direct_us: f64,
    guest_us: f64,
    fetch_us: f64,
    /// CPU time of the server for one request, without and with a request to the origin.
    guest_cpu_us: f64,
    fetch_cpu_us: f64,
}

impl Round {
    fn added_us(self) -> f64 {
        self.fetch_us - self.guest_us - self.direct_us
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    machine::warn_if_busy();
    harness::take_client_core()?;
    let origin = origin()?;
    let mut site = Site::new("balanced", "off")?;
    site.line("egress.allow = [\"127.0.0.0/8\"]");
    site.tenant_at("probe", &guest("hello")?);
    site.tenant_at("kitchen", &guest("kitchen")?);
    let port = free_port()?;
    site.configure(port)?;
    let server = Server::start(site.command(), port, "probe.test", site.messages()?)?;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: kitchen.test\r\n\r\n");
    let (alone, fetch) = (ask("/twice"), ask(&format!("/fetch?url=http://{origin}/")));
    wait_for(server.address, &fetch, "status 200\nbytes 5\nhello")?;
    let mut rounds = Vec::new();
    for index in 0..arguments.rounds {
        let count = arguments.requests;
        let direct_us = on_the_servers_core(origin, count)?;
        let (guest_us, guest_cpu_us) = through(&server, &alone, count)?;
        let (fetch_us, fetch_cpu_us) = through(&server, &fetch, count)?;
        let round = Round {
            direct_us,
            guest_us,
            fetch_us,
            guest_cpu_us,
            fetch_cpu_us,
        };
        eprintln!("round {}: {:.0} µs added", index + 1, round.added_us());
        rounds.push(round);
    }
    let dir = arguments.out.as_deref();
    record::keep("outbound", &machine, &report(&rounds), &rounds, dir)
}

fn report(rounds: &[Round]) -> String {
    let mut table = Table::new(1, &["p50", "µs", "server CPU µs"]);
    let spread = |of: fn(&Round) -> f64| format!("{:.0}", Spread::of(rounds.iter().map(of)));
    let rows = [
        (
            "the origin, asked from the server's core",
            spread(|it| it.direct_us),
            String::new(),
        ),
        (
            "a guest that answers by itself",
            spread(|it| it.guest_us),
            spread(|it| it.guest_cpu_us),
        ),
        (
            "the same, asking the origin first",
            spread(|it| it.fetch_us),
            spread(|it| it.fetch_cpu_us),
        ),
        (
            "what the call adds to the origin's own time",
            spread(|it| it.added_us()),
            spread(|it| it.fetch_cpu_us - it.guest_cpu_us),
        ),
    ];
    for (what, time, cpu) in rows {
        table.row(vec![what.to_owned(), time, cpu]);
    }
    table.markdown()
        + "\nMedian (smallest–largest) of the rounds' medians; one request at a time.\n"
}

/// A server of this program's core that answers every head with five bytes.
fn origin() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer_all(stream));
        }
    });
    Ok(address)
}

fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 4_096];
    // Whoever asks here sends each head in one piece and waits for its answer.
    while stream.read(&mut head)? > 0 {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")?;
    }
    Ok(())
}

/// The median of requests from the server's core to the origin.
fn on_the_servers_core(origin: SocketAddr, count: usize) -> anyhow::Result<f64> {
    let thread = std::thread::spawn(move || {
        skep::sys::affinity::pin_to(SERVER_CORE)?;
        times(origin, "GET / HTTP/1.1\r\nhost: origin\r\n\r\n", count)
    });
    let times = thread.join().map_err(|_| anyhow::anyhow!("the client"))?;
    skep::sys::affinity::pin_to(CLIENT_CORE)?;
    Ok(quantile(&times?, 0.5))
}

/// The median of requests to skep, and its CPU time for one.
fn through(server: &Server, request: &str, count: usize) -> anyhow::Result<(f64, f64)> {
    let before_ns = server.cpu_ns();
    let times = times(server.address, request, count)?;
    let cpu_ns = server.cpu_ns() - before_ns;
    Ok((
        quantile(&times, 0.5),
        cpu_ns as f64 / 1_000.0 / count as f64,
    ))
}
