//! From connecting to the first byte, by how much of a tenant's program the worker has already.
//!
//! ```text
//! never compiled ──► artifact on disk ──► module warm ──► slot warm
//!   compile            map and link        reset a slot     only make the instance
//! ```
//!
//! Requests come one at a time, each on a new connection, each for the next tenant; every tenant's
//! component is its own. `cargo bench --bench cold_start -- --help`.

#[path = "../harness/mod.rs"]
mod harness;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use nix::sys::signal::Signal;
use serde::Serialize;

use crate::harness::machine::{self, Machine};
use crate::harness::record::{self, Table};
use crate::harness::server::{self, Server};
use crate::harness::skep::Site;
use crate::harness::stats::quantile;
use crate::harness::{distinct, free_port, guest};

/// Cold starts of skep on core 0, seen from core 1.
#[derive(Debug, Parser)]
struct Arguments {
    /// Tenants of a small guest.
    #[arg(long, default_value_t = 200)]
    tenants: usize,
    /// Tenants of a large guest: each takes ten seconds and more to compile.
    #[arg(long, default_value_t = 5)]
    large_tenants: usize,
    /// Times that the server is started again, to find all tenants cold.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Guests, of target/guests.
    #[arg(long, value_delimiter = ',', default_value = "hello,js,python")]
    guests: Vec<String>,
    /// Leave out the kind that compiles.
    #[arg(long)]
    no_compile: bool,
    /// Where the record goes instead of benches/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A guest whose component is larger than this is a large one.
const LARGE_BYTES: usize = 1 << 20;

/// A slot that was used by another tenant is taken each time, so none is ever warm.
const NO_WARM_SLOTS: &str = "extends = \"balanced\"\nwarm_slots = 0\ndecommit_batch = 1\n";

/// A tenant that only says that the server is up.
const PROBE: &str = "probe";

/// The starts of one kind, in microseconds.
#[derive(Debug, Default, Serialize)]
struct Starts {
    /// Connect to first byte, seen by the client.
    client_us: Vec<f64>,
    /// From the complete head to the end of the response, as the access log has it.
    server_us: Vec<f64>,
}

/// One guest's starts of one kind.
#[derive(Debug, Serialize)]
struct Measured {
    guest: String,
    kind: &'static str,
    starts: Starts,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    machine::warn_if_busy();
    harness::take_client_core()?;
    let mut measured = Vec::new();
    for name in &arguments.guests {
        let component = fs::read(guest(name)?)?;
        let large = component.len() > LARGE_BYTES;
        let tenants = if large {
            arguments.large_tenants
        } else {
            arguments.tenants
        };
        let mut bench = Bench::new(component, tenants)?;
        let mut kinds = bench.warm_kinds(arguments.rounds)?;
        if !arguments.no_compile {
            let samples = if large {
                2.min(tenants)
            } else {
                20.min(tenants)
            };
            kinds.push(("never compiled", bench.never_compiled(samples)?));
        }
        for (kind, starts) in kinds {
            let middle = quantile(&starts.client_us, 0.5);
            eprintln!("{name} · {kind}: {middle:.0} µs");
            measured.push(Measured {
                guest: name.clone(),
                kind,
                starts,
            });
        }
    }
    record::keep(
        "cold_start",
        &machine,
        &report(&measured),
        &measured,
        arguments.out.as_deref(),
    )
}

fn report(measured: &[Measured]) -> String {
    let mut table = Table::new(
        2,
        &[
            "guest",
            "kind",
            "starts",
            "client p50 µs",
            "p99 µs",
            "server p50 µs",
            "p99 µs",
        ],
    );
    for it in measured {
        let Starts {
            client_us,
            server_us,
        } = &it.starts;
        let cell = |values: &[f64], share| match values {
            [] => "–".to_owned(),
            values => format!("{:.0}", quantile(values, share)),
        };
        table.row(vec![
            it.guest.clone(),
            it.kind.to_owned(),
            client_us.len().to_string(),
            cell(client_us, 0.5),
            cell(client_us, 0.99),
            cell(server_us, 0.5),
            cell(server_us, 0.99),
        ]);
    }
    table.markdown()
        + "\nclient: connect to first byte, on core 1. server: head complete to response sent.\n\
           never compiled: from the SIGHUP that adds the tenant to the first byte.\n"
}

/// One guest's tenants, and the site that serves them.
struct Bench {
    component: Vec<u8>,
    site: Site,
    tenants: usize,
    log_read: usize,
}

impl Bench {
    fn new(component: Vec<u8>, tenants: usize) -> anyhow::Result<Self> {
        let mut site = Site::new("balanced", "all")?;
        site.tenant_at(PROBE, &guest("hello")?);
        for index in 0..tenants {
            site.tenant(&format!("t{index}"), &distinct(&component, index))?;
        }
        Ok(Self {
            component,
            site,
            tenants,
            log_read: 0,
        })
    }

