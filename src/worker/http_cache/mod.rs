//! The shared cache of one worker for answers of tenants' origins (RFC 9111, 5861, 9211, 9213).
//!
//! Pure state: no clock, no socket, no task. The proxy asks before it asks the origin, and tells what the
//! origin said; who has to wait is woken by a [`Waker`](std::task::Waker), on the one thread there is.
//!
//! ```text
//!  request ─► Tenant::lookup ─┬─► Fresh(Answer) ──────────────────────────────────────► client
//!                             ├─► Stale(Answer, Option<Fill>) ────────────────────────► client
//!                             │                    └─ in the background ─┐
//!                             ├─► Miss(Fill), Revalidate(Fill) ──────────┤
//!                             ├─► Wait(Waiter) ─ .await ─► any but Wait  │
//!                             ├─► Pass(reason) ─► origin as it is        ▼
//!                             ├─► Unavailable ─► 504            origin_headers() ─► origin
//!                             └─► Failed ─► 502, 504                     │
//!                                                                        │
//!       ┌──────── failed(): Option<Answer> ◄──────── no answer ──────────┤
//!       │                                                                ▼
//!       │                ┌─ Store(Answer, Writer) ─► client, and the body: push … finish
//!  502, or stale         ├─ Stored(Answer) ────────► client
//!                        ├─ Again(Fill) ───────────► ask once more          ◄── answered(head)
//!                        └─ Pass { head, … } ──────► client
//! ```
//!
//! A fill that is dropped (its client left) becomes a waiter's; a writer that is dropped tells its readers
//! that the body broke off. So whatever happens to a task, nobody waits for ever.
//!
//! With [`Outcome::Store`], the pump (origin to [`Writer`]) and the client's [`Body`] are two ends of one
//! list: drive both at once, best as two tasks, so that a client that leaves or is slow does not hold up
//! the others. [`Writer::poll_ready`] makes the pump wait only when the body is too large to be stored.
//!
//! To be done by the proxy beside that:
//! * [`Tenant::invalidate`] with the answer to each request that was passed for its method.
//! * [`strip`] on the heads of answers that the cache did not make; [`CacheStatus::value`] on all.
//! * A 304 of its own where [`Outcome::Pass`] says `not_modified`, if it likes.
//!
//! | file | what it decides |
//! |---|---|
//! | `request`, `directives`, `structured`, `list` | what a message says |
//! | `policy` | what is stored, how long it is fresh, when it may be stale |
//! | `vary`, `conditional`, `range`, `reference`, `tags` | for whom it is, what of it, what else it is about |
//! | `tenant`, `lookup` | what a request finds |
//! | `flight`, `fill`, `writer`, `wait`, `reader`, `body` | one answer on its way, and all who want it |
//! | `stored`, `store`, `s3fifo`, `marks`, `worker` | what is kept, and what gives way |
//! | `purge` | what is taken out |
//! | `below` | what is kept on disk, too |
//!
//! Why not the crate `http-cache-semantics` (3.0.0), whose subject `policy` is: it knows directives in lower
//! case only and drops a field line with a byte outside ASCII, so that `No-Store` and `Private` are stored
//! and shared; it takes only the first line of a field that a response varies by; a 304 adds no field; it
//! has no response delay, no dates of RFC 850, no RFC 5861 and 9213; it sends the client's entity tags
//! beside its own; and it keeps two copies of all fields that nobody counts.
//!
//! Kept by tests in `tests/`: freshness is a naive reading of the RFC's (`freshness.rs`), storage is a map
//! that forgets and counts every byte (`model.rs`), nobody is forgotten and nothing left over in any order
//! of events (`swarm.rs`), a purge is never undone (`purge.rs`).

#![forbid(unsafe_code)]

mod below;
mod body;
mod conditional;
mod counters;
mod directives;
mod fill;
mod flight;
mod list;
mod lookup;
mod marks;
mod policy;
mod purge;
mod range;
mod reader;
mod reference;
mod request;
mod s3fifo;
mod status;
mod store;
mod stored;
mod structured;
mod tags;
mod tenant;
#[cfg(test)]
mod tests;
mod time;
mod vary;
mod wait;
mod worker;
mod writer;

pub use below::{Below, Kept, Restored, is_for};
pub use body::Body;
pub use fill::{Fill, ORIGIN_METHOD, OriginHead, Outcome};
pub use lookup::Lookup;
pub use purge::{How, Purge};
pub use request::{PassReason, Request};
pub use status::CacheStatus;
pub use stored::Answer;
pub use tags::strip;
pub use tenant::{Settings, Tenant};
pub use time::Now;
pub use worker::Worker;
pub use writer::{Demand, Writer};
