//! Windows of a calendar, through the real binary: answers, headers, what operators see, and restarts.

#![allow(clippy::disallowed_methods, reason = "the server is another process, which lives in real time")]

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use tidegate::calendar::{Calendar, CalendarUnit, Weekday, Window};
use tidegate::units::Timestamp;

use crate::TestServer;
use crate::history::until;
use crate::server::{http, rules_in, run};

const BERLIN: &str = "domain: api
response:
  headers: [x_ratelimit, ietf, retry_after]
  body: {content_type: text/plain, template: '{limit} in {period_seconds}'}
descriptors:
- {key: user, rate_limit: {period: {calendar: month, timezone: Europe/Berlin}, requests_per_unit: 2}}
- {key: week, rate_limit: {period: {calendar: week, timezone: America/New_York, first_day: sunday}, requests_per_unit: 2}}
";

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_ns(u64::try_from(since.as_nanos()).unwrap())
}

fn window(unit: CalendarUnit, zone: &str) -> Window {
    Calendar::of(unit, zone, Weekday::Sunday).unwrap().window_at(now())
}

/// Runs a test within one window; again, if that ends meanwhile.
fn in_one_window(unit: CalendarUnit, zone: &str, mut test: impl FnMut(Window) -> Result<(), String>) {
    for _ in 0..3 {
        let window = window(unit, zone);
        match test(window) {
            Ok(()) => return,
            Err(wrong) => assert!(!window.contains(now()), "{wrong}"),
        }
    }
    panic!("windows end all the time");
}

/// The status of a check over `/json`, and its answer.
fn check(server: &TestServer, key: &str, limit: Option<&Value>) -> (u16, Value) {
    let mut descriptor = json!({"entries": [{"key": key, "value": "ann"}]});
    if let Some(limit) = limit {
        descriptor["limit"] = limit.clone();
    }
    let body = json!({"domain": "api", "descriptors": [descriptor]});
    let (status, text) = server.http("POST", "/json", body.to_string().as_bytes());
    (status, serde_json::from_str(&text).unwrap())
}

fn header(answer: &Value, name: &str) -> String {
    let headers = answer["responseHeadersToAdd"].as_array().unwrap();
    let found = headers.iter().find(|header| header["key"] == name);
    found.unwrap_or_else(|| panic!("{name} in {answer}"))["value"].as_str().unwrap().to_owned()
}

/// Whether so many seconds are the time to the window's end, at an instant since `before`.
fn is_until_end(seconds: u64, window: Window, before: Timestamp) -> bool {
    let left = |at| window.end.since(at).as_secs_ceil();
    (left(now())..=left(before)).contains(&seconds)
}

fn seconds(text: &str) -> u64 {
    text.trim_end_matches('s').parse().unwrap()
}

fn shown(server: &TestServer, args: &[&str]) -> String {
    let address = format!("http://{}", server.admin);
    let (code, out, error) = run(&[args, &["--admin-addr", &address]].concat(), "");
    assert_eq!(code, Some(0), "{args:?}: {error}");
    out
}

