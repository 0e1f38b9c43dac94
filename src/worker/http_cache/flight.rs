//! One answer on its way from the origin, and all who want it.
//!
//! ```text
//!            ┌────────── the filler gave up ──────────► Orphaned ─ a waiter, or the next lookup ─┐
//!            │                                                                                  ▼
//!  begin ─► Asking ─ a head that is stored ─► Growing ─ finish ─► Complete                    Asking
//!            │                                   └── the origin broke off ─► Aborted
//!            ├─ a 304, or an error with a stand-in ─► Settled: a stored response
//!            ├─ a head that is not to be stored ────► Passed: every waiter asks for itself, at once
//!            └─ no answer ──────────────────────────► Failed: every waiter knows
//! ```
//!
//! The body is a list of pieces that all readers share, each at its own place. When it turns out to be too
//! large to be stored, nobody joins any more, and the list is a window: pieces that all have read are let
//! go, and who writes waits for the slowest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::StatusCode;
use slab::Slab;

use super::body::Aborted;
use super::reader::Reader;
use super::request::Request;
use super::status::Forward;
use super::stored::{Head, Stored, joined};
use super::time::Now;
use super::vary::{self, Names};
use crate::config::limits::{
    HTTP_CACHE_PURGED_TAGS_MAX, HTTP_CACHE_WAITERS_MAX, HTTP_CACHE_WINDOW_BYTES,
};

/// How far it is. The diagram above has it.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Asking,
    Orphaned,
    Growing(Rc<Head>),
    Complete(Rc<Head>),
    Settled {
        stored: Rc<Stored>,
        /// The origin's.
        status: Option<StatusCode>,
        stands_in: bool,
    },
    Passed,
    Failed,
    Aborted,
}

/// See above.
#[derive(Debug)]
pub(super) struct Flight {
    /// The filler's.
    pub(super) request: Request,
    pub(super) forward: Forward,
    /// When it began: the origin was asked no earlier.
    pub(super) begun: Now,
    /// Nobody joins it: what it fetches may not be shared.
    pub(super) is_solo: bool,
    /// What answers for this URL varied by, as far as was known.
    names: Option<Names>,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The stored response that the origin is asked about.
    validating: Option<Rc<Stored>>,
    /// When the last thing happened.
    now: Now,
    waiters: Slab<Option<Waker>>,
    readers: Slab<ReaderState>,
    chunks: VecDeque<Bytes>,
    /// How many pieces before those were let go.
    dropped: usize,
    /// Of `chunks`.
    held_bytes: u64,
    /// Of all pieces, those let go included.
    length: u64,
    /// Whether all pieces are kept.
    is_storing: bool,
    writer: Option<Waker>,
    /// It was purged: not to be stored.
    is_doomed: bool,
    purged_tags: Vec<Rc<str>>,
}

#[derive(Debug, Default)]
struct ReaderState {
    /// The number of the piece that is next.
    next: usize,
    waker: Option<Waker>,
}

