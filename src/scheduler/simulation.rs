//! A worker without clock, ring and guests: who gets how much of the core is asserted exactly.
//!
//! Time passes only while a guest runs (and 1 µs for each turn of the ring). Guests are numbers: how
//! much they compute, and how much of that between two host calls.

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
        let tenant = &mut self.tenants[load.tenant];
        tenant.cpu_ns += cpu_ns;
        let slice = Slice {
            running_ns: cpu_ns,
            cpu_ns,
            request_ns: guest.used_ns,
            cut,
        };
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
        request_ns: cpu_ns,
        cut: false,
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

#[test]
fn computing_tenants_share_by_weight() {
    for weights in [
        &[100, 100][..],
        &[100, 300],
        &[1, 1000],
        &[7, 100, 250, 993],
    ] {
        let mut worker = Worker::new(weights);
        for tenant in 0..weights.len() {
            worker.add(Load::spinning(tenant, 1));
        }
        let slack_ns = SLICE * weights.len() as u64;
        for _ in 0..20 {
            check_shares(&worker.run(SECOND), weights, slack_ns);
        }
    }
}

#[test]
fn a_tenant_of_many_guests_gets_no_more_than_one_of_one() {
    let mut worker = Worker::new(&[100, 100]);
    worker.add(Load::spinning(0, 100));
    worker.add(Load::spinning(1, 1));
    for _ in 0..10 {
        check_shares(&worker.run(SECOND), &[1, 1], 2 * SLICE);
    }
}

/// Short requests, long ones, pieces between host calls, ends just before the tick: all the same.
#[test]
fn how_a_tenant_computes_makes_no_difference() {
    let pieces = |piece_ns| Load {
        piece_ns,
        ..Load::spinning(0, 4)
    };
    let greedy = [
        Load::flood(0, 64, 950 * US),
        Load::flood(0, 64, 490 * US),
        Load::flood(0, 64, 20 * US),
        Load::flood(0, 1_000, 5 * MS),
        pieces(490 * US),
        pieces(10 * US),
    ];
    for (index, load) in greedy.into_iter().enumerate() {
        let mut worker = Worker::new(&[100, 300]);
        worker.add(load);
        worker.add(Load::spinning(1, 1));
        worker.run(SECOND);
        let cpu_ns = worker.run(10 * SECOND);
        assert!(
            cpu_ns[0] * 300 <= cpu_ns[1] * 102,
            "load {index}: {cpu_ns:?}"
        );
    }
}

#[test]
fn an_idle_tenant_earns_no_credit() {
    let mut worker = Worker::new(&[100, 100, 100]);
    worker.add(Load::spinning(0, 1));
    worker.run(10 * SECOND);
    worker.add(Load::spinning(1, 1));
    check_shares(&worker.run(SECOND), &[1, 1, 0], 2 * SLICE);
    worker.run(10 * SECOND);
    worker.add(Load::spinning(2, 1));
    check_shares(&worker.run(SECOND), &[1, 1, 1], 3 * SLICE);
}

/// What a tenant used of a core that nobody else wanted is not held against it.
#[test]
fn using_an_idle_core_costs_no_share() {
    for (load, least_ms) in [
        // One request at a time leaves gaps: then its turn is another's.
        (Load::flood(0, 1, 5 * MS), 40),
        (Load::flood(0, 2, 5 * MS), 48),
        (Load::every(0, 400 * US, 100 * US), 24),
    ] {
        let mut worker = Worker::new(&[100, 100]);
        worker.add(load);
        worker.run(10 * SECOND);
        worker.add(Load::spinning(1, 1));
        let cpu_ns = worker.run(100 * MS);
        let range = least_ms * MS..=52 * MS;
        assert!(range.contains(&cpu_ns[0]), "least {least_ms}: {cpu_ns:?}");
    }
}

