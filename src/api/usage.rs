//! Conversions between the messages of `tidegate.v1` and the types of [`crate::usage`].

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::Message;
use prost_types::{Duration, Timestamp as WireTime};
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

use super::proto::tidegate::v1;
use crate::engine::Reason;
use crate::limiter::{Plan, RuleInForce};
use crate::rules::RuleLimit;
use crate::units::{Nanos, Timestamp};
use crate::usage::{
    CounterCounts, Denial, DeniedDescriptor, DeniedLimit, EntryKey, Filter, Measure, ReportPosition, RequestCounts,
    RuleCounts, Selection, Totals,
};

/// Why a request for usage cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// The interval is out of range.
    #[error("interval: must be from 100 ms to 1 h")]
    Interval,
    /// An entry of the filter has no key.
    #[error("filter.entries: a key must not be empty")]
    EmptyKey,
    /// The filter has too many entries.
    #[error("filter.entries: at most {MAX_ENTRIES} are allowed")]
    TooManyEntries,
    /// The domain or the rule does not exist.
    #[error("filter.{what}: there is no {what} {name:?}")]
    Unknown {
        /// Which of the two.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The rule is in another domain.
    #[error("filter: the rule {rule:?} is not in the domain {domain:?}")]
    OtherDomain {
        /// The rule's path.
        rule: String,
        /// The domain.
        domain: String,
    },
    /// Requests are not counted by this entry key.
    #[error("requests_by: requests are not counted by the entry key {key:?}: {known}")]
    NotCounted {
        /// The key.
        key: String,
        /// The keys by which they are counted, and how to add one.
        known: String,
    },
    /// Requests by no or an empty key, or by too many.
    #[error("requests_by: 1 to {MAX_REQUEST_KEYS} entry keys, none of them empty")]
    RequestKeys,
    /// A rule in the filter of requests.
    #[error("filter.rule: requests belong to no rule; leave out the rule, or requests_by")]
    RequestsOfRule,
    /// An entry with another key in the filter of requests.
    #[error("filter.entries: requests are counted by one key at a time; {key:?} is not in requests_by")]
    RequestsOfEntry {
        /// The key of the filter.
        key: String,
    },
}

impl From<BadQuestion> for Status {
    fn from(bad: BadQuestion) -> Self {
        Self::invalid_argument(bad.to_string())
    }
}

/// Reads a filter. The caller checks whether its names exist.
///
/// # Errors
/// An entry without a key, or too many entries.
pub fn read_filter(filter: Option<v1::UsageFilter>) -> Result<Filter, BadQuestion> {
    let v1::UsageFilter { domain, rule, entries, only_denied } = filter.unwrap_or_default();
    if entries.iter().any(|entry| entry.key.is_empty()) {
        return Err(BadQuestion::EmptyKey);
    }
    if entries.len() > MAX_ENTRIES {
        return Err(BadQuestion::TooManyEntries);
    }
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let entries = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    Ok(Filter { domain: given(domain), rule: given(rule), entries, only_denied })
}

/// Reads the entry keys by which requests are reported; without any, requests are not reported. The caller checks whether
/// requests are counted by these keys.
///
/// # Errors
/// An empty key, too many keys, or a filter that does not apply to requests.
pub fn read_requests_by(keys: Vec<String>, filter: &Filter) -> Result<Vec<String>, BadQuestion> {
    if keys.is_empty() {
        return Ok(keys);
    }
    if keys.len() > MAX_REQUEST_KEYS || keys.iter().any(String::is_empty) {
        return Err(BadQuestion::RequestKeys);
    }
    if filter.rule.is_some() {
        return Err(BadQuestion::RequestsOfRule);
    }
    match filter.entries.iter().find(|(key, _)| !keys.contains(key)) {
        Some((key, _)) => Err(BadQuestion::RequestsOfEntry { key: key.clone() }),
        None => Ok(keys),
    }
}

/// Reads the time between two reports.
///
/// # Errors
/// It is out of range.
pub fn read_interval(interval: Option<Duration>) -> Result<Nanos, BadQuestion> {
    let Some(interval) = interval else { return Ok(DEFAULT_INTERVAL) };
    let length = read_length(interval).ok_or(BadQuestion::Interval)?;
    if (LEAST_INTERVAL..=MOST_INTERVAL).contains(&length) { Ok(length) } else { Err(BadQuestion::Interval) }
}

/// Reads a length of time; `None` if it is negative.
pub fn read_length(length: Duration) -> Option<Nanos> {
    // Not prost's conversion, which overflows for the smallest number of seconds.
    let (seconds, nanos) = (u64::try_from(length.seconds).ok()?, u64::try_from(length.nanos).ok()?);
    Some(Nanos::from_secs(seconds).plus(Nanos::from_ns(nanos)))
}

/// An encoded `UsageReport`: the fields of one observer, and the sums, which observers with the same scope share.
///
/// Fields of a message may be in any order, so the two parts make one message when they are joined.
#[derive(Clone, Debug)]
pub struct EncodedReport {
    own: Vec<u8>,
    body: Bytes,
}

