//! Windows of calendars: against a definition by what clocks show, for every zone, and around instants that are known to be odd.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use tidegate::calendar::{Calendar, CalendarUnit, DAYS, Weekday, Window};
use tidegate::units::Timestamp;

fn at(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_ns(u64::try_from(instant.as_nanosecond()).unwrap())
}

fn shown(instant: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(instant.as_ns().into()).unwrap()
}

fn window(unit: CalendarUnit, zone: &str, first_day: Weekday, now: &str) -> Window {
    Calendar::of(unit, zone, first_day).unwrap().window_at(at(now))
}

/// The first day of the period that a day is in.
fn first(calendar: &Calendar, day: Date) -> Date {
    match calendar.unit() {
        CalendarUnit::Day => day,
        CalendarUnit::Week => std::iter::successors(Some(day), |day| day.yesterday().ok())
            .find(|day| day.weekday() == calendar.first_day())
            .unwrap(),
        CalendarUnit::Month => Date::new(day.year(), day.month(), 1).unwrap(),
        CalendarUnit::Year => Date::new(day.year(), 1, 1).unwrap(),
    }
}

/// The definition: the latest period that the clocks have shown until now. Between two changes of the clocks they only advance, so it is
/// enough to look at the last instants before each change; none is set back by more than two days.
fn period(calendar: &Calendar, zone: &TimeZone, now: jiff::Timestamp) -> Date {
    let of = |instant: jiff::Timestamp| first(calendar, zone.to_datetime(instant).date());
    let ns = jiff::SignedDuration::from_nanos(1);
    let recent = zone
        .preceding(now + ns)
        .map(|change| change.timestamp())
        .take_while(|change| now.duration_since(*change).as_hours() < 48);
    recent.map(|change| of(change - ns)).chain([of(now)]).max().unwrap()
}

/// Whether a window is that of an instant, by the definition.
fn check(calendar: &Calendar, zone: &TimeZone, now: Timestamp, seed: u64) {
    let window = calendar.window_at(now);
    let ns = jiff::SignedDuration::from_nanos(1);
    let (begin, end) = (shown(window.begin), shown(window.end));
    let of = |instant| period(calendar, zone, instant);
    let own = of(shown(now));
    let is_begun = window.begin == Timestamp::EPOCH || (of(begin) == own && of(begin - ns) < own);
    let is_right = window.contains(now) && is_begun && of(end - ns) == own && of(end) > own;
    assert!(is_right, "TEST_SEED={seed}: {calendar} at {}: {begin} to {end}", shown(now));
    assert!(window.length() <= calendar.unit().longest(), "{calendar} at {}", shown(now));
}

#[test]
fn windows_are_those_that_clocks_show_in_every_zone() {
    let seed: u64 = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut random = SmallRng::seed_from_u64(seed);
    let zones = TimeZoneDatabase::bundled();
    let names: Vec<_> = zones.available().map(|name| name.to_string()).collect();
    assert!(names.len() > 400, "{}", names.len());
    for name in &names {
        let zone = zones.get(name).unwrap();
        let changes: Vec<_> =
            zone.following(jiff::Timestamp::UNIX_EPOCH).map(|change| change.timestamp()).take(200).collect();
        for unit in CalendarUnit::ALL {
            let calendar = Calendar::of(unit, name, DAYS[random.random_range(0..7)].1).unwrap();
            for _ in 0..12 {
                // Near a change of the clocks; near a midnight of UTC at a month's edge; or anywhere.
                let day = 86_400_000_000_000;
                let near = match (random.random_range(0..3), changes.is_empty()) {
                    (0, false) => {
                        u64::try_from(changes[random.random_range(0..changes.len())].as_nanosecond()).unwrap()
                    }
                    (1, _) => {
                        let (year, month) = (random.random_range(1971..2550), random.random_range(1..=12));
                        at(&format!("{year}-{month:02}-01T00:00:00Z")).as_ns()
                    }
                    _ => random.random_range(2 * day..18_000_000_000_000_000_000),
                };
                let reach = [1, 3_600_000_000_000, day][random.random_range(0..3)];
                let now = Timestamp::from_ns((near + random.random_range(0..=2 * reach)).saturating_sub(reach));
                check(calendar, &zone, now, seed);
                let window = calendar.window_at(now);
                check(calendar, &zone, window.begin, seed);
                check(calendar, &zone, window.end, seed);
            }
        }
    }
}

