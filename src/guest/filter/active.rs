//! What the host keeps for one instance of a filter, beside what it keeps for any guest.

use bytes::Bytes;
use http::Response;
use wasmtime::{Memory, TypedFunc};

use super::calls::Calls;
use super::exchange::{Exchange, Phase};
use super::metrics::Metrics;

/// The filter's part of a store's data.
#[derive(Default)]
pub(crate) struct Active {
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    /// The guest allocates, called by the host.
    pub(super) allocating: bool,
    /// What the hook sees and changes. It is here while one runs.
    pub(super) exchange: Exchange,
    /// The phase whose hook runs; none while the filter starts and ends.
    pub(super) phase: Option<Phase>,
    /// The filter's configuration.
    pub(super) configuration: Bytes,
    /// The answer that it gives instead of the origin.
    pub(super) answer: Option<Response<Bytes>>,
    /// It wants the connection closed.
    pub(super) closed: bool,
    /// It wants to go on after a pause.
    pub(super) resumed: bool,
    pub(super) calls: Calls,
    pub(super) metrics: Metrics,
}
