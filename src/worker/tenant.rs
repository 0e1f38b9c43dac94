//! Tenants as a worker knows them: limits, admission, program.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::config::{Compat, HOOKS, limits};
use crate::control::{Flavour, Placed};
use crate::engine::{Engines, Meter, Program};
use crate::fault::Reason;
use crate::guest::{Grants, Outbound, Services, SharedData};
use crate::scheduler::{self, Account};
use crate::worker::admission::Admission;
use crate::worker::core::Core;
use crate::worker::data;
use crate::worker::egress::{Caller, Client, Network};
use crate::worker::log::Log;
use crate::worker::proxy::Origin;
use crate::worker::runtime::within;
use crate::worker::slots::{Holder, Slots, SlotsOf};
use crate::worker::split::{Split, serving};
use crate::worker::tenant_log::TenantLog;

/// A tenant in this worker's routing table.
pub struct Tenant {
    /// What the supervisor said about it.
    pub placed: Placed,
    /// CPU time of one request, in nanoseconds.
    pub cpu_budget_ns: u64,
    /// Whether this worker is one of its workers.
    pub here: bool,
    /// The worker that its requests are handed to when it is not.
    pub elsewhere: usize,
    /// Whether it moves to another cell.
    pub leaving: Cell<bool>,
    /// Where its guests' output and its faults go.
    pub log: Rc<TenantLog>,
    /// Its share of the core.
    pub account: Rc<Account>,
    /// Its share of the slots.
    pub slots: Rc<Holder>,
    /// Sends its requests to others, where it may have any.
    client: Option<Rc<Client>>,
    /// Where its requests are passed on to, if they are.
    pub origin: Option<Rc<Origin>>,
    /// Asks for what the host keeps for it.
    data: Rc<data::Client>,
    current: Version,
    /// What its filters share; a reload leaves it as it is.
    pub shared: Rc<SharedData>,
    /// Serves while the program of `current` is not ready: the version before a reload.
    previous: RefCell<Option<Version>>,
    /// Which of its requests run, and when.
    pub admission: Rc<Admission>,
}

/// A tenant's programs and what their instances may do: a reload changes all at once.
#[derive(Clone, Debug)]
pub struct Version {
    programs: Rc<[Rc<ProgramCell>]>,
    /// When those are called that are filters.
    hooks: Rc<[Hooks]>,
    grants: Arc<Grants>,
}

/// When a filter is called: at which of [`HOOKS`].
pub type Hooks = [bool; HOOKS.len()];

/// The loaded programs that a request needs.
#[derive(Debug)]
pub enum Programs {
    /// The one that answers.
    Guest(Rc<Program>),
    /// Those on the way to the origin, in their order; there may be none.
    Filters(Vec<(Rc<Program>, Hooks)>),
}

impl Programs {
    /// Whether a request keeps its place until its answer is sent: the host holds what comes of it.
    pub fn keep_their_place(&self) -> bool {
        match self {
            Self::Guest(program) => program.answers_whole(),
            Self::Filters(_) => true,
        }
    }

    /// What a request needs of the worker's slots, if it runs anything.
    pub fn slots<'s>(&self, slots: &'s Slots, compat: Compat) -> Option<SlotsOf<'s>> {
        match self {
            Self::Guest(program) => Some(slots.of(program, 1)),
            Self::Filters(filters) => {
                let (first, _) = filters.first()?;
                // At Gcore, an instance ends with its hook.
                let count = match compat {
                    Compat::Fastedge => 1,
                    Compat::None => filters.len(),
                };
                Some(slots.of(first, count))
            }
        }
    }
}

/// Loaded programs and what their instances may do.
pub type Runnable = (Programs, Arc<Grants>);

