//! WASI preview 1, as the runtimes of filters use it: the environment, output, time, chance, the end.
//!
//! Everything else is there to be linked and says that it cannot: a filter has no files and no
//! sockets, and does not wait (`poll_oneoff` is `ENOTSUP`).

use wasmtime::{Caller, FuncType, Linker, Val, ValType};
use wasmtime_wasi::I32Exit;

use super::memory::Guest;
use super::status::{Answer, Status, Stop};
use crate::config::limits;
use crate::guest::{State, Stream};

const MODULE: &str = "wasi_snapshot_preview1";

/// Error numbers (`errno` in `wasi_snapshot_preview1.witx`).
const BADF: i32 = 8;
const FAULT: u32 = 21;
const INVAL: u32 = 28;
const IO: u32 = 29;
const NOTSUP: i32 = 58;
const SPIPE: u32 = 70;
const NOTCAPABLE: i32 = 76;

/// What is there and cannot: its name, its parameters (`i` is `i32`, `I` is `i64`) and its error.
const DENIED: [(&str, &str, i32); 32] = [
    ("fd_advise", "iIIi", BADF),
    ("fd_allocate", "iII", BADF),
    ("fd_close", "i", BADF),
    ("fd_datasync", "i", BADF),
    ("fd_fdstat_set_flags", "ii", BADF),
    ("fd_fdstat_set_rights", "iII", BADF),
    ("fd_filestat_get", "ii", BADF),
    ("fd_filestat_set_size", "iI", BADF),
    ("fd_filestat_set_times", "iIIi", BADF),
    ("fd_pread", "iiiIi", BADF),
    // No directories are open: the first one that is asked for ends a runtime's search.
    ("fd_prestat_get", "ii", BADF),
    ("fd_prestat_dir_name", "iii", BADF),
    ("fd_pwrite", "iiiIi", BADF),
    ("fd_read", "iiii", BADF),
    ("fd_readdir", "iiiIi", BADF),
    ("fd_renumber", "ii", BADF),
    ("fd_sync", "i", BADF),
    ("fd_tell", "ii", BADF),
    ("path_create_directory", "iii", NOTCAPABLE),
    ("path_filestat_get", "iiiii", NOTCAPABLE),
    ("path_filestat_set_times", "iiiiIIi", NOTCAPABLE),
    ("path_link", "iiiiiii", NOTCAPABLE),
    ("path_open", "iiiiiIIii", NOTCAPABLE),
    ("path_readlink", "iiiiii", NOTCAPABLE),
    ("path_remove_directory", "iii", NOTCAPABLE),
    ("path_rename", "iiiiii", NOTCAPABLE),
    ("path_symlink", "iiiii", NOTCAPABLE),
    ("path_unlink_file", "iii", NOTCAPABLE),
    ("poll_oneoff", "iiii", NOTSUP),
    ("proc_raise", "i", NOTSUP),
    ("sock_accept", "iii", NOTCAPABLE),
    ("sock_shutdown", "ii", NOTCAPABLE),
];

/// Sockets that are open, of which there are none.
const SOCKETS: [(&str, &str); 2] = [("sock_recv", "iiiiii"), ("sock_send", "iiiii")];

/// Links one that the guest gets an error number of.
macro_rules! link {
    ($linker:expr, $($name:literal => $function:path, $($arg:ident: $kind:ty),* ;)*) => {
        $($linker.func_wrap(
            MODULE,
            $name,
            |caller: Caller<'_, State>, $($arg: $kind),*| -> wasmtime::Result<u32> {
                errno($function(&mut Guest::new(caller), $($arg),*))
            },
        )?;)*
    };
}

pub(super) fn link(l: &mut Linker<State>) -> wasmtime::Result<()> {
    link!(l,
        "args_get" => nothing, argv: u32, buffer: u32;
        "args_sizes_get" => no_arguments, count: u32, size: u32;
        "environ_get" => environment, list: u32, buffer: u32;
        "environ_sizes_get" => environment_sizes, count: u32, size: u32;
        "clock_res_get" => resolution, clock: u32, to: u32;
        "clock_time_get" => time, clock: u32, precision: u64, to: u32;
        "fd_fdstat_get" => descriptor, fd: u32, to: u32;
        "fd_seek" => seek, fd: u32, offset: i64, whence: u32, to: u32;
        "fd_write" => write, fd: u32, pieces: u32, count: u32, to: u32;
        "random_get" => random, at: u32, length: u32;
        "sched_yield" => stay,;
    );
    l.func_wrap(MODULE, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(I32Exit(code).into())
    })?;
    let sockets = SOCKETS.map(|(name, parameters)| (name, parameters, BADF));
    for (name, parameters, error) in DENIED.into_iter().chain(sockets) {
        let parameters = parameters.chars().map(|kind| match kind {
            'I' => ValType::I64,
            _ => ValType::I32,
        });
        let function = FuncType::new(l.engine(), parameters, [ValType::I32]);
        l.func_new(MODULE, name, function, move |_, _, results| {
            results.fill(Val::I32(error));
            Ok(())
        })?;
    }
    Ok(())
}

/// How a function ends that gives nothing but an error number.
enum Errno {
    Number(u32),
    Stop(Stop),
}

