//! The usage at one moment, for observers, the history and other readers.

use std::collections::HashMap;
use std::sync::Arc;

use super::rule_usage::RuleUsage;
use super::series_table::{SeriesTable, Slot};
use super::{CounterName, RequestCounts, RuleName, Totals};

/// The usage at one moment: cumulative since the process started.
///
/// For every rule the sum of its counters, `other` included, equals the rule's own numbers of checks and hits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageSnapshot {
    /// Every rule, including unused ones and those of earlier configurations. Sorted by domain and path.
    pub rules: Vec<RuleCounts>,
    /// Every counter that is tracked individually, sorted by rule and entries; those of a rule are followed by its `other`, if
    /// there is one.
    pub counters: Vec<CounterCounts>,
    /// Requests by the values of the entry keys that domains configure, sorted by domain, key and value; the values of a key are
    /// followed by its `other`, if there is one.
    pub requests: Vec<RequestCounts>,
    /// Checks (one per descriptor) that matched no rule.
    pub unmatched: u64,
}

/// The usage of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCounts {
    /// The rule.
    pub rule: Arc<RuleName>,
    /// Its sums.
    pub totals: Totals,
}

/// The usage of one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterCounts {
    /// The counter; without entries for `other`.
    pub name: Arc<CounterName>,
    /// Whether these are the rule's counters that are not tracked individually, and its checks without a counter.
    pub other: bool,
    /// Its sums: only checks and hits are counted.
    pub totals: Totals,
}

impl UsageSnapshot {
    /// Reads all sums. Cost: six loads for each series, and some for each rule and worker slot.
    pub(super) fn read<'u>(
        rules: impl Iterator<Item = &'u Arc<RuleUsage>>,
        series: &SeriesTable,
        requests: Vec<RequestCounts>,
        unmatched: u64,
    ) -> Self {
        let mut in_series: HashMap<usize, Totals, ahash::RandomState> = HashMap::default();
        let mut counters = Vec::new();
        for named in &*series.sorted() {
            let totals = series.slot(named.series).map(Slot::totals).unwrap_or_default();
            in_series.entry(named.rule).or_default().add(&totals);
            counters.push(CounterCounts { name: Arc::clone(&named.name), other: false, totals });
        }
        let (mut read, mut others) = (Vec::new(), Vec::new());
        for rule in rules {
            let other = rule.counts.totals();
            if other.requests() > 0 {
                let name = Arc::clone(&rule.other_name);
                others.push(CounterCounts { name, other: true, totals: other.per_counter() });
            }
            let totals = in_series.get(&rule.number).map_or(other, |sum| other.plus(sum));
            read.push(RuleCounts { rule: Arc::clone(&rule.other_name.rule), totals });
        }
        Self { rules: merged(read), counters: with_others(counters, others), requests, unmatched }
    }

    /// The sum over all rules.
    pub fn total(&self) -> Totals {
        self.rules.iter().fold(Totals::default(), |sum, rule| sum.plus(&rule.totals))
    }
}

/// Sorted by name. A rule that occurs twice (because its metrics were by value for some time) is merged.
fn merged(mut rules: Vec<RuleCounts>) -> Vec<RuleCounts> {
    rules.sort_unstable_by(|a, b| a.rule.cmp(&b.rule));
    rules.dedup_by(|again, first| {
        let same = again.rule == first.rule;
        if same {
            first.totals.add(&again.totals);
        }
        same
    });
    rules
}

/// The counters, which are sorted by name, those of each rule followed by its `other`. A rule that occurs twice is merged. Cost: names of
/// rules are compared, not those of counters, which are all over the memory.
fn with_others(counters: Vec<CounterCounts>, mut others: Vec<CounterCounts>) -> Vec<CounterCounts> {
    others.sort_unstable_by(|a, b| a.name.rule.cmp(&b.name.rule));
    others.dedup_by(|again, first| {
        let same = again.name.rule == first.name.rule;
        if same {
            first.totals.add(&again.totals);
        }
        same
    });
    let mut all = Vec::with_capacity(counters.len() + others.len());
    let mut others = others.into_iter().peekable();
    let mut rule = None;
    for counter in counters {
        if rule.as_ref().is_none_or(|rule| !Arc::ptr_eq(rule, &counter.name.rule)) {
            all.extend(std::iter::from_fn(|| others.next_if(|other| other.name.rule < counter.name.rule)));
            rule = Some(Arc::clone(&counter.name.rule));
        }
        all.push(counter);
    }
    all.extend(others);
    all
}
