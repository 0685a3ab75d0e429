//! Who gets 200, who gets 429, and what the headers say: exact numbers.

use crate::bootstrap::Gateway;
use crate::client::{Header, tally, volley};
use crate::lab::Lab;

const RULES: &str = r"
domain: partner-api
descriptors:
  - key: partner
    value: acme
    rate_limit: {name: per-partner, unit: year, requests_per_unit: 20}
  - key: partner
    value: globex
    rate_limit: {unit: year, requests_per_unit: 1000000}
  - key: partner
    value: initech
    rate_limit: {unit: year, requests_per_unit: 4}
    descriptors:
      - key: endpoint
        value: /v1/charges
        rate_limit: {unit: year, requests_per_unit: 5}
        descriptors:
          - key: tenant
            rate_limit: {unit: year, requests_per_unit: 3}
";

const YEAR_S: u64 = 365 * 86_400;
const ACME: &[Header] = &[("x-partner", b"acme")];
const GLOBEX: &[Header] = &[("x-partner", b"globex")];

#[test]
fn twenty_are_served_and_the_next_five_are_reported_to_wait() {
    let Some(lab) = Lab::open(RULES, Gateway::default()) else { return };
    let mut client = lab.client();
    for i in 0..25 {
        let reply = client.get("/", ACME);
        let expected = if i < 20 { (200, "served") } else { (429, "") };
        assert_eq!((reply.status, reply.body.as_str()), expected, "request {i}: {reply:?}");
        assert_eq!(reply.header("x-ratelimit-limit"), Some("20, 20;w=31536000;name=\"per-partner\""), "{reply:?}");
        assert_eq!(reply.number("x-ratelimit-remaining"), 19_u64.saturating_sub(i), "request {i}: {reply:?}");
        assert!((1..=YEAR_S).contains(&reply.number("x-ratelimit-reset")), "{reply:?}");
        if i < 20 {
            assert_eq!((reply.header("retry-after"), reply.header("x-envoy-ratelimited")), (None, None), "{reply:?}");
        } else {
            assert_eq!(reply.header("x-envoy-ratelimited"), Some("true"), "{reply:?}");
            assert_eq!(reply.number("retry-after"), reply.number("x-ratelimit-reset"), "{reply:?}");
        }
    }
    let other = client.get("/", GLOBEX);
    assert_eq!((other.status, other.number("x-ratelimit-remaining")), (200, 999_999), "{other:?}");
    assert_eq!(lab.envoy.rls_errors(), 0);
    assert_eq!(lab.envoy.stat("cluster.upstream.ratelimit.over_limit"), 5);
    assert_eq!(lab.envoy.stat("cluster.upstream.ratelimit.ok"), 21);
}

#[test]
fn every_level_of_partner_endpoint_and_tenant_has_a_counter_of_its_own() {
    let Some(lab) = Lab::open(RULES, Gateway::default()) else { return };
    // Endpoint, tenant, requests, of which served.
    let cases = [
        ("/v1/charges", "t1", 4, 3),
        ("/v1/charges", "t2", 4, 3),
        ("/v1/charges", "", 6, 5),
        ("", "", 6, 4),
        // No rule on this endpoint: nothing limits it.
        ("/v1/refunds", "", 8, 8),
        ("/v1/refunds", "t1", 8, 8),
        // A tenant without an endpoint matches no rule either.
        ("", "t1", 8, 8),
    ];
    let mut client = lab.client();
    for (endpoint, tenant, requests, served) in cases {
        let mut headers: Vec<Header> = vec![("x-partner", b"initech")];
        headers.extend((!endpoint.is_empty()).then_some(("x-endpoint", endpoint.as_bytes())));
        headers.extend((!tenant.is_empty()).then_some(("x-tenant", tenant.as_bytes())));
        let statuses: Vec<u16> = (0..requests).map(|_| client.get("/", &headers).status).collect();
        let expected: Vec<u16> = (0..requests).map(|i| if i < served { 200 } else { 429 }).collect();
        assert_eq!(statuses, expected, "endpoint {endpoint:?}, tenant {tenant:?}");
    }
    assert_eq!(lab.envoy.rls_errors(), 0);
}

#[test]
fn a_hundred_requests_at_once_through_two_workers_admit_exactly_the_limit() {
    let Some(lab) = Lab::open(RULES, Gateway { workers: 2, ..Gateway::default() }) else { return };
    let statuses = volley(lab.envoy.gateway, 100, ACME);
    assert_eq!(statuses, tally([[200; 20].as_slice(), &[429; 80]].concat()));
    assert_eq!(lab.envoy.rls_errors(), 0);
}
