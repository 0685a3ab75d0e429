//! Against real collectors on this machine: one over gRPC, one over HTTP, and one that does not answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue as ProtoKeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use prost::Message;
use tonic::{Request, Response, Status, async_trait};

use super::*;
use crate::telemetry::metric::Read;
use crate::telemetry::names::{Metric, MetricKind};
use crate::telemetry::{RuleSeries, labels};
use crate::usage::{Measure, Totals};

/// Long enough for a machine under load; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// What a collector was sent.
enum Sent {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

struct Collector {
    addr: SocketAddr,
    sent: Receiver<Sent>,
    _runtime: Runtime,
}

#[derive(Clone)]
struct Inbox(Sender<Sent>);

#[async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let _ = self.0.send(Sent::Traces(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Inbox {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let _ = self.0.send(Sent::Metrics(request.into_inner()));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Collector {
    fn start(serve: impl FnOnce(tokio::net::TcpListener, Inbox, &Runtime)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (inbox, sent) = channel();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        serve(listener, Inbox(inbox), &runtime);
        Self { addr, sent, _runtime: runtime }
    }

    fn grpc() -> Self {
        Self::start(|listener, inbox, runtime| {
            let server = tonic::transport::Server::builder()
                .add_service(TraceServiceServer::new(inbox.clone()))
                .add_service(MetricsServiceServer::new(inbox));
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            runtime.spawn(server.serve_with_incoming(incoming));
        })
    }

    fn http() -> Self {
        Self::start(|listener, inbox, runtime| {
            let (traces, metrics) = (inbox.clone(), inbox);
            let take_traces = async move |body: bytes::Bytes| {
                let _ = traces.0.send(Sent::Traces(ExportTraceServiceRequest::decode(body).unwrap()));
            };
            let take_metrics = async move |body: bytes::Bytes| {
                let _ = metrics.0.send(Sent::Metrics(ExportMetricsServiceRequest::decode(body).unwrap()));
            };
            let routes = axum::Router::new()
                .route("/v1/traces", axum::routing::post(take_traces))
                .route("/v1/metrics", axum::routing::post(take_metrics));
            runtime.spawn(async { axum::serve(listener, routes).await });
        })
    }

    /// Everything that was sent, once the sender has flushed and gone.
    fn take(&self) -> (Vec<ProtoSpan>, Vec<ExportMetricsServiceRequest>) {
        let (mut spans, mut metrics) = (Vec::new(), Vec::new());
        for sent in self.sent.try_iter() {
            match sent {
                Sent::Traces(request) => {
                    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                    spans.extend(scopes.flat_map(|scope| scope.spans));
                }
                Sent::Metrics(request) => metrics.push(request),
            }
        }
        (spans, metrics)
    }
}

/// Exporters configured by these variables and the endpoint.
fn otlp(addr: SocketAddr, variables: &[(&str, &str)]) -> Otlp {
    let settings = ExportSettings::read(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{addr}")),
        _ => variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
    });
    Otlp::start(settings.unwrap().unwrap(), &resource(None, None)).unwrap()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn begin(tracer: &CheckTracer, traceparent: Option<&str>) -> Option<CheckSpan> {
    tracer.begin(TraceContext { traceparent, tracestate: None })
}

fn text(attributes: &[ProtoKeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    if let Value::StringValue(text) = value { Some(text) } else { None }
}

/// The value of the series with the label, in the last export.
fn value(exports: &[ExportMetricsServiceRequest], name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let resource = exports.last()?.resource_metrics.first()?;
    let metric = resource.scope_metrics.iter().flat_map(|scope| &scope.metrics).find(|metric| metric.name == name)?;
    let points = match metric.data.as_ref()? {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        _ => return None,
    };
    let is_it = |point: &&opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
        label.is_none_or(|(key, value)| text(&point.attributes, key).as_deref() == Some(value))
    };
    match points.iter().find(is_it)?.value? {
        number_data_point::Value::AsDouble(value) => Some(value),
        number_data_point::Value::AsInt(_) => None,
    }
}

fn snapshot() -> Snapshot {
    let totals = Totals::default().with(Measure::HitsWithinLimit, 7);
    let series =
        RuleSeries { domain: "api".into(), rule: "api.k".into(), key1: "k".into(), key2: String::new(), totals };
    Snapshot { rules: vec![series], ..Snapshot::default() }
}

