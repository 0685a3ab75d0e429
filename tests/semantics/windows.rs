//! Fixed windows: every unit's length, edges and reset; periods; windows that the first request opens.

use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::units::Timestamp;

use crate::scene::{Scene, check, domain};

const UNITS: [(&str, u64); 7] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
    ("week", 604_800),
    ("month", 2_592_000),
    ("year", 31_536_000),
];

#[test]
fn each_unit_has_its_length_and_is_aligned_to_the_epoch() {
    for (unit, length) in UNITS {
        let config = domain(&format!("- {{key: a, rate_limit: {{unit: {unit}, requests_per_unit: 2}}}}"));
        let (edge, last, next) = (3 * length, 4 * length - 1, 4 * length);
        check(
            &config,
            &format!(
                "{edge}           | d | a=v => OK         | OK         d.a 2/{unit} 1 {length}s
                 {last}           | d | a=v => OK         | OK         d.a 2/{unit} 0 1s
                 {last}.999       | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/{unit} 0 1ms
                 {last}.999999999 | d | a=v => OVER_LIMIT | OVER_LIMIT d.a 2/{unit} 0 1ms
                 {next}           | d | a=v => OK         | OK         d.a 2/{unit} 1 {length}s"
            ),
        );
    }
}

#[test]
fn units_are_read_in_any_case() {
    check(
        &domain("- {key: a, rate_limit: {unit: HoUr, requests_per_unit: 2}}"),
        "0 | d | a=v => OK | OK d.a 2/hour 1 3600s",
    );
}

#[test]
fn weeks_begin_on_thursday_and_months_and_years_have_30_and_365_days() {
    let limits: Vec<_> = ["week", "month", "year"]
        .iter()
        .map(|unit| format!("- {{key: {unit}, rate_limit: {{unit: {unit}, requests_per_unit: 9}}}}\n"))
        .collect();
    check(
        &domain(&limits.concat()),
        "2024-01-03T23:59:59Z | d | week=v; month=v; year=v => OK | OK d.week 9/week 8 1s; OK d.month 9/month 8 1209601s; OK d.year 9/year 8 30153601s
         2024-01-04T00:00:00Z | d | week=v => OK | OK d.week 9/week 8 604800s
         2024-01-17T23:59:59Z | d | month=v => OK | OK d.month 9/month 7 1s
         2024-01-18T00:00:00Z | d | month=v => OK | OK d.month 9/month 8 2592000s
         2024-12-17T23:59:59Z | d | year=v => OK | OK d.year 9/year 7 1s
         2024-12-18T00:00:00Z | d | year=v => OK | OK d.year 9/year 8 31536000s",
    );
}

#[test]
fn a_period_is_reported_in_the_largest_unit_that_divides_it() {
    let cases = [
        ("30s", "30second", 30_000),
        ("60s", "minute", 60_000),
        ("90s", "90second", 90_000),
        ("15m", "15minute", 900_000),
        ("1h30m", "90minute", 5_400_000),
        ("24h", "day", 86_400_000),
        ("7d", "week", 604_800_000),
        ("10d", "10day", 864_000_000),
        ("500ms", "?", 500),
        ("1500ms", "?", 1_500),
    ];
    for (period, reported, ms) in cases {
        let length = crate::script::time_text(ms);
        let before_end = format!("{}.{:03}", (ms - 1) / 1000, (ms - 1) % 1000);
        let end = format!("{}.{:03}", ms / 1000, ms % 1000);
        check(
            &domain(&format!("- {{key: a, rate_limit: {{period: {period}, requests_per_unit: 2}}}}")),
            &format!(
                "0            | d | a=v => OK | OK d.a 2/{reported} 1 {length}
                 {before_end} | d | a=v => OK | OK d.a 2/{reported} 0 1ms
                 {end}        | d | a=v => OK | OK d.a 2/{reported} 1 {length}"
            ),
        );
    }
}

/// The contract's worked example, per partner and endpoint.
#[test]
fn a_window_that_the_first_request_opens() {
    check(
        &domain(
            "- key: partner
  descriptors:
  - {key: endpoint, rate_limit: {unit: second, requests_per_unit: 10, starts: first_request}}",
        ),
        "0.1     | d | partner=acme,endpoint=/pay +0 => OK | OK d.partner.endpoint 10/second 10 0s
         0.2     | d | partner=acme,endpoint=/pay => OK | OK d.partner.endpoint 10/second 9 1s
         0.3 x8  | d | partner=acme,endpoint=/pay => OK
         0.7     | d | partner=acme,endpoint=/pay => OK | OK d.partner.endpoint 10/second 0 500ms
         0.7     | d | partner=acme,endpoint=/get => OK | OK d.partner.endpoint 10/second 9 1s
         0.7     | d | partner=emca,endpoint=/pay => OK | OK d.partner.endpoint 10/second 9 1s
         1.1     | d | partner=acme,endpoint=/pay => OVER_LIMIT | OVER_LIMIT d.partner.endpoint 10/second 0 100ms
         1.199999999 | d | partner=acme,endpoint=/pay => OVER_LIMIT | OVER_LIMIT d.partner.endpoint 10/second 0 1ms
         1.2     | d | partner=acme,endpoint=/pay => OK | OK d.partner.endpoint 10/second 9 1s
         9.9     | d | partner=acme,endpoint=/pay => OK | OK d.partner.endpoint 10/second 9 1s",
    );
}

