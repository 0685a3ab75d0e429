//! Reads the headers of a call.

use std::time::Duration;

use http::HeaderMap;

use crate::service::{Call, Service};
use crate::telemetry::otlp::TraceContext;
use crate::units::Nanos;

/// The call with these headers. Cost: one look-up of `grpc-timeout`, and the headers of a trace if checks are traced.
pub(super) fn call<'h>(service: &Service, headers: &'h HeaderMap) -> Call<'h> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = if service.is_traced() {
        TraceContext { traceparent: header("traceparent"), tracestate: header("tracestate") }
    } else {
        TraceContext::default()
    };
    Call { timeout: header("grpc-timeout").and_then(timeout), trace }
}

/// The caller's timeout, from the value of `grpc-timeout`: at most eight digits and a unit. Any other value is ignored.
pub(super) fn timeout(text: &str) -> Option<Nanos> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let length = match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(length.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_from_the_header() {
        for (text, want_ns) in [
            ("20m", Some(20_000_000)),
            ("1S", Some(1_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("99999999H", Some(u64::MAX)),
            ("7u", Some(7_000)),
            ("7n", Some(7)),
            ("0m", Some(0)),
            ("", None),
            ("m", None),
            ("5", None),
            ("-5m", None),
            ("5s", None),
            ("123456789m", None),
            ("1 m", None),
        ] {
            assert_eq!(timeout(text).map(Nanos::as_ns), want_ns, "{text:?}");
        }
    }
}
