//! The parent's side of a compile job. Blocking: the broker calls it on a thread of its own.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::Resource;

use crate::compiler::{CompileError, Reply, Request};
use crate::config::{Profile, limits};
use crate::control::Flavour;
use crate::sys::channel::Channel;
use crate::sys::clock::monotonic_ns;
use crate::sys::process::{Spawn, describe};

/// The artifact's name in `/proc/PID/fd`.
const ARTIFACT_NAME: &CStr = c"skep-artifact";

/// Added to the job's niceness: workers of the same core are scheduled first.
const NICE: i32 = 15;

/// Open descriptors of a job: three given, three standard, shared libraries one at a time.
const OPEN_FILES_MAX: u64 = 64;

/// What one compile job may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Address space, in MiB.
    pub memory_mib: u64,
    /// CPU time of all its threads together, in seconds.
    pub cpu_s: u64,
    /// Time from start to answer, in milliseconds.
    pub wall_ms: u64,
    /// Size of the artifact, in bytes.
    pub artifact_bytes: u64,
}

impl JobLimits {
    /// For a component of that many bytes: CPU time by its size, so that a small one cannot take as
    /// much as a large one needs; and no more than twice the wall time, because Cranelift compiles
    /// on two cores at best here, and a job that uses more uses cores that workers are pinned to.
    pub fn for_component(bytes: u64) -> JobLimits {
        let mib = bytes.div_ceil(1 << 20);
        let cpu_s = limits::COMPILE_CPU_S + mib.saturating_mul(limits::COMPILE_CPU_S_PER_MIB);
        JobLimits {
            memory_mib: limits::COMPILE_MEMORY_MIB,
            cpu_s: cpu_s.min(2 * limits::COMPILE_WALL_MS / 1000),
            wall_ms: limits::COMPILE_WALL_MS,
            artifact_bytes: limits::ARTIFACT_BYTES_MAX,
        }
    }

    /// For the first try of a small component, for which others wait.
    pub fn quick() -> JobLimits {
        JobLimits {
            cpu_s: limits::COMPILE_QUICK_CPU_S,
            wall_ms: limits::COMPILE_QUICK_WALL_MS,
            ..JobLimits::for_component(0)
        }
    }
}

/// Kills and reaps the job when dropped: nobody writes to the artifact afterwards.
struct Job(Child);

