//! What a lookup finds.
//!
//! ```text
//!  not for a cache ────────────────────────────────────► Pass
//!  stored ─┬─ fresh ───────────────────────────────────► Fresh
//!          ├─ stale, served while the origin is asked ─► Stale, with a fill for the first
//!          └─ to be asked about ─┐
//!  not stored ───────────────────┤
//!                                ├─ only-if-cached ────► Unavailable
//!                                ├─ HEAD, Range ───────► Pass
//!                                ├─ somebody asks ─┬─ the head is here ─► Fresh
//!                                │                 └───► Wait ─► any of these but Wait, or Failed
//!                                ├─ marked ────────────► Pass (hit for miss)
//!                                └─ nobody asks ───────► Revalidate, Miss
//! ```

use std::rc::Rc;

use http::Method;

use super::body::Body;
use super::conditional;
use super::fill::Fill;
use super::flight::{Flight, Phase};
use super::policy::Usability;
use super::request::{Asked, PassReason, Request, is_only_for_itself};
use super::status::{CacheStatus, Forward};
use super::stored::{Answer, Stored};
use super::tenant::{Shared, State, Tenant};
use super::time::Now;
use super::wait::Waiter;

/// What a lookup finds.
#[derive(Debug)]
pub enum Lookup {
    /// An answer that needs no origin.
    Fresh(Answer),
    /// A stale answer to be served now. The fill, if there is one, is to be used beside it, in the
    /// background; if there is none, somebody else asks already, or nobody has to.
    Stale(Answer, Option<Fill>),
    /// Something is stored; ask the origin whether it is still good.
    Revalidate(Fill),
    /// Nothing is stored; ask the origin, for all that come meanwhile.
    Miss(Fill),
    /// Somebody else asks the origin. It becomes any other of these, but this one.
    Wait(Waiter),
    /// Send the request as it is, and the answer back as it is.
    Pass(PassReason),
    /// The client wants only what is stored, and nothing is: 504 (RFC 9111 §5.2.1.7).
    Unavailable,
    /// The one that it waited for got no answer from the origin: nor would this one.
    Failed,
}

/// What becomes of a stored response.
#[allow(clippy::large_enum_variant)] // it lives for a moment
enum Use {
    Done(Lookup),
    /// The origin has to be asked about it.
    Ask(Rc<Stored>, Forward),
}

impl Tenant {
    /// Looks for an answer to a request. A GET with a body that has no `Content-Length`, and what changes
    /// protocols, is not to be asked about.
    pub fn lookup(&self, request: &Request, now: Now) -> Lookup {
        self.0.look(request, now, 0)
    }
}

impl State {
    /// One that a request can join.
    fn joinable(&self, request: &Request, now: Now) -> Option<Rc<Flight>> {
        let flights = self.flights.get(&request.url)?;
        let can_be_joined = |flight: &&Rc<Flight>| {
            let is_open = match flight.phase() {
                Phase::Asking | Phase::Orphaned => true,
                Phase::Growing(head) => flight.is_storing() && head.is_shareable(now),
                _ => false,
            };
            is_open && !flight.is_solo && !flight.is_doomed() && flight.is_for(request)
        };
        flights.iter().find(can_be_joined).cloned()
    }
}

impl Shared {
    /// Looks for an answer; `attempt` counts from 0.
    pub(super) fn look(self: &Rc<Self>, request: &Request, now: Now, attempt: u8) -> Lookup {
        let settings = self.state.borrow().settings;
        let asked = match Asked::read(request, &settings) {
            Ok(asked) => asked,
            Err(reason) => return self.pass(reason),
        };
        let (id, varies) = {
            let state = self.state.borrow();
            let id = state.store.find(&request.url, &request.headers);
            (id, state.store.names(&request.url).is_some())
        };
        let mut forward = match varies {
            true => Forward::VaryMiss,
            false => Forward::UriMiss,
        };
        let mut validating = None;
        if let Some(id) = id {
            match self.use_stored(id, request, &asked, now) {
                Use::Done(lookup) => return lookup,
                Use::Ask(stored, because) => {
                    (validating, forward) = (Some(stored), because);
                }
            }
        }
        if asked.directives.only_if_cached {
            return Lookup::Unavailable;
        }
        if let Some(reason) = is_only_for_itself(request) {
            return self.pass(reason);
        }
        // Everybody who uses such a response has to ask.
        let is_solo = validating
            .as_ref()
            .is_some_and(|stored| stored.head.policy.always_asks());
        if !is_solo {
            let joinable = self.state.borrow().joinable(request, now);
            if let Some(flight) = joinable {
                return self.join(flight, request, now, attempt);
            }
        }
        if validating.is_none() && self.state.borrow().marks.is_set(&request.url, now) {
            return self.pass(PassReason::HitForMiss);
        }
        match self.begin(request, forward, is_solo, validating, now) {
            Some(fill) if fill.is_validating() => Lookup::Revalidate(fill),
            Some(fill) => Lookup::Miss(fill),
            None => self.pass(PassReason::TooManyFills),
        }
    }

