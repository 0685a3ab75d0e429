//! Fixed windows: every unit's length, edges and reset; periods; windows that the first request opens.

use crate::scene::{check, domain};

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