#[test]
fn answers_and_headers_have_the_window_of_the_calendar() {
    let server = TestServer::start(BERLIN, &["--denial-log", "all", "--log-format", "json"]);
    let mut done = 0;
    in_one_window(CalendarUnit::Month, "Europe/Berlin", |window| {
        let before = now();
        let answers: Vec<_> = (0..3).map(|_| check(&server, "user", None)).collect();
        let codes: Vec<_> = answers.iter().map(|(code, _)| *code).collect();
        if codes != [200, 200, 429] {
            return Err(format!("{codes:?}"));
        }
        let length = window.length().as_secs_ceil();
        for (remaining, (_, answer)) in [1, 0, 0].iter().zip(&answers) {
            let status = &answer["statuses"][0];
            assert_eq!(status["currentLimit"], json!({"requestsPerUnit": 2, "unit": "MONTH"}), "{answer}");
            let resets = [
                status["durationUntilReset"].as_str().unwrap().to_owned(),
                header(answer, "X-RateLimit-Reset"),
                header(answer, "RateLimit").rsplit_once("t=").unwrap().1.to_owned(),
            ];
            if let Some(wrong) = resets.iter().find(|reset| !is_until_end(seconds(reset), window, before)) {
                return Err(format!("{wrong} of {resets:?} in {window:?}"));
            }
            assert_eq!(header(answer, "RateLimit-Policy"), format!("\"api.user\";q=2;w={length}"));
            assert!(header(answer, "RateLimit").starts_with(&format!("\"api.user\";r={remaining};")), "{answer}");
        }
        let (_, denied) = &answers[2];
        let retry = seconds(&header(denied, "Retry-After"));
        if !is_until_end(retry, window, before) {
            return Err(format!("Retry-After {retry}"));
        }
        let body = denied["rawBody"].as_str().unwrap();
        assert_eq!(body, base64(&format!("2 in {length}")), "{denied}");
        done += 1;
        Ok(())
    });
    assert_eq!(done, 1);
    let lines = || {
        let lines = server.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.filter(|line| line["target"] == "tidegate::denials").collect::<Vec<_>>()
    };
    until("a denial in the log", || !lines().is_empty());
    let line = lines().remove(0);
    assert!(line.to_string().contains("\"period\":\"calendar month (Europe/Berlin)\""), "{line}");
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn operators_see_the_calendar() {
    let server = TestServer::start(BERLIN, &[]);
    check(&server, "user", None);
    check(&server, "week", None);
    let page = http(&server.admin, "GET", "/rlconfig", b"").1;
    assert!(page.contains("api.user: period=calendar month (Europe/Berlin) requests_per_unit=2,"), "{page}");
    let listed = shown(&server, &["counters", "list"]);
    assert!(listed.contains("2 per calendar month (Europe/Berlin)"), "{listed}");
    assert!(listed.contains("2 per calendar week from sunday (America/New_York)"), "{listed}");
    let counters: Value =
        serde_json::from_str(&shown(&server, &["counters", "list", "--rule", "api.user", "--json"])).unwrap();
    let counter = &counters["counters"][0];
    assert_eq!(counter["calendar"], "calendar month (Europe/Berlin)", "{counters}");
    let limits = shown(&server, &["limits", "--domain", "api"]);
    assert!(limits.contains("2 requests per calendar month (Europe/Berlin)"), "{limits}");
    let explained = shown(&server, &["explain", "--domain", "api", "--descriptor", "user=ann"]);
    assert!(explained.contains("2 per calendar month (Europe/Berlin)"), "{explained}");

    // A setting may have a calendar, too.
    let value = "{calendar: month, timezone: Europe/Berlin}";
    assert!(shown(&server, &["settings", "get", "--rule", "api.user", "period"]).contains(value));
    let other = "{calendar: day, timezone: Asia/Tokyo}";
    shown(&server, &["settings", "set", "--rule", "api.user", "period", other]);
    let page = http(&server.admin, "GET", "/rlconfig", b"").1;
    assert!(page.contains("api.user: period=calendar day (Asia/Tokyo) requests_per_unit=2,"), "{page}");
    assert!(shown(&server, &["settings", "get", "--rule", "api.user", "period"]).contains(other));
    let address = format!("http://{}", server.admin);
    let bad = [
        "settings",
        "set",
        "--rule",
        "api.user",
        "period",
        "{calendar: day, timezone: Tokio}",
        "--admin-addr",
        &address,
    ];
    let (code, _, error) = run(&bad, "");
    assert_eq!(code, Some(1));
    assert!(error.contains("did you mean 'Asia/Tokyo'?"), "{error}");
}

#[test]
fn counters_of_a_calendar_outlive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_string_lossy().into_owned();
    let mut server = TestServer::start(BERLIN, &["--data-dir", &path, "--drain", "0s"]);
    in_one_window(CalendarUnit::Month, "Europe/Berlin", |window| {
        let first = check(&server, "user", None).0;
        server.signal("TERM");
        assert!(server.ended(std::time::Duration::from_mins(1)).success());
        server.restart();
        let before = now();
        let (second, answer) = check(&server, "user", None);
        let (third, _) = check(&server, "user", None);
        let reset = seconds(answer["statuses"][0]["durationUntilReset"].as_str().unwrap());
        let is_right = [first, second, third] == [200, 200, 429] && is_until_end(reset, window, before);
        if is_right { Ok(()) } else { Err(format!("{first} {second} {third}, {reset} in {window:?}")) }
    });
}

