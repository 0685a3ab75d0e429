//! The store of shared counters in a snapshot of the metrics.

use super::Times;
use super::labels;
use super::snapshot::{Emit, Snapshot, float, seconds};
use crate::units::Nanos;

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

impl Snapshot {
    /// One series for the store, if there is one.
    pub(super) fn visit_store(&self, value: impl Fn(&StoreValues) -> f64, emit: Emit<'_>) {
        if let Some(store) = &self.store {
            emit(&[], value(store));
        }
    }

    /// One series for each node.
    pub(super) fn visit_nodes(&self, value: impl Fn(&StoreNodeValues) -> f64, emit: Emit<'_>) {
        for node in self.store.iter().flat_map(|store| &store.nodes) {
            emit(&[(labels::NODE, &node.node)], value(node));
        }
    }

    /// A series for each node and each of its counts.
    pub(super) fn visit_node_counts(
        &self,
        label: &'static str,
        counts: impl Fn(&StoreNodeValues) -> &[(&'static str, u64)],
        emit: Emit<'_>,
    ) {
        for node in self.store.iter().flat_map(|store| &store.nodes) {
            for (name, count) in counts(node) {
                emit(&[(labels::NODE, &node.node), (label, name)], float(*count));
            }
        }
    }

    /// How long requests of each node took.
    pub(super) fn node_times(&self) -> Vec<(&str, &Times)> {
        self.store.iter().flat_map(|store| &store.nodes).map(|node| (&*node.node, &node.times)).collect()
    }

    pub(super) fn visit_store_modes(&self, emit: Emit<'_>) {
        for (mode, count) in self.store.iter().flat_map(|store| &store.key_operations) {
            emit(&[(labels::MODE, mode)], float(*count));
        }
    }

    pub(super) fn visit_store_down(&self, emit: Emit<'_>) {
        for (domain, answer, count) in self.store.iter().flat_map(|store| &store.down) {
            emit(&[(labels::DOMAIN, domain), (labels::ANSWER, answer)], float(*count));
        }
    }
}

/// The difference of two clocks in seconds.
pub(super) fn signed_seconds(ns: i64) -> f64 {
    let length = seconds(Nanos::from_ns(ns.unsigned_abs()));
    if ns < 0 { -length } else { length }
}
