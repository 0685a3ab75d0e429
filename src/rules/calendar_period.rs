//! `period` as written: a length of time, or windows of a calendar.

use super::field::Field;
use super::own;
use super::period::PeriodSpec;
use super::report::Report;
use super::yaml::{Kind, Node, Pair};
use super::{nearest, nearest_of};
use crate::calendar::{Calendar, CalendarUnit, DAYS, UnknownZone};

/// Reads `period: 30s` or `period: {calendar: week, timezone: Europe/Berlin, first_day: sunday}`.
pub(super) fn read(node: &Node, report: &mut Report<'_>) -> Field<PeriodSpec> {
    match &node.kind {
        Kind::Map(pairs) => read_calendar(node, pairs, report),
        _ => match own::length(node, "period", report) {
            Field::Given(length, line) => Field::Given(PeriodSpec::Length(length), line),
            Field::Absent => Field::Absent,
            Field::Invalid => Field::Invalid,
        },
    }
}

fn read_calendar(node: &Node, pairs: &[Pair], report: &mut Report<'_>) -> Field<PeriodSpec> {
    let (mut unit, mut zone, mut first_day) = (Field::Absent, Field::Absent, Field::Absent);
    let mut zone_node = node;
    let units = CalendarUnit::ALL.map(|unit| (unit.name(), unit));
    own::map_of(pairs, &["calendar", "timezone", "first_day"], report, |key, value, report| {
        match key {
            "calendar" => unit = own::word(value, key, &units, report),
            "timezone" => (zone, zone_node) = (own::text(value, key, report), value),
            "first_day" => first_day = own::word(value, key, &DAYS, report),
            _ => return false,
        }
        true
    });
    let unit = match (&unit, &zone, &first_day) {
        (Field::Invalid, ..) | (_, Field::Invalid, _) | (.., Field::Invalid) => return Field::Invalid,
        (Field::Absent, ..) => {
            return own::unfit(
                node,
                "period",
                "a length of time such as 30s, or a map such as {calendar: month}",
                report,
            );
        }
        (Field::Given(unit, _), ..) => *unit,
    };
    if let Some(line) = first_day.line().filter(|_| unit != CalendarUnit::Week) {
        let unit = unit.name();
        report.error(
            line,
            format!("'first_day' is the day on which weeks begin, but this is calendar: {unit}: remove it"),
        );
        return Field::Invalid;
    }
    let day = first_day.given().copied().unwrap_or(crate::calendar::Weekday::Monday);
    match Calendar::of(unit, zone.given().map_or(UTC, String::as_str), day) {
        Ok(calendar) => Field::Given(PeriodSpec::Calendar(calendar), node.line),
        Err(unknown) => {
            let found = report.found(zone_node);
            report.error(zone_node.line, no_zone(&unknown, &found));
            Field::Invalid
        }
    }
}

/// A zone that does not exist.
fn no_zone(UnknownZone { name, known }: &UnknownZone, found: &str) -> String {
    // Most people know the city, but not the continent.
    let cities: Vec<_> =
        known.iter().filter_map(|zone| Some((zone.rsplit('/').next()?.to_lowercase(), &**zone))).collect();
    let city = nearest(name, cities.iter().map(|(city, _)| &**city));
    let same = city.and_then(|city| cities.iter().find(|(known, _)| known == city)).map(|(_, zone)| *zone);
    let near = same.or_else(|| nearest_of(name, known.iter().map(String::as_str), 1).into_iter().next());
    let near = near.map(|zone| format!("did you mean '{zone}'? ")).unwrap_or_default();
    format!(
        "'timezone' must be the name of a time zone{found} ({near}use a name of the IANA database, such as Europe/Berlin)"
    )
}

/// Without `timezone`.
const UTC: &str = "UTC";
