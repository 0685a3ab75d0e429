//! Instants as people give them on the command line: `-2h`, `yesterday`, `2026-11-27`, or RFC 3339.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};

/// An instant, or a day, which begins and ends by the clocks of a time zone.
#[derive(Clone, Debug)]
pub(in crate::cli::admin) enum When {
    Now,
    /// A day, counted from today: 0, or -1 for yesterday.
    FromToday(i32),
    Day(Date),
    /// So long before now. Days, weeks, months and years are those of the calendar: the same time by the clock.
    Ago(Span),
    /// A time by the clock.
    Local(DateTime),
    Instant(Timestamp),
}

impl When {
    /// The first instant that is meant: of a day its beginning. `now` is in the time zone of days and clocks.
    ///
    /// # Errors
    /// It is beyond what can be represented.
    pub(in crate::cli::admin) fn begin(&self, now: &Zoned) -> Result<Zoned, String> {
        self.resolve(now, 0)
    }

    /// The instant after the last that is meant: of a day its end.
    ///
    /// # Errors
    /// It is beyond what can be represented.
    pub(in crate::cli::admin) fn end(&self, now: &Zoned) -> Result<Zoned, String> {
        self.resolve(now, 1)
    }

    /// `days` is added to a day.
    fn resolve(&self, now: &Zoned, days: i32) -> Result<Zoned, String> {
        let zone = || now.time_zone().clone();
        let day = |day: Date, more: i32| day.checked_add(more.days())?.to_zoned(zone());
        let at = match self {
            Self::Now => Ok(now.clone()),
            Self::FromToday(distance) => day(now.date(), distance.saturating_add(days)),
            Self::Day(date) => day(*date, days),
            Self::Ago(span) => now.checked_sub(*span),
            // Of a time that the clocks show twice the first is meant, of one that they skip the one as long after the change.
            Self::Local(time) => time.to_zoned(zone()),
            Self::Instant(at) => Ok(at.to_zoned(zone())),
        };
        at.map_err(|error| error.to_string())
    }
}

/// Parses the value of `--from` or `--to`.
///
/// # Errors
/// What can be written.
pub(in crate::cli::admin) fn parse_when(text: &str) -> Result<When, String> {
    let wrong = || format!("'{text}' is not a time (examples: {EXAMPLES})");
    let text = text.trim();
    match text {
        "now" => return Ok(When::Now),
        "today" => return Ok(When::FromToday(0)),
        "yesterday" => return Ok(When::FromToday(-1)),
        _ => {}
    }
    if let Some(length) = text.strip_prefix('-') {
        let begins = length.starts_with(|c: char| c.is_ascii_digit());
        let span = length.parse::<Span>().ok().filter(|span| begins && !span.is_negative());
        return span.map(When::Ago).ok_or_else(wrong);
    }
    if !text.contains(':') {
        return text.parse().map(When::Day).map_err(|_| wrong());
    }
    let instant = text.parse().map(When::Instant);
    instant.or_else(|_| text.parse().map(When::Local)).map_err(|_| wrong())
}

/// The time zone of the machine, which TZ overrides; or UTC. A machine that has none uses UTC.
///
/// # Errors
/// TZ names no time zone that the machine knows.
pub(in crate::cli::admin) fn time_zone(utc: bool) -> Result<TimeZone, String> {
    if utc {
        return Ok(TimeZone::UTC);
    }
    match (TimeZone::try_system(), std::env::var_os("TZ")) {
        (Ok(zone), _) => Ok(zone),
        (Err(_), Some(name)) if !name.is_empty() => {
            Err(format!("TZ={}: no such time zone on this machine; --utc does without", name.display()))
        }
        (Err(_), _) => Ok(TimeZone::UTC),
    }
}

