//! Makes readings of the usage.

use super::{Reading, Series};
use crate::usage::{CounterCounts, Gains, LastReading, Measure, RequestCounts, RuleCounts, Totals, Usage};

/// What every series has used since the last reading, of those that have used anything.
///
/// Cost: that of [`Usage::gains`].
pub(crate) fn readings(usage: &Usage, last: &mut LastReading) -> impl Iterator<Item = Reading> + use<> {
    let Gains { rules, counters, requests, unmatched } = usage.gains(last);
    let unmatched =
        Reading { series: Series::Unmatched, used: Totals::default().with(Measure::RequestsUnmatched, unmatched) };
    let counted = rules.into_iter().map(rule).chain(counters.into_iter().map(counter));
    counted.chain(requests.into_iter().map(request)).chain([unmatched])
}

fn rule(RuleCounts { rule, totals }: RuleCounts) -> Reading {
    Reading { series: Series::Rule(rule), used: totals }
}

fn counter(CounterCounts { name, other, totals }: CounterCounts) -> Reading {
    Reading { series: if other { Series::Other(name) } else { Series::Counter(name) }, used: totals }
}

fn request(RequestCounts { name, other, totals }: RequestCounts) -> Reading {
    Reading { series: if other { Series::OtherRequests(name) } else { Series::Request(name) }, used: totals }
}
