//! `TRACING_*` as the standard variables of OpenTelemetry.

use super::environment::Environment;

/// The variables `OTEL_*` that count in place of those of the environment.
///
/// Without `TRACING_ENABLED` nothing is exported, even if there is an endpoint for other programs. The reference exports no metrics this way, so they
/// are exported only if `OTEL_METRICS_EXPORTER` asks for it.
///
/// # Errors
/// A value that cannot be used.
pub(super) fn otel(environment: &Environment) -> Result<Vec<(&'static str, Option<String>)>, String> {
    let some = |value: &str| Some(value.to_owned());
    let mut otel = Vec::new();
    if environment.get("OTEL_METRICS_EXPORTER").is_none() {
        otel.push(("OTEL_METRICS_EXPORTER", some("none")));
    }
    if !environment.truth("TRACING_ENABLED")? {
        otel.push(("OTEL_TRACES_EXPORTER", some("none")));
        return Ok(otel);
    }
    let (protocol, endpoint) = match environment.get("TRACING_EXPORTER_PROTOCOL").unwrap_or("http") {
        "http" => ("http/protobuf", "http://localhost:4318"),
        "grpc" => ("grpc", "http://localhost:4317"),
        other => return Err(format!("TRACING_EXPORTER_PROTOCOL={other}: expected http or grpc")),
    };
    otel.push(("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", some(protocol)));
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    if endpoints.iter().all(|name| environment.get(name).is_none()) {
        otel.push(("OTEL_EXPORTER_OTLP_ENDPOINT", some(endpoint)));
    }
    if environment.get("OTEL_TRACES_SAMPLER").is_none() {
        otel.push(("OTEL_TRACES_SAMPLER", some("parentbased_traceidratio")));
        otel.push(("OTEL_TRACES_SAMPLER_ARG", some(environment.get("TRACING_SAMPLING_RATE").unwrap_or("1"))));
    }
    otel.push(("OTEL_SERVICE_NAME", some(environment.get("TRACING_SERVICE_NAME").unwrap_or("RateLimit"))));
    let attributes =
        [("service.namespace", "TRACING_SERVICE_NAMESPACE"), ("service.instance.id", "TRACING_SERVICE_INSTANCE_ID")];
    let attributes = attributes.into_iter().filter_map(|(key, name)| Some(format!("{key}={}", environment.get(name)?)));
    otel.push(("OTEL_RESOURCE_ATTRIBUTES", Some(attributes.collect::<Vec<_>>().join(","))));
    Ok(otel)
}
