//! How many requests a second one core generates: `skep-load` against `wrk`, both on core 1, both
//! against the native hyper hello on core 0, in turn, in one run.
//!
//! `cargo bench -p skep-load --bench against_wrk`, with `-- ROUNDS SECONDS` for other than 5 and 4.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use skep_load::results::Results;

const CONNECTIONS: usize = 64;

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse::<u32>().ok());
    let (rounds, seconds) = (numbers.next().unwrap_or(5), numbers.next().unwrap_or(4));
    if Command::new("wrk").arg("-v").output().is_err() {
        println!("skipped: wrk is not installed; apt-get install wrk");
        return;
    }
    let server = Server::start();
    let mut ratios = Vec::new();
    println!(
        "{:>6} {:>14} {:>14} {:>8}",
        "round", "skep-load /s", "wrk /s", "ratio"
    );
    for round in 0..rounds {
        // Who is first changes, so that neither always meets a warmer machine.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = skep_load(&server, seconds, &[]);
            (rate(&ours), wrk(&server, seconds))
        } else {
            let theirs = wrk(&server, seconds);
            (rate(&skep_load(&server, seconds, &[])), theirs)
        };
        ratios.push(ours / theirs);
        println!(
            "{:>6} {ours:>14.0} {theirs:>14.0} {:>8.3}",
            round + 1,
            ours / theirs
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "\nskep-load over wrk: {:.3} (median; {:.3} to {:.3})",
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1]
    );
    println!("\nopen loop, how late the generator was:");
    for per_second in [1_000, 10_000, 50_000] {
        let results = skep_load(&server, seconds, &["--rate", &per_second.to_string()]);
        let generator = &results.generators[0];
        println!(
            "{per_second:>8}/s   p50 {:.4}  p99 {:.4}  p99.9 {:.4}  max {:.4} ms, {:.0} % busy",
            generator.lateness.percentile_ms(50.0),
            generator.lateness.percentile_ms(99.0),
            generator.lateness.percentile_ms(99.9),
            generator.lateness.max_ms(),
            generator.busy * 100.0
        );
    }
}

fn rate(results: &Results) -> f64 {
    let measured = &results.populations[0].phases[1];
    assert_eq!(measured.errors_total(), 0, "{:?}", measured.errors);
    measured.rate()
}

fn skep_load(server: &Server, seconds: u32, more: &[&str]) -> Results {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_skep-load"))
        .args(["url", &server.url(), "--cores", "1", "--force", "--quiet"])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--seconds", &seconds.to_string()])
        .args(more)
        .arg("--out")
        .arg(out.path())
        .output()
        .unwrap();
    Results::read(&out.path().join("url.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn wrk(server: &Server, seconds: u32) -> f64 {
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            &format!("-c{CONNECTIONS}"),
            &format!("-d{seconds}"),
            &server.url(),
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    line.unwrap_or_else(|| panic!("no rate in: {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// The native hyper hello on core 0.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--package", "hyper-hello"])
            .status()
            .unwrap();
        assert!(built.success());
        let binary =
            std::path::Path::new(env!("CARGO_BIN_EXE_skep-load")).with_file_name("hyper-hello");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(binary)
            .arg(format!("127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
