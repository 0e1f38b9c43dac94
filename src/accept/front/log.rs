//! Access lines of the connections that the front itself refuses. There are few, so each is sent at
//! once; one that finds the channel full is lost and counted.

use std::cell::{Cell, RefCell};

use crate::config::AccessLog;
use crate::fault::Reason;
use crate::sys::Channel;
use crate::worker::log::{dropped_line, refusal_line};

/// The front's log.
#[derive(Debug)]
pub(super) struct Log {
    channel: RefCell<Channel>,
    access: AccessLog,
    dropped: Cell<u64>,
}

impl Log {
    /// A log to the broker, with lines for the requests that `access` names.
    pub(super) fn new(channel: Channel, access: AccessLog) -> Log {
        Log {
            channel: RefCell::new(channel),
            access,
            dropped: Cell::new(0),
        }
    }

    /// Sends lines somewhere else from now on: the broker was restarted.
    pub(super) fn redirect(&self, channel: Channel) {
        self.channel.replace(channel);
    }

    /// One line about a request that was refused with an answer of this many bytes.
    pub(super) fn refusal(&self, reason: Reason, bytes: u64) {
        if self.access == AccessLog::Off {
            return;
        }
        let channel = self.channel.borrow();
        if channel
            .try_send_bytes(&refusal_line(reason, bytes), &[])
            .is_err()
        {
            self.dropped.set(self.dropped.get() + 1);
        } else if self.dropped.get() > 0
            && channel
                .try_send_bytes(&dropped_line(self.dropped.get()), &[])
                .is_ok()
        {
            self.dropped.set(0);
        }
    }
}