impl Flight {
    pub(super) fn new(
        request: Request,
        forward: Forward,
        is_solo: bool,
        names: Option<Names>,
        validating: Option<Rc<Stored>>,
        now: Now,
    ) -> Rc<Self> {
        Rc::new(Self {
            request,
            forward,
            begun: now,
            is_solo,
            names,
            state: RefCell::new(State {
                phase: Phase::Asking,
                validating,
                now,
                waiters: Slab::new(),
                readers: Slab::new(),
                chunks: VecDeque::new(),
                dropped: 0,
                held_bytes: 0,
                length: 0,
                is_storing: true,
                writer: None,
                is_doomed: false,
                purged_tags: Vec::new(),
            }),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.state.borrow().phase.clone()
    }

    pub(super) fn validating(&self) -> Option<Rc<Stored>> {
        self.state.borrow().validating.clone()
    }

    /// The origin is asked about this one.
    pub(super) fn validate(&self, stored: &Rc<Stored>) {
        self.state.borrow_mut().validating = Some(Rc::clone(stored));
    }

    /// The origin is asked without conditions.
    pub(super) fn validate_nothing(&self) {
        self.state.borrow_mut().validating = None;
    }

    /// When the last thing happened to it.
    pub(super) fn now(&self) -> Now {
        self.state.borrow().now
    }

    /// Whether what it fetches is, as far as is known, for such a request, too.
    pub(super) fn is_for(&self, request: &Request) -> bool {
        if let Phase::Growing(head) | Phase::Complete(head) = &self.state.borrow().phase {
            return head.selection.matches(&request.headers);
        }
        let same = |names| vary::same(names, &self.request.headers, &request.headers);
        self.names.as_ref().is_none_or(same)
    }

    /// By what its answer varies, if that is known.
    pub(super) fn names(&self) -> Option<Names> {
        match &self.state.borrow().phase {
            Phase::Growing(head) => Some(Rc::clone(&head.selection.names)),
            _ => self.names.clone(),
        }
    }

    /// Goes on to another phase; everybody is woken.
    pub(super) fn go(&self, phase: Phase, now: Option<Now>) {
        let mut wakers = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            state.phase = phase;
            state.now = now.unwrap_or(state.now);
            wakers.extend(
                state
                    .waiters
                    .iter_mut()
                    .filter_map(|(_, waker)| waker.take()),
            );
            let readers = state.readers.iter_mut();
            wakers.extend(readers.filter_map(|(_, reader)| reader.waker.take()));
        }
        // Not while it is borrowed: who is woken may look.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The filler gave up: one waiter is woken to take its place. Whether there is one.
    pub(super) fn orphan(&self) -> bool {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.phase = Phase::Orphaned;
            if state.waiters.is_empty() {
                return false;
            }
            let first = state.waiters.iter_mut().find(|(_, waker)| waker.is_some());
            first.and_then(|(_, waker)| waker.take())
        };
        // One without a waker was woken already, or was not polled yet: it looks by itself.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Somebody asks the origin again.
    pub(super) fn adopt(&self) {
        self.state.borrow_mut().phase = Phase::Asking;
    }

    /// A place for one more that waits, if there is one.
    pub(super) fn wait(&self) -> Option<usize> {
        let mut state = self.state.borrow_mut();
        (state.waiters.len() < HTTP_CACHE_WAITERS_MAX).then(|| state.waiters.insert(None))
    }

    pub(super) fn set_waker(&self, place: usize, waker: &Waker) {
        if let Some(slot) = self.state.borrow_mut().waiters.get_mut(place) {
            *slot = Some(waker.clone());
        }
    }

    /// Leaves a place. Whether that leaves an orphan that nobody waits for; if others do, one is woken.
    pub(super) fn leave(&self, place: usize) -> bool {
        let is_orphaned = {
            let mut state = self.state.borrow_mut();
            state.waiters.try_remove(place);
            matches!(state.phase, Phase::Orphaned)
        };
        is_orphaned && !self.orphan()
    }

    /// Marks it as purged.
    pub(super) fn doom(&self) {
        self.state.borrow_mut().is_doomed = true;
    }

    /// Marks it as purged if it has the tag, as soon as that is known. Whether it is now.
    pub(super) fn doom_tag(&self, tag: &str) -> bool {
        let mut state = self.state.borrow_mut();
        let has_tag = |tags: &[Rc<str>]| tags.iter().any(|other| **other == *tag);
        match &state.phase {
            Phase::Growing(head) => state.is_doomed |= has_tag(&head.tags),
            _ if state.purged_tags.len() >= HTTP_CACHE_PURGED_TAGS_MAX => state.is_doomed = true,
            _ if has_tag(&state.purged_tags) => {}
            _ => {
                let of_old = state.validating.as_ref();
                let is_old = of_old.is_some_and(|stored| has_tag(&stored.head.tags));
                state.is_doomed |= is_old;
                state.purged_tags.push(tag.into());
            }
        }
        state.is_doomed
    }

    pub(super) fn is_doomed(&self) -> bool {
        self.state.borrow().is_doomed
    }

    /// Whether a head with these tags was purged while it was on its way.
    pub(super) fn is_purged(&self, tags: &[Rc<str>]) -> bool {
        let state = self.state.borrow();
        state.is_doomed || state.purged_tags.iter().any(|tag| tags.contains(tag))
    }

    /// Adds a piece of the body.
    pub(super) fn append(&self, chunk: Bytes) {
        let wakers: Vec<Waker> = {
            let mut state = self.state.borrow_mut();
            state.held_bytes += chunk.len() as u64;
            state.length += chunk.len() as u64;
            state.chunks.push_back(chunk);
            state.trim();
            let readers = state.readers.iter_mut();
            readers
                .filter_map(|(_, reader)| reader.waker.take())
                .collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_storing(&self) -> bool {
        self.state.borrow().is_storing
    }

    /// From now on, pieces that all have read are let go.
    pub(super) fn stop_storing(&self) {
        let mut state = self.state.borrow_mut();
        state.is_storing = false;
        state.trim();
    }

    /// Bytes of the body up to now.
    pub(super) fn length(&self) -> u64 {
        self.state.borrow().length
    }

    /// The whole body, as it is stored.
    pub(super) fn body(&self) -> Rc<[Bytes]> {
        joined(self.state.borrow().chunks.iter())
    }

    /// Whether anybody reads it or is about to.
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state.borrow();
        !state.readers.is_empty() || !state.waiters.is_empty()
    }

    /// Ready when the readers are not too far behind.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.is_storing || state.held_bytes < HTTP_CACHE_WINDOW_BYTES {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Reads from the beginning, if that is still there.
    pub(super) fn read(self: &Rc<Self>) -> Option<Reader> {
        let mut state = self.state.borrow_mut();
        (state.dropped == 0).then(|| {
            Reader::new(
                Rc::clone(self),
                state.readers.insert(ReaderState::default()),
            )
        })
    }

    /// The next piece for the reader of this place.
    pub(super) fn poll_chunk(
        &self,
        place: usize,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        let (polled, writer) = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            let Some(reader) = state.readers.get_mut(place) else {
                return Poll::Ready(None);
            };
            match state.chunks.get(reader.next - state.dropped) {
                Some(chunk) => {
                    let chunk = chunk.clone();
                    reader.next += 1;
                    state.trim();
                    (Poll::Ready(Some(Ok(chunk))), state.take_writer())
                }
                None => match state.phase {
                    Phase::Complete(_) => (Poll::Ready(None), None),
                    Phase::Growing(_) => {
                        reader.waker = Some(cx.waker().clone());
                        (Poll::Pending, None)
                    }
                    _ => (Poll::Ready(Some(Err(Aborted))), None),
                },
            }
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        polled
    }

    /// A reader leaves its place.
    pub(super) fn stop_reading(&self, place: usize) {
        let writer = {
            let mut state = self.state.borrow_mut();
            state.readers.try_remove(place);
            state.trim();
            state.take_writer()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl State {
    /// Lets go what all readers have read, unless it is to be stored.
    fn trim(&mut self) {
        if self.is_storing {
            return;
        }
        let slowest = self.readers.iter().map(|(_, reader)| reader.next).min();
        let end = self.dropped + self.chunks.len();
        for _ in self.dropped..slowest.unwrap_or(end) {
            if let Some(chunk) = self.chunks.pop_front() {
                self.held_bytes -= chunk.len() as u64;
                self.dropped += 1;
            }
        }
    }

    fn take_writer(&mut self) -> Option<Waker> {
        match self.held_bytes < HTTP_CACHE_WINDOW_BYTES {
            true => self.writer.take(),
            false => None,
        }
    }
}
