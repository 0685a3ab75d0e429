//! Every metric that Tidegate has, by name; no other file spells one out.
//!
//! The names that begin with `ratelimit_service_` are those of envoyproxy/ratelimit's Prometheus mapping, so that its
//! dashboards and alerts go on working; the others are Tidegate's own.

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, the same in Prometheus' text and in OTLP.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// The unit, as UCUM spells it.
    pub unit: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many took how long; over OTLP the counter `NAME_bucket`, by the label `le`.
    Histogram,
}

/// Hits asked for.
pub const TOTAL_HITS: &str = "ratelimit_service_rate_limit_total_hits";
/// Hits above the limit.
pub const OVER_LIMIT: &str = "ratelimit_service_rate_limit_over_limit";
/// Hits within the limit but above the near-limit share of it.
pub const NEAR_LIMIT: &str = "ratelimit_service_rate_limit_near_limit";
/// Hits within the limit.
pub const WITHIN_LIMIT: &str = "ratelimit_service_rate_limit_within_limit";
/// Hits above the limit of a rule in shadow mode.
pub const SHADOW_MODE: &str = "ratelimit_service_rate_limit_shadow_mode";
/// Descriptors of checks of a domain that is not configured.
pub const DOMAIN_NOT_FOUND: &str = "ratelimit_service_rate_limit_domain_not_found";
/// Configurations loaded.
pub const CONFIG_LOAD_SUCCESS: &str = "ratelimit_service_config_load_success";
/// Configurations refused.
pub const CONFIG_LOAD_ERROR: &str = "ratelimit_service_config_load_error";
/// Checks admitted only by global shadow mode.
pub const GLOBAL_SHADOW_MODE: &str = "ratelimit_service_global_shadow_mode";
/// Checks answered with an error.
pub const SHOULD_RATE_LIMIT_ERROR: &str = "ratelimit_service_should_rate_limit_error";
/// Requests received.
pub const TOTAL_REQUESTS: &str = "ratelimit_service_total_requests";
/// Live counters.
pub const COUNTERS: &str = "tidegate_counters";
/// Memory of the counters.
pub const COUNTER_BYTES: &str = "tidegate_counter_bytes";
/// The bound on that memory.
pub const COUNTER_BUDGET_BYTES: &str = "tidegate_counter_budget_bytes";
/// New keys denied for lack of memory.
pub const NEW_KEYS_REFUSED: &str = "tidegate_new_keys_refused_total";
/// New keys admitted uncounted for lack of memory.
pub const NEW_KEYS_ADMITTED: &str = "tidegate_new_keys_admitted_total";
/// Sweeps over all counters.
pub const SWEEP_PASSES: &str = "tidegate_sweep_passes_total";
/// Counters that sweeps freed.
pub const SWEEP_FREED: &str = "tidegate_sweep_freed_total";
/// The longest time a sweep held a shard.
pub const SWEEP_LONGEST_PAUSE: &str = "tidegate_sweep_longest_pause_seconds";
/// Open connections.
pub const CONNECTIONS: &str = "tidegate_connections";
/// Connections refused.
pub const CONNECTIONS_REFUSED: &str = "tidegate_connections_refused_total";
/// Observers of the usage.
pub const OBSERVERS: &str = "tidegate_observers";
/// Refused checks that no listener was told.
pub const DENIALS_SKIPPED: &str = "tidegate_denials_skipped_total";
/// Single counters with a usage of their own.
pub const USAGE_SERIES: &str = "tidegate_usage_series";
/// The bound on those.
pub const USAGE_SERIES_LIMIT: &str = "tidegate_usage_series_limit";
/// Values of entry keys with a usage of their own.
pub const USAGE_ENTRY_VALUES: &str = "tidegate_usage_entry_values";
/// Requests by the value of an entry.
pub const REQUESTS_BY_ENTRY: &str = "tidegate_requests_by_entry_total";
/// Denied requests by the value of an entry.
pub const DENIED_REQUESTS_BY_ENTRY: &str = "tidegate_denied_requests_by_entry_total";
/// The configuration in force.
pub const CONFIG_GENERATION: &str = "tidegate_config_generation";
/// Reloads that failed.
pub const CONFIG_RELOAD_FAILURES: &str = "tidegate_config_reload_failures_total";
/// Whether the configuration on disk is the one in force.
pub const CONFIG_LAST_RELOAD_SUCCESS: &str = "tidegate_config_last_reload_success";
/// How far the clock is ahead.
pub const CLOCK_AHEAD: &str = "tidegate_clock_ahead_seconds";
/// Overrides that were ignored.
pub const OVERRIDES_IGNORED: &str = "tidegate_overrides_ignored_total";
/// Answers held in queues.
pub const HELD_ANSWERS: &str = "tidegate_held_answers";
/// Rows of the history.
pub const HISTORY_ROWS: &str = "tidegate_history_rows";
/// The size of the history.
pub const HISTORY_BYTES: &str = "tidegate_history_bytes";
/// Flushes of the history.
pub const HISTORY_FLUSHES: &str = "tidegate_history_flushes_total";
/// Flushes of the history that failed.
pub const HISTORY_FLUSH_FAILURES: &str = "tidegate_history_flush_failures_total";
/// The time since the last good flush.
pub const HISTORY_LAST_FLUSH_AGE: &str = "tidegate_history_last_flush_age_seconds";
/// The limits in force.
pub const RULE_LIMIT: &str = "tidegate_rule_limit";
/// Rules whose limits are lifted.
pub const LIFTED_RULES: &str = "tidegate_lifted_rules";
/// Whether the process is in shadow mode.
pub const PROCESS_SHADOW_MODE: &str = "tidegate_shadow_mode";
/// The used share of a rule's limit.
pub const RULE_SATURATION: &str = "tidegate_rule_saturation_ratio";
/// How long decisions take.
pub const DECISION_SECONDS: &str = "tidegate_decision_seconds";
/// Refused checks that the log or the alerts could not be told.
pub const REFUSALS_LOST: &str = "tidegate_refusals_lost_total";
/// Messages that alerts fired.
pub const ALERTS_FIRED: &str = "tidegate_alerts_fired_total";
/// What became of them.
pub const ALERT_DELIVERIES: &str = "tidegate_alert_deliveries_total";
/// The memory of the process, by the name that Prometheus' own clients give it.
pub const RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
/// The version that runs.
pub const BUILD_INFO: &str = "tidegate_build_info";

