//! PURE: windows that follow the calendar of a time zone: days, weeks, months and years.
//!
//! A [`Calendar`] partitions time: each instant is in exactly one of its [windows](Calendar::window_at), which is the same in every
//! process with the same time zone database. The database is the one that is compiled in, never the system's, so that replicas of one
//! version agree on it.
//!
//! A window begins at the first instant at which the clocks of the zone show its first day, or a later one. So where clocks are set
//! forward over midnight, a window begins with the first instant that exists, and a day that a zone skips has none. Where clocks are
//! set back over midnight, the new window goes on: what a wall clock shows for the second time belongs to the window that has begun.
//!
//! There is one value for each calendar in the process, for as long as that runs ([`known`]), so that limits may be copied.

mod known;
mod window;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

pub use jiff::civil::Weekday;
use jiff::tz::TimeZone;

pub use known::UnknownZone;
pub use window::Window;

use crate::units::{Nanos, Timestamp};

/// Windows that follow the calendar of a time zone.
pub struct Calendar {
    unit: CalendarUnit,
    /// The day on which weeks begin; Monday for other units.
    first_day: Weekday,
    zone: TimeZone,
    /// The zone's name in the database.
    zone_name: Box<str>,
    /// The window that was computed last, as [`Window::pack`] writes it. All threads store the same value for the same instant.
    recent: AtomicU64,
}

/// What a window of a calendar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// Seven days.
    Week,
    /// From the first of a month to the first of the next.
    Month,
    /// From the first of January to the next one.
    Year,
}

impl CalendarUnit {
    /// Every unit, shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::Year];

    /// The name, as configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The usual length of a window: of a month 30 days, of a year 365.
    pub const fn usual_length(self) -> Nanos {
        Nanos::from_secs(match self {
            Self::Day => DAY_S,
            Self::Week => 7 * DAY_S,
            Self::Month => 30 * DAY_S,
            Self::Year => 365 * DAY_S,
        })
    }

    /// No window is longer: clocks are set back, and months have up to 31 days.
    pub const fn longest(self) -> Nanos {
        Nanos::from_secs(match self {
            Self::Day => 2 * DAY_S,
            Self::Week => 8 * DAY_S,
            Self::Month => 32 * DAY_S,
            Self::Year => 367 * DAY_S,
        })
    }
}

impl Calendar {
    /// The calendar of a zone of the database, whose name may be in upper or lower case. `first_day` is that of weeks, and has no meaning
    /// for other units.
    ///
    /// # Errors
    /// The database has no zone with this name.
    pub fn of(unit: CalendarUnit, zone: &str, first_day: Weekday) -> Result<&'static Self, UnknownZone> {
        known::of(unit, zone, first_day)
    }

    /// Months of UTC.
    pub fn utc_months() -> &'static Self {
        known::utc_months()
    }

    fn new(unit: CalendarUnit, first_day: Weekday, zone: TimeZone, zone_name: &str) -> Self {
        Self { unit, first_day, zone, zone_name: zone_name.into(), recent: AtomicU64::new(0) }
    }

    /// What a window is.
    pub const fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// The day on which weeks begin.
    pub const fn first_day(&self) -> Weekday {
        self.first_day
    }

    /// The name of the time zone.
    pub const fn zone(&self) -> &str {
        &self.zone_name
    }

    /// The window that has this instant.
    ///
    /// Cost: an atomic load and two comparisons for an instant in the window that was asked for last, which is nearly always so; about a
    /// microsecond for another.
    pub fn window_at(&self, now: Timestamp) -> Window {
        let recent = Window::unpack(self.recent.load(Ordering::Relaxed));
        if recent.contains(now) {
            return recent;
        }
        let window = window::compute(self, now);
        if let Some(packed) = window.pack() {
            self.recent.store(packed, Ordering::Relaxed);
        }
        window
    }

    /// As a configuration has it: `{calendar: week, timezone: Europe/Berlin, first_day: sunday}`.
    pub fn written(&self) -> String {
        let Self { unit, first_day, zone_name, .. } = self;
        match unit {
            CalendarUnit::Week if *first_day != Weekday::Monday => {
                format!("{{calendar: week, timezone: {zone_name}, first_day: {}}}", day_name(*first_day))
            }
            _ => format!("{{calendar: {}, timezone: {zone_name}}}", unit.name()),
        }
    }

    /// What makes two calendars the same.
    fn identity(&self) -> (CalendarUnit, i8, &str) {
        (self.unit, self.first_day.to_monday_one_offset(), &self.zone_name)
    }
}

/// In words: `calendar month (Europe/Berlin)`, `calendar week from sunday (UTC)`.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calendar {}", self.unit.name())?;
        if self.unit == CalendarUnit::Week && self.first_day != Weekday::Monday {
            write!(f, " from {}", day_name(self.first_day))?;
        }
        write!(f, " ({})", self.zone_name)
    }
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Calendar {}

impl std::hash::Hash for Calendar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// The name of a day, as configurations have it.
pub fn day_name(day: Weekday) -> &'static str {
    DAYS.iter().find(|(_, known)| *known == day).map_or("monday", |(name, _)| name)
}

/// The days on which weeks may begin, by their names in configurations.
pub const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

const DAY_S: u64 = 86_400;
