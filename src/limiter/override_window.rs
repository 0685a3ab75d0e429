//! The windows of request overrides.

use crate::calendar::Calendar;
use crate::engine::{Algorithm, CountDenied, Limit, Starts};
use crate::rules::{Period, Unit};
use crate::units::Nanos;

/// The windows of a request override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverrideWindow {
    /// Aligned to the clock, of this length.
    Length(Nanos),
    /// Months of UTC.
    Month,
}

impl OverrideWindow {
    /// The windows of an override with this period, where months are those of the calendar, or have 30 days.
    pub(super) fn new(period: &Period, calendar_months: bool) -> Self {
        match (period.unit, period.multiplier) {
            (Some(Unit::Month), 1) if calendar_months => Self::Month,
            _ => Self::Length(period.length),
        }
    }

    /// The number that is a part of keys.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Length(length) => length.as_ns(),
            Self::Month => MONTH,
        }
    }

    /// The windows with this number.
    pub(super) const fn from_number(number: u64) -> Self {
        if number == MONTH { Self::Month } else { Self::Length(Nanos::from_ns(number)) }
    }

    /// A limit of `max` hits in each of them.
    pub(super) fn limit(self, max: u32) -> Limit {
        let (starts, window) = match self {
            Self::Length(length) => (Starts::Clock, length),
            Self::Month => (Starts::Calendar(Calendar::utc_months()), Unit::Month.length()),
        };
        let algorithm = Algorithm::FixedWindow { starts };
        Limit { max, window, algorithm, ban: None, count_denied: CountDenied::Alone }
    }
}

/// No window has this length: it is neither a number of units nor the longest one, which a number of units saturates at.
const MONTH: u64 = u64::MAX - 1;
