//! The cache of one tenant on one worker: what it has, and what that counts.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::below::Below;
use super::counters::Counters;
use super::fill::Fill;
use super::flight::Flight;
use super::marks::Marks;
use super::request::Request;
use super::status::Forward;
use super::store::Store;
use super::stored::Stored;
use super::time::Now;
use super::worker::Common;
use crate::config::limits::{
    HTTP_CACHE_DISK_OBJECT_BYTES_MAX, HTTP_CACHE_ERROR_PAUSE_MS, HTTP_CACHE_FILLS_MAX,
};
use crate::data::http_cache::Which;

/// What a tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of the whole cache, in bytes; 0: there is none.
    pub bytes_max: u64,
    /// Of the body of one stored response.
    pub object_bytes_max: u64,
    /// Whether a client's `Cache-Control` and `Pragma` count. RFC 9111 §5.2.1 has them advisory: without
    /// them, clients cannot have the origin asked for what is fresh.
    pub client_directives: bool,
}

/// The cache of one tenant. Cloning it copies nothing.
#[derive(Clone)]
pub struct Tenant(pub(super) Rc<Shared>);

/// What a tenant's fills and waiters hold on to.
pub(super) struct Shared {
    common: Rc<Common>,
    pub(super) state: RefCell<State>,
    /// What is kept on disk, too.
    pub(super) below: RefCell<Option<Rc<dyn Below>>>,
    /// The bytes that `common` knows of.
    reported: Cell<u64>,
}

pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) store: Store,
    /// All that are under way.
    pub(super) flights: HashMap<Rc<str>, Vec<Rc<Flight>>>,
    fills: usize,
    /// Of bodies that are on their way.
    filling_bytes: u64,
    pub(super) marks: Marks,
    pub(super) counters: Counters,
}

impl Tenant {
    pub(super) fn new(common: &Rc<Common>, settings: Settings) -> Self {
        Self(Rc::new(Shared {
            common: Rc::clone(common),
            state: RefCell::new(State {
                settings,
                store: Store::default(),
                flights: HashMap::new(),
                fills: 0,
                filling_bytes: 0,
                marks: Marks::default(),
                counters: Counters::default(),
            }),
            below: RefCell::default(),
            reported: Cell::new(0),
        }))
    }

    /// Changes what it may have. What is too much is evicted at once.
    pub fn set(&self, settings: Settings) {
        self.0.with(|state| {
            state.settings = settings;
            state
                .store
                .make_room(state.filling_bytes, settings.bytes_max);
        });
    }

    /// What it has done, and what it has.
    pub fn counters(&self) -> Counters {
        let state = self.0.state.borrow();
        Counters {
            evicted: state.store.evictions(),
            bytes: state.bytes(),
            entries: state.store.len() as u64,
            ..state.counters
        }
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.store.bytes() + self.filling_bytes
    }

    /// By what answers for a URL vary, as far as is known.
    fn names(&self, key: &str) -> Option<super::vary::Names> {
        let flights = self.flights.get(key);
        let growing = flights.and_then(|flights| flights.iter().rev().find_map(|it| it.names()));
        growing.or_else(|| self.store.names(key))
    }
}

