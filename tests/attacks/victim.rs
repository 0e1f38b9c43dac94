//! The tenant that has to be served whatever the others do.
//!
//! It asks on one worker, the attackers' own, for as long as an attack lasts: most requests on a connection
//! that it keeps, every tenth on a new one. None may fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Client, Tenant, TestHost};

/// Its name.
pub const NAME: &str = "victim";
const HOST: &str = "victim.test";
const ANSWER: &str = "Hello from skep\n";

/// As many requests have to be served while an attack lasts; it is repeated for as long as that takes.
pub const SERVED_MIN: usize = 100;

/// Half of the requests are answered faster than this. An attacker has 100 ms of CPU time, and there are two:
/// if they were not interrupted, it would be felt. The design's bound is a slice, 1 ms; but the machine runs
/// the attackers' clients and more.
const MEDIAN_MAX: Duration = Duration::from_millis(50);

/// And all of them faster than this.
const LONGEST_MAX: Duration = Duration::from_secs(2);

/// Every so many requests come on a new connection.
const NEW_CONNECTION_EVERY: usize = 10;

/// The victim's tenant.
pub fn tenant() -> Tenant {
    Tenant::new(NAME, "hello")
}

/// What the victim and the attackers tell each other.
#[derive(Default)]
pub struct Watch {
    served: AtomicUsize,
    over: AtomicBool,
    gave_up: AtomicBool,
    /// Where it is part of the attack that new connections wait.
    pub keep_connection: AtomicBool,
}

impl Watch {
    /// Whether the victim was served often enough, or has failed: there is nothing more to attack.
    pub fn is_satisfied(&self) -> bool {
        self.served.load(Ordering::Relaxed) >= SERVED_MIN || self.gave_up.load(Ordering::Relaxed)
    }

    /// The attack has ended.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Ends the watch when the attack does, also by a panic.
pub struct EndOnDrop<'a>(pub &'a Watch);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct GaveUpOnDrop<'a>(&'a Watch);

impl Drop for GaveUpOnDrop<'_> {
    fn drop(&mut self) {
        self.0.gave_up.store(true, Ordering::Relaxed);
    }
}

/// What became of the victim.
#[derive(Debug)]
pub struct Report {
    pub served: usize,
    pub median: Duration,
    pub longest: Duration,
}

/// Asks until the attack is over, and a last time after it.
///
/// # Panics
/// When a request fails.
pub fn serve(host: &TestHost, watch: &Watch) -> Report {
    let _gave_up = GaveUpOnDrop(watch);
    let mut took = Vec::new();
    let mut kept = host.connect();
    loop {
        let over = watch.over.load(Ordering::Relaxed);
        let new = took.len() % NEW_CONNECTION_EVERY == NEW_CONNECTION_EVERY - 1;
        let started = Instant::now();
        if new && !watch.keep_connection.load(Ordering::Relaxed) {
            ask(&mut host.connect());
        } else {
            ask(&mut kept);
        }
        took.push(started.elapsed());
        watch.served.store(took.len(), Ordering::Relaxed);
        if over {
            break;
        }
    }
    took.sort_unstable();
    Report {
        served: took.len(),
        median: took[took.len() / 2],
        longest: took[took.len() - 1],
    }
}

fn ask(client: &mut Client) {
    let response = client.get(HOST, "/");
    assert_eq!(response.status, 200, "the victim: {response:?}");
    assert_eq!(response.text(), ANSWER, "the victim");
}

impl Report {
    /// Fails unless the victim was served all the time.
    pub fn check(&self) {
        assert!(
            self.served > SERVED_MIN,
            "the victim was forgotten: {self:?}"
        );
        assert!(self.median < MEDIAN_MAX, "the victim waited: {self:?}");
        assert!(self.longest < LONGEST_MAX, "the victim waited: {self:?}");
    }
}
