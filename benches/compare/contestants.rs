//! The servers that are compared, and how each is started at its best.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;

use crate::harness::server::Server;
use crate::harness::skep::Site;
use crate::harness::{free_port, guest, root};

/// The host that every request names.
pub const HOST: &str = "hello.test";

/// Wasmtime's release that skep is built on.
const WASMTIME_INSTALL: &str = "cargo install wasmtime-cli --version 48.0.8 --locked";

/// Gcore's own host for FastEdge apps is on no registry.
const FASTEDGE_RUN_INSTALL: &str =
    "build the CLI of github.com/G-Core/FastEdge-lib and name it in $FASTEDGE_RUN";

/// The pool as skep's `balanced` profile has it.
const WASMTIME_TUNED: &[&str] = &[
    "-Opooling-allocator=y",
    "-Opooling-memory-keep-resident=4194304",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-pagemap-scan=y",
    "-Opooling-max-unused-warm-slots=1000",
    "-Opooling-decommit-batch-size=16",
];

/// One server of the comparison.
#[derive(Debug)]
pub struct Contestant {
    /// Its name in the table.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Skep(Site),
    Wasmtime { component: PathBuf, reuse: u32 },
    FastedgeRun { program: PathBuf, app: PathBuf },
    Hyper(PathBuf),
    Nginx,
}

/// A contestant, or the name of one that is missing and how to get it.
pub type Found = Result<Contestant, (&'static str, String)>;

/// All contestants, skep first. `dir` holds their files.
///
/// # Errors
/// When a guest is missing or skep's site cannot be written.
pub fn find(dir: &Path) -> anyhow::Result<Vec<Found>> {
    let hello = guest("hello")?;
    let mut site = Site::new("balanced", "off")?;
    site.tenant_at("hello", &hello);
    let mut found = vec![Ok(Contestant {
        name: "skep, fresh",
        kind: Kind::Skep(site),
    })];
    let component = wasmtime_component(dir, &hello);
    for (name, reuse) in [
        ("wasmtime serve, fresh", 1),
        ("wasmtime serve, reused 128 times", 128),
        ("wasmtime serve, reused", 1_000_000),
    ] {
        found.push(match &component {
            Some(component) => Ok(Contestant {
                name,
                kind: Kind::Wasmtime {
                    component: component.clone(),
                    reuse,
                },
            }),
            None => Err((name, WASMTIME_INSTALL.into())),
        });
    }
    found.extend(fastedge()?);
    found.push(hyper_hello());
    found.push(match version("nginx", "-v") {
        true => Ok(Contestant {
            name: "nginx, return 200",
            kind: Kind::Nginx,
        }),
        false => Err(("nginx, return 200", "apt-get install nginx-light".into())),
    });
    Ok(found)
}

impl Contestant {
    /// Starts it. `dir` holds its files.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, dir: &Path) -> anyhow::Result<Server> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut command;
        match &self.kind {
            Kind::Skep(site) => {
                site.configure(port)?;
                command = site.command();
            }
            Kind::Wasmtime { component, reuse } => {
                command = Command::new(wasmtime());
                command
                    .args(["serve", "--addr", &address, "-Scli"])
                    .args(WASMTIME_TUNED);
                command.arg(format!("--max-instance-reuse-count={reuse}"));
                if component
                    .extension()
                    .is_some_and(|extension| extension == "cwasm")
                {
                    command.arg("--allow-precompiled");
                }
                command.arg(component);
            }
            Kind::FastedgeRun { program, app } => {
                command = Command::new(program);
                command.arg("http").arg("-p").arg(port.to_string());
                command.arg("-w").arg(app);
            }
            Kind::Hyper(binary) => {
                command = Command::new(binary);
                command.arg(address);
            }
            Kind::Nginx => {
                let config = dir.join("nginx.conf");
                fs::write(&config, nginx_config(dir, &address))?;
                command = Command::new("nginx");
                command.arg("-p").arg(dir).arg("-c").arg(config);
            }
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("messages"))?;
        Server::start(command, port, HOST, log)
    }
}

/// `WASMTIME` of the environment, or the one in the path.
fn wasmtime() -> PathBuf {
    std::env::var_os("WASMTIME").map_or_else(|| "wasmtime".into(), PathBuf::from)
}

/// The component as Wasmtime serves it: compiled before, or, where this build of Wasmtime has no
/// `compile`, compiled when it starts. `None` when there is no Wasmtime.
fn wasmtime_component(dir: &Path, hello: &Path) -> Option<PathBuf> {
    if !version(wasmtime(), "--version") {
        return None;
    }
    let compiled = dir.join("hello.cwasm");
    let mut compile = Command::new(wasmtime());
    compile
        .arg("compile")
        .args(WASMTIME_TUNED)
        .arg(hello)
        .arg("-o")
        .arg(&compiled);
    let done = compile.output().is_ok_and(|output| output.status.success());
    Some(if done { compiled } else { hello.to_owned() })
}

/// A FastEdge app in a fresh instance for each request, here and on Gcore's own host.
fn fastedge() -> anyhow::Result<[Found; 2]> {
    const RIVAL: &str = "fastedge-run, a FastEdge app";
    let app = guest("fastedge")?;
    let mut site = Site::new("balanced", "off")?;
    site.tenant_at("hello", &app);
    let skep = Contestant {
        name: "skep, a FastEdge app",
        kind: Kind::Skep(site),
    };
    let program = std::env::var_os("FASTEDGE_RUN");
    let program = program.map_or_else(|| "fastedge-run".into(), PathBuf::from);
    let rival = match version(&program, "--version") {
        true => Ok(Contestant {
            name: RIVAL,
            kind: Kind::FastedgeRun { program, app },
        }),
        false => Err((RIVAL, FASTEDGE_RUN_INSTALL.into())),
    };
    Ok([Ok(skep), rival])
}

/// Built on the spot: it is part of this repository.
fn hyper_hello() -> Found {
    const NAME: &str = "hyper, native hello";
    const BUILD: [&str; 4] = ["build", "--release", "--package", "hyper-hello"];
    let built = Command::new("cargo")
        .args(BUILD)
        .current_dir(root())
        .status();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = target.join("release/hyper-hello");
    match built {
        Ok(status) if status.success() && binary.is_file() => Ok(Contestant {
            name: NAME,
            kind: Kind::Hyper(binary),
        }),
        _ => Err((NAME, format!("cargo {}", BUILD.join(" ")))),
    }
}

fn version(program: impl AsRef<std::ffi::OsStr>, flag: &str) -> bool {
    Command::new(program)
        .arg(flag)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn nginx_config(dir: &Path, address: &str) -> String {
    let dir = dir.display();
    format!(
        "worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log stderr;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; keepalive_requests 1000000000; default_type text/plain;
             client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
             uwsgi_temp_path {dir}; scgi_temp_path {dir};
             server {{ listen {address}; location / {{ return 200 \"Hello from nginx\"; }} }}
         }}"
    )
}

/// Fails when `wrk` is missing, with the command that installs it.
///
/// # Errors
/// That.
pub fn need_wrk() -> anyhow::Result<()> {
    // It prints its version and fails.
    ensure!(
        Command::new("wrk").arg("-v").output().is_ok(),
        "wrk is needed: apt-get install wrk"
    );
    Ok(())
}