impl Tenant {
    /// A tenant whose programs come from `programs`, and until then from those of `known`, the one before
    /// a reload: what that uses of the worker stays charged to it.
    pub fn new(
        placed: Placed,
        this_worker: usize,
        log: &Log,
        network: &Rc<Network>,
        programs: Rc<[Rc<ProgramCell>]>,
        known: Option<&Self>,
    ) -> Self {
        let limits = &placed.tenant.limits;
        let share = &placed.tenant.share;
        let account = known.map_or_else(Rc::default, |it| Rc::clone(&it.account));
        account.configure(share.weight, share.cpu_share_max_permille);
        let serving = serving(&placed.workers, limits);
        let here = serving.contains(&this_worker);
        let split = Split::of(this_worker, serving);
        let grants = Grants::of(&placed.tenant);
        let filters = placed.tenant.origin.iter().flat_map(|it| &it.filters);
        let hooks = filters.map(|filter| filter.on).collect();
        // Programs of one kind cannot do what the other kind does.
        let is_origin = placed.tenant.origin.is_some();
        let previous = known.filter(|known| known.origin.is_some() == is_origin);
        let client = known.and_then(|known| known.client.as_ref());
        let origin = known.and_then(|known| known.origin.as_deref());
        let data = data::Client::new(&network.data, &placed.tenant.name);
        Self {
            client: Client::of_guests(network, &placed.tenant, &account, split, client),
            origin: Origin::of(
                network,
                &placed.tenant,
                &account,
                (split, here),
                &data,
                origin,
            )
            .map(Rc::new),
            data,
            cpu_budget_ns: limits.cpu_ms * 1_000_000,
            here,
            // Requests that arrive here are spread over the tenant's workers by where they arrive.
            elsewhere: serving[this_worker % serving.len()],
            leaving: Cell::new(false),
            log: TenantLog::new(log, &placed.tenant.name, limits, split),
            account,
            slots: known.map_or_else(Rc::default, |it| Rc::clone(&it.slots)),
            current: Version {
                programs,
                hooks,
                grants: Arc::new(grants),
            },
            previous: RefCell::new(previous.and_then(Self::serving)),
            shared: known.map_or_else(Rc::default, |it| Rc::clone(&it.shared)),
            admission: Admission::new(limits, split),
            placed,
        }
    }

    /// The tenant's name.
    pub fn name(&self) -> &str {
        &self.placed.tenant.name
    }

    /// What sends a new request's requests to others.
    pub fn outbound(&self) -> Option<Rc<dyn Outbound>> {
        let client = Rc::clone(self.client.as_ref()?);
        let bytes = self.placed.tenant.limits.subrequest_bytes;
        Some(Caller::new(client, bytes))
    }

    /// What the host keeps for the tenant.
    pub fn services(&self) -> Option<Rc<dyn Services>> {
        Some(Rc::clone(&self.data) as _)
    }

    /// The wall time of one request.
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.placed.tenant.limits.wall_ms)
    }

    /// The tenant's program and what its instances may do: loads it when this is the first request,
    /// waits for the compiler while there is none yet.
    ///
    /// # Errors
    /// [`Reason::Compiling`] when it is not there in time or too many wait already,
    /// [`Reason::ComponentRejected`] when there will be none, [`Reason::NoSlot`] when its turn to be
    /// loaded did not come in time.
    pub async fn program(&self, core: &Core) -> Result<Runnable, Reason> {
        if !self.has_to_load()
            && let Some(known) = self.known_program(&core.engines)
        {
            return known;
        }
        let waiting = core.compile_waiters.try_acquire();
        let _waiting = waiting.ok_or(Reason::Compiling)?;
        if !self.has_to_load() {
            let wait = Duration::from_millis(limits::ARTIFACT_WAIT_MS).min(self.wall());
            within(wait, self.current.settled()).await;
        }
        if self.has_to_load() {
            // It takes longer than a small request: when many load at once, each waits for its turn.
            let arrive = scheduler::arrive(&self.account);
            let late = match self.account.is_capped() {
                true => Reason::QueueTimeout,
                false => Reason::NoSlot,
            };
            within(self.wall(), arrive).await.ok_or(late)?;
            let meter = Meter::new(Rc::clone(&self.account), self.cpu_budget_ns);
            meter.charge(|| self.known_program(&core.engines));
        }
        self.known_program(&core.engines)
            .unwrap_or(Err(Reason::Compiling))
    }

    /// Whether the program that serves next is there, and not loaded.
    fn has_to_load(&self) -> bool {
        let previous = self.previous.borrow();
        self.current.is_artifact() || previous.as_ref().is_some_and(Version::is_artifact)
    }

    /// The version that serves this tenant now, if there is one: what a reload keeps.
    pub fn serving(&self) -> Option<Version> {
        if self.current.is_there() {
            Some(self.current.clone())
        } else {
            self.previous.borrow().clone()
        }
    }

    /// The programs of a version, loading those whose artifact is here. `None`: not yet.
    fn get(&self, version: &Version, engines: &Engines) -> Option<Result<Runnable, Reason>> {
        let programs = match (&self.origin, &*version.programs) {
            (None, [program]) => match program.get(engines, self.name())? {
                Ok(program) => Programs::Guest(program),
                Err(reason) => return Some(Err(reason)),
            },
            (_, programs) => {
                if programs.iter().any(|it| it.is_expected()) {
                    return None;
                }
                let loaded = programs.iter().map(|it| it.get(engines, self.name()));
                let loaded: Option<Result<Vec<_>, _>> = loaded.collect();
                match loaded? {
                    Ok(filters) => {
                        let hooks = version.hooks.iter().copied();
                        Programs::Filters(filters.into_iter().zip(hooks).collect())
                    }
                    Err(reason) => return Some(Err(reason)),
                }
            }
        };
        Some(Ok((programs, Arc::clone(&version.grants))))
    }

    fn known_program(&self, engines: &Engines) -> Option<Result<Runnable, Reason>> {
        let current = self.get(&self.current, engines);
        let mut previous = self.previous.borrow_mut();
        if let Some(Ok(_)) = current {
            *previous = None; // unmapped with its last request
        }
        let previous = previous.as_ref().and_then(|it| self.get(it, engines));
        previous.filter(Result::is_ok).or(current)
    }
}

