//! One connection of a generator, and the request that it carries.

use super::response::Response;
use crate::scenario::Pace;
use crate::sys::ring::Slot;

/// A request that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// When it is due, in nanoseconds of the run.
    pub(super) due: u64,
    /// Host, by index.
    pub(super) tenant: u32,
    /// Shape, by index.
    pub(super) request: u16,
    /// Phase in which it is due, by index.
    pub(super) phase: u16,
}

/// A connection. It is connecting while `wanted` is there, busy while `want` is, idle otherwise.
#[derive(Debug)]
pub(super) struct Connection {
    slot: Option<Slot>,
    /// Counts up when the slot is given to another connection, so that timers know theirs.
    pub(super) generation: u32,
    /// Whose it is, by index.
    pub(super) population: usize,
    /// The request that it was opened for.
    pub(super) wanted: Option<Want>,
    /// The request that it carries.
    pub(super) want: Option<Want>,
    /// When that was sent.
    pub(super) sent_at: u64,
    /// Bytes of head (and text body) that are not sent yet.
    pub(super) head_left: usize,
    /// Bytes of filler that are not sent yet.
    pub(super) filler_left: usize,
    /// Requests that it will still carry.
    pub(super) requests_left: u32,
    /// Its response.
    pub(super) response: Response,
    /// Bytes written at once, and the pause after them in nanoseconds.
    pub(super) write_most: usize,
    pub(super) write_every: u64,
    /// Bytes read at once, and the pause after them in nanoseconds.
    pub(super) read_most: usize,
    pub(super) read_every: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            slot: None,
            generation: 0,
            population: 0,
            wanted: None,
            want: None,
            sent_at: 0,
            head_left: 0,
            filler_left: 0,
            requests_left: 0,
            response: Response::new(),
            write_most: usize::MAX,
            write_every: 0,
            read_most: usize::MAX,
            read_every: 0,
        }
    }

    /// Its slot in the ring.
    pub(super) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// A new connection of a population, for `requests` requests, opened because of `want`.
    pub(super) fn open(&mut self, slot: Slot, population: usize, requests: u32, want: Want) {
        self.slot = Some(slot);
        self.population = population;
        self.wanted = Some(want);
        self.want = None;
        self.requests_left = requests;
        self.head_left = 0;
        self.filler_left = 0;
        self.response = Response::new();
        self.set_pace(None);
    }

    /// Carries `want` from now on; true when it is the last request of this connection.
    pub(super) fn begin(
        &mut self,
        want: Want,
        now: u64,
        to_head: bool,
        pace: Option<Pace>,
    ) -> bool {
        self.want = Some(want);
        self.sent_at = now;
        if self.requests_left != u32::MAX {
            self.requests_left -= 1;
        }
        self.response.begin(to_head);
        self.set_pace(pace);
        self.requests_left == 0
    }

    /// The phase that its traffic counts in.
    pub(super) fn phase(&self, now: usize) -> usize {
        self.want.map_or(now, |want| want.phase as usize)
    }

    fn set_pace(&mut self, pace: Option<Pace>) {
        let bytes_or_all = |bytes: usize| if bytes == 0 { usize::MAX } else { bytes };
        let (write, read) = pace.map_or((0, 0), |pace| (pace.write_bytes, pace.read_bytes));
        self.write_most = bytes_or_all(write);
        self.read_most = bytes_or_all(read);
        self.write_every = pace.map_or(0, |pace| pace.write_every.as_nanos() as u64);
        self.read_every = pace.map_or(0, |pace| pace.read_every.as_nanos() as u64);
    }
}
