//! Telemetry of the running service, as a collector on this machine receives it.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status, async_trait};

use tidegate::api::proto::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;

use crate::TestServer;
use crate::drain::check;
use crate::server::THREE_A_MINUTE;

/// What a collector was sent.
#[derive(Clone, Default)]
struct Inbox {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[async_trait]
impl MetricsService for Inbox {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Inbox {
    /// Starts a collector; its URL.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
        url
    }

    fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let scopes = traces.iter().flat_map(|request| &request.resource_spans).flat_map(|one| &one.scope_spans);
        scopes.flat_map(|scope| &scope.spans).cloned().collect()
    }

    /// The value of a rule's series in the last export.
    fn value(&self, name: &str, rule: &str) -> Option<f64> {
        let metrics = self.metrics.lock().unwrap();
        let scopes = metrics.last()?.resource_metrics.first()?.scope_metrics.iter();
        let metric = scopes.flat_map(|scope| &scope.metrics).find(|metric| metric.name == name)?;
        let Data::Sum(sum) = metric.data.as_ref()? else { return None };
        let point = sum.data_points.iter().find(|point| text(&point.attributes, "rule").as_deref() == Some(rule))?;
        if let number_data_point::Value::AsDouble(value) = point.value? { Some(value) } else { None }
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    if let Value::StringValue(text) = value { Some(text) } else { None }
}

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_sampled_checks_and_the_last_metrics_arrive() {
    let inbox = Inbox::default();
    let url = inbox.serve().await;
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ("OTEL_SERVICE_NAME", "limits"),
    ];
    let mut server = TestServer::start_with_variables(THREE_A_MINUTE, &["--drain", "0s"], &env);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for parent in [SAMPLED, NOT_SAMPLED, ""] {
        let mut request = Request::new(check("key", "v"));
        if !parent.is_empty() {
            request.metadata_mut().insert("traceparent", parent.parse().unwrap());
        }
        service.should_rate_limit(request).await.unwrap();
    }
    drop(service);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let spans = inbox.spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(spans[0].parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(text(&spans[0].attributes, "ratelimit.domain").as_deref(), Some("api"));
    assert_eq!(text(&spans[0].attributes, "ratelimit.code").as_deref(), Some("OK"));
    assert_eq!(inbox.value("ratelimit_service_rate_limit_total_hits", "api.key"), Some(3.0));
    let metrics = inbox.metrics.lock().unwrap();
    let resource = metrics[0].resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("limits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_up_neither_checks_nor_the_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let flags = ["--drain", "0s", "--shutdown-deadline", "2s"];
    let mut server = TestServer::start_with_variables(THREE_A_MINUTE, &flags, &env);
    let mut service = RateLimitServiceClient::new(server.channel().await);
    for i in 0..3000 {
        service.should_rate_limit(check("key", &i.to_string())).await.unwrap();
    }
    drop(service);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_variable_that_cannot_be_followed_is_reported() {
    let unknown = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_SAMPLER", "xray")];
    let no_url = [("OTEL_EXPORTER_OTLP_ENDPOINT", "::no url::"), ("OTEL_METRICS_EXPORTER", "none")];
    let no_url_of_metrics = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "::no url::"), ("OTEL_TRACES_EXPORTER", "none")];
    for (variables, expected) in [
        (unknown, "OTEL_TRACES_SAMPLER=\"xray\": expected always_on"),
        (no_url, "check the OTEL_EXPORTER_OTLP_* variables"),
        (no_url_of_metrics, "check the OTEL_EXPORTER_OTLP_* variables"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = crate::server::command(&crate::server::rules_in(&dir, THREE_A_MINUTE), &[]);
        let output = command.envs(variables).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
