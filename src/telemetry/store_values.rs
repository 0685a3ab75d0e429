//! The store of shared counters in a snapshot of the metrics.

use super::Times;

/// The store of shared counters.
#[derive(Clone, Debug, Default)]
pub struct StoreValues {
    /// Its nodes.
    pub nodes: Vec<StoreNodeValues>,
    /// Keys of requests, by the mode of counting.
    pub key_operations: Vec<(&'static str, u64)>,
    /// Checks that waited for an answer.
    pub waited: u64,
    /// Checks that were answered without the store: domain, answer and how many.
    pub down: Vec<(String, &'static str, u64)>,
    /// Hits that were leased.
    pub leased_hits: u64,
    /// Leased hits that were given back.
    pub returned_hits: u64,
    /// Leased hits that ended unspent.
    pub lapsed_hits: u64,
    /// Refunds of hits that were dropped.
    pub refunds_dropped: u64,
    /// Times that it may have lost writes.
    pub state_lost: u64,
    /// Whether it may drop counters before they end.
    pub may_evict: bool,
    /// Keys that it has evicted.
    pub evicted: u64,
    /// The replicas that were last heard of.
    pub replicas: u32,
}

/// One node of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreNodeValues {
    /// Where it listens.
    pub node: String,
    /// Whether it is asked.
    pub up: bool,
    /// Requests, by kind.
    pub requests: Vec<(&'static str, u64)>,
    /// Errors, by name.
    pub errors: Vec<(&'static str, u64)>,
    /// How often its breaker opened.
    pub breaker_opened: u64,
    /// How long its requests with charges took.
    pub times: Times,
    /// Its clock less ours, in nanoseconds.
    pub clock_offset_ns: i64,
}
