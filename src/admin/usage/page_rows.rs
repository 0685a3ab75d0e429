//! The rows of usage that pages are sent, as JSON.

use bytes::Bytes;
use serde::Serialize;

use crate::api::proto::tidegate::v1::LimitInForce;
use crate::api::usage::LimitsInForce;
use crate::usage::{Changes, CounterCounts, Measure, RequestCounts, RuleCounts, Totals};

/// Counts are cumulative since the server started. What is 0, false or empty is left out.
#[derive(Serialize)]
struct Rows<'c> {
    total: Counts,
    rules: Vec<RuleRow<'c>>,
    counters: Vec<CounterRow<'c>>,
    requests: Vec<RequestRow<'c>>,
}

#[derive(Serialize)]
struct RuleRow<'c> {
    domain: &'c str,
    rule: &'c str,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<LimitRow>,
}

#[derive(Serialize)]
struct LimitRow {
    requests_per_unit: u32,
    period_ms: u64,
    enabled: bool,
    #[serde(skip_serializing_if = "is_false")]
    shadow_mode: bool,
    /// A setting applies to the rule.
    #[serde(skip_serializing_if = "is_false")]
    set: bool,
    /// The calendar that windows follow, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    calendar: String,
}

#[derive(Serialize)]
struct CounterRow<'c> {
    domain: &'c str,
    rule: &'c str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entries: &'c [(String, String)],
    #[serde(skip_serializing_if = "is_false")]
    other: bool,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct RequestRow<'c> {
    domain: &'c str,
    key: &'c str,
    value: &'c str,
    #[serde(skip_serializing_if = "is_false")]
    other: bool,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "is_zero")]
    requests: u64,
    #[serde(skip_serializing_if = "is_zero")]
    denied: u64,
    #[serde(skip_serializing_if = "is_zero")]
    hits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    queued: u64,
    #[serde(skip_serializing_if = "is_zero")]
    banned: u64,
    #[serde(skip_serializing_if = "is_zero")]
    queue_full: u64,
    #[serde(skip_serializing_if = "is_zero")]
    no_room: u64,
    #[serde(skip_serializing_if = "is_zero")]
    hits_shadow_denied: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unlimited: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unmatched: u64,
}

/// The rows as the fields of a JSON object, without its braces. Cost: linear in the number of rows.
pub(super) fn encode_rows(changes: &Changes, limits: &LimitsInForce) -> Bytes {
    let rows = Rows {
        total: counts(&changes.total.with(Measure::RequestsUnmatched, changes.unmatched)),
        rules: changes.rules.iter().map(|row| rule(row, limits)).collect(),
        counters: changes.counters.iter().map(counter).collect(),
        requests: changes.requests.iter().map(request).collect(),
    };
    // Strings and numbers can always be written.
    let object = serde_json::to_vec(&rows).unwrap_or_default();
    let inside = object.get(1..object.len().saturating_sub(1)).unwrap_or_default();
    Bytes::copy_from_slice(inside)
}

fn rule<'c>(row: &'c RuleCounts, limits: &LimitsInForce) -> RuleRow<'c> {
    let limits = limits.of_rule(&row.rule.path).iter().map(limit).collect();
    RuleRow { domain: &row.rule.domain, rule: &row.rule.path, counts: counts(&row.totals), limits }
}

fn limit(limit: &LimitInForce) -> LimitRow {
    let LimitInForce { requests_per_unit, period, enabled, shadow_mode, set, ref calendar } = *limit;
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    let period_ms = period.map_or(0, |period| {
        part(period.seconds).saturating_mul(1_000).saturating_add(part(i64::from(period.nanos)) / 1_000_000)
    });
    LimitRow { requests_per_unit, period_ms, enabled, shadow_mode, set, calendar: calendar.clone() }
}

fn counter(row: &CounterCounts) -> CounterRow<'_> {
    let name = &row.name;
    CounterRow {
        domain: &name.rule.domain,
        rule: &name.rule.path,
        entries: &name.entries,
        other: row.other,
        counts: counts(&row.totals),
    }
}

fn request(row: &RequestCounts) -> RequestRow<'_> {
    let name = &row.name;
    RequestRow {
        domain: &name.key.domain,
        key: &name.key.key,
        value: &name.value,
        other: row.other,
        counts: counts(&row.totals),
    }
}

fn counts(totals: &Totals) -> Counts {
    let get = |measure| totals.get(measure);
    Counts {
        requests: get(Measure::Requests),
        denied: get(Measure::RequestsDenied),
        hits: get(Measure::Hits),
        queued: get(Measure::RequestsQueued),
        banned: get(Measure::DeniedBanned),
        queue_full: get(Measure::DeniedQueueFull),
        no_room: get(Measure::DeniedNoRoom),
        hits_shadow_denied: get(Measure::HitsShadowDenied),
        unlimited: get(Measure::RequestsUnlimited),
        unmatched: get(Measure::RequestsUnmatched),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
