//! The standard `OTEL_*` variables, as far as the SDK does not read them itself.

use opentelemetry_otlp::Protocol;

use super::OtlpError;
use super::spans::Sampling;

/// What is to be exported, and where.
#[derive(Debug)]
pub(super) struct ExportSettings {
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    pub(super) sampling: Sampling,
}

/// Where one signal goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) endpoint: String,
    pub(super) protocol: Protocol,
}

impl ExportSettings {
    /// Reads the variables through `get`; `None` when nothing is to be exported. An empty value means the same as none.
    pub(super) fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Option<Self>, OtlpError> {
        let get = |name| get(name).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let traces = target(&TRACES, &get)?;
        let metrics = target(&METRICS, &get)?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let sampling = sampling(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"))?;
        Ok(Some(Self { traces, metrics, sampling }))
    }
}

/// The names that differ between signals.
struct Signal {
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    http_path: &'static str,
}

const TRACES: Signal = Signal {
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    http_path: "/v1/traces",
};

const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    http_path: "/v1/metrics",
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

fn target(signal: &Signal, get: &impl Fn(&'static str) -> Option<String>) -> Result<Option<Target>, OtlpError> {
    if get(signal.exporter).is_some_and(|exporter| exporter == "none") {
        return Ok(None);
    }
    let own = get(signal.endpoint).map(|endpoint| (signal.endpoint, endpoint));
    let is_own = own.is_some();
    let Some((name, mut endpoint)) = own.or_else(|| get(ENDPOINT).map(|endpoint| (ENDPOINT, endpoint))) else {
        return Ok(None);
    };
    if endpoint.starts_with("https:") {
        let expected = "http://host:port of a collector on this machine or network (which can forward over TLS)";
        return Err(OtlpError::Setting { name, value: endpoint, expected });
    }
    let protocol = protocol(signal.protocol, get)?;
    // A signal's own endpoint is taken as it is; the path of the signal is appended to the common one.
    if protocol != Protocol::Grpc && !is_own {
        endpoint.truncate(endpoint.trim_end_matches('/').len());
        endpoint.push_str(signal.http_path);
    }
    Ok(Some(Target { endpoint, protocol }))
}

fn protocol(own: &'static str, get: &impl Fn(&'static str) -> Option<String>) -> Result<Protocol, OtlpError> {
    let named = |name| get(name).map(|value| (name, value));
    match named(own).or_else(|| named(PROTOCOL)) {
        None => Ok(Protocol::HttpBinary),
        Some((name, value)) => match value.as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpBinary),
            _ => Err(OtlpError::Setting { name, value, expected: "grpc or http/protobuf" }),
        },
    }
}

fn sampling(sampler: Option<String>, arg: Option<String>) -> Result<Sampling, OtlpError> {
    let sampler = sampler.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (parent_based, root) = match sampler.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, &*sampler),
    };
    let share = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => share(arg)?,
        _ => {
            let expected = "always_on, always_off or traceidratio, each also as parentbased_...";
            return Err(OtlpError::Setting { name: "OTEL_TRACES_SAMPLER", value: sampler, expected });
        }
    };
    Ok(Sampling::new(parent_based, share))
}

fn share(arg: Option<String>) -> Result<f64, OtlpError> {
    let Some(value) = arg else { return Ok(1.0) };
    match value.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(OtlpError::Setting { name: "OTEL_TRACES_SAMPLER_ARG", value, expected: "a number from 0 to 1" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both targets that the variables (`NAME=value`, without the common prefix, separated by blanks) lead to, or the error.
    fn read(variables: &str) -> String {
        let get = |name: &str| {
            let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| name == format!("OTEL_{key}")).map(|(_, value)| value.to_owned())
        };
        let shown = |target: Option<Target>| match target {
            None => "-".to_owned(),
            Some(Target { endpoint, protocol: Protocol::Grpc }) => format!("grpc {endpoint}"),
            Some(Target { endpoint, .. }) => format!("http {endpoint}"),
        };
        match ExportSettings::read(get) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(ExportSettings { traces, metrics, .. })) => format!("{}, {}", shown(traces), shown(metrics)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_variables_mean_what_the_specification_says() {
        let cases = [
            ("", "nothing"),
            ("EXPORTER_OTLP_ENDPOINT=", "nothing"),
            ("EXPORTER_OTLP_ENDPOINT=http://c:4318", "http http://c:4318/v1/traces, http http://c:4318/v1/metrics"),
            ("EXPORTER_OTLP_ENDPOINT=http://c/x/", "http http://c/x/v1/traces, http http://c/x/v1/metrics"),
            ("EXPORTER_OTLP_ENDPOINT=http://c EXPORTER_OTLP_PROTOCOL=grpc", "grpc http://c, grpc http://c"),
            (
                "EXPORTER_OTLP_ENDPOINT=http://c EXPORTER_OTLP_PROTOCOL=grpc EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf",
                "grpc http://c, http http://c/v1/metrics",
            ),
            ("EXPORTER_OTLP_TRACES_ENDPOINT=http://c/own", "http http://c/own, -"),
            ("EXPORTER_OTLP_METRICS_ENDPOINT=http://c/own", "-, http http://c/own"),
            ("EXPORTER_OTLP_ENDPOINT=http://c TRACES_EXPORTER=none", "-, http http://c/v1/metrics"),
            ("EXPORTER_OTLP_ENDPOINT=http://c TRACES_EXPORTER=none METRICS_EXPORTER=none", "nothing"),
            ("EXPORTER_OTLP_ENDPOINT=http://c SDK_DISABLED=True", "nothing"),
        ];
        for (variables, expected) in cases {
            assert_eq!(read(variables), expected, "{variables}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_reported() {
        let cases = [
            ("EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_PROTOCOL=\"http/json\": expected grpc or"),
            ("TRACES_SAMPLER=xray", "OTEL_TRACES_SAMPLER=\"xray\": expected always_on"),
            ("TRACES_SAMPLER=traceidratio TRACES_SAMPLER_ARG=2", "OTEL_TRACES_SAMPLER_ARG=\"2\": expected a number"),
            (
                "EXPORTER_OTLP_TRACES_ENDPOINT=https://c",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=\"https://c\": expected http:",
            ),
        ];
        for (variables, expected) in cases {
            let reported = read(&format!("EXPORTER_OTLP_ENDPOINT=http://c {variables}"));
            assert!(reported.starts_with(expected), "{variables}: {reported}");
        }
    }
}
