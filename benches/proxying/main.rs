//! What passing a request on to an origin costs, against nginx `proxy_pass`, and what a filter on the way adds.
//!
//! ```text
//!   core 0                                        core 1
//!   nginx proxy_pass │ skep │ skep + filter ◄──── wrk
//!                           └───────────────────► origin (nginx, return 200)
//! ```
//!
//! All keep their connections. They take turns, each round a new process.
//! `cargo bench --bench proxying -- --help`.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../compare/load.rs"]
#[expect(dead_code, reason = "the comparison asks many tenants, too")]
mod load;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use serde::Serialize;

use crate::harness::machine::{self, Machine};
use crate::harness::record::{self, Table};
use crate::harness::server::{Server, get};
use crate::harness::skep::Site;
use crate::harness::stats::Spread;
use crate::harness::{free_port, guest};
use crate::load::{Round, Target};

/// Passing on: the proxies on core 0 in turn, wrk and the origin on core 1.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds; each measures every proxy once.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Where the record goes instead of benches/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured: its name in the table, and the host that is asked for.
const CONTESTANTS: [(&str, &str); 4] = [
    ("nginx, proxy_pass", "nginx"),
    ("skep, passing on", "plain.test"),
    ("skep, through a filter of fields", "filter.test"),
    ("skep, from what it keeps", "kept.test"),
];

/// All rounds of one proxy.
#[derive(Debug, Serialize)]
struct Measured {
    name: String,
    rounds: Vec<Round>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let machine = Machine::here();
    machine::warn_if_busy();
    harness::take_client_core()?;
    let dir = tempfile::Builder::new().prefix("proxying-").tempdir()?;
    let origin = Origin::start(dir.path())?;
    let mut measured: Vec<Measured> = CONTESTANTS
        .iter()
        .map(|(name, _)| Measured {
            name: (*name).to_owned(),
            rounds: Vec::new(),
        })
        .collect();
    for round in 1..=arguments.rounds {
        for ((name, host), measured) in CONTESTANTS.iter().zip(&mut measured) {
            let (server, _site) = start(host, origin.port, dir.path())?;
            load::run(&server, Target::Host(host), 1)?;
            let result = load::run(&server, Target::Host(host), arguments.seconds)?;
            eprintln!(
                "round {round} · {name}: {:.0} requests/s, {:.2} µs CPU each",
                result.requests_per_s, result.cpu_us
            );
            measured.rounds.push(result);
        }
    }
    let dir = arguments.out.as_deref();
    record::keep("proxying", &machine, &report(&measured), &measured, dir)
}

fn start(host: &str, origin: u16, dir: &Path) -> anyhow::Result<(Server, Option<Site>)> {
    let port = free_port()?;
    if host == "nginx" {
        let config = dir.join("proxy.conf");
        let upstream = format!(
            "upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}"
        );
        let location = "proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
                        proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto http;";
        fs::write(&config, nginx(dir, port, &upstream, location))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(dir).arg("-c").arg(config);
        let log = fs::File::create(dir.join("messages"))?;
        return Ok((Server::start(command, port, host, log)?, None));
    }
    let mut site = Site::new("balanced", "off")?;
    let servers = format!("origin.servers = [\"http://127.0.0.1:{origin}\"]");
    let filter = guest("filter-headers")?;
    let filter = format!(
        "{servers}\n[[tenant.origin.filter]]\ncomponent = {filter:?}\non = [\"request_headers\", \"response_headers\"]"
    );
    const NOTHING_KEPT: &str = "http_cache_bytes = 0";
    site.origin("plain", &servers, NOTHING_KEPT);
    site.origin("filter", &filter, NOTHING_KEPT);
    site.origin("kept", &servers, "");
    site.configure(port)?;
    let server = Server::start(site.command(), port, host, site.messages()?)?;
    Ok((server, Some(site)))
}

fn report(measured: &[Measured]) -> String {
    let head = [
        "proxy",
        "requests/s",
        "p50 ms",
        "server CPU µs/request",
        "CPU, ratio to nginx",
    ];
    let mut table = Table::new(1, &head);
    let nginx = &measured[0].rounds;
    for one in measured {
        let spread = |of: &dyn Fn(&Round) -> f64| Spread::of(one.rounds.iter().map(of));
        let ratios = one.rounds.iter().zip(nginx);
        let ratios = Spread::of(ratios.map(|(one, nginx)| one.cpu_us / nginx.cpu_us));
        table.row(vec![
            one.name.clone(),
            format!("{:.0}", spread(&|it| it.requests_per_s)),
            format!("{:.2}", spread(&|it| it.p50_us / 1000.0)),
            format!("{:.1}", spread(&|it| it.cpu_us)),
            format!("{ratios:.2}"),
        ]);
    }
    let rounds = measured[1].rounds.iter().zip(&measured[2].rounds);
    let added = Spread::of(rounds.map(|(plain, filter)| filter.cpu_us - plain.cpu_us));
    table.markdown() + &format!("\nThe filter adds {added:.1} µs of server CPU to a request.\n")
}

fn nginx(dir: &Path, port: u16, more: &str, location: &str) -> String {
    let dir = dir.display();
    format!(
        "worker_processes 1; daemon off; pid {dir}/nginx-{port}.pid; error_log stderr;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; keepalive_requests 1000000000; default_type text/plain;
             client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
             uwsgi_temp_path {dir}; scgi_temp_path {dir};
             {more}
             server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
         }}"
    )
}

/// nginx that answers by itself, on this program's core.
struct Origin {
    child: Child,
    port: u16,
}

impl Origin {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let config = dir.join("origin.conf");
        let location =
            "add_header Cache-Control \"max-age=3600\"; return 200 \"Hello from the origin\";";
        fs::write(&config, nginx(dir, port, "", location))?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(dir)
            .arg("-c")
            .arg(config)
            .stderr(Stdio::null())
            .spawn()
            .context("starting nginx: apt-get install nginx-light")?;
        let origin = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        let address = ([127, 0, 0, 1], port).into();
        while !matches!(get(address, "origin"), Ok(answer) if answer.status == 200) {
            ensure!(Instant::now() < deadline, "the origin does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // A worker process of its own goes with it.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
