//! What `response:` and a queue add, as the client behind Envoy receives it.

use tidegate::runtime::clock::Stopwatch;
use tidegate::units::Nanos;

use crate::bootstrap::Gateway;
use crate::client::{Header, tally, volley};
use crate::lab::Lab;

const HEADERS_AND_BODY: &str = r"
domain: partner-api
response: {headers: [draft_03, ietf, retry_after], body: json}
descriptors:
  - key: partner
    rate_limit: {name: window, period: 90d, requests_per_unit: 2, starts: first_request}
";

/// One every two seconds, and one more that waits.
const QUEUE: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {requests_per_unit: 1, period: 2s, algorithm: token_bucket, queue: 1}
";

const ADVICE: &str = r"
domain: partner-api
descriptors:
  - key: partner
    rate_limit: {requests_per_unit: 1, period: 1h, algorithm: token_bucket, queue: {size: 1, mode: advise}}
";

const ACME: &[Header] = &[("x-partner", b"acme")];
const WINDOW_S: u64 = 90 * 86_400;

#[test]
fn headers_and_body_reach_the_client() {
    let Some(lab) = Lab::open(HEADERS_AND_BODY, Gateway::default()) else { return };
    let mut client = lab.client();
    for remaining in [1, 0] {
        let reply = client.get("/", ACME);
        assert_eq!((reply.status, reply.body.as_str()), (200, "served"), "{reply:?}");
        assert_eq!((reply.number("ratelimit-limit"), reply.number("ratelimit-remaining")), (2, remaining), "{reply:?}");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"window\";q=2;w=7776000"), "{reply:?}");
        let ietf = format!("\"window\";r={remaining};t={}", reply.number("ratelimit-reset"));
        assert_eq!((reply.header("ratelimit"), reply.header("retry-after")), (Some(ietf.as_str()), None), "{reply:?}");
    }
    let denied = client.get("/", ACME);
    let wait = denied.number("retry-after");
    assert!(denied.status == 429 && (1..=WINDOW_S).contains(&wait), "{denied:?}");
    assert_eq!(denied.header("content-type"), Some("application/json"), "{denied:?}");
    let message = format!("Too many requests. Limit to max 2 per {WINDOW_S} seconds. Try again in {wait} seconds.");
    assert_eq!(denied.body, format!(r#"{{"status":429,"error":"rate limit","message":"{message}"}}"#));
    assert_eq!(lab.envoy.rls_errors(), 0);
}

#[test]
fn a_caller_with_time_is_held_until_its_turn() {
    let Some(lab) = Lab::open(QUEUE, Gateway { timeout: "10s", ..Gateway::default() }) else { return };
    let begun = Stopwatch::start();
    assert_eq!(volley(lab.envoy.gateway, 4, ACME), tally([200, 200, 429, 429]));
    assert!(begun.elapsed() >= Nanos::from_ns(1_900_000_000), "the second was let through at once");
    assert_eq!(lab.envoy.rls_errors(), 0);
}

#[test]
fn a_caller_without_time_is_denied_at_once() {
    let Some(lab) = Lab::open(QUEUE, Gateway { timeout: "0.5s", ..Gateway::default() }) else { return };
    assert_eq!(volley(lab.envoy.gateway, 4, ACME), tally([200, 429, 429, 429]));
    assert_eq!(lab.envoy.rls_errors(), 0, "a denial, not a timeout");
}

#[test]
fn a_client_is_reported_how_long_it_is_advised_to_wait() {
    let Some(lab) = Lab::open(ADVICE, Gateway::default()) else { return };
    let mut client = lab.client();
    let (first, second, third) = (client.get("/", ACME), client.get("/", ACME), client.get("/", ACME));
    assert_eq!((first.status, first.header("x-ratelimit-delay-ms")), (200, None), "{first:?}");
    let delay = second.number("x-ratelimit-delay-ms");
    assert!(second.status == 200 && (3_000_000..=3_600_000).contains(&delay), "{second:?}");
    assert_eq!(third.status, 429, "{third:?}");
}
