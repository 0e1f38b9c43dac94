//! What a tenant's cache has done.

/// Counted from the beginning, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests answered from what was fresh.
    pub hits: u64,
    /// Requests for which an answer was fetched because none was stored.
    pub misses: u64,
    /// Requests answered from what was stale.
    pub stale: u64,
    /// Stored responses that the origin said are still good.
    pub revalidated: u64,
    /// Requests that were answered with what another one fetched.
    pub collapsed: u64,
    /// Requests that went to the origin as they were.
    pub passed: u64,
    /// Responses that were stored.
    pub stored: u64,
    /// Responses that gave way to others.
    pub evicted: u64,
    /// Responses that were purged, or made stale.
    pub purged: u64,
    /// Of what is stored, and of what is being fetched to be.
    pub bytes: u64,
    /// Responses that are stored.
    pub entries: u64,
}
