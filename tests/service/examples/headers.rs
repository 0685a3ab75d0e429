//! Headers and bodies, for every algorithm and every state of a counter.

use serde_json::json;
use tidegate::limiter::Settings;

use super::run::{Answer, Run};

fn rules(response: &str, limit: &str) -> String {
    format!("domain: api\nresponse: {{{response}}}\ndescriptors:\n- key: k\n  {limit}\n")
}

/// The last of several checks of hits at seconds.
fn last(run: &Run, script: &[(&str, u64)]) -> Answer {
    script.iter().map(|(at, hits)| run.hits(at, *hits)).last().unwrap()
}

const OK: bool = false;
const DENIED: bool = true;

/// Ten per ten seconds (or what `limit` says), after a script: what every family of headers tells.
#[test]
fn every_algorithm_in_every_state() {
    const CLOCK: &str = "rate_limit: {period: 10s, requests_per_unit: 10}";
    const FIRST: &str = "rate_limit: {period: 10s, requests_per_unit: 10, starts: first_request}";
    const BAN: &str = "rate_limit: {period: 10s, requests_per_unit: 10, starts: first_request, ban: 90s}";
    const SLIDING: &str = "rate_limit: {period: 10s, requests_per_unit: 10, algorithm: sliding_window}";
    const LOG: &str = "rate_limit: {period: 10s, requests_per_unit: 10, algorithm: sliding_log}";
    const BUCKET: &str = "rate_limit: {period: 10s, requests_per_unit: 10, algorithm: token_bucket, burst: 20}";
    const QUEUE: &str = "rate_limit: {period: 10s, requests_per_unit: 10, algorithm: token_bucket, burst: 2, queue: 3}";
    for (limit, script, denied, remaining, reset) in [
        (CLOCK, &[("103.5", 0)][..], OK, 10, 7),
        (CLOCK, &[("103.5", 4)], OK, 6, 7),
        (CLOCK, &[("103.5", 4), ("109.999999999", 6)], OK, 0, 1),
        (CLOCK, &[("103.5", 4), ("104", 7)], DENIED, 0, 6),
        (CLOCK, &[("103.5", 11)], DENIED, 0, 7),
        (FIRST, &[("100", 0)], OK, 10, 0),
        (FIRST, &[("100", 11)], DENIED, 10, 10),
        (FIRST, &[("103.5", 4)], OK, 6, 10),
        (FIRST, &[("103.5", 4), ("104", 7)], DENIED, 6, 10),
        (FIRST, &[("103.5", 4), ("105", 7)], DENIED, 6, 9),
        (BAN, &[("100", 4), ("103.5", 6)], OK, 0, 90),
        (BAN, &[("100", 4), ("103.5", 6), ("192", 1)], DENIED, 0, 2),
        (BAN, &[("100", 4), ("103.5", 6), ("193.5", 1)], OK, 9, 10),
        (SLIDING, &[("100", 0)], OK, 10, 0),
        (SLIDING, &[("100", 4)], OK, 6, 13),
        (SLIDING, &[("100", 10), ("112.5", 1)], OK, 1, 1),
        (SLIDING, &[("100", 10), ("112.5", 5)], DENIED, 2, 3),
        (SLIDING, &[("100", 10), ("112.5", 11)], DENIED, 2, 18),
        (LOG, &[("100", 0)], OK, 10, 0),
        (LOG, &[("100", 4), ("103.5", 6)], OK, 0, 7),
        (LOG, &[("100", 4), ("103.5", 6), ("104", 4)], DENIED, 0, 6),
        (LOG, &[("100", 4), ("103.5", 6), ("104", 5)], DENIED, 0, 10),
        (LOG, &[("100", 11)], DENIED, 10, 10),
        (BUCKET, &[("100", 0)], OK, 20, 0),
        (BUCKET, &[("100", 4)], OK, 16, 4),
        (BUCKET, &[("100", 21)], DENIED, 20, 10),
        (BUCKET, &[("100", 20), ("100.5", 1)], DENIED, 0, 1),
        (BUCKET, &[("100", 20), ("105", 20)], DENIED, 5, 15),
        (BUCKET, &[("100", 4), ("101", 21)], DENIED, 17, 10),
        (QUEUE, &[("100", 2), ("100", 3)], OK, 0, 5),
        (QUEUE, &[("100", 2), ("100", 3), ("100.5", 1)], DENIED, 0, 1),
        (QUEUE, &[("100", 2), ("100", 3), ("102", 4)], DENIED, 0, 2),
    ] {
        let run = Run::new(&rules("headers: [x_ratelimit, draft_03, ietf, retry_after]", limit));
        let answer = last(&run, script);
        let mut expected = vec![
            "X-RateLimit-Limit: 10".to_owned(),
            format!("X-RateLimit-Remaining: {remaining}"),
            format!("X-RateLimit-Reset: {reset}"),
            "RateLimit-Limit: 10".to_owned(),
            format!("RateLimit-Remaining: {remaining}"),
            format!("RateLimit-Reset: {reset}"),
            "RateLimit-Policy: \"api.k\";q=10;w=10".to_owned(),
            format!("RateLimit: \"api.k\";r={remaining};t={reset}"),
        ];
        if denied {
            expected.push(format!("Retry-After: {}", reset.max(1)));
        }
        assert_eq!((answer.headers(), !answer.is_ok()), (expected, denied), "{limit} {script:?}");
    }
}

