//! The length of a limit's window, and its unit in the protocol.

use super::duration;
use crate::calendar::{Calendar, CalendarUnit};
use crate::units::Nanos;

/// A unit of time of `rate_limit.unit`; months have 30 days and years 365, as in the reference. With `--calendar-months` it has those of
/// the calendar, see [`LoadOptions`](super::LoadOptions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 1 s
    Second,
    /// 60 s
    Minute,
    /// 3,600 s
    Hour,
    /// 86,400 s
    Day,
    /// 7 days
    Week,
    /// 30 days
    Month,
    /// 365 days
    Year,
}

impl Unit {
    /// Every unit, shortest first.
    pub const ALL: [Self; 7] = [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The unit's length.
    pub const fn length(self) -> Nanos {
        Nanos::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        })
    }

    /// The unit's name, upper case, as the protocol and `/rlconfig` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
            Self::Year => "YEAR",
        }
    }

    /// The unit of that name, in upper or lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name))
    }
}

/// The length of a window, with its unit in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// The length, never zero. Of a calendar the usual one.
    pub length: Nanos,
    /// The unit of which `length` is a whole multiple; `None` if there is none.
    pub unit: Option<Unit>,
    /// `length` in units; 1 if there is no unit.
    pub multiplier: u32,
    /// The calendar that windows follow; `None`: all have the same length.
    pub calendar: Option<&'static Calendar>,
}

/// `period` as written.
#[derive(Clone, Copy, Debug)]
pub(super) enum PeriodSpec {
    /// `30s`
    Length(Nanos),
    /// `{calendar: month, timezone: Europe/Berlin}`
    Calendar(&'static Calendar),
}

impl PeriodSpec {
    /// The period.
    pub(super) fn period(self) -> Period {
        match self {
            Self::Length(length) => Period::from_length(length),
            Self::Calendar(calendar) => Period::from_calendar(calendar),
        }
    }

    /// As a configuration has it.
    pub(super) fn written(self) -> String {
        match self {
            Self::Length(length) => duration::written(length),
            Self::Calendar(calendar) => calendar.written(),
        }
    }
}

impl Period {
    /// A number of units, saturating at the longest length.
    pub fn from_units(unit: Unit, multiplier: u32) -> Self {
        let length = Nanos::from_ns(unit.length().as_ns().saturating_mul(multiplier.into()));
        Self { length, unit: Some(unit), multiplier, calendar: None }
    }

    /// Windows of a calendar, in the protocol one of its units.
    pub fn from_calendar(calendar: &'static Calendar) -> Self {
        let unit = match calendar.unit() {
            CalendarUnit::Day => Unit::Day,
            CalendarUnit::Week => Unit::Week,
            CalendarUnit::Month => Unit::Month,
            CalendarUnit::Year => Unit::Year,
        };
        Self { calendar: Some(calendar), ..Self::from_units(unit, 1) }
    }

    /// Whether windows are months of the calendar of UTC.
    pub fn is_month_of_utc(&self) -> bool {
        self.calendar == Some(Calendar::utc_months())
    }

    /// A length in the largest of second, minute, hour, day and week that divides it: 90 s is 90 seconds, 120 s is 2 minutes.
    /// Months and years are not used, because their lengths are conventions: 30d is 30 days.
    pub fn from_length(length: Nanos) -> Self {
        let units = [Unit::Week, Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
        let whole = units.into_iter().find_map(|unit| {
            let count = length.as_ns() / unit.length().as_ns();
            let is_whole = count > 0 && length.as_ns().is_multiple_of(unit.length().as_ns());
            is_whole.then(|| u32::try_from(count).ok().map(|count| (unit, count))).flatten()
        });
        match whole {
            Some((unit, multiplier)) => Self { length, unit: Some(unit), multiplier, calendar: None },
            None => Self { length, unit: None, multiplier: 1, calendar: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_reported_in_the_largest_unit_that_divides_it() {
        for (ms, unit, multiplier) in [
            (1_000, Some(Unit::Second), 1),
            (30_000, Some(Unit::Second), 30),
            (90_000, Some(Unit::Second), 90),
            (900_000, Some(Unit::Minute), 15),
            (5_400_000, Some(Unit::Minute), 90),
            (86_400_000, Some(Unit::Day), 1),
            (7 * 86_400_000, Some(Unit::Week), 1),
            (30 * 86_400_000, Some(Unit::Day), 30),
            (365 * 86_400_000, Some(Unit::Day), 365),
            (500, None, 1),
            (1_500, None, 1),
        ] {
            let length = Nanos::from_ns(ms * 1_000_000);
            assert_eq!(Period::from_length(length), Period { length, unit, multiplier, calendar: None }, "{length}");
        }
    }
}
