//! The clock that makes computing guests look up: a thread that advances the epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sys::{priority, thread};

/// Calls `tick` at a fixed period until dropped. It is the only other thread of a worker, and it
/// does nothing else: the epoch counter is one relaxed increment, read by compiled code. It runs at
/// real-time priority where the process may, so that it wakes in time although other programs compute
/// on the core: a budget is kept as exactly as the ticks come.
#[derive(Debug)]
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts ticking every `period`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(period: Duration, tick: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            thread::start("ticker", move || {
                // Where it may not, budgets are kept as exactly as the core is free.
                let _ = priority::wake_at_once();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(period);
                    tick();
                }
            })?
        };
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there is already reported; there is nothing more to do about it here.
            let _ = thread.join();
        }
    }
}
