//! The command line: what can be typed, and what each word of it means.

mod kv;
mod new;
mod run;
mod secret;
mod tune;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::limits;

pub use kv::{KvArgs, KvCommand};
pub use new::NewArgs;
use run::parse_variable;
pub use run::{RunArgs, StoreFlag};
pub use secret::{SealArgs, SecretAction, SecretArgs};
pub use tune::{ApplyArgs, RevertArgs, SearchArgs, ShownArgs, TargetArgs, TuneAction, TuneArgs};

/// Where `demo` and `run` listen unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

/// Serves many tenants' WebAssembly components on one host.
#[derive(Debug, Parser)]
#[command(name = "skep", version, long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "\
Serves many tenants' wasi:http components on one host: a fresh instance for every request, on one
pinned worker per core, each within its budget of CPU, time and memory.";

const EXAMPLES: &str = "\
Examples:
  skep demo                          serve built-in programs, to look around
  skep new                           list what a program can begin with
  skep run app.wasm                  serve the component you are writing
  skep check --config skep.toml      find everything wrong with a configuration
  skep serve --config skep.toml      serve it
  skep doctor                        see how far processes are locked down here
  skep tune check                    find what to change on the host

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

/// A subcommand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve built-in programs; needs no files
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Serve the tenants of a configuration
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Serve one component, for the person who writes it
    #[command(after_help = run::EXAMPLES)]
    Run(Box<RunArgs>),
    /// Write a new program from a template, or list the templates
    #[command(after_help = new::EXAMPLES)]
    New(NewArgs),
    /// Check a configuration and say everything that is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ConfigArgs),
    /// Compile a component ahead of time
    #[command(after_help = COMPILE_EXAMPLES)]
    Compile(CompileArgs),
    /// Tune the host: show it, check its settings, change them, put them back
    #[command(after_help = tune::EXAMPLES)]
    Tune(TuneArgs),
    /// Make the key of a host's secrets, and seal secrets with it
    #[command(after_help = secret::EXAMPLES)]
    Secret(SecretArgs),
    /// Show one tenant's log lines
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// Have a running host forget answers that it keeps of a tenant's origin
    #[command(after_help = PURGE_EXAMPLES)]
    Purge(PurgeArgs),
    /// Show and change what a tenant's key-value store holds on a running host
    #[command(after_help = kv::EXAMPLES)]
    Kv(KvArgs),
    /// Say what this host gives of each layer of isolation, and how to get the rest
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// One worker; started by the supervisor
    #[command(hide = true)]
    Worker,
    /// The front; started by the supervisor
    #[command(hide = true)]
    Front,
    /// What connects for the workers; started by the supervisor
    #[command(hide = true)]
    Egress,
    /// What keeps tenants' data; started by the supervisor
    #[command(hide = true)]
    Data,
    /// The broker; started by the supervisor
    #[command(hide = true)]
    Broker,
    /// One compile job; started by the broker
    #[command(hide = true)]
    CompileJob,
    /// Locks itself down and says how far that went; started by the doctor
    #[command(hide = true)]
    IsolationProbe,
}

const DEMO_EXAMPLES: &str = "\
Examples:
  skep demo
  skep demo --addr 127.0.0.1:9000
  curl -H 'Host: hello.localhost' http://127.0.0.1:8080/";

/// Arguments of `skep demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = DEFAULT_ADDRESS)]
    pub addr: SocketAddr,
}

const SERVE_EXAMPLES: &str = "\
Signals:
  SIGTERM, SIGINT   finish requests in flight, then exit
  SIGHUP            read the configuration again without dropping a request

Example:
  skep serve --config /etc/skep/skep.toml";

/// Arguments of `skep serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What to serve.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Directory for a pid file of each process: supervisor.pid, worker-0.pid and so on
    #[arg(long, value_name = "DIR")]
    pub pid_dir: Option<PathBuf>,
}

const CHECK_EXAMPLES: &str = "\
Every problem is one line: file, line, key, what is wrong, what would be right.

Example:
  skep check --config skep.toml && systemctl reload skep";

/// The configuration, for `skep serve` and `skep check`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

const LOGS_EXAMPLES: &str = "\
Needs log.dir in the configuration. Lines are JSON, as they were written: what the tenant's program
printed, why requests failed, and its access lines, each with the request that it belongs to.

Examples:
  skep logs shop
  skep logs shop -f --lines 10 --config /etc/skep/skep.toml
  skep logs shop --lines 1000 | jq -r 'select(.kind == \"output\") | .line'";

/// Arguments of `skep logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Go on with lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines to begin with, the last ones
    #[arg(short = 'n', long, value_name = "N", default_value = "100", value_parser = parse_lines)]
    pub lines: usize,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "skep.toml")]
    pub config: PathBuf,
}

fn parse_lines(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(lines) if lines <= limits::LOG_SHOWN_LINES_MAX => Ok(lines),
        _ => Err(format!("0 to {} is right", limits::LOG_SHOWN_LINES_MAX)),
    }
}

const PURGE_EXAMPLES: &str = "\
Needs admin.socket in the configuration. Tags are what the origin says in surrogate-key or cache-tag.

Examples:
  skep purge shop --url https://shop.example/logo.png
  skep purge shop --prefix shop.example/products/
  skep purge shop --tag product-17 --soft
  skep purge shop --all";

