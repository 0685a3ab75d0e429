//! Metrics as observable instruments: nothing is counted twice, because the SDK asks for the values when it exports.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use parking_lot::Mutex;

use crate::telemetry::Snapshot;
use crate::telemetry::names::{Metric, MetricKind};

/// Registers these metrics with values from `take`.
pub(super) fn register(meter: &Meter, metrics: &'static [Metric], take: impl Fn() -> Snapshot + Send + Sync + 'static) {
    let shared = Arc::new(Shared { take, current: Mutex::default() });
    for (index, metric) in metrics.iter().enumerate() {
        let shared = shared.clone();
        let callback = move |instrument: &dyn AsyncInstrument<f64>| {
            metric.visit(&shared.snapshot(index), &mut |labels, value| {
                let labels: Vec<_> =
                    labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect();
                instrument.observe(value, &labels);
            });
        };
        // The SDK keeps the callback; the instrument itself is only a handle.
        match metric.kind {
            MetricKind::Counter => {
                let builder = meter.f64_observable_counter(metric.name).with_callback(callback);
                let _ = builder.with_unit(metric.unit).with_description(metric.help).build();
            }
            // The SDK's histograms take single measurements; these are aggregated already, and are exported as buckets.
            MetricKind::Histogram => {
                let name = format!("{}_bucket", metric.name);
                let builder = meter.f64_observable_counter(name).with_callback(callback);
                let _ = builder.with_description(metric.help).build();
            }
            MetricKind::Gauge => {
                let builder = meter.f64_observable_gauge(metric.name).with_callback(callback);
                let _ = builder.with_unit(metric.unit).with_description(metric.help).build();
            }
        }
    }
}

/// One snapshot for all instruments of one export. Each asks once per export, so one that asks again begins the next export.
struct Shared<F> {
    take: F,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    snapshot: Option<Arc<Snapshot>>,
    /// The instruments that have read it, by index.
    readers: HashSet<usize>,
}

impl<F: Fn() -> Snapshot> Shared<F> {
    fn snapshot(&self, reader: usize) -> Arc<Snapshot> {
        let mut current = self.current.lock();
        if !current.readers.insert(reader) {
            current.snapshot = None;
            current.readers = HashSet::from([reader]);
        }
        Arc::clone(current.snapshot.get_or_insert_with(|| Arc::new((self.take)())))
    }
}
