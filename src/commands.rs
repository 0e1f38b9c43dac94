//! What each subcommand does, in terms of the other modules.

mod admin;
mod kv;
mod logs;
mod new;
mod purge;
mod run;
mod secret;
mod tune;

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{CompileArgs, ConfigArgs, DemoArgs, DoctorArgs, ServeArgs};
use crate::compiler::{JobLimits, compile_in_child};
use crate::config::{Errors, Host, Profile};
use crate::isolation::{Layer, Report as Layers, doctor};
use crate::sys::channel::Channel;
use crate::sys::process;
use crate::{demo as demo_tenants, supervisor, worker as worker_process};

pub use kv::kv;
pub use logs::logs;
pub use new::new;
pub use purge::purge;
pub use run::run;
pub use secret::secret;
pub use tune::tune;

/// How a subcommand ends: well, or with something to say and an exit code.
pub type Result = std::result::Result<(), Failure>;

/// Why a subcommand failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong; exit code 2.
    Config(Errors),
    /// Something else that was given is wrong, and this says what; exit code 2.
    Wrong(String),
    /// It could not be done; exit code 1.
    Failed(anyhow::Error),
    /// The same, and everything is said; exit code 1.
    Told,
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Self {
        Self::Config(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<supervisor::ServeError> for Failure {
    fn from(error: supervisor::ServeError) -> Self {
        Self::Failed(error.into())
    }
}

/// What every process does first.
pub fn prepare() {
    // A closed terminal is an error to be handled, not a signal to die of: Rust has seen to it.
    // Diagnostics are one line each, without colors when nobody looks.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .init();
}

/// Says why, and turns it into an exit code.
pub fn exit_code(result: Result) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(errors)) => {
            eprintln!("{errors}");
            ExitCode::from(2)
        }
        Err(Failure::Wrong(line)) => {
            eprintln!("{line}");
            ExitCode::from(2)
        }
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Failed(error)) => {
            eprintln!("skep: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line. Some errors say their cause themselves.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// `skep demo`
pub fn demo(args: &DemoArgs) -> Result {
    let dir = demo_tenants::unpack()?;
    let host = Host::for_demo(dir.path(), args.addr)?;
    supervisor::serve(
        host,
        None,
        |_| Err("the demo has no configuration to read again".into()),
        |addresses| {
            for address in &addresses.http {
                demo_tenants::print_curl_lines(*address);
            }
        },
    )?;
    Ok(())
}

/// `skep serve`
pub fn serve(args: &ServeArgs) -> Result {
    let host = Host::load(&args.config.config)?;
    check_fits(&host)?;
    if !host.require.is_empty() {
        require(&examined()?, &host.require)?;
    }
    supervisor::serve(
        host,
        args.pid_dir.as_deref(),
        |path| {
            let host = Host::load(path).map_err(|errors| errors.to_string())?;
            host.check_fits().map(|()| host)
        },
        supervisor::Addresses::print_ready,
    )?;
    Ok(())
}

/// Refuses profiles that this machine's mapping limit cannot carry.
fn check_fits(host: &Host) -> Result {
    let fits = host.check_fits();
    fits.map_err(|line| Failure::Failed(anyhow::Error::msg(line)))
}

/// `skep check`
pub fn check(args: &ConfigArgs) -> Result {
    let host = Host::load(&args.config)?;
    check_fits(&host)?;
    println!(
        "{}: ok, {} tenants on {} workers",
        args.config.display(),
        host.tenants.len(),
        host.cores.len() * host.cells.len()
    );
    Ok(())
}

/// `skep doctor`
pub fn doctor(args: &DoctorArgs) -> Result {
    let host = args.config.as_deref().map(Host::load).transpose()?;
    let layers = examined()?;
    let rows = doctor::rows(&layers);
    if args.json {
        let json = serde_json::to_string_pretty(&rows).map_err(anyhow::Error::from)?;
        println!("{json}");
    } else {
        print!("{}", doctor::table(&rows));
    }
    require(&layers, host.as_ref().map_or(&[], |host| &host.require))
}

fn examined() -> std::result::Result<Layers, Failure> {
    let layers = doctor::examine().context("trying the layers of isolation")?;
    Ok(layers)
}

/// Refuses a host that lacks a required layer.
fn require(layers: &Layers, required: &[Layer]) -> Result {
    let missing = layers.require(required);
    missing.map_err(|line| Failure::Failed(anyhow::Error::msg(line)))
}

/// `skep compile`
pub fn compile(args: &CompileArgs) -> Result {
    let profile = Profile::find(&args.profile, Path::new("."))?;
    let component = std::fs::File::open(&args.component)
        .with_context(|| format!("opening {}", args.component.display()))?;
    let limits = JobLimits::for_component(component.metadata()?.len());
    let compiled = compile_in_child(component.as_fd(), &profile, args.fuel, &limits);
    let (flavour, artifact) = compiled.with_context(|| args.component.display().to_string())?;
    let mut artifact = std::fs::File::from(artifact);
    std::io::Seek::rewind(&mut artifact)?;
    let mut output = std::fs::File::create(&args.output)
        .with_context(|| format!("creating {}", args.output.display()))?;
    let bytes = std::io::copy(&mut artifact, &mut output)
        .with_context(|| format!("writing {}", args.output.display()))?;
    println!("{}: {flavour:?}, {bytes} bytes", args.output.display());
    Ok(())
}

/// `skep worker`
pub fn worker() -> Result {
    let control = Channel::from_fd(process::inherited(0)?);
    Ok(worker_process::main(control)?)
}
