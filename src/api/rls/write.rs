//! Writes a `RateLimitResponse` directly into the response frame.

use super::ResponseParts;
use crate::api::protobuf::{put_bytes_field, put_message, put_varint_field};
use crate::limiter::{Code, CurrentLimit, Decision, Status};
use crate::rules::Unit;
use crate::units::Nanos;

/// Appends a decision and its response parts to `out`.
pub fn write(
    out: &mut Vec<u8>,
    decision: &Decision<'_>,
    parts: &ResponseParts,
    metadata: Option<&prost_types::Struct>,
) {
    put_varint_field(out, 1, code(decision.code));
    for status in &decision.statuses {
        put_message(out, 2, |out| put_status(out, status));
    }
    for (name, value) in &parts.response_headers {
        put_message(out, 3, |out| put_header(out, name, value));
    }
    for (name, value) in &parts.request_headers {
        put_message(out, 4, |out| put_header(out, name, value));
    }
    if !parts.body.is_empty() {
        put_bytes_field(out, 5, parts.body.as_bytes());
    }
    if let Some(metadata) = metadata {
        put_bytes_field(out, 6, &prost::Message::encode_to_vec(metadata));
    }
}

fn put_header(out: &mut Vec<u8>, name: &str, value: &str) {
    put_bytes_field(out, 1, name.as_bytes());
    put_bytes_field(out, 2, value.as_bytes());
}

fn put_status(out: &mut Vec<u8>, status: &Status<'_>) {
    put_varint_field(out, 1, code(status.code));
    if let Some(limit) = &status.limit {
        put_message(out, 2, |out| put_limit(out, limit));
        put_varint_field(out, 3, status.remaining.min(u32::MAX.into()));
        put_message(out, 4, |out| put_seconds(out, reset(status)));
    } else if status.unlimited {
        put_varint_field(out, 3, u32::MAX.into());
    }
}

fn put_limit(out: &mut Vec<u8>, limit: &CurrentLimit<'_>) {
    put_varint_field(out, 1, limit.requests_per_unit.into());
    put_varint_field(out, 2, limit.unit.map_or(0, unit));
    if !limit.name.is_empty() {
        put_bytes_field(out, 3, limit.name.as_bytes());
    }
    if limit.multiplier > 1 && limit.unit.is_some() {
        put_message(out, 4, |out| put_varint_field(out, 1, limit.multiplier.into()));
    }
}

/// The reset of a denied check is never 0, not even if its hits can never be admitted (more than a full bucket).
fn reset(status: &Status<'_>) -> Nanos {
    match status.code {
        Code::Ok => status.reset,
        Code::OverLimit => status.reset.max(Nanos::SECOND),
    }
}

/// A duration in whole seconds, rounded up: Envoy truncates, and with 0 the client would retry at once.
fn put_seconds(out: &mut Vec<u8>, length: Nanos) {
    put_varint_field(out, 1, length.as_secs_ceil());
}

fn code(code: Code) -> u64 {
    match code {
        Code::Ok => 1,
        Code::OverLimit => 2,
    }
}

/// `RateLimitResponse.RateLimit.Unit`.
fn unit(unit: Unit) -> u64 {
    match unit {
        Unit::Second => 1,
        Unit::Minute => 2,
        Unit::Hour => 3,
        Unit::Day => 4,
        Unit::Month => 5,
        Unit::Year => 6,
        Unit::Week => 7,
    }
}
