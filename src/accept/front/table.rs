//! Who answers for a host, and where that worker's mailbox is. Replaced as a whole.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::{HostPattern, Routes};
use crate::sys::Channel;

/// The workers of one tenant, or of the default cell.
#[derive(Debug, Default)]
pub(super) struct Workers {
    places: Vec<usize>,
    turn: Cell<usize>,
}

impl Workers {
    fn new(places: Vec<usize>) -> Rc<Workers> {
        Rc::new(Workers {
            places,
            turn: Cell::new(0),
        })
    }

    /// All of them, in the order in which to try them for a connection: each comes first in turn.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = usize> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (later, first) = self.places.split_at(turn % self.places.len().max(1));
        first.iter().chain(later).copied()
    }
}

/// A table in force.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: Routes<Rc<Workers>>,
    default: Rc<Workers>,
    mailboxes: BTreeMap<usize, Channel>,
}

impl Table {
    /// The workers that a request for this host may go to. Those of the default cell when nobody
    /// answers for it, or there is none.
    pub(super) fn workers(&self, host: Option<&str>) -> Rc<Workers> {
        let found = host.and_then(|host| self.routes.lookup(host));
        Rc::clone(found.unwrap_or(&self.default))
    }

    /// The sending end of a worker's mailbox.
    pub(super) fn mailbox(&self, worker: usize) -> Option<&Channel> {
        self.mailboxes.get(&worker)
    }
}

/// A table in the making.
#[derive(Debug, Default)]
pub(super) struct Next {
    routes: Vec<(HostPattern, Rc<Workers>)>,
    mailboxes: BTreeMap<usize, Channel>,
}

impl Next {
    /// A worker that is there.
    pub(super) fn mailbox(&mut self, worker: usize, mailbox: Channel) {
        self.mailboxes.insert(worker, mailbox);
    }

    /// A tenant's hosts and workers.
    pub(super) fn route(&mut self, hosts: Vec<HostPattern>, workers: Vec<usize>) {
        let workers = Workers::new(workers);
        let routes = hosts.into_iter().map(|host| (host, Rc::clone(&workers)));
        self.routes.extend(routes);
    }

    /// The table; `default` are the workers of the default cell.
    pub(super) fn commit(self, default: Vec<usize>) -> Table {
        Table {
            routes: Routes::new(&self.routes),
            default: Workers::new(default),
            mailboxes: self.mailboxes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hosts_are_the_default_cells() {
        let mut next = Next::default();
        let hosts = ["a.test", "*.a.test"].map(|host| HostPattern::parse(host).unwrap());
        next.route(hosts.to_vec(), vec![2, 3]);
        next.route(vec![HostPattern::parse("b.test").unwrap()], vec![1]);
        let table = next.commit(vec![0, 1]);
        let cases: [(Option<&str>, &[usize]); 6] = [
            (Some("a.test"), &[2, 3]),
            (Some("x.y.a.test"), &[2, 3]),
            (Some("b.test"), &[1]),
            (Some("c.test"), &[0, 1]),
            (Some(""), &[0, 1]),
            (None, &[0, 1]),
        ];
        for (host, workers) in cases {
            assert_eq!(table.workers(host).places, workers, "{host:?}");
        }
        // A tenant's workers take turns, whoever else is asked for in between.
        let first = |host| table.workers(Some(host)).in_turn().next();
        let firsts: Vec<_> = (0..4).map(|_| (first("a.test"), first("b.test"))).collect();
        let expected = [2, 3, 2, 3].map(|a| (Some(a), Some(1)));
        assert_eq!(firsts, expected);
        assert!(table.mailbox(0).is_none());
    }
}
