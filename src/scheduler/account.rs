//! What a worker remembers of one tenant's use of the core.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::bucket::Bucket;
use super::queue::{Place, Waiter};
use super::standing::{Bar, Standing};
use crate::config::limits;

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// The bucket of interactive use, from empty to full, in nanoseconds of virtual time.
const INTERACTIVE_DEPTH_NS: u64 = interactive_refill_ns(limits::INTERACTIVE_BURST_MS * MS);

/// How long the bucket of interactive use takes to refill what was used.
const fn interactive_refill_ns(cost_ns: u64) -> u64 {
    cost_ns.saturating_mul(100) / limits::INTERACTIVE_SHARE_PERCENT
}

/// One tenant's share of one worker's core: its virtual clock, its ceiling, who of its guests waits.
/// Shared by the tenant's requests; of the scheduler's thread only.
#[derive(Debug)]
pub struct Account {
    weight: Cell<u64>,
    /// Of a core, in thousandths.
    share_max_permille: Cell<Option<u64>>,
    /// CPU time it was charged, stretched by its weight: see [`cost`](Self::cost).
    pub(super) clock_ns: Cell<u64>,
    ceiling: Cell<Bucket>,
    interactive: Cell<Bucket>,
    standing: Standing,
    /// Its guests that wait, by ticket: first come first served.
    pub(super) waiting: RefCell<BTreeMap<u64, Waiter>>,
    /// Where the queue keeps it while some wait.
    pub(super) place: Cell<Option<Place>>,
}

/// Who goes first when the gate opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Tenants whose guests have been short, and use little of the core together.
    Interactive,
    /// Everybody else.
    Batch,
}

impl Default for Account {
    /// Of a tenant of the default weight, without a ceiling, that has used nothing yet.
    fn default() -> Self {
        Self {
            weight: Cell::new(limits::WEIGHT.default),
            share_max_permille: Cell::new(None),
            clock_ns: Cell::new(0),
            ceiling: Cell::default(),
            interactive: Cell::default(),
            standing: Standing::default(),
            waiting: RefCell::default(),
            place: Cell::new(None),
        }
    }
}

impl Account {
    /// Its part of the core beside others.
    pub(super) fn weight(&self) -> u64 {
        self.weight.get()
    }

    /// Sets the tenant's part of the core beside others who want it, and the most that it gets of it,
    /// in thousandths. What it used stays charged.
    pub fn configure(&self, weight: u64, share_max_permille: Option<u64>) {
        self.weight.set(weight.max(1));
        let share_max = share_max_permille.map(|share| share.max(1));
        self.share_max_permille.set(share_max);
    }

    /// CPU time as the virtual clock counts it: a tenant of the default weight is charged what it
    /// used, one of twice the weight half of it. Rounded up, so that nothing is free.
    pub(super) fn cost(&self, cpu_ns: u64) -> u64 {
        cpu_ns
            .saturating_mul(limits::WEIGHT.default)
            .div_ceil(self.weight.get())
    }

    /// Charges CPU time, from virtual time `virtual_ns` on: before that it was idle, or had had its
    /// turn. What an interactive tenant uses out of its turn does not put it behind the others by
    /// more than a bound, or a first long request would wait for all the short ones before it.
    /// `beside` is the largest weight of those who wait in the batch lane.
    pub(super) fn charge(
        &self,
        cpu_ns: u64,
        virtual_ns: u64,
        lane: Lane,
        beside: u64,
        now_ns: u64,
    ) {
        let start = self.clock_ns.get().max(virtual_ns);
        let cost = self.cost(cpu_ns);
        let end = start.saturating_add(cost);
        let end = match lane {
            Lane::Interactive => end
                .min(virtual_ns.saturating_add(limits::LEAD_MS_MAX * MS))
                .max(start),
            Lane::Batch => end,
        };
        self.clock_ns.set(end);
        let mut interactive = self.interactive.get();
        // No less than it would get of the core beside any one of those who compute: half, if they are no
        // heavier. Where the caches are theirs, a small request takes several times its CPU time.
        let weight = self.weight.get();
        let pairwise_ns = cpu_ns.saturating_mul(weight + beside.max(weight)) / weight;
        interactive.take(interactive_refill_ns(cost).min(pairwise_ns), now_ns);
        self.interactive.set(interactive);
        if let Some(share) = self.share_max_permille.get() {
            let mut ceiling = self.ceiling.get();
            ceiling.take(cpu_ns.saturating_mul(1000) / share, now_ns);
            self.ceiling.set(ceiling);
        }
    }

    /// It has served a request. One that computed meanwhile has cost it more than this.
    pub fn served(&self) {
        self.standing.earn();
    }

    /// One of its requests has failed, or computes ([`is_long`](super::is_long)).
    pub fn disappointed(&self) {
        self.standing.lose();
    }

    pub(super) fn lane(&self, bar: Bar, now_ns: u64) -> Lane {
        let little = self.interactive.get().opens_at(INTERACTIVE_DEPTH_NS) <= now_ns;
        if little && bar.passes(&self.standing, now_ns) {
            Lane::Interactive
        } else {
            Lane::Batch
        }
    }

    /// From when on it is interactive, if it uses nothing and nobody raises the bar until then. `None`:
    /// it has to earn it first.
    pub(super) fn interactive_at(&self, bar: Bar) -> Option<u64> {
        let little_ns = self.interactive.get().opens_at(INTERACTIVE_DEPTH_NS);
        Some(bar.passes_at(&self.standing)?.max(little_ns))
    }

    /// Whether it has a ceiling: for one that has none, nobody has to look at the clock.
    pub fn is_capped(&self) -> bool {
        self.share_max_permille.get().is_some()
    }

    /// When it is below its ceiling, if it is not; else a time in the past.
    pub(super) fn opens_at(&self) -> u64 {
        self.share_max_permille.get().map_or(0, |share| {
            let depth_ns = limits::CPU_SHARE_BURST_MS * MS * 1000 / share;
            self.ceiling.get().opens_at(depth_ns)
        })
    }
}
