//! What has been counted since the last reading, for readers that add it up elsewhere.
//!
//! Most series count nothing between two readings. A reader keeps the last counts of each series by its number, so such a series costs
//! it a comparison of a few numbers: no name is read, hashed or compared.

use std::collections::HashMap;
use std::sync::Arc;

use super::by_entry::LastRequests;
use super::last_counts::{LastCounts, gained_of};
use super::measure::COUNTED;
use super::series_table::{LastSeries, Named};
use super::{CounterCounts, CounterName, RequestCounts, RuleCounts, RuleUsage, Totals};

/// What has been counted since the last reading: only what has counted something, in no order.
///
/// The gain of each rule is the sum of those of its counters, `other` included, and of what is counted for rules only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gains {
    /// The rules. One whose metrics were by value for some time may occur twice.
    pub rules: Vec<RuleCounts>,
    /// The counters. Two series may have the same name, if the algorithm or the window of the rule's limit has changed.
    pub counters: Vec<CounterCounts>,
    /// Requests by the values of entry keys.
    pub requests: Vec<RequestCounts>,
    /// Checks that matched no rule.
    pub unmatched: u64,
}

/// The counts of the last reading, for [`Usage::gains`](super::Usage::gains). Without one, all counts are gains.
#[derive(Debug, Default)]
pub struct LastReading {
    pub(super) counters: LastSeries<CounterName>,
    pub(super) requests: LastRequests,
    pub(super) unmatched: u64,
    rules: LastCounts<COUNTED>,
}

/// The gains of series, by the number of their rule or entry key.
type InSeries = HashMap<usize, Totals, ahash::RandomState>;

impl LastReading {
    /// What a rule has counted, without its counters that are tracked individually.
    pub(super) fn gained_by(&mut self, rule: &RuleUsage) -> Option<Totals> {
        gained_of(&mut self.rules, rule.number, rule.counts.read())
    }
}

impl Gains {
    /// Adds a counter, whose gain is also one of its rule.
    pub(super) fn add_counter(&mut self, in_series: &mut InSeries, named: &Named, totals: Totals) {
        in_series.entry(named.rule).or_default().add(&totals);
        self.counters.push(CounterCounts { name: Arc::clone(&named.name), other: false, totals });
    }

    /// Adds a rule and its counters that are not tracked individually; `own` is what has been counted besides the others.
    pub(super) fn add_rule(&mut self, in_series: &InSeries, rule: &RuleUsage, own: Option<Totals>) {
        let in_series = in_series.get(&rule.number);
        if own.is_none() && in_series.is_none() {
            return;
        }
        let own = own.unwrap_or_default();
        let totals = in_series.map_or(own, |sum| own.plus(sum));
        self.rules.push(RuleCounts { rule: Arc::clone(rule.name()), totals });
        let other = own.per_counter();
        if !other.is_zero() {
            self.counters.push(CounterCounts { name: Arc::clone(&rule.other_name), other: true, totals: other });
        }
    }
}