const MONTHS: &str = "domain: api
descriptors:
- {key: user, rate_limit: {unit: month, requests_per_unit: 2}}
";

/// Whether months of rules and of requests end with the month of UTC.
fn has_calendar_months(server: &TestServer) {
    in_one_window(CalendarUnit::Month, "UTC", |window| {
        let own = json!({"requestsPerUnit": 5, "unit": "MONTH"});
        for limit in [None, Some(&own)] {
            let before = now();
            let (_, answer) = check(server, "user", limit);
            let status = &answer["statuses"][0];
            assert_eq!(status["currentLimit"]["unit"], "MONTH", "{answer}");
            let reset = seconds(status["durationUntilReset"].as_str().unwrap());
            if !is_until_end(reset, window, before) {
                return Err(format!("{reset} in {window:?}: {answer}"));
            }
        }
        Ok(())
    });
}

#[test]
fn the_flag_makes_months_those_of_the_calendar() {
    let server = TestServer::start(MONTHS, &["--calendar-months"]);
    has_calendar_months(&server);
    // As the reference shows it.
    let page = http(&server.admin, "GET", "/rlconfig", b"").1;
    assert!(page.contains("api.user: unit=MONTH requests_per_unit=2, shadow_mode: false"), "{page}");
    let listed = shown(&server, &["counters", "list"]);
    assert!(listed.contains("2 per calendar month (UTC)"), "{listed}");
    // A candidate has the months of the rules in force.
    let dir = tempfile::tempdir().unwrap();
    shown(&server, &["candidate", "start", &rules_in(&dir, MONTHS)]);
    check(&server, "user", None);
    shown(&server, &["candidate", "promote"]);
    has_calendar_months(&server);
}

#[test]
fn the_variable_of_the_reference_makes_months_those_of_the_calendar() {
    let variables = [("USE_CALENDAR_MONTH_RATE_LIMIT", "true"), ("TIDEGATE_AS_RATELIMIT", "true")];
    let server = TestServer::start_with_variables(MONTHS, &[], &variables);
    assert!(server.log().iter().any(|line| line.contains("USE_CALENDAR_MONTH_RATE_LIMIT")), "{:?}", server.log());
    has_calendar_months(&server);
}

#[test]
fn a_simulated_trace_goes_over_the_edges_of_months() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules_in(&dir, MONTHS);
    let at = |at: &str| json!({"at": at, "domain": "api", "descriptors": [{"entries": [["user", "ann"]]}]}).to_string();
    let trace: String =
        ["2024-02-29T23:59:58Z", "2024-02-29T23:59:59Z", "2024-02-29T23:59:59.5Z", "2024-03-01T00:00:00Z"]
            .map(|text| at(text) + "\n")
            .concat();
    let (code, out, error) = run(&["simulate", "--config", &rules, "--calendar-months"], &trace);
    assert_eq!(code, Some(0), "{error}");
    let decided: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<_> = decided.iter().map(|one| (&one["code"], &one["statuses"][0]["reset_ms"])).collect();
    let expected = [("OK", 2_000), ("OK", 1_000), ("OVER_LIMIT", 500), ("OK", 31 * 86_400_000_u64)];
    let expected = expected.map(|(code, reset)| (json!(code), json!(reset)));
    assert_eq!(codes, expected.iter().map(|(code, reset)| (code, reset)).collect::<Vec<_>>());
    let (code, out, error) = run(&["check", &rules, "--calendar-months"], "");
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("2 per calendar month (UTC)"), "{out}");
}
