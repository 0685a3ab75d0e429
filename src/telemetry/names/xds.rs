//! The metrics of the control plane that sends the rules. Without one none has a series.

use crate::telemetry::metric::{Metric, Read, counter, gauge};
use crate::telemetry::snapshot::float;

/// The metrics, in the order in which they are shown.
pub(super) const METRICS: [Metric; 9] = [
    gauge(
        "tidegate_xds_connected",
        "1",
        "1: there is a stream from the control plane; 0: there is none, and the rules in force stay.",
        Read::Series(|s, emit| s.visit_xds(|xds| f64::from(u8::from(xds.connected)), emit)),
    ),
    gauge(
        "tidegate_xds_set_info",
        "1",
        "1: the version of the set that the control plane has sent last, as a label.",
        Read::Series(|s, emit| s.visit_xds_version(emit)),
    ),
    gauge(
        "tidegate_xds_set_age_seconds",
        "s",
        "Time since the control plane has sent a set. Silence is normal: it sends one when something changes.",
        Read::Series(|s, emit| s.visit_xds_age(emit)),
    ),
    counter(
        "tidegate_xds_streams_total",
        "{stream}",
        "Streams from the control plane that began.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.streams), emit)),
    ),
    counter(
        "tidegate_xds_failures_total",
        "{time}",
        "Streams that ended, and connections to the control plane that could not be made.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.failures), emit)),
    ),
    counter(
        "tidegate_xds_acks_total",
        "{set}",
        "Sets that were accepted.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.acks), emit)),
    ),
    counter(
        "tidegate_xds_nacks_total",
        "{set}",
        "Sets that were rejected, in whole or in part.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.nacks), emit)),
    ),
    gauge(
        "tidegate_xds_outdated_domains",
        "{domain}",
        "Domains that keep their former rules, because those of the last set have errors.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.outdated), emit)),
    ),
    gauge(
        "tidegate_xds_missing_domains",
        "{domain}",
        "Domains of the last set with errors and without former rules: they are not limited.",
        Read::Series(|s, emit| s.visit_xds(|xds| float(xds.missing), emit)),
    ),
];
