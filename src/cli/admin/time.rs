//! Instants and lengths of time in words, and as values of flags.

mod when;

use prost_types::{Duration, Timestamp as WireTime};

pub(super) use when::{When, parse_when, time_zone};

use crate::rules::Unit;
use crate::settings::duration;
use crate::units::{Nanos, Timestamp};

/// Parses the value of `--for` or `--since`: `10m`, `2h`.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse_length(text: &str) -> Result<Duration, String> {
    Duration::try_from(duration(text)?).map_err(|error| error.to_string())
}

/// An instant in RFC 3339, in seconds and UTC: `2026-11-26T05:00:00Z`.
pub(super) fn instant(at: &WireTime) -> String {
    jiff::Timestamp::from_second(at.seconds).map_or_else(|_| format!("@{}", at.seconds), |at| at.to_string())
}

/// The same in milliseconds, rounded down: `2026-11-26T05:00:00.120Z`.
pub(super) fn instant_ms(at: &WireTime) -> String {
    let to_ms = at.nanos - at.nanos % 1_000_000;
    let known = jiff::Timestamp::new(at.seconds, to_ms);
    known.map_or_else(|_| format!("@{}", at.seconds), |at| format!("{at:.3}"))
}

/// An instant of a message; `None` if it cannot be represented.
pub(super) fn from_wire(at: &WireTime) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}

/// An instant of a message; the epoch for one before it.
pub(super) fn timestamp(at: &WireTime) -> Timestamp {
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Timestamp::EPOCH.plus(Nanos::from_secs(part(at.seconds))).plus(Nanos::from_ns(part(at.nanos.into())))
}

/// An instant as a message.
pub(super) fn to_wire(at: jiff::Timestamp) -> WireTime {
    let ns = at.as_nanosecond();
    let part = |part: i128| i64::try_from(part).unwrap_or_default();
    let nanos = i32::try_from(ns.rem_euclid(NANOS)).unwrap_or_default();
    WireTime { seconds: part(ns.div_euclid(NANOS)), nanos }
}

/// An instant of ours in a time zone.
pub(super) fn zoned(at: Timestamp, zone: &jiff::tz::TimeZone) -> jiff::Zoned {
    let at = jiff::Timestamp::from_nanosecond(i128::from(at.as_ns())).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(zone.clone())
}

/// An instant in RFC 3339, in seconds and with the offset of its time zone: `2026-11-26T06:00:00+01:00`.
pub(super) fn with_offset(at: &jiff::Zoned) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// An instant, and how far it is from now: `2026-11-26T05:00:00Z (in 1h 59m)`.
pub(super) fn instant_from(at: &WireTime, now: Timestamp) -> String {
    let at_ns = Timestamp::EPOCH.plus(Nanos::from_secs(u64::try_from(at.seconds).unwrap_or(0)));
    let now_ns = Timestamp::EPOCH.plus(Nanos::from_secs(now.since(Timestamp::EPOCH).as_ns() / Nanos::SECOND.as_ns()));
    let distance = if at_ns > now_ns {
        format!("in {}", rough(at_ns.since(now_ns)))
    } else {
        format!("{} ago", rough(now_ns.since(at_ns)))
    };
    format!("{} ({distance})", instant(at))
}

/// A length of time: its two largest units, rounded up to seconds above a second and to milliseconds below.
pub(super) fn length(length: &Duration) -> String {
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    let length = Nanos::from_secs(part(length.seconds)).plus(Nanos::from_ns(part(length.nanos.into())));
    let rounded = if length > Nanos::SECOND {
        Nanos::from_secs(length.as_secs_ceil())
    } else {
        Nanos::from_ns(length.as_millis_ceil().saturating_mul(Nanos::MILLISECOND.as_ns()))
    };
    rough(rounded)
}

/// The length of a limit's window, as in `3 per minute`: the unit of a rules file, or a length.
pub(super) fn period(length: &Duration) -> String {
    let is = |unit: &Unit| Duration::try_from(std::time::Duration::from(unit.length())).as_ref() == Ok(length);
    let unit = Unit::ALL.into_iter().find(is);
    unit.map_or_else(|| self::length(length), |unit| unit.name().to_ascii_lowercase())
}

/// The same; of a calendar, what it is in words.
pub(super) fn period_of(length: Option<&Duration>, calendar: &str) -> String {
    if calendar.is_empty() { length.map(period).unwrap_or_default() } else { calendar.to_owned() }
}

/// The two largest units of a length.
fn rough(length: Nanos) -> String {
    length.to_string().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

const NANOS: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let now = Timestamp::from_ns(1_795_665_600_900_000_000);
        let cases = [
            (1_795_665_600, "2026-11-26T04:00:00Z (0s ago)"),
            (1_795_672_799, "2026-11-26T05:59:59Z (in 1h 59m)"),
            (1_795_579_200, "2026-11-25T04:00:00Z (1day ago)"),
            (0, "1970-01-01T00:00:00Z (56years 10months ago)"),
            (-1, "1969-12-31T23:59:59Z (56years 10months ago)"),
            (i64::MAX, "@9223372036854775807 (in 527years 7months)"),
            (i64::MIN, "@-9223372036854775808 (56years 10months ago)"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(instant_from(&WireTime { seconds, nanos: 999_999_999 }, now), expected, "{seconds}");
        }
    }

    #[test]
    fn lengths() {
        let cases = [
            (0, 0, "0s"),
            (0, 1, "1ms"),
            (1, 0, "1s"),
            (1, 1, "2s"),
            (7_199, 500, "2h"),
            (7_198, 500, "1h 59m"),
            (-1, -1, "0s"),
            (i64::MAX, i32::MAX, "584years 6months"),
        ];
        for (seconds, nanos, expected) in cases {
            assert_eq!(length(&Duration { seconds, nanos }), expected, "{seconds} {nanos}");
        }
    }

    #[test]
    fn periods() {
        let year = 365 * 86_400;
        for (seconds, expected) in [(1, "second"), (60, "minute"), (90, "1m 30s"), (10_800, "3h"), (year, "year")] {
            assert_eq!(period(&Duration { seconds, nanos: 0 }), expected);
        }
        assert_eq!(period(&Duration { seconds: 1, nanos: 1 }), "2s");
    }

    #[test]
    fn instants_of_messages() {
        for (seconds, nanos, ms) in [
            (1_795_665_600, 999_999_999, "2026-11-26T04:00:00.999Z"),
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (-1, 500_000_000, "1969-12-31T23:59:59.500Z"),
        ] {
            let wire = WireTime { seconds, nanos };
            assert_eq!(instant_ms(&wire), ms);
            assert_eq!(from_wire(&wire).map(to_wire), Some(wire));
        }
        let beyond = WireTime { seconds: i64::MAX, nanos: i32::MAX };
        assert_eq!((instant_ms(&beyond).as_str(), from_wire(&beyond)), ("@9223372036854775807", None));
    }

    #[test]
    fn values_of_flags() {
        assert_eq!(parse_length("1h30m"), Ok(Duration { seconds: 5_400, nanos: 0 }));
        for text in ["soon", "-1h", "", "99999999999999999999h"] {
            assert!(parse_length(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_since_the_epoch() {
        let at = |seconds, nanos| timestamp(&WireTime { seconds, nanos }).as_ns();
        assert_eq!(at(2, 5), 2_000_000_005);
        assert_eq!(at(-1, -5), 0);
        assert_eq!(at(i64::MAX, i32::MAX), u64::MAX);
    }
}
