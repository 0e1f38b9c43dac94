//! What the paths do that are not about a service.

use std::hint::black_box;

use anyhow::Result;
use fastedge::body::Body;
use fastedge::http::request::Parts;
use fastedge::http::{HeaderMap, Request, Response};

/// The pattern repeats after this many bytes: a prime, so that a piece lost or repeated shows.
const PATTERN_BYTES: usize = 251;
const MIB: usize = 1 << 20;

pub fn text(text: impl Into<Vec<u8>>) -> Result<Response<Body>> {
    let response = Response::builder().header("content-type", "text/plain");
    Ok(response.body(Body::from(text.into()))?)
}

/// A line for each header, sorted.
pub fn lines(headers: &HeaderMap) -> String {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.concat()
}

pub fn echo(head: &Parts, body: &Body) -> Result<Response<Body>> {
    let told = format!(
        "method {}\nuri {}\n{}body {}\n",
        head.method,
        head.uri,
        lines(&head.headers),
        body.len()
    );
    text([told.as_bytes(), body].concat())
}

pub fn fetch(request: Request<Body>) -> Result<Response<Body>> {
    let response = match fastedge::send_request(request) {
        Ok(response) => response,
        Err(error) => return text(format!("error {error:?}\n")),
    };
    let told = format!(
        "status {}\nheaders {}\nbody {}\n",
        response.status().as_u16(),
        response.headers().len(),
        response.body().len()
    );
    text([told.as_bytes(), response.body()].concat())
}

pub fn status(code: u16) -> Result<Response<Body>> {
    let body = Body::from(format!("status {code}\n"));
    Ok(Response::builder().status(code).body(body)?)
}

pub fn big(bytes: usize) -> Result<Response<Body>> {
    let body: Vec<u8> = (0..bytes).map(|at| (at % PATTERN_BYTES) as u8).collect();
    Ok(Response::new(Body::from(body)))
}

pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub fn alloc(mib: usize) -> Result<Response<Body>> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < mib {
        let mut block = Vec::new();
        if block.try_reserve_exact(MIB).is_err() {
            break;
        }
        block.resize(MIB, 1);
        held.push(block);
    }
    text(format!("mib {}\n", black_box(&held).len()))
}

pub fn oom(mib: usize) -> Result<Response<Body>> {
    let held: Vec<Vec<u8>> = (0..mib).map(|_| vec![1; MIB]).collect();
    text(format!("mib {}\n", black_box(&held).len()))
}
