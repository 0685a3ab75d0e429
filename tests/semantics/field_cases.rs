//! Configurations of people who limit rates with Envoy, from public reports, and the right answers.
//!
//! `golden/*.txt` hold answers of the reference service itself (July 2026, with its Redis), a check a line, the clock a
//! second further at each:
//!
//! ```text
//! domain [+hits] | descriptor; descriptor => OK|OVER | status; status
//! ```
//!
//! A descriptor is `key=value,key=value` (or `()`) and `+hits`; `%2C` stands for a byte, `{x*250}` for 250 times `x`. A
//! status is `OK` or `OVER`, and where there is a limit `remaining/limit`; the remaining hits alone where it is unlimited.

use prost::Message;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::api::proto::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::api::proto::envoy::service::ratelimit::v3::RateLimitRequest;
use tidegate::api::rls::read;
use tidegate::limiter::{Code, Limiter, Settings, Status, WorkerSlot};
use tidegate::rules::{LoadOptions, SourceFile, load};
use tidegate::units::{Nanos, Timestamp};

use crate::scene::check;

const FIVE_LEVELS: &str = "
domain: default
descriptors:
- key: org
  value: OrgA
  descriptors:
  - key: resource
    descriptors:
    - key: method
      descriptors:
      - key: policy
        value: 3PerMin
        descriptors:
        - {key: spike, value: true, rate_limit: {unit: day, requests_per_unit: 1}}
        - {key: condition, value: default, rate_limit: {unit: day, requests_per_unit: 3}}
        - {key: condition, value: c1, rate_limit: {unit: day, requests_per_unit: 5}}
  - key: subscription
    descriptors:
    - {key: policy, value: 3PerMin, rate_limit: {unit: day, requests_per_unit: 3}}
    - {key: policy, value: 5PerMin, rate_limit: {unit: day, requests_per_unit: 5}}
- key: org
  value: OrgAOld
  descriptors:
  - key: api
    descriptors:
    - {key: x-ratelimit-policy, value: 10PerMin, rate_limit: {unit: day, requests_per_unit: 10}}
  - key: header_match
    descriptors:
    - key: resource
      descriptors:
      - {key: policy, value: 1PerMin, rate_limit: {unit: day, requests_per_unit: 1}}
- key: k1
  value: v1
  rate_limit: {unit: day, requests_per_unit: 2}
  descriptors:
  - {key: k2, rate_limit: {unit: day, requests_per_unit: 12}}
- key: foo
  rate_limit: {unit: day, requests_per_unit: 2}
  descriptors:
  - {key: bar, rate_limit: {unit: day, requests_per_unit: 3}}
  - {key: bar, value: banned, rate_limit: {unit: day, requests_per_unit: 0}}
  - {key: baz, value: shady, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 3}}
  - {key: bay, rate_limit: {unlimited: true}}
- {key: qux, rate_limit: {unlimited: true}}";

const REPEATED_KEY: &str = "
domain: envoy
descriptors:
- {key: remote_address, rate_limit: {unit: day, requests_per_unit: 3}}
- {key: client_id, value: foo, rate_limit: {unit: day, requests_per_unit: 3}}
- key: role_id
  value: super
  descriptors: [{key: user_id, value: someone, rate_limit: {unit: day, requests_per_unit: 3}}]
- {key: generic_key, value: bar, rate_limit: {unit: day, requests_per_unit: 3}}
- key: generic_key
  value: wine
  descriptors: [{key: generic_key, value: bar, rate_limit: {unit: day, requests_per_unit: 3}}]";

const COLON_IN_VALUE: &str = "
domain: ratelimit
descriptors:
- key: path
  value: '/v1/models/some-model:predict'
  rate_limit: {unit: day, requests_per_unit: 1}
  descriptors: [{key: api, rate_limit: {unit: day, requests_per_unit: 3}}]
- {key: path, rate_limit: {unit: day, requests_per_unit: 100}}";

const ORDER_OF_PATTERNS: &str = "
domain: d
descriptors:
- {key: p, rate_limit: {unit: day, requests_per_unit: 5}}
- {key: p, value: 'foo*bar', rate_limit: {unit: day, requests_per_unit: 6}}
- {key: p, value: '*.example.com', rate_limit: {unit: day, requests_per_unit: 7}}
- {key: p, value: 'foo*', rate_limit: {unit: day, requests_per_unit: 8}}
- {key: p, value: '*', rate_limit: {unit: day, requests_per_unit: 9}}
- {key: p, value: 'foo', rate_limit: {unit: day, requests_per_unit: 10}}
- {key: p, value: 'a*b*c*', rate_limit: {unit: day, requests_per_unit: 11}}
- {key: 'k*', rate_limit: {unit: day, requests_per_unit: 4}}
- {key: 'h_*', value: 'x', rate_limit: {unit: day, requests_per_unit: 4}}";

