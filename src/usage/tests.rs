//! Sums are exact: with several threads, with and without free series, and for every outcome of checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::engine::{Outcome, Reason, Verdict};
use crate::units::Nanos;

const WORKERS: usize = 3;

fn outcome(verdict: Verdict) -> Outcome {
    Outcome { verdict, before: 0, after: 1, remaining: 0, reset: Nanos::ZERO }
}

fn labels(key: &str) -> Labels {
    Labels::new("d", &[key.to_owned()])
}

fn entry(value: usize) -> Vec<(String, String)> {
    vec![("k".to_owned(), value.to_string())]
}

/// One check of counter `value` of `rule` with `hits` hits.
fn check(usage: &Usage, rule: &RuleUsage, worker: usize, (value, hits): (usize, u64), verdict: Verdict, shadow: bool) {
    let key = format!("{}/{value}", rule.name().path);
    let slot = usage.slot(usage.series(rule, key.as_bytes(), || entry(value)));
    let outcome = outcome(verdict);
    rule.counts.record(Recorded {
        worker: WorkerSlot(worker),
        now: crate::units::Timestamp::EPOCH,
        slot,
        hits,
        outcome: &outcome,
        capacity: 10,
        near_limit_ratio: 0.8,
        shadow,
    });
}

fn sum_of_counters(snapshot: &UsageSnapshot, rule: &RuleName) -> Totals {
    let own = snapshot.counters.iter().filter(|counter| *counter.name.rule == *rule);
    own.fold(Totals::default(), |sum, counter| sum.plus(&counter.totals))
}

#[test]
fn threads_lose_nothing_and_other_is_the_rest() {
    for series in [0, 1, 5, 100] {
        let usage = Usage::new(WORKERS, series);
        let rules = [usage.for_rule(&labels("a")), usage.for_rule(&labels("b"))];
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (usage, rules) = (&usage, &rules);
                scope.spawn(move || {
                    for i in 0..3_000 {
                        let verdict = if i % 3 == 0 { Verdict::Denied(Reason::OverLimit) } else { Verdict::ADMITTED };
                        check(usage, &rules[i % 2], worker, (i % 10, 2), verdict, false);
                    }
                });
            }
        });
        let snapshot = usage.snapshot();
        let total = snapshot.total();
        assert_eq!(
            (total.requests(), total.get(Measure::RequestsDenied), total.hits()),
            (9_000, 3_000, 18_000),
            "{series} series"
        );
        assert_eq!(
            (total.get(Measure::DeniedOverLimit), total.get(Measure::HitsDenied)),
            (3_000, 6_000),
            "{series} series"
        );
        let own = snapshot.counters.iter().filter(|counter| !counter.other).count();
        assert_eq!(own, usage.series_used().0);
        assert_eq!(own, 10.min(series as usize));
        for rule in &snapshot.rules {
            assert_eq!(sum_of_counters(&snapshot, &rule.rule), rule.totals.per_counter(), "{series} series");
        }
        let by_rule: BTreeMap<_, _> = usage.rule_totals().collect();
        let reported: BTreeMap<_, _> =
            snapshot.rules.iter().map(|rule| (Arc::clone(&rule.rule), rule.totals)).collect();
        assert_eq!(by_rule, reported, "alerts read the same sums");
        let metrics = usage.series_usage().iter().fold(Totals::default(), |sum, rule| sum.plus(&rule.totals));
        assert_eq!(metrics, total, "the metrics are the same");
    }
}

/// Sums by name, of all kinds; whether it is `other` is a part of the name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    rules: BTreeMap<Arc<RuleName>, Totals>,
    counters: BTreeMap<(Arc<CounterName>, bool), Totals>,
    requests: BTreeMap<(Arc<RequestName>, bool), Totals>,
    unmatched: u64,
}

impl Sums {
    fn add(&mut self, rules: &[RuleCounts], counters: &[CounterCounts], requests: &[RequestCounts], unmatched: u64) {
        let counted = |totals: &Totals| !totals.is_zero();
        for row in rules.iter().filter(|row| counted(&row.totals)) {
            self.rules.entry(Arc::clone(&row.rule)).or_default().add(&row.totals);
        }
        for row in counters.iter().filter(|row| counted(&row.totals)) {
            self.counters.entry((Arc::clone(&row.name), row.other)).or_default().add(&row.totals);
        }
        for row in requests {
            self.requests.entry((Arc::clone(&row.name), row.other)).or_default().add(&row.totals);
        }
        self.unmatched += unmatched;
    }
}

