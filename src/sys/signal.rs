//! Signals as readable descriptors, so that one poll waits for them and for everything else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are delivered by reading. Blocked for the calling thread; make it before any other
/// thread is started.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks `signals` and delivers them here from now on.
    pub fn watch(signals: &[Signal]) -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for &signal in signals {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?))
    }

    /// The next signal that is pending; `None` when none is. Several of one kind may be one.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        match self.0.read_signal()? {
            None => Ok(None),
            Some(info) => Ok(Some(Signal::try_from(info.ssi_signo as i32)?)),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read() {
        // On this test's own thread: the mask is per thread, and so is `raise`.
        let signals = Signals::watch(&[Signal::SIGUSR2]).unwrap();
        assert_eq!(signals.next().unwrap(), None);
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        assert_eq!(signals.next().unwrap(), Some(Signal::SIGUSR2));
        assert_eq!(signals.next().unwrap(), None);
    }
}
