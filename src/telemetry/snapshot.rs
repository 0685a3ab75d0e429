//! The values of all metrics at one moment: plain data, filled from the atomics that the decision path updates.

use std::collections::BTreeMap;

use super::Times;
use super::labels::{self, sanitized};
use super::statsd_values::StatsdValues;
use super::store_values::StoreValues;
use super::xds_values::XdsValues;
use crate::config::ReloadStatus;
use crate::units::Nanos;
use crate::usage::{Measure, Totals};

/// The values of all metrics at one moment. Totals count from the start of the process.
///
/// The code that fills it keeps it bounded: series of rules and domains beyond the bound are summed up in one called `other`,
/// so that totals stay exact.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The counts of each rule; no two with the same path.
    pub rules: Vec<RuleSeries>,
    /// Requests by the values of entry keys.
    pub requests_by_entry: Vec<EntryRequests>,
    /// Checks of each domain that is not configured.
    pub domains_not_found: Vec<(String, u64)>,
    /// Checks of domains that their client may not check, by domain.
    pub domains_forbidden: Vec<(String, u64)>,
    /// Checks answered with an error, by its kind.
    pub errors: Vec<(&'static str, u64)>,
    /// Requests, by method.
    pub requests: Vec<(&'static str, u64)>,
    /// Checks admitted only by global shadow mode.
    pub global_shadow_mode: u64,
    /// Overrides ignored because their unit is unknown.
    pub overrides_ignored: u64,
    /// The configuration.
    pub config: ConfigValues,
    /// The control plane that sends the rules; `None`: they are in files.
    pub xds: Option<XdsValues>,
    /// The counters.
    pub counters: CounterValues,
    /// The sweeps.
    pub sweep: SweepValues,
    /// The connections.
    pub connections: ConnectionValues,
    /// Observers, and what they can see.
    pub observing: ObservingValues,
    /// Delayed replies in queues.
    pub delayed_replies: u64,
    /// How far the clock is ahead of the wall clock.
    pub clock_ahead: Nanos,
    /// The history of usage.
    pub history: HistoryValues,
    /// The counters in the data directory.
    pub state: StateValues,
    /// The store of shared counters; `None`: counters are those of this process.
    pub store: Option<StoreValues>,
    /// The limits in force, each path once.
    pub limits: Vec<LimitValue>,
    /// Rules whose limits are lifted: domain, reason and how many.
    pub lifted: Vec<(String, &'static str, u64)>,
    /// Settings in force: domain, rule and how many.
    pub settings: Vec<(String, String, u64)>,
    /// Whether the process is in shadow mode.
    pub shadow_mode: bool,
    /// The used share of each rule's limit: domain, path and share.
    pub saturation: Vec<(String, String, f64)>,
    /// How long decisions take.
    pub decisions: Times,
    /// Denied checks dropped before a consumer could process them, by consumer.
    pub denials_dropped: Vec<(&'static str, u64)>,
    /// Alerts.
    pub alerts: AlertValues,
    /// TLS of each port that has it.
    pub tls: Vec<TlsValues>,
    /// Connections with TLS to ports without it.
    pub tls_on_plain_ports: u64,
    /// Requests that the admin port rejected, by reason.
    pub admin_rejected: Vec<(&'static str, u64)>,
    /// Whether the file of tokens cannot be used since its last change.
    pub tokens_outdated: bool,
    /// Whether the file of clients cannot be used since its last change.
    pub clients_outdated: bool,
    /// The statsd that is pushed to; `None`: none is.
    pub statsd: Option<StatsdValues>,
    /// The memory of the process; `None` if the system does not report it.
    pub resident_bytes: Option<u64>,
}

/// One limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitValue {
    /// The domain.
    pub domain: String,
    /// The rule's path.
    pub rule: String,
    /// The limit's position in the rule, from 1.
    pub place: usize,
    /// The length of its window.
    pub period: Nanos,
    /// Hits that it allows per window.
    pub requests: u32,
}

/// Alerts, since the start.
#[derive(Clone, Debug, Default)]
pub struct AlertValues {
    /// Notifications fired.
    pub fired: u64,
    /// Deliveries, by result.
    pub deliveries: Vec<(&'static str, u64)>,
}

/// The counts of one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSeries {
    /// The domain.
    pub domain: String,
    /// The rule's path, domain included; with the values that the rule adds to it.
    pub rule: String,
    /// The first level as `key_value`.
    pub key1: String,
    /// The second level; empty when there is none.
    pub key2: String,
    /// The counts.
    pub totals: Totals,
}

/// The requests with one value of an entry key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryRequests {
    /// The domain.
    pub domain: String,
    /// The entry key.
    pub key: String,
    /// The value; `None`: all values that have no series of their own.
    pub value: Option<String>,
    /// The counts.
    pub totals: Totals,
}

/// How loading the configuration went.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigValues {
    /// The generation of the configuration in force, from 1; 0: none.
    pub generation: u64,
    /// Loads that succeeded.
    pub successes: u64,
    /// Loads that failed.
    pub failures: u64,
    /// Whether the last load failed.
    pub last_failed: bool,
}

impl From<&ReloadStatus> for ConfigValues {
    fn from(status: &ReloadStatus) -> Self {
        let ReloadStatus { generation, successes, failures, .. } = *status;
        Self { generation, successes, failures, last_failed: status.last_error.is_some() }
    }
}

/// The counters in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct CounterValues {
    /// How many there are.
    pub live: u64,
    /// The memory they take.
    pub bytes: u64,
    /// The memory they may take.
    pub budget_bytes: u64,
    /// New keys denied because the budget was used up.
    pub denied: u64,
    /// New keys admitted uncounted because the budget was used up.
    pub admitted: u64,
}

