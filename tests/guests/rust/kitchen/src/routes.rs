//! The routes, one function each; `lib.rs` has the table of what they do.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, ResponseOutparam, Scheme,
};

use crate::reply;
use crate::request::{self, Target};

const DOWNLOAD_CHUNK_BYTES: usize = 64 * 1024;
const STREAM_CHUNK_BYTES: u64 = 4096;
const CHUNK_BYTES_MAX: u64 = 1024 * 1024;
const MIB: usize = 1024 * 1024;
const PAGE_BYTES: usize = 4096;
const NS_PER_MS: u64 = 1_000_000;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

pub fn headers(request: &IncomingRequest, out: ResponseOutparam) {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name,
    };
    let scheme = match request.scheme() {
        Some(Scheme::Http) => "http".to_owned(),
        Some(Scheme::Https) => "https".to_owned(),
        Some(Scheme::Other(name)) => name,
        None => "-".to_owned(),
    };
    let path = request.path_with_query().unwrap_or_else(|| "-".to_owned());
    let authority = request.authority().unwrap_or_else(|| "-".to_owned());
    let mut text =
        format!("method {method}\npath {path}\nscheme {scheme}\nauthority {authority}\n");
    for (name, value) in request.headers().entries() {
        let _ = writeln!(text, "header {name}: {}", String::from_utf8_lossy(&value));
    }
    reply::text(out, 200, &text);
}

pub fn stream(target: &Target, out: ResponseOutparam) {
    let chunk = target
        .number("chunk", STREAM_CHUNK_BYTES)
        .clamp(1, CHUNK_BYTES_MAX) as usize;
    let body = reply::start(out, 200, &[("content-type", "application/octet-stream")]);
    reply::pattern(body, target.number("n", 0), chunk);
}

pub fn download(target: &Target, out: ResponseOutparam) {
    let total = target.number("n", 0);
    let length = total.to_string();
    let body = reply::start(
        out,
        200,
        &[
            ("content-type", "application/octet-stream"),
            ("content-length", length.as_str()),
        ],
    );
    reply::pattern(body, total, DOWNLOAD_CHUNK_BYTES);
}

pub fn upload(request: &IncomingRequest, out: ResponseOutparam) {
    let body = request
        .consume()
        .expect("the first use of a request's body");
    let (mut bytes, mut hash) = (0_u64, FNV_OFFSET);
    let whole = request::read_all(&body, |piece| {
        bytes += piece.len() as u64;
        hash = piece.iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME)
        });
    });
    let status = if whole { 200 } else { 400 };
    reply::text(out, status, &format!("bytes {bytes}\nfnv1a {hash:016x}\n"));
}

pub fn early(request: IncomingRequest, out: ResponseOutparam) {
    drop(request);
    reply::text(out, 200, "early\n");
}

pub fn trailers(out: ResponseOutparam) {
    let body = reply::start(
        out,
        200,
        &[("content-type", "text/plain"), ("trailer", "x-trailer")],
    );
    if reply::write(&body, b"trailers follow\n").is_ok() {
        let trailers = Fields::from_list(&[("x-trailer".to_owned(), b"the end".to_vec())]);
        let _ = OutgoingBody::finish(body, trailers.ok());
    }
}

pub fn short(target: &Target, out: ResponseOutparam) {
    let length = target.number("cl", 0).to_string();
    let body = reply::start(out, 200, &[("content-length", length.as_str())]);
    reply::pattern(body, target.number("n", 0), DOWNLOAD_CHUNK_BYTES);
}

pub fn status(target: &Target, out: ResponseOutparam) {
    let code = target.number("code", 200) as u16;
    let body = reply::start(out, code, &[]);
    let _ = OutgoingBody::finish(body, None);
}

pub fn big_header(target: &Target, out: ResponseOutparam) {
    let value = "x".repeat(target.number("n", 0) as usize);
    let body = reply::start(out, 200, &[("x-big", value.as_str())]);
    let _ = OutgoingBody::finish(body, None);
}

/// Answers 1 for ever where each request has an instance of its own.
pub fn twice(out: ResponseOutparam) {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    reply::text(out, 200, &format!("{count}\n"));
}

pub fn env(out: ResponseOutparam) {
    let text: String = std::env::vars()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    reply::text(out, 200, &text);
}

pub fn random(out: ResponseOutparam) {
    let bytes = wasip2::random::random::get_random_bytes(16);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    reply::text(out, 200, &text);
}

