//! The calendars that configurations have named, one value for each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use parking_lot::Mutex;

use super::{Calendar, CalendarUnit};

/// The database has no such time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {name:?}")]
pub struct UnknownZone {
    /// The name that was given.
    pub name: String,
    /// Names of the database, to suggest one.
    pub known: Vec<String>,
}

/// By unit, first day and the zone's name. Values are never freed, so that a limit refers to one without counting. Bound: for each of
/// about 600 zones of the database a day, a month, a year, and a week for each first day, of some hundred bytes each.
static KNOWN: LazyLock<Mutex<BTreeMap<Key, &'static Calendar>>> = LazyLock::new(Mutex::default);
/// The compiled database: it has no files, and each process with this version has the same.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

type Key = (CalendarUnit, i8, String);

pub(super) fn of(unit: CalendarUnit, zone: &str, first_day: Weekday) -> Result<&'static Calendar, UnknownZone> {
    let found = ZONES.get(zone).ok();
    // Names that are not of the database, such as rules of POSIX, have none.
    let named = found.as_ref().and_then(|found| Some((found, found.iana_name()?)));
    let Some((found, name)) = named else {
        let known = ZONES.available().map(|name| name.to_string()).collect();
        return Err(UnknownZone { name: zone.to_owned(), known });
    };
    let first_day = if unit == CalendarUnit::Week { first_day } else { Weekday::Monday };
    Ok(add(unit, first_day, found.clone(), name))
}

pub(super) fn utc_months() -> &'static Calendar {
    static MONTHS: LazyLock<&'static Calendar> =
        LazyLock::new(|| add(CalendarUnit::Month, Weekday::Monday, TimeZone::UTC, "UTC"));
    *MONTHS
}

fn add(unit: CalendarUnit, first_day: Weekday, zone: TimeZone, name: &str) -> &'static Calendar {
    let key = (unit, first_day.to_monday_one_offset(), name.to_owned());
    let new = || -> &'static Calendar { Box::leak(Box::new(Calendar::new(unit, first_day, zone, name))) };
    KNOWN.lock().entry(key).or_insert_with(new)
}
