//! A worker without clock, ring and guests: who gets how much of the core is asserted exactly.
//!
//! Time passes only while a guest runs (and 1 µs for each turn of the ring). Guests are numbers: how
//! much they compute, and how much of that between two host calls.

mod delays;
mod shares;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use super::RING_TURNS_PER_SLICE;
use super::account::Account;
use super::turn::{Slice, Turn};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const SECOND: u64 = 1_000 * MS;
const SLICE: u64 = MS;
const TICK: u64 = SLICE / 2;
const RING_TURN: u64 = US;

/// What a tenant's clients ask for.
#[derive(Clone, Copy)]
struct Load {
    tenant: usize,
    /// Requests at once, or 0: one comes every `pause_ns`.
    concurrency: usize,
    /// CPU time of a request.
    cpu_ns: u64,
    /// How much of it the guest uses before it gives way by itself.
    piece_ns: u64,
    /// What its end takes, in one piece: giving its memory back.
    end_ns: u64,
    /// From the end of a request, or the coming of the one before, to the next.
    pause_ns: u64,
}

impl Load {
    /// Guests that compute for ever.
    fn spinning(tenant: usize, concurrency: usize) -> Self {
        Self {
            tenant,
            concurrency,
            cpu_ns: u64::MAX,
            piece_ns: u64::MAX,
            pause_ns: 0,
            end_ns: 0,
        }
    }

    /// Guests that are followed by the next at once.
    fn flood(tenant: usize, concurrency: usize, cpu_ns: u64) -> Self {
        Self {
            cpu_ns,
            ..Self::spinning(tenant, concurrency)
        }
    }

    /// A request now and then.
    fn every(tenant: usize, pause_ns: u64, cpu_ns: u64) -> Self {
        Self {
            pause_ns,
            ..Self::flood(tenant, 0, cpu_ns)
        }
    }
}

/// Puts a guest among those that the runtime polls next.
struct Task {
    guest: u64,
    woken: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().expect("one thread");
        if !woken.contains(&self.guest) {
            woken.push_back(self.guest);
        }
    }
}

struct Guest {
    load: usize,
    ticket: u64,
    long: bool,
    came_ns: u64,
    used_ns: u64,
    left_ns: u64,
}

/// A tenant, from the outside.
#[derive(Default)]
struct Tenant {
    account: Rc<Account>,
    cpu_ns: u64,
    /// How long its requests took beyond their CPU time, the longest.
    delay_ns_max: u64,
    served: u64,
}

struct Worker {
    turn: Turn,
    now_ns: u64,
    tenants: Vec<Tenant>,
    loads: Vec<Load>,
    coming: BinaryHeap<Reverse<(u64, usize)>>,
    /// Those that wait, by a number of their own.
    waiting: BTreeMap<u64, Guest>,
    guests: u64,
    woken: Arc<Mutex<VecDeque<u64>>>,
    /// How often one was polled that had to wait on although the gate was open.
    early: u64,
}

impl Worker {
    /// A worker with tenants of these weights.
    fn new(weights: &[u64]) -> Self {
        let tenant = |weight: &u64| {
            let tenant = Tenant::default();
            tenant.account.configure(*weight, None);
            tenant
        };
        let mut turn = Turn::new();
        turn.set_gate_ns(SLICE / 2);
        Self {
            turn,
            now_ns: SECOND,
            tenants: weights.iter().map(tenant).collect(),
            loads: Vec::new(),
            coming: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            guests: 0,
            woken: Arc::default(),
            early: 0,
        }
    }

    fn add(&mut self, load: Load) {
        let index = self.loads.len();
        self.loads.push(load);
        for _ in 0..load.concurrency.max(1) {
            self.coming.push(Reverse((self.now_ns, index)));
        }
    }

    /// Runs for this long; gives the CPU time of each tenant meanwhile.
    fn run(&mut self, span_ns: u64) -> Vec<u64> {
        let before: Vec<_> = self.tenants.iter().map(|tenant| tenant.cpu_ns).collect();
        let end_ns = self.now_ns + span_ns;
        while self.now_ns < end_ns {
            self.cycle();
        }
        let tenants = self.tenants.iter().zip(before);
        tenants
            .map(|(tenant, before)| tenant.cpu_ns - before)
            .collect()
    }

    /// What the turner does.
    fn cycle(&mut self) {
        self.ring_turn();
        wake(self.turn.open(self.now_ns));
        self.run_called();
        for _ in 1..RING_TURNS_PER_SLICE {
            if !self.turn.batch_waits() {
                break;
            }
            self.ring_turn();
            wake(self.turn.call());
            self.run_called();
        }
        wake(self.turn.open_batch());
        self.run_called();
    }