/// An open gate is for who is next, and not for who has just come.
#[test]
fn nobody_overtakes_those_who_wait() {
    let noop = Waker::noop();
    let (first, second) = (Rc::<Account>::default(), Rc::<Account>::default());
    let mut turn = Turn::new();
    turn.set_gate_ns(SLICE / 2);
    assert!(turn.may_run(&second, || 0));
    let ticket = turn.push(&first, noop.clone(), 0);
    assert!(!turn.may_run(&second, || 0), "one waits");
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 1);
    assert!(!turn.may_run(&second, || 0), "one is about to begin");
    assert!(!turn.begin(&second, ticket + 1, noop).now);
    assert!(turn.begin(&first, ticket, noop).now);
    turn.charge(&first, used(US), US);
    assert!(turn.may_run(&second, || 0));
    turn.charge(&second, used(SLICE), SLICE);
    assert!(!turn.may_run(&second, || 0), "the gate is closed");
    assert!(turn.open(0).is_empty() && turn.may_run(&second, || 0));
}

/// Who is called and has ended meanwhile, or does not come, keeps nobody waiting.
#[test]
fn a_call_that_is_not_answered_is_made_again() {
    let noop = Waker::noop();
    let account = Rc::<Account>::default();
    let mut turn = Turn::new();
    turn.set_gate_ns(SLICE / 2);
    let tickets = [0; 3].map(|_| turn.push(&account, noop.clone(), 0));
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 3);
    assert_eq!(turn.granted(), Some(tickets[0]), "first come, first served");
    turn.open(0);
    assert_eq!(turn.open_batch().len(), 3, "they did not come");
    assert!(turn.open_batch().is_empty(), "and are called once");
    // One that comes too early is called when it is its turn.
    let early = turn.begin(&account, tickets[1], noop);
    assert!(!early.now && early.call.is_none());
    assert!(turn.remove(&account, tickets[0]).is_some());
    let early = turn.begin(&account, tickets[2], noop);
    assert!(!early.now && early.call.is_some());
    assert!(turn.remove(&account, tickets[1]).is_some());
    assert!(turn.someone_waits());
    // What closes the gate meanwhile is waited for.
    turn.charge(&account, used(SLICE), SLICE);
    assert!(!turn.begin(&account, tickets[2], noop).now);
    turn.open(0);
    turn.open_batch();
    assert!(turn.begin(&account, tickets[2], noop).now);
    assert!(!turn.someone_waits());
}

/// Calling several at a time guesses who is next, and mostly guesses right.
#[test]
fn those_who_are_called_are_mostly_next() {
    let mut worker = Worker::new(&[100; 8]);
    for tenant in 0..8 {
        worker.add(Load::flood(
            tenant,
            1 + 3 * tenant,
            (20 + tenant as u64) * US,
        ));
    }
    worker.run(SECOND);
    let served: u64 = worker.tenants.iter().map(|tenant| tenant.served).sum();
    assert!(worker.early * 10 <= served, "{} of {served}", worker.early);
}

#[test]
fn a_flood_does_not_displace_a_light_tenant() {
    for flood in [20 * US, 300 * US, 950 * US, 50 * MS] {
        let mut worker = Worker::new(&[100, 100]);
        worker.add(Load::flood(0, 500, flood));
        worker.add(Load::every(1, 5 * MS, 100 * US));
        worker.run(10 * SECOND);
        let light = &worker.tenants[1];
        assert!(light.served >= 1_999, "{flood}: {}", light.served);
        let delay_us = light.delay_ns_max / US;
        assert!(delay_us <= 2_000, "{flood}: {delay_us} µs");
    }
}

/// A tenant of short requests keeps its latency although it uses more than an equal share.
#[test]
fn a_hundred_computing_tenants_delay_an_interactive_one_by_two_slices_at_most() {
    let mut worker = Worker::new(&[100; 101]);
    for tenant in 1..=100 {
        worker.add(Load::flood(tenant, 8, 50 * MS));
    }
    worker.run(SECOND);
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(5 * SECOND);
    let victim = &worker.tenants[0];
    assert!(victim.served >= 9_990, "{}", victim.served);
    let delay_us = victim.delay_ns_max / US;
    assert!(delay_us <= 2_000, "{delay_us} µs");
}