const REPLACES: &str = "
domain: d
descriptors:
- {key: base, rate_limit: {unit: day, requests_per_unit: 3, name: base}}
- {key: vip, rate_limit: {unit: day, requests_per_unit: 30, name: vip, replaces: [{name: base}, {name: other}]}}
- {key: other, rate_limit: {unit: day, requests_per_unit: 2, name: other, replaces: [{name: vip}]}}
- {key: free, rate_limit: {unlimited: true, replaces: [{name: base}]}}
- {key: shadowvip, shadow_mode: true, rate_limit: {unit: day, requests_per_unit: 1, name: sv, replaces: [{name: base}]}}
- {key: same1, rate_limit: {unit: day, requests_per_unit: 3, name: twin}}
- {key: same2, rate_limit: {unit: day, requests_per_unit: 3, name: twin}}
- {key: killer, rate_limit: {unit: day, requests_per_unit: 3, replaces: [{name: twin}]}}";

#[test]
fn answers_as_the_reference_service_did() {
    for (name, config, golden) in [
        ("five_levels", FIVE_LEVELS, include_str!("golden/five_levels.txt")),
        ("repeated_key", REPEATED_KEY, include_str!("golden/repeated_key.txt")),
        ("colon_in_value", COLON_IN_VALUE, include_str!("golden/colon_in_value.txt")),
        ("order_of_patterns", ORDER_OF_PATTERNS, include_str!("golden/order_of_patterns.txt")),
        ("replaces", REPLACES, include_str!("golden/replaces.txt")),
    ] {
        let file = SourceFile { name: name.to_owned(), text: config.as_bytes().to_vec() };
        let limiter = Limiter::new(Settings::default());
        limiter.replace_rules(Timestamp::EPOCH, load(&[file], LoadOptions::default()).unwrap());
        let mut now = Timestamp::EPOCH;
        for (number, line) in (1..).zip(golden.lines()) {
            let (asked, expected) = line.split_once(" => ").unwrap();
            assert_eq!(answer(&limiter, now, &request(asked)), expected, "{name}:{number}: {asked}");
            now = now.plus(Nanos::SECOND);
        }
    }
}

fn answer(limiter: &Limiter, now: Timestamp, request: &RateLimitRequest) -> String {
    let bytes = request.encode_to_vec();
    let (check, view) = (read(&bytes).unwrap(), limiter.view().unwrap());
    let decision = view.check(WorkerSlot::default(), now, &check);
    let statuses: Vec<_> = decision.statuses.iter().map(status).collect();
    format!("{} | {}", code(decision.code), statuses.join("; "))
}

fn code(code: Code) -> &'static str {
    if code == Code::Ok { "OK" } else { "OVER" }
}

fn status(status: &Status<'_>) -> String {
    match (&status.limit, status.unlimited) {
        (Some(limit), _) => format!("{} {}/{}", code(status.code), status.remaining, limit.requests_per_unit),
        (None, true) => format!("{} {}", code(status.code), u32::MAX),
        (None, false) => code(status.code).to_owned(),
    }
}

fn request(asked: &str) -> RateLimitRequest {
    let (domain, descriptors) = asked.split_once(" | ").unwrap();
    let (domain, hits) = domain.split_once(" +").unwrap_or((domain, "0"));
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors.split("; ").map(descriptor).collect(),
        hits_addend: hits.parse().unwrap(),
    }
}

fn descriptor(text: &str) -> RateLimitDescriptor {
    let (entries, hits) = text.split_once(" +").map_or((text, None), |(text, hits)| (text, Some(hits)));
    let entry = |text: &str| {
        let (key, value) = text.split_once('=').unwrap();
        Entry { key: plain(key), value: plain(value) }
    };
    let entries = entries.split(',').filter(|text| *text != "()").map(entry).collect();
    RateLimitDescriptor { entries, hits_addend: hits.map(|hits| hits.parse().unwrap()), ..Default::default() }
}