#[test]
fn an_epoch_reset_is_the_instant_rounded_up() {
    for (limit, script, reset) in [
        ("period: 10s, requests_per_unit: 10", ("103.25", 1), "110"),
        ("period: 500ms, requests_per_unit: 10", ("103.25", 1), "104"),
        ("period: 10s, requests_per_unit: 10, starts: first_request", ("1700000000.000000001", 1), "1700000011"),
        ("period: 10s, requests_per_unit: 10, algorithm: token_bucket", ("103.25", 2), "106"),
    ] {
        let run = Run::new(&rules("headers: [x_ratelimit], reset: epoch", &format!("rate_limit: {{{limit}}}")));
        let (at, hits) = script;
        assert_eq!(run.hits(at, hits).headers()[2], format!("X-RateLimit-Reset: {reset}"), "{limit}");
    }
}

#[test]
fn the_limit_that_denies_governs_else_the_one_with_the_least_remaining() {
    let rules = "domain: api\nresponse: {headers: [ietf]}\ndescriptors:\n\
                 - {key: user, rate_limit: {name: u, unit: minute, requests_per_unit: 5}}\n\
                 - {key: tenant, rate_limit: {name: t, unit: hour, requests_per_unit: 20}}\n\
                 - {key: node, rate_limit: {period: 1500ms, requests_per_unit: 90}}\n\
                 - {key: free, rate_limit: {unlimited: true}}\n";
    for (user, tenant, node, policy, reported) in [
        (1, 1, 1, "\"u\";q=5;w=60", "\"u\";r=4;t=60"),
        (0, 18, 0, "\"t\";q=20;w=3600", "\"t\";r=2;t=3600"),
        (0, 0, 88, "\"api.node\";q=90", "\"api.node\";r=2;t=2"),
        (6, 21, 1, "\"t\";q=20;w=3600", "\"t\";r=0;t=3600"),
        (6, 19, 1, "\"u\";q=5;w=60", "\"u\";r=0;t=60"),
        (5, 0, 91, "\"api.node\";q=90", "\"api.node\";r=0;t=2"),
    ] {
        let descriptor = |key: &str, hits: u64| json!({"entries": [[key, "x"]], "hits": hits});
        let free = json!({"entries": [["free", "x"]]});
        let descriptors = [free, descriptor("user", user), descriptor("tenant", tenant), descriptor("node", node)];
        let answer = Run::new(rules).check(&json!({"at": 0, "domain": "api", "descriptors": descriptors}));
        let expected = [format!("RateLimit-Policy: {policy}"), format!("RateLimit: {reported}")];
        assert_eq!(answer.headers(), expected, "{user} {tenant} {node}");
    }
    let unlimited = json!({"at": 0, "domain": "api", "descriptors": [{"entries": [["free", "x"]]}]});
    assert_eq!(Run::new(rules).check(&unlimited).headers(), [""; 0]);
}