/// The sweeps of expired counters.
#[derive(Clone, Copy, Debug, Default)]
pub struct SweepValues {
    /// Sweeps over all counters.
    pub passes: u64,
    /// Counters freed.
    pub freed: u64,
    /// The longest time that one shard was held.
    pub longest_pause: Nanos,
}

/// Observers, and what they can see.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObservingValues {
    /// Observers connected now.
    pub observers: u64,
    /// Denied checks not passed on to listeners, because their rate is bounded.
    pub denials_skipped: u64,
    /// Counters tracked individually.
    pub series: u64,
    /// How many there are at most.
    pub series_limit: u64,
    /// Values of entry keys whose requests are tracked individually.
    pub entry_values: u64,
    /// Recordings that run.
    pub recordings: u64,
    /// Checks recorded.
    pub recorded: u64,
    /// Checks that a recording selected and lost.
    pub recording_lost: u64,
}

/// The connections of all front ends.
#[derive(Clone, Debug, Default)]
pub struct ConnectionValues {
    /// Open now.
    pub open: u64,
    /// Rejected because too many were open.
    pub rejected: u64,
    /// Closed for another reason, or not accepted: the port, the reason and how many.
    pub closed: Vec<(&'static str, &'static str, u64)>,
}

/// TLS of a port.
#[derive(Clone, Copy, Debug, Default)]
pub struct TlsValues {
    /// The port's name.
    pub port: &'static str,
    /// When its certificate expires, in seconds since the epoch.
    pub expires: i64,
    /// Whether its files cannot be used since their last change.
    pub outdated: bool,
    /// Handshakes that failed.
    pub failed: u64,
}

/// The counters in the data directory; all zero without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct StateValues {
    /// Counters restored at the start.
    pub restored: u64,
    /// States that were dropped at the start.
    pub dropped: u64,
    /// Files that were set aside at the start.
    pub damaged: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Flushes that failed.
    pub failures: u64,
    /// Whether the last one failed.
    pub failing: bool,
    /// Bytes written.
    pub bytes: u64,
    /// Counters written.
    pub counters: u64,
    /// Time since the last flush that succeeded.
    pub last_flush_age: Nanos,
    /// How long it took.
    pub last_duration: Nanos,
}

/// The history of usage.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryValues {
    /// Rows of all lengths.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Flushes that succeeded.
    pub flushes: u64,
    /// Flushes that failed.
    pub failures: u64,
    /// Time since the last flush that succeeded.
    pub last_flush_age: Nanos,
}

