//! Requests one after another on a connection that is kept alive, each timed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// How long each of these requests took, in microseconds.
///
/// # Errors
/// Answers that are not 200, and connections that end.
pub fn times(address: SocketAddr, request: &str, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 4_096];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        stream.write_all(request.as_bytes())?;
        let length = read_answer(&mut stream, &mut answer)?;
        times.push(start.elapsed().as_nanos() as f64 / 1_000.0);
        let answer = &answer[..length];
        ensure!(
            answer.starts_with(b"HTTP/1.1 200 "),
            "{}",
            answer.escape_ascii()
        );
    }
    Ok(times)
}

/// Reads a whole answer, whose head says its length.
///
/// # Errors
/// When it does not, or the connection ends.
pub fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<usize> {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..])?;
        ensure!(read > 0, "the connection has ended");
        length += read;
        let text = std::str::from_utf8(&buffer[..length])?;
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let said = head.split("content-length: ").nth(1);
            let said = said.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            if said.context("a head without a length")? <= body.len() {
                return Ok(length);
            }
        }
    }
}

/// Waits until the guest is compiled and gives an answer that ends so.
///
/// # Errors
/// When it does not within two minutes.
pub fn wait_for(address: SocketAddr, request: &str, expected: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut answer = [0; 4_096];
    loop {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let length = read_answer(&mut stream, &mut answer)?;
        let text = String::from_utf8_lossy(&answer[..length]);
        if text.ends_with(expected) {
            return Ok(());
        }
        (Instant::now() < deadline)
            .then_some(())
            .context(text.into_owned())?;
        std::thread::sleep(Duration::from_millis(50));
    }
}