#[test]
fn denied_hits_count_where_the_rule_says_so() {
    let limit = |key: &str, more: &str| {
        format!("- {{key: {key}, rate_limit: {{unit: hour, requests_per_unit: 10, {more}}}}}\n")
    };
    let config = [
        limit("clock", ""),
        limit("clock_admitted", "count_denied: false"),
        limit("first", "starts: first_request"),
        limit("first_all", "starts: first_request, count_denied: true"),
    ];
    check(
        &domain(&config.concat()),
        "0 | d +8 | clock=v; clock_admitted=v; first=v; first_all=v => OK
         0 | d +3 | clock=v; clock_admitted=v; first=v; first_all=v => OVER_LIMIT | OVER_LIMIT d.clock 10/hour 0 3600s; OVER_LIMIT d.clock_admitted 10/hour 2 3600s; OVER_LIMIT d.first 10/hour 2 3600s; OVER_LIMIT d.first_all 10/hour 0 3600s
         0 | d +2 | clock=v          => OVER_LIMIT
         0 | d +2 | clock_admitted=v => OK | OK d.clock_admitted 10/hour 0 3600s
         0 | d +2 | first=v          => OK | OK d.first 10/hour 0 3600s
         0 | d +2 | first_all=v      => OVER_LIMIT",
    );
}

/// Rules with windows of a calendar.
const CALENDARS: &str = "
- {key: day, rate_limit: {period: {calendar: day, timezone: Europe/Berlin}, requests_per_unit: 9}}
- {key: week, rate_limit: {period: {calendar: week, timezone: America/New_York, first_day: sunday}, requests_per_unit: 9}}
- {key: month, rate_limit: {period: {calendar: month, timezone: Europe/Berlin}, requests_per_unit: 2}}
- {key: year, rate_limit: {period: {calendar: year}, requests_per_unit: 9}}
- {key: banned, rate_limit: {period: {calendar: day, timezone: Europe/Berlin}, requests_per_unit: 2, ban: 6h}}
- key: both
  rate_limits:
  - {period: {calendar: day, timezone: Europe/Berlin}, requests_per_unit: 2}
  - {period: {calendar: month, timezone: Europe/Berlin}, requests_per_unit: 3}";

#[test]
fn windows_follow_the_calendar_of_a_time_zone() {
    check(
        &domain(CALENDARS),
        "# Clocks are set forward on 29 March: that day has 23 hours, and the month an hour less than 31 days.
         2026-02-28T23:00:00Z | d | month=v => OK         | OK d.month 2/month 1 2674800s
         2026-03-28T22:59:59Z | d | day=v   => OK         | OK d.day 9/day 8 1s
         2026-03-28T23:00:00Z | d | day=v   => OK         | OK d.day 9/day 8 82800s
         2026-03-29T21:59:59Z | d | day=v   => OK         | OK d.day 9/day 7 1s
         2026-03-29T22:00:00Z | d | day=v   => OK         | OK d.day 9/day 8 86400s
         2026-03-31T21:59:58Z | d | month=v => OK         | OK d.month 2/month 0 2s
         2026-03-31T21:59:59Z | d | month=v => OVER_LIMIT | OVER_LIMIT d.month 2/month 0 1s
         2026-03-31T22:00:00Z | d | month=v => OK         | OK d.month 2/month 1 2592000s
         # And back on 25 October.
         2026-10-24T22:00:00Z | d | day=v   => OK         | OK d.day 9/day 8 90000s
         2026-10-25T22:59:59Z | d | day=v   => OK         | OK d.day 9/day 7 1s
         2026-11-01T03:59:59Z | d | week=v  => OK         | OK d.week 9/week 8 1s
         2026-11-01T04:00:00Z | d | week=v  => OK         | OK d.week 9/week 8 608400s
         2027-12-31T23:59:59Z | d | year=v  => OK         | OK d.year 9/year 8 1s
         # A leap year.
         2028-01-01T00:00:00Z | d | year=v  => OK         | OK d.year 9/year 8 31622400s",
    );
}

