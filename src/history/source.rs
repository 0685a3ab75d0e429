//! From the usage that decisions left behind to readings.

use std::sync::Arc;

use super::{Column, Counts, Reading, Series};
use crate::usage::{CounterCounts, RequestCounts, RuleCounts, Totals, Usage, UsageSnapshot};

/// The cumulative counts of every series that counted anything.
///
/// Cost: a snapshot, and a few hundred bytes for each series; there are as many as `usage` has, which is bounded.
pub fn readings(usage: &Usage) -> Vec<Reading> {
    let UsageSnapshot { rules, counters, requests, unmatched } = usage.snapshot();
    let unmatched =
        Reading { series: Arc::new(Series::unmatched()), counts: Counts::default().with(Column::Unmatched, unmatched) };
    let rules = rules.iter().filter(|rule| !rule.totals.is_zero()).map(rule);
    let counters = counters.iter().filter(|counter| !counter.totals.is_zero()).map(counter);
    rules.chain(counters).chain(requests.iter().map(request)).chain([unmatched]).collect()
}

fn rule(RuleCounts { rule, totals }: &RuleCounts) -> Reading {
    let series = Arc::new(Series::rule(&rule.domain, &rule.path));
    let counts = of_counter(totals)
        .with(Column::HitsOverLimit, totals.hits_over_limit)
        .with(Column::HitsNearLimit, totals.hits_near_limit)
        .with(Column::HitsShadowDenied, totals.hits_shadow_denied)
        .with(Column::HitsRefunded, totals.hits_refunded)
        .with(Column::Queued, totals.requests_queued)
        .with(Column::DeniedOverLimit, totals.denied_over_limit)
        .with(Column::DeniedBanned, totals.denied_banned)
        .with(Column::DeniedQueueFull, totals.denied_queue_full)
        .with(Column::DeniedNoRoom, totals.denied_no_room)
        .with(Column::Unlimited, totals.requests_unlimited);
    Reading { series, counts }
}

fn counter(CounterCounts { name, other, totals }: &CounterCounts) -> Reading {
    let (domain, rule) = (&name.rule.domain, &name.rule.path);
    let series = if *other { Series::other(domain, rule) } else { Series::counter(domain, rule, name.entries.clone()) };
    Reading { series: Arc::new(series), counts: of_counter(totals) }
}

fn request(RequestCounts { name, other, totals }: &RequestCounts) -> Reading {
    let (domain, key) = (&name.key.domain, &name.key.key);
    let series = if *other { Series::other_requests(domain, key) } else { Series::request(domain, key, &name.value) };
    Reading { series: Arc::new(series), counts: of_counter(totals) }
}

/// What is known of single counters and of requests too.
fn of_counter(totals: &Totals) -> Counts {
    Counts::default()
        .with(Column::Checks, totals.requests())
        .with(Column::Allowed, totals.requests_allowed)
        .with(Column::Denied, totals.requests_denied)
        .with(Column::Hits, totals.hits())
        .with(Column::HitsAllowed, totals.hits_allowed)
}
