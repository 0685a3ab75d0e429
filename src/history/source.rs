//! Makes readings of the usage.

use std::sync::Arc;

use super::{Reading, Series};
use crate::usage::{CounterCounts, Measure, RequestCounts, RuleCounts, Totals, Usage, UsageSnapshot};

/// The cumulative counts of every series with any.
///
/// Cost: a snapshot, and about 150 bytes for each series; their number is bounded by `usage`.
pub(crate) fn readings(usage: &Usage) -> Vec<Reading> {
    let UsageSnapshot { rules, counters, requests, unmatched } = usage.snapshot();
    let unmatched =
        Reading { series: Series::Unmatched, counts: Totals::default().with(Measure::RequestsUnmatched, unmatched) };
    let rules = rules.iter().filter(|rule| !rule.totals.is_zero()).map(rule);
    let counters = counters.iter().filter(|counter| !counter.totals.is_zero()).map(counter);
    rules.chain(counters).chain(requests.iter().map(request)).chain([unmatched]).collect()
}

fn rule(RuleCounts { rule, totals }: &RuleCounts) -> Reading {
    Reading { series: Series::Rule(Arc::clone(rule)), counts: *totals }
}

fn counter(CounterCounts { name, other, totals }: &CounterCounts) -> Reading {
    let name = Arc::clone(name);
    Reading { series: if *other { Series::Other(name) } else { Series::Counter(name) }, counts: *totals }
}

fn request(RequestCounts { name, other, totals }: &RequestCounts) -> Reading {
    let name = Arc::clone(name);
    Reading { series: if *other { Series::OtherRequests(name) } else { Series::Request(name) }, counts: *totals }
}
