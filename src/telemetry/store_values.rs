//! The store of shared counters in a snapshot of the metrics.

use super::Times;
use crate::units::{Nanos, Timestamp};

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
    /// What operators change, as it is shared.
    pub changes: StoreChangesValues,
}

/// What operators change, as it is shared over the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreChangesValues {
    /// Changes of this replica that the store does not have.
    pub pending: u64,
    /// Times that exchanging them failed.
    pub failures: u64,
    /// Changes of other replicas that were taken over.
    pub adopted: u64,
    /// What is on the store and cannot be read.
    pub unreadable: u64,
    /// How long ago they were last exchanged; `None`: never yet.
    pub synchronized_ago: Option<Nanos>,
    /// When the latest change was made, by the clock of the store; `None`: there is none.
    pub latest: Option<Timestamp>,
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