/// A check is denied until all that deny alone have room, and one of those that deny only together.
#[test]
fn quotas_govern_only_where_all_of_them_are_over() {
    let rules = "domain: api\nresponse: {headers: [draft_03, retry_after]}\ndescriptors:\n\
                 - {key: minute, rate_limit: {unit: minute, requests_per_unit: 1}}\n\
                 - {key: day, rate_limit: {unit: day, requests_per_unit: 2}}\n\
                 - {key: q_minute, quota_mode: true, rate_limit: {unit: minute, requests_per_unit: 3}}\n\
                 - {key: q_hour, quota_mode: true, rate_limit: {unit: hour, requests_per_unit: 4}}\n\
                 - {key: q_day, quota_mode: true, rate_limit: {unit: day, requests_per_unit: 5}}\n\
                 - {key: q_free, quota_mode: true, rate_limit: {unlimited: true}}\n\
                 - {key: q_shadow, quota_mode: true, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 0}}\n";
    let none = None;
    for (quota_mode, descriptors, limit, remaining, reset, retry_after) in [
        // One quota has room: the check passes, and the one with the least remaining is reported.
        (false, "q_hour=9 q_minute=1", 4, 0, 3_600, none),
        (false, "q_minute=1 q_hour=9", 4, 0, 3_600, none),
        (false, "q_minute=9 q_shadow=1", 3, 0, 60, none),
        // None has: it passes as soon as the first has.
        (false, "q_minute=9 q_hour=9", 3, 0, 60, Some(60)),
        (false, "q_day=9 q_hour=9", 4, 0, 3_600, Some(3_600)),
        (false, "q_day=9 q_hour=9 q_free=1", 4, 0, 3_600, Some(3_600)),
        // Another limit denies, whatever the quotas say.
        (false, "minute=9 q_day=9 q_hour=1", 1, 0, 60, Some(60)),
        (false, "q_day=9 q_hour=1 minute=9", 1, 0, 60, Some(60)),
        // Both deny: the longer wait counts.
        (false, "minute=9 q_day=9 q_hour=9", 4, 0, 3_600, Some(3_600)),
        (false, "day=9 q_day=1 q_minute=9", 2, 0, 86_400, Some(86_400)),
        (false, "day=9 q_minute=9", 2, 0, 86_400, Some(86_400)),
        // Of several that deny alone it is the longest wait.
        (false, "day=9 minute=9", 2, 0, 86_400, Some(86_400)),
        (false, "minute=9 day=9", 2, 0, 86_400, Some(86_400)),
        // In global quota mode every limit is a quota, but one that is none.
        (true, "day=9 minute=9", 1, 0, 60, Some(60)),
        (true, "day=9 minute=0", 2, 0, 86_400, none),
        (true, "day=9 unmatched=1", 2, 0, 86_400, none),
    ] {
        let descriptor = |text: &str| {
            let (key, hits) = text.split_once('=').unwrap();
            json!({"entries": [[key, "x"]], "hits": hits.parse::<u64>().unwrap()})
        };
        let all: Vec<_> = descriptors.split(' ').map(descriptor).collect();
        let run = Run::with(Settings { quota_mode, ..Settings::default() }, rules);
        let answer = run.check(&json!({"at": 0, "domain": "api", "descriptors": all}));
        let mut expected = vec![
            format!("RateLimit-Limit: {limit}"),
            format!("RateLimit-Remaining: {remaining}"),
            format!("RateLimit-Reset: {reset}"),
        ];
        expected.extend(retry_after.map(|seconds: u32| format!("Retry-After: {seconds}")));
        assert_eq!(answer.headers(), expected, "{descriptors}, global quota mode {quota_mode}");
        assert_eq!(answer.is_ok(), retry_after.is_none(), "{descriptors}, global quota mode {quota_mode}");
    }
}

#[test]
fn an_advised_delay_is_reported_in_a_header() {
    let run = Run::limited(
        "unit: second, requests_per_unit: 3, algorithm: token_bucket, burst: 1, queue: {size: 5, mode: advise}",
    );
    let reported: Vec<_> =
        (0..4).map(|_| run.hits("1", 1)).map(|answer| (answer.delay_ms(), answer.headers())).collect();
    let header = |ms: u64| (ms, vec![format!("x-ratelimit-delay-ms: {ms}")]);
    assert_eq!(reported, [(0, vec![]), header(334), header(667), header(1_000)]);
}

