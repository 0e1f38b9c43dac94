//! A worker's log lines: access, faults, tenants' output. JSON objects, one a line.
//!
//! Lines are gathered and sent to the broker in batches, a few milliseconds late. Sending never
//! waits: when the broker does not keep up, lines are dropped and counted.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::config::{AccessLog, limits};
use crate::fault::{Fault, Reason};
use crate::guest::{RequestId, RequestIds, Stream};
use crate::http::RequestHead;
use crate::sys::channel::Channel;
use crate::worker::exchange::Outcome;
use crate::worker::json;
use crate::worker::quarantine::Change;

/// Where a worker's lines go.
#[derive(Debug)]
pub enum Destination {
    /// The broker.
    Broker(Channel),
    /// The terminal of the person who runs one app: its output as it is, faults as sentences.
    Terminal,
}

/// A worker's log.
#[derive(Debug, Clone)]
pub struct Log(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    destination: RefCell<Destination>,
    access: AccessLog,
    batch: RefCell<Vec<u8>>,
    lines: Cell<u64>,
    dropped: Cell<u64>,
    /// Dropped lines that the batch tells of.
    told: Cell<u64>,
    flusher: RefCell<Option<Waker>>,
    requests: RequestIds,
}

/// What an access line says of a request. Cheap to take of every request, although few are logged.
#[derive(Debug)]
pub struct Access {
    host: Box<str>,
    /// The head as received: method and target are read from it when a line is written.
    raw: Bytes,
}

impl Access {
    /// Of this request. Takes the host, which nothing needs after routing.
    pub fn of(head: &mut RequestHead) -> Self {
        Self {
            host: std::mem::take(&mut head.host),
            raw: head.raw.clone(),
        }
    }

    /// Method and target, cut to what a line should hold.
    fn request_line(&self) -> (&str, &str) {
        let line = self
            .raw
            .split(|byte| *byte == b'\r')
            .find(|line| !line.is_empty());
        let text = line.and_then(|line| std::str::from_utf8(line).ok());
        let mut words = text.unwrap_or_default().trim_start().split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let cut = floor_char_boundary(target, limits::ACCESS_TARGET_BYTES_MAX);
        (method, &target[..cut])
    }
}

impl Log {
    /// A log to `destination`, with access lines for the requests that `access` names.
    pub fn new(destination: Destination, access: AccessLog) -> Self {
        Self(Rc::new(Inner {
            destination: RefCell::new(destination),
            access,
            batch: RefCell::default(),
            lines: Cell::new(0),
            dropped: Cell::new(0),
            told: Cell::new(0),
            flusher: RefCell::default(),
            requests: RequestIds::default(),
        }))
    }

    /// Sends lines somewhere else from now on: the broker was restarted.
    pub fn redirect(&self, destination: Destination) {
        self.0.destination.replace(destination);
    }

    /// Names a new request.
    pub fn next_request(&self) -> RequestId {
        self.0.requests.next()
    }

    /// Whether an access line may be written, so that what it needs is worth remembering.
    pub fn wants_access(&self) -> bool {
        self.0.access != AccessLog::Off
    }

    /// One line about a finished request.
    pub fn access(
        &self,
        request: RequestId,
        access: Option<Access>,
        tenant: Option<&str>,
        outcome: &Outcome,
        started: Instant,
    ) {
        let wanted = match self.0.access {
            AccessLog::Off => false,
            AccessLog::Faults => outcome.reason.is_some(),
            AccessLog::All => true,
        };
        if !wanted {
            return;
        }
        let line = AccessLine {
            time: now(),
            kind: "access",
            request: Some(request),
            tenant,
            method: access.as_ref().map(|access| access.request_line().0),
            host: access.as_ref().map(|access| &*access.host),
            path: access.as_ref().map(|access| access.request_line().1),
            status: outcome.sent.map(|sent| sent.status.as_u16()),
            reason: outcome.reason.map(Reason::code),
            fault: outcome.reason.map(|reason| reason.fault().as_str()),
            bytes: outcome.sent.map_or(0, |sent| sent.bytes),
            wall_us: started.elapsed().as_micros() as u64,
            cpu_us: outcome.cpu_ns / 1000,
            fuel: outcome.fuel,
            diag: outcome.diag.as_deref(),
        };
        self.json(&line);
    }

