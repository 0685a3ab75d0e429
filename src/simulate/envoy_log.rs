//! Makes a trace of an access log: a line of JSON for each request, as Envoy's `json_format` writes it.
//!
//! A log has its lines in the order in which requests ended, a trace in that in which they began: checks wait in memory until those that
//! can still come began later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Read, Write};

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::SimulateError;
use super::line::append_check;
use super::trace::instant;
use crate::limiter::{Check, Descriptor};
use crate::rules::Entry;
use crate::units::Timestamp;

/// What the checks of a log are made of.
#[derive(Clone, Debug)]
pub(crate) struct EnvoyLog {
    /// The domain of all checks.
    pub(crate) domain: String,
    /// The field with the instant at which a request began.
    pub(crate) time: String,
    /// The field with the hits of a request; without it, each costs 1.
    pub(crate) hits: Option<String>,
    /// The descriptors.
    pub(crate) descriptors: Vec<DescriptorPattern>,
}

/// Entries of which each line makes a descriptor: keys, and where their values are.
pub(crate) type DescriptorPattern = Vec<(String, ValuePattern)>;

/// Where the value of an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValuePattern {
    /// It is this text.
    Text(String),
    /// In this field. A line without it does not have the descriptor.
    Field(String),
    /// In this field. A line without it does not have the entry.
    OptionalField(String),
}

impl ValuePattern {
    /// Reads a text, `%FIELD%`, or `%FIELD?%` for an optional field.
    pub(crate) fn read(text: &str) -> Self {
        let field = text.strip_prefix('%').and_then(|text| text.strip_suffix('%')).filter(|field| !field.is_empty());
        match field.map(|field| (field, field.strip_suffix('?').filter(|field| !field.is_empty()))) {
            None => Self::Text(text.to_owned()),
            Some((_, Some(optional))) => Self::OptionalField(optional.to_owned()),
            Some((field, None)) => Self::Field(field.to_owned()),
        }
    }
}

/// What became of the lines of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Converted {
    /// Lines that are checks now.
    pub(crate) checks: u64,
    /// Lines with the values of no descriptor: nothing that the domain limits.
    pub(crate) without_descriptor: u64,
    /// Lines that do not begin as an object of JSON: what else the program logs.
    pub(crate) other: u64,
}

impl EnvoyLog {
    /// Writes the trace. Takes the memory of at most [`MAX_WAITING`] checks.
    ///
    /// # Errors
    /// The first line that is JSON and has no time, or began before a check that is already written; an error of the reader or the writer.
    pub(crate) fn convert(&self, mut log: impl BufRead, mut out: impl Write) -> Result<Converted, SimulateError> {
        let (mut converted, mut waiting) = (Converted::default(), Waiting::default());
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            let bad = |what| SimulateError::BadLine { line, what };
            // The line and its end.
            if log.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            if bytes.len() as u64 > MAX_LINE_BYTES {
                return Err(bad(format!("is longer than {MAX_LINE_BYTES} bytes")));
            }
            if bytes.trim_ascii_start().first() != Some(&b'{') {
                converted.other += 1;
                continue;
            }
            // Headers may have any bytes; the service reads them in the same way.
            let text = String::from_utf8_lossy(&bytes);
            let fields = serde_json::from_str(&text).map_err(|error| bad(format!("is no JSON: {error}")))?;
            let (at, check) = self.check(&fields).map_err(bad)?;
            let Some(check) = check else {
                converted.without_descriptor += 1;
                continue;
            };
            converted.checks += 1;
            waiting.add(at, line, &check, &mut out)?;
        }
        waiting.write_all(&mut out)?;
        out.flush()?;
        Ok(converted)
    }

    /// When the request began, and its check; none if it has no descriptor.
    fn check(&self, fields: &Value) -> Result<(Timestamp, Option<Check<'static>>), String> {
        let time = field(fields, &self.time).ok_or_else(|| format!("has no field {:?}, the time", self.time))?;
        let at = to_raw_value(time).map_err(|error| error.to_string()).and_then(|time| instant(&time))?;
        let hits = self.hits.as_ref().and_then(|name| text(field(fields, name)?));
        let hits = hits.map(|hits| hits.parse::<u64>().map_err(|_| format!("{hits:?} is no number of hits")));
        let hits = hits.transpose()?;
        let descriptors = self.descriptors.iter().filter_map(|pattern| descriptor(pattern, fields, hits)).collect();
        let check = Check { domain: self.domain.clone().into(), descriptors, ..Check::default() };
        Ok((at, Some(check).filter(|check| !check.descriptors.is_empty())))
    }
}

/// As Envoy makes one: not at all if a value is missing that is not optional.
fn descriptor(pattern: &[(String, ValuePattern)], fields: &Value, hits: Option<u64>) -> Option<Descriptor<'static>> {
    let mut entries = Vec::new();
    for (key, value) in pattern {
        let value = match value {
            ValuePattern::Text(value) => Some(value.clone()),
            ValuePattern::Field(name) => Some(field(fields, name).and_then(text)?),
            ValuePattern::OptionalField(name) => field(fields, name).and_then(text),
        };
        entries.extend(value.map(|value| Entry { key: key.clone().into(), value: value.into() }));
    }
    let is_empty = entries.is_empty();
    Some(Descriptor { entries: entries.into(), hits, ..Descriptor::default() }).filter(|_| !is_empty)
}

/// The field of that name, or, with dots in it, the field of a field.
fn field<'v>(fields: &'v Value, name: &str) -> Option<&'v Value> {
    fields.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        field(fields.get(outer)?, inner)
    })
}

