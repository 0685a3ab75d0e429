//! What a page is sent of a snapshot: the rules that have changed since the one before, and the counters and values at the top.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{CounterCounts, Filter, Measure, RequestCounts, RuleCounts, Totals, UsageSnapshot};

/// The part of a snapshot that a page is sent. All numbers are cumulative, so a page that misses some loses detail, never a sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The rules whose sums have changed, sorted by name; without a snapshot before, all of them.
    pub rules: Vec<RuleCounts>,
    /// The counters at the top, by name: of hits and of denied checks, since the start and since the snapshot before.
    pub counters: Vec<CounterCounts>,
    /// The values of entry keys at the top, in the same ways.
    pub requests: Vec<RequestCounts>,
    /// The sums over all selected rules.
    pub total: Totals,
    /// Checks that matched no rule, if the filter selects everything, otherwise 0.
    pub unmatched: u64,
}

impl Changes {
    /// What the filter selects of `now`, compared with `before`, an earlier snapshot of the same process. `always` selects rules that
    /// are included although their sums have not changed.
    ///
    /// Cost: linear in the snapshot; only the result is copied.
    pub fn new(
        now: &UsageSnapshot,
        before: Option<&UsageSnapshot>,
        filter: &Filter,
        top: usize,
        always: impl Fn(&RuleCounts) -> bool,
    ) -> Self {
        let none = UsageSnapshot::default();
        let earlier = before.unwrap_or(&none);
        let mut changes = Self { unmatched: if filter.takes_all() { now.unmatched } else { 0 }, ..Self::default() };
        for (row, old) in joined(&now.rules, &earlier.rules, |a, b| a.rule.cmp(&b.rule)) {
            if filter.takes_rule(&row.rule) {
                changes.total.add(&row.totals);
                if always(row) || old.is_none_or(|old| old.totals != row.totals) {
                    changes.rules.push(row.clone());
                }
            }
        }
        let counters = joined(&now.counters, &earlier.counters, by_name);
        let counters = counters.filter(|(row, _)| filter.takes_counter(row));
        changes.counters = at_the_top(counters.map(|(row, old)| (row, row.totals, old.map(|old| old.totals))), top);
        let requests = joined(&now.requests, &earlier.requests, by_key);
        let requests = requests.filter(|(row, _)| filter.takes_request(row));
        changes.requests = at_the_top(requests.map(|(row, old)| (row, row.totals, old.map(|old| old.totals))), top);
        changes
    }
}

/// As [`UsageSnapshot::counters`] is sorted. Most rows have the same name, which need not be read.
fn by_name(a: &CounterCounts, b: &CounterCounts) -> Ordering {
    if Arc::ptr_eq(&a.name, &b.name) && a.other == b.other {
        return Ordering::Equal;
    }
    (&a.name.rule, a.other, &a.name.entries).cmp(&(&b.name.rule, b.other, &b.name.entries))
}

/// As [`UsageSnapshot::requests`] is sorted.
fn by_key(a: &RequestCounts, b: &RequestCounts) -> Ordering {
    if Arc::ptr_eq(&a.name, &b.name) && a.other == b.other {
        return Ordering::Equal;
    }
    (&a.name.key, a.other, &a.name.value).cmp(&(&b.name.key, b.other, &b.name.value))
}

/// Each row with the one of that name before. Both lists are sorted in the `order`.
fn joined<'s, T>(
    now: &'s [T],
    before: &'s [T],
    order: impl Fn(&T, &T) -> Ordering + 's,
) -> impl Iterator<Item = (&'s T, Option<&'s T>)> {
    let mut before = before.iter().peekable();
    now.iter().map(move |row| {
        while before.next_if(|old| order(old, row) == Ordering::Less).is_some() {}
        (row, before.next_if(|old| order(old, row) == Ordering::Equal))
    })
}

