//! A tenant whose program keeps failing is left alone for a while, longer each time.
//!
//! ```text
//!              N failures in M seconds
//!   serving ──────────────────────────► closed for 1 s, 2 s, 4 s … up to a maximum
//!      ▲                                   │        ▲
//!      │ it is served                      │ over   │ it fails: twice as long
//!      └────────────── probing ◄───────────┘        │
//!                 one request runs ─────────────────┘
//! ```
//!
//! A failure costs the host more than an answer: the trap's backtrace, the unwinding, the CPU time up
//! to the budget. A program that only fails gets its clients an early 503 instead.
//!
//! What a client brings about must not shut out the others. Waiting too long is no failure here (a
//! client that sends or reads slowly does it, and it costs no CPU), and failures count only while at
//! least half of the tenant's requests fail: one request that crashes a program, sent among others
//! that it serves, does not close it.
//!
//! Pure: time is an argument. One for each tenant and worker.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::config::{Limits, limits};
use crate::fault::Reason;

const NS_PER_S: u64 = 1_000_000_000;

/// When a tenant is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Failures that are too many; 0 never.
    failures: usize,
    /// If they come within this time, in nanoseconds.
    window_ns: u64,
    /// The first pause, in nanoseconds.
    first_ns: u64,
    /// The longest pause, in nanoseconds.
    max_ns: u64,
}

impl Rules {
    /// What a tenant's limits say.
    pub fn of(limits: &Limits) -> Self {
        Self {
            failures: limits.quarantine_failures,
            window_ns: limits.quarantine_window_s * NS_PER_S,
            first_ns: limits::QUARANTINE_FIRST_S * NS_PER_S,
            max_ns: limits.quarantine_max_s * NS_PER_S,
        }
    }
}

/// What a finished request says about its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it was asked.
    Served,
    /// It failed, and that cost CPU time.
    Failed,
    /// Nothing: it did not run, or somebody else ended it, or its failure was cheap.
    Unknown,
}

impl Verdict {
    /// Of a request that ended like this.
    pub fn of(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Served,
            Some(
                Reason::Trapped
                | Reason::ResourceExhausted
                | Reason::CpuExhausted
                | Reason::FuelExhausted
                | Reason::MemoryExhausted,
            ) => Self::Failed,
            Some(_) => Self::Unknown,
        }
    }
}

/// How a request came in: what its end means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Like any other.
    Usual,
    /// As the one that tries whether the program works again.
    Probe,
}

/// What changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The tenant is left alone for this long, in nanoseconds.
    Begun(u64),
    /// It failed again: for this much longer, in nanoseconds.
    Extended(u64),
    /// It is served again.
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Serving,
    Closed { until_ns: u64, pause_ns: u64 },
    Probing { pause_ns: u64 },
}

/// One tenant's failures, and what follows from them.
#[derive(Debug)]
pub struct Quarantine {
    rules: Rules,
    state: State,
    /// Requests served, ever.
    served: u64,
    /// The last failures: when, and how many requests had been served by then.
    failures: VecDeque<(u64, u64)>,
}