    /// Why a tenant's request failed, for the tenant.
    pub fn tenant_fault(
        &self,
        tenant: &str,
        request: Option<RequestId>,
        reason: Option<Reason>,
        detail: &str,
    ) {
        let cut = floor_char_boundary(detail, limits::FAULT_DETAIL_BYTES_MAX);
        let line = FaultLine {
            time: now(),
            kind: "fault",
            tenant,
            request,
            reason: reason.map(Reason::code),
            fault: reason.map_or(Fault::Tenant, Reason::fault).as_str(),
            detail: &detail[..cut],
        };
        if self.is_terminal() {
            let code = reason.map_or("failed", Reason::code);
            eprintln!("skep: {code}: {detail}");
            return;
        }
        self.json(&line);
    }

    /// A tenant is quarantined, for longer, or not any more; `reason` is what ended the request that
    /// decided it.
    pub fn quarantine(&self, tenant: &str, change: Change, reason: Option<Reason>) {
        let (state, pause_ns) = match change {
            Change::Begun(pause_ns) => ("begun", pause_ns),
            Change::Extended(pause_ns) => ("extended", pause_ns),
            Change::Ended => ("ended", 0),
        };
        let line = QuarantineLine {
            time: now(),
            kind: "quarantine",
            tenant,
            state,
            reason: reason.map(Reason::code),
            pause_s: pause_ns / 1_000_000_000,
        };
        self.json(&line);
    }

    /// A line that a tenant's guest wrote.
    pub fn output(&self, tenant: &str, request: RequestId, stream: Stream, line: &[u8]) {
        if self.is_terminal() {
            print_raw(stream, line);
            return;
        }
        self.json(&OutputLine {
            time: now(),
            kind: "output",
            tenant,
            request,
            stream: stream.name(),
            line: &String::from_utf8_lossy(line),
        });
    }

    /// Whether lines go to the person who runs one app.
    pub fn is_terminal(&self) -> bool {
        matches!(*self.0.destination.borrow(), Destination::Terminal)
    }

