//! The files of the page, its headers, and its data, with the numbers that were sent.

use serde_json::json;

use super::{Events, check, get, get_json, number};
use crate::TestServer;
use crate::access::request;
use crate::server::{THREE_A_MINUTE, eventually, next_minute_if_late};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[test]
fn every_answer_has_the_headers_that_protect_a_browser() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for (path, status, content_type) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/dashboard/main.js", 200, "text/javascript; charset=utf-8"),
        ("/dashboard/style.css", 200, "text/css; charset=utf-8"),
        ("/dashboard/nothing.js", 404, "text/plain; charset=utf-8"),
        ("/dashboard/..%2f..%2fetc%2fpasswd", 404, "text/plain; charset=utf-8"),
        ("/api/v1/status", 200, "application/json"),
        ("/api/v1/settings", 200, "application/json"),
        ("/api/v1/settings?nothing=1", 400, "application/json"),
    ] {
        let (found, head, _) = get(&server, path, "");
        assert_eq!(found, status, "{path}");
        for header in [
            &*format!("content-security-policy: {POLICY}"),
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
            &format!("content-type: {content_type}"),
        ] {
            assert!(head.contains(&format!("{header}\r\n")), "{path} has no {header}: {head}");
        }
        assert!(!head.contains("access-control"), "{path}: no other site may read it");
    }
    let (status, _, pages) = get(&server, "/pages", "");
    assert_eq!((status, pages.contains("/rlconfig")), (404, true), "the list of pages: {pages}");
    for path in ["/", "/dashboard/main.js", "/api/v1/status", "/api/v1/usage/events"] {
        assert_eq!(request(&server.admin, path, "host: evil.example.org\r\n").0, 403, "{path} by a foreign name");
    }
}

#[test]
fn the_events_have_the_numbers_that_were_sent() {
    next_minute_if_late();
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for value in ["a", "a", "a", "a", "a", "b"] {
        check(&server, "api", "key", value);
    }
    check(&server, "api", "nobody", "x");
    let mut events = Events::open(&server, "?interval=100ms", "");
    assert!(events.head.contains("content-type: text/event-stream\r\n"), "{}", events.head);
    let first = events.until("all checks", |event| number(&event["total"]["unmatched"]) == 1);
    assert_eq!(first["complete"], true);
    assert_eq!((number(&first["total"]["requests"]), number(&first["total"]["denied"])), (6, 2));
    let limits = json!([{"requests_per_unit": 3, "period_ms": 60_000, "enabled": true}]);
    let rules = json!([{"domain": "api", "rule": "api.key", "requests": 6, "denied": 2, "hits": 6, "limits": limits}]);
    assert_eq!(first["rules"], rules);
    let counter = |value: &str, requests: u64, denied: u64| {
        let mut row = json!({"domain": "api", "rule": "api.key", "entries": [["key", value]], "requests": requests});
        if denied > 0 {
            row["denied"] = denied.into();
        }
        row["hits"] = requests.into();
        row
    };
    assert_eq!(first["counters"], json!([counter("a", 5, 2), counter("b", 1, 0)]));
    let quiet = events.until("an event without news", |event| event["complete"] == false);
    assert_eq!(quiet["rules"], json!([]), "nothing has changed");
    assert_eq!(quiet["total"], first["total"]);
    check(&server, "api", "key", "a");
    let next = events.until("one more check", |event| number(&event["total"]["requests"]) == 7);
    assert_eq!(number(&next["rules"][0]["denied"]), 3);
    assert!(next["sequence"].as_u64() > first["sequence"].as_u64() && next["instance"] == first["instance"]);
}

#[test]
fn a_changed_limit_is_sent_with_its_rule() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let mut events = Events::open(&server, "?interval=100ms", "");
    events.until("the first event", |event| event["complete"] == true);
    let changed = THREE_A_MINUTE.replace("requests_per_unit: 3", "requests_per_unit: 30");
    std::fs::write(server.dir.path().join("rules.yaml"), changed).unwrap();
    server.signal("HUP");
    let event = events.until("the rule", |event| event["rules"] != json!([]));
    assert_eq!(event["rules"][0]["limits"][0]["requests_per_unit"], 30);
}

#[test]
fn requests_are_sent_by_the_keys_that_count_them() {
    let server = TestServer::start(&format!("{THREE_A_MINUTE}usage: {{by: [key]}}\n"), &[]);
    for value in ["ann", "ann", "bob"] {
        check(&server, "api", "key", value);
    }
    let mut events = Events::open(&server, "?interval=100ms", "");
    let event = events.until("all checks", |event| number(&event["total"]["requests"]) == 3);
    let row = |value: &str, requests: u64| json!({"domain": "api", "key": "key", "value": value, "requests": requests, "hits": requests});
    assert_eq!(event["requests"], json!([row("ann", 2), row("bob", 1)]));
    assert_eq!(get_json(&server, "/api/v1/status", "").1["domains"], json!([{"name": "api", "usage_by": ["key"]}]));
}