#[test]
fn the_json_body_counts_in_seconds() {
    for (limit, message) in [
        ("unit: second, requests_per_unit: 1", "Limit to max 1 per 1 second. Try again in 1 second."),
        ("unit: minute, requests_per_unit: 1", "Limit to max 1 per 60 seconds. Try again in 50 seconds."),
        ("period: 500ms, requests_per_unit: 1", "Limit to max 1 per 0.5 seconds. Try again in 1 second."),
        (
            "period: 30s, requests_per_unit: 1, algorithm: token_bucket",
            "Limit to max 1 per 30 seconds. Try again in 30 seconds.",
        ),
        ("unit: second, requests_per_unit: 1, ban: 12s", "Limit to max 1 per 1 second. Try again in 12 seconds."),
    ] {
        let run = Run::new(&rules("body: json", &format!("rate_limit: {{{limit}}}")));
        let (first, second) = (run.hits("10", 1), run.hits("10", 1));
        assert_eq!((first.body(), first.headers()), ("", vec![]), "{limit}");
        let expected = format!(r#"{{"status":429,"error":"rate limit","message":"Too many requests. {message}"}}"#);
        assert_eq!((second.body(), second.headers()), (&*expected, vec!["content-type: application/json".to_owned()]));
    }
}

/// A value with everything that means something somewhere.
const WILD: &str = "a\"b\\c<d>&'\r\nx: y\u{0}\u{7f}\u{85}\u{2028}é{limit}";

#[test]
fn values_in_templates_are_escaped_for_the_content_type() {
    let template = "[{entry.k}|{entry.none}|{limit}|{period_seconds}|{retry_after}|{remaining}|{domain}|{rule}|{{x}]";
    let rest = "||2|1.5|2|0|api|api.k|{x}]";
    let plain = "[a\"b\\c<d>&'  x: y    é{limit}";
    let json = r#"[a\"b\\c<d>&'\u000d\u000ax: y\u0000\u007f\u0085\u2028é{limit}"#;
    let markup = "[a&quot;b\\c&lt;d&gt;&amp;&#39;  x: y    é{limit}";
    for (content_type, value) in [
        ("text/plain", plain),
        ("text/plain; charset=utf-8", plain),
        ("application/json", json),
        ("application/problem+json; charset=utf-8", json),
        ("APPLICATION/JSON", json),
        ("text/html; charset=utf-8", markup),
        ("application/xhtml+xml", markup),
        ("image/svg+xml", markup),
    ] {
        let response = format!("body: {{content_type: '{content_type}', template: '{template}'}}");
        let run = Run::new(&rules(&response, "rate_limit: {period: 1500ms, requests_per_unit: 2}"));
        let check = json!({"at": 0, "domain": "api", "descriptors": [{"entries": [["k", WILD]], "hits": 2}]});
        assert!(run.check(&check).is_ok());
        let denied = run.check(&check);
        assert_eq!(denied.body(), format!("{value}{rest}"), "{content_type}");
        assert_eq!(denied.headers(), [format!("content-type: {content_type}")]);
    }
}

#[test]
fn a_json_template_with_any_value_is_json() {
    let template = r#"{"client": "{entry.k}", "limit": {limit}}"#;
    let response = format!("body: {{content_type: application/json, template: '{template}'}}");
    let run = Run::new(&rules(&response, "rate_limit: {unit: second, requests_per_unit: 0}"));
    let denied = run.check(&json!({"at": 0, "domain": "api", "descriptors": [{"entries": [["k", WILD]]}]}));
    let body: serde_json::Value = serde_json::from_str(denied.body()).unwrap();
    assert_eq!(body, json!({"client": WILD, "limit": 0}));
}

#[test]
fn nothing_that_a_client_or_a_name_holds_breaks_a_header() {
    let response = "headers: [x_ratelimit, draft_03, ietf, retry_after], body: json";
    let override_of = json!({"requests_per_unit": 0, "unit": "minute"});
    for (limit, limit_in_request, policy) in [
        ("rate_limit: {unit: second, requests_per_unit: 0}", None, "\"api.k\""),
        ("rate_limit: {unit: second, requests_per_unit: 0, name: \"a\\r\\nb\\\"\\\\\\u00e9\"}", None, r#""a??b\"\\?""#),
        ("rate_limit: {unit: second, requests_per_unit: 9}", Some(override_of), "\"override\""),
    ] {
        let run = Run::new(&rules(response, limit));
        let mut descriptor = json!({"entries": [["k", WILD]]});
        if let Some(limit) = limit_in_request {
            descriptor["limit"] = limit;
        }
        let headers = run.check(&json!({"at": 0, "domain": "api", "descriptors": [descriptor]})).headers();
        assert_eq!(headers.len(), 10, "{headers:#?}");
        assert!(headers[6].starts_with(&format!("RateLimit-Policy: {policy};q=0")), "{}", headers[6]);
        for header in headers {
            assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header:?}");
        }
    }
}

#[test]
fn a_denial_reports_the_limit_that_denied() {
    let run = Run::new(
        "domain: d\nresponse: {headers: [x_ratelimit, retry_after]}\ndescriptors:\n\
         - {key: user, rate_limit: {name: reqs, unit: minute, requests_per_unit: 60}}\n\
         - {key: spend, rate_limit: {name: spend, unit: hour, requests_per_unit: 1000}}\n",
    );
    let spend = |hits| json!({"entries": [["spend", "u"]], "hits": hits});
    assert!(run.check(&json!({"at": 600, "domain": "d", "descriptors": [spend(1000)]})).is_ok());
    let answer = run.check(&json!({"at": 601, "domain": "d", "descriptors": [{"entries": [["user", "u"]]}, spend(1)]}));
    let expected =
        ["X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 2999", "Retry-After: 2999"];
    assert_eq!((answer.is_ok(), answer.headers()), (false, expected.map(str::to_owned).to_vec()));
}

#[test]
fn a_wait_of_99_ms_is_reported_as_one_second_and_the_hit_passes_at_100_ms() {
    let limit = "rate_limit: {algorithm: token_bucket, unit: second, requests_per_unit: 10, burst: 1}";
    let run = Run::new(&rules("headers: [retry_after]", limit));
    assert!(run.hits("0", 1).is_ok());
    let denied = run.hits("0.001", 1);
    assert_eq!((denied.is_ok(), denied.headers()), (false, vec!["Retry-After: 1".to_owned()]));
    assert!(!run.hits("0.099999999", 1).is_ok());
    assert!(run.hits("0.1", 1).is_ok());
}
