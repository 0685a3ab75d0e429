//! `period` with a calendar: what is read, what is rejected, and months of units.

use tidegate::engine::{Algorithm, CountDenied, Limit, Starts};
use tidegate::rules::{LoadOptions, Rule, SourceFile, Unit, load};
use tidegate::units::Nanos;

fn file(limit: &str) -> SourceFile {
    let text = format!("domain: d\ndescriptors:\n- key: k\n  rate_limit: {{{limit}}}");
    SourceFile { name: "f".into(), text: text.into() }
}

fn rule(limit: &str) -> Rule {
    load(&[file(limit)], LoadOptions::default()).unwrap_or_else(|errors| panic!("{limit}: {errors:?}")).rules()[0]
        .clone()
}

#[track_caller]
fn rejected(limit: &str, expected: &str) {
    let errors = load(&[file(limit)], LoadOptions::default()).err().unwrap_or_default();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, [format!("f:4: {expected}")], "{limit}");
}

#[test]
fn periods_of_a_calendar() {
    for (period, unit, length, words, written) in [
        ("{calendar: day}", Unit::Day, 86_400, "calendar day (UTC)", "{calendar: day, timezone: UTC}"),
        (
            "{calendar: week, timezone: europe/berlin, first_day: sunday}",
            Unit::Week,
            604_800,
            "calendar week from sunday (Europe/Berlin)",
            "{calendar: week, timezone: Europe/Berlin, first_day: sunday}",
        ),
        (
            "{calendar: week, timezone: Europe/Berlin, first_day: monday}",
            Unit::Week,
            604_800,
            "calendar week (Europe/Berlin)",
            "{calendar: week, timezone: Europe/Berlin}",
        ),
        (
            "{timezone: Asia/Tokyo, calendar: month}",
            Unit::Month,
            2_592_000,
            "calendar month (Asia/Tokyo)",
            "{calendar: month, timezone: Asia/Tokyo}",
        ),
        ("{calendar: year}", Unit::Year, 31_536_000, "calendar year (UTC)", "{calendar: year, timezone: UTC}"),
    ] {
        let rule = rule(&format!("period: {period}, requests_per_unit: 1"));
        let (found, limit) = (&rule.limits[0].period, &rule.limits[0].limit);
        let calendar = found.calendar.unwrap();
        assert_eq!((found.unit, found.multiplier, found.length), (Some(unit), 1, Nanos::from_secs(length)), "{period}");
        let starts = Starts::Calendar(calendar);
        let expected = Limit {
            max: 1,
            window: found.length,
            algorithm: Algorithm::FixedWindow { starts },
            ban: None,
            count_denied: CountDenied::Alone,
        };
        assert_eq!(*limit, expected, "{period}");
        assert_eq!((calendar.to_string().as_str(), calendar.written().as_str()), (words, written), "{period}");
        assert_eq!(rule.words(), format!("1 per {words}"));
        let again = self::rule(&format!("period: {written}, starts: clock, requests_per_unit: 1"));
        assert_eq!(again.limits[0].limit, *limit, "what is written is read: {period}");
    }
}

#[test]
fn calendars_that_cannot_be() {
    let zone = "use a name of the IANA database, such as Europe/Berlin";
    for (keys, expected) in [
        (
            "period: {calendar: month, timezone: Berlin}",
            format!("'timezone' must be the name of a time zone, found 'Berlin' (did you mean 'Europe/Berlin'? {zone})"),
        ),
        (
            "period: {calendar: month, timezone: Europe/Berln}",
            format!(
                "'timezone' must be the name of a time zone, found 'Europe/Berln' (did you mean 'Europe/Berlin'? {zone})"
            ),
        ),
        (
            "period: {calendar: fortnight}",
            "'calendar' must be one of day, week, month, year, found 'fortnight'".to_owned(),
        ),
        (
            "period: {calendar: week, first_day: sun}",
            "'first_day' must be one of monday, tuesday, wednesday, thursday, friday, saturday, sunday, found 'sun'"
                .to_owned(),
        ),
        (
            "period: {calendar: month, first_day: sunday}",
            "'first_day' is the day on which weeks begin, but this is calendar: month: remove it".to_owned(),
        ),
        ("period: {calendar: day, zone: UTC}", "config error, unknown key 'zone'".to_owned()),
        (
            "period: {calendar: month}, algorithm: sliding_log",
            "a calendar belongs to algorithm fixed_window, but this limit has sliding_log: give 'period' a length such as 30d, or remove 'algorithm'"
                .to_owned(),
        ),
        (
            "period: {calendar: month}, algorithm: token_bucket",
            "a calendar belongs to algorithm fixed_window, but this limit has token_bucket: give 'period' a length such as 30d, or remove 'algorithm'"
                .to_owned(),
        ),
        (
            "period: {calendar: month}, starts: first_request",
            "windows of a calendar begin with its days, not with a request: give 'period' a length such as 30d, or remove 'starts'"
                .to_owned(),
        ),
        (
            "period: {calendar: month}, unit: month",
            "'unit' and 'period' both set the length of the window: keep one of them".to_owned(),
        ),
        ("unlimited: true, period: {calendar: month}", "should not specify period when unlimited".to_owned()),
    ] {
        let requests = if keys.contains("unlimited") { "" } else { "requests_per_unit: 1, " };
        rejected(&format!("{requests}{keys}"), &expected);
    }
    let form = "write whole numbers with units w, d, h, m, s, ms, us or ns, the longest first, such as 30s or 1h30m";
    let found = "'for' must be a length of time, found 'map[calendar:day]'";
    rejected("unit: day, requests_per_unit: 1, ban: {for: {calendar: day}}", &format!("{found}: {form}"));
}

#[test]
fn months_of_units_are_those_of_the_calendar_if_asked_for() {
    let text = "domain: d\ndescriptors:
- {key: a, rate_limit: {unit: month, requests_per_unit: 1}}
- {key: b, rate_limit: {unit: MONTH, requests_per_unit: 1, ban: 1h, count_denied: false}}
- {key: c, rate_limit: {unit: month, requests_per_unit: 1, algorithm: sliding_window}}
- {key: d, rate_limit: {unit: month, requests_per_unit: 1, starts: first_request}}
- {key: e, rate_limit: {unit: year, requests_per_unit: 1}}
- {key: f, rate_limit: {period: 30d, requests_per_unit: 1}}";
    let file = SourceFile { name: "f".into(), text: text.into() };
    for calendar_months in [false, true] {
        let set = load(std::slice::from_ref(&file), LoadOptions { calendar_months, ..LoadOptions::default() }).unwrap();
        let calendars = set.rules().iter().map(|rule| rule.limits[0].limit.calendar());
        let found: Vec<_> = calendars.map(|calendar| calendar.map(ToString::to_string)).collect();
        let month = calendar_months.then(|| "calendar month (UTC)".to_owned());
        assert_eq!(found, [month.clone(), month, None, None, None, None]);
        assert_eq!(set.has_calendar_months(), calendar_months);
    }
}