    /// Sends what is gathered, a few milliseconds after the first line; never returns.
    pub async fn flusher(self) {
        loop {
            std::future::poll_fn(|cx| {
                if self.0.batch.borrow().is_empty() {
                    self.0.flusher.replace(Some(cx.waker().clone()));
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            monoio::time::sleep(Duration::from_millis(limits::LOG_BATCH_WAIT_MS)).await;
            self.flush();
        }
    }

    /// Sends what is gathered now.
    pub fn flush(&self) {
        let mut batch = self.0.batch.borrow_mut();
        if batch.is_empty() {
            return;
        }
        let sent = match &*self.0.destination.borrow() {
            Destination::Broker(channel) => channel.try_send_bytes(&batch, &[]).is_ok(),
            Destination::Terminal => std::io::stderr().write_all(&batch).is_ok(),
        };
        let (lines, told) = (self.0.lines.take(), self.0.told.take());
        if !sent {
            // What was to be told of is still to be.
            self.0.dropped.set(self.0.dropped.get() + lines + told);
        }
        batch.clear();
        if sent && self.0.dropped.get() > 0 {
            let dropped = self.0.dropped.take();
            drop(batch);
            self.json(&DroppedLine {
                time: now(),
                kind: "dropped",
                lines: dropped,
            });
            // It is no line that anybody would miss.
            self.0.lines.set(0);
            self.0.told.set(dropped);
        }
    }

    fn json(&self, line: &impl serde::Serialize) {
        let mut text = Vec::with_capacity(256);
        if json::write(&mut text, line).is_err() {
            return; // plain structs of strings and numbers: cannot fail
        }
        text.push(b'\n');
        if self.0.batch.borrow().len() + text.len() > limits::LOG_BATCH_BYTES_MAX {
            self.flush();
        }
        self.0.batch.borrow_mut().extend_from_slice(&text);
        self.0.lines.set(self.0.lines.get() + 1);
        if let Some(waker) = self.0.flusher.take() {
            waker.wake();
        }
    }
}

/// The access line, with its end, of a request that was refused with an answer of this many bytes
/// before anything was known of it.
pub fn refusal_line(reason: Reason, bytes: u64) -> Vec<u8> {
    line(&AccessLine {
        time: now(),
        kind: "access",
        request: None,
        tenant: None,
        method: None,
        host: None,
        path: None,
        status: Some(reason.status().as_u16()),
        reason: Some(reason.code()),
        fault: Some(reason.fault().as_str()),
        bytes,
        wall_us: 0,
        cpu_us: 0,
        fuel: None,
        diag: None,
    })
}

/// The line, with its end, that says how many are missing.
pub fn dropped_line(lines: u64) -> Vec<u8> {
    line(&DroppedLine {
        time: now(),
        kind: "dropped",
        lines,
    })
}

fn line(line: &impl serde::Serialize) -> Vec<u8> {
    // Plain structs of strings and numbers: it cannot fail.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Seconds since 1970 with milliseconds: sortable, and every tool reads it.
fn now() -> f64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}

fn floor_char_boundary(text: &str, max: usize) -> usize {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

#[derive(serde::Serialize)]
struct AccessLine<'a> {
    time: f64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
    tenant: Option<&'a str>,
    method: Option<&'a str>,
    host: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<u16>,
    reason: Option<&'a str>,
    fault: Option<&'a str>,
    bytes: u64,
    wall_us: u64,
    cpu_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diag: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct FaultLine<'a> {
    time: f64,
    kind: &'a str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<RequestId>,
    reason: Option<&'a str>,
    fault: &'a str,
    detail: &'a str,
}

#[derive(serde::Serialize)]
struct OutputLine<'a> {
    time: f64,
    kind: &'a str,
    tenant: &'a str,
    request: RequestId,
    stream: &'a str,
    line: &'a str,
}

#[derive(serde::Serialize)]
struct QuarantineLine<'a> {
    time: f64,
    kind: &'a str,
    tenant: &'a str,
    state: &'a str,
    reason: Option<&'a str>,
    pause_s: u64,
}

#[derive(serde::Serialize)]
struct DroppedLine<'a> {
    time: f64,
    kind: &'a str,
    lines: u64,
}

/// An app's line as the app wrote it, for the person who runs it.
fn print_raw(stream: Stream, line: &[u8]) {
    // A closed terminal is no reason to stop serving.
    let _ = match stream {
        Stream::Stdout => write_line(&mut std::io::stdout().lock(), line),
        Stream::Stderr => write_line(&mut std::io::stderr().lock(), line),
    };
}

fn write_line(to: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
    to.write_all(line)?;
    to.write_all(b"\n")?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker that is slower than its workers takes a batch now and then.
    #[test]
    fn every_line_arrives_or_is_counted() {
        let (ours, theirs) = Channel::pair().unwrap();
        let log = Log::new(Destination::Broker(ours), AccessLog::Off);
        let write = |count: u64| {
            for _ in 0..count {
                log.tenant_fault("a", None, None, &"x".repeat(900));
            }
            log.flush();
        };
        let (mut buf, mut arrived, mut told) = (Vec::new(), 0, 0);
        let mut read = || {
            let received = theirs.try_recv_bytes(&mut buf).ok().flatten();
            let (length, _) = received?;
            for line in buf[..length].split(|byte| *byte == b'\n') {
                match serde_json::from_slice::<serde_json::Value>(line) {
                    Ok(line) if line["kind"] == "dropped" => {
                        told += line["lines"].as_u64().unwrap();
                    }
                    Ok(_) => arrived += 1,
                    Err(_) => assert!(line.is_empty()),
                }
            }
            Some((arrived, told))
        };
        let mut written = 0;
        for round in 0..500 {
            write(1 + round % 40);
            written += 1 + round % 40;
            if round % 3 == 0 {
                read();
            }
        }
        let mut last = (0, 0);
        for _ in 0..4 {
            while let Some(now) = read() {
                last = now;
            }
            write(1);
            written += 1;
        }
        log.flush();
        while let Some(now) = read() {
            last = now;
        }
        let (arrived, told) = last;
        assert!(told > 0, "there was room for all of them");
        assert_eq!(arrived + told, written);
    }
}
