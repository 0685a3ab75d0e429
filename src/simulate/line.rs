//! Writes a check as a line of a trace.

use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::value::RawValue;

use super::note::{Note, NoteLine};
use crate::limiter::{Check, Descriptor, Override};
use crate::rules::Unit;
use crate::units::{Nanos, Timestamp};

/// Appends a line with everything that matters to the decision of `check`.
pub(super) fn append_check(out: &mut Vec<u8>, at: Timestamp, check: &Check<'_>) -> io::Result<()> {
    let line = Line {
        at: seconds(at.since(Timestamp::EPOCH))?,
        domain: &check.domain,
        hits: check.hits_addend,
        timeout: check.timeout.map(seconds).transpose()?,
        descriptors: check.descriptors.iter().map(LineDescriptor::new).collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// Appends the line of a note.
pub(super) fn append_note(out: &mut Vec<u8>, note: &Note) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &NoteLine { recording: note.clone() })?;
    out.push(b'\n');
    Ok(())
}

#[derive(Serialize)]
struct Line<'a> {
    at: Box<RawValue>,
    domain: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    hits: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Box<RawValue>>,
    descriptors: Vec<LineDescriptor<'a>>,
}

#[derive(Serialize)]
struct LineDescriptor<'a> {
    entries: Vec<(&'a str, &'a str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
    #[serde(skip_serializing_if = "is_default")]
    negative: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<LineOverride>,
}

#[derive(Serialize)]
struct LineOverride {
    requests_per_unit: u32,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_multiplier: Option<u32>,
}

impl<'a> LineDescriptor<'a> {
    fn new(descriptor: &'a Descriptor<'_>) -> Self {
        Self {
            entries: descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value)).collect(),
            hits: descriptor.hits,
            negative: descriptor.refund,
            limit: descriptor.limit.map(LineOverride::new),
        }
    }
}

impl LineOverride {
    fn new(limit: Override) -> Self {
        let unit = limit.period.and_then(|period| period.unit);
        let multiplier = limit.period.map(|period| period.multiplier).filter(|multiplier| *multiplier != 1);
        Self {
            requests_per_unit: limit.requests_per_unit,
            unit: unit.map_or("UNKNOWN", Unit::name),
            unit_multiplier: multiplier,
        }
    }
}

/// Decimal seconds to the nanosecond, which a double cannot hold: `1795665600.2`.
fn seconds(length: Nanos) -> io::Result<Box<RawValue>> {
    Ok(RawValue::from_string(Seconds(length).to_string())?)
}

struct Seconds(Nanos);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0.as_ns() / Nanos::SECOND.as_ns(), self.0.as_ns() % Nanos::SECOND.as_ns());
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:09}").trim_end_matches('0'))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Entry, Period};
    use crate::simulate::trace;

    #[test]
    fn what_is_written_is_read_again() {
        let entry = |key: &'static str, value: &'static str| Entry { key: key.into(), value: value.into() };
        let limit = |period| Some(Override { requests_per_unit: 5, period });
        let plain = Descriptor {
            entries: [entry("k", "v\"\n\u{1F600}"), entry("", "")].into_iter().collect(),
            ..Descriptor::default()
        };
        let minutes = Some(Period::from_units(Unit::Minute, 3));
        let checks = [
            Check { domain: "d".into(), descriptors: [plain.clone()].into_iter().collect(), ..Check::default() },
            Check {
                domain: "d".into(),
                hits_addend: u32::MAX,
                timeout: Some(Nanos::from_ns(20_000_001)),
                descriptors: [
                    Descriptor { hits: Some(0), refund: true, limit: limit(minutes), ..plain.clone() },
                    Descriptor { hits: Some(u64::MAX), limit: limit(None), ..Descriptor::default() },
                    Descriptor { limit: limit(Some(Period::from_units(Unit::Week, 1))), ..plain },
                ]
                .into_iter()
                .collect(),
            },
        ];
        for (check, ns) in checks.iter().zip([1_795_665_600_123_456_789, 2_000_000_000]) {
            let mut line = Vec::new();
            append_check(&mut line, Timestamp::from_ns(ns), check).unwrap();
            let read = trace::Line::read(line.trim_ascii()).unwrap();
            assert_eq!(trace::instant(read.at().unwrap()).unwrap().as_ns(), ns);
            assert_eq!(
                format!("{:?}", read.check().unwrap()),
                format!("{check:?}"),
                "{}",
                String::from_utf8_lossy(&line)
            );
        }
    }

    #[test]
    fn a_note_is_read_again_and_is_no_check() {
        let note = Note { began: "2026-11-27T15:00:00Z".into(), one_in: 10, hashed: true, ..Note::default() };
        let mut line = Vec::new();
        append_note(&mut line, &note).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text, "{\"recording\":{\"began\":\"2026-11-27T15:00:00Z\",\"one_in\":10,\"hashed\":true}}\n");
        let read = trace::Line::read(text.as_bytes()).unwrap();
        assert!(matches!(&read, trace::Line::Note(read) if **read == note) && read.check().is_err(), "{read:?}");
    }
}
