//! The body of a denial.

use std::fmt::Write;

use super::GoverningLimit;
use crate::rules::{Template, TemplatePart};
use crate::units::Nanos;

/// A fixed JSON object.
pub(super) fn json(governing: &GoverningLimit<'_>) -> String {
    let limit = governing.limit.requests_per_unit;
    let (period, retry_after) = (seconds(governing.limit.length), governing.retry_after().to_string());
    let (per, again) = (unit(&period), unit(&retry_after));
    format!(
        r#"{{"status":429,"error":"rate limit","message":"Too many requests. Limit to max {limit} per {period} {per}. Try again in {retry_after} {again}."}}"#
    )
}

fn unit(count: &str) -> &'static str {
    if count == "1" { "second" } else { "seconds" }
}

/// A template with its placeholders filled in; values are escaped for the content type.
pub(super) fn fill(template: &Template, content_type: &str, governing: &GoverningLimit<'_>) -> String {
    let escape = Escape::for_content_type(content_type);
    let mut text = String::new();
    for part in template.parts() {
        match part {
            TemplatePart::Text(literal) => text.push_str(literal),
            TemplatePart::Limit => push(&mut text, governing.limit.requests_per_unit),
            TemplatePart::PeriodSeconds => text.push_str(&seconds(governing.limit.length)),
            TemplatePart::RetryAfter => push(&mut text, governing.retry_after()),
            TemplatePart::Remaining => push(&mut text, governing.status.remaining),
            TemplatePart::Domain => escape.push(&mut text, governing.domain),
            TemplatePart::Rule => escape.push(&mut text, governing.status.rule.map_or("", |rule| &rule.path)),
            TemplatePart::Entry(key) => {
                let entry = governing.entries.iter().find(|entry| entry.key == key.as_str());
                escape.push(&mut text, entry.map_or("", |entry| &entry.value));
            }
        }
    }
    text
}

fn push(text: &mut String, number: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _written = write!(text, "{number}");
}

/// A length in seconds, with its fraction if it has one: `30`, `0.5`.
fn seconds(length: Nanos) -> String {
    let (whole, fraction) = (length.as_ns() / Nanos::SECOND.as_ns(), length.as_ns() % Nanos::SECOND.as_ns());
    if fraction == 0 { whole.to_string() } else { format!("{whole}.{fraction:09}").trim_end_matches('0').to_owned() }
}

/// How values are escaped in a text, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    /// As in a JSON string.
    Json,
    /// As in HTML and XML.
    Markup,
    /// Control characters become spaces.
    Plain,
}

impl Escape {
    fn for_content_type(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let subtype = essence.split_once('/').map_or("", |(_, subtype)| subtype);
        match subtype.rsplit('+').next().unwrap_or_default() {
            "json" => Self::Json,
            "html" | "xml" | "xhtml" | "svg" => Self::Markup,
            _ => Self::Plain,
        }
    }

    fn push(self, text: &mut String, value: &str) {
        for c in value.chars() {
            match (self, c) {
                (Self::Json, '"' | '\\') => text.extend(['\\', c]),
                (Self::Json, c) if is_control(c) => {
                    // Writing to a String does not fail.
                    let _written = write!(text, "\\u{:04x}", u32::from(c));
                }
                (Self::Markup, '&') => text.push_str("&amp;"),
                (Self::Markup, '<') => text.push_str("&lt;"),
                (Self::Markup, '>') => text.push_str("&gt;"),
                (Self::Markup, '"') => text.push_str("&quot;"),
                (Self::Markup, '\'') => text.push_str("&#39;"),
                (_, c) if is_control(c) => text.push(' '),
                (_, c) => text.push(c),
            }
        }
    }
}

/// Control characters, and the line separators of JavaScript.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}
