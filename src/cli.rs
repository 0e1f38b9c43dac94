//! The command line: what can be typed, and what each word of it means.

mod new;
mod secret;
mod tune;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Budget, Compat, Egress, EgressRule, Store};

pub use new::NewArgs;
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
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
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

const RUN_EXAMPLES: &str = "\
Needs no privileges and no configuration. The component answers for every host; what it prints
goes to this terminal.

Examples:
  skep run app.wasm
  skep run app.wasm --env GREETING=hi --env DEBUG=1
  skep run app.wasm --addr 127.0.0.1:9000 --cpu-ms 50 --memory-mib 128
  skep run app.wasm --egress https://api.example.com --egress 10.0.0.0/8
  skep run app.wasm --kv default --secret API_KEY=s3cret --config REGION=eu
  skep run fastedge.wasm --compat fastedge --kv stats=redis://127.0.0.1";

/// Arguments of `skep run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The component
    #[arg(value_name = "APP.wasm")]
    pub component: PathBuf,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = DEFAULT_ADDRESS)]
    pub addr: SocketAddr,
    /// Environment variable of the component; may be repeated, the last of a name counts
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// What the component may connect to, as in egress.allow; may be repeated. `allow-all` is everything,
    /// this machine and private networks included
    #[arg(long, value_name = "RULE|allow-all", value_parser = parse_egress)]
    pub egress: Vec<EgressFlag>,
    /// File of certificates that TLS trusts, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Value that the component reads as configuration (wasi:config, FastEdge's dictionary); may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub config: Vec<(String, String)>,
    /// Secret of the component; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub secret: Vec<(String, String)>,
    /// Key-value store of the component: in memory, in a directory, or on a Redis server
    /// (`redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`); may be repeated
    #[arg(long, value_name = "NAME[=memory|DIR|redis://...]", value_parser = parse_store)]
    pub kv: Vec<StoreFlag>,
    /// Answer as the host does that the component is made for
    #[arg(long, value_name = "fastedge", value_parser = parse_compat)]
    pub compat: Option<Compat>,
    /// CPU time of one request, in milliseconds [default: 30000]
    #[arg(long, value_name = "N")]
    pub cpu_ms: Option<u64>,
    /// Wall time of one request, in milliseconds [default: 600000]
    #[arg(long, value_name = "N")]
    pub wall_ms: Option<u64>,
    /// Memory of one instance, in MiB [default: 512]
    #[arg(long, value_name = "N")]
    pub memory_mib: Option<u64>,
}

/// One `--egress`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressFlag {
    /// `allow-all`
    All,
    /// A rule.
    Rule(EgressRule),
}

fn parse_egress(text: &str) -> Result<EgressFlag, String> {
    match text {
        "allow-all" => Ok(EgressFlag::All),
        rule => match rule.parse() {
            Ok(rule) => Ok(EgressFlag::Rule(rule)),
            Err(error) => Err(format!("{error}")),
        },
    }
}

fn parse_compat(text: &str) -> Result<Compat, String> {
    match text {
        "fastedge" => Ok(Compat::Fastedge),
        _ => Err("fastedge is right".to_owned()),
    }
}

/// `NAME=VALUE`, of any text.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is right".to_owned()),
    }
}

/// One `--kv`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreFlag {
    /// The store.
    pub store: Store,
    /// The directory that it is kept in.
    pub dir: Option<PathBuf>,
}

fn parse_store(text: &str) -> Result<StoreFlag, String> {
    let (name, place) = text.split_once('=').unwrap_or((text, "memory"));
    let store = Store::named(name)?;
    match place {
        "memory" => Ok(StoreFlag { store, dir: None }),
        "" => Err("memory, a directory or redis://... is right".to_owned()),
        _ if place.starts_with("redis://") => {
            let store = store.on_redis(place)?;
            Ok(StoreFlag { store, dir: None })
        }
        dir => Ok(StoreFlag {
            store,
            dir: Some(dir.into()),
        }),
    }
}

impl RunArgs {
    /// What was allowed.
    pub fn egress(&self) -> Egress {
        let mut egress = Egress::default();
        for flag in &self.egress {
            match flag {
                EgressFlag::All => egress.allow.extend(Egress::allow_all().allow),
                EgressFlag::Rule(rule) => egress.allow.push(rule.clone()),
            }
        }
        egress
    }

    /// The budgets that were given.
    pub fn budget(&self) -> Budget {
        Budget {
            cpu_ms: self.cpu_ms,
            wall_ms: self.wall_ms,
            memory_mib: self.memory_mib,
        }
    }
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

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
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
            "skep new --template wasi-http-rust",
            "skep new a b",
            "skep compile a.wasm",
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

    #[test]
    fn variables_split_at_the_first_equals_sign() {
        let cases = [
            ("A=1", Ok(("A".to_owned(), "1".to_owned()))),
            ("A=", Ok(("A".to_owned(), String::new()))),
            ("A=b=c", Ok(("A".to_owned(), "b=c".to_owned()))),
            ("A", Err("write NAME=VALUE".to_owned())),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_variable(text), expected);
        }
    }
}
