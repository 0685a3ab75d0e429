//! From the usage that decisions left behind to readings.

use std::sync::Arc;

use super::{Reading, Series};
use crate::usage::{CounterCounts, Measure, RequestCounts, RuleCounts, Totals, Usage, UsageSnapshot};

/// The cumulative counts of every series that counted anything.
///
/// Cost: a snapshot, and a few hundred bytes for each series; there are as many as `usage` has, which is bounded.
pub fn readings(usage: &Usage) -> Vec<Reading> {
    let UsageSnapshot { rules, counters, requests, unmatched } = usage.snapshot();
    let unmatched = Reading {
        series: Arc::new(Series::unmatched()),
        counts: Totals::default().with(Measure::RequestsUnmatched, unmatched),
    };
    let rules = rules.iter().filter(|rule| !rule.totals.is_zero()).map(rule);
    let counters = counters.iter().filter(|counter| !counter.totals.is_zero()).map(counter);
    rules.chain(counters).chain(requests.iter().map(request)).chain([unmatched]).collect()
}

fn rule(RuleCounts { rule, totals }: &RuleCounts) -> Reading {
    let series = Arc::new(Series::rule(&rule.domain, &rule.path));
    Reading { series, counts: *totals }
}

fn counter(CounterCounts { name, other, totals }: &CounterCounts) -> Reading {
    let (domain, rule) = (&name.rule.domain, &name.rule.path);
    let series = if *other { Series::other(domain, rule) } else { Series::counter(domain, rule, name.entries.clone()) };
    Reading { series: Arc::new(series), counts: *totals }
}

fn request(RequestCounts { name, other, totals }: &RequestCounts) -> Reading {
    let (domain, key) = (&name.key.domain, &name.key.key);
    let series = if *other { Series::other_requests(domain, key) } else { Series::request(domain, key, &name.value) };
    Reading { series: Arc::new(series), counts: *totals }
}
