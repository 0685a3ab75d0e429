//! Pushes metrics and sampled spans to an OpenTelemetry collector, if the standard `OTEL_*` variables name one.
//!
//! Without an endpoint nothing is started, and nothing costs time. With one, spans go through a bounded queue (2,048 by
//! default, `OTEL_BSP_MAX_QUEUE_SIZE`) to a thread of their own: when a collector is slow or down, spans are lost, which the
//! SDK counts and logs, but no decision waits.

mod metrics;
mod settings;
mod spans;

use std::fmt;
use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Stream};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Runtime;

use super::Snapshot;
use super::names::METRICS;
use settings::{ExportSettings, Target};
pub use spans::{CheckSpan, CheckTracer, TraceContext};

/// The exporters, running.
pub struct Otlp {
    /// The gRPC transport's own runtime: one thread, which no decision runs on.
    runtime: Option<Runtime>,
    traces: Option<(SdkTracerProvider, CheckTracer)>,
    metrics: Option<SdkMeterProvider>,
}

/// Why telemetry cannot be exported as the environment configures it.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A variable has a value that is not supported.
    #[error("{name}={value:?}: expected {expected}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// The supported values.
        expected: &'static str,
    },
    /// The SDK rejects the endpoint or another of its variables.
    #[error("telemetry cannot be exported: {0}; check the OTEL_EXPORTER_OTLP_* variables")]
    Exporter(#[from] ExporterBuildError),
    /// The system cannot start another thread.
    #[error("telemetry cannot be exported: no thread could be started: {0}")]
    Thread(#[from] io::Error),
}

impl Otlp {
    /// Starts what the environment asks for; `None` when it names no endpoint, or `OTEL_SDK_DISABLED` is true. `instead` has variables that
    /// count in place of those of the environment.
    ///
    /// Read here: `OTEL_EXPORTER_OTLP_ENDPOINT` and `_PROTOCOL` (also per signal, `_TRACES_` and `_METRICS_`),
    /// `OTEL_TRACES_SAMPLER` and `_ARG`, `OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` (`none` turns one off),
    /// `OTEL_SDK_DISABLED`. The SDK itself reads `OTEL_SERVICE_NAME` (default here: tidegate), `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_EXPORTER_OTLP_HEADERS`, `_TIMEOUT`, and the `OTEL_BSP_*` of the span queue.
    ///
    /// # Errors
    /// A variable has a value that is not supported, or the SDK rejects one.
    pub fn from_env(instead: &[(&'static str, Option<String>)]) -> Result<Option<Self>, OtlpError> {
        let Some(settings) = settings(instead)? else { return Ok(None) };
        let attributes = given(instead, "OTEL_RESOURCE_ATTRIBUTES");
        let resource = resource(given(instead, "OTEL_SERVICE_NAME"), attributes.as_deref());
        Self::start(settings, &resource).map(Some)
    }

    /// Whether what the environment asks for can be started: nothing is. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn check(instead: &[(&'static str, Option<String>)]) -> Result<(), OtlpError> {
        let Some(ExportSettings { traces, metrics, .. }) = settings(instead)? else { return Ok(()) };
        traces.map(|target| span_exporter(&target)).transpose()?;
        metrics.map(|target| metric_exporter(&target)).transpose()?;
        Ok(())
    }

    fn start(settings: ExportSettings, resource: &Resource) -> Result<Self, OtlpError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("otlp").enable_all().build()?;
        let handle = runtime.handle().clone();
        let _inside = handle.enter();
        // From here on the runtime ends as it must, also on an error.
        let mut otlp = Self { runtime: Some(runtime), traces: None, metrics: None };
        if let Some(target) = settings.traces {
            let provider = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                // Sampling is decided before a span exists.
                .with_sampler(Sampler::AlwaysOn)
                .with_batch_exporter(span_exporter(&target)?)
                .build();
            let tracer = CheckTracer::new(provider.tracer("tidegate"), settings.sampling);
            otlp.traces = Some((provider, tracer));
        }
        if let Some(target) = settings.metrics {
            let exporter = metric_exporter(&target)?;
            let view = |_: &_| Stream::builder().with_cardinality_limit(MAX_SERIES).build().ok();
            let provider = SdkMeterProvider::builder().with_resource(resource.clone()).with_view(view);
            otlp.metrics = Some(provider.with_periodic_exporter(exporter).build());
        }
        Ok(otlp)
    }

    /// Decides which checks are traced, and makes their spans; `None` if no endpoint takes traces.
    pub fn check_spans(&self) -> Option<CheckTracer> {
        self.traces.as_ref().map(|(_, tracer)| tracer.clone())
    }

    /// Exports these metrics from now on, one snapshot per interval, taken on the exporter's thread. Called once.
    pub fn observe(&self, snapshot: impl Fn() -> Snapshot + Send + Sync + 'static) {
        if let Some(provider) = &self.metrics {
            metrics::register(&provider.meter("tidegate"), METRICS, snapshot);
        }
    }

    /// Sends what is left and stops, within `deadline`. Returns whether everything was sent. Blocks: not for a thread that runs
    /// tasks.
    pub fn shutdown(mut self, deadline: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        let (traces, metrics) = (self.traces.take(), self.metrics.take());
        let flush = move || {
            // Metrics first: they are one message, while spans for a collector that is down may take the whole deadline.
            let metrics = metrics.is_none_or(|provider| provider.shutdown().is_ok());
            let traces = traces.is_none_or(|(provider, _)| provider.shutdown_with_timeout(deadline).is_ok());
            let _ = done.send(metrics && traces);
        };
        let flushing = std::thread::Builder::new().name("otlp-flush".into()).spawn(flush);
        flushing.is_ok() && wait.recv_timeout(deadline).unwrap_or(false)
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which a task must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { traces, metrics, .. } = self;
        f.debug_struct("Otlp").field("traces", &traces.is_some()).field("metrics", &metrics.is_some()).finish()
    }
}

/// Series per metric: as many as a snapshot may have rules. The SDK aggregates the rest in one series.
const MAX_SERIES: usize = 20_000;

/// The value of a variable that counts in place of that of the environment.
fn given(instead: &[(&'static str, Option<String>)], name: &str) -> Option<String> {
    instead.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.clone())
}

fn settings(instead: &[(&'static str, Option<String>)]) -> Result<Option<ExportSettings>, OtlpError> {
    let is_given = |name| instead.iter().any(|(known, _)| *known == name);
    ExportSettings::read(|name| if is_given(name) { given(instead, name) } else { std::env::var(name).ok() })
}

fn span_exporter(target: &Target) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder();
    match target.protocol {
        Protocol::Grpc => builder.with_tonic().with_endpoint(&target.endpoint).build(),
        protocol => builder.with_http().with_protocol(protocol).with_endpoint(&target.endpoint).build(),
    }
}

fn metric_exporter(target: &Target) -> Result<MetricExporter, ExporterBuildError> {
    let builder = MetricExporter::builder();
    match target.protocol {
        Protocol::Grpc => builder.with_tonic().with_endpoint(&target.endpoint).build(),
        protocol => builder.with_http().with_protocol(protocol).with_endpoint(&target.endpoint).build(),
    }
}

/// The identity of the sender: what the environment says, with `tidegate` as the default service name.
fn resource(name: Option<String>, attributes: Option<&str>) -> Resource {
    let found = Resource::builder().build();
    let named = found.get(&opentelemetry::Key::from_static_str("service.name"));
    let named = named.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let mut builder = Resource::builder().with_attribute(version);
    for (key, value) in attributes.into_iter().flat_map(|text| text.split(',')).filter_map(|pair| pair.split_once('='))
    {
        builder = builder.with_attribute(KeyValue::new(key.to_owned(), value.to_owned()));
    }
    match name {
        Some(name) => builder.with_service_name(name).build(),
        None if named => builder.build(),
        None => builder.with_service_name("tidegate").build(),
    }
}

#[cfg(test)]
mod tests;
