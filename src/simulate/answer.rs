//! Writes a decision as one line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::rls::ResponseParts;
use crate::limiter::{Decision, Status};

/// Writes `decision` as a line of JSON.
pub(super) fn write(
    out: &mut impl Write,
    at: &RawValue,
    decision: &Decision<'_>,
    parts: &ResponseParts,
) -> io::Result<()> {
    let line = Line {
        at,
        code: decision.code.name(),
        delay_ms: decision.delay.max(decision.advice).as_millis_ceil(),
        statuses: decision.statuses.iter().map(LineStatus::new).collect(),
        headers: parts
            .response_headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
            .collect(),
        body: &parts.body,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Line<'a> {
    at: &'a RawValue,
    code: &'static str,
    delay_ms: u64,
    statuses: Vec<LineStatus<'a>>,
    headers: serde_json::Map<String, serde_json::Value>,
    body: &'a str,
}

#[derive(Serialize)]
struct LineStatus<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_ms: Option<u64>,
}

impl<'a> LineStatus<'a> {
    fn new(status: &Status<'a>) -> Self {
        let rule = status.rule.map(|rule| rule.path.as_str());
        let only_code = Self { code: status.code.name(), rule: None, limit: None, remaining: None, reset_ms: None };
        match &status.limit {
            Some(limit) => Self {
                rule,
                limit: Some(limit.requests_per_unit),
                remaining: Some(status.remaining),
                reset_ms: Some(status.reset.as_millis_ceil()),
                ..only_code
            },
            None if status.unlimited => Self { rule, remaining: Some(u32::MAX.into()), ..only_code },
            None => only_code,
        }
    }
}