    /// Answers with what is stored, where that may be.
    fn use_stored(self: &Rc<Self>, id: usize, request: &Request, asked: &Asked, now: Now) -> Use {
        let (stored, stands_in_until) = {
            let state = self.state.borrow();
            let Some(entry) = state.store.get(id) else {
                return Use::Done(Lookup::Unavailable); // it was found a moment ago
            };
            (Rc::clone(&entry.stored), entry.stands_in_until)
        };
        let policy = &stored.head.policy;
        let usability = policy.usability(&asked.directives, now);
        let ttl_s = policy.ttl_s(now);
        let stands_in = usability == Usability::Validate
            && stands_in_until.is_some_and(|until| now.instant < until)
            && policy.may_stand_in(now);
        if usability == Usability::Validate && !stands_in {
            let because = match ttl_s > 0 {
                true => Forward::Request,
                false => Forward::Stale,
            };
            return Use::Ask(stored, because);
        }
        let status = CacheStatus {
            detail: stands_in.then_some("stale-if-error"),
            ..CacheStatus::hit(ttl_s)
        };
        let answer = match stored.answer(request, now, status) {
            Ok(answer) => answer,
            Err(reason) => return Use::Done(self.pass(reason)),
        };
        let is_fresh = usability == Usability::Fresh;
        self.with(|state| {
            state.store.touch(id);
            match is_fresh {
                true => state.counters.hits += 1,
                false => state.counters.stale += 1,
            }
        });
        if is_fresh {
            return Use::Done(Lookup::Fresh(answer));
        }
        let is_to_ask = usability == Usability::WhileRevalidating
            && self.state.borrow().joinable(request, now).is_none();
        let fill = is_to_ask.then(|| {
            let mut headers = (*request.headers).clone();
            conditional::make_unconditional(&mut headers);
            let request = Request {
                method: Method::GET,
                url: Rc::clone(&request.url),
                headers: Rc::new(headers),
            };
            self.begin(&request, Forward::Stale, false, Some(stored), now)
        });
        Use::Done(Lookup::Stale(answer, fill.flatten()))
    }

    /// Waits for what somebody else fetches, or reads it already.
    fn join(
        self: &Rc<Self>,
        flight: Rc<Flight>,
        request: &Request,
        now: Now,
        attempt: u8,
    ) -> Lookup {
        match flight.phase() {
            Phase::Orphaned => self.adopt(&flight, request),
            Phase::Growing(_) => self.share(&flight, request, now),
            _ => match flight.wait() {
                Some(place) => Lookup::Wait(Waiter::new(
                    Rc::clone(self),
                    flight,
                    place,
                    request.clone(),
                    attempt,
                )),
                None => self.pass(PassReason::TooManyWaiters),
            },
        }
    }

    /// Takes the place of a filler that gave up.
    pub(super) fn adopt(self: &Rc<Self>, flight: &Rc<Flight>, request: &Request) -> Lookup {
        flight.adopt();
        let fill = Fill::new(Rc::clone(self), Rc::clone(flight), request.clone());
        match fill.is_validating() {
            true => Lookup::Revalidate(fill),
            false => Lookup::Miss(fill),
        }
    }

    /// Answers with what a flight fetches, or has fetched.
    pub(super) fn share(
        self: &Rc<Self>,
        flight: &Rc<Flight>,
        request: &Request,
        now: Now,
    ) -> Lookup {
        let collapsed = |status| CacheStatus {
            forward_status: status,
            collapsed: true,
            ..CacheStatus::forwarded(flight.forward)
        };
        let answer = match flight.phase() {
            Phase::Growing(head) | Phase::Complete(head) => {
                let Some(reader) = flight.read() else {
                    return self.pass(PassReason::NotShared);
                };
                let body = |_| Body::growing(reader);
                // The length without which no part can be served is not told.
                let mut answer = head.answer(request, now, None, collapsed(None), body);
                if let Ok(answer) = &mut answer {
                    answer.set_length(head.declared_length);
                }
                answer
            }
            Phase::Settled { stored, status, .. } => stored.answer(request, now, collapsed(status)),
            _ => return self.pass(PassReason::NotShared),
        };
        match answer {
            Ok(answer) => {
                self.with(|state| state.counters.collapsed += 1);
                Lookup::Fresh(answer)
            }
            Err(reason) => self.pass(reason),
        }
    }

    pub(super) fn pass(&self, reason: PassReason) -> Lookup {
        self.with(|state| state.counters.passed += 1);
        Lookup::Pass(reason)
    }
}
