//! Every metric of Tidegate is one row of a table: its name, its meaning and how it is read from a [`Snapshot`].
//!
//! The names that begin with `ratelimit_service_` are those of envoyproxy/ratelimit's Prometheus mapping, so that its
//! dashboards and alerts keep working; the others are Tidegate's own.

mod statsd;
mod store;
mod xds;

use super::labels::{CONSUMER, ERR_TYPE, GRPC_METHOD, PORT, REASON, RESULT, VERSION};
pub use super::metric::{Metric, MetricKind};
use super::metric::{Read, counter, gauge, histogram};
use super::snapshot::{Snapshot, float, seconds, visit_by};
use crate::usage::Measure;

/// Every metric, in the order in which they are shown.
pub const METRICS: &[Metric] = &joined::<WITH_XDS, { statsd::METRICS.len() }, ALL>(
    joined::<WITH_STORE, { xds::METRICS.len() }, WITH_XDS>(
        joined::<PROCESS_ALONE, { store::METRICS.len() }, WITH_STORE>(PROCESS, store::METRICS),
        xds::METRICS,
    ),
    statsd::METRICS,
);

/// The metrics of the process with neither a store of shared counters, nor a control plane, nor a statsd.
const PROCESS: [Metric; PROCESS_ALONE] = [
    counter(
        "ratelimit_service_rate_limit_total_hits",
        "{hit}",
        "Hits of the checks that matched the rule.",
        Read::Series(|s, emit| s.visit_rules(Measure::Hits, emit)),
    ),
    counter(
        "ratelimit_service_rate_limit_over_limit",
        "{hit}",
        "Hits above the rule's limit.",
        Read::Series(|s, emit| s.visit_rules(Measure::HitsOverLimit, emit)),
    ),
    counter(
        "ratelimit_service_rate_limit_near_limit",
        "{hit}",
        "Hits within the rule's limit, but above its near-limit threshold.",
        Read::Series(|s, emit| s.visit_rules(Measure::HitsNearLimit, emit)),
    ),
    counter(
        "ratelimit_service_rate_limit_within_limit",
        "{hit}",
        "Hits within the rule's limit.",
        Read::Series(|s, emit| s.visit_rules(Measure::HitsWithinLimit, emit)),
    ),
    counter(
        "ratelimit_service_rate_limit_shadow_mode",
        "{hit}",
        "Hits above the limit of a rule in shadow mode; they were admitted.",
        Read::Series(|s, emit| s.visit_rules(Measure::HitsShadowDenied, emit)),
    ),
    counter(
        "ratelimit_service_rate_limit_domain_not_found",
        "{descriptor}",
        "Descriptors of checks whose domain is not configured.",
        Read::Series(Snapshot::visit_domains_not_found),
    ),
    counter(
        "ratelimit_service_config_load_success",
        "{load}",
        "Configurations loaded.",
        Read::Value(|s| float(s.config.successes)),
    ),
    counter(
        "ratelimit_service_config_load_error",
        "{load}",
        "Configurations that were rejected or could not be read.",
        Read::Value(|s| float(s.config.failures)),
    ),
    counter(
        "ratelimit_service_global_shadow_mode",
        "{check}",
        "Checks over a limit that were admitted because of global shadow mode.",
        Read::Value(|s| float(s.global_shadow_mode)),
    ),
    counter(
        "ratelimit_service_should_rate_limit_error",
        "{check}",
        "Checks answered with an error.",
        Read::Series(|s, emit| visit_by(ERR_TYPE, &s.errors, emit)),
    ),
    counter(
        "ratelimit_service_total_requests",
        "{request}",
        "Requests received.",
        Read::Series(|s, emit| visit_by(GRPC_METHOD, &s.requests, emit)),
    ),
    gauge("tidegate_counters", "{counter}", "Counters in memory.", Read::Value(|s| float(s.counters.live))),
    gauge("tidegate_counter_bytes", "By", "Memory used by counters.", Read::Value(|s| float(s.counters.bytes))),
    gauge(
        "tidegate_counter_budget_bytes",
        "By",
        "Memory budget for counters.",
        Read::Value(|s| float(s.counters.budget_bytes)),
    ),
    counter(
        "tidegate_new_keys_denied_total",
        "{key}",
        "New keys denied because the memory budget for counters was exhausted.",
        Read::Value(|s| float(s.counters.denied)),
    ),
    counter(
        "tidegate_new_keys_admitted_total",
        "{key}",
        "New keys admitted without counting because the memory budget for counters was exhausted.",
        Read::Value(|s| float(s.counters.admitted)),
    ),
    counter(
        "tidegate_sweep_passes_total",
        "{pass}",
        "Sweeps over all counters.",
        Read::Value(|s| float(s.sweep.passes)),
    ),
    counter(
        "tidegate_sweep_freed_total",
        "{counter}",
        "Expired counters freed by sweeps.",
        Read::Value(|s| float(s.sweep.freed)),
    ),
    gauge(
        "tidegate_sweep_longest_pause_seconds",
        "s",
        "Longest time that a sweep held the lock of one shard of the counters.",
        Read::Value(|s| seconds(s.sweep.longest_pause)),
    ),
    gauge("tidegate_connections", "{connection}", "Open connections.", Read::Value(|s| float(s.connections.open))),
    counter(
        "tidegate_connections_rejected_total",
        "{connection}",
        "Connections rejected because the connection limit was reached.",
        Read::Value(|s| float(s.connections.rejected)),
    ),
    counter(
        "tidegate_connections_closed_total",
        "{connection}",
        "Connections that the server closed, or did not accept, for what their peers did, by port and reason.",
        Read::Series(Snapshot::visit_closed),
    ),
    gauge(
        "tidegate_delayed_replies",
        "{answer}",
        "Replies that are waiting for their turn in a queue.",
        Read::Value(|s| float(s.delayed_replies)),
    ),
    gauge(
        "tidegate_observers",
        "{observer}",
        "Connected clients that stream usage or denials.",
        Read::Value(|s| float(s.observing.observers)),
    ),
    counter(
        "tidegate_denials_skipped_total",
        "{check}",
        "Denied checks not passed on to listeners because their rate is bounded; usage still counts them.",
        Read::Value(|s| float(s.observing.denials_skipped)),
    ),
    gauge(
        "tidegate_usage_series",
        "{counter}",
        "Counters tracked individually.",
        Read::Value(|s| float(s.observing.series)),
    ),
    gauge(
        "tidegate_usage_series_limit",
        "{counter}",
        "Maximum number of counters tracked individually; the rest is aggregated as other.",
        Read::Value(|s| float(s.observing.series_limit)),
    ),
    gauge(
        "tidegate_usage_entry_values",
        "{value}",
        "Values of the keys in `usage: by` whose requests are tracked individually.",
        Read::Value(|s| float(s.observing.entry_values)),
    ),
    gauge(
        "tidegate_recordings",
        "{recording}",
        "Recordings of checks that run.",
        Read::Value(|s| float(s.observing.recordings)),
    ),
    counter(
        "tidegate_recorded_checks_total",
        "{check}",
        "Checks that were recorded.",
        Read::Value(|s| float(s.observing.recorded)),
    ),
    counter(
        "tidegate_recording_lost_total",
        "{check}",
        "Checks that a recording selected and lost, because they did not fit.",
        Read::Value(|s| float(s.observing.recording_lost)),
    ),
    counter(
        "tidegate_requests_by_entry_total",
        "{request}",
        "Requests by the values of the keys in `usage: by`, once per key; other=\"true\": all values not tracked individually.",
        Read::Series(|s, emit| s.visit_requests(Measure::Requests, emit)),
    ),
    counter(
        "tidegate_denied_requests_by_entry_total",
        "{request}",
        "Denied requests by the values of the keys in `usage: by`, as for tidegate_requests_by_entry_total.",
        Read::Series(|s, emit| s.visit_requests(Measure::RequestsDenied, emit)),
    ),
    gauge(
        "tidegate_config_generation",
        "1",
        "Generation of the configuration in force, from 1; 0: none is loaded.",
        Read::Value(|s| float(s.config.generation)),
    ),
    counter(
        "tidegate_config_reload_failures_total",
        "{load}",
        "Failed loads; each kept the configuration that was in force.",
        Read::Value(|s| float(s.config.failures)),
    ),
    gauge(
        "tidegate_config_last_reload_success",
        "1",
        "1: the last load succeeded; 0: it failed, and older rules are in force.",
        Read::Value(|s| truth(!s.config.last_failed)),
    ),
    gauge(
        "tidegate_clock_ahead_seconds",
        "s",
        "How far the service's clock is ahead of the wall clock, after that was set back.",
        Read::Value(|s| seconds(s.clock_ahead)),
    ),
    counter(
        "tidegate_overrides_ignored_total",
        "{override}",
        "Request overrides ignored because their unit is unknown.",
        Read::Value(|s| float(s.overrides_ignored)),
    ),
    gauge(
        "tidegate_history_rows",
        "{row}",
        "Rows in the usage history: minutes, hours and days of all series.",
        Read::Value(|s| float(s.history.rows)),
    ),
    gauge(
        "tidegate_history_bytes",
        "By",
        "Size of the usage history, on disk or in memory, without the write-ahead log.",
        Read::Value(|s| float(s.history.bytes)),
    ),
    counter(
        "tidegate_history_flushes_total",
        "{flush}",
        "Successful writes of the usage history.",
        Read::Value(|s| float(s.history.flushes)),
    ),
    counter(
        "tidegate_history_flush_failures_total",
        "{flush}",
        "Failed writes of the usage history; decisions are not affected.",
        Read::Value(|s| float(s.history.failures)),
    ),
    gauge(
        "tidegate_history_last_flush_age_seconds",
        "s",
        "Time since the usage history was last written; before the first write, since the start.",
        Read::Value(|s| seconds(s.history.last_flush_age)),
    ),
    gauge(
        "tidegate_state_restored_counters",
        "{counter}",
        "Counters of the last run that went on at the start.",
        Read::Value(|s| float(s.state.restored)),
    ),
    gauge(
        "tidegate_state_dropped_counters",
        "{counter}",
        "States of the last run that were dropped at the start: spent, of a limit that is not configured, or without memory.",
        Read::Value(|s| float(s.state.dropped)),
    ),
    gauge(
        "tidegate_state_damaged_files",
        "{file}",
        "Files of counters and settings that were damaged and set aside at the start.",
        Read::Value(|s| float(s.state.damaged)),
    ),
    counter(
        "tidegate_state_flushes_total",
        "{flush}",
        "Flushes of changed counters to the data directory.",
        Read::Value(|s| float(s.state.flushes)),
    ),
    counter(
        "tidegate_state_flush_failures_total",
        "{flush}",
        "Failed flushes of counters; decisions are not affected.",
        Read::Value(|s| float(s.state.failures)),
    ),
    gauge(
        "tidegate_state_failing",
        "1",
        "1: counters cannot be written, so that a crash loses them; 0: they are written, or there is no data directory.",
        Read::Value(|s| truth(s.state.failing)),
    ),
    counter(
        "tidegate_state_flushed_counters_total",
        "{counter}",
        "Counters written by flushes.",
        Read::Value(|s| float(s.state.counters)),
    ),
    counter(
        "tidegate_state_flushed_bytes_total",
        "By",
        "Bytes written by flushes, with snapshots.",
        Read::Value(|s| float(s.state.bytes)),
    ),
    gauge(
        "tidegate_state_last_flush_age_seconds",
        "s",
        "Time since counters were last written; before the first flush, since the start.",
        Read::Value(|s| seconds(s.state.last_flush_age)),
    ),
    gauge(
        "tidegate_state_last_flush_seconds",
        "s",
        "How long the last flush took.",
        Read::Value(|s| seconds(s.state.last_duration)),
    ),
    gauge(
        "tidegate_rule_limit",
        "{hit}",
        "Hits that a limit in force allows per period.",
        Read::Series(Snapshot::visit_limits),
    ),
    gauge(
        "tidegate_lifted_rules",
        "{rule}",
        "Rules with limits that deny nothing because they are disabled or in shadow mode; no series if there are none.",
        Read::Series(Snapshot::visit_lifted),
    ),
    gauge(
        "tidegate_settings",
        "{setting}",
        "Settings in force, by what they apply to; domain and rule are empty for those of everything.",
        Read::Series(Snapshot::visit_settings),
    ),
    gauge(
        "tidegate_shadow_mode",
        "1",
        "1: the process is in shadow mode and denies nothing; 0: it is not.",
        Read::Value(|s| truth(s.shadow_mode)),
    ),
    gauge(
        "tidegate_rule_saturation_ratio",
        "1",
        "Largest used share of the rule's limit that a check found in the last one to two minutes.",
        Read::Series(Snapshot::visit_saturation),
    ),
    histogram(
        "tidegate_decision_seconds",
        "s",
        "Time to read, decide and write a check over gRPC; all checks at low rates, a sample at high rates.",
        Read::Times(|s| &s.decisions),
    ),
    counter(
        "tidegate_denials_dropped_total",
        "{check}",
        "Denied checks dropped before a consumer (log, alerts) could process them.",
        Read::Series(|s, emit| visit_by(CONSUMER, &s.denials_dropped, emit)),
    ),
    counter(
        "tidegate_alerts_fired_total",
        "{message}",
        "Notifications fired by alerts, each counted once, however many receivers it has.",
        Read::Value(|s| float(s.alerts.fired)),
    ),
    counter(
        "tidegate_alert_deliveries_total",
        "{message}",
        "Deliveries of notifications by result, counted for each receiver.",
        Read::Series(|s, emit| visit_by(RESULT, &s.alerts.deliveries, emit)),
    ),
    gauge(
        "tidegate_tls_cert_expiry_timestamp_seconds",
        "s",
        "When the certificate of a port expires, in seconds since the epoch; no series for ports without TLS.",
        Read::Series(|s, emit| s.tls.iter().for_each(|tls| emit(&[(PORT, tls.port)], seconds_of(tls.expires)))),
    ),
    gauge(
        "tidegate_tls_files_outdated",
        "1",
        "1: the TLS files of a port cannot be used, and those before their last change are in force; 0: they are in force.",
        Read::Series(|s, emit| s.tls.iter().for_each(|tls| emit(&[(PORT, tls.port)], truth(tls.outdated)))),
    ),
    counter(
        "tidegate_tls_failed_handshakes_total",
        "{handshake}",
        "TLS handshakes that failed, by port: plain text, no certificate, or one of another CA.",
        Read::Series(|s, emit| s.tls.iter().for_each(|tls| emit(&[(PORT, tls.port)], float(tls.failed)))),
    ),
    counter(
        "tidegate_tls_on_plain_ports_total",
        "{connection}",
        "Connections with TLS to ports without it, which were closed.",
        Read::Value(|s| float(s.tls_on_plain_ports)),
    ),
    counter(
        "tidegate_admin_rejected_total",
        "{request}",
        "Requests that the admin port rejected, by reason.",
        Read::Series(|s, emit| visit_by(REASON, &s.admin_rejected, emit)),
    ),
    gauge(
        "tidegate_admin_tokens_outdated",
        "1",
        "1: the file of tokens cannot be used, and the tokens before its last change are in force; 0: it is in force.",
        Read::Value(|s| truth(s.tokens_outdated)),
    ),
    counter(
        "tidegate_access_denied_checks_total",
        "{check}",
        "Checks of domains that their client may not check by the file of --access, by domain; those of unknown domains as other.",
        Read::Series(Snapshot::visit_domains_forbidden),
    ),
    gauge(
        "tidegate_access_outdated",
        "1",
        "1: the file of --access cannot be used, and the clients before its last change are in force; 0: it is in force.",
        Read::Value(|s| truth(s.clients_outdated)),
    ),
    gauge(
        "process_resident_memory_bytes",
        "By",
        "Resident memory of the process.",
        Read::Series(|s, emit| s.resident_bytes.into_iter().for_each(|n| emit(&[], float(n)))),
    ),
    gauge(
        "tidegate_build_info",
        "1",
        "Always 1; the label has the version.",
        Read::Series(|_, emit| emit(&[(VERSION, env!("CARGO_PKG_VERSION"))], 1.0)),
    ),
];

/// How the names of those begin that no other program has.
pub(super) const OWN: &str = "tidegate_";
/// The number of metrics.
const ALL: usize = 106;
const WITH_XDS: usize = ALL - statsd::METRICS.len();
const WITH_STORE: usize = WITH_XDS - xds::METRICS.len();
const PROCESS_ALONE: usize = WITH_STORE - store::METRICS.len();

/// Both lists.
#[allow(clippy::indexing_slicing, reason = "computed when the program is compiled")]
const fn joined<const A: usize, const B: usize, const N: usize>(
    first: [Metric; A],
    second: [Metric; B],
) -> [Metric; N] {
    let mut all = [first[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    all
}

#[allow(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
fn seconds_of(timestamp: i64) -> f64 {
    timestamp as f64
}

fn truth(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_what_they_are() {
        let names: HashSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let name = metric.name;
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(metric.help.ends_with('.') && !metric.unit.is_empty(), "{name}");
            if name.starts_with("tidegate_") {
                assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            }
        }
    }
}