/// Takes the labels and the value of one series.
pub(super) type Emit<'e> = &'e mut dyn FnMut(&[(&'static str, &str)], f64);

impl Snapshot {
    pub(super) fn visit_lifted(&self, emit: Emit<'_>) {
        for (domain, reason, rules) in &self.lifted {
            emit(&[(labels::DOMAIN, domain), (labels::REASON, reason)], float(*rules));
        }
    }

    pub(super) fn visit_settings(&self, emit: Emit<'_>) {
        for (domain, rule, count) in &self.settings {
            emit(&[(labels::DOMAIN, &sanitized(domain)), (labels::RULE, rule)], float(*count));
        }
    }

    pub(super) fn visit_saturation(&self, emit: Emit<'_>) {
        for (domain, rule, share) in &self.saturation {
            emit(&[(labels::DOMAIN, &sanitized(domain)), (labels::RULE, rule)], *share);
        }
    }

    /// The label `other` marks the sum of all other values, so that a value that is itself `other`, or empty, is not mistaken
    /// for it.
    pub(super) fn visit_requests(&self, measure: Measure, emit: Emit<'_>) {
        for series in &self.requests_by_entry {
            let EntryRequests { domain, key, value, totals } = series;
            let last = match value.as_deref() {
                None => Some((labels::OTHER, "true")),
                Some("") => None,
                Some(value) => Some((labels::VALUE, value)),
            };
            let labels = [(labels::DOMAIN, &**domain), (labels::KEY, key)];
            let labels: Vec<_> = labels.into_iter().chain(last).collect();
            emit(&labels, float(totals.get(measure)));
        }
    }

    pub(super) fn visit_limits(&self, emit: Emit<'_>) {
        for LimitValue { domain, rule, place, period, requests } in &self.limits {
            let (place, period) = (place.to_string(), seconds(*period).to_string());
            let domain = sanitized(domain);
            let labels =
                [(labels::DOMAIN, &*domain), (labels::RULE, rule), (labels::LIMIT, &place), (labels::PERIOD, &period)];
            emit(&labels, f64::from(*requests));
        }
    }

    /// The domain is the only label: domains that are spelled the same in it share one series.
    pub(super) fn visit_domains_not_found(&self, emit: Emit<'_>) {
        visit_domains(&self.domains_not_found, emit);
    }

    /// The same.
    pub(super) fn visit_domains_forbidden(&self, emit: Emit<'_>) {
        visit_domains(&self.domains_forbidden, emit);
    }

    pub(super) fn visit_closed(&self, emit: Emit<'_>) {
        for (port, reason, count) in &self.connections.closed {
            emit(&[(labels::PORT, port), (labels::REASON, reason)], float(*count));
        }
    }

    pub(super) fn visit_rules(&self, measure: Measure, emit: Emit<'_>) {
        for series in &self.rules {
            let RuleSeries { domain, rule, key1, key2, totals } = series;
            let (domain, key1, key2) = (sanitized(domain), sanitized(key1), sanitized(key2));
            let labels =
                [(labels::DOMAIN, &*domain), (labels::RULE, rule), (labels::KEY1, &key1), (labels::KEY2, &key2)];
            let given = labels.iter().position(|(_, value)| value.is_empty()).unwrap_or(labels.len());
            emit(labels.get(..given).unwrap_or_default(), float(totals.get(measure)));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "both formats carry f64: exact up to 2^53, at 1 M/s for 285 years")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

pub(super) fn seconds(length: Nanos) -> f64 {
    std::time::Duration::from(length).as_secs_f64()
}

pub(super) fn visit_by<L: AsRef<str>>(label: &'static str, series: &[(L, u64)], emit: Emit<'_>) {
    for (value, count) in series {
        emit(&[(label, value.as_ref())], float(*count));
    }
}

fn visit_domains(counts: &[(String, u64)], emit: Emit<'_>) {
    let mut sums: BTreeMap<_, u64> = BTreeMap::new();
    for (domain, count) in counts {
        let sum = sums.entry(sanitized(domain)).or_default();
        *sum = sum.saturating_add(*count);
    }
    visit_by(labels::DOMAIN, &sums.into_iter().collect::<Vec<_>>(), emit);
}

#[cfg(test)]
mod tests {
    use super::super::names::{METRICS, Metric};
    use super::super::store_values::{StoreChangesValues, StoreNodeValues};
    use super::*;
    use crate::units::Timestamp;

    fn metric(name: &str) -> &'static Metric {
        METRICS.iter().find(|metric| metric.name == name).unwrap()
    }

    #[test]
    fn labels_are_spelled_as_there_but_the_rule_as_it_is() {
        let series = |domain: &str, key1: &str, key2: &str| RuleSeries {
            domain: domain.into(),
            rule: format!("{domain}.{key1}.{key2}"),
            key1: key1.into(),
            key2: key2.into(),
            totals: Totals::default().with(Measure::HitsWithinLimit, 1),
        };
        let snapshot = Snapshot {
            rules: vec![series("a:b", "ip_10.0.0.0/8", "k|1"), series("a:b", "ip_10_0_0_0/8", "k|1")],
            domains_not_found: vec![("x:y".into(), 1), ("x_y".into(), 2), ("10.1.2.3".into(), 4), ("z".into(), 8)],
            limits: vec![LimitValue { domain: "a:b".into(), rule: "a:b.k".into(), ..LimitValue::default() }],
            saturation: vec![("a:b".into(), "a:b.k".into(), 0.5)],
            ..Snapshot::default()
        };
        for (name, expected) in [
            (
                "ratelimit_service_rate_limit_total_hits",
                &[
                    "domain=a_b rule=a:b.ip_10.0.0.0/8.k|1 key1=ip_10_0_0_0/8 key2=k_1 1",
                    "domain=a_b rule=a:b.ip_10_0_0_0/8.k|1 key1=ip_10_0_0_0/8 key2=k_1 1",
                ][..],
            ),
            ("ratelimit_service_rate_limit_domain_not_found", &["domain=10_1_2_3 4", "domain=x_y 3", "domain=z 8"]),
            ("tidegate_rule_limit", &["domain=a_b rule=a:b.k limit=0 period=0 0"]),
            ("tidegate_rule_saturation_ratio", &["domain=a_b rule=a:b.k 0.5"]),
        ] {
            let mut shown = Vec::new();
            metric(name).visit(&snapshot, &mut |labels, value| {
                let labels = labels.iter().map(|(name, value)| format!("{name}={value} "));
                shown.push(format!("{}{value}", labels.collect::<String>()));
            });
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn every_metric_has_a_value() {
        let totals = Totals::default();
        let snapshot = Snapshot {
            rules: vec![RuleSeries { domain: "d".into(), rule: "d.k".into(), totals, ..RuleSeries::default() }],
            requests_by_entry: vec![EntryRequests::default()],
            domains_not_found: vec![("x".into(), 1)],
            domains_forbidden: vec![("x".into(), 1)],
            errors: vec![("service", 1)],
            requests: vec![("ShouldRateLimit", 1)],
            limits: vec![LimitValue::default()],
            lifted: vec![("d".into(), "shadow_mode", 1)],
            settings: vec![("d".into(), "d.k".into(), 2)],
            saturation: vec![("d".into(), "d.k".into(), 0.5)],
            denials_dropped: vec![("log", 1)],
            connections: ConnectionValues { closed: vec![("grpc", "idle", 1)], ..ConnectionValues::default() },
            tls: vec![TlsValues::default()],
            admin_rejected: vec![("no_token", 1)],
            alerts: AlertValues { fired: 1, deliveries: vec![("failed", 1)] },
            resident_bytes: Some(1),
            xds: Some(XdsValues { set: Some(("1".into(), Nanos::from_secs(1))), ..XdsValues::default() }),
            store: Some(StoreValues {
                nodes: vec![StoreNodeValues {
                    requests: vec![("charge", 1)],
                    errors: vec![("timeout", 1)],
                    ..StoreNodeValues::default()
                }],
                key_operations: vec![("exact", 1)],
                down: vec![("d".into(), "local", 1)],
                changes: StoreChangesValues {
                    synchronized_ago: Some(Nanos::SECOND),
                    latest: Some(Timestamp::EPOCH),
                    ..StoreChangesValues::default()
                },
                ..StoreValues::default()
            }),
            statsd: Some(StatsdValues::default()),
            ..Snapshot::default()
        };
        for metric in METRICS {
            let mut series = 0;
            metric.visit(&snapshot, &mut |_, _| series += 1);
            assert_eq!(series, 1, "{}", metric.name);
        }
    }

    #[test]
    fn values_of_entries_have_labels_that_never_meet() {
        let values = [Some("other"), Some("true"), Some(""), None];
        let series = |value: Option<&str>| EntryRequests {
            domain: "d".into(),
            key: "k".into(),
            value: value.map(Into::into),
            totals: Totals::default().with(Measure::RequestsDenied, 1),
        };
        let snapshot = Snapshot { requests_by_entry: values.map(series).to_vec(), ..Snapshot::default() };
        let mut seen = Vec::new();
        metric("tidegate_denied_requests_by_entry_total").visit(&snapshot, &mut |labels, count| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            seen.push(format!("{} {count}", labels.join(",")));
        });
        assert_eq!(
            seen,
            [
                "domain=d,key=k,value=other 1",
                "domain=d,key=k,value=true 1",
                "domain=d,key=k 1",
                "domain=d,key=k,other=true 1"
            ]
        );
    }
}
