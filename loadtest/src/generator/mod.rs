//! Generators: one thread and one ring each, sending on schedule.
//!
//! ```text
//!   due? ──► dispatch ──► idle connection, or a new one, or the backlog
//!    ▲                          │
//!    └── turn of the ring ◄─────┘   completions: connected, sent, received
//! ```
//!
//! The schedule is absolute. A request that is due while every connection is busy waits, and its
//! latency counts from when it was due: a server that stalls is seen in full. How late the generator
//! itself was is measured apart, so that the one is never taken for the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use crate::limits;
use crate::recorder::{Failure, Outcome, Recorder, SecondReport};
use crate::scenario::{Arrival, Scenario};
use crate::sys::ring::{Completion, Kind, Ring, Slot};
use connection::{Connection, Want};
use population::Population;
use request::Template;

mod connection;
mod population;
pub mod request;
pub mod response;

/// Below this a timer of the kernel is not exact enough, and the generator spins.
const SPIN_NS: u64 = 60_000;

/// How often deadlines are looked at, in nanoseconds.
const DEADLINES_EVERY_NS: u64 = 20_000_000;

/// Requests dispatched between two turns of the ring.
const BURST: usize = 512;

/// Pause of a closed-loop connection after a failure, in nanoseconds: a server that is down is asked
/// a hundred times a second by each.
const PAUSE_AFTER_FAILURE_NS: u64 = 10_000_000;

/// What all generators of a run share.
#[derive(Debug)]
pub struct Job {
    /// What is run.
    pub scenario: Scenario,
    /// Requests by population and shape.
    templates: Vec<Vec<Template>>,
    /// When the first phase begins.
    pub start: Instant,
    /// How many generators there are.
    pub generators: usize,
    /// Ends the run early.
    pub stop: AtomicBool,
    filler: Arc<[u8]>,
}

impl Job {
    /// A run that begins at `start`.
    pub fn new(scenario: Scenario, start: Instant, generators: usize) -> Self {
        let templates = scenario
            .populations
            .iter()
            .map(|population| population.requests.iter().map(Template::new).collect())
            .collect();
        Self {
            scenario,
            templates,
            start,
            generators,
            stop: AtomicBool::new(false),
            filler: filler(),
        }
    }

    /// Nanoseconds of the run; 0 before its start.
    fn now(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.start)
            .as_nanos() as u64
    }
}

/// 256 KiB of text that does not compress to nothing.
fn filler() -> Arc<[u8]> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..256 * 1024)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b' ' + (state % 95) as u8
        })
        .collect()
}

/// Something that happens at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A slow client writes on; the connection's generation tells whether it is still the same.
    Write(Slot, u32),
    /// A slow client reads on.
    Read(Slot, u32),
    /// A closed-loop connection of this population sends its next request.
    Next(usize),
}

/// Runs generator `index` to the end of the run and returns what it counted.
///
/// It is an error when the kernel gives no ring, or stops serving it; what was counted until then is
/// there all the same.
pub fn run(
    job: &Job,
    index: usize,
    core: Option<usize>,
    reports: &Sender<SecondReport>,
) -> (Recorder, std::io::Result<()>) {
    let mut generator = match prepared(job, index, core) {
        Ok(generator) => generator,
        Err(error) => return (Recorder::new(&job.scenario), Err(error)),
    };
    let done = generator.run(reports);
    (generator.recorder, done)
}

fn prepared(job: &Job, index: usize, core: Option<usize>) -> std::io::Result<Generator<'_>> {
    if let Some(core) = core {
        pin(core)?;
    }
    nix::sys::prctl::set_timerslack(1)?;
    Generator::new(job, index)
}

/// CPU time of this thread, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    // The clock exists on every Linux.
    ClockId::CLOCK_THREAD_CPUTIME_ID
        .now()
        .map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

fn pin(core: usize) -> std::io::Result<()> {
    let mut cores = nix::sched::CpuSet::new();
    cores.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cores)?;
    Ok(())
}

/// One generator.
struct Generator<'a> {
    job: &'a Job,
    ring: Ring,
    recorder: Recorder,
    populations: Vec<Population>,
    /// By slot.
    connections: Vec<Connection>,
    timers: BinaryHeap<Reverse<(u64, Timer)>>,
    /// Ends of phases, in nanoseconds.
    phase_ends: Vec<u64>,
    phase: usize,
    now: u64,
}