pub fn clock(out: ResponseOutparam) {
    let wall = wall_clock::now();
    let monotonic = monotonic_clock::now();
    reply::text(
        out,
        200,
        &format!(
            "wall {}.{:09}\nmonotonic {monotonic}\n",
            wall.seconds, wall.nanoseconds
        ),
    );
}

/// Tells how many directories were given, and what opening a file does.
pub fn fs(out: ResponseOutparam) {
    let preopens = preopens::get_directories().len();
    let open = match std::fs::File::open("/etc/passwd") {
        Ok(_) => "opened".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    reply::text(
        out,
        200,
        &format!("preopens {preopens}\n/etc/passwd {open}\n"),
    );
}

pub fn log(target: &Target, out: ResponseOutparam) {
    let lines = target.number("n", 1);
    let fill = "x".repeat(target.number("len", 40) as usize);
    for line in 0..lines {
        let _ = writeln!(std::io::stdout(), "out {line} {fill}");
        let _ = writeln!(std::io::stderr(), "err {line} {fill}");
    }
    reply::text(out, 200, &format!("lines {lines}\n"));
}

pub fn spin(target: &Target, out: ResponseOutparam) {
    match target.value("ms").and_then(|ms| ms.parse::<u64>().ok()) {
        None => loop {
            compute();
        },
        Some(ms) => {
            let end = monotonic_clock::now() + ms * NS_PER_MS;
            while monotonic_clock::now() < end {
                compute();
            }
            reply::text(out, 200, &format!("spun {ms} ms\n"));
        }
    }
}

/// A timer of 0 ns is a host call that waits for others and is ready at once.
pub fn ping_pong(target: &Target, out: ResponseOutparam) {
    let ns = target.number("us", 1) * 1_000;
    for _ in 0..target.number("times", u64::MAX) {
        let end = monotonic_clock::now() + ns;
        while monotonic_clock::now() < end {
            black_box(end);
        }
        monotonic_clock::subscribe_duration(0).block();
    }
    reply::text(out, 200, "done\n");
}

/// Some microseconds of work.
fn compute() {
    for turn in 0..10_000_u32 {
        black_box(turn);
    }
}

pub fn alloc(target: &Target, out: ResponseOutparam) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..target.number("mib", 1) {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(MIB).is_err() {
            break;
        }
        block
            .spare_capacity_mut()
            .iter_mut()
            .step_by(PAGE_BYTES)
            .for_each(|byte| {
                byte.write(1);
            });
        held.push(block);
    }
    let mib = black_box(&held).len();
    reply::text(out, 200, &format!("mib {mib}\n"));
}

pub fn handles(target: &Target, out: ResponseOutparam) {
    let held: Vec<Fields> = (0..target.number("n", 1)).map(|_| Fields::new()).collect();
    reply::text(out, 200, &format!("handles {}\n", held.len()));
}

pub fn sleep(target: &Target, out: ResponseOutparam) {
    let ms = target.number("ms", 0);
    monotonic_clock::subscribe_duration(ms * NS_PER_MS).block();
    reply::text(out, 200, &format!("slept {ms} ms\n"));
}

/// The line on stdout shows that the guest was still running when its client had its answer.
pub fn hold(target: &Target, out: ResponseOutparam) {
    let ms = target.number("ms", 0);
    reply::text(out, 200, "held\n");
    monotonic_clock::subscribe_duration(ms * NS_PER_MS).block();
    let _ = writeln!(std::io::stdout(), "held for {ms} ms");
}

pub fn recurse(out: ResponseOutparam) {
    reply::text(out, 200, &format!("{}\n", deeper(1)));
}

/// Not a loop in disguise: each frame has work left to do. It holds no memory, so that the call stack ends first.
#[inline(never)]
#[expect(
    unconditional_recursion,
    reason = "the stack's limit is what is tested"
)]
fn deeper(depth: u64) -> u64 {
    deeper(depth + 1).rotate_left(7) ^ depth
}

pub fn late_trap(out: ResponseOutparam) {
    let body = reply::start(out, 200, &[("content-type", "text/plain")]);
    let stream = body.write().expect("the first stream of a body");
    let _ = reply::write_to(&stream, &[b'x'; 1000]);
    let _ = stream.blocking_flush();
    core::arch::wasm32::unreachable()
}