/// Arguments of `skep purge`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct PurgeArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// The answer of one URL
    #[arg(long, value_name = "URL", group = "what")]
    pub url: Option<String>,
    /// The answers of all URLs that begin so
    #[arg(long, value_name = "URL", group = "what")]
    pub prefix: Option<String>,
    /// The answers with this tag
    #[arg(long, value_name = "TAG", group = "what")]
    pub tag: Option<String>,
    /// All answers
    #[arg(long, group = "what")]
    pub all: bool,
    /// Keep them, and ask the origin whether they still are good when they are next wanted
    #[arg(long)]
    pub soft: bool,
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "skep.toml")]
    pub config: PathBuf,
}

const DOCTOR_EXAMPLES: &str = "\
Every layer is tried, in a process that ends afterwards; nothing is changed. With a configuration,
the exit code is 1 where a layer of its isolation.require is missing.

Examples:
  skep doctor
  skep doctor --json
  skep doctor --config /etc/skep/skep.toml";

/// Arguments of `skep doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Check what this configuration requires
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const COMPILE_EXAMPLES: &str = "\
`serve` and `run` compile by themselves and keep the result; this is for looking at it, or for
timing the compiler. An artifact fits the profile and the skep version it was made with.

Examples:
  skep compile app.wasm -o app.cwasm
  skep compile app.wasm -o app.cwasm --profile density";

/// Arguments of `skep compile`.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// The component
    #[arg(value_name = "APP.wasm")]
    pub component: PathBuf,
    /// Where the artifact goes
    #[arg(short, long, value_name = "APP.cwasm")]
    pub output: PathBuf,
    /// The profile it is for: a built-in name, or the path of a file
    #[arg(long, value_name = "PROFILE", default_value = "balanced")]
    pub profile: String,
    /// Into code that counts fuel, for a tenant with limits.fuel
    #[arg(long)]
    pub fuel: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines() {
        let good = [
            "skep demo",
            "skep demo --addr [::1]:9000",
            "skep serve --config a.toml",
            "skep check -c a.toml",
            "skep run a.wasm --env A=1 --env B=x=y --cpu-ms 5 --wall-ms 10 --memory-mib 1",
            "skep run a.wasm --egress allow-all --egress https://a.test --ca-file ca.pem",
            "skep run a.wasm --dotenv --geo",
            "skep run a.wasm --origin http://127.0.0.1:1 --origin https://b.test",
            "skep purge shop --tag a --soft",
            "skep purge shop --all -c a.toml",
            "skep kv shop prices get a",
            "skep kv shop prices set a 1 -c a.toml",
            "skep kv shop prices set a --file f",
            "skep kv shop prices delete a b",
            "skep kv shop prices list",
            "skep kv shop prices list a* --config a.toml",
            "skep kv shop prices zadd a -1.5 m",
            "skep kv shop prices zrange a -inf 7",
            "skep kv shop prices bf-add a x y",
            "skep kv shop prices bf-exists a x",
            "skep kv shop prices import -",
            "skep run a.wasm --dotenv d --geo LU --watch",
            "skep run --watch --build make a.wasm --headers X-A=1 --rsp-headers X-B=2",
            "skep run -p 8080 -w a.wasm -e A=1 -s B=2 --kv-stores c=redis://d -m 128000000 --max-duration 5000 --wasi-http true",
            "skep new",
            "skep new a --template wasi-http-rust",
            "skep compile a.wasm -o a.cwasm --profile density",
            "skep tune show --root /r --json",
            "skep tune check -c a.toml --profile latency --with smt --without xps --settings d",
            "skep tune plan",
            "skep tune apply --state d",
            "skep tune revert --root /r --state d",
            "skep tune search --scenario s.toml --objective x -o p.toml",
            "skep tune search --scenario s.toml --objective x -o p.toml --base b --space s --load-cores 1,3 \
             --server-cores 0 --set a=b --set c=d --seed 7 --candidates 4 --quick --force --overwrite \
             --load-tool t",
            "skep logs shop",
            "skep logs shop -f -n 0 -c a.toml",
            "skep logs shop --follow --lines 1000000 --config a.toml",
            "skep doctor",
            "skep doctor --json -c skep.toml",
            "skep worker",
            "skep front",
            "skep egress",
            "skep broker",
            "skep compile-job",
        ];
        let bad = [
            "skep",
            "skep serve",
            "skep demo --addr localhost",
            "skep run",
            "skep run a.wasm --env A",
            "skep run a.wasm --env =1",
            "skep run a.wasm --cpu-ms -1",
            "skep run a.wasm --egress ftp://a",
            "skep run a.wasm -w b.wasm",
            "skep run a.wasm --addr 127.0.0.1:1 -p 1",
            "skep run a.wasm --geo LUX",
            "skep run a.wasm --origin b.test",
            "skep purge shop",
            "skep purge shop --all --tag a",
            "skep kv shop get a",
            "skep kv shop prices set a",
            "skep kv shop prices set a 1 --file f",
            "skep kv shop prices delete",
            "skep kv shop prices zadd a x m",
            "skep run a.wasm --build make",
            "skep new --template wasi-http-rust",
            "skep new a b",
            "skep compile a.wasm",
            "skep logs",
            "skep logs shop --lines 1000001",
            "skep tune",
            "skep tune apply --json",
            "skep tune revert --profile latency",
            "skep tune search --scenario s.toml --objective x",
            "skep tune search --scenario s.toml --objective x -o p.toml --candidates 0",
            "skep tune search --scenario s.toml --objective x -o p.toml --candidates 129",
            "skep tune search --scenario s.toml --objective x -o p.toml --set a",
        ];
        for line in good {
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
        }
        for line in bad {
            let error = Cli::try_parse_from(line.split(' ')).map(|_| ());
            assert_eq!(error.map_err(|e| e.exit_code()), Err(2), "{line}");
        }
    }
}