impl<'a> Generator<'a> {
    fn new(job: &'a Job, index: usize) -> std::io::Result<Self> {
        let scenario = &job.scenario;
        let populations = (0..scenario.populations.len())
            .map(|number| Population::new(scenario, number, index, job.generators))
            .collect();
        let mut end = 0.0;
        let phase_ends = scenario
            .phases
            .iter()
            .map(|phase| {
                end += phase.seconds;
                (end * 1e9) as u64
            })
            .collect();
        Ok(Self {
            job,
            ring: Ring::new(
                limits::RING_ENTRIES,
                limits::READ_BYTES,
                Arc::clone(&job.filler),
            )?,
            recorder: Recorder::new(scenario),
            populations,
            connections: Vec::new(),
            timers: BinaryHeap::new(),
            phase_ends,
            phase: 0,
            now: 0,
        })
    }

    fn run(&mut self, reports: &Sender<SecondReport>) -> std::io::Result<()> {
        let end = self.phase_ends.last().copied().unwrap_or(0);
        let grace = end + limits::DRAIN_S * 1_000_000_000;
        let mut completions = Vec::with_capacity(1024);
        let (mut second, mut deadlines_at) = (0, DEADLINES_EVERY_NS);
        while Instant::now() < self.job.start {
            std::thread::sleep(self.job.start.saturating_duration_since(Instant::now()));
        }
        self.start_closed_loops()?;
        loop {
            self.now = self.job.now();
            let stopping = self.job.stop.load(Ordering::Relaxed);
            if self.now >= end || stopping {
                // A late generator still sends what was due: the schedule is kept to its last request.
                let idle = self.populations.iter().all(Population::is_done);
                if idle || self.now >= grace || stopping {
                    break;
                }
            }
            self.cross_phases()?;
            let next = self.dispatch_due()?;
            if self.now >= deadlines_at {
                self.expire()?;
                deadlines_at = self.now + DEADLINES_EVERY_NS;
            }
            let until = next.min(deadlines_at).min((second + 1) * 1_000_000_000);
            // Dispatching took time, too.
            let before = self.job.now();
            let wait = until.saturating_sub(before);
            let wait = if wait > SPIN_NS {
                wait - SPIN_NS / 2
            } else {
                0
            };
            let cpu_before = thread_cpu_ns();
            self.ring
                .turn(Duration::from_nanos(wait), &mut completions)?;
            self.now = self.job.now();
            let spent = self.now - before;
            let idle = if wait == 0 && completions.is_empty() {
                // It spun until the next request is due.
                spent
            } else {
                // What the kernel did for it meanwhile is work.
                spent.saturating_sub(thread_cpu_ns() - cpu_before)
            };
            if before < end {
                self.recorder.waited_ns[self.phase] += idle;
            }
            for completion in completions.drain(..) {
                self.complete(completion)?;
            }
            while self.now >= (second + 1) * 1_000_000_000 {
                let populations = &self.populations;
                let report = self
                    .recorder
                    .take_second(second, |index| populations[index].under_way);
                // The receiver is gone only when the run is being given up.
                let _ = reports.send(report);
                second += 1;
            }
        }
        self.give_up();
        let populations = &self.populations;
        let report = self
            .recorder
            .take_second(second, |index| populations[index].under_way);
        let _ = reports.send(report);
        Ok(())
    }

    /// Enters the phases whose time has come.
    fn cross_phases(&mut self) -> std::io::Result<()> {
        while self.phase + 1 < self.phase_ends.len() && self.now >= self.phase_ends[self.phase] {
            self.phase += 1;
            self.start_closed_loops()?;
        }
        Ok(())
    }

    /// Closed-loop populations that begin with this phase send their first requests.
    fn start_closed_loops(&mut self) -> std::io::Result<()> {
        for index in 0..self.populations.len() {
            let population = &mut self.populations[index];
            if !matches!(
                self.job.scenario.populations[index].arrival,
                Arrival::Closed { .. }
            ) {
                continue;
            }
            let active = self.job.scenario.phases[self.phase].active.contains(&index);
            let missing = if active {
                population.connections_most - population.looping
            } else {
                0
            };
            for _ in 0..missing {
                self.populations[index].looping += 1;
                self.next_in_loop(index)?;
            }
        }
        Ok(())
    }

    /// One closed-loop connection sends its next request, unless its population rests now.
    fn next_in_loop(&mut self, index: usize) -> std::io::Result<()> {
        let over = self.now >= self.phase_ends.last().copied().unwrap_or(0);
        if over || !self.job.scenario.phases[self.phase].active.contains(&index) {
            self.populations[index].looping -= 1;
            return Ok(());
        }
        let want = self.populations[index].want_now(self.now, self.phase);
        self.dispatch(index, want)
    }