/// Readings in the middle of everything add up to what has been counted, and so does each of them for itself.
#[test]
fn gains_lose_nothing_and_repeat_nothing() {
    for series in [0, 1, 5, 100] {
        let usage = Usage::new(WORKERS, series);
        let rules = [usage.for_rule(&labels("a")), usage.for_rule_by_value(&labels("b"))];
        let key = usage.for_entry_key("d", "user");
        let (mut last, mut sums) = (LastReading::default(), Sums::default());
        let mut read = || {
            let gains = usage.gains(&mut last);
            for rule in &gains.rules {
                let own = gains.counters.iter().filter(|counter| counter.name.rule == rule.rule);
                let own = own.fold(Totals::default(), |sum, counter| sum.plus(&counter.totals));
                assert_eq!(own, rule.totals.per_counter(), "{series} series");
            }
            sums.add(&gains.rules, &gains.counters, &gains.requests, gains.unmatched);
        };
        thread::scope(|scope| {
            let counting: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (usage, rules, key) = (&usage, &rules, &key);
                    scope.spawn(move || {
                        for i in 0..3_000 {
                            let denied = i % 3 == 0;
                            let verdict = if denied { Verdict::Denied(Reason::OverLimit) } else { Verdict::ADMITTED };
                            check(usage, &rules[i % 2], worker, (i % 10, 2), verdict, false);
                            usage.count_by_entry(WorkerSlot(worker), key, &(i % 7).to_string(), 2, denied);
                            usage.count_unmatched(WorkerSlot(worker), i % 2);
                        }
                    })
                })
                .collect();
            while counting.iter().any(|thread| !thread.is_finished()) {
                read();
            }
        });
        read();
        let mut want = Sums::default();
        let now = usage.snapshot();
        want.add(&now.rules, &now.counters, &now.requests, now.unmatched);
        assert_eq!(sums, want, "{series} series");
        assert_eq!(usage.gains(&mut last), Gains::default(), "nothing is new");
        check(&usage, &rules[0], 1, (3, 4), Verdict::ADMITTED, false);
        let gains = usage.gains(&mut last);
        assert_eq!((gains.rules.len(), gains.counters.len(), gains.requests.len()), (1, 1, 0), "{gains:?}");
        assert_eq!((gains.rules[0].totals.requests(), gains.counters[0].totals.hits()), (1, 4));
    }
}

/// A sum of hits that starts again from 0, as it does at 2^64, gains what was added.
#[test]
fn gains_of_hits_do_not_depend_on_their_sum() {
    let usage = Usage::new(1, 1);
    let rule = usage.for_rule(&labels("a"));
    let mut last = LastReading::default();
    for hits in [u64::MAX, u64::MAX, 7] {
        for counter in [1, 2] {
            check(&usage, &rule, 0, (counter, hits), Verdict::Denied(Reason::OverLimit), false);
        }
        let gains = usage.gains(&mut last);
        let denied: Vec<_> = gains.counters.iter().map(|row| row.totals.get(Measure::HitsDenied)).collect();
        assert_eq!(denied, [hits, hits], "of a counter with a series, and of one without");
        assert_eq!(gains.rules[0].totals.get(Measure::RequestsDenied), 2);
    }
}

#[test]
fn each_fate_of_a_check_is_counted_where_it_belongs() {
    let queued = Verdict::Admitted { delay: Nanos::SECOND };
    let denied = |reason| Verdict::Denied(reason);
    for series in [0, 9] {
        let usage = Usage::new(WORKERS, series);
        let rule = usage.for_rule(&labels("a"));
        for (n, verdict, shadow) in [
            (1, Verdict::ADMITTED, false),
            (2, queued, false),
            (3, denied(Reason::OverLimit), false),
            (4, denied(Reason::Banned), false),
            (5, denied(Reason::QueueFull), false),
            (6, denied(Reason::NoRoom), false),
            (7, denied(Reason::OverLimit), true),
        ] {
            (0..n).for_each(|i| check(&usage, &rule, i, (1, 10), verdict, shadow));
        }
        rule.counts.record_unlimited(WorkerSlot(0), 5);
        rule.counts.record_refund(WorkerSlot(0), 4);
        usage.count_unmatched(WorkerSlot(0), 2);
        let snapshot = usage.snapshot();
        let want = [
            (Measure::RequestsAllowed, 11),
            (Measure::RequestsDenied, 18),
            (Measure::HitsAllowed, 105),
            (Measure::HitsDenied, 180),
            (Measure::HitsWithinLimit, 35),
            (Measure::HitsRefunded, 4),
            (Measure::RequestsQueued, 2),
            (Measure::RequestsUnlimited, 1),
            (Measure::DeniedOverLimit, 3),
            (Measure::DeniedBanned, 4),
            (Measure::DeniedQueueFull, 5),
            (Measure::DeniedNoRoom, 6),
        ];
        let reported = snapshot.total();
        // How hits are split at the limit follows the reference, and is tested in the comparison with it.
        for (measure, count) in want {
            assert_eq!(reported.get(measure), count, "{measure:?}, {series} series");
        }
        assert_eq!(snapshot.unmatched, 2);
        assert_eq!(sum_of_counters(&snapshot, rule.name()), reported.per_counter());
    }
}