/// The domain of a check.
pub const DOMAIN: &str = "domain";
/// The first level of a rule, as `key_value`.
pub const KEY1: &str = "key1";
/// The second level of a rule, as `key_value`.
pub const KEY2: &str = "key2";
/// The rule's whole path.
pub const RULE: &str = "rule";
/// The kind of an error.
pub const ERR_TYPE: &str = "err_type";
/// The method of a request.
pub const GRPC_METHOD: &str = "grpc_method";
/// The place of a limit among those of its rule, from 1.
pub const LIMIT: &str = "limit";
/// Why limits are lifted.
pub const REASON: &str = "reason";
/// The length of a window in seconds.
pub const PERIOD: &str = "period";
/// Who is told of refused checks: `log` or `alerts`.
pub const READER: &str = "reader";
/// What became of a message.
pub const RESULT: &str = "result";
/// The upper bound of a histogram's bucket, in seconds.
pub const LE: &str = "le";
/// An entry key.
pub const KEY: &str = "key";
/// The value of an entry.
pub const VALUE: &str = "value";
/// Whether a series is of all values that have none of their own.
pub const OTHER: &str = "other";
/// The version of the program.
pub const VERSION: &str = "version";

/// Every metric, in the order in which they are shown.
pub const METRICS: &[Metric] = &[
    counter(TOTAL_HITS, "{hit}", "Hits of the checks that matched the rule."),
    counter(OVER_LIMIT, "{hit}", "Hits above the rule's limit."),
    counter(NEAR_LIMIT, "{hit}", "Hits within the rule's limit, but above the near-limit share of it."),
    counter(WITHIN_LIMIT, "{hit}", "Hits within the rule's limit."),
    counter(SHADOW_MODE, "{hit}", "Hits above the limit of a rule in shadow mode, admitted all the same."),
    counter(DOMAIN_NOT_FOUND, "{descriptor}", "Descriptors of checks whose domain is not configured."),
    counter(CONFIG_LOAD_SUCCESS, "{load}", "Configurations loaded."),
    counter(CONFIG_LOAD_ERROR, "{load}", "Configurations that were refused or could not be read."),
    counter(GLOBAL_SHADOW_MODE, "{check}", "Checks over a limit that global shadow mode admitted."),
    counter(SHOULD_RATE_LIMIT_ERROR, "{check}", "Checks answered with an error."),
    counter(TOTAL_REQUESTS, "{request}", "Requests received."),
    gauge(COUNTERS, "{counter}", "Counters in memory."),
    gauge(COUNTER_BYTES, "By", "Memory that the counters take."),
    gauge(COUNTER_BUDGET_BYTES, "By", "Memory that the counters may take."),
    counter(NEW_KEYS_REFUSED, "{key}", "New keys denied because the counters' memory was used up."),
    counter(NEW_KEYS_ADMITTED, "{key}", "New keys admitted uncounted because the counters' memory was used up."),
    counter(SWEEP_PASSES, "{pass}", "Sweeps over all counters."),
    counter(SWEEP_FREED, "{counter}", "Expired counters freed by sweeps."),
    gauge(SWEEP_LONGEST_PAUSE, "s", "The longest time that a sweep held one shard of the counters."),
    gauge(CONNECTIONS, "{connection}", "Open connections."),
    counter(CONNECTIONS_REFUSED, "{connection}", "Connections refused because too many were open."),
    gauge(HELD_ANSWERS, "{answer}", "Answers that are held until the hits they answer have their turn in a queue."),
    gauge(OBSERVERS, "{observer}", "Observers of the usage that are connected."),
    counter(DENIALS_SKIPPED, "{check}", "Denied checks above the rate at which listeners are told; usage counts them."),
    gauge(USAGE_SERIES, "{counter}", "Single counters whose usage is told apart."),
    gauge(USAGE_SERIES_LIMIT, "{counter}", "Single counters whose usage can be told apart; the rest is in other."),
    gauge(USAGE_ENTRY_VALUES, "{value}", "Values of the keys in `usage: by` whose requests are tracked individually."),
    counter(
        REQUESTS_BY_ENTRY,
        "{request}",
        "Requests by the values of the keys in `usage: by`, each once per key; other=\"true\": all values beyond the bound.",
    ),
    counter(DENIED_REQUESTS_BY_ENTRY, "{request}", "Those of them that were denied."),
    gauge(CONFIG_GENERATION, "1", "The number of the configuration in force, from 1; 0: none is loaded."),
    counter(CONFIG_RELOAD_FAILURES, "{load}", "Loads that failed; the configuration in force stayed."),
    gauge(CONFIG_LAST_RELOAD_SUCCESS, "1", "1: the last load succeeded; 0: it failed, and older rules are in force."),
    gauge(CLOCK_AHEAD, "s", "How far the clock is ahead of a wall clock that was set back."),
    counter(OVERRIDES_IGNORED, "{override}", "Limits in requests that were ignored because their unit is unknown."),
    gauge(HISTORY_ROWS, "{row}", "Rows in the history of usage: minutes, hours and days of all series."),
    gauge(HISTORY_BYTES, "By", "Size of the history's file, or of its memory, without the write-ahead log."),
    counter(HISTORY_FLUSHES, "{flush}", "Times that the history was written."),
    counter(HISTORY_FLUSH_FAILURES, "{flush}", "Times that the history could not be written; decisions went on."),
    gauge(HISTORY_LAST_FLUSH_AGE, "s", "Time since the history was last written, or since the start."),
    gauge(RULE_LIMIT, "{hit}", "Hits that a limit in force allows in each of its periods."),
    gauge(
        LIFTED_RULES,
        "{rule}",
        "Rules whose limits are configured and deny nothing, or not all of them; none: no series.",
    ),
    gauge(PROCESS_SHADOW_MODE, "1", "1: the process is in shadow mode, and denies nothing; 0: it is not."),
    gauge(
        RULE_SATURATION,
        "1",
        "The largest share of its limit that a check of the rule found used in the last one to two minutes.",
    ),
    Metric {
        name: DECISION_SECONDS,
        kind: Kind::Histogram,
        unit: "s",
        help: "How long it took to read, decide and write a check over gRPC; a sample, which has all of slow traffic.",
    },
    counter(REFUSALS_LOST, "{check}", "Refused checks that the reader could not be told, there were so many at once."),
    counter(ALERTS_FIRED, "{message}", "Messages that alerts fired, each once, however many receivers it has."),
    counter(ALERT_DELIVERIES, "{message}", "Messages of alerts by what became of them, receiver by receiver."),
    gauge(RESIDENT_MEMORY, "By", "Memory of the process, as the system counts it."),
    gauge(BUILD_INFO, "1", "Always 1; the version is in the label."),
];

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit, help }
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, help }
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
                assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            }
        }
    }
}