/// The rows that are among the first `top` by hits or by denied checks, since the start or since the snapshot before.
fn at_the_top<'s, T: Clone + 's>(rows: impl Iterator<Item = (&'s T, Totals, Option<Totals>)>, top: usize) -> Vec<T> {
    let ranked = rows.map(|(row, totals, old)| {
        let denied = |totals: &Totals| totals.get(Measure::RequestsDenied);
        let gained = totals.since(&old.unwrap_or_default());
        (row, [totals.hits(), denied(&totals), gained.hits(), denied(&gained)])
    });
    let ranked: Vec<_> = ranked.collect();
    let mut picked = BTreeSet::new();
    for by in 0..RANKINGS {
        let count = |ranks: &[u64; RANKINGS]| ranks.get(by).copied().unwrap_or(0);
        let ranks = ranked.iter().enumerate().map(|(place, (_, ranks))| (count(ranks), place));
        let mut ranks: Vec<_> = ranks.filter(|(count, _)| *count > 0).collect();
        if top < ranks.len() {
            ranks.select_nth_unstable_by_key(top, |(count, place)| (Reverse(*count), *place));
            ranks.truncate(top);
        }
        picked.extend(ranks.into_iter().map(|(_, place)| place));
    }
    picked.into_iter().filter_map(|place| ranked.get(place)).map(|(row, _)| (*row).clone()).collect()
}

/// By hits and by denied checks, since the start and since the snapshot before.
const RANKINGS: usize = 4;

#[cfg(test)]
mod tests {
    use super::super::{CounterName, RuleName};
    use super::*;

    /// A rule for each name, and a counter of the rule `api.c` for each value, with its checks admitted and denied.
    fn snapshot(rules: &[(&str, u64, u64)], counters: &[(&str, u64, u64)]) -> UsageSnapshot {
        let rule = |path: &str| {
            Arc::new(RuleName { domain: path.split('.').next().unwrap().to_owned(), path: path.to_owned() })
        };
        let sums = |(path, allowed, denied): &(&str, u64, u64)| RuleCounts {
            rule: rule(path),
            totals: Totals::of_checks(*allowed, *denied),
        };
        let counter = |(value, allowed, denied): &(&str, u64, u64)| {
            let entries = vec![("c".to_owned(), (*value).to_owned())];
            let name = Arc::new(CounterName { rule: rule("api.c"), entries });
            CounterCounts { name, other: false, totals: Totals::of_checks(*allowed, *denied) }
        };
        UsageSnapshot {
            rules: rules.iter().map(sums).collect(),
            counters: counters.iter().map(counter).collect(),
            unmatched: 3,
            ..UsageSnapshot::default()
        }
    }

    fn names(changes: &Changes) -> (Vec<&str>, Vec<&str>) {
        let rules = changes.rules.iter().map(|row| &*row.rule.path).collect();
        (rules, changes.counters.iter().map(|row| &*row.name.entries[0].1).collect())
    }

    #[test]
    fn rules_that_changed_and_counters_at_the_top() {
        let before = snapshot(
            &[("api.a", 1, 0), ("api.c", 60, 3), ("web.x", 1, 0)],
            &[("busy", 50, 0), ("denied", 1, 3), ("idle", 2, 0), ("quiet", 7, 0)],
        );
        let now = snapshot(
            &[("api.a", 1, 0), ("api.b", 1, 0), ("api.c", 64, 5), ("web.x", 2, 0)],
            &[("busy", 50, 0), ("denied", 1, 3), ("idle", 2, 0), ("new", 0, 2), ("quiet", 11, 0)],
        );
        let everything = Filter::default();
        let first = Changes::new(&now, None, &everything, 9, |_| false);
        let all = (vec!["api.a", "api.b", "api.c", "web.x"], vec!["busy", "denied", "idle", "new", "quiet"]);
        assert_eq!((names(&first), first.unmatched), (all, 3));
        let next = Changes::new(&now, Some(&before), &everything, 1, |_| false);
        // By hits, by denied checks, by hits since, by denied checks since.
        assert_eq!(names(&next), (vec!["api.b", "api.c", "web.x"], vec!["busy", "denied", "new", "quiet"]));
        assert_eq!(next.total, Totals::of_checks(68, 5), "of all rules, changed or not");
        let of_api = Filter { domain: Some("api".to_owned()), ..Filter::default() };
        let api = Changes::new(&now, Some(&before), &of_api, 0, |row| row.rule.path == "api.a");
        assert_eq!((names(&api), api.unmatched), ((vec!["api.a", "api.b", "api.c"], vec![]), 0));
        assert_eq!(api.total, Totals::of_checks(66, 5));
        let nothing_new = Changes::new(&now, Some(&now), &everything, 1, |_| false);
        assert_eq!(names(&nothing_new), (vec![], vec!["busy", "denied"]));
    }
}