/// Nor do a hundred that come all at once, of whom nothing is known yet.
#[test]
fn a_hundred_tenants_that_come_at_once_delay_an_interactive_one_by_two_slices_at_most() {
    let mut worker = Worker::new(&[100; 101]);
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(SECOND);
    for tenant in 1..=100 {
        worker.add(Load::flood(tenant, 8, 50 * MS));
    }
    worker.run(SECOND);
    let delay_us = worker.tenants[0].delay_ns_max / US;
    assert!(delay_us <= 2_000, "{delay_us} µs");
}

/// Nor can a hundred earn a place before the others, and all compute when they have it: each that does
/// doubles what the next one must have earned.
#[test]
fn standing_that_is_earned_to_be_abused_gives_a_few_slices_at_most() {
    let mut worker = Worker::new(&[100; 101]);
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(2 * SECOND);
    for tenant in 1..=100 {
        worker.add(Load::every(tenant, 5 * MS, 10 * US));
    }
    worker.run(2 * SECOND); // 400 each: fewer than 2 to the 9th
    worker.coming.clear();
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.tenants[0].delay_ns_max = 0;
    for tenant in 1..=100 {
        worker.add(Load::spinning(tenant, 1));
    }
    worker.run(SECOND);
    let delay_us = worker.tenants[0].delay_ns_max / US;
    assert!(delay_us <= 12_000, "{delay_us} µs");
}

/// Nor do its short requests, which went before the others, keep its first long one waiting.
#[test]
fn interactive_use_puts_a_tenant_ahead_by_a_bound() {
    let mut worker = Worker::new(&[100; 101]);
    for tenant in 1..=100 {
        worker.add(Load::spinning(tenant, 1));
    }
    worker.add(Load::every(0, 500 * US, 15 * US));
    worker.run(5 * SECOND);
    worker.coming.clear();
    let served = worker.tenants[0].served;
    worker.add(Load {
        pause_ns: 1_000 * SECOND,
        ..Load::flood(0, 1, 2 * MS)
    });
    // 10 ms of each of a hundred, and three slices at a hundredth of the core.
    worker.run(2 * SECOND);
    assert_eq!(worker.tenants[0].served, served + 1);
}

/// The interactive ones leave half of the core to those that compute, whoever and how many they are.
#[test]
fn interactive_tenants_starve_nobody() {
    let mut worker = Worker::new(&[100; 40]);
    for tenant in 1..40 {
        worker.add(Load::every(tenant, MS, 50 * US));
    }
    worker.add(Load::spinning(0, 1));
    let cpu_ns = worker.run(2 * SECOND);
    assert!(cpu_ns[0] >= SECOND * 9 / 10, "{cpu_ns:?}");
    // They want 39 times 5 % and are charged for it: each gets about as much as the other.
    let (least, most) = (cpu_ns[1..].iter().min(), cpu_ns[1..].iter().max());
    let (least, most) = (least.expect("39"), most.expect("39"));
    assert!(most - least <= 2 * SLICE, "{cpu_ns:?}");
}

