//! From the usage that decisions left behind to readings.

use std::sync::Arc;

use super::{Column, Counts, Reading, Series};
use crate::usage::{Count, Totals, Usage};

/// The cumulative counts of every series that counted anything.
pub fn readings(usage: &Usage) -> Vec<Reading> {
    let used = usage.series_usage().into_iter().map(|series| {
        let labels = series.labels;
        Reading { series: Arc::new(Series::rule(&labels.domain, &labels.rule)), counts: counts(&series.totals) }
    });
    used.filter(|reading| !reading.counts.is_zero()).collect()
}

fn counts(totals: &Totals) -> Counts {
    let of = |count| totals.of(count);
    Counts::default()
        .with(Column::Checks, of(Count::Checks))
        .with(Column::Allowed, of(Count::Checks) - of(Count::Denied))
        .with(Column::Denied, of(Count::Denied))
        .with(Column::Hits, of(Count::Hits))
}