#[test]
fn a_series_outlives_its_counter_and_is_never_given_again() {
    let usage = Usage::new(1, 2);
    let rule = usage.for_rule(&labels("a"));
    let first = usage.series(&rule, b"1", || entry(1));
    assert_eq!(usage.series(&rule, b"1", || panic!("it has a name")), first);
    let second = usage.series(&rule, b"2", || entry(2));
    assert_eq!(usage.series(&rule, b"3", || panic!("there is none left")), Series(0));
    assert_eq!([first, second, usage.series(&rule, b"1", || entry(1))], [Series(1), Series(2), Series(1)]);
    assert_eq!(usage.series_used(), (2, 2));
}

#[test]
fn a_name_that_is_too_long_has_no_series() {
    let usage = Usage::new(1, 2);
    let rule = usage.for_rule(&labels("a"));
    let long = || vec![("k".to_owned(), "v".repeat(5_000))];
    assert_eq!(usage.series(&rule, b"long", long), Series(0));
    assert_eq!(usage.series_used().0, 0);
}

#[test]
fn the_order_is_by_domain_rule_and_entries_with_other_last() {
    let usage = Usage::new(1, 3);
    let rules = [usage.for_rule(&labels("b")), usage.for_rule(&labels("a"))];
    for (rule, value) in [(0, 2), (0, 1), (1, 7), (1, 8), (0, 3)] {
        check(&usage, &rules[rule], 0, (value, 1), Verdict::ADMITTED, false);
    }
    let snapshot = usage.snapshot();
    let rows: Vec<_> = snapshot
        .counters
        .iter()
        .map(|counter| {
            let value = counter.name.entries.first().map_or("other", |(_, value)| value);
            (counter.name.rule.path.as_str(), value, counter.totals.requests())
        })
        .collect();
    assert_eq!(rows, [("d.a", "7", 1), ("d.a", "other", 1), ("d.b", "1", 1), ("d.b", "2", 1), ("d.b", "other", 1)]);
    let rules: Vec<_> = snapshot.rules.iter().map(|rule| rule.rule.path.as_str()).collect();
    assert_eq!(rules, ["d.a", "d.b"]);
}

#[test]
fn threads_lose_no_request_and_other_is_the_rest() {
    for series in [0, 1, 5, 100] {
        let usage = Usage::new(WORKERS, series);
        let keys = [usage.for_entry_key("d", "user"), usage.for_entry_key("d", "tenant")];
        assert!(Arc::ptr_eq(&keys[0], &usage.for_entry_key("d", "user")), "the same after a reload");
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (usage, keys) = (&usage, &keys);
                scope.spawn(move || {
                    for i in 0..3_000 {
                        usage.count_by_entry(WorkerSlot(worker), &keys[i % 2], &(i % 10).to_string(), 2, i % 3 == 0);
                    }
                });
            }
        });
        let requests = usage.requests_by_entry();
        for key in ["tenant", "user"] {
            let own = requests.iter().filter(|row| row.name.key.key == key);
            let total = own.fold(Totals::default(), |sum, row| sum.plus(&row.totals));
            assert_eq!(
                (total.requests(), total.get(Measure::RequestsDenied), total.hits()),
                (4_500, 1_500, 9_000),
                "{key}, {series}"
            );
        }
        let own = requests.iter().filter(|row| !row.other).count();
        assert_eq!((own, own), (usage.entry_values_used(), 10.min(series as usize)));
    }
}
