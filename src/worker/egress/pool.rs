//! Connections that wait for their next request: of one tenant on one worker.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::config::{Destination, limits};
use crate::worker::stream::{Reader, Writer};

/// How long a connection waits.
const IDLE: Duration = Duration::from_millis(limits::EGRESS_IDLE_MS);

/// A connection with nothing under way.
#[derive(Debug)]
pub struct Connection {
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Writer,
}

/// Those that wait.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<FxHashMap<Destination, Vec<(Instant, Connection)>>>,
    count: Cell<usize>,
    is_swept: Cell<bool>,
    /// Its rules are not in force any more.
    is_closed: Cell<bool>,
}

impl Pool {
    /// The connection that has waited for the shortest time and is still open.
    pub fn take(&self, destination: &Destination) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let waiting = idle.get_mut(destination)?;
        while let Some((since, connection)) = waiting.pop() {
            self.count.set(self.count.get() - 1);
            if since.elapsed() < IDLE && connection.reader.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, unless there are enough.
    pub fn put(self: &Rc<Self>, to: &Destination, connection: Connection) {
        if self.is_closed.get() || self.count.get() >= limits::EGRESS_IDLE_PER_TENANT_MAX {
            return;
        }
        self.count.set(self.count.get() + 1);
        let entry = (Instant::now(), connection);
        let mut idle = self.idle.borrow_mut();
        match idle.get_mut(to) {
            Some(waiting) => waiting.push(entry),
            None => {
                idle.insert(to.clone(), vec![entry]);
            }
        }
        if !self.is_swept.replace(true) {
            monoio::spawn(sweep(Rc::downgrade(self)));
        }
    }

    /// Closes all that wait, and keeps none from now on.
    pub fn close(&self) {
        self.is_closed.set(true);
        self.idle.take();
        self.count.set(0);
    }

    /// Closes those that have waited for too long; whether there are others.
    fn close_old(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, waiting| {
            waiting.retain(|(since, connection)| {
                since.elapsed() < IDLE && connection.reader.is_quiet()
            });
            !waiting.is_empty()
        });
        self.count.set(idle.values().map(Vec::len).sum());
        self.count.get() > 0
    }
}

/// Closes what nobody uses, for as long as something waits.
async fn sweep(pool: Weak<Pool>) {
    loop {
        monoio::time::sleep(IDLE / 2).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.close_old() {
            pool.is_swept.set(false);
            return;
        }
    }
}
