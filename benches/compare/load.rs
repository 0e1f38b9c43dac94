//! One run of `wrk`: 64 kept-alive connections on the client's core.

use std::collections::HashMap;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::harness::root;
use crate::harness::server::Server;

/// Connections that `wrk` keeps.
const CONNECTIONS: u32 = 64;

/// Whom `wrk` asks.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// One host.
    Host(&'a str),
    /// The hosts `t0.test` and so on, this many, in turn.
    Tenants(usize),
}

/// What one round says about a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Answered requests per second.
    pub requests_per_s: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
    /// CPU time of all of the server's processes per request, in microseconds.
    pub cpu_us: f64,
    /// CPU time of all of the server's processes over the time of the round; 1 is a full core.
    pub busy: f64,
}

/// Loads `server` for `seconds`.
///
/// # Errors
/// When `wrk` fails, or a request does.
pub fn run(server: &Server, target: Target<'_>, seconds: u32) -> anyhow::Result<Round> {
    let mut command = Command::new("wrk");
    command
        .arg("-t1")
        .arg(format!("-c{CONNECTIONS}"))
        .arg(format!("-d{seconds}s"));
    command
        .arg("-s")
        .arg(root().join("benches/compare/load.lua"));
    let url = format!("http://{}/", server.address);
    match target {
        Target::Host(host) => command.arg("-H").arg(format!("Host: {host}")).arg(url),
        Target::Tenants(tenants) => command.arg(url).arg("--").arg(tenants.to_string()),
    };
    let before_ns = server.cpu_ns();
    let output = command.output().context("starting wrk")?;
    let cpu_ns = (server.cpu_ns() - before_ns) as f64;
    ensure!(
        output.status.success(),
        "wrk: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("result ")) else {
        bail!("wrk said: {text}");
    };
    let words: Vec<&str> = line.split(' ').collect();
    let result: HashMap<&str, f64> = words
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0], pair[1].parse().ok()?)))
        .collect();
    let value = |name| {
        result
            .get(name)
            .copied()
            .with_context(|| format!("no {name} in {line}"))
    };
    let (requests, us, failed) = (value("requests")?, value("us")?, value("failed")?);
    ensure!(failed == 0.0, "{failed} of {requests} requests failed");
    ensure!(requests > 0.0, "no request was answered");
    Ok(Round {
        requests_per_s: requests / us * 1e6,
        p50_us: value("p50_us")?,
        p99_us: value("p99_us")?,
        cpu_us: cpu_ns / 1000.0 / requests,
        busy: cpu_ns / 1000.0 / us,
    })
}
