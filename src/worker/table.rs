//! The routing table: which tenant answers for a host, replaced as a whole.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::config::Routes;
use crate::control::{ArtifactMessage, Placed, Purge, owner_of, program_name};
use crate::worker::egress::Network;
use crate::worker::log::Log;
use crate::worker::proxy::Disk;
use crate::worker::tenant::{ProgramCell, Tenant};

/// Tenants by host.
pub type Table = Routes<Rc<Tenant>>;

/// The tenants of a worker: the table in force, the one being made, and the programs.
pub struct Tenants {
    this_worker: usize,
    log: Log,
    network: Rc<Network>,
    in_force: RefCell<Rc<Table>>,
    by_name: RefCell<BTreeMap<String, Rc<Tenant>>>,
    next: RefCell<BTreeMap<String, Placed>>,
    any_elsewhere: Cell<bool>,
    /// The newest generation that was ever in force.
    newest: Cell<u64>,
    /// Programs by tenant and generation: an artifact may arrive before its tenant.
    programs: RefCell<FxHashMap<(String, u64), Rc<ProgramCell>>>,
}

impl Tenants {
    /// No tenants yet.
    pub fn new(this_worker: usize, log: Log, network: Rc<Network>) -> Self {
        Self {
            this_worker,
            log,
            network,
            in_force: RefCell::new(Rc::new(Table::new(&[]))),
            by_name: RefCell::default(),
            next: RefCell::default(),
            any_elsewhere: Cell::new(false),
            newest: Cell::new(0),
            programs: RefCell::default(),
        }
    }

    /// Adds or replaces a tenant in the next table.
    pub fn put(&self, placed: Placed) {
        if let Some(tenant) = self.by_name.borrow().get(&placed.tenant.name) {
            // It has come back.
            tenant.leaving.set(false);
        }
        self.next
            .borrow_mut()
            .insert(placed.tenant.name.clone(), placed);
    }

    /// Removes a tenant from the next table.
    pub fn remove(&self, name: &str) {
        self.next.borrow_mut().remove(name);
    }

    /// Has every answer of a tenant in force end its connection: the client's next one is opened
    /// where the tenant is then.
    pub fn leave(&self, name: &str) {
        if let Some(tenant) = self.by_name.borrow().get(name) {
            tenant.leaving.set(true);
        }
    }

    /// Forgets answers of a tenant's origin; how many, and where some are on disk, too.
    pub fn purge(&self, name: &str, what: &Purge, soft: bool) -> (u64, Option<Rc<Disk>>) {
        let tenants = self.by_name.borrow();
        match tenants.get(name).and_then(|it| it.origin.as_ref()) {
            Some(origin) => (origin.purge(what, soft), origin.disk()),
            None => (0, None),
        }
    }

    /// Puts the next table in force. Requests in flight keep the tenant they started with; an
    /// unchanged tenant keeps its running requests' count.
    pub fn commit(&self) {
        let next = self.next.borrow();
        let mut by_name = self.by_name.borrow_mut();
        by_name.retain(|name, _| next.contains_key(name));
        for (name, placed) in next.iter() {
            let known = by_name.get(name);
            if known.is_some_and(|tenant| tenant.placed == *placed) {
                continue;
            }
            let programs = self.programs_of(placed);
            let tenant = Tenant::new(
                placed.clone(),
                self.this_worker,
                &self.log,
                &self.network,
                programs,
                known.map(|tenant| &**tenant),
            );
            by_name.insert(name.clone(), Rc::new(tenant));
        }
        let newest = next.values().map(|placed| placed.generation).max();
        let newest = newest.unwrap_or(0).max(self.newest.get());
        self.newest.set(newest);
        self.programs.borrow_mut().retain(|(name, generation), _| {
            // An artifact may arrive before its tenant, with a generation that is newer than all.
            next.get(owner_of(name))
                .map_or(*generation > newest, |placed| {
                    *generation >= placed.generation
                })
        });
        let routes: Vec<_> = by_name
            .values()
            .flat_map(|tenant| {
                let hosts = tenant.placed.tenant.hosts.iter();
                hosts.map(move |host| (host.clone(), Rc::clone(tenant)))
            })
            .collect();
        let any_elsewhere = by_name.values().any(|tenant| !tenant.here);
        self.any_elsewhere.set(any_elsewhere);
        self.in_force.replace(Rc::new(Table::new(&routes)));
    }

    /// The tenant that answers for a host.
    pub fn lookup(&self, host: &str) -> Option<Rc<Tenant>> {
        self.in_force.borrow().lookup(host).cloned()
    }

    /// Whether any tenant is served by another worker only.
    pub fn any_elsewhere(&self) -> bool {
        self.any_elsewhere.get()
    }

    /// Takes what the broker says. `fd` is the artifact's, where there is one.
    pub fn artifact(&self, message: ArtifactMessage, fd: Option<std::os::fd::OwnedFd>) {
        match (message, fd) {
            (
                ArtifactMessage::Ready {
                    tenant,
                    generation,
                    flavour,
                    ..
                },
                Some(fd),
            ) => self.program(&tenant, generation).arrived(flavour, fd),
            (
                ArtifactMessage::Rejected {
                    tenant, generation, ..
                },
                _,
            ) => self.program(&tenant, generation).rejected(),
            (ArtifactMessage::Ready { tenant, .. }, None) => {
                tracing::error!("artifact of {tenant} came without its file");
            }
        }
    }

    /// Where those of a tenant are, in the order of its configuration.
    fn programs_of(&self, placed: &Placed) -> Rc<[Rc<ProgramCell>]> {
        let (tenant, generation) = (&placed.tenant, placed.generation);
        match &tenant.origin {
            None => [self.program(&tenant.name, generation)].into(),
            Some(origin) => (0..origin.filters.len())
                .map(|place| self.program(&program_name(&tenant.name, place), generation))
                .collect(),
        }
    }

    fn program(&self, name: &str, generation: u64) -> Rc<ProgramCell> {
        let mut programs = self.programs.borrow_mut();
        Rc::clone(programs.entry((name.to_owned(), generation)).or_default())
    }
}
