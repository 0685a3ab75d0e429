//! What a metric is, and how its series are read.

use super::Times;
use super::labels::LE;
use super::snapshot::{Emit, Snapshot, float, seconds};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name, the same in Prometheus' text and in OTLP.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// The unit, as UCUM spells it.
    pub unit: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// How its series are read.
    pub(super) read: Read,
}

/// How the series of a metric are read from a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    /// One series without labels.
    Value(fn(&Snapshot) -> f64),
    /// Any number of series.
    Series(fn(&Snapshot, Emit<'_>)),
    /// A histogram.
    Times(fn(&Snapshot) -> &Times),
    /// A histogram for each value of a label.
    TimesBy(&'static str, fn(&Snapshot) -> Vec<(&str, &Times)>),
}

impl Metric {
    /// Calls `emit` with the labels and the value of each series, for a histogram with each bucket. A label without a value is
    /// left out, because the two mean the same. Domains and levels are spelled as in the reference service.
    pub(super) fn visit(&self, snapshot: &Snapshot, emit: Emit<'_>) {
        match self.read {
            Read::Value(value) => emit(&[], value(snapshot)),
            Read::Series(series) => series(snapshot, emit),
            Read::Times(times) => visit_buckets(&[], times(snapshot), emit),
            Read::TimesBy(label, times) => {
                for (value, times) in times(snapshot) {
                    visit_buckets(&[(label, value)], times, emit);
                }
            }
        }
    }
}

/// Emits the cumulative buckets, with these labels too.
fn visit_buckets(labels: &[(&'static str, &str)], Times { at_most, count, .. }: &Times, emit: Emit<'_>) {
    let mut emit_bucket = |bound: &str, count| emit(&[labels, &[(LE, bound)]].concat(), float(count));
    for (bound, count) in at_most {
        emit_bucket(&seconds(*bound).to_string(), *count);
    }
    emit_bucket("+Inf", *count);
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution of durations; over OTLP it is the counter `NAME_bucket` with the label `le`.
    Histogram,
}

pub(super) const fn counter(name: &'static str, unit: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: MetricKind::Counter, unit, help, read }
}

pub(super) const fn gauge(name: &'static str, unit: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: MetricKind::Gauge, unit, help, read }
}

pub(super) const fn histogram(name: &'static str, unit: &'static str, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: MetricKind::Histogram, unit, help, read }
}