#[test]
fn a_ceiling_holds_on_an_idle_core_and_delays_nobody_else() {
    for (permille, load) in [
        (250, Load::spinning(0, 1)),
        (250, Load::spinning(0, 20)),
        (250, Load::flood(0, 20, 30 * US)),
        (10, Load::flood(0, 3, 2 * MS)),
        (1000, Load::spinning(0, 1)),
    ] {
        let mut worker = Worker::new(&[100, 100]);
        worker.tenants[0].account.configure(100, Some(permille));
        worker.add(load);
        worker.run(SECOND);
        let cpu_ns = worker.run(10 * SECOND)[0];
        let due_ns = 10 * MS * permille;
        assert!(cpu_ns <= due_ns + SLICE, "{cpu_ns} of {due_ns}");
        // Turns of the ring take their time here.
        assert!(cpu_ns >= due_ns * 98 / 100, "{cpu_ns} of {due_ns}");
        // The other gets the rest, and is delayed by no more than a slice.
        worker.add(Load::every(1, 2 * MS, 200 * US));
        worker.run(SECOND);
        assert!(worker.tenants[1].served >= 499);
        let delay_us = worker.tenants[1].delay_ns_max / US;
        assert!(delay_us <= 1_600, "{permille}: {delay_us} µs");
    }
}

/// A pause fills a bucket no further than its depth.
#[test]
fn a_ceiling_allows_a_burst_and_no_more() {
    let mut worker = Worker::new(&[100]);
    worker.tenants[0].account.configure(100, Some(100));
    worker.run(10 * SECOND);
    worker.add(Load::spinning(0, 4));
    let cpu_ns = worker.run(100 * MS)[0];
    let burst_ns = crate::config::limits::CPU_SHARE_BURST_MS * MS;
    let due_ns = burst_ns + 10 * MS;
    assert!(cpu_ns.abs_diff(due_ns) <= SLICE, "{cpu_ns} of {due_ns}");
}

/// Numbers that are the same in every run (xorshift64*: Marsaglia 2003, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// Whatever else comes and goes: of two tenants that compute all the time, none is ahead of the other
/// by more than a slice of each (Goyal, Vin and Cheng 1996, theorem 1); and what one gets is never
/// less than its part of what interactive tenants leave, but for a slice of each other.
#[test]
fn tenants_that_always_wait_lag_by_a_slice_at_most() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let count = 2 + random.below(8) as usize;
        let weights: Vec<_> = (0..count).map(|_| 1 + random.below(1_000)).collect();
        let mut worker = Worker::new(&weights);
        // The first two always wait; the others come and go.
        let guests = [1 + random.below(5) as usize, 1 + random.below(5) as usize];
        worker.add(Load::spinning(0, guests[0]));
        worker.add(Load::spinning(1, guests[1]));
        for tenant in 2..count {
            let cpu_ns = [20 * US, 400 * US, 3 * MS, 60 * MS][random.below(4) as usize];
            let concurrency = random.below(4) as usize;
            worker.add(Load {
                concurrency,
                piece_ns: 10 * US + random.below(2 * MS),
                pause_ns: 50 * US + cpu_ns * random.below(8),
                ..Load::flood(tenant, 1, cpu_ns)
            });
        }
        worker.run(2 * SECOND);
        let (mut used, mut lead) = ([0_u64; 2], [i128::MIN, i128::MIN]);
        for _ in 0..2_000 {
            let cpu_ns = worker.run(US);
            used[0] += cpu_ns[0];
            used[1] += cpu_ns[1];
            // Weighted by the other's weight: no fractions.
            let parts = [0, 1].map(|it| i128::from(used[it]) * i128::from(weights[1 - it]));
            lead[0] = lead[0].max(parts[0] - parts[1]);
            lead[1] = lead[1].max(parts[1] - parts[0]);
        }
        let bound = i128::from(SLICE) * i128::from(weights[0] + weights[1]);
        // From any moment to any other: the highest lead of either, together.
        assert!(
            lead[0] + lead[1] <= bound,
            "seed {seed}: {lead:?} {weights:?}"
        );
        let whole: u64 = weights.iter().sum();
        let total = worker.run(10 * SECOND);
        let due_ns = 10 * SECOND / 2 * weights[0] / whole;
        let slack_ns = SLICE * count as u64;
        assert!(
            total[0] + slack_ns >= due_ns,
            "seed {seed}: {} of {due_ns}",
            total[0]
        );
    }
}