impl Version {
    /// Waits until something was heard of each of its programs.
    async fn settled(&self) {
        for program in &*self.programs {
            program.settled().await;
        }
    }

    /// Whether they all can be served, and one is still to be loaded.
    fn is_artifact(&self) -> bool {
        self.is_there() && self.programs.iter().any(|it| it.is_artifact())
    }

    /// Whether they all can be served, loaded or not.
    fn is_there(&self) -> bool {
        self.programs.iter().all(|it| it.is_there())
    }
}

/// Where a tenant's program is on its way from the compiler to this worker.
#[derive(Debug, Default)]
pub struct ProgramCell {
    stage: RefCell<Stage>,
    /// Those who wait, while they wait.
    waiting: RefCell<Vec<Weak<RefCell<Waker>>>>,
}

#[derive(Default)]
enum Stage {
    /// Nothing was heard of it yet.
    #[default]
    Expected,
    /// Verified and on disk; not mapped yet.
    Artifact(Flavour, OwnedFd),
    /// Mapped and linked.
    Loaded(Rc<Program>),
    /// There will be none.
    Rejected,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Expected => "Expected",
            Self::Artifact(..) => "Artifact",
            Self::Loaded(_) => "Loaded",
            Self::Rejected => "Rejected",
        })
    }
}

impl ProgramCell {
    /// The broker has the artifact. It says so again when it was restarted.
    pub fn arrived(&self, flavour: Flavour, fd: OwnedFd) {
        if !matches!(*self.stage.borrow(), Stage::Loaded(_)) {
            self.settle(Stage::Artifact(flavour, fd));
        }
    }

    /// The broker has refused the component.
    pub fn rejected(&self) {
        self.settle(Stage::Rejected);
    }

    fn settle(&self, stage: Stage) {
        self.stage.replace(stage);
        for waiter in self.waiting.take() {
            if let Some(waker) = waiter.upgrade() {
                waker.borrow().wake_by_ref();
            }
        }
    }

    /// Whether nothing was heard of it yet.
    fn is_expected(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Expected)
    }

    /// Whether the program is still to be loaded.
    fn is_artifact(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Artifact(..))
    }

    /// Whether the program can be served, loaded or not.
    fn is_there(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Artifact(..) | Stage::Loaded(_))
    }

    /// The program, loading it when its artifact is here. `None`: not yet.
    fn get(&self, engines: &Engines, tenant: &str) -> Option<Result<Rc<Program>, Reason>> {
        let mut stage = self.stage.borrow_mut();
        if let Stage::Artifact(flavour, fd) = &*stage {
            match engines.load(*flavour, fd.as_fd()) {
                Ok(program) => *stage = Stage::Loaded(Rc::new(program)),
                Err(error) => {
                    tracing::error!("tenant {tenant} is rejected: {error}");
                    *stage = Stage::Rejected;
                }
            }
        }
        match &*stage {
            Stage::Loaded(program) => Some(Ok(Rc::clone(program))),
            Stage::Rejected => Some(Err(Reason::ComponentRejected)),
            Stage::Expected | Stage::Artifact(..) => None,
        }
    }

    /// Waits until something was heard of it.
    async fn settled(&self) {
        let mut waiter: Option<Rc<RefCell<Waker>>> = None;
        poll_fn(|cx| {
            if !matches!(*self.stage.borrow(), Stage::Expected) {
                return Poll::Ready(());
            }
            match &waiter {
                Some(waker) => waker.borrow_mut().clone_from(cx.waker()),
                None => {
                    let waker = Rc::new(RefCell::new(cx.waker().clone()));
                    let mut waiting = self.waiting.borrow_mut();
                    waiting.retain(|other| other.strong_count() > 0);
                    waiting.push(Rc::downgrade(&waker));
                    waiter = Some(waker);
                }
            }
            Poll::Pending
        })
        .await;
    }
}
