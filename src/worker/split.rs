//! How a figure that holds over all of a tenant's workers is split among them.
//!
//! Workers share no counter, so each gets a fixed part, and the parts add up to the figure:
//!
//! ```text
//!   concurrency = 5 on workers 2, 0, 3:   2 + 2 + 1
//!   concurrency = 2 on workers 2, 0, 3:   1 + 1, and worker 3 hands the tenant's connections on
//! ```
//!
//! Connections are not spread as evenly as the parts are. A tenant whose clients all arrive on one
//! worker gets that worker's part; one that must not be on a single worker.

#![forbid(unsafe_code)]

use crate::config::Limits;

/// The part of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its place among the tenant's workers, from 0.
    place: usize,
    /// How many there are.
    parts: usize,
}

/// The workers that serve a tenant: all it is placed on, unless there is not one place, or one
/// token, for each.
pub fn serving<'w>(workers: &'w [usize], limits: &Limits) -> &'w [usize] {
    let mut parts = workers.len().min(limits.concurrency);
    if limits.requests_per_s > 0 {
        parts = parts.min(limits.request_burst as usize);
    }
    &workers[..parts]
}

impl Split {
    /// The part of `worker` among those that serve; a worker that does not gets the first one's,
    /// and has no use for it.
    pub fn of(worker: usize, serving: &[usize]) -> Self {
        Self {
            place: serving.iter().position(|it| *it == worker).unwrap_or(0),
            parts: serving.len().max(1),
        }
    }

    /// This worker's part of `total`. The parts of all add up to it and differ by one at most.
    pub fn share(self, total: usize) -> usize {
        total / self.parts + usize::from(self.place < total % self.parts)
    }

    /// How many parts there are.
    pub fn parts(self) -> u64 {
        self.parts as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_and_nobody_serves_without_one() {
        let workers = [2, 0, 3, 7];
        for concurrency in 1..20 {
            for rate in [0, 1] {
                for burst in 1..20 {
                    let limits = Limits {
                        concurrency,
                        requests_per_s: rate,
                        request_burst: burst,
                        ..Limits::default()
                    };
                    let serving = serving(&workers, &limits);
                    let parts = |total: usize| {
                        let parts = serving
                            .iter()
                            .map(|it| Split::of(*it, serving).share(total));
                        parts.collect::<Vec<_>>()
                    };
                    let places = parts(concurrency);
                    assert_eq!(places.iter().sum::<usize>(), concurrency);
                    assert!(places.iter().all(|places| *places > 0), "{places:?}");
                    if rate > 0 {
                        let tokens = parts(burst as usize);
                        assert_eq!(tokens.iter().sum::<usize>(), burst as usize);
                        assert!(tokens.iter().all(|tokens| *tokens > 0), "{tokens:?}");
                    }
                }
            }
        }
    }
}