    /// The three kinds that find an artifact.
    fn warm_kinds(&mut self, rounds: usize) -> anyhow::Result<Vec<(&'static str, Starts)>> {
        let (mut slot, mut module, mut disk) = <(Starts, Starts, Starts)>::default();
        // The first server compiles.
        let server = self.start()?;
        for index in 0..self.tenants {
            wait_for(&server, &format!("t{index}.test"))?;
        }
        drop(server);
        for _ in 0..rounds {
            self.site.profile("balanced")?;
            let server = self.start()?;
            self.pass(&server, Some(&mut disk))?;
            // A slot that still waits to be reset in a batch is not taken again: two passes warm
            // as many as are needed.
            self.pass(&server, None)?;
            self.pass(&server, None)?;
            self.pass(&server, Some(&mut slot))?;
            drop(server);
            self.site.profile(NO_WARM_SLOTS)?;
            let server = self.start()?;
            self.pass(&server, None)?;
            self.pass(&server, Some(&mut module))?;
        }
        self.site.profile("balanced")?;
        Ok(vec![
            ("slot warm", slot),
            ("module warm", module),
            ("artifact on disk", disk),
        ])
    }

    /// Tenants that are added to a running server.
    fn never_compiled(&mut self, samples: usize) -> anyhow::Result<Starts> {
        let mut starts = Starts::default();
        let server = self.start()?;
        for index in self.tenants..self.tenants + samples {
            let name = format!("t{index}");
            self.site.tenant(&name, &distinct(&self.component, index))?;
            self.site.configure(server.address.port())?;
            let start = Instant::now();
            server.signal(Signal::SIGHUP)?;
            wait_for(&server, &format!("{name}.test"))?;
            starts
                .client_us
                .push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        Ok(starts)
    }

    /// Starts a server and waits until it has nothing more to do.
    fn start(&mut self) -> anyhow::Result<Server> {
        let port = free_port()?;
        self.site.configure(port)?;
        let host = format!("{PROBE}.test");
        let server = Server::start(self.site.command(), port, &host, self.site.messages()?)?;
        server.settle(Duration::from_secs(600))?;
        self.logged()?;
        Ok(server)
    }

    /// One request for each tenant.
    fn pass(&mut self, server: &Server, starts: Option<&mut Starts>) -> anyhow::Result<()> {
        let mut client_us = Vec::with_capacity(self.tenants);
        for index in 0..self.tenants {
            let answer = server::get(server.address, &format!("t{index}.test"))?;
            ensure!(
                answer.status == 200,
                "t{index} was answered with {}",
                answer.status
            );
            client_us.push(answer.first_byte_us);
        }
        // Log lines are written a few milliseconds late.
        std::thread::sleep(Duration::from_millis(100));
        let server_us = self.logged()?;
        if let Some(starts) = starts {
            starts.client_us.extend(client_us);
            starts.server_us.extend(server_us);
        }
        Ok(())
    }

    /// The wall times of the requests that were logged since the last call.
    fn logged(&mut self) -> anyhow::Result<Vec<f64>> {
        #[derive(serde::Deserialize)]
        struct Line {
            tenant: Option<String>,
            wall_us: Option<f64>,
        }
        let text = fs::read_to_string(self.site.log()).context("the access log")?;
        let lines = text[self.log_read..].lines();
        let wall = lines.filter_map(|line| {
            let line: Line = serde_json::from_str(line).ok()?;
            line.wall_us
                .filter(|_| line.tenant.is_some_and(|name| name != PROBE))
        });
        let wall = wall.collect();
        self.log_read = text.len();
        Ok(wall)
    }
}

/// Asks until the host is answered with 200.
fn wait_for(server: &Server, host: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        let status = server::get(server.address, host)?.status;
        if status == 200 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{host} is answered with {status}"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}
