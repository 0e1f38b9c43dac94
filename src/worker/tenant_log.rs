//! What one tenant writes to the log: its guests' output and its faults, so many bytes a second.
//!
//! Lines over the rate are dropped and counted, and one line says how many, a second after the first
//! of them: however much a tenant writes, the log grows by what it may write and a line a second.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::config::{Limits, limits};
use crate::fault::Reason;
use crate::guest::{LineSink, RequestId, Stream};
use crate::scheduler;
use crate::token_bucket::TokenBucket;
use crate::worker::log::Log;
use crate::worker::split::Split;

/// The log as one tenant sees it.
#[derive(Debug)]
pub struct TenantLog {
    log: Log,
    tenant: Box<str>,
    bytes: TokenBucket,
    dropped: Rc<Dropped>,
}

/// Lines that were dropped and not spoken of yet.
#[derive(Debug, Default)]
struct Dropped {
    lines: Cell<u64>,
    bytes: Cell<u64>,
}

impl TenantLog {
    /// The log of a tenant with these limits; `split` is this worker's part of them.
    pub fn new(log: &Log, tenant: &str, limits: &Limits, split: Split) -> Rc<Self> {
        // A line must fit, in how many parts ever the burst is split.
        let line_bytes = limits::LOG_LINE_BYTES.max as usize + limits::LOG_LINE_OVERHEAD_BYTES;
        let burst = split.share(limits.log_burst_bytes).max(line_bytes) as u64;
        Rc::new(Self {
            log: log.clone(),
            tenant: tenant.into(),
            bytes: TokenBucket::new(limits.log_bytes_per_s, split.parts(), burst),
            dropped: Rc::default(),
        })
    }

    /// Why one of the tenant's requests failed.
    pub fn fault(&self, request: RequestId, reason: Option<Reason>, detail: &str) {
        if self.has_room(detail.len().min(limits::FAULT_DETAIL_BYTES_MAX)) {
            self.log
                .tenant_fault(&self.tenant, Some(request), reason, detail);
        }
    }

    /// Charges a line of this length; counts it as dropped where it is too much.
    fn has_room(&self, line_bytes: usize) -> bool {
        if self.log.is_terminal() {
            return true;
        }
        let bytes = (line_bytes + limits::LOG_LINE_OVERHEAD_BYTES) as u64;
        let room = self.bytes.take(bytes, scheduler::now_ns()).is_ok();
        if !room {
            self.drop_line(line_bytes as u64);
        }
        room
    }

    fn drop_line(&self, bytes: u64) {
        let Dropped { lines, bytes: sum } = &*self.dropped;
        lines.set(lines.get() + 1);
        sum.set(sum.get() + bytes);
        if lines.get() > 1 {
            return; // it will be said with the first
        }
        let (log, tenant) = (self.log.clone(), self.tenant.clone());
        let dropped = Rc::clone(&self.dropped);
        monoio::spawn(async move {
            monoio::time::sleep(Duration::from_millis(limits::LOG_DROPPED_SAID_MS)).await;
            let (lines, bytes) = (dropped.lines.take(), dropped.bytes.take());
            let detail = format!("{lines} lines of {bytes} bytes were over log_bytes_per_s");
            log.tenant_fault(&tenant, None, None, &detail);
        });
    }
}

impl LineSink for TenantLog {
    fn line(&self, request: RequestId, stream: Stream, line: &[u8]) {
        if self.has_room(line.len()) {
            self.log.output(&self.tenant, request, stream, line);
        }
    }

    fn dropped(&self, request: RequestId, bytes: usize) {
        let detail = format!("{bytes} bytes of output were over log_bytes_per_request");
        self.fault(request, None, &detail);
    }
}