    /// Sends what is due, up to a burst; when the next request or timer is due.
    fn dispatch_due(&mut self) -> std::io::Result<u64> {
        // Each population has its share of a burst: one that is behind delays no other.
        let most = (BURST / self.populations.len()).max(1);
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            self.fire(timer)?;
        }
        let mut next = self.timers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        for index in 0..self.populations.len() {
            let mut burst = 0;
            while let Some(due) = self.populations[index].next_due() {
                if due > self.now || burst >= most {
                    next = next.min(due);
                    break;
                }
                burst += 1;
                self.recorder.lateness.record(self.now - due);
                if let Some(want) = self.populations[index].take_due(&self.phase_ends) {
                    self.dispatch(index, want)?;
                }
            }
        }
        Ok(next)
    }

    fn fire(&mut self, timer: Timer) -> std::io::Result<()> {
        match timer {
            Timer::Next(population) => self.next_in_loop(population),
            Timer::Write(slot, generation) => {
                if self.connections[slot.index()].generation == generation {
                    self.send_on(slot)?;
                }
                Ok(())
            }
            Timer::Read(slot, generation) => {
                let connection = &self.connections[slot.index()];
                if connection.generation == generation {
                    self.ring.receive(slot, connection.read_most)?;
                }
                Ok(())
            }
        }
    }

    /// Finds a connection for a request.
    fn dispatch(&mut self, index: usize, want: Want) -> std::io::Result<()> {
        self.recorder
            .intended(index, want.phase as usize, want.tenant);
        self.populations[index].under_way += 1;
        while let Some((slot, generation)) = self.populations[index].idle.pop_front() {
            if self.connections[slot.index()].generation == generation {
                return self.begin(slot, want);
            }
        }
        self.queue(index, want)
    }

    /// No idle connection: opens one, or lets the request wait.
    fn queue(&mut self, index: usize, want: Want) -> std::io::Result<()> {
        let population = &mut self.populations[index];
        if population.open < population.connections_most {
            // Whoever has waited longer goes first.
            let first = match population.backlog.pop_front() {
                Some(first) => {
                    population.backlog.push_back(want);
                    first
                }
                None => want,
            };
            return self.open(index, first);
        }
        if population.backlog.len() >= limits::BACKLOG_MAX {
            return self.fail(index, want, Failure::Backlog);
        }
        population.backlog.push_back(want);
        Ok(())
    }

    fn open(&mut self, index: usize, want: Want) -> std::io::Result<()> {
        let scenario = &self.job.scenario;
        let pace = scenario.populations[index].requests[want.request as usize].pace;
        let window = pace
            .map(|pace| pace.read_bytes)
            .filter(|bytes| *bytes > 0)
            .map(|bytes| bytes.max(2048));
        let slot = match self.ring.open(scenario.target, window) {
            Ok(slot) => slot,
            // Too many open files, or no memory for a socket: no connection.
            Err(_) => return self.fail(index, want, Failure::Connect),
        };
        while self.connections.len() <= slot.index() {
            self.connections.push(Connection::new());
        }
        let requests = self.populations[index].requests_of_a_connection();
        self.connections[slot.index()].open(slot, index, requests, want);
        self.populations[index].open += 1;
        self.recorder.traffic(index, want.phase as usize, 0, 0, 1);
        Ok(())
    }

    /// Writes the request and sends it.
    fn begin(&mut self, slot: Slot, want: Want) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        let index = connection.population;
        let population = &self.job.scenario.populations[index];
        let template = &self.job.templates[index][want.request as usize];
        let Some(buffer) = self.ring.send_buffer(slot) else {
            // The last request's end overtook the end of its sending; this connection is not used again.
            self.close(slot)?;
            return self.queue(index, want);
        };
        let last = connection.begin(
            want,
            self.now,
            template.is_head,
            population.requests[want.request as usize].pace,
        );
        let filler = template.write(
            buffer,
            &population.hosts[want.tenant as usize],
            population.first_number + want.tenant,
            last,
            &mut self.populations[index].details,
        );
        connection.head_left = buffer.len();
        connection.filler_left = filler;
        self.send_on(slot)
    }

    /// Sends the next piece of the request.
    fn send_on(&mut self, slot: Slot) -> std::io::Result<()> {
        let connection = &self.connections[slot.index()];
        if connection.head_left > 0 {
            let Some(length) = self.ring.send_buffer(slot).map(|buffer| buffer.len()) else {
                return Ok(());
            };
            self.ring
                .send(slot, length - connection.head_left, connection.write_most)
        } else if connection.filler_left > 0 {
            let most = connection.filler_left.min(connection.write_most);
            self.ring.send_filler(slot, most)
        } else {
            Ok(())
        }
    }

    /// Waits for more bytes: an idle connection, too, learns that way that it was closed.
    fn read_on(&mut self, slot: Slot) -> std::io::Result<()> {
        self.ring
            .receive(slot, self.connections[slot.index()].read_most)
    }

    fn complete(&mut self, completion: Completion) -> std::io::Result<()> {
        let slot = completion.slot;
        if !self.ring.is_open(slot) {
            // An earlier completion of this turn ended the connection.
            return Ok(());
        }
        match completion.kind {
            Kind::Connect if completion.result < 0 => self.end(slot, Some(Failure::Connect)),
            Kind::Connect => {
                let want = self.connections[slot.index()].wanted.take();
                if let Some(want) = want {
                    self.begin(slot, want)?;
                }
                self.read_on(slot)
            }
            Kind::Send => self.sent(slot, completion.result),
            Kind::Receive => self.received(slot, completion.result),
        }
    }

    fn sent(&mut self, slot: Slot, result: i32) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        let Ok(bytes) = usize::try_from(result) else {
            // The server may have answered and closed before it read everything: what it sent decides.
            connection.head_left = 0;
            connection.filler_left = 0;
            return Ok(());
        };
        self.recorder.traffic(
            connection.population,
            connection.phase(self.phase),
            0,
            bytes as u64,
            0,
        );
        let of_head = bytes.min(connection.head_left);
        connection.head_left -= of_head;
        connection.filler_left -= (bytes - of_head).min(connection.filler_left);
        if connection.head_left + connection.filler_left == 0 {
            return Ok(());
        }
        if connection.write_every == 0 {
            return self.send_on(slot);
        }
        let timer = Timer::Write(slot, connection.generation);
        self.timers
            .push(Reverse((self.now + connection.write_every, timer)));
        Ok(())
    }

    fn received(&mut self, slot: Slot, result: i32) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        let bytes = match usize::try_from(result) {
            Ok(0) => {
                let complete = connection.want.is_some() && connection.response.closed();
                let failure = if complete {
                    None
                } else {
                    Some(Failure::Closed)
                };
                return self.end(slot, failure);
            }
            Ok(bytes) => bytes,
            Err(_) if result == -libc::ECONNRESET => return self.end(slot, Some(Failure::Reset)),
            Err(_) => return self.end(slot, Some(Failure::Closed)),
        };
        let phase = connection.phase(self.phase);
        self.recorder
            .traffic(connection.population, phase, bytes as u64, 0, 0);
        if connection.want.is_none() {
            // Nothing was asked: a server says goodbye (408) to an idle connection, or errs.
            return self.close(slot);
        }
        match connection.response.feed(self.ring.received(slot, bytes)) {
            Err(_) => self.end(slot, Some(Failure::Malformed)),
            Ok(true) => self.answered(slot),
            Ok(false) if connection.read_every > 0 => {
                let timer = Timer::Read(slot, connection.generation);
                self.timers
                    .push(Reverse((self.now + connection.read_every, timer)));
                Ok(())
            }
            Ok(false) => {
                if bytes == limits::READ_BYTES {
                    self.ring.grow(slot, limits::READ_BYTES_LARGE);
                }
                self.ring.receive(slot, connection.read_most)
            }
        }
    }

    /// A response is complete: the connection takes the next request, rests or is closed.
    fn answered(&mut self, slot: Slot) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        let index = connection.population;
        let reusable = connection.response.keep_alive
            && connection.requests_left > 0
            && connection.head_left + connection.filler_left == 0;
        if !reusable {
            return self.end(slot, None);
        }
        let Some(want) = connection.want.take() else {
            return Ok(());
        };
        let (generation, status, sent) = (
            connection.generation,
            connection.response.status,
            connection.sent_at,
        );
        let failure = self.judge(slot, &want);
        let population = &mut self.populations[index];
        if let Some(next) = population.backlog.pop_front() {
            self.begin(slot, next)?;
        } else {
            population.idle.push_back((slot, generation));
            self.connections[slot.index()].read_most = population.read_least;
        }
        self.read_on(slot)?;
        self.record(index, want, sent, status, failure)
    }

    /// Whether a complete response is what was expected.
    fn judge(&self, slot: Slot, want: &Want) -> Option<Failure> {
        let connection = &self.connections[slot.index()];
        let population = &self.job.scenario.populations[connection.population];
        let expect = &population.requests[want.request as usize].expect;
        if !expect.statuses.contains(&connection.response.status) {
            return Some(Failure::Status);
        }
        let wrong = expect
            .body_bytes
            .is_some_and(|bytes| bytes != connection.response.body_bytes);
        wrong.then_some(Failure::Body)
    }

    /// The connection is over, and with it the request that it carries.
    fn end(&mut self, slot: Slot, failure: Option<Failure>) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        let (index, sent) = (connection.population, connection.sent_at);
        let carried = connection.want.take().or_else(|| connection.wanted.take());
        let failure = match (&carried, failure) {
            (Some(want), None) => self.judge(slot, want),
            (_, failure) => failure,
        };
        let status = self.connections[slot.index()].response.status;
        // A response cut short has a status, but it was no response.
        let status = if matches!(failure, None | Some(Failure::Status | Failure::Body)) {
            status
        } else {
            0
        };
        self.close(slot)?;
        match carried {
            Some(want) => self.record(index, want, sent, status, failure),
            None => Ok(()),
        }
    }

    /// Closes a connection that carries nothing, and lets a waiting request have its place.
    fn close(&mut self, slot: Slot) -> std::io::Result<()> {
        let connection = &mut self.connections[slot.index()];
        connection.generation = connection.generation.wrapping_add(1);
        let index = connection.population;
        self.ring.close(slot)?;
        let population = &mut self.populations[index];
        population.open -= 1;
        match population.backlog.pop_front() {
            Some(want) => self.open(index, want),
            None => Ok(()),
        }
    }

    fn fail(&mut self, index: usize, want: Want, failure: Failure) -> std::io::Result<()> {
        self.record(index, want, want.due, 0, Some(failure))
    }

    /// Counts a request's end; a closed-loop population goes on to the next.
    fn record(
        &mut self,
        index: usize,
        want: Want,
        sent: u64,
        status: u16,
        failure: Option<Failure>,
    ) -> std::io::Result<()> {
        self.populations[index].under_way -= 1;
        self.recorder.ended(&Outcome {
            population: index,
            phase: want.phase as usize,
            tenant: want.tenant,
            due: want.due,
            sent: sent.max(want.due),
            ended: self.now,
            status,
            failure,
        });
        let Arrival::Closed { think } = &self.job.scenario.populations[index].arrival else {
            return Ok(());
        };
        let mut pause = think.as_nanos() as u64;
        if !matches!(failure, None | Some(Failure::Status | Failure::Body)) {
            pause = pause.max(PAUSE_AFTER_FAILURE_NS);
        }
        if pause == 0 {
            return self.next_in_loop(index);
        }
        self.timers
            .push(Reverse((self.now + pause, Timer::Next(index))));
        Ok(())
    }

    /// Ends requests whose time is over; those that wait first, so that none of them gets the place of
    /// a connection that is ended.
    fn expire(&mut self) -> std::io::Result<()> {
        let mut expired = Vec::new();
        for (index, population) in self.populations.iter_mut().enumerate() {
            while population
                .backlog
                .front()
                .is_some_and(|want| self.now >= want.due + population.timeout_ns)
            {
                expired.extend(population.backlog.pop_front().map(|want| (index, want)));
            }
        }
        for (index, want) in expired {
            self.fail(index, want, Failure::Timeout)?;
        }
        for number in 0..self.connections.len() {
            let connection = &self.connections[number];
            let Some(want) = connection.want.as_ref().or(connection.wanted.as_ref()) else {
                continue;
            };
            let timeout = self.populations[connection.population].timeout_ns;
            if let Some(slot) = connection.slot()
                && self.now >= want.due + timeout
            {
                self.end(slot, Some(Failure::Timeout))?;
            }
        }
        Ok(())
    }

    /// Counts what is still under way as unfinished.
    fn give_up(&mut self) {
        let mut left = Vec::new();
        for connection in &mut self.connections {
            let carried = connection.want.take().or_else(|| connection.wanted.take());
            left.extend(carried.map(|want| (connection.population, want)));
        }
        for (index, population) in self.populations.iter_mut().enumerate() {
            left.extend(population.backlog.drain(..).map(|want| (index, want)));
        }
        for (index, want) in left {
            self.recorder.ended(&Outcome {
                population: index,
                phase: want.phase as usize,
                tenant: want.tenant,
                due: want.due,
                sent: want.due,
                ended: self.now,
                status: 0,
                failure: Some(Failure::Unfinished),
            });
        }
    }
}