#[test]
fn what_cannot_be_asked_is_an_error_with_its_reason() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    for (path, status, reason) in [
        ("/api/v1/usage/events?interval=1ms", 400, "interval"),
        ("/api/v1/usage/events?interval=1h", 400, "interval"),
        ("/api/v1/usage/events?domain=nobody", 400, "nobody"),
        ("/api/v1/usage/events?top=5", 400, "domain, interval"),
        ("/api/v1/usage?group_by=weather", 400, "group_by"),
        ("/api/v1/usage?from=9&to=8", 400, "range"),
        ("/api/v1/usage?from=yesterday", 400, "from"),
        ("/api/v1/counters?page_token=x", 400, "page_token"),
        ("/api/v1/counters?banned=perhaps", 400, "true or false"),
        ("/api/v1/candidate?x=1", 400, "none"),
        ("/api/v1/status?x=1", 400, "none"),
    ] {
        let (found, answer) = get_json(&server, path, "");
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!((found, error.contains(reason)), (status, true), "{path}: {answer}");
    }
}

#[test]
fn status_says_what_is_in_force_and_why_a_reload_failed() {
    let server = TestServer::start(THREE_A_MINUTE, &[]);
    let (_, status) = get_json(&server, "/api/v1/status", "");
    assert_eq!(status["configuration"]["generation"], 1, "{status}");
    assert_eq!((&status["history_in_memory"], &status["caller"]["role"]), (&json!(true), &json!("admin")));
    std::fs::write(server.dir.path().join("rules.yaml"), "domain: api\ndescriptors: 7\n").unwrap();
    server.signal("HUP");
    eventually("the failed reload", || {
        get_json(&server, "/api/v1/status", "").1["configuration"]["last_reload_failed"] == true
    });
    let (_, status) = get_json(&server, "/api/v1/status", "");
    let error = status["configuration"]["last_errors"][0].as_str().unwrap();
    assert!(error.contains("rules.yaml"), "{error}");
    assert_eq!(status["configuration"]["generation"], 1, "the one before is in force");
}

#[test]
fn bans_queues_and_alerts() {
    let server = TestServer::start(
        "domain: api
descriptors:
- {key: ban, rate_limit: {unit: hour, requests_per_unit: 1, ban: {for: 1h, when: exceeded}}}
- {key: wait, rate_limit: {unit: hour, requests_per_unit: 2, algorithm: token_bucket, burst: 1, queue: {size: 5, mode: advise}}}
alerts:
- {name: many, per: {entry: ban}, denials: 2, window: 1h, webhook: {url: 'http://127.0.0.1:1/secret'}}
",
        &[],
    );
    for _ in 0..3 {
        check(&server, "api", "ban", "mallory");
        check(&server, "api", "wait", "ann");
    }
    let (_, banned) = get_json(&server, "/api/v1/counters?banned=true", "");
    assert_eq!(banned["counters"][0]["entries"], json!([{"key": "ban", "value": "mallory"}]), "{banned}");
    assert!(banned["counters"][0]["bannedUntil"].is_string() && banned["matched"] == "1", "{banned}");
    let (_, queued) = get_json(&server, "/api/v1/counters?queued=true", "");
    assert_eq!((&queued["counters"][0]["queued"], &queued["matched"]), (&json!("2"), &json!("1")), "{queued}");
    eventually("the notification", || {
        !get_json(&server, "/api/v1/alerts", "").1["notifications"].as_array().unwrap().is_empty()
    });
    let (_, alerts) = get_json(&server, "/api/v1/alerts", "");
    let notification = &alerts["notifications"][0];
    assert_eq!(
        (&notification["alert"], &notification["key"], &notification["value"], &notification["denials"]),
        (&json!("many"), &json!("ban"), &json!("mallory"), &json!(2)),
        "{alerts}"
    );
    assert_eq!(alerts["alerts"][0]["window_ms"], 3_600_000);
    assert!(!alerts.to_string().contains("secret"), "receivers are not shown: {alerts}");
}

#[test]
fn the_history_is_that_of_queries() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap(), "--history-flush", "100ms"];
    let server = TestServer::start(THREE_A_MINUTE, &flags);
    for _ in 0..5 {
        check(&server, "api", "key", "a");
    }
    let path = "/api/v1/usage?group_by=time,rule&bucket=1m&domain=api";
    eventually("the history", || get_json(&server, path, "").1["rows"].as_array().is_some_and(|rows| !rows.is_empty()));
    let sum = |name: &str| {
        let (_, answer) = get_json(&server, path, "");
        assert_eq!(answer["inMemory"], false);
        let rows = answer["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["counts"][name].as_str().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    eventually("all checks", || sum("numRequests") == 5);
    assert!(sum("numRequestsDenied") <= 2, "two, unless a minute began in between");
}