const EXAMPLES: &str = "2026-11-27, 2026-11-27T14:30, 2026-11-27T14:30:00+01:00, -2h, -7d, yesterday, today, now";

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text means, from its beginning to its end, at `now` in a time zone.
    fn check(now: &str, zone: &str, cases: &[(&str, &str, &str)]) {
        let zone = TimeZone::get(zone).unwrap();
        let now = now.parse::<Timestamp>().unwrap().to_zoned(zone);
        let shown = |at: Zoned| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        for (text, begin, end) in cases {
            let when = parse_when(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = (shown(when.begin(&now).unwrap()), shown(when.end(&now).unwrap()));
            assert_eq!(found, ((*begin).to_owned(), (*end).to_owned()), "{text} at {now}");
        }
    }

    #[test]
    fn words_and_times() {
        let cases = [
            ("now", "2026-11-27T15:30:45+01:00", "2026-11-27T15:30:45+01:00"),
            ("today", "2026-11-27T00:00:00+01:00", "2026-11-28T00:00:00+01:00"),
            ("yesterday", "2026-11-26T00:00:00+01:00", "2026-11-27T00:00:00+01:00"),
            ("2026-11-01", "2026-11-01T00:00:00+01:00", "2026-11-02T00:00:00+01:00"),
            ("2026-12-31", "2026-12-31T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
            ("-2h", "2026-11-27T13:30:45+01:00", "2026-11-27T13:30:45+01:00"),
            ("-1h30m", "2026-11-27T14:00:45+01:00", "2026-11-27T14:00:45+01:00"),
            ("-7d", "2026-11-20T15:30:45+01:00", "2026-11-20T15:30:45+01:00"),
            ("-1w", "2026-11-20T15:30:45+01:00", "2026-11-20T15:30:45+01:00"),
            ("-1mo", "2026-10-27T15:30:45+01:00", "2026-10-27T15:30:45+01:00"),
            ("2026-11-27T14:30", "2026-11-27T14:30:00+01:00", "2026-11-27T14:30:00+01:00"),
            ("2026-11-27 14:30:15", "2026-11-27T14:30:15+01:00", "2026-11-27T14:30:15+01:00"),
            ("2026-11-27T14:30:00Z", "2026-11-27T15:30:00+01:00", "2026-11-27T15:30:00+01:00"),
            ("2026-11-27T14:30:00-08:00", "2026-11-27T23:30:00+01:00", "2026-11-27T23:30:00+01:00"),
        ];
        check("2026-11-27T14:30:45Z", "Europe/Berlin", &cases);
        // The same instant is another day elsewhere.
        let cases = [("today", "2026-11-28T00:00:00+13:00", "2026-11-29T00:00:00+13:00")];
        check("2026-11-27T14:30:45Z", "Pacific/Auckland", &cases);
        let cases = [("yesterday", "2026-11-26T00:00:00+00:00", "2026-11-27T00:00:00+00:00")];
        check("2026-11-27T14:30:45Z", "UTC", &cases);
    }

    #[test]
    fn daylight_saving() {
        // Clocks went from 02:00 to 03:00 on 29 March: that day had 23 hours.
        let cases = [
            ("today", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
            ("yesterday", "2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
            ("-1d", "2026-03-28T12:00:00+01:00", "2026-03-28T12:00:00+01:00"),
            ("-24h", "2026-03-28T11:00:00+01:00", "2026-03-28T11:00:00+01:00"),
            ("2026-03-29T02:30", "2026-03-29T03:30:00+02:00", "2026-03-29T03:30:00+02:00"),
        ];
        check("2026-03-29T10:00:00Z", "Europe/Berlin", &cases);
        // And from 03:00 back to 02:00 on 25 October, which had 25.
        let cases = [
            ("yesterday", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
            ("2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
            ("-1d", "2026-10-25T12:00:00+01:00", "2026-10-25T12:00:00+01:00"),
            ("-2d", "2026-10-24T12:00:00+02:00", "2026-10-24T12:00:00+02:00"),
            ("-48h", "2026-10-24T13:00:00+02:00", "2026-10-24T13:00:00+02:00"),
            ("2026-10-25T02:30", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+02:00"),
            ("2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00"),
        ];
        check("2026-10-26T11:00:00Z", "Europe/Berlin", &cases);
        // A day that begins at 01:00.
        let cases = [("2018-11-04", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00")];
        check("2026-10-26T11:00:00Z", "America/Sao_Paulo", &cases);
    }

    #[test]
    fn what_is_no_time() {
        let wrong = [
            "",
            "soon",
            "2h",
            "--2h",
            "-",
            "-2x",
            "-2h ago",
            "-P-1D",
            "2026-13-01",
            "2026-02-29",
            "12:30",
            "27.11.2026",
        ];
        for text in wrong {
            let error = parse_when(text).map(|when| format!("{when:?}")).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a time (examples: 2026-11-27")), "{text}: {error}");
        }
    }

    #[test]
    fn times_that_cannot_be_represented_are_errors() {
        let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        for text in ["-19000y", "9999-12-31"] {
            assert!(parse_when(text).unwrap().end(&now).is_err(), "{text}");
        }
    }

    #[test]
    fn utc_needs_no_machine() {
        assert_eq!(time_zone(true), Ok(TimeZone::UTC));
    }
}
