//! The lengths of time of rows. Instants are whole seconds since the epoch, as in the database.

use crate::units::{Nanos, Timestamp};

/// The length of time of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Resolution {
    Minute,
    Hour,
    Day,
}

/// Finest first.
pub(super) const ALL: [Resolution; 3] = [Resolution::Minute, Resolution::Hour, Resolution::Day];

impl Resolution {
    /// The length in seconds.
    pub(super) const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Minute => "usage_minute",
            Self::Hour => "usage_hour",
            Self::Day => "usage_day",
        }
    }

    pub(super) const fn coarser(self) -> Option<Self> {
        match self {
            Self::Minute => Some(Self::Hour),
            Self::Hour => Some(Self::Day),
            Self::Day => None,
        }
    }

    pub(super) const fn finer(self) -> Option<Self> {
        match self {
            Self::Minute => None,
            Self::Hour => Some(Self::Minute),
            Self::Day => Some(Self::Hour),
        }
    }

    /// The beginning of the row that `second` falls into.
    pub(super) const fn floor(self, second: i64) -> i64 {
        floor(second, self.seconds())
    }

    /// The beginning of the first row that begins at `second` or later.
    pub(super) const fn ceil(self, second: i64) -> i64 {
        self.floor(second.saturating_add(self.seconds() - 1))
    }
}

/// The last multiple of `length` up to `second`.
pub(super) const fn floor(second: i64, length: i64) -> i64 {
    second.saturating_sub(second.rem_euclid(length))
}

/// The whole seconds of an instant.
pub(super) fn second(at: Timestamp) -> i64 {
    (at.as_ns() / Nanos::SECOND.as_ns()).cast_signed()
}

/// The first whole second at or after an instant.
pub(super) fn next_second(at: Timestamp) -> i64 {
    at.as_ns().div_ceil(Nanos::SECOND.as_ns()).cast_signed()
}

/// The instant of a second; the epoch for those before it.
pub(super) fn instant(second: i64) -> Timestamp {
    Timestamp::from_ns(u64::try_from(second).unwrap_or(0).saturating_mul(Nanos::SECOND.as_ns()))
}
