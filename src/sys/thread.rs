//! Threads that run before their process is locked down.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// Starts a thread, and returns when it runs. Its first calls (`rseq(2)`, its name, its signal stack) are
/// ones that a lock-down takes away: a thread that was only made by then would end its process.
///
/// # Errors
/// When there is no thread.
pub fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let (say, started) = mpsc::channel();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // Whoever started it waits.
        let _ = say.send(());
        work()
    })?;
    let ended = |_| io::Error::other("the thread ended at once");
    started.recv().map_err(ended)?;
    Ok(thread)
}