impl From<Stop> for Errno {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<u32> for Errno {
    fn from(number: u32) -> Self {
        Self::Number(number)
    }
}

type Result<T = ()> = std::result::Result<T, Errno>;

fn errno(result: Result) -> wasmtime::Result<u32> {
    match result {
        Ok(()) => Ok(0),
        Err(Errno::Number(number)) => Ok(number),
        Err(Errno::Stop(Stop::Status(Status::InvalidMemoryAccess))) => Ok(FAULT),
        Err(Errno::Stop(Stop::Status(_))) => Ok(INVAL),
        Err(Errno::Stop(Stop::Trap(error))) => Err(error),
    }
}

fn nothing(_: &mut Guest<'_>, _argv: u32, _buffer: u32) -> Result {
    Ok(())
}

fn stay(_: &mut Guest<'_>) -> Result {
    Ok(())
}

fn no_arguments(guest: &mut Guest<'_>, count: u32, size: u32) -> Result {
    guest.write_u32(count, 0)?;
    Ok(guest.write_u32(size, 0)?)
}

/// `NAME=VALUE` and NUL each, one behind the other, and where each begins.
fn environment(guest: &mut Guest<'_>, list: u32, buffer: u32) -> Result {
    let grants = std::sync::Arc::clone(&guest.peek().grants);
    let (mut pointer, mut at) = (list, buffer);
    for (name, value) in &grants.env {
        let entry = [name, "=", value, "\0"].concat();
        guest.write_u32(pointer, at)?;
        guest.write(at, entry.as_bytes())?;
        // The whole environment has at most 64 KiB: what is written lies within the memory.
        pointer = pointer.wrapping_add(4);
        at = at.wrapping_add(u32::try_from(entry.len()).unwrap_or(0));
    }
    Ok(())
}

fn environment_sizes(guest: &mut Guest<'_>, count: u32, size: u32) -> Result {
    let env = &guest.peek().grants.env;
    let sizes = env.iter().map(|(name, value)| name.len() + value.len() + 2);
    let (number, bytes) = (env.len(), sizes.sum::<usize>());
    let fits = |number| u32::try_from(number).map_err(|_| Errno::Number(INVAL));
    let (number, bytes) = (fits(number)?, fits(bytes)?);
    guest.write_u32(count, number)?;
    Ok(guest.write_u32(size, bytes)?)
}

/// Which clock it is: of the day, or one that never goes back. CPU time is not told.
fn time(guest: &mut Guest<'_>, clock: u32, _precision: u64, to: u32) -> Result {
    let mut clocks = guest.state().clock();
    let now_ns = match clock {
        0 => clocks.wall_ns(),
        1 => clocks.monotonic_ns(),
        _ => return Err(Errno::Number(INVAL)),
    };
    Ok(guest.write_u64(to, now_ns)?)
}

fn resolution(guest: &mut Guest<'_>, clock: u32, to: u32) -> Result {
    match clock {
        0 | 1 => Ok(guest.write_u64(to, crate::guest::clocks::step_ns())?),
        _ => Err(Errno::Number(INVAL)),
    }
}

/// A character device: output goes out line by line.
fn descriptor(guest: &mut Guest<'_>, fd: u32, to: u32) -> Result {
    const CHARACTER_DEVICE: u8 = 2;
    if fd > 2 {
        return Err(Errno::Number(BADF.unsigned_abs()));
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    Ok(guest.write(to, &stat)?)
}

fn seek(_: &mut Guest<'_>, fd: u32, _offset: i64, _whence: u32, _to: u32) -> Result {
    Err(Errno::Number(match fd {
        0..=2 => SPIPE,
        _ => BADF.unsigned_abs(),
    }))
}

fn write(guest: &mut Guest<'_>, fd: u32, pieces: u32, count: u32, to: u32) -> Result {
    let stream = match fd {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Err(Errno::Number(BADF.unsigned_abs())),
    };
    if count > limits::FILTER_IOVECS_MAX {
        return Err(Errno::Number(INVAL));
    }
    guest.check(to, 4)?;
    // The rest is for the next call: pieces may be large, many, and the same one again and again.
    let mut left = limits::GUEST_BODY_CHUNK_BYTES as u32;
    let mut total = 0;
    for number in 0..count {
        let piece = pieces.wrapping_add(number * 8);
        let at = guest.read_u32(piece)?;
        let length = guest.read_u32(piece.wrapping_add(4))?;
        guest.check(at, length)?;
        let taken = length.min(left);
        put(guest, stream, at, taken)?;
        (left, total) = (left - taken, total + taken);
    }
    Ok(guest.write_u32(to, total)?)
}

/// Writes one piece. What is over the log's limits is dropped, and counted, without being copied.
fn put(guest: &mut Guest<'_>, stream: Stream, at: u32, length: u32) -> Answer {
    let chunk = limits::GUEST_STDIO_CHUNK_BYTES as u32;
    let mut done = 0;
    while done < length {
        let part = chunk.min(length - done);
        let bytes = guest.read(at + done, part)?;
        guest.state().output.write(stream, &bytes);
        done += part;
    }
    Ok(())
}

fn random(guest: &mut Guest<'_>, at: u32, length: u32) -> Result {
    guest.check(at, length)?;
    if u64::from(length) > limits::RANDOM_BYTES {
        return Err(Errno::Number(INVAL));
    }
    let mut bytes = vec![0; length as usize];
    getrandom::fill(&mut bytes).map_err(|_| Errno::Number(IO))?;
    Ok(guest.write(at, &bytes)?)
}
