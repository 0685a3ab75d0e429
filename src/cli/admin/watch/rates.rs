//! What a report says in comparison with the one before: rates, changes, and a server that began again.

use std::collections::HashMap;

use super::rows::{Name, Row};
use crate::api::proto::tidegate::v1::{ServerInstance, UsageCounts, UsageReport};
use crate::cli::admin::time::{instant, timestamp};
use crate::units::{Nanos, Timestamp};

/// The last report. It has as many rows as the server reports: some ten thousand at most.
#[derive(Debug, Default)]
pub(super) struct Tally {
    before: Option<Before>,
}

#[derive(Debug)]
struct Before {
    instance: String,
    at: Timestamp,
    counts: HashMap<Name, UsageCounts>,
    total: UsageCounts,
}

/// A report in comparison with the one before.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// For each row its rate since the report before; `None` where that is not known.
    pub(super) rates: Vec<Option<Rate>>,
    /// For each row whether a count is another one than in the report before, or the row is new.
    pub(super) changed: Vec<bool>,
    /// If the server began again, a sentence about it.
    pub(super) restarted: Option<String>,
}

/// Checks per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) requests: f64,
    pub(super) denied: f64,
}

impl Tally {
    /// Takes in a report with its rows, the total first.
    pub(super) fn advance(&mut self, report: &UsageReport, rows: &[Row]) -> Changes {
        let ServerInstance { id, started, .. } = report.instance.clone().unwrap_or_default();
        let at = report.time.as_ref().map_or(Timestamp::EPOCH, timestamp);
        let before = self.before.take();
        let is_same = before.as_ref().is_none_or(|before| before.instance == id);
        let restarted = before.as_ref().filter(|_| !is_same).map(|before| {
            let UsageCounts { num_requests, num_requests_denied, .. } = before.total;
            let since = started.as_ref().map(instant).unwrap_or_default();
            format!(
                "the server was started again at {since}: counts begin again; the process before was last seen with \
                 {num_requests} requests, {num_requests_denied} of them denied"
            )
        });
        // Of a new process every count was 0 when it started.
        let begun = if is_same {
            before.as_ref().map(|before| before.at)
        } else {
            Some(started.as_ref().map_or(Timestamp::EPOCH, timestamp))
        };
        let seconds = begun.map(|begun| seconds(at.since(begun)));
        let known = |row: &Row| match &before {
            Some(before) if is_same => before.counts.get(&row.name).copied(),
            Some(_) => Some(UsageCounts::default()),
            None => None,
        };
        let rate = |row: &Row| rate(&known(row)?, &row.counts, seconds?);
        let changes = Changes {
            rates: rows.iter().map(rate).collect(),
            changed: rows.iter().map(|row| restarted.is_some() || known(row) != Some(row.counts)).collect(),
            restarted,
        };
        let counts = rows.iter().map(|row| (row.name.clone(), row.counts)).collect();
        self.before = Some(Before { instance: id, at, counts, total: report.total.unwrap_or_default() });
        changes
    }
}

/// `None` if no time has passed.
fn rate(before: &UsageCounts, now: &UsageCounts, seconds: f64) -> Option<Rate> {
    #[allow(clippy::cast_precision_loss, reason = "a rate of more than 2^53 is none")]
    let per_second = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
    (seconds > 0.0).then(|| Rate {
        requests: per_second(before.num_requests, now.num_requests),
        denied: per_second(before.num_requests_denied, now.num_requests_denied),
    })
}

fn seconds(time: Nanos) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a length of time between two reports")]
    let seconds = time.as_ns() as f64 / 1e9;
    seconds
}

#[cfg(test)]
mod tests {
    use super::super::rows::of;
    use super::*;
    use crate::api::proto::tidegate::v1::RuleUsage;

    /// A report at this second of a process that started at second 100, with the requests and denials of rules.
    fn report(instance: &str, second: i64, rules: &[(&str, u64, u64)]) -> UsageReport {
        let counts = |requests, denied| {
            Some(UsageCounts { num_requests: requests, num_requests_denied: denied, ..UsageCounts::default() })
        };
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let rule = |(name, requests, denied): &(&str, u64, u64)| RuleUsage {
            rule: (*name).into(),
            counts: counts(*requests, *denied),
            ..RuleUsage::default()
        };
        UsageReport {
            instance: Some(ServerInstance { id: instance.into(), started: time(100), replicas: 0 }),
            time: time(second),
            total: counts(rules.iter().map(|rule| rule.1).sum(), rules.iter().map(|rule| rule.2).sum()),
            rules: rules.iter().map(rule).collect(),
            ..UsageReport::default()
        }
    }

    fn advance(tally: &mut Tally, report: &UsageReport) -> Changes {
        tally.advance(report, &of(report))
    }

    const fn rate(requests: f64, denied: f64) -> Rate {
        Rate { requests, denied }
    }

    #[test]
    fn rates_are_those_since_the_report_before() {
        let mut tally = Tally::default();
        let first = advance(&mut tally, &report("a", 110, &[("x", 10, 0), ("y", 5, 5)]));
        assert_eq!(first, Changes { rates: vec![None; 3], changed: vec![true; 3], restarted: None });
        let second = advance(&mut tally, &report("a", 114, &[("x", 18, 2), ("y", 5, 5), ("z", 1, 0)]));
        let rates = vec![Some(rate(2.25, 0.5)), Some(rate(2.0, 0.5)), Some(rate(0.0, 0.0)), None];
        assert_eq!(second, Changes { rates, changed: vec![true, true, false, true], restarted: None });
        let at_once = advance(&mut tally, &report("a", 114, &[("x", 19, 2)]));
        assert_eq!(at_once.rates, [None, None], "no time has passed");
    }

    #[test]
    fn a_new_process_is_noticed_and_counts_from_its_start() {
        let mut tally = Tally::default();
        advance(&mut tally, &report("a", 90, &[("x", 50, 7)]));
        let again = advance(&mut tally, &report("b", 110, &[("x", 20, 10)]));
        assert_eq!(again.rates, [Some(rate(2.0, 1.0)), Some(rate(2.0, 1.0))]);
        assert_eq!(again.changed, [true, true]);
        let sentence = again.restarted.unwrap();
        assert!(sentence.contains("1970-01-01T00:01:40Z") && sentence.contains("50 requests, 7 of them"), "{sentence}");
        assert_eq!(advance(&mut tally, &report("b", 111, &[("x", 20, 10)])).restarted, None, "said once");
    }

    #[test]
    fn hostile_times_and_counts_are_survived() {
        let mut tally = Tally::default();
        for (second, requests) in [(i64::MIN, u64::MAX), (i64::MAX, 0), (i64::MIN, u64::MAX)] {
            let changes = advance(&mut tally, &report("a", second, &[("x", requests, 0)]));
            assert!(changes.rates.iter().flatten().all(|rate| rate.requests >= 0.0), "{changes:?}");
        }
    }
}