/// The text of a value; none for what Envoy writes for a value that is not there.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !["", "-"].contains(&text.as_str())),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Checks that are not written yet, the earliest on top.
#[derive(Default)]
struct Waiting {
    lines: BinaryHeap<Reverse<(Timestamp, u64, Vec<u8>)>>,
    written: Timestamp,
}

impl Waiting {
    fn add(&mut self, at: Timestamp, line: u64, check: &Check<'_>, out: &mut impl Write) -> Result<(), SimulateError> {
        if at < self.written {
            let what = format!("began before a line that is {MAX_WAITING} checks above it: sort the log by time");
            return Err(SimulateError::BadLine { line, what });
        }
        let mut bytes = Vec::new();
        append_check(&mut bytes, at, check)?;
        self.lines.push(Reverse((at, line, bytes)));
        if self.lines.len() > MAX_WAITING {
            self.write_first(out)?;
        }
        Ok(())
    }

    fn write_all(&mut self, out: &mut impl Write) -> io::Result<()> {
        while !self.lines.is_empty() {
            self.write_first(out)?;
        }
        Ok(())
    }

    fn write_first(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(Reverse((at, _, line))) = self.lines.pop() else { return Ok(()) };
        self.written = at;
        out.write_all(&line)
    }
}

/// A request has at most some hundred KiB of headers, and a log some fields of it.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// How many requests may end after one that began later: those of a gateway with 10,000 a second in 20 s.
const MAX_WAITING: usize = 200_000;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn log(descriptors: &[&[(&str, &str)]]) -> EnvoyLog {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), ValuePattern::read(value));
        EnvoyLog {
            domain: "d".to_owned(),
            time: "time".to_owned(),
            hits: Some("cost".to_owned()),
            descriptors: descriptors.iter().map(|entries| entries.iter().map(entry).collect()).collect(),
        }
    }

    fn converted(log: &EnvoyLog, text: &[u8]) -> Result<(Converted, String), String> {
        let mut out = Vec::new();
        let converted = log.convert(text, &mut out).map_err(|error| error.to_string())?;
        Ok((converted, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn patterns() {
        let field = |name: &str| ValuePattern::Field(name.to_owned());
        let text = |text: &str| ValuePattern::Text(text.to_owned());
        for (written, pattern) in [
            ("v", text("v")),
            ("", text("")),
            ("%", text("%")),
            ("%%", text("%%")),
            ("100%", text("100%")),
            ("%a%", field("a")),
            ("%a.b%", field("a.b")),
            ("%?%", field("?")),
            ("%a?%", ValuePattern::OptionalField("a".to_owned())),
        ] {
            assert_eq!(ValuePattern::read(written), pattern, "{written}");
        }
    }

    #[test]
    fn lines_become_checks_in_the_order_of_their_times() {
        let log = log(&[&[("user", "%user%"), ("path", "%request.path?%")], &[("path", "/pay"), ("node", "%node%")]]);
        let text = br#"[2026-11-27 21:00:00.000][1][info] starting
{"time":"1970-01-01T00:00:02.5Z","user":"ann","request":{"path":"/a"},"cost":3,"node":null}

{"time":"1.25","user":"-","node":7,"cost":"-"}
{"time":2,"user":"","node":"-"}
{"time":"1.25","user":"b\u00e4r","request.path":"/whole/name"}
"#;
        let (converted, out) = converted(&log, text).unwrap();
        assert_eq!(converted, Converted { checks: 3, without_descriptor: 1, other: 2 });
        let expected = r#"{"at":1.25,"domain":"d","descriptors":[{"entries":[["path","/pay"],["node","7"]]}]}
{"at":1.25,"domain":"d","descriptors":[{"entries":[["user","bär"],["path","/whole/name"]]}]}
{"at":2.5,"domain":"d","descriptors":[{"entries":[["user","ann"],["path","/a"]],"hits":3}]}
"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn any_bytes_are_read_and_what_is_wrong_has_its_line() {
        let log = log(&[&[("user", "%user%")]]);
        let (_, out) = converted(&log, b"{\"time\":1,\"user\":\"\xff\"}\n").unwrap();
        assert!(out.contains("[[\"user\",\"\u{fffd}\"]]"), "{out}");
        let oversized = format!("{{\"time\":1,\"user\":\"{}\"}}", "u".repeat(1 << 20));
        for (text, error) in [
            ("\n{\"user\":\"a\"}", "line 2: has no field \"time\", the time"),
            ("{\"time\":\"now\",\"user\":\"a\"}", "line 1: at: expected seconds"),
            ("{\"time\":1,\"user\"", "line 1: is no JSON"),
            ("{\"time\":1,\"user\":\"a\",\"cost\":\"-5\"}", "line 1: \"-5\" is no number of hits"),
            (oversized.as_str(), "line 1: is longer than"),
        ] {
            let wrong = converted(&log, text.as_bytes()).unwrap_err();
            assert!(wrong.starts_with(error), "{wrong}");
        }
    }

    #[test]
    fn a_line_that_comes_too_late_is_an_error() {
        let log = log(&[&[("user", "%user%")]]);
        let mut text = String::new();
        for at in 1..=MAX_WAITING + 1 {
            writeln!(text, "{{\"time\":{at},\"user\":\"a\"}}").unwrap();
        }
        let (all, _) = converted(&log, (text.clone() + "{\"time\":1,\"user\":\"a\"}").as_bytes()).unwrap();
        assert_eq!(all.checks, MAX_WAITING as u64 + 2);
        let wrong = converted(&log, (text + "{\"time\":0,\"user\":\"a\"}").as_bytes()).unwrap_err();
        assert!(wrong.contains("sort the log"), "{wrong}");
    }
}
