//! Scripts: one check a line, and its answer.
//!
//! ```text
//! at [xN] | domain [+hits] | descriptor; descriptor => CODE [hold=T] [advise=T] | status; status
//! ```
//!
//! `at` is in seconds, or an instant in RFC 3339; `xN`: the check comes N times. A descriptor is `key=value,key=value`
//! (or `()`), then `+hits`, `refund` and `limit=5/minute` or `limit=5/30second`, all optional. A status is
//! `CODE -` (no limit), `CODE rule unlimited`, or `CODE rule limit/unit remaining reset [#name]`, where an override has the
//! rule `-`, and `?` is the unit that there is none for. Without statuses only the code is looked at. Lines that begin with
//! `#` are comments.

use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::units::Timestamp;

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) at: Timestamp,
    pub(crate) times: u32,
    pub(crate) request: RateLimitRequest,
    pub(crate) expected: Answer,
}

/// An answer as scripts tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The code, and the delay.
    pub(crate) overall: String,
    /// Each status; `None`: whatever they are.
    pub(crate) statuses: Option<Vec<String>>,
}

impl Answer {
    /// Whether `got` is the answer that is expected here.
    pub(crate) fn is_met_by(&self, got: &Self) -> bool {
        self.overall == got.overall && (self.statuses.is_none() || self.statuses == got.statuses)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} | {}", self.overall, self.statuses.as_ref().map_or("...".to_owned(), |all| all.join("; ")))
    }
}

/// Reads a script.
pub(crate) fn read(script: &str) -> Vec<Line> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|text| line(text).unwrap_or_else(|| panic!("no line of a script: {text}"))).collect()
}

fn line(text: &str) -> Option<Line> {
    let (asked, answer) = text.split_once(" => ")?;
    let mut parts = asked.split(" | ").map(str::trim);
    let (when, domain, descriptors) = (parts.next()?, parts.next()?, parts.next()?);
    let (at, times) = when.split_once('x').unwrap_or((when, "1"));
    let (domain, hits) = domain.split_once(" +").unwrap_or((domain, "0"));
    let descriptors = descriptors.split(';').map(descriptor).collect::<Option<_>>()?;
    Some(Line {
        text: text.to_owned(),
        at: instant(at.trim_end())?,
        times: times.parse().ok()?,
        request: RateLimitRequest { domain: domain.to_owned(), descriptors, hits_addend: hits.parse().ok()? },
        expected: expected(answer),
    })
}

/// Words parted by single spaces, whatever the layout of the table.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn expected(text: &str) -> Answer {
    let (overall, statuses) = text.split_once('|').map_or((text, None), |(overall, rest)| (overall, Some(rest)));
    Answer { overall: words(overall), statuses: statuses.map(|all| all.split(';').map(words).collect()) }
}

/// Decimal seconds to the nanosecond, or an instant in RFC 3339.
fn instant(text: &str) -> Option<Timestamp> {
    if text.contains('T') {
        let at: jiff::Timestamp = text.parse().ok()?;
        return u64::try_from(at.as_nanosecond()).ok().map(Timestamp::from_ns);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let ns: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp::from_ns(whole.parse::<u64>().ok()? * 1_000_000_000 + ns))
}

fn descriptor(text: &str) -> Option<RateLimitDescriptor> {
    let mut words = text.split_whitespace();
    let entries = words.next()?;
    let entries = if entries == "()" { Vec::new() } else { entries.split(',').map(entry).collect::<Option<_>>()? };
    let mut descriptor = RateLimitDescriptor { entries, ..RateLimitDescriptor::default() };
    for word in words {
        if let Some(hits) = word.strip_prefix('+') {
            descriptor.hits_addend = Some(if hits == "max" { u64::MAX } else { hits.parse().ok()? });
        } else if let Some(limit) = word.strip_prefix("limit=") {
            descriptor.limit = Some(override_of(limit)?);
        } else if word == "refund" {
            descriptor.is_negative_hits = true;
        } else {
            return None;
        }
    }
    Some(descriptor)
}

fn entry(text: &str) -> Option<Entry> {
    let (key, value) = text.split_once('=')?;
    Some(Entry { key: key.to_owned(), value: value.to_owned() })
}

/// `5/minute`, `5/30second` or `5/unknown`.
fn override_of(text: &str) -> Option<RateLimitOverride> {
    let (requests, period) = text.split_once('/')?;
    let digits = period.bytes().take_while(u8::is_ascii_digit).count();
    let (multiplier, unit) = period.split_at(digits);
    let unit = match unit {
        "unknown" => 0,
        "second" => 1,
        "minute" => 2,
        "hour" => 3,
        "day" => 4,
        "month" => 5,
        "year" => 6,
        "week" => 7,
        number => number.strip_prefix('#')?.parse().ok()?,
    };
    let unit_multiplier = if multiplier.is_empty() { None } else { Some(multiplier.parse().ok()?) };
    Some(RateLimitOverride { requests_per_unit: requests.parse().ok()?, unit, unit_multiplier })
}

/// A limit as scripts spell it: `10/minute`, `10/30second`, `10/?`.
pub(crate) fn limit_text(requests: u32, unit: Option<&str>, multiplier: u32) -> String {
    match unit {
        None => format!("{requests}/?"),
        Some(unit) if multiplier > 1 => format!("{requests}/{multiplier}{}", unit.to_lowercase()),
        Some(unit) => format!("{requests}/{}", unit.to_lowercase()),
    }
}

/// A length of time as scripts spell it: `59s`, or `800ms` where it is no whole second.
pub(crate) fn time_text(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}