#[test]
fn days_at_odd_midnights() {
    for (zone, now, begin, end) in [
        ("UTC", "2026-11-28T12:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"),
        // 23 and 25 hours.
        ("Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        // Set forward at midnight: the day begins at 01:00.
        ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
        ("Asia/Beirut", "2022-03-27T12:00:00Z", "2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z"),
        ("Africa/Cairo", "2023-04-28T12:00:00Z", "2023-04-27T22:00:00Z", "2023-04-28T21:00:00Z"),
        // Set back at midnight to 23:00: the day before has 25 hours.
        ("America/Sao_Paulo", "2018-02-18T02:30:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"),
        ("Africa/Cairo", "2023-10-26T21:30:00Z", "2023-10-25T21:00:00Z", "2023-10-26T22:00:00Z"),
        // Set back at 01:00 to 00:00: midnight comes twice, and the day begins with the first.
        ("America/Havana", "2023-11-05T05:30:00Z", "2023-11-05T04:00:00Z", "2023-11-06T05:00:00Z"),
        // Set back at 00:01 to 23:01: the day had begun, and goes on.
        ("America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"),
        // A day that was skipped.
        ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
        // An offset with seconds, of 44 minutes and 30 seconds.
        ("Africa/Monrovia", "1972-01-06T12:00:00Z", "1972-01-06T00:44:30Z", "1972-01-07T00:44:30Z"),
    ] {
        let window = window(CalendarUnit::Day, zone, Weekday::Monday, now);
        assert_eq!(window, Window { begin: at(begin), end: at(end) }, "{zone} {now}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn weeks_months_and_years() {
    for (unit, zone, first_day, now, begin, end) in [
        (
            CalendarUnit::Week,
            "UTC",
            Weekday::Monday,
            "2026-11-28T12:00:00Z",
            "2026-11-23T00:00:00Z",
            "2026-11-30T00:00:00Z",
        ),
        (
            CalendarUnit::Week,
            "UTC",
            Weekday::Sunday,
            "2026-11-28T12:00:00Z",
            "2026-11-22T00:00:00Z",
            "2026-11-29T00:00:00Z",
        ),
        (
            CalendarUnit::Week,
            "UTC",
            Weekday::Saturday,
            "2026-11-28T00:00:00Z",
            "2026-11-28T00:00:00Z",
            "2026-12-05T00:00:00Z",
        ),
        // Over the end of a year, and of daylight saving.
        (
            CalendarUnit::Week,
            "Europe/Berlin",
            Weekday::Monday,
            "2026-10-25T22:59:59Z",
            "2026-10-18T22:00:00Z",
            "2026-10-25T23:00:00Z",
        ),
        (
            CalendarUnit::Week,
            "America/New_York",
            Weekday::Sunday,
            "2025-01-01T00:00:00Z",
            "2024-12-29T05:00:00Z",
            "2025-01-05T05:00:00Z",
        ),
        (
            CalendarUnit::Month,
            "UTC",
            Weekday::Monday,
            "2028-02-29T23:59:59Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            CalendarUnit::Month,
            "UTC",
            Weekday::Monday,
            "2100-02-28T12:00:00Z",
            "2100-02-01T00:00:00Z",
            "2100-03-01T00:00:00Z",
        ),
        (
            CalendarUnit::Month,
            "Europe/Berlin",
            Weekday::Monday,
            "2026-02-28T23:00:00Z",
            "2026-02-28T23:00:00Z",
            "2026-03-31T22:00:00Z",
        ),
        (
            CalendarUnit::Month,
            "Asia/Tokyo",
            Weekday::Monday,
            "2026-12-31T14:59:59Z",
            "2026-11-30T15:00:00Z",
            "2026-12-31T15:00:00Z",
        ),
        (
            CalendarUnit::Year,
            "Europe/Berlin",
            Weekday::Monday,
            "2026-12-31T23:00:00Z",
            "2026-12-31T23:00:00Z",
            "2027-12-31T23:00:00Z",
        ),
        (
            CalendarUnit::Year,
            "Pacific/Kiritimati",
            Weekday::Monday,
            "2026-12-31T09:59:59Z",
            "2025-12-31T10:00:00Z",
            "2026-12-31T10:00:00Z",
        ),
        // Begun before the epoch.
        (
            CalendarUnit::Day,
            "Europe/Berlin",
            Weekday::Monday,
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T23:00:00Z",
        ),
    ] {
        let window = window(unit, zone, first_day, now);
        assert_eq!(window, Window { begin: at(begin), end: at(end) }, "{unit:?} {zone} {now}");
    }
}

#[test]
fn the_last_instants_have_a_window_too() {
    for unit in CalendarUnit::ALL {
        let calendar = Calendar::of(unit, "Asia/Kathmandu", Weekday::Monday).unwrap();
        let window = calendar.window_at(Timestamp::from_ns(u64::MAX - 1));
        assert!(window.begin < window.end && window.end == Timestamp::MAX, "{unit:?} {window:?}");
    }
}

#[test]
fn one_calendar_has_one_value_whatever_the_spelling() {
    let of = |unit, zone, day| Calendar::of(unit, zone, day).unwrap();
    let berlin = of(CalendarUnit::Month, "Europe/Berlin", Weekday::Monday);
    assert!(std::ptr::eq(berlin, of(CalendarUnit::Month, "europe/BERLIN", Weekday::Sunday)));
    assert_ne!(berlin, of(CalendarUnit::Year, "Europe/Berlin", Weekday::Monday));
    assert_ne!(berlin, of(CalendarUnit::Month, "Europe/Paris", Weekday::Monday));
    let sunday = of(CalendarUnit::Week, "UTC", Weekday::Sunday);
    assert_ne!(sunday, of(CalendarUnit::Week, "UTC", Weekday::Monday));
    assert_eq!(
        (berlin.to_string(), sunday.to_string()),
        ("calendar month (Europe/Berlin)".into(), "calendar week from sunday (UTC)".into())
    );
    assert_eq!(sunday.written(), "{calendar: week, timezone: UTC, first_day: sunday}");
    assert_eq!(Calendar::utc_months(), of(CalendarUnit::Month, "UTC", Weekday::Monday));
    for unknown in ["Europe/Berln", "", "CET-1CEST", "+02:00", "Mars/Olympus"] {
        assert!(Calendar::of(CalendarUnit::Day, unknown, Weekday::Monday).is_err(), "{unknown}");
    }
}

/// Threads that ask for instants in several windows at a time never see the edges of two.
#[test]
fn the_kept_window_is_whole() {
    let calendar = Calendar::of(CalendarUnit::Day, "Australia/Lord_Howe", Weekday::Monday).unwrap();
    let first = at("2026-04-04T00:00:00Z").as_ns();
    let expected: Vec<_> =
        (0..8).map(|day| calendar.window_at(Timestamp::from_ns(first + day * 86_400_000_000_000))).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let expected = &expected;
            scope.spawn(move || {
                for step in 0..2_000_u64 {
                    let day = (step * 7 + thread) % 8;
                    let now = Timestamp::from_ns(first + day * 86_400_000_000_000);
                    assert_eq!(calendar.window_at(now), expected[usize::try_from(day).unwrap()]);
                }
            });
        }
    });
}
