//! The metrics of the store of shared counters. Without one none has a series.

use crate::telemetry::labels::{ERROR, KIND, NODE};
use crate::telemetry::metric::{Metric, Read, counter, gauge, histogram};
use crate::telemetry::snapshot::{Snapshot, float, seconds};
use crate::telemetry::store_series::signed_seconds;
use crate::units::Timestamp;

/// The metrics, in the order in which they are shown.
pub(super) const METRICS: [Metric; 23] = [
    gauge(
        "tidegate_store_up",
        "1",
        "1: a node of the store of shared counters is asked; 0: it is down, and --store-when-down says what is answered.",
        Read::Series(|s, emit| s.visit_nodes(|node| f64::from(u8::from(node.up)), emit)),
    ),
    counter(
        "tidegate_store_requests_total",
        "{request}",
        "Requests to a node: charges of checks, scripts sent whole, probes, changes by operators.",
        Read::Series(|s, emit| s.visit_node_counts(KIND, |node| &node.requests, emit)),
    ),
    counter(
        "tidegate_store_key_operations_total",
        "{operation}",
        "Counters in requests to the store, by the mode of counting.",
        Read::Series(|s, emit| s.visit_store_modes(emit)),
    ),
    counter(
        "tidegate_store_errors_total",
        "{error}",
        "Requests to a node, or parts of them, that failed: no connection, no reply in time, or the first word of the reply.",
        Read::Series(|s, emit| s.visit_node_counts(ERROR, |node| &node.errors, emit)),
    ),
    histogram(
        "tidegate_store_request_seconds",
        "s",
        "Time from a request with charges to its reply.",
        Read::TimesBy(NODE, Snapshot::node_times),
    ),
    counter(
        "tidegate_store_breaker_open_total",
        "{time}",
        "Times that a node was found to be down.",
        Read::Series(|s, emit| s.visit_nodes(|node| float(node.breaker_opened), emit)),
    ),
    counter(
        "tidegate_store_checks_waited_total",
        "{check}",
        "Steps of checks that waited for the store: one for each descriptor, or one for all of them if charged all or nothing.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.waited), emit)),
    ),
    counter(
        "tidegate_store_checks_down_total",
        "{check}",
        "Checks answered without the store, because it was down, late or asked too much.",
        Read::Series(|s, emit| s.visit_store_down(emit)),
    ),
    counter(
        "tidegate_store_leased_hits_total",
        "{hit}",
        "Hits that the store granted to leases of this replica, and to checks that waited for them.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.leased_hits), emit)),
    ),
    counter(
        "tidegate_store_returned_hits_total",
        "{hit}",
        "Hits of leases that were given back to the store unspent, or refunded.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.returned_hits), emit)),
    ),
    counter(
        "tidegate_store_lapsed_hits_total",
        "{hit}",
        "Hits of leases that ended unspent.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.lapsed_hits), emit)),
    ),
    counter(
        "tidegate_store_refunds_dropped_total",
        "{hit}",
        "Refunded hits of leased counters that were dropped, because this replica had not spent them in the same window.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.refunds_dropped), emit)),
    ),
    counter(
        "tidegate_store_state_lost_total",
        "{time}",
        "Times that a node may have lost writes: it restarted, or another one took its place that has fewer.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.state_lost), emit)),
    ),
    gauge(
        "tidegate_store_may_evict",
        "1",
        "1: the store may drop counters when its memory is full, or has dropped some; 0: it does not.",
        Read::Series(|s, emit| s.visit_store(|store| f64::from(u8::from(store.may_evict)), emit)),
    ),
    counter(
        "tidegate_store_evicted_total",
        "{key}",
        "Keys that the nodes have dropped since they started, of all programs that use them.",
        Read::Series(|s, emit| s.visit_store(|store| float(store.evicted), emit)),
    ),
    gauge(
        "tidegate_store_clock_offset_seconds",
        "s",
        "How far a node's clock, by which shared limits are counted, is ahead of ours.",
        Read::Series(|s, emit| s.visit_nodes(|node| signed_seconds(node.clock_offset_ns), emit)),
    ),
    gauge(
        "tidegate_store_replicas",
        "{replica}",
        "Replicas that were last heard of on the store, or what --store-replicas says.",
        Read::Series(|s, emit| s.visit_store(|store| f64::from(store.replicas), emit)),
    ),
    gauge(
        "tidegate_store_changes_pending",
        "{change}",
        "Settings, bans and promotions that operators changed on this replica and that are not on the store yet.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(float(changes.pending)), emit)),
    ),
    gauge(
        "tidegate_store_changes_age_seconds",
        "s",
        "Since changes by operators were last exchanged with the store; 0 before the first time.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(changes.synchronized_ago.map_or(0.0, seconds)), emit)),
    ),
    gauge(
        "tidegate_store_changes_latest_timestamp_seconds",
        "s",
        "When the latest change by an operator was made that is known here, by the clock of the store, in seconds since the epoch: the same on replicas \
         that know the same changes; 0 without one.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(changes.latest.map_or(0.0, seconds_of)), emit)),
    ),
    counter(
        "tidegate_store_changes_adopted_total",
        "{change}",
        "Changes by operators of other replicas that were taken over.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(float(changes.adopted)), emit)),
    ),
    counter(
        "tidegate_store_changes_failures_total",
        "{time}",
        "Times that changes by operators could not be exchanged with the store, also because it is down.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(float(changes.failures)), emit)),
    ),
    counter(
        "tidegate_store_changes_unreadable_total",
        "{record}",
        "What was found on the store in place of changes by operators and cannot be read.",
        Read::Series(|s, emit| s.visit_changes(|changes| Some(float(changes.unreadable)), emit)),
    ),
];

fn seconds_of(at: Timestamp) -> f64 {
    seconds(at.since(Timestamp::EPOCH))
}
