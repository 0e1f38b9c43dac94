//! The compile job itself: `skep compile-job`.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::compiler::{ARTIFACT_INDEX, CHANNEL_INDEX, COMPONENT_INDEX, Reply, Request, one_line};
use crate::config::{Profile, limits};
use crate::control::Flavour;
use crate::engine::settings;
use crate::isolation;
use crate::sys::channel::Channel;
use crate::sys::{process, report};

/// Runs one job for the process that started this one.
pub fn run() -> ExitCode {
    match answer_one() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("compile-job: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn answer_one() -> io::Result<()> {
    // Never closed by hand: for the parent, the channel's end is the process's end.
    let channel = ManuallyDrop::new(Channel::from_fd(process::inherited(CHANNEL_INDEX)?));
    let component = File::from(process::inherited(COMPONENT_INDEX)?);
    let artifact = File::from(process::inherited(ARTIFACT_INDEX)?);
    process::set_name("skep-compile")?;
    // When memory runs out on the host, this goes before any worker. Without /proc it stays as it
    // is.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // Counted while /proc is there; then no thread can be started any more.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    isolation::compile_job::lockdown(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(io::Error::other)
    })?;
    let Some((request, _)) = channel.recv::<Request>()? else {
        return Ok(());
    };
    let reply = match compile(&component, &artifact, &request.profile, request.fuel) {
        Ok(flavour) => Reply::Compiled { flavour },
        Err(reason) => Reply::Refused {
            reason: one_line(&reason),
        },
    };
    channel.send(&reply, &[])
}

/// From the component's descriptor to the artifact's. The error is a reason in words.
fn compile(
    component: &File,
    mut artifact: &File,
    profile: &Profile,
    fuel: bool,
) -> Result<Flavour, String> {
    let bytes = read(component).map_err(|error| format!("it cannot be read: {error}"))?;
    // What the panic says is in the reply; standard error is nobody's.
    std::panic::set_hook(Box::new(|_| {}));
    let compiled = catch_unwind(AssertUnwindSafe(|| {
        settings::compile_counting(&bytes, profile, fuel)
    }));
    let (flavour, code) = compiled.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or(panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        format!("the compiler panicked: {text}")
    })??;
    artifact
        .write_all(&code)
        .map_err(|error| format!("its artifact cannot be written: {error}"))?;
    Ok(flavour)
}

/// The whole component, from the start wherever the shared file offset is.
fn read(component: &File) -> io::Result<Vec<u8>> {
    let length = component.metadata()?.len();
    if length > limits::COMPONENT_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has {length} bytes, above the limit of {}",
            limits::COMPONENT_BYTES_MAX
        )));
    }
    let mut bytes = vec![0; length as usize];
    component.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
