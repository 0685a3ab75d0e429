//! The families of headers.
//!
//! For every algorithm "limit" is `requests_per_unit`, "remaining" is the number of hits that are allowed now without a delay,
//! and "reset" is the status's `duration_until_reset` (window end, ban end, a bucket's time to full or to the next token),
//! rounded up to a second.

use super::GoverningLimit;
use crate::rules::{HeaderFamily, Reset};
use crate::units::{Nanos, Timestamp};

/// Appends the headers of one family.
pub(super) fn put(
    headers: &mut Vec<(&'static str, String)>,
    family: HeaderFamily,
    reset: Reset,
    governing: &GoverningLimit<'_>,
    draft_03: [&'static str; 3],
    now: Timestamp,
) {
    let limit = governing.limit.requests_per_unit.to_string();
    let remaining = governing.status.remaining.to_string();
    let until_reset = governing.status.reset;
    match family {
        HeaderFamily::XRateLimit => headers.extend([
            ("X-RateLimit-Limit", limit),
            ("X-RateLimit-Remaining", remaining),
            ("X-RateLimit-Reset", reset_text(reset, until_reset, now)),
        ]),
        HeaderFamily::Draft03 => {
            headers.extend(draft_03.into_iter().zip([limit, remaining, until_reset.as_secs_ceil().to_string()]));
        }
        HeaderFamily::Ietf => {
            let name = string(policy_name(governing));
            let window = window_parameter(governing.limit.length);
            headers.extend([
                ("RateLimit-Policy", format!("{name};q={limit}{window}")),
                ("RateLimit", format!("{name};r={remaining};t={}", until_reset.as_secs_ceil())),
            ]);
        }
        HeaderFamily::RetryAfter if governing.denied => {
            headers.push(("Retry-After", governing.retry_after().to_string()));
        }
        HeaderFamily::RetryAfter => {}
    }
}

fn reset_text(reset: Reset, until_reset: Nanos, now: Timestamp) -> String {
    match reset {
        Reset::Delta => until_reset.as_secs_ceil().to_string(),
        Reset::Epoch => now.plus(until_reset).since(Timestamp::EPOCH).as_secs_ceil().to_string(),
    }
}

/// A policy is named after the limit, else after the rule; an override has neither.
fn policy_name<'s>(governing: &'s GoverningLimit<'_>) -> &'s str {
    match (governing.limit.name, governing.status.rule) {
        ("", Some(rule)) => &rule.path,
        ("", None) => "override",
        (name, _) => name,
    }
}

/// `;w=` in whole seconds, as in the draft; a window of fractional seconds is left out, because it would be wrong.
fn window_parameter(length: Nanos) -> String {
    let seconds = length.as_secs_ceil();
    if Nanos::from_secs(seconds) == length { format!(";w={seconds}") } else { String::new() }
}

/// A structured-field string (RFC 9651): printable ASCII in quotes; other characters become `?`.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}