impl Quarantine {
    /// Of a tenant that has not failed yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Serving,
            served: 0,
            failures: VecDeque::new(),
        }
    }

    /// Whether requests come in as usual: no clock is needed then.
    pub fn serves(&self) -> bool {
        matches!(self.state, State::Serving)
    }

    /// A request comes in. It must be told off with [`Self::leave`].
    ///
    /// # Errors
    /// In how many nanoseconds it is worth trying again; 0 while another request is trying.
    pub fn enter(&mut self, now_ns: u64) -> Result<Entry, u64> {
        match self.state {
            State::Serving => Ok(Entry::Usual),
            State::Closed { until_ns, .. } if now_ns < until_ns => Err(until_ns - now_ns),
            State::Closed { pause_ns, .. } => {
                self.state = State::Probing { pause_ns };
                Ok(Entry::Probe)
            }
            State::Probing { .. } => Err(0),
        }
    }

    /// A request has ended.
    pub fn leave(&mut self, entry: Entry, verdict: Verdict, now_ns: u64) -> Option<Change> {
        match (entry, self.state) {
            (Entry::Probe, State::Probing { pause_ns }) => self.probed(verdict, pause_ns, now_ns),
            (Entry::Usual, State::Serving) => match verdict {
                Verdict::Served => {
                    self.served += 1;
                    None
                }
                Verdict::Failed => self.failed(now_ns),
                Verdict::Unknown => None,
            },
            // Begun before the quarantine, ended within: it was one of many then.
            _ => None,
        }
    }

    fn probed(&mut self, verdict: Verdict, pause_ns: u64, now_ns: u64) -> Option<Change> {
        match verdict {
            Verdict::Served => {
                self.state = State::Serving;
                self.served += 1;
                Some(Change::Ended)
            }
            Verdict::Failed => {
                let pause_ns = (pause_ns * 2).min(self.rules.max_ns);
                self.close(pause_ns, now_ns);
                Some(Change::Extended(pause_ns))
            }
            // The next one tries.
            Verdict::Unknown => {
                let until_ns = now_ns;
                self.state = State::Closed { until_ns, pause_ns };
                None
            }
        }
    }

    fn failed(&mut self, now_ns: u64) -> Option<Change> {
        let many = self.rules.failures;
        if many == 0 {
            return None;
        }
        if self.failures.len() == many {
            self.failures.pop_front();
        }
        self.failures.push_back((now_ns, self.served));
        let (first_ns, served_then) = *self.failures.front()?;
        let in_time = now_ns.saturating_sub(first_ns) <= self.rules.window_ns;
        let half = self.served - served_then <= many as u64;
        if self.failures.len() < many || !in_time || !half {
            return None;
        }
        self.failures.clear();
        let pause_ns = self.rules.first_ns.min(self.rules.max_ns);
        self.close(pause_ns, now_ns);
        Some(Change::Begun(pause_ns))
    }

    fn close(&mut self, pause_ns: u64, now_ns: u64) {
        let until_ns = now_ns + pause_ns;
        self.state = State::Closed { until_ns, pause_ns };
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Failed, Served, Unknown};
    use super::*;

    const S: u64 = NS_PER_S;

    /// Three failures in ten seconds; pauses of 1, 2, 4, 5 seconds.
    fn quarantine() -> Quarantine {
        Quarantine::new(Rules {
            failures: 3,
            window_ns: 10 * S,
            first_ns: S,
            max_ns: 5 * S,
        })
    }

    /// A request that comes and goes at once.
    #[track_caller]
    fn one(it: &mut Quarantine, verdict: Verdict, now: u64) -> Option<Change> {
        let entry = it.enter(now).expect("it comes in");
        it.leave(entry, verdict, now)
    }

    #[test]
    fn it_begins_at_the_limit_and_within_the_window() {
        let mut it = quarantine();
        assert_eq!(one(&mut it, Failed, 0), None);
        assert_eq!(one(&mut it, Failed, S), None);
        // The first of three was too long ago, by a nanosecond.
        assert_eq!(one(&mut it, Failed, 10 * S + 1), None);
        assert_eq!(one(&mut it, Failed, 11 * S), Some(Change::Begun(S)));
        assert_eq!(it.enter(11 * S), Err(S));
        assert_eq!(it.enter(12 * S - 1), Err(1));
        assert_eq!(it.enter(12 * S), Ok(Entry::Probe));
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_a_served_probe_ends_them() {
        let mut it = quarantine();
        let mut now = 100 * S;
        for _ in 0..3 {
            one(&mut it, Failed, now);
        }
        for (pause, next) in [(1, 2), (2, 4), (4, 5), (5, 5)] {
            assert_eq!(it.enter(now), Err(pause * S));
            now += pause * S;
            assert_eq!(one(&mut it, Failed, now), Some(Change::Extended(next * S)));
        }
        now += 5 * S;
        assert_eq!(one(&mut it, Served, now), Some(Change::Ended));
        // All is forgotten: the count and the pause.
        assert_eq!(one(&mut it, Failed, now), None);
        assert_eq!(one(&mut it, Failed, now), None);
        assert_eq!(one(&mut it, Failed, now), Some(Change::Begun(S)));
    }

    #[test]
    fn one_request_probes_at_a_time() {
        let mut it = quarantine();
        for _ in 0..3 {
            one(&mut it, Failed, 0);
        }
        let probe = it.enter(S).expect("the probe");
        assert_eq!(it.enter(2 * S), Err(0), "while it runs");
        // Its client has gone: the next one tries, at once.
        assert_eq!(it.leave(probe, Unknown, 2 * S), None);
        assert_eq!(one(&mut it, Served, 2 * S), Some(Change::Ended));
        assert!(it.serves());
    }

    #[test]
    fn requests_from_before_change_nothing() {
        let mut it = quarantine();
        let early = it.enter(0).expect("as usual");
        for _ in 0..3 {
            one(&mut it, Failed, 0);
        }
        assert_eq!(it.leave(early, Served, 0), None);
        assert_eq!(it.leave(early, Failed, 0), None);
        assert_eq!(it.enter(0), Err(S));
    }

    #[test]
    fn a_tenant_that_mostly_serves_is_not_closed() {
        // Three failures among three served requests are half; among four, less.
        for (served, closed) in [(3, true), (4, false)] {
            let mut it = quarantine();
            one(&mut it, Failed, 0);
            one(&mut it, Failed, 0);
            for _ in 0..served {
                one(&mut it, Served, 0);
            }
            assert_eq!(one(&mut it, Failed, 0).is_some(), closed, "{served}");
        }
    }

    #[test]
    fn none_is_never() {
        let mut it = Quarantine::new(Rules {
            failures: 0,
            ..quarantine().rules
        });
        for _ in 0..1000 {
            assert_eq!(one(&mut it, Failed, 0), None);
        }
        assert!(it.serves());
    }

    #[test]
    fn only_what_is_the_programs_and_costs_time_counts() {
        let failed: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| Verdict::of(Some(**reason)) == Failed)
            .map(|reason| reason.code())
            .collect();
        let expected = [
            "trapped",
            "resource_exhausted",
            "cpu_exhausted",
            "fuel_exhausted",
            "memory_exhausted",
        ];
        assert_eq!(failed, expected);
        assert_eq!(Verdict::of(None), Served);
    }
}
