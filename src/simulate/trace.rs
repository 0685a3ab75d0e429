//! Reads one line of a trace: a check in the trace's own format, a `/json` body, or a note about a recording.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::body::Body;
use super::note::{Note, NoteLine};
use crate::limiter::{Check, Descriptor, Override};
use crate::rules::{Entry, Period, Unit};
use crate::units::{Nanos, Timestamp};

/// One line of a trace.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// In the trace's own format.
    Own(OwnLine<'a>),
    /// In the format of `/json`.
    Body(Body<'a>),
    /// No check: what `record` says of the recording.
    Note(Box<Note>),
}

impl<'a> Line<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        serde_json::from_str(text).map(Self::Own).or_else(|error| match Body::read(text) {
            Some(body) => body.map(Self::Body),
            None => match serde_json::from_str::<NoteLine>(text) {
                Ok(NoteLine { recording }) => Ok(Self::Note(Box::new(recording))),
                Err(_) => Err(format!("is not a check: {error}")),
            },
        })
    }

    /// The field `at` of the line; it is optional only in a body.
    pub(super) fn at(&self) -> Option<&'a RawValue> {
        match self {
            Self::Own(line) => Some(line.at),
            Self::Body(body) => body.at,
            Self::Note(_) => None,
        }
    }

    /// The check; a note is none.
    pub(super) fn check(&self) -> Result<Check<'_>, String> {
        match self {
            Self::Own(line) => line.check(),
            Self::Body(body) => body.check(),
            Self::Note(_) => Err("is not a check".to_owned()),
        }
    }
}

/// One check in the trace's own format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnLine<'a> {
    #[serde(borrow)]
    at: &'a RawValue,
    domain: String,
    descriptors: Vec<LineDescriptor>,
    #[serde(default)]
    hits: u32,
    #[serde(borrow)]
    timeout: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineDescriptor {
    #[serde(default)]
    entries: Vec<(String, String)>,
    hits: Option<u64>,
    #[serde(default)]
    negative: bool,
    limit: Option<LineOverride>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineOverride {
    requests_per_unit: u32,
    unit: String,
    unit_multiplier: Option<u32>,
}

impl OwnLine<'_> {
    fn check(&self) -> Result<Check<'_>, String> {
        if self.domain.is_empty() {
            return Err("rate limit domain must not be empty".into());
        }
        if self.descriptors.is_empty() {
            return Err("rate limit descriptor list must not be empty".into());
        }
        let descriptors = self.descriptors.iter().map(LineDescriptor::descriptor).collect::<Result<_, _>>()?;
        let timeout = self.timeout.map(length).transpose()?;
        Ok(Check { domain: self.domain.as_str().into(), descriptors, hits_addend: self.hits, timeout })
    }
}

impl LineDescriptor {
    fn descriptor(&self) -> Result<Descriptor<'_>, String> {
        let entry = |(key, value): &'_ (String, String)| Entry { key: key.clone().into(), value: value.clone().into() };
        let limit = self.limit.as_ref().map(LineOverride::limit).transpose()?;
        Ok(Descriptor {
            entries: self.entries.iter().map(entry).collect(),
            limit,
            hits: self.hits,
            refund: self.negative,
        })
    }
}

impl LineOverride {
    fn limit(&self) -> Result<Override, String> {
        let known = Unit::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(&self.unit));
        if known.is_none() && !self.unit.eq_ignore_ascii_case("unknown") {
            return Err(format!("limit: unknown unit '{}'", self.unit));
        }
        let period = known.map(|unit| Period::from_units(unit, self.unit_multiplier.unwrap_or(1)));
        Ok(Override { requests_per_unit: self.requests_per_unit, period })
    }
}

/// The instant of the field `at`.
pub(super) fn instant(at: &RawValue) -> Result<Timestamp, String> {
    let text = at.get();
    let inner = serde_json::from_str::<String>(text);
    let text = inner.as_deref().unwrap_or(text);
    seconds(text).or_else(|| rfc_3339(text)).ok_or_else(|| {
        format!("at: expected seconds since 1970 (a number or a decimal string) or an RFC 3339 time, got {text}")
    })
}

/// The length of the field `timeout`.
fn length(timeout: &RawValue) -> Result<Nanos, String> {
    let text = timeout.get();
    let seconds = seconds(text.trim_matches('"')).map(|at| at.since(Timestamp::EPOCH));
    seconds.ok_or_else(|| format!("timeout: expected seconds, a number or a decimal string, got {text}"))
}

/// Decimal seconds with nanosecond precision, without conversion to a double; further digits are cut off.
fn seconds(text: &str) -> Option<Timestamp> {
    if let Some((mantissa, exponent)) = text.split_once(['e', 'E']) {
        return scaled(mantissa, exponent.parse::<i32>().ok()?);
    }
    scaled(text, 0)
}

/// `mantissa x 10^exponent` seconds.
fn scaled(mantissa: &str, exponent: i32) -> Option<Timestamp> {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || mantissa.ends_with('.') {
        return None;
    }
    // The place of the last digit of whole and fraction together, in nanoseconds.
    let place = NANO_DIGITS.checked_add(exponent)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let mut digits = format!("{whole}{fraction}");
    if place < 0 {
        digits.truncate(digits.len().saturating_sub(place.unsigned_abs() as usize));
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Timestamp::EPOCH);
    }
    let factor = 10_u64.checked_pow(u32::try_from(place.max(0)).ok()?)?;
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Timestamp::from_ns)
}

fn rfc_3339(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok().map(Timestamp::from_ns)
}

/// A second is 10 to this power nanoseconds.
const NANO_DIGITS: i32 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_nanosecond() {
        for (text, ns) in [
            ("0", Some(0)),
            ("0.2", Some(200_000_000)),
            ("\"0.2\"", Some(200_000_000)),
            ("1700000000.123456789", Some(1_700_000_000_123_456_789)),
            ("\"1700000000.1234567891\"", Some(1_700_000_000_123_456_789)),
            ("1e3", Some(1_000_000_000_000)),
            ("1.5e-3", Some(1_500_000)),
            ("2E+2", Some(200_000_000_000)),
            ("\"1970-01-01T00:00:01.5Z\"", Some(1_500_000_000)),
            ("\"1970-01-01T01:00:00+01:00\"", Some(0)),
            ("-1", None),
            ("\"1.\"", None),
            ("\"\"", None),
            ("\"1969-12-31T23:59:59Z\"", None),
            ("18446744074", None),
            ("1e99999999999", None),
            ("1e2147483647", None),
            ("1e-2147483648", Some(0)),
            ("true", None),
        ] {
            let line = format!(r#"{{"at": {text}, "domain": "d", "descriptors": []}}"#);
            let now =
                Line::read(line.as_bytes()).and_then(|line| line.at().ok_or_else(String::new).and_then(instant)).ok();
            assert_eq!(now.map(Timestamp::as_ns), ns, "{text}");
        }
    }
}