impl Job {
    fn end(&mut self) -> io::Result<ExitStatus> {
        // It fails only for a process that was reaped.
        let _ = self.0.kill();
        self.0.wait()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Compiles the component that `component` is open on, from its first byte. The artifact comes in a
/// sealed memfd: nobody can change it any more. `fuel` says whether its code counts fuel.
///
/// Blocks until the job ended or `wall_ms` passed. Call it on a thread that does not end meanwhile.
pub fn compile_in_child(
    component: BorrowedFd<'_>,
    profile: &Profile,
    fuel: bool,
    limits: &JobLimits,
) -> Result<(Flavour, OwnedFd), CompileError> {
    let host = |what| move |source: io::Error| CompileError::Host { what, source };
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let artifact = memfd_create(ARTIFACT_NAME, flags)
        .map_err(|error| host("making the artifact's memfd")(error.into()))?;
    let (ours, theirs) = Channel::pair().map_err(host("making its channel"))?;
    let spawn = Spawn {
        subcommand: "compile-job",
        fds: &[theirs.as_fd(), component, artifact.as_fd()],
        limits: &rlimits(limits),
        nice: NICE,
        stdout: false,
        stderr: false,
    };
    let mut job = Job(spawn.start().map_err(host("starting it"))?);
    drop(theirs);
    let request = Request {
        profile: profile.clone(),
        fuel,
    };
    let reply = match ours.send(&request, &[]) {
        Ok(()) => answer(&ours, limits)?,
        Err(_) => None, // it ended at once; how it did says more
    };
    match reply {
        Some(Reply::Compiled { flavour }) => {
            job.end().map_err(host("ending it"))?;
            seal(&artifact).map_err(host("sealing the artifact"))?;
            Ok((flavour, artifact))
        }
        Some(Reply::Refused { reason }) => Err(CompileError::Refused(super::one_line(&reason))),
        None => {
            // Its end of the channel is closed, so how it ends is settled; SIGKILL changes nothing
            // but for a job that closed it and goes on.
            let status = job.end().map_err(host("reaping it"))?;
            Err(CompileError::Ended {
                how: describe(status),
                hint: hint(status, limits),
                signal: status.signal(),
            })
        }
    }
}

/// (resource, soft, hard). The CPU limit kills one second after SIGXCPU said why.
fn rlimits(limits: &JobLimits) -> [(Resource, u64, u64); 5] {
    let memory_bytes = limits.memory_mib << 20;
    [
        (Resource::RLIMIT_AS, memory_bytes, memory_bytes),
        (Resource::RLIMIT_CPU, limits.cpu_s, limits.cpu_s + 1),
        (
            Resource::RLIMIT_FSIZE,
            limits.artifact_bytes,
            limits.artifact_bytes,
        ),
        (Resource::RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX),
        (Resource::RLIMIT_CORE, 0, 0),
    ]
}

/// The job's reply; `None` when it closed its channel without one.
fn answer(channel: &Channel, limits: &JobLimits) -> Result<Option<Reply>, CompileError> {
    let deadline_ns = monotonic_ns() + limits.wall_ms * 1_000_000;
    loop {
        let left_ms = deadline_ns
            .saturating_sub(monotonic_ns())
            .div_ceil(1_000_000);
        if left_ms == 0 {
            return Err(CompileError::Deadline {
                wall_ms: limits.wall_ms,
            });
        }
        let timeout = PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => {
                return Err(CompileError::Host {
                    what: "poll",
                    source: error.into(),
                });
            }
        }
        return match channel.try_recv::<Reply>() {
            Ok(reply) => Ok(reply.map(|(reply, _)| reply)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // A reset or a garbled reply: how it ended says more.
            Err(_) => Ok(None),
        };
    }
}

fn seal(artifact: &OwnedFd) -> io::Result<()> {
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SEAL;
    fcntl(artifact, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// What a signal means under these limits, to append to "ended with SIGNAL".
fn hint(status: ExitStatus, limits: &JobLimits) -> String {
    match status.signal() {
        Some(libc::SIGXCPU) => format!(": more than {} s of CPU time", limits.cpu_s),
        Some(libc::SIGXFSZ) => {
            format!(
                ": its artifact is larger than {} bytes",
                limits.artifact_bytes
            )
        }
        Some(libc::SIGABRT | libc::SIGSEGV | libc::SIGTRAP | libc::SIGBUS) => {
            format!(
                ": most likely out of its {} MiB of memory",
                limits.memory_mib
            )
        }
        Some(libc::SIGKILL) => ": most likely the host ran out of memory".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_the_component_up_to_what_two_cores_have() {
        for (bytes, cpu_s) in [
            (0, 20),
            (1, 30),
            (1 << 20, 30),
            (13 << 20, 150),
            (64 << 20, 240),
            (u64::MAX, 240),
        ] {
            assert_eq!(JobLimits::for_component(bytes).cpu_s, cpu_s, "{bytes}");
        }
        let quick = JobLimits::quick();
        assert_eq!((quick.cpu_s, quick.wall_ms), (2, 10_000));
        assert_eq!(quick.memory_mib, JobLimits::for_component(0).memory_mib);
    }

    #[test]
    fn an_end_tells_whose_doing_it_was() {
        for (signal, out_of_time, of_host) in [
            (Some(libc::SIGXCPU), true, false),
            (Some(libc::SIGKILL), false, true),
            (Some(libc::SIGABRT), false, false),
            (Some(libc::SIGSYS), false, false),
            (None, false, false),
        ] {
            let (how, hint) = Default::default();
            let ended = CompileError::Ended { how, hint, signal };
            assert_eq!(ended.is_out_of_time(), out_of_time, "{signal:?}");
            assert_eq!(ended.is_of_host(), of_host, "{signal:?}");
        }
    }

    #[test]
    fn signals_name_the_limit() {
        let limits = JobLimits {
            memory_mib: 7,
            cpu_s: 5,
            wall_ms: 1,
            artifact_bytes: 9,
        };
        for (raw, expected) in [
            (libc::SIGXCPU, ": more than 5 s of CPU time"),
            (libc::SIGXFSZ, ": its artifact is larger than 9 bytes"),
            (libc::SIGABRT, ": most likely out of its 7 MiB of memory"),
            (1 << 8, ""),
        ] {
            assert_eq!(hint(ExitStatus::from_raw(raw), &limits), expected);
        }
    }
}
