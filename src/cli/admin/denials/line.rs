//! A denied check as one line.

use prost_types::{Duration, Timestamp as WireTime};

use crate::api::proto::tidegate::v1::Denial;
use crate::api::proto::tidegate::v1::denial::{Descriptor, Limit, Reason};
use crate::cli::admin::render::entries;
use crate::cli::admin::time::{instant, instant_ms, length, period_of};
use crate::sanitize::sanitize_within;

/// `2026-11-27T14:00:00.120Z  user=ann; tenant=t  over limit 3 per minute of api.user (domain api) until 2026-11-27T14:01:00Z (60s)`.
pub(super) fn of(denial: &Denial) -> String {
    let at = denial.time.as_ref();
    let governing = denial.governing.clone().unwrap_or_default();
    let shadow = if denial.shadow { "admitted by shadow mode: " } else { "" };
    let mut limits = vec![format!("{shadow}{} (domain {}) {}", what(&governing), denial.domain, until(at, &governing))];
    limits.extend(denial.others.iter().map(|other| format!("{} {}", what(other), until(at, other))));
    limits.extend((denial.num_limits_omitted > 0).then(|| format!("{} more limits", denial.num_limits_omitted)));
    let time = at.map(instant_ms).unwrap_or_default();
    sanitize_within(MAX_LINE_BYTES, &format!("{time}  {}  {}", who(denial), limits.join("; ")))
}

/// The entries of each descriptor: `user=ann endpoint=/pay; tenant=t`.
fn who(denial: &Denial) -> String {
    let descriptors = denial.descriptors.iter().map(|Descriptor { entries: of, .. }| entries(of));
    let mut descriptors: Vec<_> = descriptors.collect();
    if denial.num_entries_omitted > 0 {
        descriptors.push(format!("{} more entries", denial.num_entries_omitted));
    }
    descriptors.join("; ")
}

/// Which limit denied, and why: `over limit 3 per minute of api.user`.
fn what(limit: &Limit) -> String {
    let of_limit = || {
        let period = period_of(limit.period.as_ref(), &limit.calendar);
        format!("{} per {period}", limit.requests_per_unit)
    };
    let reason = match limit.reason() {
        Reason::Unspecified | Reason::OverLimit => format!("over limit {}", of_limit()),
        Reason::Banned => "banned".to_owned(),
        Reason::QueueFull => format!("queue full, limit {}", of_limit()),
        Reason::NoRoom => "no room for a counter".to_owned(),
        Reason::StoreDown => "the store of shared counters is down, limit".to_owned(),
    };
    let hits = if limit.hits == 1 { String::new() } else { format!(" ({} hits)", limit.hits) };
    format!("{reason}{hits} of {}", limit.rule)
}

/// Until when it denies the same hits, and how long that is.
fn until(at: Option<&WireTime>, limit: &Limit) -> String {
    let (Some(at), Some(wait)) = (at, &limit.retry_after) else { return String::new() };
    format!("until {} ({})", instant(&after(at, wait)), length(wait))
}

/// The instant after a length of time, rounded up to seconds.
fn after(at: &WireTime, wait: &Duration) -> WireTime {
    let nanos = i64::from(at.nanos).saturating_add(i64::from(wait.nanos));
    let seconds = nanos.div_euclid(NANOS) + i64::from(nanos.rem_euclid(NANOS) > 0);
    WireTime { seconds: at.seconds.saturating_add(wait.seconds).saturating_add(seconds), nanos: 0 }
}

const NANOS: i64 = 1_000_000_000;
/// More than the text of a denied check with all its limits: 4 KiB of entries, and 17 rules.
const MAX_LINE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::proto::tidegate::v1::Entry;

    fn limit(rule: &str, reason: Reason, wait: (i64, i32)) -> Limit {
        Limit {
            rule: rule.into(),
            descriptor: 0,
            hits: 1,
            requests_per_unit: 3,
            period: Some(Duration { seconds: 60, nanos: 0 }),
            reason: reason.into(),
            retry_after: Some(Duration { seconds: wait.0, nanos: wait.1 }),
            calendar: String::new(),
        }
    }

    fn denial(of: &[&[(&str, &str)]], governing: Limit) -> Denial {
        let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
        let descriptor = |(index, entries): (usize, &&[(&str, &str)])| Descriptor {
            index: u32::try_from(index).unwrap(),
            entries: entries.iter().map(entry).collect(),
        };
        Denial {
            time: Some(WireTime { seconds: 1_795_665_600, nanos: 120_999_999 }),
            domain: "api".into(),
            descriptors: of.iter().enumerate().map(descriptor).collect(),
            governing: Some(governing),
            ..Denial::default()
        }
    }

    #[test]
    fn lines() {
        let plain =
            denial(&[&[("user", "ann"), ("path", "/x")]], limit("api.user", Reason::OverLimit, (59, 879_000_001)));
        let several = Denial {
            shadow: true,
            num_entries_omitted: 5,
            others: vec![limit("api.tenant", Reason::QueueFull, (0, 1))],
            num_limits_omitted: 2,
            ..denial(
                &[&[("user", "ann")], &[("tenant", "t\x1b[2J\n")]],
                Limit { hits: 7, ..limit("api.user", Reason::Banned, (3_600, 0)) },
            )
        };
        let full = denial(&[&[]], limit("api.user", Reason::NoRoom, (i64::MAX, i32::MAX)));
        let cases = [
            (
                plain,
                "2026-11-26T04:00:00.120Z  user=ann path=/x  over limit 3 per minute of api.user (domain api) \
                 until 2026-11-26T04:01:00Z (1m)",
            ),
            (
                several,
                "2026-11-26T04:00:00.120Z  user=ann; tenant=t\\u{1b}[2J\\n; 5 more entries  admitted by shadow mode: \
                 banned (7 hits) of api.user (domain api) until 2026-11-26T05:00:01Z (1h); \
                 queue full, limit 3 per minute of api.tenant until 2026-11-26T04:00:01Z (1ms); 2 more limits",
            ),
            (
                full,
                "2026-11-26T04:00:00.120Z    no room for a counter of api.user (domain api) \
                 until @9223372036854775807 (584years 6months)",
            ),
        ];
        for (denial, expected) in cases {
            assert_eq!(of(&denial), expected);
        }
        assert!(of(&Denial::default()).contains("over limit 0 per"), "{}", of(&Denial::default()));
    }
}