impl Shared {
    /// Changes the state, and tells the worker how many bytes it has then. Nobody may be woken within.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, bytes) = {
            let mut state = self.state.borrow_mut();
            let result = change(&mut state);
            (result, state.bytes())
        };
        self.common.change(self.reported.replace(bytes), bytes);
        result
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.state.borrow().store.bytes()
    }

    /// Evicts so many bytes, or a little more; whether it evicted any.
    pub(super) fn give(&self, bytes: u64) -> bool {
        self.with(|state| {
            let before = state.store.bytes();
            let bytes_max = state.settings.bytes_max;
            while before - state.store.bytes() < bytes && state.store.evict(bytes_max) {}
            state.store.bytes() < before
        })
    }

    /// Makes room for so many bytes of a body on its way, and counts them; whether they fit.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let fits = self.with(|state| {
            let filling_bytes = state.filling_bytes + bytes;
            let bytes_max = state.settings.bytes_max;
            let fits = state.store.make_room(filling_bytes, bytes_max);
            state.filling_bytes += if fits { bytes } else { 0 };
            fits
        });
        if fits && !self.common.make_room() {
            self.release(bytes);
            return false;
        }
        fits
    }

    pub(super) fn release(&self, bytes: u64) {
        self.with(|state| state.filling_bytes -= bytes);
    }

    /// Stores a response, in the place of `replaced` where that is the same but for its fields. Whether it is
    /// stored.
    pub(super) fn store(
        &self,
        key: &Rc<str>,
        stored: &Rc<Stored>,
        replaced: Option<&Rc<Stored>>,
    ) -> bool {
        let is_stored = self.with(|state| {
            let bytes_max = state.settings.bytes_max.saturating_sub(state.filling_bytes);
            if let Some(replaced) = replaced {
                match state.store.find_stored(key, replaced) {
                    Some(id) if state.store.refresh(id, stored, bytes_max) => return true,
                    Some(id) => state.store.remove(id),
                    // Another one came meanwhile; the origin was not asked about that.
                    None if state.store.has_other(key, stored) => return false,
                    None => {} // it was evicted
                }
            }
            state.store.insert(key, Rc::clone(stored), bytes_max)
        });
        self.common.make_room();
        is_stored
    }

    /// Stores what was found below, unless another one came meanwhile.
    pub(super) fn restore(&self, key: &Rc<str>, stored: &Rc<Stored>) {
        if !self.state.borrow().store.has_other(key, stored) {
            self.store(key, stored, None);
        }
    }

    /// Keeps below, too, what was stored. `sent` is when the origin was asked.
    pub(super) fn keep_below(&self, key: &str, stored: &Stored, sent: Now) {
        let is_small = stored.length <= HTTP_CACHE_DISK_OBJECT_BYTES_MAX;
        match &*self.below.borrow() {
            Some(below) if is_small => below.keep(key, stored.to_object(sent)),
            Some(below) => below.forget(Which::Url(key.to_owned())),
            None => {}
        }
    }

    /// What is not so any more is not so below, either.
    pub(super) fn forget_below(&self, which: impl FnOnce() -> Which) {
        if let Some(below) = &*self.below.borrow() {
            below.forget(which());
        }
    }

    /// For a short time this one stands in for errors without the origin being asked.
    pub(super) fn stand_in(&self, key: &str, stored: &Rc<Stored>, now: Now) {
        self.with(|state| {
            state.counters.stale += 1;
            let id = state.store.find_stored(key, stored);
            if let Some(entry) = id.and_then(|id| state.store.get_mut(id)) {
                let pause = Duration::from_millis(HTTP_CACHE_ERROR_PAUSE_MS);
                entry.stands_in_until = Some(now.instant + pause);
            }
        });
    }

    /// A flight is over.
    pub(super) fn land(&self, flight: &Rc<Flight>) {
        self.with(|state| {
            let Some(flights) = state.flights.get_mut(&flight.request.url) else {
                return;
            };
            let before = flights.len();
            flights.retain(|other| !Rc::ptr_eq(other, flight));
            state.fills -= before - flights.len();
            if flights.is_empty() {
                state.flights.remove(&flight.request.url);
            }
        });
    }

    /// Somebody is to ask the origin; `None`: too many do.
    pub(super) fn begin(
        self: &Rc<Self>,
        request: &Request,
        forward: Forward,
        is_solo: bool,
        validating: Option<Rc<Stored>>,
        now: Now,
    ) -> Option<Fill> {
        let flight = self.with(|state| {
            if state.fills >= HTTP_CACHE_FILLS_MAX {
                return None;
            }
            state.fills += 1;
            state.counters.misses += u64::from(validating.is_none());
            let names = state.names(&request.url);
            let flight = Flight::new(request.clone(), forward, is_solo, names, validating, now);
            let flights = state.flights.entry(Rc::clone(&request.url)).or_default();
            flights.push(Rc::clone(&flight));
            Some(flight)
        })?;
        Some(Fill::new(Rc::clone(self), flight, request.clone()))
    }

    /// Bytes that are counted are those that there are, and nothing is under way or all of it is known.
    #[cfg(test)]
    pub(super) fn check(&self, is_idle: bool) {
        let state = self.state.borrow();
        state.store.check();
        assert!(state.bytes() <= state.settings.bytes_max);
        assert_eq!(self.reported.get(), state.bytes());
        assert_eq!(
            state.flights.values().map(Vec::len).sum::<usize>(),
            state.fills
        );
        assert!(state.fills <= HTTP_CACHE_FILLS_MAX);
        if is_idle {
            assert_eq!((state.fills, state.filling_bytes), (0, 0));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.common.change(self.reported.get(), 0);
    }
}

impl std::fmt::Debug for Tenant {
    /// Without keys and fields: they are the tenant's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant")
            .field("bytes", &self.reported)
            .finish_non_exhaustive()
    }
}