/// The text with its escapes undone.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['%', '{']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        if rest[at..].starts_with('%') {
            bytes.push(u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap());
            rest = &rest[at + 3..];
        } else {
            let (repeated, after) = rest[at + 1..].split_once('}').unwrap();
            let (piece, times) = repeated.rsplit_once('*').unwrap();
            bytes.extend(piece.repeat(times.parse().unwrap()).bytes());
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).unwrap()
}

/// A client's pool of ten, of which each of its services may take a part: what a service is denied costs the pool nothing.
#[test]
fn a_pool_with_limits_per_service_inside() {
    check(
        "
domain: d
charge: all_or_nothing
descriptors:
- key: CLIENT
  value: c1
  rate_limit: {unit: minute, requests_per_unit: 10}
  descriptors:
  - {key: SVC, value: s1, rate_limit: {unit: minute, requests_per_unit: 2}}
  - {key: SVC, value: s2, rate_limit: {unit: minute, requests_per_unit: 5}}",
        "0 x2 | d | CLIENT=c1,SVC=s1; CLIENT=c1 => OK
         0 x6 | d | CLIENT=c1,SVC=s1; CLIENT=c1 => OVER_LIMIT
         1 x8 | d | CLIENT=c1,SVC=s4; CLIENT=c1 => OK
         1 x2 | d | CLIENT=c1,SVC=s4; CLIENT=c1 => OVER_LIMIT",
    );
}

#[test]
fn a_burst_and_a_daily_limit_on_one_key() {
    check(
        "
domain: d
descriptors:
- key: a
  rate_limits: [{unit: second, requests_per_unit: 2, name: burst}, {unit: day, requests_per_unit: 5, name: daily}]",
        "0   x2 | d | a=1 => OK
         0.2    | d | a=1 => OVER_LIMIT | OVER_LIMIT d.a 2/second 0 800ms #burst
         1   x2 | d | a=1 => OK
         2      | d | a=1 => OK
         2.1    | d | a=1 => OVER_LIMIT | OVER_LIMIT d.a 5/day 0 86397900ms #daily
         3      | d | a=1 => OVER_LIMIT",
    );
}

#[test]
fn patterns_beside_values_and_a_default() {
    let limit = |limit: u32| format!("{limit}/minute {} 60s", limit - 1);
    let script: Vec<_> = [
        ("a.example.com", "_*.example.com", 20),
        (".example.com", "_*.example.com", 20),
        ("example.com", "", 50),
        ("www.example.com", "_www.example.com", 40),
        ("foobar", "_foo*bar", 30),
        ("foo-x-bar", "_foo*bar", 30),
        ("foobarx", "", 50),
        ("", "", 50),
    ]
    .iter()
    .map(|(host, rule, max)| format!("0 | d | host={host} => OK | OK d.host{rule} {}", limit(*max)))
    .collect();
    check(
        "
domain: d
descriptors:
- {key: host, value: '*.example.com', rate_limit: {unit: minute, requests_per_unit: 20}}
- {key: host, value: 'foo*bar', rate_limit: {unit: minute, requests_per_unit: 30}}
- {key: host, value: www.example.com, rate_limit: {unit: minute, requests_per_unit: 40}}
- {key: host, rate_limit: {unit: minute, requests_per_unit: 50}}",
        &script.join("\n"),
    );
}

#[test]
fn an_override_of_another_number_keeps_the_count() {
    check(
        "domain: d\ndescriptors:\n- {key: user, rate_limit: {unit: day, requests_per_unit: 5}}",
        "0 | d | user=u limit=10/minute => OK         | OK - 10/minute 9 60s
         1 | d | user=u limit=10/minute => OK         | OK - 10/minute 8 59s
         2 | d | user=u limit=2/minute  => OVER_LIMIT
         3 | d | user=u limit=20/minute => OK         | OK - 20/minute 16 57s
         4 | d | user=u                 => OK         | OK d.user 5/day 4 86396s",
    );
}

#[test]
fn hits_that_are_given_back_when_none_are_left() {
    for limit in ["starts: clock", "starts: first_request", "algorithm: sliding_log"] {
        check(
            &format!(
                "domain: d\ndescriptors:\n- {{key: a, rate_limit: {{unit: hour, requests_per_unit: 3, {limit}}}}}"
            ),
            "0 | d | a=1 +3        => OK
             0 | d | a=1 +2 refund => OK
             0 | d | a=1 +0        => OK
             0 | d | a=1 +2        => OK
             0 | d | a=1           => OVER_LIMIT",
        );
    }
}
