//! The rows of a report: the total, each rule, and counters and values if they are asked for.

use crate::api::proto::tidegate::v1::{
    CounterUsage, DenialCounts, LimitInForce, RequestUsage, RuleUsage, UsageCounts, UsageReport,
};
use crate::cli::admin::render::entries;
use crate::cli::admin::time::period_of;

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// All that is selected.
    Total,
    Rule,
    Counter,
    /// Requests with one value of an entry key.
    Requests,
}

/// Identifies a row in one report after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) kind: Kind,
    /// A rule of the same path may be in another domain.
    domain: String,
    /// What people see.
    pub(super) text: String,
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: Name,
    /// The limits in force, such as `3/minute`; empty: none, or a row that has no limits.
    pub(super) limit: String,
    pub(super) counts: UsageCounts,
    /// Words about the limits: `off`, `shadow`, `set`.
    pub(super) states: Vec<&'static str>,
}

impl Kind {
    /// Its name in plain lines.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Rule => "rule",
            Self::Counter => "counter",
            Self::Requests => "requests_of",
        }
    }
}

impl Row {
    fn new(kind: Kind, domain: &str, text: String, counts: Option<UsageCounts>) -> Self {
        let name = Name { kind, domain: domain.to_owned(), text };
        Self { name, limit: String::new(), counts: counts.unwrap_or_default(), states: Vec::new() }
    }

    /// What is neither zero nor the number of requests or denials, by its name.
    pub(super) fn also(&self) -> Vec<(&'static str, u64)> {
        let counts = &self.counts;
        let DenialCounts { banned, queue_full, no_room, .. } = counts.denials.unwrap_or_default();
        let unless = |count: u64, usual: u64| if count == usual { 0 } else { count };
        let all = [
            ("hits", unless(counts.hits, counts.num_requests)),
            ("over", unless(counts.hits_over_limit, counts.num_requests_denied)),
            ("near", counts.hits_near_limit),
            ("banned", banned),
            ("queue_full", queue_full),
            ("no_room", no_room),
            ("queued", counts.num_requests_queued),
            ("shadow_denied", counts.hits_shadow_denied),
            ("refunded", counts.hits_refunded),
            ("unlimited", counts.num_requests_unlimited),
            ("unmatched", counts.num_requests_unmatched),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// All rows of a report: the total first.
pub(super) fn of(report: &UsageReport) -> Vec<Row> {
    let mut rows = vec![Row::new(Kind::Total, "", "total".to_owned(), report.total)];
    rows.extend(report.rules.iter().map(of_rule));
    rows.extend(report.counters.iter().map(of_counter));
    rows.extend(report.requests.iter().map(of_requests));
    rows
}

fn of_rule(RuleUsage { domain, rule, counts, limits }: &RuleUsage) -> Row {
    let any = |is: fn(&LimitInForce) -> bool| limits.iter().any(is);
    let states = [
        (any(|limit| !limit.enabled), "off"),
        (any(|limit| limit.shadow_mode), "shadow"),
        (any(|limit| limit.set), "set"),
    ];
    let states = states.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    Row { limit: limit(limits), states, ..Row::new(Kind::Rule, domain, rule.clone(), *counts) }
}

/// `3/minute`, or `3/minute +1` if there is one more.
fn limit(limits: &[LimitInForce]) -> String {
    let Some(first) = limits.first() else { return String::new() };
    let period = period_of(first.period.as_ref(), &first.calendar);
    let more = if limits.len() > 1 { format!(" +{}", limits.len() - 1) } else { String::new() };
    format!("{}/{period}{more}", first.requests_per_unit)
}

fn of_counter(CounterUsage { domain, rule, entries: of, other, counts }: &CounterUsage) -> Row {
    let of = if *other { "(other)".to_owned() } else { entries(of) };
    Row::new(Kind::Counter, domain, format!("{rule} {of}"), *counts)
}

fn of_requests(RequestUsage { domain, key, value, other, counts }: &RequestUsage) -> Row {
    let value = if *other { "(other)" } else { value };
    Row::new(Kind::Requests, domain, format!("{key}={value}"), *counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::tidegate::v1::Entry;

    fn in_force(requests_per_unit: u32) -> LimitInForce {
        let period = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        LimitInForce { requests_per_unit, period, enabled: true, ..LimitInForce::default() }
    }

    #[test]
    fn limits_and_their_states() {
        let off = LimitInForce { enabled: false, set: true, ..in_force(5) };
        let shadow = LimitInForce { shadow_mode: true, ..in_force(7) };
        let cases = [
            (vec![], "", vec![]),
            (vec![in_force(3)], "3/minute", vec![]),
            (vec![in_force(3), in_force(9), in_force(9)], "3/minute +2", vec![]),
            (vec![off], "5/minute", vec!["off", "set"]),
            (vec![in_force(3), shadow], "3/minute +1", vec!["shadow"]),
        ];
        for (limits, limit, states) in cases {
            let row = of_rule(&RuleUsage { limits: limits.clone(), ..RuleUsage::default() });
            assert_eq!((row.limit.as_str(), row.states), (limit, states), "{limits:?}");
        }
    }

    #[test]
    fn a_report_has_a_row_for_each_thing_that_counts() {
        let counts = |num_requests| Some(UsageCounts { num_requests, hits: num_requests, ..UsageCounts::default() });
        let entry = Entry { key: "user".into(), value: "ann".into() };
        let counter = |entries, other| CounterUsage {
            domain: "api".into(),
            rule: "api.user".into(),
            entries,
            other,
            counts: counts(2),
        };
        let of_value = |value: &str, other| RequestUsage {
            domain: "api".into(),
            key: "user".into(),
            value: value.into(),
            other,
            counts: counts(1),
        };
        let report = UsageReport {
            total: counts(5),
            rules: vec![RuleUsage { rule: "api.user".into(), counts: counts(4), ..RuleUsage::default() }],
            counters: vec![counter(vec![entry], false), counter(vec![], true)],
            requests: vec![of_value("ann", false), of_value("", true)],
            ..UsageReport::default()
        };
        let rows = of(&report);
        let seen: Vec<_> =
            rows.iter().map(|row| (row.name.kind.word(), row.name.text.as_str(), row.counts.num_requests)).collect();
        let want = [
            ("total", "total", 5),
            ("rule", "api.user", 4),
            ("counter", "api.user user=ann", 2),
            ("counter", "api.user (other)", 2),
            ("requests_of", "user=ann", 1),
            ("requests_of", "user=(other)", 1),
        ];
        assert_eq!(seen, want);
        assert!(rows.iter().all(|row| row.also().is_empty()), "{rows:?}");
    }

    #[test]
    fn what_is_not_zero_is_named() {
        let denials = Some(DenialCounts { over_limit: 1, banned: 2, ..DenialCounts::default() });
        let counts = UsageCounts { num_requests: 4, hits: 9, hits_near_limit: 3, denials, ..UsageCounts::default() };
        let row = Row::new(Kind::Rule, "api", "api.user".to_owned(), Some(counts));
        assert_eq!(row.also(), [("hits", 9), ("near", 3), ("banned", 2)]);
    }
}
