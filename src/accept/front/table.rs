//! Who answers for a host, and where that worker's mailbox is. Replaced as a whole.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::{HostPattern, Routes};
use crate::sys::Channel;

/// A table in force.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: Routes<Rc<[usize]>>,
    default: Rc<[usize]>,
    mailboxes: BTreeMap<usize, Channel>,
}

impl Table {
    /// The workers that a request for this host may go to. Those of the default cell when nobody
    /// answers for it, or there is none.
    pub(super) fn workers(&self, host: Option<&str>) -> Rc<[usize]> {
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
    routes: Vec<(HostPattern, Rc<[usize]>)>,
    mailboxes: BTreeMap<usize, Channel>,
}

impl Next {
    /// A worker that is there.
    pub(super) fn mailbox(&mut self, worker: usize, mailbox: Channel) {
        self.mailboxes.insert(worker, mailbox);
    }

    /// A tenant's hosts and workers.
    pub(super) fn route(&mut self, hosts: Vec<HostPattern>, workers: Vec<usize>) {
        let workers: Rc<[usize]> = workers.into();
        let routes = hosts.into_iter().map(|host| (host, Rc::clone(&workers)));
        self.routes.extend(routes);
    }

    /// The table; `default` are the workers of the default cell.
    pub(super) fn commit(self, default: Vec<usize>) -> Table {
        Table {
            routes: Routes::new(&self.routes),
            default: default.into(),
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
            assert_eq!(*table.workers(host), *workers, "{host:?}");
        }
        assert!(table.mailbox(0).is_none());
    }
}