    /// Requests that have come meanwhile run at once, if they may, or wait.
    fn ring_turn(&mut self) {
        self.now_ns += RING_TURN;
        while let Some(Reverse((at_ns, index))) = self.coming.peek().copied() {
            if at_ns > self.now_ns {
                break;
            }
            self.coming.pop();
            let load = self.loads[index];
            if load.concurrency == 0 {
                self.coming.push(Reverse((at_ns + load.pause_ns, index)));
            }
            let guest = Guest {
                load: index,
                ticket: 0,
                long: false,
                came_ns: at_ns,
                used_ns: 0,
                left_ns: load.cpu_ns,
            };
            let account = Rc::clone(&self.tenants[load.tenant].account);
            if self.turn.may_run(&account, || self.now_ns) {
                self.slice(guest);
            } else {
                self.wait(guest);
            }
        }
    }

    fn wait(&mut self, mut guest: Guest) {
        let account = &self.tenants[self.loads[guest.load].tenant].account;
        self.guests += 1;
        let task = Arc::new(Task {
            guest: self.guests,
            woken: Arc::clone(&self.woken),
        });
        guest.ticket = self.turn.push(account, Waker::from(task), self.now_ns);
        self.waiting.insert(self.guests, guest);
    }

    /// Those who are called come in order.
    fn run_called(&mut self) {
        loop {
            let next = self.woken.lock().expect("one thread").pop_front();
            let Some(id) = next else { break };
            let guest = self.waiting.get(&id).expect("a guest that waits");
            let account = &self.tenants[self.loads[guest.load].tenant].account;
            let task = Arc::new(Task {
                guest: id,
                woken: Arc::clone(&self.woken),
            });
            let begin = self.turn.begin(account, guest.ticket, &Waker::from(task));
            let open = !self.turn.should_yield(0);
            assert!(open || !begin.now, "it begins at a closed gate");
            if begin.now {
                let guest = self.waiting.remove(&id).expect("this one");
                self.slice(guest);
            } else {
                self.early += u64::from(open);
                wake(begin.call);
            }
        }
    }

    fn slice(&mut self, mut guest: Guest) {
        let load = self.loads[guest.load];
        let account = Rc::clone(&self.tenants[load.tenant].account);
        let start_ns = self.now_ns;
        let piece_end_ns = start_ns.saturating_add(guest.left_ns.min(load.piece_ns));
        let mut cut = false;
        loop {
            let tick_ns = (self.now_ns / TICK + 1) * TICK;
            self.now_ns = piece_end_ns.min(tick_ns);
            let running_ns = self.now_ns - start_ns;
            if self.now_ns == piece_end_ns {
                break;
            }
            if self.turn.should_yield(running_ns) {
                cut = true;
                break;
            }
        }
        let cpu_ns = self.now_ns - start_ns;
        assert!(cpu_ns <= SLICE, "the ring waits for {cpu_ns} ns");
        guest.used_ns += cpu_ns;
        guest.left_ns -= cpu_ns;
        if guest.left_ns == 0 {
            self.now_ns += load.end_ns;
        }
        let cpu_ns = self.now_ns - start_ns;
        let tenant = &mut self.tenants[load.tenant];
        tenant.cpu_ns += cpu_ns;
        let long = self.turn.is_long(cpu_ns, guest.used_ns, cut);
        let slice = Slice {
            running_ns: cpu_ns,
            cpu_ns,
            long,
            first_long: long && !guest.long,
        };
        guest.long |= long;
        wake(self.turn.charge(&account, slice, self.now_ns));
        if guest.left_ns > 0 {
            self.wait(guest);
            return;
        }
        tenant.served += 1;
        tenant.account.served();
        let delay_ns = self.now_ns - guest.came_ns - load.cpu_ns;
        tenant.delay_ns_max = tenant.delay_ns_max.max(delay_ns);
        if load.concurrency > 0 {
            self.coming
                .push(Reverse((self.now_ns + load.pause_ns, guest.load)));
        }
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A slice that was all CPU time of one request.
fn used(cpu_ns: u64) -> Slice {
    Slice {
        running_ns: cpu_ns,
        cpu_ns,
        ..Slice::default()
    }
}

/// Fails unless CPU times are in proportion to these parts, each to within `slack_ns`.
#[track_caller]
fn check_shares(cpu_ns: &[u64], parts: &[u64], slack_ns: u64) {
    let (total, whole) = (cpu_ns.iter().sum::<u64>(), parts.iter().sum::<u64>());
    for (cpu_ns, part) in cpu_ns.iter().zip(parts) {
        let due_ns = total * part / whole;
        assert!(
            cpu_ns.abs_diff(due_ns) <= slack_ns,
            "{cpu_ns} ns instead of {due_ns} of {total}"
        );
    }
}
