//! The metrics of pushing to a statsd. Without one none has a series.

use crate::telemetry::metric::{Metric, Read, counter};
use crate::telemetry::snapshot::float;

/// The metrics, in the order in which they are shown.
pub(super) const METRICS: [Metric; 2] = [
    counter(
        "tidegate_statsd_flushes_total",
        "{flush}",
        "Flushes of statistics to statsd.",
        Read::Series(|s, emit| s.statsd.iter().for_each(|statsd| emit(&[], float(statsd.flushes)))),
    ),
    counter(
        "tidegate_statsd_flush_failures_total",
        "{flush}",
        "Flushes of statistics that statsd did not receive, in whole or in part; decisions are not affected.",
        Read::Series(|s, emit| s.statsd.iter().for_each(|statsd| emit(&[], float(statsd.failures)))),
    ),
];
