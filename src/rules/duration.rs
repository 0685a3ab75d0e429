//! Lengths of time as written in a configuration: `500ms`, `30s`, `1h30m`, `7d`.

use std::fmt::Write;

use super::report::Report;
use super::yaml::{Kind, Node};
use crate::units::Nanos;

/// The longest length: 10 years of 365 days. Twice that from now still fits a timestamp, and no limit needs more.
const LONGEST: Nanos = Nanos::from_secs(10 * 365 * 86_400);

/// The units, longest first, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a length of time: numbers with units, longest unit first, each unit once; not zero and at most 10 years.
///
/// # Errors
/// What is wrong, as text to follow a colon.
pub(super) fn parse(text: &str) -> Result<Nanos, &'static str> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(FORM);
    }
    while !rest.is_empty() {
        let (digits, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        if digits.is_empty() || unit.is_empty() {
            return Err(FORM);
        }
        let ns = units.find(|(name, _)| *name == unit).ok_or(FORM)?.1;
        let part = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(ns)).ok_or(TOO_LONG)?;
        total = total.checked_add(part).ok_or(TOO_LONG)?;
        rest = after;
    }
    match total {
        0 => Err("it must be longer than 0"),
        _ if total > LONGEST.as_ns() => Err(TOO_LONG),
        _ => Ok(Nanos::from_ns(total)),
    }
}

/// A length as a configuration has it: `1d12h`, which [`parse`] reads.
pub(super) fn written(length: Nanos) -> String {
    let (mut text, mut rest) = (String::new(), length.as_ns());
    // Weeks and days are mixed by nobody.
    for (unit, ns) in UNITS.iter().skip(1) {
        if rest >= *ns {
            // Writing to a String does not fail.
            let _written = write!(text, "{}{unit}", rest / ns);
            rest %= ns;
        }
    }
    text
}

/// Reads the length of time that is the value of `key`, or reports why it is not one.
pub(super) fn read(node: &Node, key: &str, report: &mut Report<'_>) -> Option<Nanos> {
    let fault = match &node.kind {
        Kind::Invalid => return None,
        Kind::Scalar(scalar) => match parse(&scalar.text) {
            Ok(length) => return Some(length),
            Err(fault) => fault,
        },
        _ => FORM,
    };
    let found = report.found(node);
    report.error(node.line, format!("'{key}' must be a length of time{found}: {fault}"));
    None
}

const FORM: &str =
    "write whole numbers with units w, d, h, m, s, ms, us or ns, the longest first, such as 30s or 1h30m";
const TOO_LONG: &str = "at most 10 years (3650d) are allowed";

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        const MS: u64 = 1_000_000;
        for (text, expected) in [
            ("500ms", Ok(500 * MS)),
            ("30s", Ok(30_000 * MS)),
            ("15m", Ok(900_000 * MS)),
            ("1h30m", Ok(5_400_000 * MS)),
            ("7d", Ok(7 * 86_400_000 * MS)),
            ("1w", Ok(7 * 86_400_000 * MS)),
            ("1s500ms", Ok(1_500 * MS)),
            ("0h1ns", Ok(1)),
            ("3650d", Ok(LONGEST.as_ns())),
            ("3650d1ns", Err(TOO_LONG)),
            ("99999999999999999999s", Err(TOO_LONG)),
            ("18446744073709551615s", Err(TOO_LONG)),
            ("0s", Err("it must be longer than 0")),
            ("", Err(FORM)),
            ("30", Err(FORM)),
            ("s", Err(FORM)),
            ("1.5h", Err(FORM)),
            ("-1s", Err(FORM)),
            ("1 s", Err(FORM)),
            ("30m1h", Err(FORM)),
            ("1s1s", Err(FORM)),
            ("1S", Err(FORM)),
            ("1month", Err(FORM)),
            ("1sé", Err(FORM)),
        ] {
            assert_eq!(parse(text).map(Nanos::as_ns), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (length, expected) in [
            (Nanos::from_secs(90), "1m30s"),
            (Nanos::from_secs(86_400), "1d"),
            (Nanos::from_secs(365 * 86_400 + 18 * 3_600), "365d18h"),
            (Nanos::from_ns(1_001_001_001), "1s1ms1us1ns"),
        ] {
            assert_eq!((&*written(length), parse(&written(length))), (expected, Ok(length)));
        }
    }
}
