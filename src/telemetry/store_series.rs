//! The series of the store of shared counters.

use super::snapshot::{Emit, Snapshot, float, seconds};
use super::store_values::{StoreChangesValues, StoreNodeValues, StoreValues};
use super::{Times, labels};
use crate::units::Nanos;

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

    /// A value of what operators change, if it is there.
    pub(super) fn visit_changes(&self, value: impl Fn(&StoreChangesValues) -> Option<f64>, emit: Emit<'_>) {
        if let Some(value) = self.store.as_ref().and_then(|store| value(&store.changes)) {
            emit(&[], value);
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