#[test]
fn looks_refunds_and_bans_in_windows_of_a_calendar() {
    check(
        &domain(CALENDARS),
        "2026-10-25T20:00:00Z | d | month=v +0      => OK         | OK d.month 2/month 2 529200s
         2026-10-25T20:00:00Z | d | month=v refund  => OK         | OK d.month 2/month 2 529200s
         2026-10-25T20:00:00Z | d | month=v +3      => OVER_LIMIT | OVER_LIMIT d.month 2/month 0 529200s
         # Hits of denied checks count by default, as in other windows by the clock.
         2026-10-25T20:00:00Z | d | month=v +0      => OVER_LIMIT | OVER_LIMIT d.month 2/month 0 529200s
         2026-10-25T20:00:00Z | d | month=v +2 refund => OK       | OK d.month 2/month 1 529200s
         # A ban outlives the day, and then the counter is fresh, in the window of that instant.
         2026-10-25T20:00:00Z | d | banned=v        => OK         | OK d.banned 2/day 1 10800s
         2026-10-25T20:00:01Z | d | banned=v        => OK         | OK d.banned 2/day 0 21600s
         2026-10-25T23:00:01Z | d | banned=v        => OVER_LIMIT | OVER_LIMIT d.banned 2/day 0 10800s
         2026-10-26T02:00:01Z | d | banned=v        => OK         | OK d.banned 2/day 1 75599s",
    );
}

#[test]
fn several_limits_of_calendars_are_charged_all_or_nothing() {
    check(
        &domain(CALENDARS),
        "2026-10-30T12:00:00Z x2 | d | both=v => OK
         2026-10-30T12:00:00Z    | d | both=v => OVER_LIMIT | OVER_LIMIT d.both 2/day 0 39600s
         2026-10-31T12:00:00Z    | d | both=v => OK         | OK d.both 3/month 0 39600s
         2026-10-31T12:00:00Z    | d | both=v => OVER_LIMIT | OVER_LIMIT d.both 3/month 0 39600s
         2026-10-31T23:00:00Z    | d | both=v => OK         | OK d.both 2/day 1 86400s",
    );
}

/// A clock that steps back over the edge of a window stays in the window that has begun.
#[test]
fn a_clock_that_steps_back_over_the_edge_of_a_month() {
    check(
        &domain(CALENDARS),
        "2026-10-31T22:59:59Z x2 | d | month=v => OK
         2026-10-31T23:00:00Z x2 | d | month=v => OK
         2026-10-31T22:59:59Z    | d | month=v => OVER_LIMIT | OVER_LIMIT d.month 2/month 0 2592001s",
    );
}

#[test]
fn months_of_units_and_overrides_are_those_of_the_calendar_if_asked_for() {
    let rules = "
- {key: month, rate_limit: {unit: month, requests_per_unit: 9}}
- {key: first, rate_limit: {unit: month, requests_per_unit: 9, starts: first_request}}
- {key: bucket, rate_limit: {unit: month, requests_per_unit: 30, algorithm: token_bucket}}
- {key: year, rate_limit: {unit: year, requests_per_unit: 9}}";
    let scene = Scene::new(&domain(rules));
    let file = SourceFile { name: "rules.yaml".into(), text: domain(rules).into() };
    let options = LoadOptions { calendar_months: true, ..LoadOptions::default() };
    scene.limiter().replace_rules(Timestamp::EPOCH, load(&[file], options).unwrap());
    scene.run(
        "2024-01-01T00:00:00Z | d | month=v => OK | OK d.month 9/month 8 2678400s
         2024-01-31T23:59:59Z | d | month=v => OK | OK d.month 9/month 7 1s
         2024-02-01T00:00:00Z | d | month=v => OK | OK d.month 9/month 8 2505600s
         # Others keep their 30 and 365 days.
         2024-02-01T00:00:00Z | d | first=v => OK | OK d.first 9/month 8 2592000s
         2024-02-01T00:00:00Z | d | bucket=v => OK | OK d.bucket 30/month 29 86400s
         2024-02-01T00:00:00Z | d | year=v => OK | OK d.year 9/year 8 27734400s
         # Requests that carry their limit.
         2024-02-01T00:00:00Z | d | x=v limit=2/month => OK | OK - 2/month 1 2505600s
         2024-02-29T23:59:59Z | d | x=v limit=2/month => OK | OK - 2/month 0 1s
         2024-02-29T23:59:59Z | d | x=v limit=2/month => OVER_LIMIT | OVER_LIMIT - 2/month 0 1s
         2024-03-01T00:00:00Z | d | x=v limit=2/month => OK | OK - 2/month 1 2678400s
         2024-03-01T00:00:00Z | d | x=v limit=2/3month => OK | OK - 2/3month 1 1468800s
         2024-03-01T00:00:00Z | d | x=v limit=2/30day => OK | OK - 2/30day 1 1468800s",
    );
}
