//! The check phase: correctness before speed. Every shape of request is sent one at a time, and status,
//! headers and body of its response are held to what the scenario expects.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::generator::request::Template;
use crate::generator::response::{Kept, Response};
use crate::limits;
use crate::scenario::{Expect, Population, Request, Scenario};

/// Shapes of a population that are checked; a replayed log may have thousands.
const SHAPES_MAX: usize = 32;

/// Pause before an answer that was wrong is asked for again.
const AGAIN_MS: u64 = 50;

/// Checks every shape for the first, the middle and the last host of its population. A server that was
/// just started gets `patience` for its answers to become right.
///
/// # Errors
/// One line for every shape that is answered wrong.
pub fn check(
    scenario: &Scenario,
    patience: Duration,
    interrupted: &AtomicBool,
) -> Result<usize, Vec<String>> {
    let deadline = Instant::now() + patience;
    let mut wrong = Vec::new();
    let mut checked = 0;
    for population in &scenario.populations {
        for request in population.requests.iter().take(SHAPES_MAX) {
            if request.weight == 0.0 {
                continue;
            }
            for number in probes(population.hosts.len()) {
                checked += 1;
                if let Err(why) = until_right(scenario.target, population, request, number, || {
                    Instant::now() < deadline && !interrupted.load(Ordering::Relaxed)
                }) {
                    wrong.push(format!(
                        "population \"{}\", request {}, host {}: {why}",
                        population.name, request.name, population.hosts[number]
                    ));
                    break;
                }
            }
        }
    }
    if wrong.is_empty() {
        Ok(checked)
    } else {
        Err(wrong)
    }
}

fn probes(hosts: usize) -> Vec<usize> {
    let mut probes = vec![0, hosts / 2, hosts - 1];
    probes.dedup();
    probes
}

fn until_right(
    target: SocketAddr,
    population: &Population,
    request: &Request,
    number: usize,
    is_patient: impl Fn() -> bool,
) -> Result<(), String> {
    loop {
        let answer = ask(target, population, request, number);
        let verdict =
            answer.and_then(|(status, length, kept)| judge(&request.expect, status, length, &kept));
        if verdict.is_ok() || !is_patient() {
            return verdict;
        }
        std::thread::sleep(Duration::from_millis(AGAIN_MS));
    }
}

/// Sends one request on a connection of its own.
fn ask(
    target: SocketAddr,
    population: &Population,
    request: &Request,
    number: usize,
) -> Result<(u16, u64, Kept), String> {
    let template = Template::new(request);
    let mut head = Vec::new();
    let mut random = SmallRng::seed_from_u64(1);
    let filler = template.write(
        &mut head,
        &population.hosts[number],
        number as u32,
        true,
        &mut random,
    );
    head.resize(head.len() + filler, b'x');
    let mut stream = TcpStream::connect_timeout(&target, population.timeout)
        .map_err(|error| format!("no connection to {target}: {error}"))?;
    let waits = Some(population.timeout);
    let set = stream
        .set_read_timeout(waits)
        .and(stream.set_write_timeout(waits));
    set.map_err(|error| error.to_string())?;
    // A server may answer before it has read everything, and close: then its answer counts.
    let sent = stream.write_all(&head);
    let mut response = Response::new();
    response.begin(template.is_head);
    response.keep();
    let mut buffer = vec![0; limits::READ_BYTES];
    loop {
        let complete = match stream.read(&mut buffer) {
            Ok(0) if response.closed() => true,
            Ok(0) => {
                return Err("the connection was closed before the response was complete".to_owned());
            }
            Ok(length) => response
                .feed(&buffer[..length])
                .map_err(|malformed| format!("the response is malformed: {}", malformed.0))?,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!(
                    "no complete response in {} ms",
                    population.timeout.as_millis()
                ));
            }
            Err(error) => {
                let sending = sent.err().map(|error| format!(" (while sending: {error})"));
                return Err(format!("{error}{}", sending.unwrap_or_default()));
            }
        };
        if complete {
            return Ok((response.status, response.body_bytes, response.kept()));
        }
    }
}

fn judge(expect: &Expect, status: u16, length: u64, kept: &Kept) -> Result<(), String> {
    let body = String::from_utf8_lossy(&kept.body);
    if !expect.statuses.contains(&status) {
        let expected: Vec<String> = expect.statuses.iter().take(5).map(u16::to_string).collect();
        return Err(format!(
            "status {status}, expected {}; body {}",
            expected.join(" or "),
            shown(&body)
        ));
    }
    if let Some(bytes) = expect.body_bytes
        && bytes != length
    {
        return Err(format!("body of {length} bytes, expected {bytes}"));
    }
    for (name, value) in &expect.headers {
        let got = kept
            .headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value);
        match got {
            None => return Err(format!("no header \"{name}\"")),
            Some(got) if value != "*" && got != value => {
                return Err(format!("header {name}: {got:?}, expected {value:?}"));
            }
            Some(_) => {}
        }
    }
    if let Some(expected) = &expect.body
        && *expected != body
    {
        return Err(format!(
            "body {}, expected {}",
            shown(&body),
            shown(expected)
        ));
    }
    if let Some(part) = &expect.body_contains
        && !body.contains(part.as_str())
    {
        return Err(format!(
            "body {} does not contain {}",
            shown(&body),
            shown(part)
        ));
    }
    Ok(())
}

/// The start of a text, in quotes.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        format!("{short:?}…")
    } else {
        format!("{short:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expectation_is_checked() {
        let kept = Kept {
            headers: vec![("x-a".to_owned(), "1".to_owned())],
            body: b"hello there".to_vec(),
        };
        let all = Expect {
            statuses: vec![200],
            body_bytes: Some(11),
            headers: vec![("x-a".to_owned(), "1".to_owned())],
            body: Some("hello there".to_owned()),
            body_contains: Some("lo th".to_owned()),
        };
        assert_eq!(judge(&all, 200, 11, &kept), Ok(()));
        type Change = fn(&mut Expect);
        let cases: [(Change, &str); 6] = [
            (
                |expect| expect.statuses = vec![201, 204],
                "status 200, expected 201 or 204; body \"hello there\"",
            ),
            (
                |expect| expect.body_bytes = Some(12),
                "body of 11 bytes, expected 12",
            ),
            (
                |expect| expect.headers[0].0 = "x-b".to_owned(),
                "no header \"x-b\"",
            ),
            (
                |expect| expect.headers[0].1 = "2".to_owned(),
                "header x-a: \"1\", expected \"2\"",
            ),
            (
                |expect| expect.body = Some("hello".to_owned()),
                "body \"hello there\", expected \"hello\"",
            ),
            (
                |expect| expect.body_contains = Some("bye".to_owned()),
                "does not contain \"bye\"",
            ),
        ];
        for (change, part) in cases {
            let mut expect = all.clone();
            change(&mut expect);
            let why = judge(&expect, 200, 11, &kept).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn first_middle_and_last_host_are_asked() {
        assert_eq!(probes(1), [0]);
        assert_eq!(probes(2), [0, 1]);
        assert_eq!(probes(10_000), [0, 5000, 9999]);
    }
}