/// The limits in force, by the path of their rule.
#[derive(Clone, Debug, Default)]
pub struct LimitsInForce(HashMap<String, Vec<v1::LimitInForce>>);

impl LimitsInForce {
    /// Those of a plan. Cost: linear in the number of rules.
    pub fn of(plan: &Plan) -> Self {
        let limits = |in_force: RuleInForce<'_>| {
            let RuleInForce { rule, configured, domain_enabled, shadow_mode, .. } = in_force;
            let limit = |limit: &RuleLimit| v1::LimitInForce {
                requests_per_unit: limit.requests_per_unit,
                period: Some(length(limit.period.length)),
                enabled: domain_enabled && limit.enabled,
                shadow_mode,
                set: !std::ptr::eq(rule, configured),
                calendar: limit.period.calendar.map(ToString::to_string).unwrap_or_default(),
            };
            (configured.path.clone(), rule.limits.iter().map(limit).collect())
        };
        Self(plan.rules_in_force().map(limits).collect())
    }

    /// Those of the rule with this path; none if it is unlimited, or no longer configured.
    pub fn of_rule(&self, path: &str) -> &[v1::LimitInForce] {
        self.0.get(path).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Encodes the sums of a report. Cost: linear in their number; to be called once for all observers with the same scope.
pub fn encode_body(body: &Selection, limits: &LimitsInForce) -> Bytes {
    let report = v1::UsageReport {
        rules: body.rules.iter().map(|counts| rule(counts, limits)).collect(),
        counters: body.counters.iter().map(counter).collect(),
        total: Some(counts(&body.total.with(Measure::RequestsUnmatched, body.unmatched))),
        requests: body.requests.iter().map(request).collect(),
        request_totals: body.request_totals.iter().map(|(key, totals)| request_total(key, totals)).collect(),
        ..v1::UsageReport::default()
    };
    report.encode_to_vec().into()
}

/// Writes a report with the sums that [`encode_body`] encoded.
pub fn report(
    instance: v1::ServerInstance,
    place: ReportPosition,
    resumed: bool,
    at: Timestamp,
    body: Bytes,
) -> EncodedReport {
    let own = v1::UsageReport {
        instance: Some(instance),
        sequence: place.sequence,
        time: Some(time(at)),
        num_reports_merged: place.merged,
        resumed,
        ..v1::UsageReport::default()
    };
    EncodedReport { own: own.encode_to_vec(), body }
}

/// Decodes requests of `WatchUsage`, and passes encoded reports through.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReportCodec;

impl Codec for ReportCodec {
    type Encode = EncodedReport;
    type Decode = v1::WatchUsageRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<v1::WatchUsageRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for ReportCodec {
    type Item = EncodedReport;
    type Error = Status;

    fn encode(&mut self, report: EncodedReport, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(report.own.len() + report.body.len());
        out.put_slice(&report.own);
        out.put_slice(&report.body);
        Ok(())
    }
}

/// Writes sums.
pub fn counts(totals: &Totals) -> v1::UsageCounts {
    let get = |measure| totals.get(measure);
    v1::UsageCounts {
        num_requests: get(Measure::Requests),
        num_requests_allowed: get(Measure::RequestsAllowed),
        num_requests_denied: get(Measure::RequestsDenied),
        hits: get(Measure::Hits),
        hits_allowed: get(Measure::HitsAllowed),
        hits_over_limit: get(Measure::HitsOverLimit),
        hits_near_limit: get(Measure::HitsNearLimit),
        hits_shadow_denied: get(Measure::HitsShadowDenied),
        hits_refunded: get(Measure::HitsRefunded),
        num_requests_queued: get(Measure::RequestsQueued),
        denials: Some(v1::DenialCounts {
            over_limit: get(Measure::DeniedOverLimit),
            banned: get(Measure::DeniedBanned),
            queue_full: get(Measure::DeniedQueueFull),
            no_room: get(Measure::DeniedNoRoom),
        }),
        num_requests_unlimited: get(Measure::RequestsUnlimited),
        num_requests_unmatched: get(Measure::RequestsUnmatched),
    }
}

/// Writes a denied check.
pub fn denial(denial: &Arc<Denial>) -> v1::Denial {
    let descriptor = |descriptor: &DeniedDescriptor| v1::denial::Descriptor {
        index: place(descriptor.index),
        entries: entries(&descriptor.entries),
    };
    v1::Denial {
        time: Some(time(denial.at)),
        domain: denial.domain.clone(),
        descriptors: denial.descriptors.iter().map(descriptor).collect(),
        num_entries_omitted: denial.entries_omitted,
        governing: Some(denied_limit(&denial.governing)),
        others: denial.others.iter().map(denied_limit).collect(),
        num_limits_omitted: denial.limits_omitted,
        shadow: denial.shadow,
    }
}

fn denied_limit(limit: &DeniedLimit) -> v1::denial::Limit {
    let reason = match limit.reason {
        Reason::OverLimit => v1::denial::Reason::OverLimit,
        Reason::Banned => v1::denial::Reason::Banned,
        Reason::QueueFull => v1::denial::Reason::QueueFull,
        Reason::NoRoom => v1::denial::Reason::NoRoom,
        Reason::StoreDown => v1::denial::Reason::StoreDown,
    };
    v1::denial::Limit {
        rule: limit.rule.clone(),
        descriptor: place(limit.descriptor),
        hits: limit.hits,
        requests_per_unit: limit.requests_per_unit,
        period: Some(length(limit.period)),
        reason: reason.into(),
        retry_after: Some(length(limit.retry_after)),
        calendar: limit.calendar.map(ToString::to_string).unwrap_or_default(),
    }
}

fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Writes an instant.
pub fn time(at: Timestamp) -> WireTime {
    let Duration { seconds, nanos } = length(Nanos::from_ns(at.as_ns()));
    WireTime { seconds, nanos }
}

/// A length of time as a message.
pub fn length(length: Nanos) -> Duration {
    let (seconds, nanos) = (length.as_ns() / Nanos::SECOND.as_ns(), length.as_ns() % Nanos::SECOND.as_ns());
    Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: i32::try_from(nanos).unwrap_or(0) }
}

fn rule(rule: &RuleCounts, limits: &LimitsInForce) -> v1::RuleUsage {
    v1::RuleUsage {
        domain: rule.rule.domain.clone(),
        rule: rule.rule.path.clone(),
        counts: Some(counts(&rule.totals)),
        limits: limits.of_rule(&rule.rule.path).to_vec(),
    }
}

fn counter(counter: &CounterCounts) -> v1::CounterUsage {
    v1::CounterUsage {
        domain: counter.name.rule.domain.clone(),
        rule: counter.name.rule.path.clone(),
        entries: entries(&counter.name.entries),
        other: counter.other,
        counts: Some(v1::UsageCounts { denials: None, ..counts(&counter.totals) }),
    }
}

fn request(RequestCounts { name, other, totals }: &RequestCounts) -> v1::RequestUsage {
    v1::RequestUsage { value: name.value.clone(), other: *other, ..request_total(&name.key, totals) }
}

fn request_total(key: &EntryKey, totals: &Totals) -> v1::RequestUsage {
    v1::RequestUsage {
        domain: key.domain.clone(),
        key: key.key.clone(),
        value: String::new(),
        other: false,
        counts: Some(v1::UsageCounts { denials: None, ..counts(totals) }),
    }
}

/// Entries as messages.
pub fn entries(entries: &[(String, String)]) -> Vec<v1::Entry> {
    entries.iter().map(|(key, value)| v1::Entry { key: key.clone(), value: value.clone() }).collect()
}

/// As many as a domain can configure.
const MAX_REQUEST_KEYS: usize = 8;
/// Entries of a filter: no configuration is that deep.
const MAX_ENTRIES: usize = 16;
/// People cannot read faster, and each report costs about a millisecond.
const LEAST_INTERVAL: Nanos = Nanos::from_ns(100_000_000);
const MOST_INTERVAL: Nanos = Nanos::from_secs(3_600);
const DEFAULT_INTERVAL: Nanos = Nanos::SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        let duration = |seconds, nanos| Some(Duration { seconds, nanos });
        for (given, want) in [
            (None, Some(1_000)),
            (duration(0, 0), None),
            (duration(0, 99_999_999), None),
            (duration(0, 100_000_000), Some(100)),
            (duration(3_600, 0), Some(3_600_000)),
            (duration(3_600, 1), None),
            (duration(-1, 0), None),
            (duration(i64::MAX, i32::MAX), None),
            (duration(i64::MIN, i32::MIN), None),
            (duration(1, -1), None),
        ] {
            let read = read_interval(given).ok().map(Nanos::as_millis_ceil);
            assert_eq!(read, want, "{given:?}");
        }
    }

    #[test]
    fn filters() {
        let entry = |key: &str| v1::Entry { key: key.to_owned(), value: String::new() };
        let with = |keys: Vec<v1::Entry>| {
            let entries = keys.into_iter().map(|v1::Entry { key, value }| v1::EntryFilter { key, value }).collect();
            read_filter(Some(v1::UsageFilter { entries, ..v1::UsageFilter::default() }))
        };
        assert_eq!(read_filter(None), Ok(Filter::default()));
        assert!(with(vec![entry("k")]).is_ok());
        assert_eq!(with(vec![entry("k"), entry("")]), Err(BadQuestion::EmptyKey));
        assert_eq!(with((0..17).map(|i| entry(&i.to_string())).collect()), Err(BadQuestion::TooManyEntries));
    }

    #[test]
    fn instants_to_the_nanosecond() {
        let body = time(Timestamp::from_ns(1_700_000_000_123_456_789));
        assert_eq!((body.seconds, body.nanos), (1_700_000_000, 123_456_789));
    }
}