/// Sampled checks arrive with their parent, others do not, and metrics arrive: over either protocol.
fn exports(collector: &Collector, protocol: &str) {
    let otlp = otlp(collector.addr, &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    let tracer = otlp.check_spans().unwrap();
    otlp.observe(snapshot);
    assert!(begin(&tracer, Some(&traceparent("00"))).is_none(), "not sampled");
    begin(&tracer, Some(&traceparent("01"))).unwrap().decided("api", "OVER_LIMIT");
    begin(&tracer, None).unwrap().failed("api", "malformed request");
    assert!(otlp.shutdown(DEADLINE), "{protocol}: not everything was sent");

    let (spans, metrics) = collector.take();
    assert_eq!(spans.len(), 2, "{protocol}");
    let child = spans.iter().find(|span| !span.parent_span_id.is_empty()).unwrap();
    assert_eq!(child.trace_id, TraceId::from_hex(TRACE).unwrap().to_bytes());
    assert_eq!(child.parent_span_id, SpanId::from_hex(PARENT).unwrap().to_bytes());
    assert_eq!(text(&child.attributes, "ratelimit.domain").as_deref(), Some("api"));
    assert_eq!(text(&child.attributes, "ratelimit.code").as_deref(), Some("OVER_LIMIT"));
    let root = spans.iter().find(|span| span.parent_span_id.is_empty()).unwrap();
    assert_ne!(root.trace_id, child.trace_id);
    assert_eq!(root.status.as_ref().unwrap().message, "malformed request");

    assert_eq!(
        value(&metrics, "ratelimit_service_rate_limit_total_hits", Some((labels::RULE, "api.k"))),
        Some(7.0),
        "{protocol}"
    );
    assert_eq!(value(&metrics, "tidegate_config_last_reload_success", None), Some(1.0));
    let resource = metrics[0].resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("tidegate"));
}

#[test]
fn spans_and_metrics_arrive_by_grpc() {
    exports(&Collector::grpc(), "grpc");
}

#[test]
fn spans_and_metrics_arrive_by_http() {
    exports(&Collector::http(), "http/protobuf");
}

#[test]
fn every_instrument_of_an_export_sees_the_same_snapshot() {
    let collector = Collector::grpc();
    let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "none")];
    let otlp = otlp(collector.addr, &variables);
    assert!(otlp.check_spans().is_none());
    let taken = std::sync::atomic::AtomicU64::new(0);
    otlp.observe(move || {
        let count = 1 + taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Snapshot { global_shadow_mode: count, overrides_ignored: count, ..Snapshot::default() }
    });
    otlp.metrics.as_ref().unwrap().force_flush().unwrap();
    otlp.metrics.as_ref().unwrap().force_flush().unwrap();
    let (_, metrics) = collector.take();
    for (export, expected) in metrics.chunks(1).zip([1.0, 2.0]) {
        assert_eq!(value(export, "ratelimit_service_global_shadow_mode", None), Some(expected));
        assert_eq!(value(export, "tidegate_overrides_ignored_total", None), Some(expected));
    }
    assert_eq!(metrics.len(), 2);
    assert!(otlp.shutdown(DEADLINE));
}

/// Any number of metrics is exported, all from one snapshot.
#[test]
fn a_hundred_metrics_see_the_same_snapshot() {
    let collector = Collector::grpc();
    let otlp = otlp(collector.addr, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "none")]);
    let names: Vec<&'static str> = (0..100).map(|i| &*format!("tidegate_test_{i}").leak()).collect();
    let read = Read::Value(|s| f64::from(u32::try_from(s.overrides_ignored).unwrap()));
    let metric = |name: &&'static str| Metric { name, kind: MetricKind::Gauge, unit: "1", help: "A test.", read };
    let metrics: &'static [Metric] = names.iter().map(metric).collect::<Vec<_>>().leak();
    let taken = std::sync::atomic::AtomicU64::new(0);
    let provider = otlp.metrics.as_ref().unwrap();
    metrics::register(&provider.meter("tidegate"), metrics, move || Snapshot {
        overrides_ignored: 1 + taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        ..Snapshot::default()
    });
    provider.force_flush().unwrap();
    provider.force_flush().unwrap();
    let (_, exports) = collector.take();
    assert_eq!(exports.len(), 2);
    for (export, expected) in exports.chunks(1).zip([1.0, 2.0]) {
        for name in &names {
            assert_eq!(value(export, name, None), Some(expected), "{name}");
        }
    }
    assert!(otlp.shutdown(DEADLINE));
}

#[test]
fn a_collector_that_does_not_answer_holds_nobody_up() {
    for protocol in ["grpc", "http/protobuf"] {
        // The system accepts connections, and nothing answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let otlp = otlp(silent.local_addr().unwrap(), &[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        let tracer = otlp.check_spans().unwrap();
        otlp.observe(snapshot);
        for _ in 0..10_000 {
            begin(&tracer, Some(&traceparent("01"))).unwrap().decided("api", "OK");
        }
        assert!(!otlp.shutdown(Duration::from_millis(50)), "{protocol}");
    }
}

#[test]
fn the_exporters_may_be_started_and_dropped_by_a_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let collector = Collector::grpc();
    runtime.block_on(async {
        let otlp = otlp(collector.addr, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        begin(&otlp.check_spans().unwrap(), None).unwrap().decided("api", "OK");
        drop(otlp);
    });
}
